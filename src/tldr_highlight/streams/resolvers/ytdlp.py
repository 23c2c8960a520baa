"""Pages of a thousand sites, turned into media by yt-dlp (the extra `ytdlp`), in a process of its own.

The code is other people's and reads what other people's servers say. So it works in the sandbox, within
limits of time and memory, without our environment, and all that it asks of servers goes through a proxy of
ours, which judges addresses as for any source (`inside` sees to that). What it answers is checked here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Set
from dataclasses import replace

from tldr_highlight.core.breaker import Rules
from tldr_highlight.core.egress import OURS, TOKEN, VALUE, Egress, told_there
from tldr_highlight.core.proxy import Proxy
from tldr_highlight.core.wire import pack, unpack
from tldr_highlight.errors import MediaError, ResolverError
from tldr_highlight.media.sandbox import END, Child, ProcessLimits
from tldr_highlight.media.types import Remote
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.resolvers.base import Resolved, titled
from tldr_highlight.streams.resolvers.inside import Found, Page, Place
from tldr_highlight.streams.sources import Source

LIMITS = ProcessLimits(seconds=60.0, memory=1 << 30, file_bytes=16 << 20)

MOVED_BYTES = 64 << 20
"""Bytes of one connection; pages and playlists have a few hundred thousand."""

SLOW = Rules(slow=45.0)

TARGET = "tldr_highlight.streams.resolvers.inside:extract"


def takes(runtime: Runtime, source: Source) -> bool:
    """Every page, where it is installed."""
    return importlib.util.find_spec("yt_dlp") is not None


def resolve(runtime: Runtime, source: Source) -> Resolved:
    """See `base.Resolver`."""
    assert source.url
    if source.platform == "custom":  # a breaker for each site that anybody names would be theirs to fill
        return _resolved(runtime, source.url, source.headers)
    with runtime.breakers.call(f"ytdlp:{source.platform}", SLOW):
        return _resolved(runtime, source.url, source.headers)


def _resolved(runtime: Runtime, url: str, headers: Mapping[str, str]) -> Resolved:
    policy = replace(
        runtime.policy,
        wall_seconds=min(LIMITS.seconds, runtime.policy.wall_seconds),
        largest_bytes=MOVED_BYTES,
    )
    with Egress(policy) as egress:
        egress.check(url)
        with Proxy(egress) as proxy:
            try:
                found = _asked(Page(url, dict(headers), proxy.url))
            except ResolverError:
                if proxy.refused:  # it was led to where nobody may go: that is why
                    raise proxy.refused from None
                raise
        for place in (found.video, found.audio):
            if place is not None:
                egress.check(place.url)
    video, *sound = [
        _remote(place, headers.keys() - told_there(headers, url, place.url))
        for place in (found.video, found.audio)
        if place is not None
    ]
    return Resolved(video, sound[0] if sound else None, titled(found.title), resolver="ytdlp")


def _asked(page: Page) -> Found:
    """What it says of a page."""
    try:
        with Child(TARGET, pack(page), limits=LIMITS) as child:
            item = child.ask()
        if item is END:
            raise ValueError("nothing was said")
        return unpack(Found, item)
    except MediaError as error:  # its process hung, crashed or swelled
        raise ResolverError(f"yt-dlp gave no answer ({error.code})") from error
    except ValueError as error:
        raise ResolverError("yt-dlp gave no answer that can be used") from error


def _remote(place: Place, secret: Set[str] = frozenset()) -> Remote:
    """An address of its, with those of the headers that may be sent; the `secret` ones are for the page."""
    withheld = OURS | {name.title() for name in secret}
    kept = {
        name: value
        for name, value in place.headers.items()
        if name.title() not in withheld and TOKEN.fullmatch(name) and VALUE.fullmatch(value)
    }
    return Remote(place.url, kept)
