"""The one module that opens sockets to addresses a customer can influence.

    with Egress(Policy.of(settings)) as egress:
        page = egress.fetch(url, headers={"Referer": "…"}, most=10_000_000)     a whole small body
        page.body, page.url, page.headers
        with egress.open(url, start=0, end=1000) as response:                   a body as it comes
            response.status, response.headers, response.url, response.start, response.total
            while chunk := response.read(65536): ...
        egress.check(url)                                                       refuses without asking
        egress.post(url, body, headers={…}, most=16_384).status                 tells somebody something, once
        with egress.tunnel(address) as tunnel: ...                              for `core/proxy.py`

`core/ranges.py` makes seekable files of it. Closing an `Egress` ends what other threads do with it.

What holds for each connection: the name is resolved once, every address in the answer is judged, and the
socket goes to an address that was judged; redirects go the same way; time, speed and bytes are limited
where bytes come in, headers included. Proxies named in the environment are not used.
All functions may be called from several threads.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import ipaddress
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar, cast

from tldr_highlight.core.addresses import IP, Address, Network, parse, permitted, refused
from tldr_highlight.errors import (
    AnswerError,
    IncompleteError,
    RedirectError,
    SourceDeniedError,
    SourceError,
    SourceLargeError,
    SourceNotFoundError,
    SourceSlowError,
    TlsError,
    UsageError,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from tldr_highlight.settings import Settings

Result = TypeVar("Result")

Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
"""(host, port) -> its IP addresses, best first; raises OSError when there are none."""

HEAD_BYTES = 262_144
"""Bytes of an answer's headers; http.client alone would take 6 MB, and endless `100 Continue`."""

RECEIVE_BYTES = 65_536
"""Bytes asked of the system at once."""

MOST_ADDRESSES = 4
"""Addresses of one name that are tried."""

IDLE = 8
"""Connections kept open for the next request, unless the policy says otherwise."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be connected to, and how long and how much is put up with."""

    allow_networks: tuple[Network, ...] = ()  # opened by the operator; metadata addresses stay closed
    ca_file: Path | None = None
    connect_timeout: float = 10.0  # seconds, for each address tried, and again for TLS
    read_timeout: float = 20.0  # seconds without a byte
    wall_seconds: float = 3600.0  # for one request with all of its answer
    least_speed: float = 8192.0  # bytes per second, while we wait for them …
    least_speed_over: float = 30.0  # … measured over so many seconds of waiting
    largest_bytes: int = 16 << 30  # of one answer
    most_redirects: int = 5
    tries: int = 3  # where trying again may help
    pause: float = 0.25  # seconds before the second try; twice as long before each further one
    idle: int = IDLE  # connections kept open for the next request

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The policy an operator has set.

        Raises:
            UsageError: a setting cannot be understood; the message names it.
        """
        return cls(allow_networks=_networks(settings.allow_networks or ""), ca_file=settings.ca_file)


def _networks(listed: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(n.strip()) for n in listed.split(",") if n.strip())
    except ValueError as error:
        raise UsageError(f"TLDR_ALLOW_NETWORKS: {error}; write it as 127.0.0.0/8,10.1.0.0/16") from None


def resolved(host: str, port: int) -> list[str]:
    """The system's answer for a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Egress:
    """The way out. One for as long as its connections should be reused; use it as a context manager."""

    def __init__(self, policy: Policy | None = None, *, resolve: Resolve = resolved) -> None:
        self.policy = policy or Policy()
        self._resolve = resolve
        self._parent: Egress | None = None
        self._idle: list[_Line] = []  # longest unused first
        self._sockets: set[socket.socket] = set()  # all that are open
        self._closed = False
        self._lock = threading.Lock()
        self._moved = 0

    def branch(self) -> Egress:
        """Another with the same policy, which can be closed by itself; its bytes count here, too."""
        branch = Egress(self.policy, resolve=self._resolve)
        branch._parent = self
        return branch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; what is under way in other threads ends with an error."""
        with self._lock:
            self._closed = True
            sockets, idle, self._idle = list(self._sockets), self._idle, []
        for line in idle:
            line.close()
        for sock in sockets:
            with contextlib.suppress(OSError):  # not connected, or closed meanwhile
                sock.shutdown(socket.SHUT_RDWR)

    @property
    def moved(self) -> int:
        """Bytes received so far, headers included."""
        return self._moved

    def check(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Refuse an address for what it says itself; where a name leads shows when it is opened.

        Raises:
            AddressError: it may not be opened.
            UsageError: a header that may not be set, or is none.
        """
        _checked(headers or {})
        address = parse(url)
        if address.ip and not permitted(address.ip, self.policy.allow_networks):
            raise refused()

    def open(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> Response:
        """Ask for `url`, or for its bytes from `start` to before `end`; redirects are followed.

        A server may answer a request for a part with the whole: `Response.start` says what came.
        `headers` are told to this address's origin only (but for the three that browsers send everywhere).

        Raises:
            SourceError: one of its kinds for everything that can go wrong.
            UsageError: a header that may not be set, or is none.
        """
        address, told = parse(url), _checked(headers or {})
        wanted = None if start is None else (start, end)
        for _ in range(self.policy.most_redirects + 1):
            if address.authorization:
                told["Authorization"] = address.authorization
            response = self._exchange(address, told, wanted)
            if response.status not in REDIRECTS:
                _judge(response, wanted, self.policy.largest_bytes)
                return response
            with response:
                onward = _onward(response)
            if onward.origin != address.origin:
                told = {name: value for name, value in told.items() if name in HARMLESS}
            address = onward
        raise RedirectError(f"{address.host}: more than {self.policy.most_redirects} redirects")

    def fetch(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        start: int | None = None,
        end: int | None = None,
        most: int = 64 << 20,
    ) -> Fetched:
        """A whole body of at most `most` bytes, asked for again where that may help.

        Raises:
            SourceLargeError: there is more.
            SourceError: as `open`.
        """

        def once() -> Fetched:
            with self.open(url, headers=headers, start=start, end=end) as response:
                if response.start != (start or 0):
                    raise AnswerError(f"{response.address}: the server does not send parts of files")
                return Fetched(response.url, response.headers, response.whole(most))

        return self.tried(once)

    def post(self, url: str, body: bytes, *, headers: Mapping[str, str], most: int) -> Answered:
        """Send `body` to `url`, once, and hear what is said to it: whatever its status, redirects included.

        All of it, connecting too, has the policy's `wall_seconds`. Of the answer's body the first `most`
        bytes are taken, as far as they come in time: who has answered has been told.

        Raises:
            SourceError: one of its kinds where there was no answer; then nobody knows what arrived.
            UsageError: a header that may not be set, or is none.
        """
        address, told = parse(url), _checked(headers)
        if address.authorization:
            told["Authorization"] = address.authorization
        until = time.monotonic() + self.policy.wall_seconds
        request = _request(address, told, None, body)
        with _coded(address, SourceError):
            # a line that others have used is tried once, too: twice would be told twice
            line = self._kept(address) or self._connected(address, until)
            response = self._asked(line, address, request, told, method="POST", until=until)
        with response:
            return Answered(response.status, response.headers, response.beginning(most))

    def tunnel(self, address: Address) -> Tunnel:
        """A plain connection to an address's host and port, for a program that speaks by itself.

        Raises:
            SourceError: it cannot be had, or may not.
        """
        with _coded(address, SourceError):
            line = self._connected(replace(address, scheme="http"))
        line.begin()
        line.budget = self.policy.largest_bytes
        return Tunnel(line)

    def tried(self, once: Callable[[], Result]) -> Result:
        """What `once` returns; where trying again may help, it is, a few times."""
        for number in range(self.policy.tries - 1):
            try:
                return once()
            except SourceError as error:
                if not worth_another_try(error):
                    raise
                time.sleep(self.policy.pause * 2**number)
        return once()

    def _exchange(self, address: Address, told: Mapping[str, str], wanted: Wanted) -> Response:
        """One request and the head of its answer, on a kept connection where that still stands."""
        request = _request(address, told, wanted)
        with _coded(address, SourceError):
            if line := self._kept(address):
                with contextlib.suppress(ConnectionError):  # closed just now: nothing was answered
                    return self._asked(line, address, request, told)
            return self._asked(self._connected(address), address, request, told)

    def _asked(
        self,
        line: _Line,
        address: Address,
        request: bytes,
        told: Mapping[str, str],
        *,
        method: str = "GET",
        until: float | None = None,
    ) -> Response:
        try:
            line.begin(until)
            line.sendall(request)
            # as http.client.HTTPConnection does it, which has ways of its own to open sockets
            answer = http.client.HTTPResponse(cast("socket.socket", line), method=method)
            answer.begin()
            line.budget = self.policy.largest_bytes + HEAD_BYTES
        except BaseException:
            line.close()
            raise
        return Response(address, dict(told), answer, line, self._keep)

    def _kept(self, address: Address) -> _Line | None:
        """A kept connection to this origin that the server has not closed."""
        while True:
            with self._lock:
                line = next((line for line in reversed(self._idle) if line.origin == address.origin), None)
                if line is None:
                    return None
                self._idle.remove(line)
            if line.is_quiet():
                return line
            line.close()

    def _keep(self, line: _Line) -> None:
        with self._lock:
            self._idle.append(line)
            surplus = self._idle if self._closed else self._idle[: -self.policy.idle]
            self._idle = self._idle[len(surplus) :]
        for old in surplus:
            old.close()

    def _connected(self, address: Address, until: float = math.inf) -> _Line:
        """A connection to an address that was judged; the name is resolved once, here.

        `until`: on the monotonic clock, when it is too late.
        """
        trouble: OSError | None = None
        for ip in self._judged(address)[:MOST_ADDRESSES]:
            try:
                return _Line(
                    self._socket(ip, address, until), address, self.policy, self._count, self._let_go
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                trouble = error
        raise SourceError(f"{address}: cannot connect: {trouble or 'it has no address'}") from trouble

    def _judged(self, address: Address) -> list[IP]:
        """Where the host is. One bad address among good ones refuses all: such answers are made to trick."""
        found = [address.ip] if address.ip else [_ip(n) for n in self._resolve(address.host, address.port)]
        if not all(permitted(ip, self.policy.allow_networks) for ip in found):
            raise refused()
        return list(dict.fromkeys(found))

    def _socket(self, ip: IP, address: Address, until: float) -> socket.socket:
        """A socket connected to `ip`, with TLS for the address's name where that is wanted."""

        def patience() -> float:
            left = min(self.policy.connect_timeout, until - time.monotonic())
            if left <= 0:
                raise TimeoutError("not connected in time")
            return left

        sock = socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        self._take(sock)
        try:
            sock.settimeout(patience())
            sock.connect((str(ip), address.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.scheme == "https":
                plain = sock
                sock = self._tls.wrap_socket(
                    plain, server_hostname=address.host, do_handshake_on_connect=False
                )
                self._let_go(plain)
                self._take(sock)
                sock.settimeout(patience())
                sock.do_handshake()
        except BaseException:
            self._let_go(sock)
            raise
        return sock

    def _take(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)
            closed = self._closed
        if closed:
            self._let_go(sock)
            raise OSError("closed")

    def _let_go(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        sock.close()

    def _count(self, received: int) -> None:
        with self._lock:
            self._moved += received
        if self._parent:
            self._parent._count(received)

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """Verification as the system does it, and the operator's authorities beside."""
        if self._parent:
            return self._parent._tls
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if self.policy.ca_file:
            try:
                context.load_verify_locations(self.policy.ca_file)
            except OSError as error:  # ssl.SSLError, too
                raise UsageError(f"TLDR_CA_FILE: cannot read {self.policy.ca_file}: {error}") from error
        return context


class Tunnel:
    """A connection whose bytes somebody else understands; time, speed and bytes are limited as always."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close()

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            SourceError: the connection is lost.
        """
        with _coded(self._line.address, SourceError):
            self._line.sendall(data)

    def receive(self) -> bytes:
        """What comes next; nothing at the end.

        Raises:
            SourceError: the connection is lost, or over one of the policy's limits.
        """
        buffer = bytearray(RECEIVE_BYTES)
        with _coded(self._line.address, SourceError):
            received = self._line.receive_into(buffer)
        return bytes(buffer[:received])

    def shut(self) -> None:
        """End it, so that whoever waits for bytes wakes."""
        with contextlib.suppress(OSError):  # not connected any more
            self._line.sock.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole body."""

    url: str  # where it was found in the end
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """What was said to a body that was sent."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes  # its beginning


def worth_another_try(error: SourceError) -> bool:
    """Whether the same request may do better in a moment: no answer, 5xx, a body cut short."""
    return type(error) in {SourceError, IncompleteError}


def _ip(text: str) -> IP:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise refused() from None


# --- requests and answers ------------------------------------------------------------------------------

Wanted: TypeAlias = tuple[int, int | None] | None
"""First byte and the one behind the last; None: all."""

REDIRECTS = {301, 302, 303, 307, 308}

HARMLESS = {"User-Agent", "Accept", "Accept-Language"}
"""Headers that are told to every origin; all others may be secrets."""


def told_there(headers: Mapping[str, str], url: str, other: str) -> dict[str, str]:
    """Of headers meant for the origin of `url`, those that may be sent to `other`.

    Raises:
        AddressError: one of them may not be opened.
    """
    if parse(url).origin == parse(other).origin:
        return dict(headers)
    return {name: value for name, value in headers.items() if name.title() in HARMLESS}


OURS = {
    "Host", "Range", "If-Range", "Connection", "Keep-Alive", "Accept-Encoding", "Content-Length", "Te",
    "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Proxy-Authorization", "Proxy-Connection",
}  # fmt: skip
"""Headers that say where a request ends and what comes back: set here alone."""

TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
VALUE = re.compile(r"[\x20-\x7e\t\xa0-\xff]{0,8192}")


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """A customer's headers, each name in its usual case."""
    for name, value in headers.items():
        if name.title() in OURS:
            raise UsageError(f"the header {name} cannot be set")
        if not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise UsageError(f"the header {name[:40]!r} has characters that headers cannot have, or too many")
    return {name.title(): value.strip() for name, value in headers.items()}


def _request(address: Address, told: Mapping[str, str], wanted: Wanted, body: bytes | None = None) -> bytes:
    lines = {"Host": address.authority, "User-Agent": "tldr-highlight", "Accept": "*/*", **told}
    lines |= {"Accept-Encoding": "identity", "Connection": "keep-alive"}
    if wanted:
        start, end = wanted
        lines["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
    if body is not None:
        lines["Content-Length"] = str(len(body))
    method = "GET" if body is None else "POST"
    head = [f"{method} {address.target} HTTP/1.1", *(f"{n}: {value}" for n, value in lines.items()), "", ""]
    return "\r\n".join(head).encode("latin-1") + (body or b"")


class Response:
    """An answer whose body is still to come; use it as a context manager."""

    def __init__(
        self,
        address: Address,
        told: dict[str, str],
        answer: http.client.HTTPResponse,
        line: _Line,
        keep: Callable[[_Line], None],
    ) -> None:
        self.address = address  # where it was found in the end
        self.told = told  # the headers that may be told there
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.headers.items()}
        self.start = 0  # place of the body's first byte in the file
        self.total: int | None = answer.length  # bytes of the file, where the server says
        self.length = answer.length  # bytes of the body, where the server says
        self._left = answer.length
        self._answer = answer
        self._line = line
        self._keep = keep
        self._open = True

    @property
    def url(self) -> str:
        """Where it was found in the end, after redirects; without credentials."""
        return self.address.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begins_at(self, start: int, length: int, total: int | None) -> None:
        """Note which part of the file this is; a body that goes on behind it is not read on."""
        self.start, self.total = start, total
        self.length = self._left = length

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            IncompleteError: the connection ended before the body did.
            SourceSlowError: as the policy says; SourceLargeError likewise.
        """
        if self._left is not None:
            size = min(size, self._left)
        if size == 0:
            return b""
        with _coded(self.address, IncompleteError):
            data = self._answer.read(size)
        if self._left is not None:
            self._left -= len(data)
            if not data:
                raise IncompleteError(f"{self.address}: the connection ended {self._left} bytes early")
        return data

    def whole(self, most: int) -> bytes:
        """The rest of the body, if it is at most `most` bytes.

        Raises:
            SourceLargeError: it is more.
        """
        data = bytearray()
        while len(data) <= most and (self._left or 0) <= most - len(data):
            if not (chunk := self.read(min(RECEIVE_BYTES, most + 1 - len(data)))):
                return bytes(data)
            data += chunk
        raise SourceLargeError(f"{self.address}: more than {most} bytes")

    def beginning(self, most: int) -> bytes:
        """The body's first bytes, `most` at most, and as far as they come."""
        data = bytearray()
        with contextlib.suppress(SourceError), _coded(self.address, IncompleteError):
            # not `read`, which keeps what it has until it has all
            while len(data) < most and (chunk := self._answer.read1(most - len(data))):
                data += chunk
        return bytes(data)

    def close(self) -> None:
        """Let go of the connection: it is kept for the next request where the body was read to its end."""
        if self._open:
            self._open = False
            done = self._answer.isclosed() or self._answer.length == 0
            self._answer.close()
            if done and not self._answer.will_close:
                self._keep(self._line)
            else:
                self._line.close()


def _judge(response: Response, wanted: Wanted, largest: int) -> None:
    """Let go of an answer that is not a file, and say why."""
    try:
        _refuse_status(response)
        if response.headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
            raise AnswerError(f"{response.address}: the server compresses though it was asked not to")
        if response.status == 206:
            _place(response, wanted)
        if (response.length or 0) > largest:
            raise SourceLargeError(f"{response.address}: {response.length} bytes, more than {largest}")
    except SourceError:
        response.close()
        raise


STATUS: dict[int, tuple[type[SourceError], str]] = {
    401: (SourceDeniedError, "the server wants other credentials"),
    402: (SourceDeniedError, "the server wants to be paid"),
    403: (SourceDeniedError, "the server does not give this to us"),
    404: (SourceNotFoundError, "there is no such file"),
    407: (SourceDeniedError, "the server wants other credentials"),
    408: (SourceError, "the server gave up waiting"),
    410: (SourceNotFoundError, "the file is gone"),
    416: (IncompleteError, "the file ends before the part that was asked for"),
    425: (SourceError, "the server is not ready"),
    429: (SourceError, "too many requests, says the server"),
    451: (SourceDeniedError, "the server may not give this to us"),
}


def _refuse_status(response: Response) -> None:
    status = response.status
    if status in {200, 203, 206}:
        return
    kind, meaning = STATUS.get(status, (AnswerError, "that is no file"))
    if status >= 500:
        kind, meaning = SourceError, "the server fails"
    raise kind(f"{response.address}: {meaning} (HTTP {status})")


def _place(response: Response, wanted: Wanted) -> None:
    """Read what part of the file came, and hold it against what was asked for."""
    told = response.headers.get("content-range", "")
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", told.strip())
    if not found or not wanted:
        raise AnswerError(f"{response.address}: a part of the file that does not say which ({told[:60]!r})")
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    start, end = wanted
    size = last + 1 - first
    fits = first == start and size > 0 and (end is None or last < end) and (total is None or last < total)
    if not fits or response.length not in {None, size}:
        raise AnswerError(f"{response.address}: another part of the file than was asked for ({told[:60]!r})")
    response.begins_at(first, size, total)


def _onward(response: Response) -> Address:
    """Where a redirect leads."""
    location = response.headers.get("location")
    if not location:
        raise RedirectError(f"{response.address}: a redirect to nowhere")
    # http.client reads headers as Latin-1; servers that send other characters as they are mean UTF-8
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    onward = parse(location.strip(), base=response.address)
    if response.address.scheme == "https" and onward.scheme == "http":
        raise RedirectError(f"{response.address}: a redirect from https to http")
    return onward


@contextlib.contextmanager
def _coded(address: Address, broken: type[SourceError]) -> Generator[None]:
    """What sockets, TLS and HTTP throw becomes ours; `broken` is what a lost connection means."""
    try:
        yield
    except TimeoutError as error:
        raise SourceSlowError(f"{address}: the server is silent") from error
    except ssl.SSLCertVerificationError as error:
        raise TlsError(f"{address}: its certificate does not hold: {error.verify_message}") from error
    except ssl.SSLEOFError as error:
        raise broken(f"{address}: the connection was lost") from error
    except ssl.SSLError as error:
        raise TlsError(f"{address}: no secure connection: {error.reason or error}") from error
    except (ConnectionError, http.client.IncompleteRead) as error:
        raise broken(f"{address}: the connection was lost: {error}") from error
    except http.client.HTTPException as error:
        raise AnswerError(f"{address}: the answer is not HTTP ({type(error).__name__})") from error
    except OSError as error:
        raise broken(f"{address}: {error.strerror or error}") from error


# --- a connection --------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Line:
    """A connected socket that watches time, speed and bytes; to http.client it is a socket."""

    sock: socket.socket
    address: Address  # whose origin it leads to
    policy: Policy
    count: Callable[[int], None]  # is told of bytes received
    let_go: Callable[[socket.socket], None]  # closes the socket
    budget: int = field(default=0, init=False)  # bytes that may still come
    _until: float = field(default=0.0, init=False)  # on the monotonic clock
    _waited: float = field(default=0.0, init=False)  # seconds of the present measurement of speed …
    _came: int = field(default=0, init=False)  # … and bytes in it

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.address.origin

    def begin(self, until: float | None = None) -> None:
        """A new request: the clock starts, unless it ends at `until`."""
        self.budget = HEAD_BYTES
        self._until = time.monotonic() + self.policy.wall_seconds if until is None else until
        self._waited, self._came = 0.0, 0

    def sendall(self, data: bytes) -> None:
        left = max(0.001, self._until - time.monotonic())
        self.sock.settimeout(min(self.policy.read_timeout, left))
        self.sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(_Incoming(self), RECEIVE_BYTES)

    def receive_into(self, buffer: WriteableBuffer) -> int:
        """Bytes received; only time spent waiting for them counts, not what their reader does meanwhile."""
        began = time.monotonic()
        left = self._until - began
        try:
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(min(self.policy.read_timeout, left))
            received = self.sock.recv_into(buffer)
        except TimeoutError as error:
            said = f"not finished in {self.policy.wall_seconds:.0f} s"
            if left > self.policy.read_timeout:
                said = f"silent for {self.policy.read_timeout:.0f} s"
            raise SourceSlowError(f"{self.address.host}: {said}") from error
        self.count(received)
        self.budget -= received
        if self.budget < 0:
            raise SourceLargeError(f"{self.address.host}: more bytes than an answer may have")
        self._measure(time.monotonic() - began, received)
        return received

    def _measure(self, seconds: float, received: int) -> None:
        over, least = self.policy.least_speed_over, self.policy.least_speed
        self._waited += seconds
        self._came += received
        if self._waited >= over:
            if received and self._came < least * over:
                raise SourceSlowError(f"{self.address.host}: less than {least:.0f} bytes per second")
            self._waited, self._came = 0.0, 0

    def is_quiet(self) -> bool:
        """Whether nothing is there to be read: before a request that is the end, or what nobody asked for."""
        self.sock.settimeout(0)
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return False
        try:
            # past TLS, which cannot look without taking
            socket.socket.recv(self.sock, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self.let_go(self.sock)


class _Incoming(io.RawIOBase):
    """What is read from a line for one answer; closing it leaves the line open."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._line.receive_into(buffer)
