"""Addresses of media itself: files, and playlists of HLS and DASH. A look tells them from pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from tldr_highlight.core.egress import Egress, Response, told_there
from tldr_highlight.media.types import Remote
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.resolvers.base import Resolved
from tldr_highlight.streams.sources import Source

MEDIA = re.compile(
    r"\.(mp4|m4v|m4a|mov|mkv|webm|ts|m2ts|mts|flv|avi|wmv|mpe?g|og[gva]|mp3|aac|wav|flac|m3u8?|mpd)$", re.I
)
"""How the names of media end."""

BEGINNING = 512
"""Bytes that show whether something is a page."""

LOOKING = 30.0
"""Seconds for a look, with all its redirects."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What an address led to."""

    is_page: bool
    version: str | None  # by the server's word: ETag or time of change, and length


def resolve(runtime: Runtime, source: Source) -> Resolved | None:
    """The address as it is, with the version of what is there; None: it is a page.

    Raises:
        SourceError: the server has no such file, or does not answer.
    """
    assert source.url
    headers = dict(source.headers)
    origin = Remote(source.url, headers)
    if source.audio_url is not None:
        return Resolved(origin, Remote(source.audio_url, told_there(headers, source.url, source.audio_url)))
    if is_known_page(source):
        return None
    if urlsplit(source.url).scheme.lower() not in {"http", "https"}:
        return Resolved(origin)  # whoever opens it says what can be opened
    policy = replace(runtime.policy, wall_seconds=min(LOOKING, runtime.policy.wall_seconds))
    with Egress(policy) as egress:
        seen = egress.tried(lambda: look(egress, origin.url, headers))
    return None if seen.is_page else Resolved(origin, version=seen.version)


def is_known_page(source: Source) -> bool:
    """Whether the address alone says that it is a page: at a site that has them, and not named like media."""
    path = urlsplit(source.url or "").path
    return source.platform != "custom" and not MEDIA.search(path)


def look(egress: Egress, url: str, headers: Mapping[str, str]) -> Looked:
    """Ask for the first bytes, and look at them."""
    with egress.open(url, headers=headers, start=0, end=BEGINNING) as response:
        claims = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_page = claims in {"text/html", "application/xhtml+xml"} and _begins_a_page(response)
        return Looked(is_page, _version(response))


def _begins_a_page(response: Response) -> bool:
    return response.read(BEGINNING).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _version(response: Response) -> str | None:
    etag = response.headers.get("etag", "")
    mark = etag if etag.startswith('"') else response.headers.get("last-modified")  # W/: not the same bytes
    return f"{mark}:{response.total}" if mark and response.total is not None else None
