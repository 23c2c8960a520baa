"""Highlights as files of other programs; `ranges` reads such files back.

    json       the document itself
    csv        one row per highlight, for spreadsheets
    edl        CMX 3600 edit decision list: the clips one after another
    chapters   lines that YouTube takes as chapters
    vtt        WebVTT cues, one per clip
    otio       OpenTimelineIO timeline    (extra `otio`)
    fcpxml     Final Cut Pro 7 XML, xmeml  (extra `otio`)

All of them list the clips, `[clip_start, clip_end)`, in order of time. But for the document, all snap them to
frames, of which there are as many a second as `timecode.editing_rate` says: so they agree.
"""

from __future__ import annotations

import csv
import html
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tldr_highlight.core.files import write_text
from tldr_highlight.errors import UsageError
from tldr_highlight.highlights import otio
from tldr_highlight.highlights.cuts import FORMULA, CutList, cut_of, one_line
from tldr_highlight.highlights.document import HighlightsDoc, dumps
from tldr_highlight.highlights.timecode import DROP_RATES, editing_rate, seconds_at, to_timecode


def export(
    document: HighlightsDoc,
    format: str,
    path: Path,
    *,
    frame_rate: Fraction,
    drop_frame: bool | None = None,
    has_video: bool = True,
    has_audio: bool = True,
) -> None:
    """Write `document` to `path`, whole or not at all.

    `frame_rate` is the source's; times are counted in the editing rate that goes with it. Without
    `drop_frame`, timecode drops frames where that is defined (29.97 and 59.94).

    Raises:
        UsageError: no such format, a frame rate that is not above 0, drop-frame where there is none.
        MissingExtraError: the format takes an extra that is not installed.
        OutputError: it cannot be written.
    """
    if format not in _WRITERS:
        raise UsageError(f"cannot export {format!r}: choose from {', '.join(FORMATS)}")
    rate = editing_rate(frame_rate)
    drop = rate in DROP_RATES if drop_frame is None else drop_frame
    to_timecode(0, rate, drop)
    cuts = sorted((cut_of(h, rate) for h in document["highlights"]), key=lambda c: (c.first, c.end))
    made = CutList(document, tuple(cuts), rate, drop, has_video, has_audio)
    write_text(path, _WRITERS[format](made))


# --- json and csv --------------------------------------------------------------------------------------


def _json(made: CutList) -> str:
    ordered = [c.highlight for c in made.cuts]
    return dumps({**made.document, "highlights": ordered})


_COLUMNS = (
    *("number", "title", "types", "score", "confidence", "start", "end", "peak", "clip_start", "clip_end"),
    *("timecode_in", "timecode_out", "clip", "thumbnail", "evidence"),
)


def _csv(made: CutList) -> str:
    """RFC 4180. Dimensions follow as columns of their own; unknown ones are empty, not zero."""
    names = list(dict.fromkeys(n for c in made.cuts for n in c.highlight["dimensions"]))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*_COLUMNS, *(_cell(n) for n in names)])
    for number, cut in enumerate(made.cuts, 1):
        h = cut.highlight
        values = (h["dimensions"].get(n) for n in names)
        writer.writerow(
            [
                *(number, _cell(cut.title), _cell(" ".join(h["types"])), h["score"], h["confidence"]),
                *(h["start"], h["end"], h["peak"]),
                *(_decimal(cut.first, made.rate), _decimal(cut.end, made.rate)),
                *(to_timecode(f, made.rate, made.drop) for f in (cut.first, cut.end)),
                *(_cell(h["clip"] or ""), _cell(h["thumbnail"] or "")),
                _cell("; ".join(e["text"] for e in h["evidence"]), longest=2000),
                *("" if v is None else v for v in values),
            ]
        )
    return out.getvalue()


def _decimal(frame: int, rate: Fraction) -> str:
    return f"{seconds_at(frame, rate):.6f}"


def _cell(text: str, longest: int = 200) -> str:
    """A text that no spreadsheet runs."""
    line = one_line(text, longest)
    return f"'{line}" if line.startswith(tuple(FORMULA)) else line


# --- edl -----------------------------------------------------------------------------------------------


def _edl(made: CutList) -> str:
    """CMX 3600: source timecode from 0, the record side laid one after another from 0."""
    name = _ascii(Path(made.document["source"]).name)
    lines = [f"TITLE: {name}"[:70].rstrip(), f"FCM: {'DROP FRAME' if made.drop else 'NON-DROP FRAME'}"]
    tracks = "V" if not made.has_audio else "AA/V" if made.has_video else "AA"
    record = 0
    for number, cut in enumerate(made.cuts, 1):
        after = record + cut.end - cut.first
        times = (to_timecode(f, made.rate, made.drop) for f in (cut.first, cut.end, record, after))
        score = f"score {cut.highlight['score']:.2f}"
        lines += [
            "",
            f"{number:03}  AX       {tracks:<5} C        {' '.join(times)}",
            f"* FROM CLIP NAME: {name}",
            f"* COMMENT: {_ascii(cut.title)} ({score})",
        ]
        record = after
    return "\n".join(lines) + "\n"


def _ascii(text: str) -> str:
    """Letters without their accents; what has no plain form becomes a question mark."""
    plain = unicodedata.normalize("NFKD", one_line(text, 120).replace("…", "..."))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return plain.encode("ascii", "replace").decode() or "?"


# --- chapters ------------------------------------------------------------------------------------------

SHORTEST_CHAPTER = 10
"""Seconds; YouTube ignores all chapters when one is shorter, when there are fewer than three, or when the
first does not start at 0:00."""

FEWEST_CHAPTERS = 3


def _chapters(made: CutList) -> str:
    return "".join(f"{_stamp(at)} {title}\n" for at, title in chapters(made))


@dataclass(frozen=True, slots=True)
class _Chapter:
    """Whole seconds of the source."""

    at: int
    shown: int  # where the clips that it names end; of one that names none, where it starts
    title: str


def chapters(made: CutList) -> list[tuple[int, str]]:
    """`(whole seconds, title)` that follow YouTube's rules wherever the highlights allow it.

    A chapter starts and ends with its clip as nearly as those rules permit; "Start" and "Then" are between.
    Where that makes fewer than three, "Then" is said again where it costs least: between clips, else in one.
    """
    duration = int(made.document["duration"])
    found = list(_parted(_named(made, duration), duration))
    latest = [(c, end - SHORTEST_CHAPTER) for c, end in _with_ends(found, duration)]
    spare = sorted((c.shown - at, at) for c, at in latest if at - c.at >= SHORTEST_CHAPTER)
    lacking = FEWEST_CHAPTERS - len(found) if made.cuts else 0
    if 0 < lacking <= len(spare):
        found += [_Chapter(at, at, "Then") for _, at in spare[:lacking]]
    return sorted((c.at, c.title) for c in found)


def _named(made: CutList, duration: int) -> list[_Chapter]:
    """A chapter per highlight; those too close to the one before share its chapter."""
    found = [_Chapter(0, 0, "Start")]
    for cut in made.cuts:
        before = found[-1]
        soonest = before.at + SHORTEST_CHAPTER
        at, end = int(seconds_at(cut.first, made.rate)), math.ceil(seconds_at(cut.end, made.rate))
        if at < soonest <= cut.highlight["start"]:
            at = soonest  # in its clip, but before what happens there
        at = min(at, duration - SHORTEST_CHAPTER)
        title = _chapter_title(cut.title)
        if at >= soonest:
            found.append(_Chapter(at, end, title))
        else:
            joined = title if before.title in ("Start", title) else f"{before.title}, {title}"
            found[-1] = _Chapter(before.at, max(before.shown, end), one_line(joined, 100))
    return found


def _with_ends(found: Sequence[_Chapter], duration: int) -> Iterator[tuple[_Chapter, int]]:
    return zip(found, [*(c.at for c in found[1:]), duration], strict=True)


def _parted(named: Sequence[_Chapter], duration: int) -> Iterator[_Chapter]:
    """The chapters, each ending with its clip where what follows is long enough for one of its own."""
    for chapter, end in _with_ends(named, duration):
        yield chapter
        then = max(chapter.shown, chapter.at + SHORTEST_CHAPTER)
        if chapter.shown > chapter.at and end - then >= SHORTEST_CHAPTER:
            yield _Chapter(then, then, "Then")


def _chapter_title(title: str) -> str:
    """Without the brackets that YouTube refuses, and without a second time in the line."""
    plain = title.replace("<", "‹").replace(">", "›")
    return one_line(re.sub(r" at \d+(:\d\d)+$", "", plain), 100) or "Highlight"


def _stamp(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


# --- vtt -----------------------------------------------------------------------------------------------


def _vtt(made: CutList) -> str:
    """https://www.w3.org/TR/webvtt1/"""
    blocks = ["WEBVTT"]
    for number, cut in enumerate(made.cuts, 1):
        times = " --> ".join(_cue_time(seconds_at(f, made.rate)) for f in (cut.first, cut.end))
        details = ", ".join([*cut.highlight["types"], f"score {cut.highlight['score']:.2f}"])
        text = "\n".join(html.escape(one_line(t), quote=False) for t in (cut.title, details))
        blocks.append(f"{number}\n{times}\n{text}")
    return "\n\n".join(blocks) + "\n"


def _cue_time(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


_WRITERS: Mapping[str, Callable[[CutList], str]] = {
    "json": _json,
    "csv": _csv,
    "edl": _edl,
    "chapters": _chapters,
    "vtt": _vtt,
    "otio": otio.as_otio,
    "fcpxml": otio.as_fcp7,
}

FORMATS: tuple[str, ...] = tuple(_WRITERS)
"""Names that `export` knows."""
