"""What has to be known of an H.264 bitstream to copy it: its units, its parameter sets, its header in MP4.

Source of everything here: ITU-T H.264 (7.3 syntax, Annex B) and ISO/IEC 14496-15 (avcC).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tldr_highlight.errors import MediaError

Units = Iterator[memoryview]

IDR, SEI, SPS, PPS, DELIMITER, FILLER = 5, 6, 7, 8, 9, 12
"""Types of units. An IDR picture is one behind which nothing refers to anything before it."""

USER_DATA = {4, 5}
"""SEI payloads that carry somebody's data: captions, encoder settings, a camera's position."""

PROFILES = {66: "baseline", 77: "main", 100: "high"}
"""Profiles of 8-bit 4:2:0 pictures -> x264's names. Extended and the studio profiles are not among them."""


class NotH264Error(MediaError):
    """Bytes that are not what H.264 says they must be."""


def kind(unit: memoryview) -> int:
    """The type of a unit, 0 of an empty one."""
    return unit[0] & 31 if len(unit) else 0


def units(data: memoryview, length_size: int) -> Units:
    """The units of a packet: each behind its length in `length_size` bytes, or Annex B where that is 0."""
    return _prefixed(data, length_size) if length_size else _annex_b(data)


def _prefixed(data: memoryview, length_size: int) -> Units:
    at = 0
    while at + length_size <= len(data):
        begin = at + length_size
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data):
            raise NotH264Error("a unit is longer than its packet")
        yield data[begin:at]
    if at != len(data):
        raise NotH264Error("a packet ends inside a unit's length")


_START = re.compile(b"\0\0\1")


def _annex_b(data: memoryview) -> Units:
    starts = [match.start() for match in _START.finditer(data)]
    for begin, end in itertools.pairwise([*starts, len(data)]):
        unit = data[begin + 3 : end]
        while len(unit) and unit[-1] == 0:  # zeros that belong to the next start code, or trail
            unit = unit[:-1]
        yield unit


def with_lengths(parts: Iterable[memoryview | bytes]) -> bytes:
    """Units as MP4 wants them, each behind its length in four bytes."""
    return b"".join(piece for part in parts for piece in (len(part).to_bytes(4, "big"), part))


@dataclass(slots=True)
class ParameterSets:
    """The sets of a stream by their ids, and how long a unit's length is in its packets."""

    sps: dict[int, bytes] = field(default_factory=dict[int, bytes])
    pps: dict[int, bytes] = field(default_factory=dict[int, bytes])
    length_size: int = 0  # bytes; 0: Annex B

    @classmethod
    def of(cls, extradata: bytes | None) -> ParameterSets:
        """What a container's header says: avcC or Annex B; nothing at all where sets come with the pictures.

        Raises:
            NotH264Error: neither of the two.
        """
        sets = cls()
        if not extradata:
            return sets
        data = memoryview(extradata)
        if data[0] != 1:
            sets.add(_annex_b(data))
            return sets
        if len(data) < 7:
            raise NotH264Error("the header of its pictures is too short")
        sets.length_size = (data[4] & 3) + 1
        at = 5
        for mask in (31, 255):
            if at >= len(data):
                raise NotH264Error("the header of its pictures is cut off")
            count, at = data[at] & mask, at + 1
            for _ in range(count):
                size = int.from_bytes(data[at : at + 2], "big")
                sets.add([data[at + 2 : at + 2 + size]])
                at += 2 + size
        return sets

    def add(self, parts: Iterable[memoryview]) -> bool:
        """Take in the sets among `parts`; return whether none of them contradicts one that is known."""
        agrees = True
        for part in parts:
            if kind(part) in {SPS, PPS}:
                table = self.sps if kind(part) == SPS else self.pps
                id_, content = set_id(part), bytes(part)
                agrees &= table.setdefault(id_, content) == content
        return agrees

    def free_id(self) -> int:
        """An id that neither kind of set uses; x264 gives its picture set the id of its sequence set."""
        free = next((i for i in range(32) if i not in self.sps and i not in self.pps), None)
        if free is None:
            raise NotH264Error("there is no id left for another parameter set")
        return free

    def avcc(self, others: ParameterSets | None = None) -> bytes:
        """The header in MP4: these sets and those of `others`, lengths in four bytes."""
        sps = [*self.sps.values(), *(others.sps.values() if others else ())]
        pps = [*self.pps.values(), *(others.pps.values() if others else ())]
        first = sps[0]
        head = bytes([1, first[1], first[2], max(s[3] for s in sps), 0xFF])
        tail = bytes([0xFD, 0xF8, 0xF8, 0]) if first[1] == 100 else b""  # 4:2:0, 8 bit, 8 bit
        listed = (bytes([mark | len(table)]) + b"".join(len(s).to_bytes(2, "big") + s for s in table)
                  for mark, table in ((0xE0, sps), (0, pps)))  # fmt: skip
        return head + b"".join(listed) + tail


def set_id(unit: memoryview) -> int:
    """The id of a sequence or picture parameter set."""
    bits = Bits(unit[4:] if kind(unit) == SPS else unit[1:])
    return bits.unsigned()


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a sequence parameter set says that matters here."""

    profile: int
    level: str  # as x264 names it, "4.0"
    progressive: bool  # frames only, no fields

    @classmethod
    def of(cls, sps: bytes) -> Sequence:
        """Read a set.

        Raises:
            NotH264Error: it is cut off.
        """
        if len(sps) < 5:
            raise NotH264Error("a parameter set is cut off")
        profile, flags, level = sps[1], sps[2], sps[3]
        bits = Bits(memoryview(sps)[4:])
        bits.unsigned()
        if profile == 100:
            _skip_high(bits)
        bits.unsigned()  # log2_max_frame_num_minus4
        order = bits.unsigned()
        if order == 0:
            bits.unsigned()
        elif order == 1:
            bits.take(1)
            bits.signed()
            bits.signed()
            for _ in range(bits.unsigned()):
                bits.signed()
        bits.unsigned()  # max_num_ref_frames
        bits.take(1)
        bits.unsigned()  # width and height in macroblocks
        bits.unsigned()
        name = "1b" if level == 11 and flags & 0x10 and profile in {66, 77} else f"{level // 10}.{level % 10}"
        return cls(profile, name, bits.take(1) == 1)


def _skip_high(bits: Bits) -> None:
    """chroma_format_idc up to the scaling lists."""
    bits.unsigned()
    bits.unsigned()
    bits.unsigned()
    bits.take(1)
    if bits.take(1):
        for index in range(8):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


class Bits:
    """Reads the bits of a unit, without the bytes that keep start codes out of it."""

    def __init__(self, unit: memoryview) -> None:
        data = bytes(unit[:512]).replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise NotH264Error("a parameter set is cut off")
        return self._value >> self._left & (1 << count) - 1

    def unsigned(self) -> int:
        """ue(v): Exp-Golomb."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """se(v)."""
        value = self.unsigned()
        return (value + 1) // 2 if value % 2 else -(value // 2)


def has_user_data(sei: memoryview) -> bool:
    """Whether a SEI unit carries somebody's data."""
    data = bytes(sei[1:]).replace(b"\0\0\3", b"\0\0")
    at = 0
    while at + 2 <= len(data) and data[at:] != b"\x80":
        numbers: list[int] = []
        for _ in range(2):  # type, size
            number = 0
            while at < len(data) and data[at] == 255:
                number, at = number + 255, at + 1
            number, at = number + (data[at] if at < len(data) else 0), at + 1
            numbers.append(number)
        if numbers[0] in USER_DATA:
            return True
        at += numbers[1]
    return False
