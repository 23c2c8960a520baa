"""What every routes.py shares: how an operation is declared, called, answered.

    routes = Routes("/api/v1/keys", tag="keys")

    @routes.post("", scope=Scope.KEYS_WRITE, status=201, creates=True)
    def create_key(call: Call, body: KeyCreate) -> KeyCreated:
        "Make a key."
        return service.create_key(call, body)

The caller is known and may do this before the body is read; the function then runs in a thread, in one
transaction that commits before the answer is sent (plain reads have none). Its name is the operation id,
its docstring the documentation, its annotations the shapes.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, ParamSpec, Protocol, TypeVar, get_type_hints

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tldr_highlight.core.db import now
from tldr_highlight.core.passwords import hashes_at_once
from tldr_highlight.errors import BusyError, TldrError
from tldr_highlight.runtime import Act, Caller, Runtime

THREADS = 16
"""Requests served at once by a process; more wait."""

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class Schema(BaseModel):
    """Base of what crosses HTTP. Fields that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, allow_inf_nan=False)


Id = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,8}_[0-9a-z]{1,40}$")]
"""`prefix_` and a sortable unique id."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
"""What people call a thing; one line."""

Cursor = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9_=-]+$")]


class Page(Schema, Generic[T]):
    """A part of a list; `next_cursor` asks for what follows, null at the end."""

    data: list[T]
    next_cursor: str | None = None


class PageQuery(Schema):
    """Which part of a list."""

    limit: Annotated[int, Query(ge=1, le=100, description="Objects at most.")] = 50
    cursor: Annotated[Cursor | None, Query(description="`next_cursor` of the page before.")] = None


def paginate(
    session: Session, query: Select[T], column: InstrumentedAttribute[str], page: PageQuery
) -> tuple[Sequence[T], str | None]:
    """The rows of one page, newest first by a sortable id, and the cursor of the next."""
    if page.cursor is not None:
        query = query.where(column < page.cursor)
    rows = session.scalars(query.order_by(column.desc()).limit(page.limit + 1)).all()  # pyright: ignore[reportArgumentType]
    if len(rows) <= page.limit:
        return rows, None
    return rows[: page.limit], getattr(rows[page.limit - 1], column.key)


@dataclass(frozen=True, slots=True)
class Demand:
    """What an operation asks of its caller."""

    public: bool = False  # anybody
    known: bool = False  # any key or login
    scope: str | None = None
    rank: int = 0  # a login of that role at least
    login: bool = False  # a person, of whatever role
    operator: bool = False


class Gate(Protocol):
    """Knows callers, refuses the others, counts what they ask.

    Finds `address` (where the request comes from) and `headers` (of the answer, good or bad; it adds to
    them) in `request.state`.
    """

    def address(self, request: Request) -> str | None:
        """Where a request comes from, as far as proxies are believed."""
        ...

    def recall(self, request: Request, demand: Demand) -> Caller | None:
        """Who is calling, from memory; None where that takes more. Never waits. Raises as `admit` does."""
        ...

    def admit(self, request: Request, demand: Demand) -> Caller:
        """Who is calling.

        Raises:
            AuthError, ForbiddenError, LimitError: they may not come in.
        """
        ...


@dataclass
class Call(Act):
    """One request on its way through an operation."""

    request: Request = field(kw_only=True)
    headers: dict[str, str] = field(default_factory=dict[str, str])  # of the answer


class GatedRoute(APIRoute):
    """A route that asks who is calling before it reads what they send."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler FastAPI makes, behind the gate."""
        inner = super().get_route_handler()
        demand: Demand = self.endpoint.demand  # pyright: ignore[reportFunctionMemberAccess]

        async def handler(request: Request) -> Response:
            gate: Gate = request.app.state.gate
            request.state.arrived = now()
            headers: dict[str, str] = {}
            request.state.headers = headers
            request.state.address = gate.address(request)
            caller = gate.recall(request, demand)
            if caller is None:
                caller = await in_thread(request, gate.admit, request, demand)
            request.state.caller = caller
            response = await inner(request)
            response.headers.update(headers)
            return response

        return handler


async def in_thread(request: Request, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `call` in one of the server's threads, with this request's context variables."""
    threads: ThreadPoolExecutor = request.app.state.threads
    run = functools.partial(contextvars.copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(threads, run)


class Lane:
    """Threads of its own for what takes long, and how many calls may wait for them."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="lane")
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


def password_lane() -> Lane:
    """Where passwords are looked at: a flood of logins waits here, and not in the threads of everybody else.

    One thread more than hashes at once, so that one can talk to the database meanwhile. 64 that wait are
    answered within about 3 s.
    """
    return Lane(hashes_at_once() + 1, waiting=64)


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
        status: int = 200,
        errors: Sequence[type[TldrError]] = (),
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
            creates: Takes an `Idempotency-Key`.
            status: Of the answer when it went well.
            errors: What it raises beside what every operation may.
        """
        demand = Demand(public, known, scope, rank, login or rank > 0, operator)
        if not (public or known or scope or demand.login or operator):
            raise TypeError(f"{method} {path} must say who may call it")

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            hints = get_type_hints(function, include_extras=True)
            returns = hints.pop("return")
            in_transaction = method != "GET" and not hashes if writes is None else writes
            endpoint = _endpoint(function, hints, status, writes=in_transaction, hashes=hashes)
            endpoint.demand = demand  # pyright: ignore[reportFunctionMemberAccess]
            endpoint.creates = creates  # pyright: ignore[reportFunctionMemberAccess]
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                operation_id=function.__name__,
                summary=(function.__doc__ or "").partition("\n")[0].rstrip("."),
                description=inspect.cleandoc(function.__doc__ or ""),
                status_code=status,
                response_model=None if returns in (None, type(None), Response) else returns,
                openapi_extra={"x-errors": sorted(e.code for e in errors)},
            )
            return function

        return declare


def _endpoint(
    function: Callable[..., Any], hints: dict[str, Any], status: int, *, writes: bool, hashes: bool
) -> Callable[..., Coroutine[Any, Any, Response]]:
    """What FastAPI calls: takes the function's parameters but `call`, runs it in a thread."""

    async def endpoint(request: Request, **given: Any) -> Response:
        if hashes:
            lane: Lane = request.app.state.passwords
            return await lane.run(functools.partial(serve, request, given))
        return await in_thread(request, serve, request, given)

    def serve(request: Request, given: dict[str, Any]) -> Response:
        runtime: Runtime = request.app.state.runtime
        with (runtime.db.begin if writes else runtime.db.read)() as session:
            call = Call(runtime, session, request.state.caller, request.state.address, request=request)
            return _answer(function(call, **given), status, call.headers)

    parameters = [
        inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request),
        *(
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
            for name, p in inspect.signature(function).parameters.items()
            if name != "call"
        ),
    ]
    endpoint.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    endpoint.__name__ = function.__name__
    endpoint.__module__ = function.__module__
    return endpoint


def _answer(result: Any, status: int, headers: dict[str, str]) -> Response:
    """The response; made here, once, and not validated again: what we built is of our own shape."""
    if isinstance(result, Response):
        result.headers.update(headers)
        return result
    if result is None:
        return Response(status_code=status, headers=headers)
    return Response(result.model_dump_json(), status, headers, media_type="application/json")
