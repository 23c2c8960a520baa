"""What every routes.py shares: how an operation is declared, called, answered.

    routes = Routes("/api/v1/keys", tag="keys")

    @routes.post("", scope=Scope.KEYS_WRITE, status=201, creates=True)
    def create_key(call: Call, body: KeyCreate) -> KeyCreated:
        "Make a key."
        return service.create_key(call, body)

The caller is known and may do this before the body is read; the function then runs in a thread, in one
transaction that commits before the answer is sent (plain reads have none; with `look: Look` as its first
parameter not even a session). Its name is the operation id,
its docstring the documentation, its annotations the shapes.

What reads a row or two by their ids takes no turn in a thread, and shares its question with others:

    @routes.get("/{key_id}", scope=Scope.KEYS_READ)
    async def get_key(look: Look, key_id: Id) -> KeyOut:
        "Read one key."
        return KeyOut.model_validate(await look.own_row(ApiKey, key_id))
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import hashlib
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast, get_type_hints

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session
from starlette.types import Receive, Scope, Send

from tldr_highlight.core import idempotency, strict_json
from tldr_highlight.core.db import now
from tldr_highlight.core.passwords import hashes_at_once
from tldr_highlight.errors import (
    BodyLimitError,
    BodySlowError,
    BodyTypeError,
    BusyError,
    RequestError,
    SlowError,
    TldrError,
)
from tldr_highlight.runtime import Act, Caller, Look, Runtime
from tldr_highlight.web.incoming import Incoming, Intake

THREADS = 16
"""Requests served at once by a process; more wait."""

ANSWER_SECONDS = 10.0
"""For one operation, its wait for a thread included: then the answer is 503. Ours take milliseconds; what
takes as long waits for a lock, or for a store. A database that hangs is given up sooner (`core/pulse.py`)."""

BODY_BYTES = 1_000_000
"""Of a body, unless its operation takes more."""

BODY_SECONDS = 30.0
"""For a body to arrive: 1 MB at 33 kB/s."""

NICE = 10
"""Of threads that compute for long; the others have 0, and ten times the share of a processor."""

INLINE_BYTES = 16_384
"""Bodies that are read where they arrive (0.2 ms); larger ones go to a thread, so that nobody waits."""

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
"""Printable ASCII without spaces."""

NONE: Mapping[Any, Any] = {}

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Demand:
    """What an operation asks of its caller."""

    public: bool = False  # anybody
    known: bool = False  # any key or login
    scope: str | None = None
    rank: int = 0  # a login of that role at least
    login: bool = False  # a person, of whatever role
    operator: bool = False
    keyless: bool = False  # who shows nothing acts as the local organization, where the operator lets them


class Gate(Protocol):
    """Knows callers, refuses the others, counts what they ask.

    Finds `address` (where the request comes from) and `headers` (of the answer, good or bad; it adds to
    them) in `request.state`.
    """

    def address(self, request: Request) -> str | None:
        """Where a request comes from, as far as proxies are believed."""
        ...

    async def admit(self, request: Request, demand: Demand) -> Caller:
        """Who is calling.

        Raises:
            AuthError, ForbiddenError, LimitError: they may not come in.
        """
        ...

    def still_admits(self, request: Request) -> bool:
        """Whether somebody who came in some time ago may still be here; nothing is counted."""
        ...


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation's declaration says; `endpoint.operation` of its route."""

    id: str
    demand: Demand
    creates: bool = False  # takes an Idempotency-Key
    hashes: bool = False  # looks at passwords
    body_bytes: int = BODY_BYTES
    errors: tuple[type[TldrError], ...] = ()  # beside what every operation may raise
    compatible: bool = False  # with the clip service: numbers as they were written, errors as it has them

    def described(self) -> dict[str, Any]:
        """For the OpenAPI document, whose maker (`api/openapi.py`) says it in the words of OpenAPI."""
        errors = [error.code for error in self.errors]
        scope = self.demand.scope or ""  # FastAPI leaves out what is None
        return asdict(self.demand) | {
            "scope": scope,
            "creates": self.creates,
            "compatible": self.compatible,
            "errors": errors,
        }


@dataclass
class Call(Act):
    """One request on its way through an operation."""

    request: Request = field(kw_only=True)
    headers: dict[str, str] = field(default_factory=dict[str, str])  # of the answer


class GatedRoute(APIRoute):
    """A route that asks who is calling before it reads what they send."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler FastAPI makes, behind the gate and our own reader of bodies."""
        self.is_bare = list(inspect.signature(self.endpoint).parameters) == ["request"]
        inner = self.endpoint if self.is_bare else super().get_route_handler()
        operation: Operation = self.endpoint.operation  # pyright: ignore[reportFunctionMemberAccess]
        demand = operation.demand

        async def handler(request: Request) -> Response:
            state, gate = request.state, cast(Gate, request.app.state.gate)
            state.operation = operation.id
            state.compatible = operation.compatible
            state.demand = demand
            _refuse_nul(request)
            state.arrived = now()
            state.headers = {}
            state.address = gate.address(request)
            state.caller = await gate.admit(request, demand)
            if self.body_field is not None:
                await _read_json(request, operation)
            return await inner(request)

        self._handler = handler
        return handler

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. An operation that takes no parameters needs nothing of FastAPI's (0.1 ms)."""
        if self.is_bare and scope["method"] in (self.methods or ()):
            response = await self._handler(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await super().handle(scope, receive, send)


def _refuse_nul(request: Request) -> None:
    """What no database stores; in bodies `strict_json` refuses it."""
    if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]:
        raise RequestError("the address holds a NUL character")


async def _read_json(request: Request, operation: Operation) -> None:
    """Read the body where FastAPI finds it: read once, never more than it may have, and strict JSON."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise BodyTypeError("send the body as it is, without Content-Encoding: nothing is unpacked here")
    most = operation.body_bytes
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(most)
    # `_body` and `_json` are where `Request` keeps what it has read.
    request._body = body = await _read(request, most)  # pyright: ignore[reportPrivateUsage]
    if not body:
        return  # FastAPI says that it is missing
    kind, _, parameter = request.headers.get("content-type", "").partition(";")
    charset = parameter.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
        raise BodyTypeError("send JSON in UTF-8, and the header Content-Type: application/json")
    parse = functools.partial(strict_json.parse, as_written=operation.compatible)
    value = parse(body) if len(body) <= INLINE_BYTES else await in_thread(request, parse, body)
    request._json = value  # pyright: ignore[reportPrivateUsage]


async def _read(request: Request, most: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise BodySlowError(f"the body took longer than {BODY_SECONDS:g} s to arrive") from None
    return bytes(body)


def _too_large(most: int) -> BodyLimitError:
    return BodyLimitError(f"the body has more than {most} bytes, which is all that is taken here")


async def in_thread(request: Request, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `call` in one of the server's threads, with this request's context variables.

    Raises:
        SlowError: there was no answer within `ANSWER_SECONDS`; what began goes on.
    """
    threads: ThreadPoolExecutor = request.app.state.threads
    run = functools.partial(contextvars.copy_context().run, call, *args, **kwargs)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(threads, run)
    except TimeoutError:
        raise SlowError("this takes longer than it may; it may yet be done", retry_after=5) from None


class Lane:
    """Threads of its own for what takes long, and how many calls may wait for them."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="lane", initializer=_give_way)
        self._room = threads + waiting

    async def run(self, call: Callable[[], R]) -> R:
        """Run `call` when it is its turn, with this request's context variables.

        Raises:
            BusyError: as many wait as may.
        """
        if self._room == 0:
            raise BusyError("too many logins wait for their turn: try again in a few seconds", retry_after=5)
        self._room -= 1
        try:
            run = functools.partial(contextvars.copy_context().run, call)
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        finally:
            self._room += 1

    def close(self) -> None:
        """Wait for what runs, and forget what waits."""
        self._threads.shutdown(cancel_futures=True)


def _give_way() -> None:
    """Have the system prefer other threads to this one: answers come twice as soon as beside equals."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def password_lane() -> Lane:
    """Where passwords are looked at: a flood of logins waits here, and not in the threads of everybody else.

    One thread more than hashes at once, so that one can talk to the database meanwhile. Waiting takes no
    thread, and 250 that wait are answered within about 10 s on two cores.
    """
    return Lane(hashes_at_once() + 1, waiting=250)


class Routes:
    """The operations under one prefix."""

    def __init__(self, prefix: str, *, tag: str) -> None:
        self.router = APIRouter(prefix=prefix, tags=[tag], route_class=GatedRoute)

    def get(self, path: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a reading operation; options are `operation`'s."""
        return self.operation("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a creating or acting operation; options are `operation`'s."""
        return self.operation("POST", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a changing operation; options are `operation`'s."""
        return self.operation("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a deleting operation; options are `operation`'s."""
        return self.operation("DELETE", path, **options)

    def operation(
        self,
        method: str,
        path: str,
        *,
        scope: str | None = None,
        rank: int = 0,
        public: bool = False,
        known: bool = False,
        login: bool = False,
        operator: bool = False,
        writes: bool | None = None,
        hashes: bool = False,
        creates: bool = False,
        body_bytes: int = BODY_BYTES,
        status: int = 200,
        takes: str | None = None,
        media: Mapping[str, object] = NONE,
        answers: Mapping[int, str] = NONE,
        errors: Sequence[type[TldrError]] = (),
        compatible: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare an operation.

        Args:
            method: Of HTTP.
            path: Below the prefix.
            scope: What keys and roles need.
            rank: The role a person needs at least; no key will do.
            public: Anybody may call it.
            known: Any key or login may call it.
            login: It takes a person.
            operator: It takes a person who runs the installation.
            writes: Runs in a transaction; all but GET do.
            hashes: It looks at passwords: it waits with its like, and opens its own transaction after that.
            creates: Takes an `Idempotency-Key`, with which sending it again answers again and does nothing.
            body_bytes: Of its body, at most.
            status: Of the answer when it went well.
            takes: Type of a body that is a stream: the function gets a `Look`, and the body as `Incoming`.
            media: Types of the files that it answers with -> an example, where that is no JSON of ours.
            answers: Further statuses of answers that are no errors, and what they say.
            errors: What it raises beside what every operation may.
            compatible: It is as the clip service has it: errors, numbers as they were written, and no key
                where the operator lets callers do without.
        """
        demand = Demand(public, known, scope, rank, login or rank > 0, operator, compatible)
        if not (public or known or scope or demand.login or operator):
            raise TypeError(f"{method} {path} must say who may call it")

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            if inspect.iscoroutinefunction(function) and (method != "GET" or writes):
                raise TypeError(f"{function.__name__} is `async def`, and so reads a row or two: no more")
            operation = Operation(
                function.__name__, demand, creates, hashes, body_bytes, tuple(errors), compatible
            )
            hints = get_type_hints(function, include_extras=True)
            returns = hints.pop("return")
            responds = isinstance(returns, type) and issubclass(returns, Response)
            form = cast(type[Response], returns) if responds and returns is not Response else JSONResponse
            in_transaction = method != "GET" and not hashes if writes is None else writes
            endpoint = _endpoint(function, hints, operation, status, writes=in_transaction)
            endpoint.operation = operation  # pyright: ignore[reportFunctionMemberAccess]
            text = inspect.cleandoc(function.__doc__ or "")
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                operation_id=operation.id,
                summary=re.split(r"\.\s|\.?$|\n", text, maxsplit=1)[0],
                description=text,
                status_code=status,
                responses=_files(status, media)
                | {each: {"description": says} for each, says in answers.items()},
                response_model=None if returns in (None, type(None)) or responds else returns,
                response_class=form,
                openapi_extra={"x-operation": operation.described(), **_streamed(takes)},
            )
            return function

        return declare


def _streamed(takes: str | None) -> dict[str, Any]:
    """What the OpenAPI document says of bodies that are streams."""
    if takes is None:
        return {}
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"required": True, "content": {takes: {"schema": schema}}}}


def _files(status: int, media: Mapping[str, object]) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of answers that are files."""
    content = {
        kind: {"schema": {"type": "string" if isinstance(example, str) else "object"}, "example": example}
        for kind, example in media.items()
    }
    return {status: {"content": content}} if content else {}


def _endpoint(
    function: Callable[..., Any],
    hints: dict[str, Any],
    operation: Operation,
    status: int,
    *,
    writes: bool,
) -> Callable[..., Coroutine[Any, Any, Response]]:
    """What FastAPI calls: takes the function's parameters but the first, runs it in a thread or awaits it."""
    first, *others = inspect.signature(function).parameters.values()
    looks = hints[first.name] is Look
    waits = inspect.iscoroutinefunction(function)
    body = next((p.name for p in others if hints[p.name] is Incoming), None)

    async def endpoint(request: Request, **given: Any) -> Response:
        if operation.hashes:
            lane: Lane = request.app.state.passwords
            return await lane.run(functools.partial(serve, request, given))
        if body is not None:
            intake: Intake = request.app.state.intake
            name = body
            return await intake.run(request, lambda incoming: serve(request, {**given, name: incoming}))
        if waits:
            return _answer(await function(looking(request), **given), status, {})
        return await in_thread(request, serve, request, given)

    def serve(request: Request, given: dict[str, Any]) -> Response:
        key = request.headers.get("idempotency-key") if operation.creates else None
        run = functools.partial(run_once, request, given)
        return run() if key is None else _repeatable(request, operation, key, run)

    def looking(request: Request) -> Look:
        return Look(request.app.state.runtime, request.state.caller, request.state.address)

    def run_once(request: Request, given: dict[str, Any], keep: Keep | None = None) -> Response:
        if looks:
            return _answer(function(looking(request), **given), status, {})
        runtime: Runtime = request.app.state.runtime
        with (runtime.db.begin if writes else runtime.db.read)() as session:
            call = Call(
                runtime, request.state.caller, request.state.address, session=session, request=request
            )
            response = _answer(function(call, **given), status, call.headers)
            if keep is not None:
                keep(session, response)
            return response

    parameters = [
        inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request),
        *(
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name])
            for p in others
            if p.name != body
        ),
    ]
    endpoint.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    endpoint.__name__ = function.__name__
    endpoint.__module__ = function.__module__
    return endpoint


Keep: TypeAlias = Callable[[Session, Response], None]
"""Stores an answer in the transaction that made it true."""


def _repeatable(request: Request, operation: Operation, key: str, run: Callable[..., Response]) -> Response:
    """Run, unless that was done before with this key: then answer as then."""
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise RequestError("an Idempotency-Key has 1 to 255 printable ASCII characters")
    runtime: Runtime = request.app.state.runtime
    caller: Caller = request.state.caller
    # Not the organization: a weaker key of it would be answered with the key that a stronger caller made.
    owner = f"{caller.actor}@{caller.organization_id}"
    found = idempotency.reserve(runtime.db, owner, operation.id, key, _fingerprint(request))
    if isinstance(found, idempotency.Answer):
        body = runtime.vault.open(found.body.decode())
        return Response(body, found.status, found.headers | {"Idempotency-Replayed": "true"})

    def keep(session: Session, response: Response) -> None:
        sealed = runtime.vault.seal(
            bytes(response.body).decode()
        )  # it may hold a key, which is stored nowhere
        headers = {k: v for k, v in response.headers.items() if k != "content-length"}
        idempotency.keep(session, found, idempotency.Answer(response.status_code, headers, sealed.encode()))

    with idempotency.released_on_failure(runtime.db, found):
        return run(keep)


def _fingerprint(request: Request) -> str:
    """What the request says: address and body."""
    body: bytes = getattr(request, "_body", b"")
    return hashlib.sha256(
        b"\0".join([request.url.path.encode(), request.scope["query_string"], body])
    ).hexdigest()


def _answer(result: Any, status: int, headers: dict[str, str]) -> Response:
    """The response; made here, once, and not validated again: what we built is of our own shape."""
    if isinstance(result, Response):
        result.headers.update(headers)
        return result
    if result is None:
        return Response(status_code=status, headers=headers)
    return Response(result.model_dump_json(), status, headers, media_type="application/json")
