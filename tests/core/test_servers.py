"""The HTTP server that tests use."""

from __future__ import annotations

import http.client
import ssl
from contextlib import closing

from tests.core.servers import AUTHORITY, Peer, Request, Server


def test_the_http_server_keeps_what_is_posted() -> None:
    def answer(request: Request, peer: Peer) -> None:
        peer.reply("200 OK", request.body[::-1])

    with Server(answer, tls=True) as server:
        trust = ssl.create_default_context(cafile=AUTHORITY)
        with closing(http.client.HTTPSConnection(server.ip, server.port, context=trust)) as client:
            for body in (b"first", b"x" * 200_000, b""):
                client.request("POST", "/hook", body, {"X-Signature": "abc"})
                assert client.getresponse().read() == body[::-1]
        assert [len(request.body) for request in server.requests] == [5, 200_000, 0]
        assert {(request.method, request.target) for request in server.requests} == {("POST", "/hook")}
        assert server.requests[0].headers["x-signature"] == "abc"
        assert server.connections == 1
