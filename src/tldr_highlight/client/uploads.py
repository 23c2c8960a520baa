"""Uploads: files that are sent, and go on where a connection broke."""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from tldr_highlight.client.calls import Calls, at
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.problems import ConnectionProblem, Problem, RateLimited, Unavailable
from tldr_highlight.client.transport import FIRST_WAIT, LONGEST_WAIT

TRIES = 8
"""Tries in a row of which none brings the upload further: about half a minute."""

CHUNK = 1 << 18

Progress = Callable[[int, int], None]
"""Told how many bytes were sent, of how many."""


@dataclass(frozen=True)
class Upload:
    """A file on the server, or on its way there."""

    id: str
    content_type: str
    offset: int
    """Bytes that are safe."""
    state: str
    """`receiving` or `ready`."""
    created_at: datetime
    filename: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    ended_at: datetime | None = None
    expires_at: datetime | None = None
    """Then it is deleted; None: for as long as a stream is made of it."""


class Uploads:
    """Files for streams to be made of."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(
        self, path: str | Path, *, filename: str | None = None, on_progress: Progress | None = None
    ) -> Upload:
        """Send a file; `streams.create(upload_id=upload.id)` makes a stream of it.

        It is read twice, first for its hash, which the server checks. A connection that breaks, or a server
        that restarts, is gone on with.

        Args:
            path: Of the file.
            filename: What it is called there; its name where nothing is said.
            on_progress: Called as it is sent; it may go back a little after a break.

        Raises:
            Problem: the server does not take it: its code says why (`quota_exceeded`, `storage_full`, …).
            ConnectionProblem: no answer for half a minute.
            OSError: the file cannot be read.
        """
        path = Path(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            length = file.tell()
            upload = self._begin(length, filename or path.name, digest)
            tell = on_progress or _nobody
            return upload if upload.state == "ready" else self._send(upload, file, length, tell)

    def list(self, *, limit: int | None = None) -> Pages[Upload]:
        """All uploads, newest first."""
        return self._calls.pages(Upload, "/uploads", limit)

    def get(self, upload_id: str) -> Upload:
        """One upload."""
        return self._calls.one(Upload, "GET", at("uploads", upload_id))

    def delete(self, upload_id: str) -> None:
        """Delete an upload that no stream is made of."""
        self._calls.do("DELETE", at("uploads", upload_id))

    def _begin(self, length: int, filename: str, digest: str) -> Upload:
        said = {"filename": filename, "sha256": digest}
        metadata = ",".join(
            f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items()
        )
        headers = {"Upload-Length": str(length), "Upload-Metadata": metadata}
        return self._calls.one(Upload, "POST", "/uploads", headers=headers)

    def _send(self, upload: Upload, file: BinaryIO, length: int, tell: Progress) -> Upload:
        """Send what is missing, until nothing is."""
        failed, wait = 0, FIRST_WAIT
        while upload.state != "ready":
            try:
                self._calls.send(
                    at("uploads", upload.id), _rest(file, upload.offset, length, tell), upload.offset
                )
            except (ConnectionProblem, Unavailable, RateLimited, Problem) as problem:
                failed += 1
                if failed > TRIES or not _passes(problem):
                    raise
                time.sleep(max(_asked(problem), wait * random.uniform(0.5, 1)))  # noqa: S311
                wait = min(2 * wait, LONGEST_WAIT)
            before, upload = upload.offset, self.get(upload.id)
            if upload.offset > before:
                failed, wait = 0, FIRST_WAIT
        tell(length, length)
        return upload


def _rest(file: BinaryIO, offset: int, length: int, tell: Progress) -> Iterator[bytes]:
    file.seek(offset)
    sent = offset
    for data in iter(lambda: file.read(CHUNK), b""):
        yield data
        sent += len(data)
        tell(min(sent, length), length)


def _passes(problem: ConnectionProblem | Problem) -> bool:
    """Whether the same may go well from where the upload is then."""
    if isinstance(problem, ConnectionProblem | Unavailable | RateLimited):
        return True
    return problem.code in {"upload_busy", "upload_offset", "body_incomplete", "body_too_slow"}


def _asked(problem: ConnectionProblem | Problem) -> float:
    return 0.0 if isinstance(problem, ConnectionProblem) else problem.retry_after or 0.0


def _nobody(sent: int, length: int) -> None:
    """Tell nobody."""
