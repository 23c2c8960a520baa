"""Whether the timestamps of a file leap, from a few places in it; `Timeline` says what a leap is."""

from __future__ import annotations

import itertools
from pathlib import Path

from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream

from tldr_highlight.media.probe import open_media, packets, use_only
from tldr_highlight.media.timeline import BACK, FORWARD
from tldr_highlight.media.types import MediaInfo

WITHOUT_INDEX = {"mpegts", "mpeg", "flv"}
"""Containers of recordings, in which one may just follow another. The others carry a table of times."""

PLACES = 64
"""Places that are looked at, evenly over the bytes: an hour takes 50 ms, and its minutes are not missed."""


def leaps(info: MediaInfo) -> bool:
    """Whether cutting has to go through the whole source, because its clock starts again or leaps inside.

    Looks at local files alone. A stretch shorter than a sixty-fourth of the file may be overlooked.

    Raises:
        TldrError: the source cannot be opened any more.
    """
    if not isinstance(info.origin, Path) or info.container not in WITHOUT_INDEX:
        return False
    used = info.video or info.audio
    assert used
    with open_media(info.origin) as container:
        stream = container.streams[used.index]
        use_only(container, [stream])
        times = [_time(container, stream, info.size * n // PLACES) for n in range(PLACES)]
    seen = [at for at in times if at is not None]
    return any(not -BACK <= b - a <= FORWARD for a, b in itertools.pairwise(seen))


def _time(container: InputContainer, stream: Stream, place: int) -> float | None:
    """Raw seconds of the first packet behind a byte."""
    try:
        container.seek(place, unsupported_byte_offset=True)
    except FFmpegError:
        return None
    for packet in packets(container, [stream], most_errors=1):
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is not None:
            return float(stamp * packet.time_base)
    return None
