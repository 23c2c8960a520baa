"""A file server behind a slow link: `python -m benchmarks.cut.server FOLDER [--delay S] [--rate MBIT]`.

It prints its address, answers single ranges, and counts: for every line on stdin it prints the bytes and
requests since the one before, as JSON, and ends with it. One link is shared by all connections: at most
`rate` bits per second in total. A round trip takes `delay` seconds and is paid for each connection and each
request, as over a real line; there is no slow start, which would favour whoever opens fewer connections.

Only the standard library, so that it costs the machine little beside the contestants.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

CHUNK = 16_384
"""Bytes sent at once: 1.3 ms at 100 Mbit/s."""

IN_FLIGHT = 131_072
"""Bytes that the system may hold for a connection: what a line of 100 Mbit/s and 10 ms holds. They count as
moved when they are handed over, read or not, as on a real line."""

KINDS = {".mp4": "video/mp4", ".html": "text/html"}


@dataclass
class Link:
    """The line between server and clients, and what went over it."""

    delay: float = 0.0  # seconds of a round trip
    rate: float = 0.0  # bits per second, of all connections together; 0: as fast as it goes
    moved: int = 0  # bytes of bodies
    requests: int = 0
    _free: float = 0.0  # when the line will have sent what it was given
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def round_trip(self) -> None:
        time.sleep(self.delay)

    def send(self, size: int) -> None:
        """Wait until the line has room for so many bytes."""
        with self._lock:
            self.moved += size
            if not self.rate:
                return
            start = max(time.monotonic(), self._free)
            self._free = start + 8 * size / self.rate
        time.sleep(max(0.0, self._free - time.monotonic()))

    def request(self) -> None:
        with self._lock:
            self.requests += 1
        self.round_trip()

    def counted(self) -> dict[str, int]:
        """What went over it since this was asked last."""
        with self._lock:
            counted = {"bytes": self.moved, "requests": self.requests}
            self.moved = self.requests = 0
        return counted


class Server(ThreadingHTTPServer):
    """Serves the files of one folder over one link, on a loopback port of its own; a context manager."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, link: Link) -> None:
        self.folder, self.link = folder, link
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up when they have what they need: no word about it."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, IN_FLIGHT)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()
        self.server.link.round_trip()  # of the connection's opening

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.server.link.request()
        path = self.server.folder / Path(unquote(urlsplit(self.path).path)).name
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        size = path.stat().st_size
        start, end = self._range(size)
        if start >= size:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        partial = "Range" in self.headers
        self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", KINDS.get(path.suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(end - start))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if body:
            with path.open("rb") as file:
                file.seek(start)
                self._send(file, end - start)

    def _range(self, size: int) -> tuple[int, int]:
        """First byte and the one behind the last that are asked for."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked or not any(asked.groups()):
            return 0, size
        first, last = asked.groups()
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(size, int(last) + 1) if last else size

    def _send(self, file: BinaryIO, left: int) -> None:
        while left > 0 and (data := file.read(min(CHUNK, left))):
            self.server.link.send(len(data))
            self.wfile.write(data)
            left -= len(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cut.server", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds of a round trip")
    parser.add_argument("--rate", type=float, default=0.0, help="Mbit/s; 0: unlimited")
    asked = parser.parse_args()
    with Server(asked.folder, Link(asked.delay, asked.rate * 1e6)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.address, flush=True)
        for _ in sys.stdin:
            print(json.dumps(server.link.counted()), flush=True)
        server.shutdown()


if __name__ == "__main__":
    main()
