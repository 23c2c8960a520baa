"""Uploads: at which address. The same resources for one call with the file, and for tus 1.0 clients."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query, Response

from tldr_highlight.core.shapes import Id, Page, PageQuery
from tldr_highlight.errors import (
    BodyGoneError,
    BodyLimitError,
    BodyTypeError,
    BusyError,
    ConflictError,
    LimitError,
    NotFoundError,
    ObjectMismatchError,
    QuotaError,
    RequestError,
    StorageError,
    StorageFullError,
    TusVersionError,
    UploadBusyError,
    UploadOffsetError,
)
from tldr_highlight.runtime import Look
from tldr_highlight.streams import uploads as service
from tldr_highlight.streams.models import Upload
from tldr_highlight.streams.upload_schemas import PLAIN, UploadOut, announced, metadata
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes
from tldr_highlight.web.incoming import Incoming

uploads = Routes("/api/v1/uploads", tag="uploads")

TUS = "1.0.0"
PIECE = "application/offset+octet-stream"
"""What tus sends pieces as."""

FULL = [
    QuotaError,
    StorageFullError,
    StorageError,
    BodyLimitError,
    ObjectMismatchError,
    BodyGoneError,
    BusyError,
]

Name = Annotated[
    str | None, Query(max_length=255, description="What the file is called.", examples=["match.mp4"])
]
Length = Annotated[
    int | None, Header(ge=0, le=10**15, description="tus: bytes that will come.", examples=[1_048_576])
]
Metadata = Annotated[
    str | None,
    Header(
        max_length=4096,
        description="tus: `filename`, `filetype`, `sha256` (64 hexadecimal digits).",
        examples=["filename bWF0Y2gubXA0"],
    ),
]
Hash = Annotated[
    str | None,
    Header(
        alias="X-Content-SHA256", max_length=64, description="Of the whole file.", examples=["e3b0c442" * 8]
    ),
]
Digest = Annotated[
    str | None,
    Header(
        max_length=1024, description="Of the whole file (RFC 9530).",
        examples=["sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"],
    ),
]  # fmt: skip
Version = Annotated[str | None, Header(max_length=16, description="tus: `1.0.0`.", examples=[TUS])]
Kind = Annotated[str | None, Header(alias="Content-Type", include_in_schema=False)]
Deferred = Annotated[str | None, Header(include_in_schema=False)]
"""What tus has for files of unknown length, and this server has not."""


@uploads.post(
    "", scope=Scope.STREAMS_WRITE, status=201, takes=PLAIN, errors=[*FULL, LimitError, TusVersionError]
)
def create_upload(
    look: Look,
    body: Incoming,
    filename: Name = None,
    upload_length: Length = None,
    upload_defer_length: Deferred = None,
    upload_metadata: Metadata = None,
    x_content_sha256: Hash = None,
    content_digest: Digest = None,
    tus_resumable: Version = None,
    content_type: Kind = None,
) -> UploadOut:
    """Upload a file. The body is the file, whatever its type; it is on its way to storage while it comes.

    With `Upload-Length` it is a tus upload instead, which goes on after a break: see `PATCH`. The hash, if
    one is given, is checked before the upload is ready; a file with another one leaves nothing.
    """
    _speak(body, tus_resumable)
    if upload_defer_length is not None:
        raise RequestError("Upload-Length must say how many bytes will come: it cannot be told later")
    if upload_length is None:
        about = announced(
            body.length, filename=filename, content_type=content_type, sha256=x_content_sha256,
            content_digest=content_digest,
        )  # fmt: skip
        return _told(service.receive(look, about, body), body)
    said = metadata(upload_metadata or "")
    about = announced(
        upload_length,
        filename=said.get("filename") or filename,
        content_type=said.get("filetype"),
        sha256=said.get("sha256") or x_content_sha256,
        content_digest=content_digest,
    )
    with_piece = _is_piece(content_type)
    if not with_piece and body.read():
        raise BodyTypeError(f"the first piece of a tus upload comes as {PIECE}")
    if with_piece or upload_length == 0:
        return _told(service.begin_with(look, about, body), body)
    return _told(service.begin(look, about), body)


@uploads.operation(
    "PATCH",
    "/{upload_id}",
    scope=Scope.STREAMS_WRITE,
    status=204,
    takes=PIECE,
    errors=[
        *FULL,
        ConflictError,
        UploadBusyError,
        UploadOffsetError,
        NotFoundError,
        LimitError,
        TusVersionError,
    ],
)
def continue_upload(
    look: Look,
    body: Incoming,
    upload_id: Id,
    upload_offset: Annotated[
        int, Header(ge=0, le=10**15, description="Where the body goes: what `HEAD` says.", examples=[0])
    ],
    tus_resumable: Version = None,
    content_type: Kind = None,
) -> None:
    """Send the next bytes of an upload. As tus does: what came stays if the connection breaks, and `HEAD`
    says from where to go on. With the last byte it is ready."""
    _speak(body, tus_resumable)
    if not _is_piece(content_type):
        raise BodyTypeError(f"send pieces as {PIECE}")
    upload = service.send_on(look, upload_id, upload_offset, body)
    body.headers["Upload-Offset"] = str(upload.offset)


@uploads.get("", scope=Scope.STREAMS_READ)
def list_uploads(call: Call, page: Annotated[PageQuery, Query()]) -> Page[UploadOut]:
    """List uploads. Newest first, unfinished ones included."""
    rows, cursor = service.list_uploads(call, page)
    return Page(data=[UploadOut.model_validate(row) for row in rows], next_cursor=cursor)


@uploads.get("/{upload_id}", scope=Scope.STREAMS_READ)
def get_upload(call: Call, upload_id: Id) -> UploadOut:
    """Read one upload. `HEAD` has what tus wants to know: `Upload-Offset` and `Upload-Length`."""
    upload = service.get(call, upload_id)
    call.headers.update(_headers(upload))
    return UploadOut.model_validate(upload)


@uploads.delete("/{upload_id}", scope=Scope.STREAMS_WRITE, status=204, errors=[ConflictError])
def delete_upload(call: Call, upload_id: Id) -> None:
    """Delete an upload. Finished or not, unless a stream is made of it: then it goes with that."""
    call.headers["Tus-Resumable"] = TUS
    service.remove(call, upload_id)


@uploads.operation("OPTIONS", "", public=True, writes=False, status=204)
def describe_uploads(call: Call) -> Response:
    """Say what of tus there is."""
    spoken = {"Tus-Version": TUS, "Tus-Extension": "creation,creation-with-upload,termination"}
    return Response(
        status_code=204, headers={"Tus-Resumable": TUS, "Tus-Max-Size": str(service.MOST_BYTES), **spoken}
    )


def _speak(body: Incoming, version: str | None) -> None:
    """Answer as tus wants it.

    Raises:
        TusVersionError: the client speaks another version.
    """
    body.headers["Tus-Resumable"] = TUS
    if version is not None and version != TUS:
        body.headers["Tus-Version"] = TUS
        raise TusVersionError(f"this server speaks tus {TUS}")


def _is_piece(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == PIECE


def _told(upload: Upload, body: Incoming) -> UploadOut:
    body.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    body.headers.update(_headers(upload))
    return UploadOut.model_validate(upload)


def _headers(upload: Upload) -> dict[str, str]:
    length = {} if upload.bytes is None else {"Upload-Length": str(upload.bytes)}
    return {"Tus-Resumable": TUS, "Upload-Offset": str(upload.offset), **length}
