"""The whole story of `tldr-highlight cut`: ranges of one source become files. Read top to bottom.

look at the source -> read the ranges -> name the clips -> plan them, or cut them -> tell
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from tldr_highlight.clips.document import ClipDoc, CutDoc, FailureDoc, PlanDoc, PlannedDoc
from tldr_highlight.clips.names import POSTER, Template, is_same, paths, safe
from tldr_highlight.clips.origins import label, stem_of
from tldr_highlight.core.egress import Policy
from tldr_highlight.core.files import output_errors
from tldr_highlight.errors import TldrError, UsageError
from tldr_highlight.highlights.ranges import NamedRange, RangeList
from tldr_highlight.media.job import Visit, cut_apart, join_apart, plan_apart
from tldr_highlight.media.sandbox import ProcessLimits
from tldr_highlight.media.types import ClipPlan, ClipResult, ClipSpec, CutOptions, MediaInfo, Origin

Progress = Callable[[str, float, float], None]
"""Called with a stage's name, how much of it is done, and of how much."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be cut from one source, and how."""

    source: Origin
    out: Path
    ranges: Sequence[NamedRange] = ()
    listed: RangeList | None = None  # further ranges, behind `ranges`
    sound: Origin | None = None
    name: Template = field(default_factory=Template.usual)
    options: CutOptions = field(default_factory=CutOptions)
    instant: bool = False  # quick copies first, each replaced by the exact clip
    posters: bool = False  # a picture of each clip beside it
    reel: Path | None = None  # all clips one after another
    crossfade: float = 0.0  # seconds, between them
    limit: float = 300.0  # seconds that one clip may take
    policy: Policy = field(default_factory=Policy)  # of addresses
    keep: Sequence[Path] = ()  # files that no clip may replace

    @property
    def label(self) -> str:
        """The source as documents name it."""
        return label(os.fspath(self.source) if isinstance(self.source, Path) else self.source.url)


def plan_order(order: Order) -> PlanDoc:
    """What `cut_order` would do; nothing is written.

    Raises:
        TldrError: the source cannot be used, or the ranges not be read.
    """
    document: PlanDoc = {"source": order.label, "plan": [], "errors": []}
    with _visit(order) as visit:
        specs = _specs(order, visit.info)
        outcomes = plan_apart(visit, specs, options=order.options)
    for index, (spec, outcome) in enumerate(zip(specs, outcomes, strict=True)):
        if isinstance(outcome, ClipPlan):
            document["plan"].append(_planned(outcome))
        else:
            document["errors"].append(_failure(index, spec, outcome))
    return document


def cut_order(
    order: Order,
    progress: Progress = lambda stage, done, total: None,
    say: Say = lambda message: None,
) -> CutDoc:
    """Cut everything that is asked for. A range that fails is listed, the others are there.

    Raises:
        TldrError: the source cannot be used, the ranges not be read, or nothing be written.
    """
    document: CutDoc = {"source": order.label, "clips": [], "errors": []}
    with _visit(order) as visit:
        for warning in visit.info.warnings:
            say(f"note: {warning}")
        specs = _specs(order, visit.info)
        with _folder(order.out):
            quick: set[Path] = set()
            try:
                if order.instant:
                    _cut_quickly(order, visit, specs, quick, say)
                finished = _cut(order, visit, specs, document, quick, progress)
            finally:
                for path in quick:  # what stands under a name in the end is exact
                    path.unlink(missing_ok=True)
            visit.close()
            if order.reel and document["clips"]:
                document["reel"] = _join(order, [spec.path for spec in finished], progress, say)
    return document


def _visit(order: Order) -> Visit:
    """The source in a process of its own, which looks at it and cuts it: what is fetched is fetched once."""
    limits = ProcessLimits(seconds=order.limit)
    return Visit(order.source, sound=order.sound, policy=order.policy, limits=limits)


def _cut(
    order: Order,
    visit: Visit,
    specs: Sequence[ClipSpec],
    document: CutDoc,
    quick: set[Path],
    progress: Progress,
) -> list[ClipSpec]:
    """Make the exact clips, list them, and give them; those that were made are no longer `quick` ones.

    What ends all work, a full disk or a server that fails again and again, is listed for each clip it kept
    from being made.

    Raises:
        TldrError: it did so before any clip was made.
    """
    left = list(enumerate(specs))
    made: list[ClipSpec] = []
    try:
        told = _teller(len(specs), progress)
        for outcome in cut_apart(visit, specs, options=order.options, on_progress=told):
            index, spec = left.pop(0)
            progress(_stage(index, len(specs)), 1, 1)
            if isinstance(outcome, ClipResult):
                quick.discard(spec.path)
                made.append(spec)
                document["clips"].append(_clip(outcome))
            else:
                document["errors"].append(_failure(index, spec, outcome))
    except TldrError as error:
        if not document["clips"]:
            raise
        document["errors"] += [_failure(index, spec, error) for index, spec in left]
    return made


def _join(order: Order, clips: Sequence[Path], progress: Progress, say: Say) -> str | None:
    """Join the clips; where that fails, say why."""
    assert order.reel
    limits = ProcessLimits(seconds=order.limit * len(clips))
    options = replace(order.options, mode="auto", watermark=None, loudness=None)  # the clips have them
    progress("reel", 0, 1)
    try:
        join_apart(
            clips, order.reel, crossfade=order.crossfade, options=options, limits=limits,
            on_progress=lambda share: progress("reel", share, 1),
        )  # fmt: skip
    except TldrError as error:
        say(f"no reel: {error}")
        return None
    return _name(order.reel)


# --- preparing -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _folder(out: Path) -> Generator[None]:
    """A folder that can be written into; one that was made for nothing goes again.

    Raises:
        OutputError: there is none.
    """
    there = out.exists()
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    try:
        yield
    finally:
        if not there:
            with contextlib.suppress(OSError):  # it holds something
                out.rmdir()


def _specs(order: Order, info: MediaInfo) -> list[ClipSpec]:
    """The clips that are asked for, each with a name of its own."""
    ranges = [*order.ranges]
    if order.listed:
        rate = info.video.frame_rate if info.video else Fraction(25)
        ranges += order.listed.ranges(frame_rate=rate, duration=info.duration)
    if not ranges:
        raise UsageError(
            "there is no range to cut; write some, such as 12:31.4-12:58, or name a list of them"
        )
    if len(ranges) > MOST_RANGES:
        raise UsageError(f"{len(ranges)} ranges are too many at once; cut {MOST_RANGES} at a time")
    source = stem_of(order.source)
    names = [
        safe(r.name.removesuffix(".mp4"))
        or order.name.name(index=number, start=r.start, end=r.end, title=r.title, source=source)
        for number, r in enumerate(ranges, 1)
    ]
    keep = [path for path in (order.source, order.sound, *order.keep) if isinstance(path, Path)]
    if order.reel and any(is_same(order.reel, path) for path in keep):
        raise UsageError(f"the reel would replace {order.reel}, which is read: choose another name")
    files = paths(names, order.out, [*keep, *([order.reel] if order.reel else [])])
    return [_spec(r, file, order) for r, file in zip(ranges, files, strict=True)]


def _spec(wanted: NamedRange, file: Path, order: Order) -> ClipSpec:
    poster = file.with_suffix(POSTER) if order.posters else None
    return ClipSpec(wanted.start, wanted.end, file, poster, wanted.peak)


MOST_RANGES = 10_000
"""A day in pieces of nine seconds; more is a mistake."""


def _cut_quickly(order: Order, visit: Visit, specs: Sequence[ClipSpec], quick: set[Path], say: Say) -> None:
    """Copies of whole GOPs, what is too much of them hidden: 0.1 s each, right in players that honour it."""
    bare = [replace(spec, poster=None) for spec in specs]
    outcomes = cut_apart(visit, bare, options=replace(order.options, mode="instant"))
    quick.update(outcome.spec.path for outcome in outcomes if isinstance(outcome, ClipResult))
    say(f"{len(quick)} of {len(specs)} instant clips are in {order.out}; exact ones are replacing them")


def _teller(count: int, progress: Progress) -> Callable[[int, float], None]:
    def tell(index: int, share: float) -> None:
        progress("clips", index + share, count)
        progress(_stage(index, count), share, 1)

    return tell


def _stage(index: int, count: int) -> str:
    return f"Clip {index + 1} of {count}"


# --- telling -------------------------------------------------------------------------------------------


def _clip(result: ClipResult) -> ClipDoc:
    document: ClipDoc = {
        "start": result.spec.start,
        "end": result.spec.end,
        "actual_start": round(result.actual_start, 6),
        "actual_end": round(result.actual_end, 6),
        "frames": result.frames,
        "method": result.method,
        "reason": result.reason,
        "sync_ms": round(result.sync_ms, 3),
        "bytes": result.bytes,
        "sha256": result.sha256,
        "file": _name(result.spec.path),
    }
    if result.spec.poster and result.frames:
        document["poster"] = _name(result.spec.poster)
    if result.warnings:
        document["warnings"] = list(result.warnings)
    return document


def _name(file: Path) -> str:
    return label(os.fspath(file))


def _planned(planned: ClipPlan) -> PlannedDoc:
    return {
        "start": planned.spec.start,
        "end": planned.spec.end,
        "actual_start": round(planned.start, 6),
        "actual_end": round(planned.end, 6),
        "frames": planned.frames,
        "encoded_frames": planned.encoded_frames,
        "method": planned.method,
        "reason": planned.reason,
        "expected_bytes": planned.expected_bytes,
        "expected_seconds": round(planned.expected_seconds, 3),
        "file": _name(planned.spec.path),
    }


def _failure(index: int, spec: ClipSpec, error: TldrError) -> FailureDoc:
    return {"index": index, "code": error.code, "message": str(error), "range": [spec.start, spec.end]}
