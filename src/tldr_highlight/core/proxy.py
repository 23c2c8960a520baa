"""A proxy on loopback for programs that open sockets themselves: they reach what `egress` allows.

    with Egress(policy) as egress, Proxy(egress) as proxy:
        run(program, proxy=proxy.url)          http://tldr:SECRET@127.0.0.1:PORT
        proxy.refused                          an address was asked for that is not allowed

It speaks what clients of HTTP ask proxies for: `CONNECT host:port`, and `GET http://…`, one request for each
connection. Names are resolved and judged here, once for each connection; bytes, speed and time are limited as
the policy says. Without the secret, which is made for each proxy, nothing is asked for anybody.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import re
import secrets
import socket
import threading
from types import TracebackType
from typing import Self

from tldr_highlight.core.addresses import Address, parse, refused
from tldr_highlight.core.egress import Egress, Tunnel
from tldr_highlight.errors import AddressError, SourceError

HOST = "127.0.0.1"

HEAD_BYTES = 65_536
"""Bytes of a request's head."""

BODY_BYTES = 1 << 20
"""Bytes of a plain request's body."""

PATIENCE = 10.0
"""Seconds for a request's head to arrive."""

AT_ONCE = 16
"""Connections at the same time; a page's extractor has one or two."""

FIRST_LINE = re.compile(r"([A-Z]{3,10}) (\S{1,8192}) HTTP/1\.[01]")

NOT_PASSED_ON = ("proxy-", "connection:", "keep-alive:", "host:", "expect:")
"""Headers, in lower case, that are between us and the program, or the server."""


class Proxy:
    """The proxy, as a context manager: behind it, nothing that went through it goes on."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress.branch()  # closed with us
        self._secret = secrets.token_urlsafe(24)
        self._listener = socket.create_server((HOST, 0), backlog=AT_ONCE)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://tldr:{self._secret}@{HOST}:{self.port}"
        self.refused: AddressError | None = None  # the first of its kind
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="proxy")]
        self._over = False

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        with contextlib.suppress(OSError):  # elsewhere than on Linux the connection wakes it
            self._listener.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self.port), 1).close()
        self._threads[0].join()
        self._listener.close()
        self._egress.close()
        with self._lock:
            for client in self._clients:
                _shut(client)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                full = self._over or len(self._clients) >= AT_ONCE
                if not full:
                    self._clients.add(client)
            if full:
                client.close()
                continue
            self._threads = [t for t in self._threads if t.is_alive() or t.ident is None]
            self._threads.append(threading.Thread(target=self._serve, args=(client,), name="proxy"))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, SourceError):  # one side hung up, or was over a limit
            self._answer(client)
        with self._lock:
            self._clients.discard(client)
        client.close()

    def _answer(self, client: socket.socket) -> None:
        head, rest = _head(client)
        first, *headers = head.split("\r\n")
        asked = FIRST_LINE.fullmatch(first)
        if asked is None:
            _say(client, "400 Bad Request")
        elif not self._knows(headers):
            _say(client, "407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="tldr"')
        else:
            self._carry(client, asked[1], asked[2], headers, rest)

    def _carry(
        self, client: socket.socket, method: str, target: str, headers: list[str], rest: bytes
    ) -> None:
        try:
            address = _address(method, target)
            tunnel = self._egress.tunnel(address)
        except AddressError as error:
            self.refused = self.refused or error
            _say(client, "403 Forbidden")
            return
        except SourceError:
            _say(client, "502 Bad Gateway")
            return
        with tunnel:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                tunnel.send(rest)
                _relay(client, tunnel, listens=True)
            else:
                _exchange(client, tunnel, _request(method, address, headers), rest, _length(headers))

    def _knows(self, headers: list[str]) -> bool:
        expected = "Basic " + base64.b64encode(f"tldr:{self._secret}".encode()).decode()
        shown = [
            v.strip() for n, _, v in (h.partition(":") for h in headers) if n.lower() == "proxy-authorization"
        ]
        return len(shown) == 1 and hmac.compare_digest(shown[0].encode(), expected.encode())


def _head(client: socket.socket) -> tuple[str, bytes]:
    """A request's head, and what came behind it."""
    client.settimeout(PATIENCE)
    came = b""
    while b"\r\n\r\n" not in came:
        data = client.recv(65_536)
        if not data or len(came) > HEAD_BYTES:
            raise ConnectionError("no request")
        came += data
    head, _, rest = came.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _address(method: str, target: str) -> Address:
    if method == "CONNECT":
        return parse(f"http://{target}/")
    address = parse(target)
    if address.scheme != "http":  # what is to be encrypted is asked for with CONNECT
        raise refused()
    return address


def _request(method: str, address: Address, headers: list[str]) -> bytes:
    """The request as the server gets it; the connection ends with the answer."""
    lines = [f"{method} {address.target} HTTP/1.1", f"Host: {address.authority}", *_passed_on(headers)]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")


def _passed_on(headers: list[str]) -> list[str]:
    return [header for header in headers if not header.lower().startswith(NOT_PASSED_ON)]


def _length(headers: list[str]) -> int:
    """Bytes of a request's body; of one that does not tell, none are passed on."""
    told = next(
        (h.partition(":")[2].strip() for h in headers if h.lower().startswith("content-length:")), "0"
    )
    length = int(told) if re.fullmatch(r"\d{1,9}", told) else 0
    if length > BODY_BYTES:
        raise ConnectionError("more than anybody asks a page with")
    return length


def _exchange(client: socket.socket, tunnel: Tunnel, request: bytes, body: bytes, length: int) -> None:
    """One request and its answer, which says that the connection ends: the next may be for another host."""
    while len(body) < length:
        body += _some(client.recv(65_536))
    tunnel.send(request + body[:length])
    came = b""
    while b"\r\n\r\n" not in came and len(came) <= HEAD_BYTES:
        came += _some(tunnel.receive())
    head, _, rest = came.partition(b"\r\n\r\n")
    first, *headers = head.decode("latin-1").split("\r\n")
    told = "\r\n".join([first, *_passed_on(headers), "Connection: close", "", ""])
    client.sendall(told.encode("latin-1") + rest)
    _relay(client, tunnel, listens=False)


def _some(data: bytes) -> bytes:
    if not data:
        raise ConnectionError("it ended early")
    return data


def _relay(client: socket.socket, tunnel: Tunnel, *, listens: bool) -> None:
    """Carry bytes until one side ends: the server's, and the program's where it is listened to."""

    def upwards() -> None:
        with contextlib.suppress(OSError, SourceError):
            while data := client.recv(65_536):
                if listens:
                    tunnel.send(data)
        tunnel.shut()

    client.settimeout(None)  # the other side's limits end it
    sending = threading.Thread(target=upwards, name="proxy")
    sending.start()
    try:
        while data := tunnel.receive():
            client.sendall(data)
    finally:
        tunnel.shut()
        _shut(client)
        sending.join()


def _say(client: socket.socket, status: str, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "Connection: close", "", ""]
    client.sendall("\r\n".join(lines).encode("latin-1"))


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # not connected any more
        sock.shutdown(socket.SHUT_RDWR)
