"""The outermost layer of the API: what holds for every answer, whoever made it.

A trace that begins or goes on; headers that keep browsers from doing harm; HEAD as GET without a body; one
line of log and one observation for each request. Pure ASGI: a class of Starlette's costs 80 µs more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tldr_highlight.api.metrics import Metrics
from tldr_highlight.core.telemetry import child_of, trace_id, tracing, write_line
from tldr_highlight.usage.meter import Meter
from tldr_highlight.usage.quotas import Metric

LOG = "tldr_highlight.requests"

HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer that does not say otherwise."""

HSTS = ("strict-transport-security", "max-age=31536000")
"""Where people reach the server by https; subdomains are not ours to promise for."""

GONE = 499
"""What the log says of a caller who left before the answer; nginx's number for it."""


class Edge:
    """The layer.

    Args:
        app: What is inside.
        metrics: Where requests are counted.
        meter: Where those of organizations are, for the ledger.
        https: Whether people reach the server by https.
        cross_origin: Pages of other origins may call (CORS), and so may read what they get.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, meter: Meter, *, https: bool, cross_origin: bool
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._meter = meter
        defaults = dict(HEADERS) | (dict([HSTS]) if https else {})
        if cross_origin:
            defaults["cross-origin-resource-policy"] = "cross-origin"
        self._defaults = [(name.encode(), value.encode()) for name, value in defaults.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        traceparent = child_of(_header(scope, b"traceparent"))
        with tracing(traceparent):
            await self._serve(scope, receive, send, traceparent)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, traceparent: str) -> None:
        began = time.perf_counter()
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        ours = [(b"x-trace-id", trace_id(traceparent).encode()), (b"traceparent", traceparent.encode())]
        status = GONE
        bodiless = state["bodiless"] = scope["method"] == "HEAD"

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._complete(message["headers"], state.get("headers"), ours)
            elif bodiless:
                message = {**message, "body": b""}
            await send(message)

        inner = {**scope, "method": "GET"} if bodiless else scope
        try:
            await self._app(inner, receive, answer)
        finally:
            self._record(scope["method"], inner, state, status, time.perf_counter() - began)

    def _complete(
        self,
        headers: list[tuple[bytes, bytes]],
        collected: Mapping[str, str] | None,
        ours: list[tuple[bytes, bytes]],
    ) -> None:
        """Add what the gate collected (rates), ours, and defaults where nothing is said."""
        said = {name.lower() for name, _ in headers}
        more = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in (collected or {}).items()]
        headers.extend(pair for pair in (*ours, *more, *self._defaults) if pair[0] not in said)

    def _record(
        self, method: str, scope: Scope, state: Mapping[str, Any], status: int, seconds: float
    ) -> None:
        operation = state.get("operation", "none")
        self._metrics.observe(operation, status, seconds)
        caller = state.get("caller")
        if caller is not None and caller.organization_id is not None and status < 500:
            self._meter.add(caller.organization_id, Metric.API_CALLS, 1)  # our mistakes are free
        write_line(
            LOG,
            "answered",
            method=method,
            operation=operation,
            path=getattr(scope.get("route"), "path_format", None),
            status=status,
            ms=round(seconds * 1000, 1),
            caller=None if caller is None else caller.actor,
            organization=None if caller is None else caller.organization_id,
        )


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None
