"""Listens: uvicorn with httptools and uvloop, and the limits that they lack.

httptools keeps a header until it is whole, however long that takes and gets, and uvicorn waits for ever: a
caller could fill the memory or hold thousands of connections. Bodies are bounded in `web/`.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tldr_highlight.api.app import Application
from tldr_highlight.api.edge import HEADERS, LOG
from tldr_highlight.api.problems import MEDIA_TYPE, TYPES, phrase
from tldr_highlight.core.telemetry import new_trace, trace_id, tracing, write_line
from tldr_highlight.errors import PortError

HEAD_BYTES = 32_768
"""Of a request's first line and headers; browsers send 2 kB."""

HEAD_FIELDS = 100
"""Headers of a request; browsers send 15."""

HEAD_SECONDS = 20.0
"""For them to arrive, counted from when the connection is there or the last answer was given."""

IDLE_SECONDS = 15
"""For a connection without a request; less than HEAD_SECONDS, so that this is what ends idle ones."""

SWITCH_SECONDS = 0.0005
"""After which a thread of Python must let another one run; 5 ms is more than a whole answer takes, and what
the event loop would wait for a login's rows."""

STOP_SECONDS = 8
"""For open requests once the server is to stop; ours take milliseconds."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that callers can connect to already; port 0 takes any that is free.

    Raises:
        PortError: nobody can listen there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(2048)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise PortError(
            f"cannot listen at {host} port {port}: {error.strerror or error}; try --port"
        ) from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Where callers on this machine reach it: `http://127.0.0.1:8000`."""
    host, port = (str(part) for part in listening.getsockname()[:2])
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not what we bind to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listening: socket.socket) -> bool:
    """Whether callers on this machine alone reach it."""
    return ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def run(app: Application, listening: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, which are raised again at the end.

    Args:
        app: Whom to serve.
        listening: From `listen`.
        ready: Called when requests are about to be answered.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    _server(app, ready=ready).run(sockets=[listening])


def _server(app: Application, *, ready: Callable[[], None]) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whose word is taken is `TLDR_TRUSTED_PROXIES`, at the gate
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return _Server(config, app, ready)


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, app: Application, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so.

        What is there by then stays: the collector need not walk through it again, 0.1 s in which nobody is
        answered.
        """
        await super().startup(sockets)
        if self.started:
            gc.freeze()
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop. Those who listen or send would stay: they are sent home first."""
        self._app.state.listeners.stop()
        self._app.state.intake.stop()
        await super().shutdown(sockets)


class Refusal(Exception):  # noqa: N818 - what the parser makes an error of
    """Headers that are over a limit."""


class Protocol(HttpToolsProtocol):
    """One connection, with limits on what comes before a body. Its refusals are problems, too."""

    _head_bytes = 0
    _head_fields = 0
    _head_open = True
    _head_timer: Any = None
    _refused = 400

    def connection_made(self, transport: Any) -> None:
        """Wait for a request, not for ever."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that has not ended yet."""
        super().data_received(data)
        if self._head_open and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431, "the request's address and headers are too long")

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head_open, self._head_bytes, self._head_fields = True, 0, 0
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_late)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it."""
        self._head_fields += 1
        self._head_bytes += len(name) + len(value)
        if self._head_fields > HEAD_FIELDS or self._head_bytes > HEAD_BYTES:
            self._refused = 431
            raise Refusal
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_open = False
        self._cancel()
        self.scope.setdefault("state", {})["cut_off"] = (
            self.transport.abort
        )  # closing waits for a reader who never reads
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser refuses; `msg` says nothing more."""
        detail = (
            "this is not HTTP" if self._refused == 400 else "the request has too many or too long headers"
        )
        self._refuse(self._refused, detail)

    def _refuse(self, status: int, detail: str) -> None:
        trace = new_trace()
        document = {
            "type": f"{TYPES}request_invalid", "title": phrase(status), "status": status,
            "code": "request_invalid", "detail": detail, "trace_id": trace_id(trace),
        }  # fmt: skip
        body = json.dumps(document).encode()
        headers = {
            "content-type": MEDIA_TYPE, "content-length": str(len(body)), "connection": "close",
            "x-trace-id": trace_id(trace), "traceparent": trace, **HEADERS,
        }  # fmt: skip
        lines = [
            f"HTTP/1.1 {status} {phrase(status)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        with tracing(trace):
            write_line(LOG, "refused", status=status, reason=detail)
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()

    def _too_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(408, "the request's headers took too long")

    def _cancel(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
