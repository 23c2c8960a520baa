"""The API: every room's routes, in one application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request, Response

import tldr_highlight
from tldr_highlight.api.problems import problem
from tldr_highlight.errors import TldrError
from tldr_highlight.runtime import Runtime
from tldr_highlight.tenancy import routes as tenancy
from tldr_highlight.tenancy.auth import TenantGate
from tldr_highlight.web import THREADS, password_lane


def create_app(runtime: Runtime) -> FastAPI:
    """The application on an open runtime."""
    app = FastAPI(
        title="TL;DR Highlight",
        version=tldr_highlight.__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.runtime = runtime
    app.state.gate = TenantGate(runtime)
    app.include_router(tenancy.keys.router)
    app.include_router(tenancy.auth.router)
    app.include_router(tenancy.me.router)
    app.add_exception_handler(TldrError, _problem)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    with ThreadPoolExecutor(THREADS, thread_name_prefix="request") as threads:
        app.state.threads = threads
        with contextlib.closing(password_lane()) as app.state.passwords:
            yield
    app.state.gate.close()


async def _problem(request: Request, error: Any) -> Response:
    return problem(request, error)
