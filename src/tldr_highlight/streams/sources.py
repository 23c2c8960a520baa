"""Where media comes from, as a value: what a customer named, and what that says by itself.

source = Source(url="https://example.com/live/master.m3u8")
source.platform, source.protocol, source.label       "custom", "hls", "https://example.com/live/master.m3u8"
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from tldr_highlight.core.addresses import without_keys
from tldr_highlight.errors import PathError
from tldr_highlight.settings import Settings

Kind = Literal["url", "pair", "upload", "path"]

PLATFORMS: Mapping[str, tuple[str, ...]] = {
    "youtube": ("youtube.com", "youtu.be", "youtube-nocookie.com"),
    "twitch": ("twitch.tv",),
    "vimeo": ("vimeo.com",),
    "kick": ("kick.com",),
    "dailymotion": ("dailymotion.com", "dai.ly"),
    "facebook": ("facebook.com", "fb.watch"),
    "instagram": ("instagram.com",),
    "tiktok": ("tiktok.com",),
    "x": ("x.com", "twitter.com"),
}
"""Platform -> its sites; below each all of its hosts. Pages of theirs are for resolvers."""

PROTOCOLS: Mapping[str, str] = {
    "rtmp": "rtmp", "rtmps": "rtmp", "rtsp": "rtsp", "rtsps": "rtsp",
    "srt": "srt", "udp": "udp", "rtp": "rtp",
}  # fmt: skip
"""Scheme -> protocol, where the scheme says it."""

LIVE = PROTOCOLS.keys()
"""Schemes of what is never a recording."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source; one of `url` (with `audio_url`: a pair), `upload_id` and `path` is set."""

    url: str | None = None
    audio_url: str | None = None
    upload_id: str | None = None
    path: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])  # for the origin of `url` alone

    @property
    def kind(self) -> Kind:
        """Which of them it is."""
        if self.url is not None:
            return "url" if self.audio_url is None else "pair"
        return "upload" if self.upload_id is not None else "path"

    @property
    def platform(self) -> str:
        """Whose it is; `custom` where nobody knows."""
        if self.url is None:
            return "upload" if self.upload_id is not None else "local"
        host = (urlsplit(self.url).hostname or "").rstrip(".").lower()
        for platform, sites in PLATFORMS.items():
            if any(host == site or host.endswith(f".{site}") for site in sites):
                return platform
        return "custom"

    @property
    def protocol(self) -> str:
        """How it is read, as its address says: http | hls | dash | rtmp | rtsp | srt | udp | rtp | file."""
        if self.url is None:
            return "file"
        parts = urlsplit(self.url)
        if parts.scheme.lower() in PROTOCOLS:
            return PROTOCOLS[parts.scheme.lower()]
        path = parts.path.lower()
        if path.endswith((".m3u8", ".m3u")):
            return "hls"
        return "dash" if path.endswith(".mpd") else "http"

    @property
    def label(self) -> str:
        """What of it may be shown: an address without what may be a key in it."""
        if self.url is None:
            return self.upload_id or re.split(r"[/\\]", self.path or "")[-1]
        return (without_keys(self.url) + ("?..." if urlsplit(self.url).query else ""))[:2100]

    def as_json(self) -> str:
        """For storing; seal it, as addresses may hold keys."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What was stored."""
        return cls(**json.loads(text))


def allowed_path(settings: Settings, path: str) -> Path:
    """Where a path on this machine leads, if that is in a folder that the operator opened.

    Raises:
        PathError: it does not, or none is open; whether there is such a file is not told.
    """
    folders = [Path(f).resolve() for f in (settings.allow_local_paths or "").split(os.pathsep) if f.strip()]
    try:
        target = Path(path).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is too long
        raise _path_refused() from None
    if not Path(path).is_absolute() or not any(target.is_relative_to(folder) for folder in folders):
        raise _path_refused()
    return target


def _path_refused() -> PathError:
    return PathError("this path is not allowed: sources are files in folders named in TLDR_ALLOW_LOCAL_PATHS")
