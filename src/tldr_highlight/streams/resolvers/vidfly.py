"""Pages of YouTube, turned into media by a service that speaks as Vidfly does, at `VIDFLY_URL`.

Its answers are untrusted: size, shape and addresses are checked here, and what it names is opened by the
same rules as what customers name.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import quote

from tldr_highlight.core.breaker import Rules
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.errors import (
    AddressError,
    AnswerError,
    ResolverError,
    ResolverRefusedError,
    SourceError,
)
from tldr_highlight.media.types import Remote
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.resolvers.base import Resolved, titled
from tldr_highlight.streams.sources import Source

SECONDS = 30.0
"""For its answer."""

SLOW = Rules(slow=20.0)

ANSWER_BYTES = 1 << 20
"""Of its answer; one with thirty items has 60 000."""

MOST_ITEMS = 200

LEAST_HEIGHT = 360

HEADERS = {"X-App-Name": "vidfly-web", "X-App-Version": "1.0.0", "Accept": "application/json"}

ANYWHERE = tuple(ipaddress.ip_network(n) for n in ("0.0.0.0/0", "::/0"))
"""The service itself may be in the operator's own network. Where it redirects to is not followed."""


@dataclass(frozen=True, slots=True)
class Item:
    """One of the addresses it offers."""

    type: str  # video | audio | video_with_audio
    ext: str
    height: int
    label: str
    url: str

    @property
    def rate(self) -> int:
        """The number in its label: kbit/s of sound."""
        found = re.search(r"\d{1,6}", self.label)
        return int(found[0]) if found else 0


def takes(runtime: Runtime, source: Source) -> bool:
    """Pages of YouTube, where the operator has named a service."""
    return runtime.settings.vidfly_url is not None and source.platform == "youtube"


def resolve(runtime: Runtime, source: Source) -> Resolved:
    """See `base.Resolver`."""
    assert source.url
    assert runtime.settings.vidfly_url
    with runtime.breakers.call("vidfly", SLOW):
        title, items = _asked(runtime.policy, runtime.settings.vidfly_url, source.url)
        video, audio = choice(_usable(runtime.policy, items))
        sound = None if audio is None else Remote(audio.url)
        return Resolved(Remote(video.url), sound, title, resolver="vidfly")


def _asked(policy: Policy, base: str, page: str) -> tuple[str | None, Sequence[Item]]:
    """Title and items of a page."""
    url = f"{base.rstrip('/')}/api/media/youtube/download?url={quote(page, safe='')}"
    theirs = replace(
        policy, allow_networks=ANYWHERE, most_redirects=0,
        wall_seconds=SECONDS, read_timeout=SECONDS, tries=1,
    )  # fmt: skip
    try:
        with Egress(theirs) as egress:
            body = egress.fetch(url, headers=HEADERS, most=ANSWER_BYTES).body
        return _read(json.loads(body))
    except (SourceError, ValueError, RecursionError) as error:
        if isinstance(error, ResolverError):
            raise
        # not its own words: they name where the operator's service is
        raise ResolverError(f"vidfly gave no answer that can be used ({_kind(error)})") from error


def _kind(error: Exception) -> str:
    return error.code if isinstance(error, SourceError) else AnswerError.code


def _read(answer: Any) -> tuple[str | None, Sequence[Item]]:
    """Its answer, item by item; what has not the shape of an item is left out.

    Raises:
        ValueError: it is no answer.
    """
    if not isinstance(answer, dict):
        raise ValueError("no object")
    answer = cast("dict[str, Any]", answer)
    code, data = answer.get("code"), answer.get("data")
    if type(code) is not int:
        raise ValueError("no code")
    if code != 0:
        failed = code == 429 or 500 <= code < 600  # as HTTP has it; other numbers are of pages
        raise (ResolverError if failed else ResolverRefusedError)(
            f"vidfly has nothing for this page (code {code})"
        )
    if not isinstance(data, dict):
        raise ValueError("no data")
    data = cast("dict[str, Any]", data)
    items = data.get("items")
    if not isinstance(items, list):
        raise ValueError("no items")
    found = [_item(item) for item in cast("list[Any]", items)[:MOST_ITEMS]]
    return titled(data.get("title")), [item for item in found if item is not None]


def _item(given: Any) -> Item | None:
    if not isinstance(given, dict):
        return None
    fields = cast("dict[str, Any]", given)
    texts = [fields.get(name) for name in ("type", "ext", "url")]
    height = fields.get("height") or 0
    if not all(isinstance(text, str) for text in texts) or type(height) is not int:
        return None
    kind, ext, url = cast("list[str]", texts)
    return Item(kind, ext.lower(), height, str(fields.get("label") or "")[:100], url)


def _usable(policy: Policy, items: Sequence[Item]) -> list[Item]:
    """Items whose addresses may be opened, as far as they say by themselves."""
    with Egress(policy) as egress:
        return [item for item in items if _may_be_opened(egress, item.url)]


def _may_be_opened(egress: Egress, url: str) -> bool:
    try:
        egress.check(url)
    except AddressError:
        return False
    return True


def choice(items: Sequence[Item]) -> tuple[Item, Item | None]:
    """The tallest MP4 picture of 360 lines or more, with the best sound: M4A, else Opus.

    Where there is no picture by itself: the tallest with sound in it. Of equals the first is taken.

    Raises:
        ResolverRefusedError: there is none.
    """
    high = [i for i in items if i.ext == "mp4" and i.height >= LEAST_HEIGHT]
    alone = [i for i in high if i.type == "video"]
    if not alone:
        whole = [i for i in high if i.type == "video_with_audio"]
        if not whole:
            raise ResolverRefusedError(f"vidfly offers no MP4 of {LEAST_HEIGHT} lines or more for this page")
        return max(whole, key=lambda i: i.height), None
    sounds = [i for i in items if i.type == "audio"]
    best = [i for i in sounds if i.ext == "m4a"] or [i for i in sounds if i.ext in {"opus", "webm"}]
    return max(alone, key=lambda i: i.height), max(best, key=lambda i: i.rate, default=None)
