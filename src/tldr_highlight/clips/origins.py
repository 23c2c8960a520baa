"""Sources as people name them: a path, or an http(s) address with what must be sent along."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from tldr_highlight.core.addresses import without_keys
from tldr_highlight.errors import UsageError
from tldr_highlight.media.types import Origin, Remote

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def origin_of(text: str, headers: Mapping[str, str] | None = None) -> Origin:
    """What `text` names. `headers` go along to an address.

    Raises:
        UsageError: an address of a kind that cannot be cut from.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Path(text)
    if scheme[1].lower() not in {"http", "https"}:
        raise UsageError(f"{scheme[1]}:// is no source of clips; name a file, or an http or https address")
    return Remote(text, dict(headers or {}))


def header_of(line: str) -> tuple[str, str]:
    """Name and value of `Name: value`; the value stays out of every message, it may be a key.

    Raises:
        UsageError: no header, or one that would smuggle in a second.
    """
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise UsageError("a header is 'Name: value', such as 'Authorization: Bearer ...'")
    if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
        raise UsageError(
            f"the value of header {name} holds what no header may: line breaks or wide characters"
        )
    return name, value.strip()


def host_of(origin: Origin) -> str | None:
    """Scheme, host and port of an address, as far as keys may be sent there."""
    if isinstance(origin, Path):
        return None
    scheme, _, rest = origin.url.partition("://")
    return f"{scheme}://{re.split(r'[/?#]', rest)[0].rpartition('@')[2]}".lower()


def label(text: str) -> str:
    """A source's name as documents show it: always text, and of an address nothing that may be a key."""
    if not _SCHEME.match(text):
        return text.encode("utf-8", "replace").decode()  # names may hold bytes that are no text
    shown = without_keys(text) + ("?..." if "?" in text.partition("#")[0] else "")
    return shown.encode("utf-8", "replace").decode()


def stem_of(origin: Origin) -> str:
    """What clips of a source are called after: its name without its end, or the host of a bare address."""
    if isinstance(origin, Path):
        return origin.stem
    place = re.split(r"[?#]", origin.url.partition("://")[2])[0]
    parts = [unquote(part) for part in place.rpartition("@")[2].split("/") if part]
    return (Path(parts[-1]).stem or parts[-1]) if parts else ""
