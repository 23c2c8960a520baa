"""Uploads: what crosses HTTP, and how their headers are read."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Literal

from tldr_highlight.core.shapes import Schema
from tldr_highlight.errors import RequestError
from tldr_highlight.storage.names import harmless
from tldr_highlight.streams.uploads import Announced

PLAIN = "application/octet-stream"
MEDIA_TYPE = re.compile(r"(?:video|audio)/[a-z0-9][a-z0-9.+-]{0,60}")
SHA256 = re.compile(r"[0-9a-f]{64}")
DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class UploadOut(Schema):
    """A file that was sent, or is being sent."""

    id: str
    filename: str | None
    content_type: str
    bytes: int | None  # none: known at its end
    offset: int  # bytes that are safe
    sha256: str | None  # as announced; once it is ready, as found
    state: Literal["receiving", "ready"]
    created_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None  # then it is deleted; none: for as long as a stream is made of it


def announced(
    length: int | None,
    *,
    filename: str | None,
    content_type: str | None,
    sha256: str | None,
    content_digest: str | None,
) -> Announced:
    """What headers say of a file.

    Raises:
        RequestError: one of them cannot be read.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    return Announced(
        length,
        None if not filename else harmless(filename),
        kind if MEDIA_TYPE.fullmatch(kind) else PLAIN,
        _hash(sha256, content_digest),
    )


def metadata(header: str) -> dict[str, str]:
    """`Upload-Metadata` of tus: names and base64, with commas between.

    Raises:
        RequestError: it is not like that.
    """
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise RequestError("Upload-Metadata has names with values in base64, commas between") from error
    return found


def _hash(sha256: str | None, content_digest: str | None) -> str | None:
    if sha256:
        if not SHA256.fullmatch(sha256.strip().lower()):
            raise RequestError("X-Content-SHA256 has 64 hexadecimal digits")
        return sha256.strip().lower()
    if content_digest:
        if not (found := DIGEST.search(content_digest)):
            raise RequestError("Content-Digest: only sha-256=:base64: is known here")
        return base64.b64decode(found[1]).hex()
    return None
