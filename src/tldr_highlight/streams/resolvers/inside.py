"""yt-dlp at work, in a sandbox's process. See `ytdlp` for the other side."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from tldr_highlight.core.addresses import without_keys, words_without_keys
from tldr_highlight.core.wire import Json, pack, unpack
from tldr_highlight.errors import MissingExtraError, ResolverError, ResolverRefusedError
from tldr_highlight.media.keeper import Tell

PREFERRED = ("res:1080", "vcodec:h264", "acodec:aac")
"""Of the formats the tallest of at most 1080 lines, and among those what can be cut without decoding."""

PATIENCE = 20.0
"""Seconds that a server may be silent."""

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""Of the environment: the rest may hold our passwords, or proxies that are not ours."""

LONGEST = 300
"""Characters of its words in a message."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is to be looked at, and the only way there."""

    url: str
    headers: Mapping[str, str]
    proxy: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where media is."""

    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Found:
    """What a page has."""

    title: str | None
    video: Place  # sound is in it, unless it has a place of its own
    audio: Place | None


def extract(arguments: Json, tell: Tell) -> Generator[Json, Json]:
    """One item: what was `Found` on a `Page`."""
    page = unpack(Page, arguments)
    _shut_in(page.proxy)
    yield pack(_found(page))


def _shut_in(proxy: str) -> None:
    """From here on no connection but to the proxy, no name asked for, no program started: for good.

    Whatever Python does tells an audit hook first, and a hook cannot be taken away.
    """
    for name in [n for n in os.environ if n not in KEPT]:
        del os.environ[name]
    os.environ["YTDLP_NO_PLUGINS"] = "1"
    parts = urlsplit(proxy)
    ways = {(parts.hostname, parts.port)}

    def judge(event: str, given: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            allowed = isinstance(given[1], tuple) and given[1][:2] in ways
        elif event == "socket.getaddrinfo":
            allowed = given[:2] in ways
        else:
            allowed = event not in FORBIDDEN
        if not allowed:
            raise PermissionError(f"{event} is not allowed here")

    sys.addaudithook(judge)


FORBIDDEN = {
    "socket.bind", "socket.sendto", "socket.sendmsg", "socket.gethostbyname", "socket.gethostbyaddr",
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn",
    "ctypes.dlopen",
}  # fmt: skip


class _Silent:
    """Its logger."""

    def debug(self, text: str) -> None: ...

    info = warning = error = debug


def _found(page: Page) -> Found:
    try:
        import yt_dlp  # noqa: PLC0415  (0.5 s, and an extra)
        from yt_dlp.utils import YoutubeDLError  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "this takes the extra `ytdlp`: pip install 'tldr-highlight[ytdlp]'"
        ) from error
    options: Any = {
        "logger": _Silent(),
        "proxy": page.proxy,
        "http_headers": dict(page.headers),
        "format": "bv*+ba/b",
        "format_sort": list(PREFERRED),
        "noplaylist": True,
        "playlist_items": "1",
        "cachedir": False,
        "js_runtimes": {},  # programs that run what a page says
        "socket_timeout": PATIENCE,
        "extractor_retries": 1,
        "check_formats": False,
    }
    try:
        with yt_dlp.YoutubeDL(options) as ydl:
            info: Json = ydl.extract_info(page.url, download=False)
            return _chosen(ydl, _first(info))
    except YoutubeDLError as error:
        raise _told(error, page.url) from error


def _first(info: Json) -> dict[str, Json]:
    """Of a list of videos the first."""
    while isinstance(info, dict) and "entries" in info:
        info = next(iter(cast("dict[str, Json]", info)["entries"]), None)
    if not isinstance(info, dict):
        raise ResolverRefusedError("yt-dlp found no media on this page")
    return cast("dict[str, Json]", info)


def _chosen(ydl: Any, info: dict[str, Json]) -> Found:
    video, *others = info.get("requested_formats") or [info]
    audio = _place(ydl, others[0]) if others else None
    return Found(str(info.get("title") or "") or None, _place(ydl, video), audio)


def _place(ydl: Any, form: dict[str, Json]) -> Place:
    url = str(form.get("url") or "")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ResolverRefusedError("yt-dlp found media on this page that are not had over http")
    told: dict[str, Json] = form.get("http_headers") or {}
    headers = {name: str(value) for name, value in told.items()}
    cookies: str | None = ydl.cookiejar.get_cookie_header(url)
    return Place(url, headers | ({"Cookie": cookies} if cookies else {}))


def _told(error: Exception, url: str) -> ResolverError:
    """Its error as ours: was there an answer, and is that for good? Addresses in its words may hold keys."""
    from yt_dlp.networking.exceptions import HTTPError, RequestError  # noqa: PLC0415
    from yt_dlp.utils import ExtractorError  # noqa: PLC0415

    causes = list(_causes(error))
    extractor = next((c for c in causes if isinstance(c, ExtractorError)), None)
    # without the id that it makes of an address's end, `page?token=…`
    text = extractor.orig_msg if extractor else str(error).removeprefix("ERROR: ")
    words = words_without_keys(" ".join(text.replace(url, without_keys(url)).split()))[:LONGEST]
    http = next((c for c in causes if isinstance(c, HTTPError)), None)
    if http is not None:
        failed = http.status in {408, 425, 429} or http.status >= 500
    elif any(isinstance(c, RequestError | OSError) for c in causes):
        failed = True
    else:  # expected: it says so of what is private, gone, or of no site it knows
        failed = extractor is not None and not extractor.expected
    return (ResolverError if failed else ResolverRefusedError)(f"yt-dlp has nothing for this page: {words}")


def _causes(error: BaseException | None) -> Generator[BaseException]:
    """An error and what it came from, its own way of keeping that included."""
    left, seen = [error], set[int]()
    while left:
        each = left.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        kept = getattr(each, "exc_info", None) or (None, None)
        left += [each.__cause__, getattr(each, "cause", None), kept[1], each.__context__]
