"""Lists of ranges that people and other programs wrote: EDL, CSV, WebVTT, chapters.

What `exports` writes comes back to the same frames (chapters: to the same seconds).
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from tldr_highlight.errors import NotFoundError, RangeError, UsageError
from tldr_highlight.highlights.cuts import FORMULA, one_line
from tldr_highlight.highlights.timecode import DROP_RATES, from_timecode, seconds_at

if TYPE_CHECKING:
    from _csv import Reader as CsvReader


@dataclass(frozen=True, slots=True)
class NamedRange:
    """`[start, end)` of some source, in media seconds, as a list of somebody's names it."""

    start: float
    end: float
    title: str = ""


LARGEST_LIST = 16 * 1024 * 1024


def read_ranges(path: Path, *, frame_rate: Fraction, duration: float) -> list[NamedRange]:
    """The ranges of an EDL, CSV, WebVTT or chapter file, in its own order.

    `frame_rate` is what timecode counts in; `duration` (seconds) ends the last chapter.

    Raises:
        NotFoundError: no such file.
        UsageError: not a text of that kind, or larger than 16 MiB.
        RangeError: a line that is no range, with its number.
    """
    if not path.is_file():
        raise NotFoundError(f"no list of ranges at {path}")
    if path.stat().st_size > LARGEST_LIST:
        raise UsageError(
            f"{path} is larger than {LARGEST_LIST // 1024 // 1024} MiB; this is no list of ranges"
        )
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text; export it as UTF-8") from error
    if path.suffix.lower() == ".edl":
        return read_edl(text, frame_rate)
    if path.suffix.lower() == ".vtt":
        return read_vtt(text)
    return read_csv(text) if path.suffix.lower() == ".csv" else read_chapters(text, duration)


_EVENT = re.compile(
    r"\d+\s+\S+\s+(?P<track>\S+)\s+(?:C|D|W\d+|KB?|KO)(?:\s+\d+)?"
    r"\s+(?P<first>[\d:;.,]+)\s+(?P<end>[\d:;.,]+)\s+[\d:;.,]+\s+[\d:;.,]+(?:\s.*)?"
)
_COMMENT = re.compile(r"\*\s*(?P<kind>COMMENT|FROM CLIP NAME)\s*:\s*(?P<text>.*)", re.IGNORECASE)


def read_edl(text: str, frame_rate: Fraction) -> list[NamedRange]:
    """The source ranges of a CMX 3600 list; sound and picture of one event count once.

    Raises:
        RangeError: an event that names no range, with its line.
    """
    out: list[NamedRange] = []
    drop: bool | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.upper().startswith("FCM:"):
            drop = not line.upper().split(":", 1)[1].strip().startswith("NON")
        elif event := _EVENT.fullmatch(line):
            first, end = (_frame(event[k], frame_rate, drop, number) for k in ("first", "end"))
            found = NamedRange(seconds_at(first, frame_rate), seconds_at(end, frame_rate))
            last = out[-1] if out else None
            if first < end and not (last and (last.start, last.end) == (found.start, found.end)):
                out.append(found)
        elif (comment := _COMMENT.fullmatch(line)) and out:
            last = out[-1]
            if comment["kind"].upper() == "COMMENT" or not last.title:
                out[-1] = NamedRange(last.start, last.end, comment["text"].strip())
    return out


def _frame(timecode: str, rate: Fraction, drop: bool | None, line: int) -> int:
    try:
        return from_timecode(timecode, rate, drop if rate in DROP_RATES else False)
    except RangeError as error:
        raise RangeError(f"line {line}: {error}") from error


_PAIRS = (("clip_start", "clip_end"), ("start", "end"), ("in", "out"), ("from", "to"))
"""Names of columns that hold a range, in order of preference."""


def read_csv(text: str) -> list[NamedRange]:
    """The ranges of a table: columns called `clip_start, clip_end` or `start, end`, else the first two.

    Times are seconds (`751.5`) or clocks (`12:31.5`). Commas, semicolons or tabs may part the cells.

    Raises:
        RangeError: a row without a range, with its line.
    """
    text = text.removeprefix("\ufeff")
    try:
        delimiter = next((d for d in ",;\t" if _fits(text, d)), ",")
        return _table(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UsageError(f"this is no CSV: {error}") from error


def _fits(text: str, delimiter: str) -> bool:
    """Whether the first row, parted like this, is a heading or a range."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    first = next((row for row in rows if any(cell.strip() for cell in row)), [""])
    return _columns(first) is not None or (
        len(first) > 1 and all(_CLOCK.fullmatch(c.strip()) for c in first[:2])
    )


def _table(reader: CsvReader) -> list[NamedRange]:
    columns: tuple[int, int, int | None] | None = None
    out: list[NamedRange] = []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if columns is None:
            columns = _columns(row)
            if columns is not None:
                continue
            columns = (0, 1, 2)
        out.append(_row(row, columns, reader.line_num))
    return out


def _columns(heading: Sequence[str]) -> tuple[int, int, int | None] | None:
    """Places of start, end and title in a row of names."""
    names = [cell.strip().lower() for cell in heading]
    for first, end in _PAIRS:
        if first in names and end in names:
            return names.index(first), names.index(end), names.index("title") if "title" in names else None
    return None


def _row(row: Sequence[str], columns: tuple[int, int, int | None], line: int) -> NamedRange:
    first, end, title = columns
    if len(row) <= max(first, end):
        raise RangeError(f"line {line}: there is no start and end in {_quoted(row)}")
    name = row[title] if title is not None and title < len(row) else ""
    if name[:1] == "'" and name[1:2] in tuple(FORMULA):
        name = name[1:]
    return _range(_clock(row[first], line), _clock(row[end], line), name, line)


def _quoted(row: Sequence[str]) -> str:
    return repr(one_line(" ".join(row), 60))


_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?)")


def _clock(text: str, line: int) -> float:
    """Seconds of `751.5`, `12:31.5` or `1:02:03`."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None or len(text) > 40:
        raise RangeError(f"line {line}: {one_line(text, 40)!r} is no time; write 751.5 or 12:31.5")
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3].replace(",", "."))


def _range(start: float, end: float, title: str, line: int) -> NamedRange:
    if end <= start:
        raise RangeError(f"line {line}: the range ends at {end:g} s, not after its start at {start:g} s")
    return NamedRange(start, end, one_line(title))


def read_vtt(text: str) -> list[NamedRange]:
    """The cues of a WebVTT file; the first line of a cue is its title.

    Raises:
        UsageError: it does not start with `WEBVTT`.
        RangeError: a cue whose times are none, with its line.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or not re.match(r"WEBVTT(\s|$)", lines[0]):
        raise UsageError("this is no WebVTT: its first line is not WEBVTT")
    out: list[NamedRange] = []
    for number, line in enumerate(lines, 1):
        if "-->" in line:
            start, _, rest = line.partition("-->")
            end = rest.split()[0] if rest.split() else ""
            title = lines[number] if number < len(lines) else ""
            plain = html.unescape(re.sub(r"<[^>]*>", "", title))
            out.append(_range(_clock(start, number), _clock(end, number), plain, number))
    return out


_CHAPTER = re.compile(r"[\s(\[]*(\d+(?::\d\d){1,2}(?:\.\d+)?)[)\]]*(?:\s*[-–—:|]\s*|\s+)(.*)")


def read_chapters(text: str, duration: float) -> list[NamedRange]:
    """Chapters `0:00 Title`, each up to the next, the last up to `duration` (seconds). Other lines are prose.

    Raises:
        RangeError: a chapter that does not come after the one before it, with its line.
    """
    marks = [
        (_clock(match[1], number), match[2], number)
        for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1)
        if (match := _CHAPTER.fullmatch(line.strip()))
    ]
    ends = [*(at for at, _, _ in marks[1:]), duration]
    return [_range(at, end, title, n) for (at, title, n), end in zip(marks, ends, strict=False)]
