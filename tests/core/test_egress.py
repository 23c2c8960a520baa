"""The way out: only to where it may, within its limits, against servers and resolvers that lie.

Who was connected to is counted at the servers.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.core.servers import AUTHORITY, Answer, Peer, Request, Server, parts
from tests.core.test_addresses import PRIVATE
from tldr_highlight.core.addresses import REFUSED
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.errors import (
    AddressError,
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
from tldr_highlight.settings import Settings

LOOPBACK = Policy(
    allow_networks=(ipaddress.ip_network("127.0.0.0/8"),),
    ca_file=AUTHORITY,
    connect_timeout=5,
    read_timeout=5,
    wall_seconds=20,
    pause=0,
)
"""Tests' servers are allowed, and what the tests do not want to wait for is short."""


class Names:
    """A resolver that says what a test wants, and counts how often it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._answers = itertools.cycle(answers)

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return next(self._answers)


def names() -> Names:
    return Names(["127.0.0.1"])


@pytest.fixture
def egress() -> Iterator[Egress]:
    with Egress(LOOPBACK, resolve=names()) as egress:
        yield egress


def ok(request: Request, peer: Peer) -> None:
    peer.reply("200 OK", b"hello")


def moved(location: str, *headers: str, status: str = "302 Found") -> Answer:
    return lambda request, peer: peer.reply(status, b"", f"Location: {location}", *headers)


# --- where to: S1 to S4, S8 ----------------------------------------------------------------------------


@pytest.mark.parametrize("url", PRIVATE)
def test_no_spelling_of_a_private_address_is_connected_to(url: str) -> None:
    with Server(ok) as server, Egress() as egress:
        host, _, path = url.removeprefix("http://").partition("/")
        with pytest.raises(AddressError) as caught:
            egress.fetch(f"http://{host}:{server.port}/{path}")
        assert str(caught.value) == REFUSED
        assert server.connections == 0


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "ip6-localhost.test"])
@pytest.mark.parametrize(
    "answer",
    [["127.0.0.1"], ["::1"], ["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"],
     ["::ffff:127.0.0.1"], ["fe80::1%lo"], ["169.254.169.254"], ["64:ff9b::7f00:1"], ["0.0.0.0"],
     ["not an address"]],
)  # fmt: skip
def test_names_that_lead_inside_are_refused_with_their_whole_answer(host: str, answer: list[str]) -> None:
    with Server(ok) as server, Egress(resolve=Names(answer)) as egress:
        egress.check(server.at(host))
        with pytest.raises(AddressError) as caught:
            egress.fetch(server.at(host))
        assert str(caught.value) == REFUSED
        assert server.connections == 0


def test_the_systems_own_name_for_itself_is_refused() -> None:
    with Server(ok) as server, Egress() as egress:
        with pytest.raises(AddressError):
            egress.fetch(server.at("localhost"))
        assert server.connections == 0


def test_a_name_is_resolved_once_for_a_connection_and_connected_to_as_resolved() -> None:
    """It answers well once and badly ever after: the first connection is made to what was judged."""
    resolver = Names(["127.0.0.1"], ["10.0.0.1"])

    def once(request: Request, peer: Peer) -> bool:
        peer.reply("200 OK", b"hello")
        return request.target != "/close"

    with Server(once) as server, Egress(LOOPBACK, resolve=resolver) as egress:
        assert egress.fetch(server.at("media.test")).body == b"hello"
        assert egress.fetch(server.at("media.test") + "close").body == b"hello"  # the same connection
        assert resolver.asked == [("media.test", server.port)]
        with pytest.raises(AddressError):
            egress.fetch(server.at("media.test"))  # a new connection, and a new answer
        assert server.connections == 1
        assert [r.headers["host"] for r in server.requests] == [f"media.test:{server.port}"] * 2


def test_an_answer_that_mixes_allowed_and_private_is_refused_whole() -> None:
    with Server(ok) as server, Egress(LOOPBACK, resolve=Names(["127.0.0.1", "10.0.0.1"])) as egress:
        with pytest.raises(AddressError):
            egress.fetch(server.at("media.test"))
        assert server.connections == 0


def test_alternating_answers_never_reach_what_is_denied() -> None:
    resolver = Names(["127.0.0.1"], ["10.0.0.1"])
    outcomes: list[bool] = []
    with Server(ok) as server:
        for _ in range(6):
            with Egress(LOOPBACK, resolve=resolver) as egress:
                try:
                    outcomes.append(egress.fetch(server.at("media.test")).body == b"hello")
                except AddressError:
                    outcomes.append(False)
        assert outcomes == [True, False] * 3
        assert server.connections == 3


def test_the_second_address_is_tried_where_the_first_does_not_answer() -> None:
    with Server(ok) as server, Egress(LOOPBACK, resolve=Names(["127.0.0.9", "127.0.0.1"])) as egress:
        assert egress.fetch(server.at("media.test")).body == b"hello"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_redirects_are_followed(status: str, egress: Egress) -> None:
    with Server(ok) as target, Server(moved(target.at("cdn.test") + "b", status=status)) as server:
        fetched = egress.fetch(server.at("media.test"))
        assert fetched.body == b"hello"
        assert fetched.url == target.at("cdn.test") + "b"


INSIDE = [
    "http://127.0.0.2:{port}/", "//127.0.0.2:{port}/", "http://2130706434:{port}/", "http://127.2:{port}/",
    "http://[::ffff:7f00:2]:{port}/", "http://１２７.0.0.2:{port}/", "http://inside.test:{port}/",
    "http://media.test@127.0.0.2:{port}/", "file:///etc/passwd", "gopher://127.0.0.2:{port}/", "http://[",
]  # fmt: skip


@pytest.mark.parametrize("inside", INSIDE)
def test_redirects_to_the_inside_are_refused_as_if_asked_for(inside: str) -> None:
    resolve = {"media.test": ["127.0.0.1"], "inside.test": ["127.0.0.2"]}
    policy = replace(LOOPBACK, allow_networks=(ipaddress.ip_network("127.0.0.1/32"),))
    try:
        target = Server(ok, ip="127.0.0.2")
    except OSError:
        pytest.skip("this system has one loopback address")
    location = inside.format(port=target.port).encode().decode("latin-1")
    with (
        target,
        Server(moved(location)) as server,
        Egress(policy, resolve=lambda host, port: resolve[host]) as egress,
    ):
        with pytest.raises(AddressError) as caught:
            egress.fetch(server.at("media.test"))
        assert str(caught.value) == REFUSED
        assert (server.connections, target.connections) == (1, 0)


def test_five_redirects_are_followed_and_not_six(egress: Egress) -> None:
    def down(request: Request, peer: Peer) -> None:
        left = int(request.target[1:])
        if left:
            peer.reply("302 Found", b"", f"Location: /{left - 1}")
        else:
            peer.reply("200 OK", b"hello")

    with Server(down) as server:
        assert egress.fetch(server.url + "5").body == b"hello"
        with pytest.raises(RedirectError, match="more than 5"):
            egress.fetch(server.url + "6")
        assert len(server.requests) == 6 + 6
        assert server.connections == 1


def test_a_redirect_loop_ends(egress: Egress) -> None:
    with Server(moved("/")) as server, pytest.raises(RedirectError):
        egress.fetch(server.url)


def test_no_redirect_leads_from_https_to_http(egress: Egress) -> None:
    with Server(ok) as target, Server(moved(target.url), tls=True) as server:
        with pytest.raises(RedirectError, match="https to http"):
            egress.fetch(server.url)
        assert target.connections == 0


def test_a_redirect_to_nowhere_is_refused(egress: Egress) -> None:
    with Server(lambda r, p: p.reply("302 Found")) as server, pytest.raises(RedirectError, match="nowhere"):
        egress.fetch(server.url)


SECRETS = {
    "Authorization": "Bearer s3cret",
    "Cookie": "id=s3cret",
    "X-Key": "s3cret",
    "referer": "http://s3cret/",
}
COMMON = {"User-Agent": "Mozilla/5.0", "Accept-Language": "de"}


def test_headers_are_told_along_a_redirect_on_the_same_origin(egress: Egress) -> None:
    def answer(request: Request, peer: Peer) -> None:
        (ok if request.target == "/b" else moved("/b"))(request, peer)

    with Server(answer) as server:
        egress.fetch(server.url, headers=SECRETS | COMMON)
        assert len(server.requests) == 2
        for request in server.requests:
            assert {n.lower(): v for n, v in (SECRETS | COMMON).items()}.items() <= request.headers.items()


@pytest.mark.parametrize("change", ["host", "port", "scheme"])
def test_secrets_are_not_told_another_origin(change: str, egress: Egress) -> None:
    with Server(ok, tls=change == "scheme") as other:

        def answer(request: Request, peer: Peer) -> None:
            onward = f"http://cdn.test:{server.port}/b" if change == "host" else other.at("media.test") + "b"
            (ok if request.target == "/b" else moved(onward))(request, peer)

        with Server(answer) as server:
            egress.fetch(server.at("user:s3cret@media.test"), headers=SECRETS | COMMON)
            first, last = [*server.requests, *other.requests]
            assert first.headers["authorization"] == "Basic dXNlcjpzM2NyZXQ="
            assert first.headers["x-key"] == "s3cret"
            assert last.target == "/b"
            assert "s3cret" not in str(last)
            assert last.headers["user-agent"] == "Mozilla/5.0"
            assert last.headers["accept-language"] == "de"


def test_credentials_in_a_redirect_are_told_its_target(egress: Egress) -> None:
    with Server(ok) as target, Server(moved(target.at("u:p@cdn.test"))) as server:
        assert "u:p" not in egress.fetch(server.url).url
        assert target.requests[0].headers["authorization"] == "Basic dTpw"


def test_an_operator_opens_networks_but_not_metadata() -> None:
    everything = Policy.of(Settings(allow_networks="0.0.0.0/0, ::/0"))
    resolver = Names(["169.254.169.254"])
    with Server(ok) as server, Egress(everything, resolve=resolver) as egress:
        assert egress.fetch(server.url).body == b"hello"
        for url in ("http://169.254.169.254/latest/meta-data/", "http://metadata.test/"):
            with pytest.raises(AddressError):
                egress.fetch(url)


def test_settings_make_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLDR_ALLOW_NETWORKS", "127.0.0.0/8,fd00::/8")
    monkeypatch.setenv("TLDR_CA_FILE", "/some/authority.pem")
    policy = Policy.of(Settings())
    assert [str(n) for n in policy.allow_networks] == ["127.0.0.0/8", "fd00::/8"]
    assert policy.ca_file == Path("/some/authority.pem")
    assert Policy.of(Settings(allow_networks=None, ca_file=None)) == Policy()


@pytest.mark.parametrize("networks", ["127.0.0.0/33", "localhost", "10.0.0.1/8"])
def test_networks_that_cannot_be_understood_are_named(networks: str) -> None:
    with pytest.raises(UsageError, match="TLDR_ALLOW_NETWORKS"):
        Policy.of(Settings(allow_networks=networks))


def test_proxies_in_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, egress: Egress) -> None:
    with Server(ok) as proxy, Server(ok) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        egress.fetch(server.url)
        assert (proxy.connections, server.connections) == (0, 1)


# --- TLS -----------------------------------------------------------------------------------------------


def test_certificates_are_verified_for_the_name(egress: Egress) -> None:
    with Server(ok, tls=True) as server:
        assert egress.fetch(server.url).body == b"hello"
        assert egress.fetch(server.at("media.test")).body == b"hello"
        with pytest.raises(TlsError, match="certificate does not hold"):
            egress.fetch(server.at("other.test"))
        assert [r.headers["host"].partition(":")[0] for r in server.requests] == ["127.0.0.1", "media.test"]


def test_an_unknown_authority_is_not_trusted() -> None:
    with (
        Server(ok, tls=True) as server,
        Egress(replace(LOOPBACK, ca_file=None)) as egress,
        pytest.raises(TlsError, match="certificate does not hold"),
    ):
        egress.fetch(server.url)


def test_a_server_without_tls_is_no_secure_one(egress: Egress) -> None:
    def plain(peer: socket.socket) -> None:
        with peer:
            peer.recv(1000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=lambda: plain(listening.accept()[0]))
        thread.start()
        with pytest.raises(TlsError, match="no secure connection"):
            egress.fetch(f"https://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join()


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_an_authority_that_cannot_be_read_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with (
        Server(ok, tls=True) as server,
        Egress(replace(LOOPBACK, ca_file=path)) as egress,
        pytest.raises(UsageError, match="TLDR_CA_FILE"),
    ):
        egress.fetch(server.url)


# --- answers -------------------------------------------------------------------------------------------

STATUSES = {
    "204 No Content": AnswerError, "300 Multiple": AnswerError, "304 Not Modified": AnswerError,
    "400 Bad Request": AnswerError, "401 Unauthorized": SourceDeniedError, "402 Pay": SourceDeniedError,
    "403 Forbidden": SourceDeniedError, "404 Not Found": SourceNotFoundError, "405 Method": AnswerError,
    "407 Proxy": SourceDeniedError, "408 Timeout": SourceError, "410 Gone": SourceNotFoundError,
    "416 Range": IncompleteError, "418 Teapot": AnswerError, "425 Too Early": SourceError,
    "429 Too Many": SourceError, "451 Legal": SourceDeniedError, "500 Oops": SourceError,
    "502 Gateway": SourceError, "503 Later": SourceError, "599 What": SourceError,
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_its_error(status: str, egress: Egress) -> None:
    with Server(lambda r, p: p.reply(status)) as server:
        with pytest.raises(SourceError, match=f"HTTP {status[:3]}") as caught:
            egress.fetch(server.url + "match.mp4?signature=s3cret")
        assert type(caught.value) is STATUSES[status]
        assert "s3cret" not in str(caught.value)
        again = STATUSES[status] in {SourceError, IncompleteError}
        assert len(server.requests) == (3 if again else 1)


def test_a_server_that_recovers_is_asked_again(egress: Egress) -> None:
    answers = iter(["503 Later", "500 Oops", "200 OK"])
    with Server(lambda r, p: p.reply(next(answers), b"hello")) as server:
        assert egress.fetch(server.url).body == b"hello"


def cut_short(request: Request, peer: Peer) -> bool:
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"x" * 60)
    return False


def chunked_cut_short(request: Request, peer: Peer) -> bool:
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n", b"x" * 60)
    return False


@pytest.mark.parametrize("answer", [cut_short, chunked_cut_short])
@pytest.mark.parametrize("tls", [False, True])
def test_a_body_cut_short_is_asked_for_again_and_then_an_error(
    answer: Answer, tls: bool, egress: Egress
) -> None:
    with Server(answer, tls=tls) as server:
        with pytest.raises(IncompleteError):
            egress.fetch(server.url)
        assert len(server.requests) == 3


def test_a_body_that_comes_whole_the_second_time_is_taken(egress: Egress) -> None:
    answers = iter([cut_short, ok])

    def answer(request: Request, peer: Peer) -> object:
        return next(answers)(request, peer)

    with Server(answer) as server:
        assert egress.fetch(server.url).body == b"hello"


def test_chunked_and_unbounded_bodies_are_read_to_their_end(egress: Egress) -> None:
    def chunked(request: Request, peer: Peer) -> None:
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")

    def unbounded(request: Request, peer: Peer) -> bool:
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
        return False

    for answer in (chunked, unbounded):
        with Server(answer) as server:
            assert egress.fetch(server.url).body == b"hello"
            assert egress.fetch(server.url).body == b"hello"
            assert server.connections == (1 if answer is chunked else 2)


@pytest.mark.parametrize(
    "answer",
    ["SSH-2.0-OpenSSH_9.6\r\n", "\x00\x01\x02\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n",
     "HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 200 + "\r\n", "HTTP/1.1 200 OK\r\nX: " + "y" * 70_000 + "\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"],
    ids=["ssh", "binary", "version", "status", "many headers", "long header", "compressed"],
)  # fmt: skip
def test_an_answer_that_is_no_file_is_an_error(answer: str, egress: Egress) -> None:
    def send(request: Request, peer: Peer) -> bool:
        peer.send(answer)
        return False

    with Server(send) as server, pytest.raises(AnswerError):
        egress.fetch(server.url)


def test_no_server_and_no_name_are_an_error(egress: Egress) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(SourceError, match="cannot connect"):
        egress.fetch(f"http://127.0.0.1:{port}/")

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolve in (unknown, Names([])):
        with Egress(LOOPBACK, resolve=resolve) as lost, pytest.raises(SourceError) as caught:
            lost.fetch("http://nowhere.test/")
        assert type(caught.value) is SourceError


@pytest.mark.parametrize(
    ("headers", "named"),
    [({"Host": "a"}, "Host"), ({"range": "bytes=0-"}, "range"), ({"Connection": "close"}, "Connection"),
     ({"X-A": "b\r\nX-C: d"}, "X-A"), ({"X A": "b"}, "X A"), ({"": "b"}, "''"), ({"X-A": "ü€"}, "X-A"),
     ({"X-A": "b" * 9000}, "X-A"), ({"X-A:": "b"}, "X-A"), ({"transfer-encoding": "chunked"}, "transfer")],
)  # fmt: skip
def test_headers_that_may_not_be_set_are_named(headers: dict[str, str], named: str, egress: Egress) -> None:
    with Server(ok) as server:
        with pytest.raises(UsageError, match=named):
            egress.fetch(server.url, headers=headers)
        assert server.connections == 0


# --- parts ---------------------------------------------------------------------------------------------


def test_parts_are_asked_for_and_say_where_they_are(egress: Egress) -> None:
    data = bytes(range(256)) * 4
    with Server(parts(data)) as server:
        with egress.open(server.url, start=100, end=200) as response:
            assert (response.status, response.start, response.total, response.length) == (206, 100, 1024, 100)
            assert response.read(1000) == data[100:200]
            assert response.read(1000) == b""
        assert egress.fetch(server.url, start=1000).body == data[1000:]
        assert egress.fetch(server.url, start=1000, end=5000).body == data[1000:]
        with pytest.raises(IncompleteError, match="416"):
            egress.fetch(server.url, start=1024, end=2048)
        assert egress.moved > 100 + 24 + 24
        assert server.connections == 1


def test_a_server_that_sends_all_instead_of_a_part_is_noticed(egress: Egress) -> None:
    with Server(ok) as server:
        with egress.open(server.url, start=3, end=4) as response:
            assert (response.status, response.start, response.total) == (200, 0, 5)
        with pytest.raises(AnswerError, match="does not send parts"):
            egress.fetch(server.url, start=3, end=4)
        assert egress.fetch(server.url, start=0).body == b"hello"


@pytest.mark.parametrize(
    "place",
    ["", "bytes 1-5/100", "bytes 0-20/100", "bytes 0-9/5", "bytes 5-0/100", "bytes */100", "bytes=0-9/100",
     "0-9/100", "bytes 0-5/100", "bytes 5-9/100\r\nContent-Length: 5",
     "bytes 0-9/100\r\nContent-Type: multipart/byteranges\r\nContent-Length: 4"],
)  # fmt: skip
def test_another_part_than_asked_for_is_an_error(place: str, egress: Egress) -> None:
    length = "" if "Content-Length" in place else "Content-Length: 10\r\n"
    answer = f"HTTP/1.1 206 Partial Content\r\nContent-Range: {place}\r\n{length}\r\n0123456789"
    with Server(lambda r, p: p.send(answer)) as server, pytest.raises(AnswerError):
        egress.open(server.url, start=0, end=10)


def test_a_part_nobody_asked_for_is_an_error(egress: Egress) -> None:
    answer = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nhello"
    with Server(lambda r, p: p.send(answer)) as server, pytest.raises(AnswerError):
        egress.fetch(server.url)


# --- limits: S7 ----------------------------------------------------------------------------------------


def forever(head: str, *pieces: bytes, wait: float = 0.0) -> Answer:
    """Sends the pieces again and again until the client hangs up."""

    def answer(request: Request, peer: Peer) -> bool:
        peer.send(head)
        for piece in itertools.cycle(pieces or [b""]):
            peer.send(piece)
            if peer.over.wait(wait):
                break
        return False

    return answer


HEAD = "HTTP/1.1 200 OK\r\n"
TOO_SLOW: dict[str, Answer] = {
    "silent": forever("", wait=30),
    "silent in the body": forever(HEAD + "Content-Length: 99\r\n\r\n", b"x", wait=30),
    "dripping": forever(HEAD + "Content-Length: 9999\r\n\r\n", b"x", wait=0.02),
    "dripping chunks": forever(HEAD + "Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", wait=0.02),
    "dripping headers": forever(HEAD, b"X: y\r\n", wait=0.02),
}
TOO_LARGE = {
    "endless": forever(HEAD + "\r\n", b"x" * 65536),
    "endless chunks": forever(
        HEAD + "Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"
    ),
    "endless trailer": forever(
        HEAD + "Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"y" * 9000 + b"\r\n"
    ),
    "endless headers": forever(HEAD, b"X" * 60_000),
    "endless continue": forever("", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "declared": forever(HEAD + "Content-Length: 2000000\r\n\r\n", b"x" * 65536),
}


@pytest.mark.parametrize("case", TOO_SLOW)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_servers_that_keep_us_waiting_are_left(case: str, tls: bool) -> None:
    silent = replace(LOOPBACK, read_timeout=0.3)
    dripping = replace(LOOPBACK, least_speed=1000, least_speed_over=0.2)
    policy, said = (silent, "silent") if "silent" in case else (dripping, "less than 1000 bytes")
    with Server(TOO_SLOW[case], tls=tls) as server, Egress(policy) as egress:
        with pytest.raises(SourceSlowError, match=said):
            egress.fetch(server.url)
        assert len(server.requests) == 1


def read_all(egress: Egress, url: str) -> None:
    with egress.open(url) as response:
        while response.read(65536):
            pass


@pytest.mark.parametrize("case", TOO_LARGE)
def test_servers_that_never_end_are_left(case: str) -> None:
    policy = replace(LOOPBACK, largest_bytes=1_000_000)
    with Server(TOO_LARGE[case]) as server, Egress(policy) as egress:
        with pytest.raises((SourceLargeError, AnswerError)) as caught:
            read_all(egress, server.url)
        assert case == "endless headers" or isinstance(caught.value, SourceLargeError)
        assert egress.moved < policy.largest_bytes + 400_000
        assert len(server.requests) == 1


def test_more_than_was_asked_for_is_not_fetched(egress: Egress) -> None:
    with Server(parts(b"x" * 5000)) as server:
        assert len(egress.fetch(server.url, most=5000).body) == 5000
        with pytest.raises(SourceLargeError):
            egress.fetch(server.url, most=4999)
    for case in ("endless", "endless chunks"):
        with Server(TOO_LARGE[case]) as server, pytest.raises(SourceLargeError):
            egress.fetch(server.url, most=4999)


def test_time_is_limited_for_a_server_that_is_just_fast_enough() -> None:
    steady = forever(HEAD + "Content-Length: 999999\r\n\r\n", b"x" * 1000, wait=0.02)
    policy = replace(LOOPBACK, wall_seconds=0.3)
    with (
        Server(steady) as server,
        Egress(policy) as egress,
        pytest.raises(SourceSlowError, match="not finished"),
    ):
        egress.fetch(server.url)


def test_time_is_limited_while_nothing_comes() -> None:
    def late(request: Request, peer: Peer) -> bool:
        peer.send(HEAD + "Content-Length: 99999\r\n\r\n")
        peer.over.wait(1)
        peer.send(b"x" * 9999)
        peer.over.wait(30)
        return False

    with Server(late) as server, Egress(replace(LOOPBACK, wall_seconds=0.3)) as egress:
        with pytest.raises(SourceSlowError, match="not finished"):
            egress.fetch(server.url)
        assert egress.moved < 9999


def test_a_reader_that_takes_its_time_is_not_a_slow_server() -> None:
    """Speed is measured while we wait, not while we work."""
    policy = replace(LOOPBACK, least_speed=1_000_000, least_speed_over=1)
    data = b"x" * 900_000
    with Server(parts(data)) as server, Egress(policy) as egress, egress.open(server.url) as response:
        got = 0
        while chunk := response.read(200_000):
            threading.Event().wait(0.25)
            got += len(chunk)
        assert got == len(data)


# --- connections ---------------------------------------------------------------------------------------


def test_connections_are_used_again_where_the_body_was_read(egress: Egress) -> None:
    with Server(parts(b"x" * 100_000), tls=True) as server:
        for _ in range(3):
            egress.fetch(server.url)
        assert server.connections == 1
        with egress.open(server.url) as response:
            response.read(10)
        egress.fetch(server.url)
        assert server.connections == 2


def test_a_connection_the_server_closed_is_not_used_again(egress: Egress) -> None:
    def last(request: Request, peer: Peer) -> bool:
        peer.reply("200 OK", b"hello")
        return False

    with Server(last) as server:
        for _ in range(3):
            assert egress.fetch(server.url).body == b"hello"
        assert (server.connections, len(server.requests)) == (3, 3)


def test_a_connection_closed_in_answer_to_a_request_is_replaced(egress: Egress) -> None:
    def second_closes(request: Request, peer: Peer) -> bool:
        if request.target == "/2" and server.connections == 1:
            return False
        peer.reply("200 OK", b"hello")
        return True

    with Server(second_closes) as server:
        assert egress.fetch(server.url + "1").body == b"hello"
        with egress.open(server.url + "2") as response:  # which does not try again
            assert response.read(5) == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_nobody_asked_for_is_not_taken_for_an_answer(tls: bool, egress: Egress) -> None:
    sent = threading.Event()

    def chatty(request: Request, peer: Peer) -> None:
        peer.reply("200 OK", b"hello")
        if server.connections == 1:
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        sent.set()

    with Server(chatty, tls=tls) as server:
        with egress.open(server.url) as response:
            assert response.read(5) == b"hello"
            sent.wait(5)
        assert egress.fetch(server.url).body == b"hello"


def test_closing_ends_what_other_threads_wait_for() -> None:
    outcome: list[BaseException] = []
    asked = threading.Event()

    def silent(request: Request, peer: Peer) -> None:
        asked.set()
        server.over.wait(20)

    def fetch() -> None:
        try:
            egress.fetch(server.url)
        except SourceError as error:
            outcome.append(error)

    with Server(silent) as server:
        egress = Egress(replace(LOOPBACK, read_timeout=60))
        thread = threading.Thread(target=fetch)
        thread.start()
        asked.wait(10)
        egress.close()
        thread.join(10)
        assert not thread.is_alive()
        assert type(outcome[0]) is SourceError
        with pytest.raises(SourceError, match="closed"):
            egress.fetch(server.url)


def test_a_branch_closes_alone_and_counts_for_its_parent(egress: Egress) -> None:
    with Server(ok) as server:
        with egress.branch() as branch:
            branch.fetch(server.url)
            assert egress.moved == branch.moved > 0
        with pytest.raises(SourceError):
            branch.fetch(server.url)
        egress.fetch(server.url)


# --- bodies that are sent ------------------------------------------------------------------------------


def test_a_body_is_sent_as_it_is_and_any_status_is_an_answer(egress: Egress) -> None:
    def answer(request: Request, peer: Peer) -> None:
        peer.reply("302 Found", b"over there", "Location: /there", "X-Why: moved")

    with Server(answer) as server:
        answered = egress.post(
            f"{server.url}hook?a=1", b"\x00\xff{}", headers={"webhook-id": "evt_1"}, most=4
        )
    [request] = server.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook?a=1", b"\x00\xff{}")
    assert request.headers["webhook-id"] == "evt_1"
    assert (answered.status, answered.body, answered.headers["x-why"]) == (302, b"over", "moved")


def test_a_connection_serves_many_bodies_and_none_is_sent_twice(egress: Egress) -> None:
    """A server that closes amid the second: on a kept connection a GET is asked again, a body is not sent."""
    count = itertools.count()

    def answer(request: Request, peer: Peer) -> object:
        return False if next(count) == 1 else peer.reply("200 OK", b"fine")

    with Server(answer) as server:
        assert egress.post(server.url, b"1", headers={}, most=100).body == b"fine"
        with pytest.raises(SourceError):
            egress.post(server.url, b"2", headers={}, most=100)
        assert [request.body for request in server.requests] == [b"1", b"2"]
        assert server.connections == 1
        egress.post(server.url, b"3", headers={}, most=100)
        assert server.connections == 2


def test_all_of_a_post_has_its_time_and_a_late_body_is_no_failure() -> None:
    silent = threading.Event()

    def answer(request: Request, peer: Peer) -> object:
        if request.target == "/drip":
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nso far")
        peer.over.wait(10)
        silent.set()
        return False

    with Server(answer) as server, Egress(replace(LOOPBACK, wall_seconds=0.5)) as egress:
        with pytest.raises(SourceSlowError):
            egress.post(server.url, b"", headers={}, most=100)
        assert not silent.is_set()
        answered = egress.post(f"{server.url}drip", b"", headers={}, most=100)
    assert (answered.status, answered.body) == (200, b"so far")


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/"])
def test_bodies_go_nowhere_private(url: str) -> None:
    with Egress() as egress, pytest.raises(AddressError):
        egress.post(url, b"x", headers={}, most=1)
