"""The sound of one range of a source, kept in step with its pictures: encoded anew, or copied.

Times are seconds of the clip.
"""
# PyAV's stubs leave the kind of packets open:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet

from tldr_highlight.media.encode import SoundTrack
from tldr_highlight.media.frames import Placed, Source, believable
from tldr_highlight.media.loudness import loudness_of
from tldr_highlight.media.plan import HELD, NotCopyableError
from tldr_highlight.media.probe import AnyPacket
from tldr_highlight.media.samples import AAC_RATES, OFF_PLACE, Block, Samples, layout_of
from tldr_highlight.media.sync import WINDOW

Progress = Callable[[float], None]
"""Called with the media seconds of the clip that are done."""


class EncodedSound:
    """Sound encoded anew; nothing where the source has none."""

    def __init__(self, source: Source, track: SoundTrack) -> None:
        self._source = source
        self._track = track
        self._samples: Samples | None = None

    def begin(self, at: float, until: float) -> float:
        """Start at the sample heard at media second `at`; return its exact time.

        Where the track is to have a loudness, the sound up to media second `until` has it.
        """
        if not self._source.info.audio:
            return at
        rate, layout = self._track.rate, self._track.layout
        start = round(at * rate)
        gain = 1.0
        if (target := self._track.loudness) is not None:
            loudness = loudness_of(self._source, (at, until), rate, layout)
            gain = loudness.gain(target)
            self._track.warn(loudness.warning(target))
        self._samples = Samples(self._source.sounds(at), rate, layout, start, gain)
        return start / rate

    def fill(self, until: Fraction) -> None:
        """Write sound, or silence where there is none, until `until`."""
        if self._samples:
            missing = round(until * self._track.rate) - self._track.samples
            for block in self._samples.until(self._samples.at + missing):
                self._track.write(block)

    def rest(self, after: Fraction, limit: Fraction, tell: Progress = lambda seconds: None) -> Fraction:
        """Write what sound there is until `limit`, if it goes on well behind `after`; return its end."""
        rate = self._track.rate
        if not self._samples or limit <= after:
            return after
        place = self._samples.at - self._track.samples  # media sample that is sample 0 of the clip
        grace = HELD if self._source.info.video else 0.0
        if not self._samples.reaches(place + round((after + Fraction(grace)) * rate)):
            return after
        for block in self._samples.until(place + round(limit * rate), pad=False):
            self._track.write(block)
            tell(self._track.samples / rate)
        return Fraction(self._track.samples, rate)


FRAME = 1024
"""Samples of one packet of AAC-LC."""


class SoundNotCopyableError(NotCopyableError):
    """The sound of a range has to be encoded; its pictures may still be copied."""


@dataclass(frozen=True, slots=True)
class _Block:
    """One packet of AAC, bare, and the sample of media time at which it begins."""

    place: int
    packet: AnyPacket


class CopiedSound:
    """AAC packets as they lie in the source, from one before the range on: decoders need it to get going.

    What is too much before the range is hidden by the clip's edit list, exact to the sample.
    """

    def __init__(self, source: Source, container: OutputContainer) -> None:
        """Add the stream to `container`.

        Raises:
            SoundNotCopyableError: it has to be encoded, with the reason.
        """
        assert source.info.audio
        self.rate = source.info.audio.sample_rate
        self.sums: list[int] = []  # CRC-32 of every packet
        self._source = source
        self._container = container
        self._stream, self._start, self._end, self._written = None, 0, 0, 0
        self._blocks: Iterator[_Block] = iter(())
        _check_codec(source.audio, self.rate)

    def begin(self, at: float, length: Fraction) -> None:
        """Copy what is heard from media second `at` on, `length` seconds of it."""
        self._start = round(at * self.rate)
        self._end = round(length * self.rate)
        packets = self._source.sound_packets((self._start - 2 * FRAME) / self.rate)
        self._blocks = _from_one_before(_run(packets, self.rate), self._start)
        first = next(self._blocks, None)
        if first is None or first.place > self._start:
            raise SoundNotCopyableError("the sound begins later than the pictures")
        config = self._source.audio.codec_context.extradata or _config(memoryview(first.packet))
        stream = self._container.add_stream_from_template(self._source.audio)
        stream.codec_context.extradata = config
        stream.time_base = Fraction(1, self.rate)
        self._stream = stream
        self._blocks = itertools.chain([first], self._blocks)

    def fill(self, until: Fraction) -> None:
        """Copy the packets that begin before `until`."""
        limit = min(self._end, round(until * self.rate))
        while self._written < limit:
            block = next(self._blocks, None)
            if block is None:
                return
            self._copy(block)

    def finish(self) -> None:
        """Copy the rest."""
        self.fill(Fraction(self._end, self.rate))
        if self._end - self._written >= FRAME:
            raise SoundNotCopyableError("the sound ends before the pictures")

    def heard(self) -> dict[int, Block]:
        """The beginning and the end of the range as the source has them, decoded anew, for comparison."""
        most = min(self._end, round(WINDOW * self.rate))
        return {at: self._decoded(self._start + at, most) for at in (0, self._end - most)}

    def _decoded(self, place: int, count: int) -> Block:
        assert self._source.info.audio
        sounds = self._source.sounds(place / self.rate)
        samples = Samples(sounds, self.rate, layout_of(self._source.info.audio), place)
        return np.concatenate(list(samples.until(place + count)), axis=1)

    def _copy(self, block: _Block) -> None:
        self._listen(block)
        bare = bytes(block.packet) if self._source.audio.codec_context.extradata else _bare(block.packet)
        packet = Packet(bare)
        assert self._stream
        packet.stream = self._stream
        packet.pts = packet.dts = block.place - self._start
        packet.duration = min(FRAME, self._end - packet.pts)
        packet.time_base = Fraction(1, self.rate)
        packet.is_keyframe = True
        self.sums.append(zlib.crc32(bare))
        self._written = packet.pts + packet.duration
        self._container.mux(packet)

    def _listen(self, block: _Block) -> None:
        """Decode a packet, which costs 25 us: what cannot be decoded must not be handed on."""
        try:
            frames = self._source.audio.codec_context.decode(block.packet)
        except FFmpegError as error:
            raise SoundNotCopyableError("the sound is damaged") from error
        if not all(believable(frame) for frame in frames):
            raise SoundNotCopyableError("the sound is damaged")


def _check_codec(audio: AudioStream, rate: int) -> None:
    context = audio.codec_context
    if context.name != "aac" or context.profile != "LC":
        raise SoundNotCopyableError(f"{context.name} does not play everywhere")
    if audio.channels > 2 or rate not in AAC_RATES:
        raise SoundNotCopyableError("the sound has more than two channels")


def _run(packets: Iterator[Placed], rate: int) -> Iterator[_Block]:
    """Packets that follow each other without a gap, with their exact places."""
    place: int | None = None
    for packet in packets:
        if place is None:
            place = round(packet.at * rate)
        if abs(packet.at * rate - place) > OFF_PLACE * rate:
            raise SoundNotCopyableError("there is a gap in the sound")
        if packet.packet.is_corrupt or packet.packet.has_sidedata("new_extradata"):
            raise SoundNotCopyableError("the sound is damaged or changes inside")
        yield _Block(place, packet.packet)
        place += FRAME


def _from_one_before(blocks: Iterator[_Block], start: int) -> Iterator[_Block]:
    """Blocks from the one before that which holds sample `start`."""
    before: _Block | None = None
    for block in blocks:
        if block.place + FRAME > start:
            if before:
                yield before
            yield block
            break
        before = block
    yield from blocks


# --- ADTS, as AAC comes in MPEG-TS ---------------------------------------------------------------------


def _config(adts: memoryview) -> bytes:
    """The header in MP4 (AudioSpecificConfig, ISO/IEC 14496-3) of AAC that carries ADTS headers."""
    _check_adts(adts)
    kind, rate, channels = (adts[2] >> 6) + 1, adts[2] >> 2 & 15, (adts[2] & 1) << 2 | adts[3] >> 6
    return (kind << 11 | rate << 7 | channels << 3).to_bytes(2, "big")


def _bare(packet: AnyPacket) -> bytes:
    """A packet without its ADTS header."""
    adts = memoryview(packet)
    _check_adts(adts)
    return bytes(adts[7 if adts[1] & 1 else 9 :])


def _check_adts(adts: memoryview) -> None:
    if len(adts) < 9 or adts[0] != 0xFF or adts[1] & 0xF6 != 0xF0 or adts[6] & 3:
        raise SoundNotCopyableError("the sound is not framed as it should be")
