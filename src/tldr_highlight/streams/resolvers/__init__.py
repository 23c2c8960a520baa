"""From what a customer named to what can be opened. Asked by workers alone, when the work begins.

resolved = resolve(runtime, source, organization_id="org_1", scratch=folder)
Visit(resolved.origin, sound=resolved.sound, policy=runtime.policy)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tldr_highlight.errors import NotFoundError
from tldr_highlight.media.types import Origin, Remote
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.models import Upload
from tldr_highlight.streams.sources import Source


@dataclass(frozen=True, slots=True)
class Resolved:
    """What can be opened, and who said so."""

    origin: Origin
    sound: Origin | None = None  # where it has an address of its own
    title: str | None = None
    resolver: str = "direct"
    version: str | None = None  # of what is behind the address, where that is known: a hash, an ETag


def resolve(runtime: Runtime, source: Source, *, organization_id: str, scratch: Path) -> Resolved:
    """What `source` is at this moment. Addresses that resolvers give may expire: ask again on 403.

    Args:
        runtime: Its store has the uploads; its policy says which addresses are allowed.
        source: What a customer named.
        organization_id: Whose it is: another's upload is not found.
        scratch: A folder for a copy of an upload that is elsewhere.

    Raises:
        NotFoundError: there is no such upload.
        TldrError: it cannot be had, with the reason.
    """
    if source.url is not None:
        sound = None if source.audio_url is None else Remote(source.audio_url, dict(source.headers))
        return Resolved(Remote(source.url, dict(source.headers)), sound)
    if source.upload_id is not None:
        return _uploaded(runtime, source.upload_id, organization_id, scratch)
    assert source.path is not None
    return Resolved(Path(source.path), resolver="path")


def _uploaded(runtime: Runtime, upload_id: str, organization_id: str, scratch: Path) -> Resolved:
    with runtime.db.read() as session:
        upload = Upload.get_for(session, organization_id, upload_id)
    if upload.state != "ready":
        raise NotFoundError("there is no finished upload of this id")
    copy = scratch / "upload"
    runtime.storage.get(upload.key, copy)
    return Resolved(copy, title=upload.filename, resolver="upload", version=upload.sha256)
