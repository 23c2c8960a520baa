"""Files of the local store, for whoever has a signed link: `/files/org_1/str_2/clip.mp4?expires=…`."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tldr_highlight.core.db import now
from tldr_highlight.core.telemetry import logger
from tldr_highlight.errors import FileLinkError, NotFoundError, StorageError
from tldr_highlight.runtime import Runtime
from tldr_highlight.storage.base import CHUNK, Body, is_key
from tldr_highlight.storage.local import LocalStore
from tldr_highlight.storage.serving import Answer, answer_of
from tldr_highlight.usage.meter import Meter
from tldr_highlight.usage.quotas import Metric
from tldr_highlight.web.sending import FOR_ANY_PAGE, LAST, Recipient, begun

THREADS = 8
"""That read files: apart from those of calls. A piece is read in 0.1 ms, so that slow callers hold none."""

TAKE_SECONDS = 60.0
"""For a caller to take a piece of 256 KiB, that is 4 kB/s at least."""

T = TypeVar("T")

log = logger(__name__)


def file_lane() -> ThreadPoolExecutor:
    """Where files are read."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="files")


async def serve_file(request: Request) -> Response:
    """A stored file, or a range of it.

    Raises:
        FileLinkError: the link is none of ours, or its time is over.
        ObjectNotFoundError: there is no such file any more.
        NotFoundError: files are not kept here.
    """
    request.state.operation = "get_file"
    runtime: Runtime = request.app.state.runtime
    return await _in_thread(request.scope, _opened, request, runtime.storage)


def _opened(request: Request, store: object) -> StoredFile:
    if not isinstance(store, LocalStore):
        raise NotFoundError("there is nothing at this address")
    key, query = request.path_params["key"], request.query_params
    if not is_key(key) or not store.opens(key, query, now()):
        raise FileLinkError("this link opens nothing, or not any more: ask for a new one")
    method = "HEAD" if request.state.bodiless else "GET"
    while True:
        stored = store.stat(key)
        answer = answer_of(stored, method, request.headers, download_name=query.get("download_name"))
        if answer.start == answer.end:
            return StoredFile(answer, None)
        body = store.open(key, answer.start, answer.end)
        if body.stored == stored:  # else it was replaced just now
            return StoredFile(answer, body)
        body.close()


class StoredFile(Response):
    """An answer with the bytes of a stored file. Counts what was delivered."""

    def __init__(self, answer: Answer, body: Body | None) -> None:
        self._body = body
        self.status_code = answer.status
        self.background = None
        self.init_headers(answer.headers | FOR_ANY_PAGE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send(begun(self.status_code, self.raw_headers))
            if self._body is not None and not await self._deliver(self._body, scope, receive, send):
                return
        finally:
            if self._body is not None:
                self._body.close()
        await send(LAST)

    async def _deliver(self, body: Body, scope: Scope, receive: Receive, send: Send) -> bool:
        """Send all of it: whether that was done."""
        meter: Meter = scope["app"].state.meter
        owner = body.stored.key.partition("/")[0]
        async with Recipient(scope, receive, send) as recipient:
            while not recipient.gone:
                try:
                    data = await _in_thread(scope, body.read, CHUNK)
                except StorageError as error:
                    log.error("a file cannot be read to its end", code=error.code, reason=str(error))
                    recipient.cut_off()
                    return False
                if not data:
                    return True
                await recipient.take(data, TAKE_SECONDS)
                if not recipient.gone and owner.startswith("org_"):
                    meter.add(owner, Metric.DELIVERED_BYTES, len(data))
        return False


async def _in_thread(scope: Scope, call: Callable[..., T], *arguments: Any) -> T:
    lane: ThreadPoolExecutor = scope["app"].state.files
    run = functools.partial(contextvars.copy_context().run, call, *arguments)
    return await asyncio.get_running_loop().run_in_executor(lane, run)


route = Route("/files/{key:path}", serve_file, methods=["GET"], include_in_schema=False)
"""No operation of the API: links come whole, and nobody makes one up."""
