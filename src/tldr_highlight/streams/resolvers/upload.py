"""Files that a customer has sent."""

from __future__ import annotations

from pathlib import Path

from tldr_highlight.errors import NotFoundError
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.models import Upload
from tldr_highlight.streams.resolvers.base import Resolved


def resolve(runtime: Runtime, upload_id: str, organization_id: str, scratch: Path) -> Resolved:
    """The upload where it is stored, or a copy in `scratch` where that is elsewhere; it is what was sent.

    Raises:
        NotFoundError: this organization has no finished upload of this id.
        ObjectDamagedError: its bytes are not those that were stored.
    """
    with runtime.db.read() as session:
        upload = Upload.get_for(session, organization_id, upload_id)
    if upload.state != "ready":
        raise NotFoundError("there is no finished upload of this id")
    file = runtime.storage.file(upload.key, scratch / "upload")
    return Resolved(file, title=upload.filename, resolver="upload", version=upload.sha256)
