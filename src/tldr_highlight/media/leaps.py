"""Whether the timestamps of a file leap, from a few places in it; `Timeline` says what a leap is."""

from __future__ import annotations

import itertools

from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream

from tldr_highlight.media.probe import open_media, packets, use_only
from tldr_highlight.media.remote import Opened
from tldr_highlight.media.timeline import BACK, FORWARD
from tldr_highlight.media.types import MediaInfo

WITHOUT_INDEX = {"mpegts", "mpeg", "flv"}
"""Containers of recordings, in which one may just follow another. The others carry a table of times."""

PLACES = 64
"""Places that are looked at, evenly over the bytes: an hour takes 50 ms, and its minutes are not missed."""

PLACES_AFAR = 16
"""Of a file on a server, where each takes a request for 256 KiB."""


def leaps(info: MediaInfo) -> bool:
    """Whether cutting has to go through the whole source, because its clock starts again or leaps inside.

    A stretch shorter than a sixty-fourth of the file, on a server a sixteenth, may be overlooked. Parts of
    recordings in segments have a clock each, and are known.

    Raises:
        TldrError: the source cannot be opened any more.
    """
    afar = info.origin if isinstance(info.origin, Opened) else None
    if info.container not in WITHOUT_INDEX or (afar and afar.medium.parts):
        return False
    places = PLACES_AFAR if afar else PLACES
    used = info.video or info.audio
    assert used
    with open_media(info.origin) as container:
        stream = container.streams[used.index]
        use_only(container, [stream])
        times = [_time(container, stream, info.size * n // places) for n in range(places)]
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
