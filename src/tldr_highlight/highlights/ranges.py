"""Ranges as people and other programs write them: `12:31.4-12:58`; JSON, EDL, CSV, WebVTT, chapters.

What `exports` writes comes back to the same frames (chapters: to the same seconds). What cannot be read as
times is refused with its place; whether a range can be cut (start before end, inside the source) is for the
cutter to say of each one alone.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from tldr_highlight.errors import NotFoundError, RangeError, UsageError
from tldr_highlight.highlights.cuts import FORMULA, one_line
from tldr_highlight.highlights.timecode import DROP_RATES, editing_rate, from_timecode, seconds_at

if TYPE_CHECKING:
    from _csv import Reader as CsvReader


@dataclass(frozen=True, slots=True)
class NamedRange:
    """`[start, end)` of some source, in media seconds, as somebody wrote it: perhaps backwards."""

    start: float
    end: float
    title: str = ""
    name: str = ""  # wished for the file that is made of it
    peak: float | None = None  # where it is best


_TIME = r"(?:(?:\d+:)?\d+:)?\d+(?:[.,]\d*)?"
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?)")
_RANGE = re.compile(rf"\s*(?P<start>-?{_TIME})\s*(?:[-–—]\s*(?P<end>{_TIME})|\+\s*(?P<length>{_TIME}))\s*")
_LINE = re.compile(rf"(?P<range>-?{_TIME}[-–—+]{_TIME})(?:\s+(?P<title>.*))?")


def parse_range(text: str, title: str = "") -> NamedRange:
    """The range that `12:31.4-12:58`, `751.5-778`, `1:02:03-1:02:33` or `12:31+20` (start and length) means.

    Raises:
        RangeError: it is none of these.
    """
    match = _RANGE.fullmatch(text)
    if match is None or len(text) > 90:
        raise RangeError(
            f"{one_line(text, 40)!r} is no range; write 12:31.4-12:58, 751.5-778"
            " or 12:31+20 (start and length)"
        )
    start = -_clock(match["start"][1:]) if match["start"][0] == "-" else _clock(match["start"])
    end = start + _clock(match["length"]) if match["length"] else _clock(match["end"])
    return NamedRange(start, end, one_line(title))


# --- lists ---------------------------------------------------------------------------------------------

LARGEST_LIST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RangeList:
    """A list as it was found; EDL and chapters say what they mean once the source is known."""

    text: str
    kind: str  # "json", "csv", "edl", "vtt", "lines" or "chapters"

    def ranges(self, *, frame_rate: Fraction, duration: float) -> list[NamedRange]:
        """The ranges, in the list's own order.

        `frame_rate` is the source's; `duration` (seconds) ends the last chapter.

        Raises:
            UsageError: not a text of that kind.
            RangeError: a line or entry that is no range, with its number.
        """
        if self.kind == "edl":
            return read_edl(self.text, frame_rate)
        if self.kind == "chapters":
            return read_chapters(self.text, duration)
        return {"json": read_json, "csv": read_csv, "vtt": read_vtt, "lines": read_lines}[self.kind](
            self.text
        )


def read_ranges(path: Path, *, frame_rate: Fraction, duration: float) -> list[NamedRange]:
    """The ranges of a file: `open_list(path).ranges(...)`."""
    return open_list(path).ranges(frame_rate=frame_rate, duration=duration)


_KINDS = {".json": "json", ".csv": "csv", ".tsv": "csv", ".edl": "edl", ".vtt": "vtt"}


def open_list(path: Path) -> RangeList:
    """A list of ranges in a file; its name's end says the kind, else its content.

    Raises:
        NotFoundError: no such file.
        UsageError: no UTF-8 text, or larger than 16 MiB.
    """
    try:
        with path.open("rb") as file:
            return load_list(file, str(path), _KINDS.get(path.suffix.lower()))
    except FileNotFoundError as error:
        raise NotFoundError(f"no list of ranges at {path}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{one_line(str(path), 60)} is no list of ranges: {reason}") from error


def load_list(file: BinaryIO, name: str, kind: str | None = None) -> RangeList:
    """A list of ranges from an open file, called `name` in messages; its content says the kind.

    Raises:
        UsageError: no UTF-8 text, or larger than 16 MiB.
    """
    data = file.read(LARGEST_LIST + 1)
    if len(data) > LARGEST_LIST:
        raise UsageError(
            f"{name} is larger than {LARGEST_LIST // 1024 // 1024} MiB; this is no list of ranges"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text; export it as UTF-8") from error
    return RangeList(text, kind or _kind_of(text))


def _kind_of(text: str) -> str:
    """What a list without a telling name is."""
    lines = _content(text)
    first = lines[0][1] if lines else ""
    if re.match(r"WEBVTT(\s|$)", first):
        return "vtt"
    if lines and all(_LINE.fullmatch(line) for _, line in lines):
        return "lines"
    if any(_fits(text, delimiter) for delimiter in DELIMITERS):
        return "csv"
    if any(_EVENT.fullmatch(line) for _, line in lines):
        return "edl"
    return "json" if first[:1] in ("[", "{") and not _CHAPTER.fullmatch(first) else "chapters"


def _content(text: str) -> list[tuple[int, str]]:
    """Lines that hold something, with their numbers; `#` starts a remark."""
    lines = enumerate((line.strip() for line in text.splitlines()), 1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def read_lines(text: str) -> list[NamedRange]:
    """A range a line, written as `parse_range` reads it, with a title behind it if there is one.

    Raises:
        RangeError: a line that is no range, with its number.
    """
    out: list[NamedRange] = []
    for number, line in _content(text.removeprefix("\ufeff")):
        match = _LINE.fullmatch(line)
        if match is None:
            raise RangeError(f"line {number}: {one_line(line, 40)!r} is no range; write 12:31.4-12:58")
        out.append(parse_range(match["range"], match["title"] or ""))
    return out


_ENTRIES = ("clips", "highlights", "plan")
"""Where documents hold their ranges: a clip job's or `cut --json`, `find --json`, `cut --dry-run --json`."""


def read_json(text: str) -> list[NamedRange]:
    """The ranges of a JSON list of `[start, end]` or `{"start", "end", "title"?, "name"?, "peak"?}`.

    It may also be a document that holds such a list as `clips`, `highlights` (whose `clip_start` and
    `clip_end` count) or `plan`. Times are seconds or clocks (`"12:31.5"`).

    Raises:
        UsageError: no JSON, or no list in it.
        RangeError: an entry without two times, with its number.
    """
    try:
        document = cast("object", json.loads(text.removeprefix("\ufeff")))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is no JSON: {one_line(str(error), 100)}") from error
    if isinstance(document, dict):
        members = cast("dict[str, object]", document)
        document = next((members[key] for key in _ENTRIES if key in members), None)
    if not isinstance(document, list):
        raise UsageError(
            'this JSON holds no list of ranges; write [[75, 80.5], ...], [{"start": 75, "end": 80.5}, ...]'
            ' or {"clips": [...]}'
        )
    entries = cast("list[object]", document)
    return [_entry(entry, f"entry {number}") for number, entry in enumerate(entries, 1)]


def _entry(entry: object, where: str) -> NamedRange:
    if isinstance(entry, list):
        pair = cast("list[object]", entry)
        if len(pair) == 2:
            return NamedRange(_time(pair[0], where), _time(pair[1], where))
    elif isinstance(entry, dict):
        members = cast("dict[str, object]", entry)
        for first, end in _PAIRS:
            if first in members and end in members:
                title, name = (one_line(str(members.get(key) or "")) for key in ("title", "name"))
                peak = None if members.get("peak") is None else _time(members["peak"], where)
                times = _time(members[first], where), _time(members[end], where)
                return NamedRange(*times, title, name, peak)
    raise RangeError(f"{where}: there is no start and end in {one_line(json.dumps(entry), 60)}")


LARGEST = 1e40
"""Seconds; clocks, of 40 letters at most, say no more. Near the largest float milliseconds overflow."""


def _time(value: object, where: str) -> float:
    """Seconds of a number or a clock."""
    if isinstance(value, str):
        return _clock(value, where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
        if abs(seconds) < LARGEST:
            return seconds
    raise RangeError(f"{where}: {one_line(json.dumps(value), 40)} is no time; write seconds, such as 751.5")


_EVENT = re.compile(
    r"\d+\s+\S+\s+(?P<track>\S+)\s+(?:C|D|W\d+|KB?|KO)(?:\s+\d+)?"
    r"\s+(?P<first>[\d:;.,]+)\s+(?P<end>[\d:;.,]+)\s+[\d:;.,]+\s+[\d:;.,]+(?:\s.*)?"
)
_COMMENT = re.compile(r"\*\s*(?P<kind>COMMENT|FROM CLIP NAME)\s*:\s*(?P<text>.*)", re.IGNORECASE)


def read_edl(text: str, frame_rate: Fraction) -> list[NamedRange]:
    """The source ranges of a CMX 3600 list; sound and picture of one event count once.

    `frame_rate` is the source's; timecode is taken to count in the editing rate that goes with it.

    Raises:
        RangeError: an event that names no range, with its line.
    """
    out: list[NamedRange] = []
    drop: bool | None = None
    rate = editing_rate(frame_rate)
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.upper().startswith("FCM:"):
            drop = not line.upper().split(":", 1)[1].strip().startswith("NON")
        elif event := _EVENT.fullmatch(line):
            first, end = (_frame(event[k], rate, drop, number) for k in ("first", "end"))
            found = NamedRange(seconds_at(first, rate), seconds_at(end, rate))
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


DELIMITERS = ",;\t"


def read_csv(text: str) -> list[NamedRange]:
    """The ranges of a table: columns called `clip_start, clip_end` or `start, end`, else the first two.

    Times are seconds (`751.5`) or clocks (`12:31.5`). Commas, semicolons or tabs may part the cells.

    Raises:
        RangeError: a row without a range, with its line.
    """
    text = text.removeprefix("\ufeff")
    try:
        delimiter = next((d for d in DELIMITERS if _fits(text, d)), ",")
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
    where = f"line {line}"
    return NamedRange(_clock(row[first], where), _clock(row[end], where), one_line(name))


def _quoted(row: Sequence[str]) -> str:
    return repr(one_line(" ".join(row), 60))


def _clock(text: str, where: str = "") -> float:
    """Seconds of `751.5`, `12:31.5` or `1:02:03`."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None or len(text) > 40:
        place = f"{where}: " if where else ""
        raise RangeError(f"{place}{one_line(text, 40)!r} is no time; write 751.5 or 12:31.5")
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3].replace(",", "."))


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
            where = f"line {number}"
            out.append(NamedRange(_clock(start, where), _clock(end, where), one_line(plain)))
    return out


_CHAPTER = re.compile(r"[\s(\[]*(\d+(?::\d\d){1,2}(?:\.\d+)?)[)\]]*(?:\s*[-–—:|]\s*|\s+)(.*)")


def read_chapters(text: str, duration: float) -> list[NamedRange]:
    """Chapters `0:00 Title`, each up to the next, the last up to `duration` (seconds). Other lines are prose.

    Raises:
        RangeError: a time of more digits than any clock has, with its line.
    """
    marks = [
        (_clock(match[1], f"line {number}"), match[2])
        for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1)
        if (match := _CHAPTER.fullmatch(line.strip()))
    ]
    ends = [*(at for at, _ in marks[1:]), duration]
    return [NamedRange(at, end, one_line(title)) for (at, title), end in zip(marks, ends, strict=False)]
