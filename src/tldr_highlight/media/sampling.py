"""Video packets in, small gray pictures out: what is decoded, and which pictures of it are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, cast

import numpy as np
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

AnyPacket: TypeAlias = "Packet[Stream] | Packet[VideoStream] | Packet[AudioStream]"
Gray: TypeAlias = NDArray[np.uint8]
Picture: TypeAlias = tuple[float, Gray]
"""Media seconds and gray levels."""

WIDTH, HEIGHT = 160, 90
"""Size of the pictures that signals look at; aspect is not kept, motion and cuts do not need it."""

KEY_SPACING = 0.95
"""Seconds between decoded key pictures at least: all-intra sources would decode everything otherwise."""

DENSE_SPACING = 0.24
"""Seconds between pictures kept when everything is decoded: four a second, tolerant of timestamps."""

QUICK = {"skip_loop_filter": "all", "flags2": "+fast"}
"""Decoder options: 160x90 pictures do not show what the loop filter smooths."""


class PictureSampler:
    """Video packets in, small gray pictures with their media times out (some packets later)."""

    def __init__(
        self,
        context: VideoCodecContext,
        base: float,
        *,
        keys: bool,
        last: float = -np.inf,
    ) -> None:
        self.damaged = 0  # packets that could not be decoded
        self._context = context
        self._base = base  # seconds per tick: pictures drained from a decoder know no time base
        self._keys = keys
        self._spacing = KEY_SPACING if keys else DENSE_SPACING
        self._last_kept = last  # media seconds of the last picture that was kept before
        self._last_fed = -np.inf
        self._shift: float | None = None
        self._scale = VideoReformatter()

    def feed(self, packet: AnyPacket, at: float, shift: float) -> list[Picture]:
        """The pictures that come out for a packet of media time `at`, which is raw time plus `shift`."""
        before = self._drained() if self._shift not in {None, shift} else []
        self._shift = shift
        if self._keys:
            if not packet.is_keyframe or too_soon(at, self._last_fed, self._spacing):
                return before
            self._last_fed = at
        try:
            return before + self._keep(self._context.decode(packet))  # pyright: ignore[reportUnknownMemberType]
        except FFmpegError:
            self.damaged += 1
            return before

    def due(self, at: float) -> list[Picture]:
        """Pictures that do not wait for further packets: none."""
        return []

    def _drained(self) -> list[Picture]:
        """The pictures still in the decoder when timestamps leap: they are of the time before."""
        pictures = self.finish()
        self._context.flush_buffers()
        return pictures

    def finish(self) -> list[Picture]:
        """What is left in the decoder."""
        try:
            return self._keep(self._context.decode(None))  # pyright: ignore[reportUnknownMemberType]
        except FFmpegError:
            return []

    def _keep(self, frames: Iterable[VideoFrame]) -> list[Picture]:
        kept: list[Picture] = []
        for frame in frames:
            if frame.pts is None:
                continue
            at = frame.pts * self._base + (self._shift or 0.0)
            if too_soon(at, self._last_kept, self._spacing):
                continue
            self._last_kept = at
            small = self._scale.reformat(frame, WIDTH, HEIGHT, "gray", interpolation="AREA")
            kept.append((at, cast("Gray", small.to_ndarray())))
        return kept


def too_soon(at: float, last: float, spacing: float) -> bool:
    """Whether less than `spacing` seconds have passed; time that runs backwards begins anew."""
    return 0 <= at - last < spacing
