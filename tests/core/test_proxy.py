"""The proxy for programs that open sockets themselves, driven by http.client as a program would."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.core.servers import AUTHORITY, Peer, Request, Server
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.core.proxy import Proxy

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
OPEN = Policy(allow_networks=LOOPBACK, read_timeout=5.0, largest_bytes=300_000)


def said(request: Request, peer: Peer) -> None:
    peer.reply("200 OK", f"{request.method} {request.target} ".encode() + request.body)


@contextlib.contextmanager
def proxied(policy: Policy = OPEN) -> Iterator[Proxy]:
    with Egress(policy) as egress, Proxy(egress) as proxy:
        yield proxy


def credentials(proxy: Proxy) -> dict[str, str]:
    parts = urlsplit(proxy.url)
    secret = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {secret}"}


def asked(
    proxy: Proxy, url: str, headers: dict[str, str], method: str = "GET", body: bytes | None = None
) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)) as client:
        client.request(method, url, body, headers)
        answer = client.getresponse()
        return answer.status, answer.read()


def test_a_plain_request_is_passed_on_without_the_secret() -> None:
    with Server(said) as server, proxied() as proxy:
        headers = credentials(proxy) | {"X-Mine": "1"}
        assert asked(proxy, f"{server.url}a?b", headers, "POST", b"body") == (200, b"POST /a?b body")
        (seen,) = server.requests
        assert seen.headers["x-mine"] == "1"
        assert "proxy-authorization" not in seen.headers
        assert proxy.refused is None


def test_a_second_request_on_a_connection_goes_nowhere() -> None:
    """It may name another host: programs keep a proxy's connection for all of them."""
    with Server(said) as server, Server(said) as other, proxied() as proxy:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)) as client:
            for url in (server.url, f"{other.url}x"):
                client.request("GET", url, headers=credentials(proxy))
                assert client.getresponse().read().startswith(b"GET /")
        assert [request.target for request in server.requests] == ["/"]
        assert [request.target for request in other.requests] == ["/x"]

        import socket

        with socket.create_connection(("127.0.0.1", proxy.port), 20) as raw:
            lines = [f"{name}: {value}" for name, value in credentials(proxy).items()]
            one = "\r\n".join([f"GET {server.url}a HTTP/1.1", *lines, "", ""])
            two = "\r\n".join([f"GET {other.url}b HTTP/1.1", *lines, "", ""])
            raw.sendall((one + two).encode())  # at once, and when there is an answer
            answered = b""
            while b"GET /a" not in answered:
                answered += raw.recv(65_536)
            raw.sendall(two.encode())
            raw.shutdown(socket.SHUT_WR)
            answered += b"".join(iter(lambda: raw.recv(65_536), b""))
        assert answered.count(b"HTTP/1.1") == 1
        assert b"GET /a" in answered
        assert [request.target for request in server.requests] == ["/", "/a"]


def test_a_tunnel_carries_tls_to_its_end() -> None:
    trust = ssl.create_default_context(cafile=AUTHORITY)
    with Server(said, tls=True) as server, proxied() as proxy:
        client = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=trust, timeout=20)
        with contextlib.closing(client):
            client.set_tunnel(server.ip, server.port, credentials(proxy))
            for n in range(3):
                client.request("GET", f"/{n}")
                assert client.getresponse().read() == f"GET /{n} ".encode()
        assert server.connections == 1


@pytest.mark.parametrize("wrong", ["", "Basic dGxkcjp3cm9uZw==", "Bearer x", "Basic \xff"], ids=range(4))
def test_without_the_secret_nothing_is_asked_for_anybody(wrong: str) -> None:
    with Server(said) as server, proxied() as proxy:
        headers = {"Proxy-Authorization": wrong} if wrong else {}
        assert asked(proxy, server.url, headers)[0] == 407
        assert server.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"]
)
def test_addresses_are_judged_as_for_every_source(host: str) -> None:
    with Server(said) as server, proxied(Policy()) as proxy:
        url = f"http://{host}:{server.port}/"
        assert asked(proxy, url, credentials(proxy)) == (403, b"")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as client:
            client.set_tunnel(f"{host}:{server.port}", server.port, credentials(proxy))
            with pytest.raises(OSError, match=r"403|400"):
                client.request("GET", "/")
        assert server.connections == 0
        assert proxy.refused is not None


def test_what_cannot_be_reached_is_said() -> None:
    with Server(said) as server:
        gone = server.url
    with proxied() as proxy:
        assert asked(proxy, gone, credentials(proxy))[0] == 502
        assert asked(proxy, "https://example.com/", credentials(proxy))[0] == 403
        assert asked(proxy, "nothing", credentials(proxy))[0] == 403


def test_more_bytes_than_the_policy_says_do_not_come_through() -> None:
    def flood(request: Request, peer: Peer) -> bool:
        peer.send("HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while not peer.over.is_set():
                peer.send(b"x" * 65_536)
        return False

    with Server(flood) as server, proxied() as proxy, contextlib.suppress(http.client.IncompleteRead):
        assert len(asked(proxy, server.url, credentials(proxy))[1]) <= OPEN.largest_bytes


def test_closing_it_ends_what_goes_through_it() -> None:
    reached = threading.Event()

    def silent(request: Request, peer: Peer) -> bool:
        reached.set()
        peer.over.wait(30)
        return False

    with Server(silent) as server:
        with proxied() as proxy:
            outcome: list[str] = []

            def ask() -> None:
                try:
                    asked(proxy, server.url, credentials(proxy))
                except (OSError, http.client.HTTPException) as error:
                    outcome.append(type(error).__name__)

            asking = threading.Thread(target=ask)
            asking.start()
            assert reached.wait(20)
        asking.join(20)
        assert not asking.is_alive()
        assert outcome
