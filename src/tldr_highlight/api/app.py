"""The API: every room's routes, in one application."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

import tldr_highlight
from tldr_highlight.accounts import routes as accounts
from tldr_highlight.accounts.pages import page_router
from tldr_highlight.api import docs, files, health
from tldr_highlight.api.edge import GONE, Edge
from tldr_highlight.api.metrics import Metrics
from tldr_highlight.api.openapi import finished
from tldr_highlight.api.problems import MEDIA_TYPE, encoded, invalid, problem
from tldr_highlight.clips.compat import compat
from tldr_highlight.clips.routes import clip_jobs
from tldr_highlight.core.telemetry import logger
from tldr_highlight.errors import (
    InternalError,
    MethodError,
    NotFoundError,
    RequestError,
    TldrError,
    UnavailableError,
)
from tldr_highlight.highlights import routes as highlights
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams import results_routes as results
from tldr_highlight.streams import routes as streams
from tldr_highlight.streams.following import progress
from tldr_highlight.streams.upload_routes import uploads
from tldr_highlight.tenancy import routes as tenancy
from tldr_highlight.tenancy.auth import TenantGate
from tldr_highlight.usage.meter import EVERY_SECONDS, Meter
from tldr_highlight.web import THREADS, GatedRoute, password_lane
from tldr_highlight.web.incoming import Intake
from tldr_highlight.web.listening import Listeners
from tldr_highlight.webhooks import routes as webhooks
from tldr_highlight.webhooks.event_routes import events

log = logger(__name__)

CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Traceparent",
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-API-Key",
    "X-Content-SHA256",
)
CORS_EXPOSED = (
    "Idempotency-Replayed", "Location", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
    "Retry-After", "Tus-Resumable", "Upload-Length", "Upload-Offset", "X-RateLimit-Limit",
    "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Trace-Id",
)  # fmt: skip

OURS: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's telemetry, which asks its libraries at every request whether it is wanted; `Edge` has ours."""


def create_app(runtime: Runtime) -> Application:
    """The application on an open runtime."""
    app = Application(runtime)
    app.take(health.router)
    app.take(docs.router)
    app.take(tenancy.keys.router)
    for routes in (tenancy.auth, tenancy.me, accounts.auth, accounts.own, accounts.admin, webhooks.webhooks):
        app.take(routes.router)
    for routes in (streams.streams, streams.jobs, streams.batches):
        app.take(routes.router)
    for routes in (clip_jobs, compat):
        app.take(routes.router)
    for routes in (highlights.highlights, highlights.sets, highlights.types):
        app.take(routes.router)
    for routes in (results.found, results.reels, results.trials):
        app.take(routes.router)
    app.take(highlights.shared_router())
    app.take(events.router)
    app.take(uploads.router)
    app.take(progress.router)
    app.take(page_router())
    app.router.routes.append(files.route)
    return app


class Application(FastAPI):
    """FastAPI with our edge around it and our words in its OpenAPI document."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(
            title="TL;DR Highlight",
            version=tldr_highlight.__version__,
            openapi_url=None,  # `api/docs.py` serves the document and the pages
            redirect_slashes=False,
            lifespan=_lifespan,
            telemetry={
                "tracing": False,
                "metrics": False,
                "logs": False,
                "auto_configure": False,
            },  # `Edge` does
        )
        self.state.runtime = runtime
        self.state.gate = TenantGate(runtime)
        self.state.meter = Meter(runtime.db)
        self.state.metrics = Metrics(runtime.db)
        self.state.metrics_networks = health.networks(runtime.settings.metrics_networks or "")
        self.state.pages = {}  # of `api/docs.py`
        self.state.worker_runs = None  # `serve` says how to ask its worker

    def take(self, router: APIRouter) -> None:
        """Add a router's operations, whose paths are whole.

        As one flat list: in the tree of `include_router` a request walks to its operation twice, past all
        others: 0.2 ms with 40 of them.
        """
        self.router.routes.extend(router.routes)

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            self.openapi_schema = finished(super().openapi())
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        """What a request passes: the edge first, errors last, none of Starlette's own in between."""
        settings = cast(Runtime, self.state.runtime).settings
        origins = [o.strip() for o in (settings.cors_origins or "").split(",") if o.strip()]
        app: ASGIApp = ExceptionMiddleware(Directory(self.router), handlers=HANDLERS)
        if origins:
            app = CrossOrigin(
                app,
                allow_origins=origins,
                allow_methods=CORS_METHODS,
                allow_headers=CORS_HEADERS,
                expose_headers=CORS_EXPOSED,
            )
        https = (settings.public_url or "").startswith("https://")
        return Edge(app, self.state.metrics, self.state.meter, https=https, cross_origin=bool(origins))

    @cached_property
    def _addresses(self) -> list[tuple[re.Pattern[str], set[str]]]:
        return [
            (compile_path(path)[0], {method.upper() for method in item})
            for path, item in self.openapi()["paths"].items()
        ]

    def methods_at(self, path: str) -> set[str]:
        """What an address knows."""
        known = {m for pattern, methods in self._addresses if pattern.match(path) for m in methods}
        return known | ({"HEAD"} if "GET" in known else set())


class CrossOrigin(CORSMiddleware):
    """Starlette's, whose refusals are problems here."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser is told that asks whether a page may call."""
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        what = bytes(answer.body).decode().removeprefix("Disallowed CORS ")  # "origin, headers"
        error = RequestError(f"pages of other sites may not do this, because of its {what}")
        headers = {
            name: value for name, value in answer.headers.items() if name.startswith(("access-", "vary"))
        }
        return Response(encoded(error), error.status, headers, media_type=MEDIA_TYPE)


class Directory:
    """Finds operations at addresses without parameters by address; the router finds the others, in a row."""

    def __init__(self, router: APIRouter) -> None:
        self._router = router
        self._by_pattern = AsyncExitStackMiddleware(router)
        self._known: dict[tuple[str | None, str], tuple[APIRoute, ASGIApp]] = {
            (method, route.path): (route, _application(route))
            for route in reversed(router.routes)  # the first that is declared wins
            if isinstance(route, APIRoute) and not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._known.get((scope.get("method"), scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._by_pattern(scope, receive, send)
            return
        route, application = found
        scope.update(router=self._router, route=route, endpoint=route.endpoint, path_params={})
        await application(scope, receive, send)


def _application(route: APIRoute) -> ASGIApp:
    """A route with what FastAPI wants to have around it, where it is used."""
    is_bare = isinstance(route, GatedRoute) and route.is_bare
    return route.handle if is_bare else AsyncExitStackMiddleware(route.handle)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    state = app.state
    state.runtime.db.answer_requests()
    listeners = Listeners(state.runtime, state.gate.still_admits)
    with (
        ThreadPoolExecutor(THREADS, thread_name_prefix="request") as state.threads,
        files.file_lane() as state.files,
        contextlib.closing(password_lane()) as state.passwords,
    ):
        storing = asyncio.ensure_future(
            _store_usage(state.threads, state.meter.store, state.gate.store_if_due)
        )
        async with listeners.looking() as state.listeners, Intake().open() as state.intake:
            yield
        storing.cancel()
    state.gate.close()
    state.meter.store()


async def _store_usage(threads: ThreadPoolExecutor, *stores: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        for store in stores:
            await asyncio.get_running_loop().run_in_executor(threads, store)


# --- errors --------------------------------------------------------------------------------------------


async def _known(request: Request, error: Any) -> Response:
    if isinstance(error, UnavailableError):
        log.warning("a request found a service away", code=error.code, reason=str(error))
    elif error.status >= 500:
        log.error("a request failed", code=error.code, reason=str(error), exc_info=error)
    return problem(request, error)


async def _invalid(request: Request, error: Any) -> Response:
    return problem(request, invalid(error.errors()))


async def _of_framework(request: Request, error: HTTPException) -> Response:
    """What Starlette raises: no such address, no such method."""
    if error.status_code == 404:
        return problem(request, NotFoundError("there is nothing at this address"))
    if error.status_code != 405:
        return problem(request, RequestError(str(error.detail)))
    app = cast(Application, request.app)
    methods = app.methods_at(request.scope["path"])
    allowed = ", ".join(sorted(methods)) or dict(error.headers or {}).get("Allow", "")
    response = problem(request, MethodError(f"this address knows {allowed}"))
    response.headers["Allow"] = allowed
    return response


async def _gone(request: Request, error: Any) -> Response:
    """Nobody is there to read it; the log shows the status."""
    return Response(status_code=GONE)


async def _unforeseen(request: Request, error: Any) -> Response:
    log.error("a mistake of ours", exc_info=error)
    return problem(
        request, InternalError("something went wrong on our side; the log knows it by this trace id")
    )


HANDLERS: dict[Any, Any] = {
    TldrError: _known,
    RequestValidationError: _invalid,
    HTTPException: _of_framework,
    ClientDisconnect: _gone,
    Exception: _unforeseen,
}
