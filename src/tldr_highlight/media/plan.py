"""How a range will be cut: what can be copied as it is, and what must be encoded anew.

Only the packets around both ends of a range are looked at, whatever its length. Between the first IDR
picture of the range (the *border*) and its last *clean point*, packets are copied; the pictures before and
behind are encoded. Where that is not possible, the reason is part of the plan.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tldr_highlight.errors import CutError, CutSourceError, RangeError, SourceError
from tldr_highlight.media import h264
from tldr_highlight.media.frames import Placed, Source, slack
from tldr_highlight.media.parts import Parts
from tldr_highlight.media.quality import forced
from tldr_highlight.media.types import DEFAULTS, ClipPlan, ClipSpec, CutOptions, MediaInfo, range_text

HELD = 0.5
"""Seconds from which a picture that stays is held, so that times no longer snap to pictures."""

REORDERED = 17
"""Packets in a row that all lie behind a time, after which nothing before it follows: H.264 lets at most 16
pictures precede another in decoding that they follow in presentation."""

ENCODED_PER_SECOND = 60.0
"""Pictures of 1080p that are decoded and encoded in a second on a common machine."""

COPIED_PER_SECOND = 150e6
"""Bytes that are copied, verified and hashed in a second on a common machine."""

OPENING = 0.1
"""Seconds that a clip costs besides."""

LATEST = 30 * 24 * 3600.0
"""Media seconds that no source reaches (`probe` takes a week); libav's clock overflows far behind."""

Stamp = tuple[int, int]
"""pts and dts of a packet, in ticks of the source: what it is known by."""


@dataclass(frozen=True, slots=True)
class Copyable:
    """What of a range is copied and what is encoded. Times are ticks of the source."""

    first: int  # the first picture shown; copied ones before it are hidden
    head: tuple[int, ...]  # pictures before the border, in order of presentation
    border: Stamp  # the first copied picture
    last: Stamp  # the last copied packet, in order of decoding
    tail: tuple[int, ...]  # pictures behind the copied ones
    final: int  # the last picture
    end: int  # when its time ends
    sets: h264.ParameterSets  # of the source, as far as they were seen

    @property
    def encoded(self) -> int:
        """How many pictures are encoded."""
        return len(self.head) + len(self.tail)


class NotCopyableError(CutError):
    """A range cannot be copied; the message is the reason, a clause."""


def plan(
    info: MediaInfo, specs: Sequence[ClipSpec], *, options: CutOptions = DEFAULTS, jumped: bool = False
) -> list[ClipPlan | CutError]:
    """Say for each of `specs` how it will be cut, and why so; nothing is written.

    Frames, bytes and seconds are estimates where copied pictures have not been looked at.

    Raises:
        TldrError: the source cannot be opened any more, or its server failed for three ranges in a row.
    """
    plans: list[ClipPlan | CutError] = []
    failures = 0  # of the source, in a row
    with Parts(info, jumped=jumped) as parts:
        for index, spec in enumerate(specs):
            try:
                check_range(info, spec.start, spec.end, options)
                plans.append(_planned(parts.of(spec.start, spec.end), spec, options))
            except CutError as error:
                outcome = error
            except SourceError as error:
                if failures == MOST_FAILURES - 1:
                    raise
                failures += 1
                parts.close()
                outcome = lost_range(spec, error)
            else:
                failures = 0
                continue
            outcome.index = index
            plans.append(outcome)
    return plans


MOST_FAILURES = 3
"""Ranges in a row for which a server failed, after which it is not asked for the rest."""


def lost_range(spec: ClipSpec, error: SourceError) -> CutSourceError:
    """The outcome of a range for which the source failed."""
    outcome = CutSourceError(f"{range_text(spec.start, spec.end)}: {error} ({error.code})")
    outcome.__cause__ = error
    return outcome


def _planned(source: Source, spec: ClipSpec, options: CutOptions) -> ClipPlan:
    info = source.info
    try:
        found = chosen(source, spec, options)
    except NotCopyableError as error:
        if options.mode == "instant":
            raise
        if spec.start >= info.duration:
            text = range_text(spec.start, spec.end)
            raise RangeError(f"{text} lies behind the source's end, at {info.duration:.3f} s") from error
        start, end = spec.start, min(spec.end, info.duration)
        rate = float(info.video.frame_rate) if info.video else 0.0
        frames = max(1, round((end - start) * rate)) if info.video else 0
        return ClipPlan(
            spec, "encode", str(error), start, end, frames, frames,
            _bytes(info, end - start), OPENING + frames / ENCODED_PER_SECOND,
        )  # fmt: skip
    assert info.video
    tick = float(source.picture_tick)
    start, end = (ticks * tick - info.start_time for ticks in (found.first, found.end))
    size = _bytes(info, end - start)
    seconds = OPENING + found.encoded / ENCODED_PER_SECOND + size / COPIED_PER_SECOND
    frames = max(found.encoded + 1, round((end - start) * float(info.video.frame_rate)))
    method = "smart" if found.encoded else "copy"
    return ClipPlan(spec, method, reason_of(found), start, end, frames, found.encoded, size, seconds)


def _bytes(info: MediaInfo, seconds: float) -> int:
    return round(info.size * seconds / max(info.duration, 1e-3))


def chosen(source: Source, spec: ClipSpec, options: CutOptions) -> Copyable:
    """What is copied of a range in the mode that was asked for. Raises what `copyable` raises."""
    return (instantly if options.mode == "instant" else copyable)(source, spec.start, spec.end, options)


def reason_of(found: Copyable) -> str:
    """Why a range that can be copied is cut as it is."""
    if found.first > found.border[0]:
        return "whole groups of pictures, what is too much hidden by an edit list"
    if not found.encoded:
        return "begins at a key picture and ends where nothing behind it is needed"
    parts = [
        f"{len(pictures)} picture{'s' if len(pictures) > 1 else ''} {where}"
        for pictures, where in ((found.head, "before the first key picture"), (found.tail, "at the end"))
        if pictures
    ]
    return f"only {' and '.join(parts)} encoded, the rest copied"


# --- ranges --------------------------------------------------------------------------------------------


def check_range(info: MediaInfo, start: float, end: float, options: CutOptions) -> None:
    """Refuse what is no range of the source.

    Raises:
        RangeError: with what is wrong and what would be right.
    """
    text = range_text(start, end)
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RangeError(f"{text} is no range of time: give two numbers of seconds")
    if start < 0:
        raise RangeError(f"{text} begins before the source does: start at 0 or later")
    if start >= end:
        raise RangeError(f"{text} is empty or runs backwards: its end must be behind its start")
    if start > LATEST:
        raise RangeError(f"{text} lies behind the source's end, at {info.duration:.3f} s")
    if not options.clamp and end > info.duration + 0.001:
        raise RangeError(f"{text} reaches behind the end of the source, which is at {info.duration:.3f} s")


# --- what can be copied --------------------------------------------------------------------------------


def copyable(source: Source, start: float, end: float, options: CutOptions) -> Copyable:
    """What of `[start, end)` (media seconds) can be copied.

    Raises:
        NotCopyableError: everything has to be encoded, with the reason.
        RangeError: the range holds no picture.
    """
    end = min(end, LATEST)
    _check_options(source, options)
    sets = _parameter_sets(source)
    head, border, held = _scan_head(source, start, end, sets)
    last_gop, ended = _scan_tail(source, border, end, sets)
    first = head[0] if head else border[0]
    if held is not None and _at(source, first) - start >= HELD:
        raise NotCopyableError("it begins in a picture that stays for long")
    last, tail, final, following = _split(last_gop, _limit(source, end))
    if following is None:
        assert ended
        until = _end(source, last_gop, final)
        _check_sound_ends(source, _at(source, until), end)
    else:
        until = following
        if _at(source, until) - end >= HELD:
            raise NotCopyableError("it ends in a picture that stays for long")
    return Copyable(first, tuple(head), border, last, tuple(tail), final, until, sets)


def instantly(source: Source, start: float, end: float, options: CutOptions) -> Copyable:
    """What to copy for `[start, end)` without encoding anything: some more pictures on both sides.

    Those before are hidden by an edit list; those behind are shown.

    Raises:
        NotCopyableError: everything has to be encoded, with the reason.
        RangeError: the range holds no picture.
    """
    end = min(end, LATEST)
    _check_options(source, options)
    sets = _parameter_sets(source)
    limit = _limit(source, end)
    border, first = _scan_back(source, start, end, sets)
    last_gop, _ = _scan_tail(source, border, end, sets)
    stamps = [_stamp(p) for p in last_gop]
    place = next(i for i in _clean_places(stamps) if all(pts >= limit for pts, _ in stamps[i + 1 :]))
    final = max(pts for pts, _ in stamps[: place + 1])
    following = min((pts for pts, _ in stamps[place + 1 :]), default=None)
    until = _end(source, last_gop, final) if following is None else following
    return Copyable(first, (), border, stamps[place], (), final, until, sets)


def _scan_back(source: Source, start: float, end: float, sets: h264.ParameterSets) -> tuple[Stamp, int]:
    """The last IDR picture at or before `start`, and the first picture that is not before `start`."""
    first = _limit(source, start)
    at = start
    while True:
        packets = source.picture_packets(at)
        key = next(packets, None)
        if key is None or _stamp(key)[0] > first:
            raise NotCopyableError("there is no key picture to begin copying with")
        if check_packet(key, sets):
            break
        at = min(at, key.at) - 2 * slack(float(source.picture_tick)) - 1e-6
    _check_sequences(sets)
    shown: list[int] = []
    for packet in itertools.chain([key], packets):
        if _stamp(packet)[0] >= first:
            shown.append(_stamp(packet)[0])
        if len(shown) >= REORDERED:
            break
    if not shown or min(shown) >= _limit(source, end):
        raise RangeError(f"{range_text(start, end)} holds no picture that could be shown at once")
    return _stamp(key), min(shown)


def _check_options(source: Source, options: CutOptions) -> None:
    video = source.info.video
    if video is None:
        raise NotCopyableError("there are no pictures to copy")
    if options.mode == "encode":
        raise NotCopyableError("asked for")
    if reason := forced(options, source.info):
        raise NotCopyableError(reason)
    if source.jumped:
        raise NotCopyableError("the source's clock jumps")
    if video.codec != "h264":
        raise NotCopyableError(f"{video.codec} does not play everywhere")
    if video.pixel_format not in {"yuv420p", "yuvj420p"}:
        raise NotCopyableError(f"{video.pixel_format} does not play everywhere")


def _parameter_sets(source: Source) -> h264.ParameterSets:
    try:
        return h264.ParameterSets.of(source.video.codec_context.extradata)
    except h264.NotH264Error as error:
        raise NotCopyableError(str(error)) from error


def check_packet(packet: Placed, sets: h264.ParameterSets) -> bool:
    """Take in the parameter sets of a packet; return whether it is an IDR picture.

    Raises:
        NotCopyableError: it cannot be copied.
    """
    if packet.packet.pts is None or packet.packet.dts is None:
        raise NotCopyableError("its pictures have no times of their own")
    if packet.packet.has_sidedata("new_extradata"):
        raise NotCopyableError("its parameters change inside")
    if packet.packet.is_corrupt:
        raise NotCopyableError("it is damaged here")
    try:
        parts = list(h264.units(memoryview(packet.packet), sets.length_size))
        agrees = sets.add(parts)
    except h264.NotH264Error as error:
        raise NotCopyableError(f"it is damaged here: {error}") from error
    if not agrees:
        raise NotCopyableError("its parameters change inside")
    return any(h264.kind(part) == h264.IDR for part in parts)


def _scan_head(
    source: Source, start: float, end: float, sets: h264.ParameterSets
) -> tuple[list[int], Stamp, int | None]:
    """Pictures before the border, the border, and the picture shown at the start if it began earlier."""
    first, limit = _limit(source, start), _limit(source, end)
    head: list[int] = []
    before: int | None = None
    behind = 0
    for packet in source.picture_packets(start):
        idr = check_packet(packet, sets)
        pts, dts = _stamp(packet)
        if pts < first:
            before = pts if before is None else max(before, pts)
        elif idr:
            if pts >= limit:
                break
            _check_sequences(sets)
            return _ordered(head), (pts, dts), before
        elif pts < limit:
            head.append(pts)
        else:
            behind += 1
            if behind >= REORDERED:
                break
    if not head and before is None:
        raise RangeError(f"{range_text(start, end)} holds no picture")
    raise NotCopyableError("there is no key picture to begin copying with")


def _check_sequences(sets: h264.ParameterSets) -> None:
    try:
        sequences = [h264.Sequence.of(s) for s in sets.sps.values()]
    except h264.NotH264Error as error:
        raise NotCopyableError(str(error)) from error
    if not sequences or not sets.pps:
        raise NotCopyableError("it has no parameter sets")
    if not all(s.progressive for s in sequences):
        raise NotCopyableError("it is interlaced")
    if {s.profile for s in sequences} - set(h264.PROFILES) or len({s.profile for s in sequences}) > 1:
        raise NotCopyableError("its profile does not play everywhere")


def _scan_tail(
    source: Source, border: Stamp, end: float, sets: h264.ParameterSets
) -> tuple[list[Placed], bool]:
    """Packets from the last IDR picture before `end` on, far enough; and whether the source ended."""
    limit = _limit(source, end)
    at = end
    while True:
        packets = source.picture_packets(at)
        first = next(packets, None)
        if first is None or first.at > at + slack(float(source.picture_tick)):  # no key picture is earlier
            raise NotCopyableError("its end cannot be read")
        idr = check_packet(first, sets)
        if _stamp(first)[0] <= border[0]:
            behind = itertools.dropwhile(
                lambda p: _stamp(p)[0] != border[0], itertools.chain([first], packets)
            )
            return _gathered(behind, limit, sets)
        if idr and _stamp(first)[0] < limit:
            return _gathered(itertools.chain([first], packets), limit, sets)
        at = min(at, first.at) - 2 * slack(float(source.picture_tick)) - 1e-6


def _gathered(packets: Iterator[Placed], limit: int, sets: h264.ParameterSets) -> tuple[list[Placed], bool]:
    """Packets from the last IDR picture among `packets` that is shown before `limit`."""
    out: list[Placed] = []
    behind = 0
    for packet in packets:
        idr = check_packet(packet, sets)
        pts, _ = _stamp(packet)
        if idr and pts < limit:
            out.clear()
        out.append(packet)
        behind = behind + 1 if pts >= limit else 0
        if behind >= REORDERED or (idr and pts >= limit):
            return out, False
    if not out:
        raise NotCopyableError("its end cannot be read")
    return out, True


def _split(packets: Sequence[Placed], limit: int) -> tuple[Stamp, list[int], int, int | None]:
    """The last packet to copy, the pictures before `limit` behind it, the last of all, and the one after.

    The last packet ends the longest run, in order of decoding, whose pictures are all shown before `limit`
    and before every later one.
    """
    stamps = [_stamp(p) for p in packets]
    clean = -1
    for place in _clean_places(stamps):
        if any(pts >= limit for pts, _ in stamps[clean + 1 : place + 1]):
            break
        clean = place
    if clean < 0:
        raise NotCopyableError("there is no place to end copying")
    tail = _ordered([pts for pts, _ in stamps[clean + 1 :] if pts < limit])
    final = max(pts for pts, _ in stamps if pts < limit)
    return stamps[clean], tail, final, min((pts for pts, _ in stamps if pts >= limit), default=None)


def _clean_places(stamps: Sequence[Stamp]) -> Iterator[int]:
    """Places in order of decoding up to which every picture is shown before every later one."""
    later = math.inf
    earliest = [later := min(later, pts) for pts, _ in reversed(stamps)][::-1]
    latest = -math.inf
    for place, (pts, _) in enumerate(stamps):
        latest = max(latest, pts)
        if place + 1 == len(stamps) or latest < earliest[place + 1]:
            yield place


def _end(source: Source, packets: Sequence[Placed], final: int) -> int:
    """When the picture `final` ends, behind which there is none."""
    return final + _duration(source, next(p for p in packets if _stamp(p)[0] == final))


def _check_sound_ends(source: Source, pictures_end: float, end: float) -> None:
    """Refuse to copy where sound goes on well behind the last picture, which then has to stay."""
    info = source.info
    if info.audio is None or end - pictures_end < HELD:
        return
    packets = source.sound_packets(pictures_end)
    if any(min(packet.end, end) - pictures_end >= HELD for packet in packets):
        raise NotCopyableError("its sound goes on behind the last picture")


def _limit(source: Source, seconds: float) -> int:
    """The first tick at which a picture is not before `seconds`."""
    tick = float(source.picture_tick)
    return math.ceil((seconds - slack(tick) + source.info.start_time) / tick - 1e-6)


def _at(source: Source, ticks: int) -> float:
    return ticks * float(source.picture_tick) - source.info.start_time


def _stamp(placed: Placed) -> Stamp:
    packet = placed.packet
    if packet.pts is None or packet.dts is None:
        raise NotCopyableError("its pictures have no times of their own")
    return packet.pts, packet.dts


def _duration(source: Source, placed: Placed) -> int:
    assert source.info.video
    rate = source.info.video.frame_rate * source.picture_tick
    return placed.packet.duration or max(1, round(1 / rate))


def _ordered(pictures: list[int]) -> list[int]:
    if len(set(pictures)) < len(pictures):
        raise NotCopyableError("several of its pictures have one time")
    return sorted(pictures)
