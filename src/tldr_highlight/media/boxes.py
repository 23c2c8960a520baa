"""The few boxes of fragmented MP4 (ISO/IEC 14496-12) that recordings in segments are put together by."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from tldr_highlight.errors import MediaError

Content: TypeAlias = tuple[int, int]
"""Where the content of a box begins in the data, and where it ends."""

HEADER = 8
"""Bytes in front of a box's content: its size and kind; twice as many where it is large."""

MOST_BOXES = 100_000
"""At one level: a segment has some dozen."""


def children(data: bytes, span: Content | None = None) -> Iterator[tuple[bytes, Content]]:
    """Kind and content of each box between two bytes, in order.

    Raises:
        MediaError: a box reaches behind the end, or there are too many.
    """
    at, end = span or (0, len(data))
    for _ in range(MOST_BOXES):
        if at >= end:
            return
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        begin = at + HEADER
        if size == 1:
            size, begin = int.from_bytes(data[begin : begin + 8], "big"), begin + 8
        size = end - at if size == 0 else size
        if len(kind) < 4 or size < begin - at or at + size > end:
            raise MediaError("a segment's boxes make no sense: it is damaged")
        yield kind, (begin, at + size)
        at += size
    raise MediaError("a segment has too many boxes: it is damaged")


def inside(data: bytes, *path: bytes, span: Content | None = None) -> Iterator[Content]:
    """The content of all boxes at a path, such as `moov`, `trak`."""
    for kind, content in children(data, span):
        if kind == path[0]:
            if path[1:]:
                yield from inside(data, *path[1:], span=content)
            else:
                yield content


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise MediaError("a segment's box is too short: it is damaged")
    return int.from_bytes(data[at : at + size], "big")


# --- headers -------------------------------------------------------------------------------------------


def ticks(header: bytes) -> dict[int, int]:
    """Ticks in a second of each track, by its id.

    Raises:
        MediaError: the header of a recording (`moov`) that is none.
    """
    found: dict[int, int] = {}
    for track in inside(header, b"moov", b"trak"):
        ids = [_of_version(header, at, 12, 20) for at, _ in inside(header, b"tkhd", span=track)]
        rates = [_of_version(header, at, 12, 20) for at, _ in inside(header, b"mdia", b"mdhd", span=track)]
        if ids and rates and rates[0]:
            found[ids[0]] = rates[0]
    if not found:
        raise MediaError("a recording's header names no track: it is damaged")
    return found


def _of_version(data: bytes, at: int, old: int, new: int) -> int:
    """Four bytes whose place depends on whether times have four bytes or eight."""
    return _number(data, at + (new if _number(data, at, 1) else old), 4)


PARAMETERS = (
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"),
    (b"moov", b"trak", b"edts"),
    (b"moov", b"mvex", b"trex"),
)
"""What must be the same in two headers for the segments behind them to stand in one file."""


def parameters(header: bytes) -> object:
    """What the segments behind a header are read by; headers that give the same are the same to a decoder."""
    told = [[header[a:b] for a, b in inside(header, *path)] for path in PARAMETERS]
    return ticks(header), told


# --- segments ------------------------------------------------------------------------------------------


def later(segment: bytes, seconds: Fraction, ticks: Mapping[int, int]) -> bytes:
    """A segment whose pictures and sound are `seconds` later; `ticks` are those of its tracks.

    Raises:
        MediaError: it is damaged, or does not say when it begins.
    """
    out = bytearray(segment)
    found = 0
    for track in inside(segment, b"moof", b"traf"):
        ids = [_number(segment, at + 4, 4) for at, _ in inside(segment, b"tfhd", span=track)]
        for at, _ in inside(segment, b"tfdt", span=track):
            size = 8 if _number(segment, at, 1) else 4
            time = _number(segment, at + 4, size) + round(seconds * ticks.get(ids[0] if ids else 0, 0))
            if time >= 1 << (8 * size):
                raise MediaError("a recording's clock leaves no room to join its periods")
            out[at + 4 : at + 4 + size] = time.to_bytes(size, "big")
            found += 1
    if segment and not found:
        raise MediaError("a segment does not say when it begins, so it cannot be placed")
    return bytes(out)


# --- indexes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Indexed:
    """One segment of a file, by its index."""

    start: int  # first byte in the file, and the one behind the last
    end: int
    time: Fraction  # seconds of its first picture or sample
    seconds: Fraction


REFERENCE = struct.Struct(">III")


def index_place(head: bytes) -> tuple[int, int] | None:
    """First byte of a file's index of segments and the one behind its last, if the index begins in `head`."""
    at = 0
    while at + HEADER <= len(head):
        size = int.from_bytes(head[at : at + 4], "big")
        if head[at + 4 : at + 8] == b"sidx":
            return at, at + size
        if size < HEADER:
            return None
        at += size
    return None


def index(data: bytes, place: int) -> list[Indexed]:
    """The segments that an index (`sidx`), which stands at byte `place` of its file, names.

    Raises:
        MediaError: it is damaged, or an index of indexes.
    """
    at, end = next(inside(data, b"sidx"), (0, 0))
    if not end:
        raise MediaError("a recording has no index where its manifest says: it is damaged")
    scale = _number(data, at + 8, 4)
    size = 8 if _number(data, at, 1) else 4
    time = _number(data, at + 12, size)
    start = place + end + _number(data, at + 12 + size, size)
    count, at = _number(data, at + 14 + 2 * size, 2), at + 16 + 2 * size
    if not scale or at + count * REFERENCE.size > end:
        raise MediaError("a recording's index makes no sense: it is damaged")
    found: list[Indexed] = []
    for length, duration, _ in REFERENCE.iter_unpack(data[at : at + count * REFERENCE.size]):
        if length >> 31:
            raise MediaError("a recording has an index of indexes, which is not read")
        found.append(Indexed(start, start + length, Fraction(time, scale), Fraction(duration, scale)))
        start, time = start + length, time + duration
    return found
