"""Bodies that are streams: files that are sent to us, never in memory as a whole.

    @routes.post("", scope=Scope.STREAMS_WRITE, takes="application/octet-stream")
    def create_upload(look: Look, body: Incoming) -> UploadOut: ...

The operation's thread asks for piece after piece, each of which the event loop then takes from the
connection: nothing is read ahead but what the socket and the server hold, 64 KiB, so a slow disk slows its
sender. It takes a `Look`: a transaction would be open for as long as the sender likes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from tldr_highlight.errors import BodyGoneError, BodySlowError, BusyError, LimitError, UnavailableError

AT_ONCE = 64
"""Bodies that a process receives at once, each with a thread of its own, which mostly waits."""

OF_ORGANIZATION = 16
"""Of them, from one organization."""

SILENT_SECONDS = 30.0
"""Without a byte: then the sender is taken to be gone."""

LEAST_RATE = 8192
"""Bytes a second that a sender must manage, over `SILENT_SECONDS` of our waiting for it."""

STOP_SECONDS = 6.0
"""For operations to store what came, once the server is to stop."""

R = TypeVar("R")


class Incoming:
    """A body on its way, and the headers of the answer to it."""

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[bytes] | None = None
        self._stopped = False
        self._waited, self._came = 0.0, 0
        self.over = False  # all of it was read
        self.headers: dict[str, str] = request.state.headers
        declared = request.headers.get("content-length", "")
        self.length = int(declared) if declared.isdecimal() else None
        """As announced; None: known at its end."""

    def read(self) -> bytes:
        """The next piece; empty at the end. To be called from the operation's thread.

        Raises:
            BodyGoneError: the sender left.
            BodySlowError: it is too slow.
            UnavailableError: this server is about to stop.
        """
        if self.over:
            return b""
        if self._stopped:
            raise _stopping()
        try:
            return asyncio.run_coroutine_threadsafe(self._piece(), self._loop).result()
        except concurrent.futures.CancelledError:
            raise _stopping() from None

    def stop(self) -> None:
        """Read no more: the server is to end."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def _piece(self) -> bytes:
        self._task = asyncio.current_task()
        try:
            while not self.over:
                if data := await self._message():
                    return data
            return b""
        finally:
            self._task = None

    async def _message(self) -> bytes:
        began = self._loop.time()
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise BodySlowError(f"nothing came for {SILENT_SECONDS:g} s") from None
        if message["type"] == "http.disconnect":
            raise BodyGoneError("the connection ended before the body did")
        self.over = not message.get("more_body", False)
        data: bytes = message.get("body", b"")
        self._judge(self._loop.time() - began, len(data))
        return data

    def _judge(self, waited: float, came: int) -> None:
        """Only our waiting counts: a disk of ours that is slow is not the sender's fault."""
        self._waited += waited
        self._came += came
        if self._waited >= SILENT_SECONDS:
            if self._came < LEAST_RATE * self._waited:
                raise BodySlowError(f"less than {LEAST_RATE} bytes a second came")
            self._waited, self._came = 0.0, 0


def _stopping() -> UnavailableError:
    return UnavailableError("this server is about to stop: send the rest again", retry_after=2)


class Intake:
    """Where bodies are received: a lane of threads of their own, so that uploads hold up no other call."""

    def __init__(self) -> None:
        self._running: set[Incoming] = set()
        self._of: Counter[str] = Counter()
        self._stopped = False

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[Intake]:
        """Receive while this is open."""
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="intake")
        try:
            yield self
        finally:
            self.stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    while self._running:  # their threads need this loop until they are done
                        await asyncio.sleep(0.02)
            self._threads.shutdown(wait=not self._running, cancel_futures=True)

    def stop(self) -> None:
        """The process is to end: who sends is to go on elsewhere."""
        self._stopped = True
        for incoming in self._running:
            incoming.stop()

    async def run(self, request: Request, call: Callable[[Incoming], R]) -> R:
        """Run an operation in a thread of this lane, with this request's context variables.

        Raises:
            BusyError, LimitError: as many are received as can be, in all or from this organization.
            UnavailableError: the process is to end.
        """
        organization = request.state.caller.organization_id or ""
        incoming = Incoming(request)
        try:
            if self._stopped:
                raise _stopping()
            if self._of[organization] >= OF_ORGANIZATION:
                raise LimitError(f"{OF_ORGANIZATION} uploads of yours are being received", retry_after=5)
            if len(self._running) >= AT_ONCE:
                raise BusyError("as many uploads are being received as can be", retry_after=5)
            return await self._run(organization, incoming, call)
        finally:
            if not incoming.over:  # what still comes is nobody's: it would be read to be thrown away
                request.state.headers["Connection"] = "close"

    async def _run(self, organization: str, incoming: Incoming, call: Callable[[Incoming], R]) -> R:
        self._running.add(incoming)
        self._of[organization] += 1
        try:
            run = functools.partial(contextvars.copy_context().run, functools.partial(call, incoming))
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        finally:
            self._running.discard(incoming)
            self._of[organization] -= 1
            if not self._of[organization]:
                del self._of[organization]
