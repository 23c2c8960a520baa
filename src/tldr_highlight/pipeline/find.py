"""The whole story of `tldr-highlight find`: one source in, a folder of highlights out. Read top to bottom.

    probe -> read once into curves -> judge -> moments -> clips, thumbnails, reel -> page, exports, document

What takes long is checkpointed in `<out>/.tldr-highlight`, which goes away with success: a run that was
interrupted goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from tldr_highlight.analysis.base import Analysis, Moment, clock
from tldr_highlight.analysis.dimensions import DimensionSet, preset
from tldr_highlight.analysis.local import analyse
from tldr_highlight.analysis.moments import MomentOptions, choose
from tldr_highlight.analysis.signals import Signals, strung
from tldr_highlight.core.files import write_text
from tldr_highlight.highlights.document import HighlightDoc, HighlightsDoc, dumps
from tldr_highlight.highlights.exports import FORMATS, export
from tldr_highlight.media.cut import cut
from tldr_highlight.media.join import join
from tldr_highlight.media.picture import thumbnails
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Sampling, sampling_for
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions, MediaInfo
from tldr_highlight.pipeline.common import (
    UNJUDGED,
    Piece,
    audible,
    blindness,
    reading_notes,
    reel_ranges,
    unjudged,
)
from tldr_highlight.pipeline.pieces import pieces
from tldr_highlight.pipeline.report import ReportCurves, render
from tldr_highlight.pipeline.workspace import DOCUMENT, PAGE, Workspace, opened

Progress = Callable[[str, float, float], None]
"""Called with a stage's name, how much of it is done, and of how much."""

CHECKPOINT_SECONDS = 300.0
"""Media seconds between checkpoints of the curves: three seconds' work on a common machine."""


def _quiet(stage: str, done: float, total: float) -> None:
    """No progress shown."""


@dataclass(frozen=True, slots=True)
class FindOptions:
    """What `find` may be asked. The defaults are the contract's."""

    dimension_set: DimensionSet = field(default_factory=lambda: preset("general"))
    moments: MomentOptions = field(default_factory=MomentOptions)
    sampling: Sampling | None = None  # None: what the source's size allows
    encode: CutOptions = field(default_factory=CutOptions)
    clips: bool = True
    reel_seconds: float | None = None
    exports: tuple[str, ...] = ()


def find(
    source: Path,
    out: Path,
    options: FindOptions | None = None,
    progress: Progress = _quiet,
    say: Callable[[str], None] = lambda message: None,
) -> HighlightsDoc:
    """Find the highlights of `source` and write them into `out`.

    Raises:
        TldrError: nothing could be found at all, with the reason. A clip that failed alone is a warning in
            the document, and its highlight has no clip.
    """
    options = options or FindOptions()
    began = time.monotonic()
    info = probe(source)
    sampling = options.sampling or sampling_for(info)
    with opened(out, source, {"sampling": sampling.value}) as work:
        measured = _read(info, sampling, work, progress)
        analysis = analyse(measured.signals)
        duration = measured.end
        moments = choose(analysis, options.dimension_set, duration, options.moments)
        document: HighlightsDoc = {
            "source": str(source)
            .encode("utf-8", "replace")
            .decode(),  # names may hold bytes that are no text
            "duration": round(duration, 3),
            "analyzer": "signals",
            "elapsed": 0.0,
            "highlights": [_highlight(m) for m in moments],
            "degraded": False,
            "warnings": [*info.warnings, *measured.warnings],
        }
        missed = unjudged(info, duration, judged=analysis.judged_anything, heard=audible(measured.signals))
        _note_blindness(document, info, options.dimension_set, missed)
        if options.clips:
            _render(info, moments, document, work, options, jumped=measured.jumped, progress=progress)
        else:
            work.forget_others(set())
        if work.resumed:
            say(f"took over from an interrupted run: {' and '.join(work.resumed)}")
        _publish(info, document, analysis, work, options, began)
    return document


def detect(source: Path, preset_name: str = "general", threshold: float | None = None) -> list[Moment]:
    """The moments of a file, without clips or folder: what benchmarks and programs ask for.

    `threshold` is the least score; None is the preset's.
    """
    info = probe(source)
    sampling = sampling_for(info)
    measured = _read(info, sampling, None, _quiet)
    options = MomentOptions(threshold=threshold)
    return choose(analyse(measured.signals), preset(preset_name), measured.end, options)


# --- reading -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """Curves of a source and how the reading went."""

    signals: Signals
    end: float  # media seconds
    jumped: bool
    warnings: tuple[str, ...]


def _read(info: MediaInfo, sampling: Sampling, work: Workspace | None, progress: Progress) -> Measured:
    """Read the source once, going on behind the curves of an interrupted run."""
    before = work.load_curves() if work else None
    if work and before:
        work.resumed.append(f"the analysis of the first {clock(before.end)}")
    parts = [before] if before else []
    saved = before.end if before else 0.0
    piece: Piece | None = None
    try:
        for piece in pieces(info, sampling, first_step=before.steps if before else 0):
            parts.append(piece.signals)
            progress("analyse", piece.read, info.duration)
            if work and piece.end - saved >= CHECKPOINT_SECONDS and not piece.jumped:
                saved = piece.end
                parts = [strung(parts)]
                work.save_curves(parts[0])
    except KeyboardInterrupt:
        if work and piece and not piece.jumped:
            work.save_curves(strung(parts))
        raise
    assert piece, "there is a last one always"
    return Measured(strung(parts), piece.read, piece.jumped, reading_notes(info, piece))


def _note_blindness(
    document: HighlightsDoc, info: MediaInfo, dimension_set: DimensionSet, missed: str | None
) -> None:
    degraded, warnings = blindness(info, dimension_set)
    document["degraded"] |= degraded or missed is not None
    if missed in UNJUDGED:
        warnings = []  # they say what it was judged by
    document["warnings"] += [*warnings, missed] if missed else warnings


# --- rendering -----------------------------------------------------------------------------------------


def _highlight(moment: Moment) -> HighlightDoc:
    return {
        "start": moment.start,
        "end": moment.end,
        "peak": moment.peak,
        "score": moment.score,
        "confidence": moment.confidence,
        "types": list(moment.types),
        "title": moment.title,
        "dimensions": moment.dimensions,
        "evidence": [{"dimension": e.dimension, "time": e.time, "text": e.text} for e in moment.evidence],
        "clip_start": moment.clip_start,
        "clip_end": moment.clip_end,
        "clip": None,
        "thumbnail": None,
    }


def _render(
    info: MediaInfo,
    moments: Sequence[Moment],
    document: HighlightsDoc,
    work: Workspace,
    options: FindOptions,
    *,
    jumped: bool,
    progress: Progress,
) -> None:
    """Clips, thumbnails and the reel; the document gets the names of the files that were made."""
    clips, pictures = work.out / "clips", work.out / "thumbnails"
    specs = [
        ClipSpec(m.clip_start, m.clip_end, clips / f"highlight-{i:02}.mp4") for i, m in enumerate(moments, 1)
    ]
    made = _cut_missing(info, specs, document, work, options, jumped=jumped, progress=progress)
    for spec, highlight in zip(specs, document["highlights"], strict=True):
        if spec.path in made:
            highlight["clip"] = f"clips/{spec.path.name}"
    if info.video:
        progress("thumbnails", 0, len(moments))
        items = [(m.peak, pictures / f"highlight-{i:02}.jpg", pictures / f"highlight-{i:02}.webp")
                 for i, m in enumerate(moments, 1)]  # fmt: skip
        for item, at, highlight in zip(
            items, thumbnails(info, items, jumped=jumped), document["highlights"], strict=True
        ):
            if at is not None:
                highlight["thumbnail"] = f"thumbnails/{item[1].name}"
                made |= {item[1], item[2]}
    work.forget_others(made)
    if options.reel_seconds and not moments:
        document["warnings"].append("no reel: there is no moment to show in it")
    elif options.reel_seconds:
        progress("reel", 0, 1)
        clips_of = {(s.start, s.end): s.path for s in specs if s.path in made}
        _make_reel(info, moments, clips_of, document, work, options, jumped=jumped)


def _cut_missing(
    info: MediaInfo,
    specs: Sequence[ClipSpec],
    document: HighlightsDoc,
    work: Workspace,
    options: FindOptions,
    *,
    jumped: bool,
    progress: Progress,
) -> set[Path]:
    """Cut what an interrupted run has not cut yet; the paths of all clips that are there at the end."""
    recipe = repr(options.encode)
    missing = [s for s in specs if not work.finished(s, recipe)]
    if len(missing) < len(specs):
        work.resumed.append(f"{len(specs) - len(missing)} of {len(specs)} clips")
    made = {s.path for s in specs} - {s.path for s in missing}

    def tell(index: int, share: float) -> None:
        progress("clips", len(specs) - len(missing) + index + share, len(specs))

    outcomes = cut(info, missing, options=options.encode, jumped=jumped, on_progress=tell)
    for spec, outcome in zip(missing, outcomes, strict=True):
        if isinstance(outcome, ClipResult):
            made.add(spec.path)
            work.remember(outcome, recipe)
        else:
            document["warnings"].append(f"no clip for {clock(spec.start)}-{clock(spec.end)}: {outcome}")
    for spec in specs:
        if spec.path in made:
            about = f"the clip {clock(spec.start)}-{clock(spec.end)}"
            document["warnings"] += [f"{about}: {warning}" for warning in work.warnings(spec)]
    return made


def _make_reel(
    info: MediaInfo,
    moments: Sequence[Moment],
    clips: Mapping[tuple[float, float], Path],
    document: HighlightsDoc,
    work: Workspace,
    options: FindOptions,
    *,
    jumped: bool,
) -> None:
    """Join the best clips; those that are trimmed to fill the reel exactly are cut for it alone."""
    target = options.reel_seconds or 0.0
    ranges = reel_ranges(moments, target)
    pieces: list[Path] = []
    for start, end in ranges:
        if (start, end) in clips:
            pieces.append(clips[start, end])
            continue
        spec = ClipSpec(start, end, work.piece(len(pieces)))
        outcome = next(cut(info, [spec], options=options.encode, jumped=jumped))
        if isinstance(outcome, ClipResult):
            pieces.append(spec.path)
        else:
            document["warnings"].append(f"the reel lacks {clock(start)}-{clock(end)}: {outcome}")
    if not pieces:
        document["warnings"].append("no reel: none of its clips could be cut")
        return
    finished = replace(options.encode, mode="auto", watermark=None, loudness=None)  # the clips have them
    result = join(pieces, work.out / "reel.mp4", options=finished)
    if len(pieces) == len(ranges) and result.actual_end < target - 0.5:
        document["warnings"].append(
            f"the reel is {result.actual_end:.1f} s long, not {target:g}: there is no more worth showing"
        )


# --- publishing ----------------------------------------------------------------------------------------


def _publish(
    info: MediaInfo,
    document: HighlightsDoc,
    analysis: Analysis,
    work: Workspace,
    options: FindOptions,
    began: float,
) -> None:
    """Page and exports first, the document last: where it is, everything it names is."""
    asked = options.moments.threshold
    threshold = options.dimension_set.threshold if asked is None else asked
    curves = ReportCurves.of(analysis, threshold, options.dimension_set)
    rate = info.video.frame_rate if info.video else Fraction(25)
    document["elapsed"] = round(time.monotonic() - began, 3)
    for name in FORMATS:
        path = work.out / f"highlights.{SUFFIXES.get(name, name)}"
        if name != "json" and (name in options.exports or path.exists()):  # an older run's names its clips
            export(
                document,
                name,
                path,
                frame_rate=rate,
                has_video=info.video is not None,
                has_audio=info.audio is not None,
            )
    write_text(work.out / PAGE, render(document, curves, work.out, work.identity))
    write_text(work.out / DOCUMENT, dumps(document))
    work.done()


SUFFIXES = {"chapters": "chapters.txt", "fcpxml": "xml"}
"""Ends of exported files' names where they differ from the format's name."""
