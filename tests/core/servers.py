"""Real servers on loopback that count who connects, and answer as badly as a test wants.

    with Server(answer) as server:
        server.url                       http://127.0.0.1:PORT/
        server.connections               how many were made
        server.requests                  what was asked, in order

`answer(request, peer)` gets each request and sends raw bytes; the connection stays open for another one
unless it returns False.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

TLS = Path(__file__).parent / "tls"
AUTHORITY = TLS / "authority.pem"


@dataclass(frozen=True)
class Request:
    target: str
    headers: dict[str, str]  # names in lower case
    method: str = "GET"
    body: bytes = b""


Answer = Callable[[Request, "Peer"], object]


class Peer:
    """A connection, as the server sees it."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self.over = over  # set when the test is
        self._came = b""

    def request(self) -> Request | None:
        if not self._receive(lambda: b"\r\n\r\n" in self._came):
            return None
        head, _, self._came = self._came.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        assert version == "HTTP/1.1"
        headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in lines)}
        size = int(headers.get("content-length", 0))
        if not self._receive(lambda: len(self._came) >= size):
            return None
        body, self._came = self._came[:size], self._came[size:]
        return Request(target, headers, method, body)

    def _receive(self, enough: Callable[[], bool]) -> bool:
        while not enough():
            chunk = self.sock.recv(65536)
            if not chunk:
                return False
            self._came += chunk
        return True

    def send(self, *parts: bytes | str) -> None:
        self.sock.sendall(b"".join(p.encode("latin-1") if isinstance(p, str) else p for p in parts))

    def reply(self, status: str, body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines), body)


class Server:
    def __init__(self, answer: Answer, *, tls: bool = False, ip: str = "127.0.0.1") -> None:
        self._answer = answer
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(TLS / "server.pem")
        self._socket = socket.create_server((ip, 0), backlog=64)
        self.ip = ip
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{ip}:{self.port}/"
        self.connections = 0
        self.requests: list[Request] = []
        self.over = threading.Event()
        self._peers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        with contextlib.suppress(OSError):  # wakes accept() on Linux; elsewhere the connection below does
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            socket.create_connection((self.ip, self.port), 1).close()
        self._threads[0].join(30)
        self._socket.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        for peer in self._peers:
            peer.close()

    def at(self, host: str) -> str:
        """The same server under a name."""
        return self.url.replace(self.ip, host)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            if self.over.is_set():
                sock.close()
                return
            self.connections += 1
            self._peers.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        # clients hang up in the middle all the time: that is what many tests are about
        with contextlib.suppress(OSError):
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._peers.append(sock)
            peer = Peer(sock, self.over)
            while request := peer.request():
                self.requests.append(request)
                if self._answer(request, peer) is False:
                    break
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def asked_part(request: Request, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last that a request asks for, inside a file of `size` bytes."""
    if "range" not in request.headers:
        return None
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers["range"])
    assert found
    return int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)


def parts(data: bytes, *headers: str) -> Answer:
    """A server that does it right."""

    def answer(request: Request, peer: Peer) -> None:
        part = asked_part(request, len(data))
        if part is None:
            peer.reply("200 OK", data, *headers)
        elif part[0] >= len(data):
            peer.reply("416 Range Not Satisfiable", b"", f"Content-Range: bytes */{len(data)}")
        else:
            start, end = part
            place = f"Content-Range: bytes {start}-{end - 1}/{len(data)}"
            peer.reply("206 Partial Content", data[start:end], place, *headers)

    return answer
