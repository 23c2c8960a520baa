"""Where files are kept: put, get, signed links, cold, delete. A folder, or a bucket of S3 or its like.

`base.py` says what a store does; `serving.py` answers HTTP requests for what the local one has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from tldr_highlight.errors import MissingExtraError, UsageError
from tldr_highlight.storage.local import LocalStore

if TYPE_CHECKING:
    from tldr_highlight.core.security import Links
    from tldr_highlight.settings import Settings
    from tldr_highlight.storage.base import ObjectStore


def store_of(settings: Settings, links: Links) -> ObjectStore:
    """The store an operator has set; the folder `files` in the data folder when none is.

    Raises:
        UsageError: the setting cannot be understood.
        MissingExtraError: the library for S3 is not installed.
    """
    base = (settings.cdn_url or settings.public_url or "").rstrip("/")
    if settings.storage_url is None:
        return LocalStore(settings.data_dir / "files", links, base=base)
    url = urlsplit(settings.storage_url)
    match url.scheme:
        case "file":
            return _folder(url, links, base)
        case "s3":
            return _bucket(url, settings.cdn_url)
        case _:
            raise UsageError("TLDR_STORAGE_URL is neither file:///folder nor s3://bucket/prefix")


def _folder(url: SplitResult, links: Links, base: str) -> LocalStore:
    if url.netloc not in ("", "localhost") or not url.path.strip("/"):
        raise UsageError("TLDR_STORAGE_URL: a folder is written file:///srv/highlights, with three slashes")
    cold = _options(url, {"cold"}).get("cold")
    root, apart = Path(unquote(url.path)), None if cold is None else Path(cold)
    if apart and (not apart.is_absolute() or apart.is_relative_to(root) or root.is_relative_to(apart)):
        raise UsageError("TLDR_STORAGE_URL: cold is another folder, written with a slash first")
    return LocalStore(root, links, cold=apart, base=base)


def _bucket(url: SplitResult, cdn_url: str | None) -> ObjectStore:
    try:
        from tldr_highlight.storage.s3 import OPTIONS, S3Store  # noqa: PLC0415 - an extra, and half a second
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tldr_highlight"):
            raise
        raise MissingExtraError("TLDR_STORAGE_URL: s3 needs pip install 'tldr-highlight[s3]'") from error
    if url.username is not None or url.password is not None:
        raise UsageError("TLDR_STORAGE_URL: credentials go into AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
    return S3Store(url.netloc, url.path.strip("/"), cdn=cdn_url, **_options(url, OPTIONS))


def _options(url: SplitResult, known: set[str]) -> dict[str, str]:
    """What is after the question mark.

    Raises:
        UsageError: something unknown, or twice.
    """
    try:
        given = parse_qs(url.query, strict_parsing=bool(url.query), keep_blank_values=True)
    except ValueError as error:
        raise UsageError("TLDR_STORAGE_URL: after the question mark is name=value&name=value") from error
    if unknown := given.keys() - known:
        raise UsageError(
            f"TLDR_STORAGE_URL: unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
        )
    if twice := [name for name, values in given.items() if len(values) > 1]:
        raise UsageError(f"TLDR_STORAGE_URL: {', '.join(twice)} is there twice")
    return {name: values[0] for name, values in given.items()}
