"""Answers that go on: server-sent events (HTML standard, 9.2), for as long as somebody listens.

    @routes.get("/{stream_id}/progress", scope=Scope.STREAMS_READ)
    def follow_stream(call: Call, stream_id: Id) -> EventStream:
        "Follow a stream."
        return EventStream(poll, Watch(versions, stream_id))

`poll(after)` reads what is new after the event with that id; it runs in a thread of its own lane. It is asked
at first, and then whenever the version of what is watched has changed: one query for all listeners of a kind,
each half second, and at once when something was committed in this process. Who is idle costs nothing but
their part of that query, and a heartbeat now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeVar

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tldr_highlight.core.telemetry import logger
from tldr_highlight.errors import BusyError, LimitError, TldrError, UnavailableError
from tldr_highlight.runtime import Runtime
from tldr_highlight.web.sending import LAST, Recipient, begun

LOOK_SECONDS = 0.5
"""Between two looks for what other processes did."""

SHORTEST_SECONDS = 0.02
"""Between two looks, however much happens here: what comes meanwhile is told together."""

HEARTBEAT_SECONDS = 15.0
"""After which a quiet connection gets a comment: proxies end those that are silent for a minute."""

ALLOWED_SECONDS = 4.0
"""Between two looks whether callers still may listen: an end of access is an end in 5 s (A6)."""

SEND_SECONDS = 30.0
"""For a caller to take what it was sent; one that does not read is put out."""

RETRY_MS = 2000
"""After which a browser whose connection broke comes again."""

OF_CALLER = 50
"""Listeners of one key or login, in each process."""

IN_ALL = 800
"""Listeners of a process: each takes one of its descriptors, of which Linux gives 1024 unasked."""

THREADS = 4
"""That read what is new: apart from those of other calls, so that neither holds up the other."""

P = ParamSpec("P")
R = TypeVar("R")

log = logger(__name__)

Versions = Callable[[Session, Collection[str]], Mapping[str, Hashable]]
"""Names of what is watched -> what is another when there is something new. One function is one kind."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event, as it is sent."""

    id: str
    event: str
    data: str  # one line of JSON


@dataclass(frozen=True, slots=True)
class News:
    """What a poll found."""

    told: Sequence[Told] = ()
    more: bool = False  # there is more: ask again at once
    over: bool = False  # there will never be more


@dataclass(frozen=True, slots=True)
class Watch:
    """What a listener waits for."""

    versions: Versions
    name: str


Poll = Callable[[str | None], News]
"""Reads what is new after the event with this id; None: the caller has none yet."""


class StillAllowed(Protocol):
    """Knows whether somebody who came in still may be here. Counts nothing; may wait."""

    def __call__(self, request: Request) -> bool:
        """Whether they may."""
        ...


@dataclass(eq=False, slots=True)
class Listener:
    """One connection that waits."""

    request: Request
    watch: Watch
    caller: str
    seen: Hashable = field(default_factory=object)  # the version at the last look; at first like none
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False  # nobody is there any more, or may be

    def end(self) -> None:
        """Nobody listens any more."""
        self.gone = True
        self.awake.set()


class Listeners:
    """All that listen in this process, and the looking for what is new for them."""

    def __init__(self, runtime: Runtime, allowed: StillAllowed) -> None:
        self._runtime = runtime
        self._allowed = allowed
        self._listeners: set[Listener] = set()
        self._of: Counter[str] = Counter()
        self._stirred = asyncio.Event()
        self._over = False

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncGenerator[Listeners]:
        """Look for what is new while this is open; to be opened in the event loop."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="listening") as self._threads:

            def stir() -> None:
                loop.call_soon_threadsafe(self._stirred.set)

            before, self._runtime.stir = self._runtime.stir, stir
            looking = asyncio.gather(self._look_for_news(), self._look_for_ends())
            try:
                yield self
            finally:
                self.stop()
                self._runtime.stir = before
                looking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await looking

    def stop(self) -> None:
        """The process is to end: so do all answers, at once, and nobody may listen any more."""
        self._over = True
        for listener in self._listeners:
            listener.end()

    @contextlib.contextmanager
    def joined(self, request: Request, watch: Watch) -> Generator[Listener]:
        """Be one of them.

        Raises:
            LimitError: this caller listens often enough.
            BusyError: as many listen as can.
            UnavailableError: the process is to end.
        """
        caller = request.state.caller.actor
        if self._over:
            raise UnavailableError("this server is about to stop", retry_after=5)
        if self._of[caller] >= OF_CALLER:
            raise LimitError(f"{OF_CALLER} connections listen for you already", retry_after=HEARTBEAT_SECONDS)
        if len(self._listeners) >= IN_ALL:
            raise BusyError("as many listen here as can: ask for pages instead", retry_after=30)
        listener = Listener(request, watch, caller)
        self._listeners.add(listener)
        self._of[caller] += 1
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            self._of[caller] -= 1
            if not self._of[caller]:
                del self._of[caller]

    async def in_thread(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `call` in a thread of our lane, with this request's context variables."""
        run = functools.partial(contextvars.copy_context().run, call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def _look_for_news(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stirred.wait(), LOOK_SECONDS)
            self._stirred.clear()
            if self._listeners:
                for listener in await self.in_thread(self._changed, list(self._listeners)):
                    listener.awake.set()
            await asyncio.sleep(SHORTEST_SECONDS)

    def _changed(self, listeners: list[Listener]) -> list[Listener]:
        """Those for whom there is something new."""
        wanted: dict[Versions, set[str]] = {}
        for listener in listeners:
            wanted.setdefault(listener.watch.versions, set()).add(listener.watch.name)
        try:
            with self._runtime.db.read() as session:
                found = {versions: versions(session, names) for versions, names in wanted.items()}
        except UnavailableError as error:
            log.warning("nobody hears what is new", code=error.code, reason=str(error))
            return []
        changed: list[Listener] = []
        for listener in listeners:
            version = found[listener.watch.versions].get(listener.watch.name)
            if version != listener.seen:
                listener.seen = version
                changed.append(listener)
        return changed

    async def _look_for_ends(self) -> None:
        while True:
            await asyncio.sleep(ALLOWED_SECONDS)
            if self._listeners:
                for listener in await self.in_thread(self._put_out, list(self._listeners)):
                    listener.end()

    def _put_out(self, listeners: list[Listener]) -> list[Listener]:
        """Those who may not listen any more."""
        try:
            return [each for each in listeners if not self._allowed(each.request)]
        except UnavailableError as error:
            log.warning("listeners go on without being asked who they are", code=error.code)
            return []


class EventStream(Response):
    """An answer of events. Ends when there will be no more, when the server stops, or when the caller leaves.

    Args:
        poll: Reads what is new.
        watch: When to ask it.
        after: The last event that the caller has.
        begins: Who has none is told at once to come again with this id, should the connection break.
        follow: Go on when all was told that there is.
        heard: The caller has heard the end: 204, which tells browsers not to come again.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        poll: Poll,
        watch: Watch,
        *,
        after: str | None = None,
        begins: str | None = None,
        follow: bool = True,
        heard: bool = False,
    ) -> None:
        self._begins = begins
        self._poll, self._watch, self._after, self._follow = poll, watch, after, follow
        self.status_code = 204 if heard else 200
        self.background = None
        self.init_headers(
            {"cache-control": "no-store", "x-accel-buffering": "no"}
        )  # nginx: pass it on as it is

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = begun(self.status_code, self.raw_headers)
        if self.status_code == 204 or scope["state"].get("bodiless"):  # HEAD
            await send(start)
            await send(LAST)
            return
        listeners: Listeners = scope["app"].state.listeners
        request = Request(scope)
        with listeners.joined(request, self._watch) as listener:
            first = await listeners.in_thread(self._poll, self._after)  # its errors are answers still
            await send(start)
            async with Recipient(scope, receive, send, on_gone=listener.end) as recipient:
                place = f"id: {self._begins}\n" if self._begins else ""
                await recipient.take(f"retry: {RETRY_MS}\n{place}\n".encode(), SEND_SECONDS)
                await self._tell(listeners, listener, first, recipient)
        await send(LAST)

    async def _tell(self, listeners: Listeners, listener: Listener, news: News, recipient: Recipient) -> None:
        """Tell what there is, and what comes."""
        after = self._after
        while True:
            if news.told:
                await recipient.take("".join(map(encoded, news.told)).encode(), SEND_SECONDS)
                after = news.told[-1].id
            if news.over or listener.gone:
                return
            if not news.more:
                if not self._follow:
                    return
                await _woken(listener, recipient)
                if listener.gone:
                    return
            news = await self._read(listeners, after)

    async def _read(self, listeners: Listeners, after: str | None) -> News:
        try:
            return await listeners.in_thread(self._poll, after)
        except UnavailableError as error:
            log.warning("a listener hears nothing for now", code=error.code, reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)
            return News(more=True)
        except TldrError as error:  # what is watched is gone: deleted, for example
            log.info("a listener has nothing to hear any more", code=error.code)
            return News(over=True)


async def _woken(listener: Listener, recipient: Recipient) -> None:
    """Wait for something new, with heartbeats."""
    while True:
        try:
            await asyncio.wait_for(listener.awake.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            await recipient.take(b": nothing new\n\n", SEND_SECONDS)
        else:
            listener.awake.clear()
            return


def encoded(told: Told) -> str:
    """An event as it is sent."""
    return f"id: {told.id}\nevent: {told.event}\ndata: {told.data}\n\n"
