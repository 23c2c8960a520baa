"""A real web server on loopback that counts, and can be told to misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass
class Server:
    """Serves `files` by path; everything it does is counted. Use it as a context manager."""

    files: dict[str, bytes | int | Callable[[], bytes]] = field(default_factory=dict)  # a number is a status
    ranges: bool = True
    host: str = "127.0.0.1"
    connections: int = field(default=0, init=False)
    sent: int = field(default=0, init=False)  # bytes of bodies
    asked: list[str] = field(default_factory=list, init=False)  # paths
    told: list[dict[str, str]] = field(default_factory=list, init=False)  # headers, names in lower case

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_GET(self) -> None:
                with suppress(ConnectionError):
                    outer._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self._server.server_port}{path}"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        self.told.append({k.lower(): v for k, v in request.headers.items()})
        body = self.files.get(request.path, 404)
        body = body() if callable(body) else body
        if isinstance(body, int):
            request.send_response(body)
            if 300 < body < 309:
                request.send_header("Location", request.path.rpartition("?to=")[2])
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        start, end = 0, len(body)
        if found and self.ranges:
            start, end = int(found[1]), min(end, int(found[2]) + 1 if found[2] else end)
        if start >= len(body) and body:
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        partly = bool(found) and self.ranges and bool(body)
        request.send_response(206 if partly else 200)
        if partly:
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        request.send_header("Content-Length", str(end - start))
        request.end_headers()
        request.wfile.write(body[start:end])
        self.sent += end - start
