"""The server itself, over a socket: what comes before a body is bounded, and its refusals are problems."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.serving import serving
from tests.api.world import World, world_on
from tests.services import Backend, SQLite
from tldr_highlight import web
from tldr_highlight.api import server
from tldr_highlight.api.edge import HEADERS
from tldr_highlight.errors import PortError

Address = tuple[str, int]


@pytest.fixture
def served(light_world: World) -> Iterator[Address]:
    """The light world's application behind our server, in a thread."""
    with serving(light_world.app) as server:
        yield server.address


def said(address: Address, *pieces: bytes, pause: float = 0, seconds: float = 15) -> bytes:
    """All that the server answers until it closes, or is silent."""
    with socket.create_connection(address, seconds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except (ConnectionResetError, TimeoutError):
            pass
        return answer


def problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    names = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert names["content-type"] == "application/problem+json"
    assert names["x-trace-id"] == json.loads(body)["trace_id"]
    assert HEADERS.items() <= names.items()  # of every answer
    return int(head.split()[1]), json.loads(body)["code"]


GET = b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"


def test_requests_are_answered(served: Address) -> None:
    answer = said(served, GET + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"server:" not in answer.lower()


GARBAGE = {
    "TLS": b"\x16\x03\x01\x02\x00",
    "another version": b"GET / HTTP/9.9\r\n\r\n",
    "another method": b"BREW /pot HTTP/1.1\r\n\r\n",
    "a header with a space": b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
    "a length below nothing": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_what_is_not_http_is_a_problem(served: Address, garbage: bytes) -> None:
    assert problem(said(served, garbage)) == (400, "request_invalid")


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x: " + b"y" * server.HEAD_BYTES + b"\r\n\r\n",
        GET + b"x: " + b"y" * 400_000,  # and never ends
        b"GET /" + b"y" * 400_000,
        GET + b"".join(b"x%d: y\r\n" % n for n in range(server.HEAD_FIELDS)) + b"\r\n",
    ],
    ids=["a long header", "a header without end", "an address without end", "many headers"],
)
def test_heads_are_bounded(served: Address, head: bytes) -> None:
    assert problem(said(served, head)) == (431, "request_invalid")


def test_slow_heads_are_ended(served: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    began = time.monotonic()
    assert problem(said(served, *[b"GET", b" /", b" HTTP/1.1\r\n", b"x: y"], pause=0.05))[0] == 408
    assert said(served) != b""
    assert time.monotonic() - began < 10


def test_slow_bodies_are_ended(served: Address, light_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BODY_SECONDS", 0.5)
    key = light_world.caller()["X-API-Key"].encode()
    head = b"POST /api/v1/keys HTTP/1.1\r\nhost: x\r\nx-api-key: " + key
    head += b"\r\ncontent-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{"
    assert problem(said(served, head)) == (408, "body_too_slow")


def test_a_caller_who_leaves_breaks_nothing(served: Address, light_world: World) -> None:
    key = light_world.caller()["X-API-Key"].encode()
    head = b"POST /api/v1/keys HTTP/1.1\r\nhost: x\r\nx-api-key: " + key
    with socket.create_connection(served, 5) as connection:
        connection.sendall(head + b"\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
    assert said(served, GET + b"\r\n").startswith(b"HTTP/1.1 200")


def test_an_address_that_is_taken_is_named() -> None:
    with server.listen("127.0.0.1", 0) as taken:
        with pytest.raises(PortError, match="--port"):
            server.listen("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(PortError, match=r"no\.such\.host\.invalid"):
            server.listen("no.such.host.invalid", 0)
        assert server.address_of(taken) == f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_an_operation_that_hangs_is_503(
    sqlite: SQLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that was stopped, not killed: the answer does not wait for it."""
    monkeypatch.setattr(web, "ANSWER_SECONDS", 0.3)
    with sqlite.databases(tmp_path) as new, world_on(Backend("sqlite", new), tmp_path) as world:
        caller = world.caller()
        assert world.client.get("/api/v1/keys", headers=caller).status_code == 200
        with world.runtime.db.begin():  # the writer's place is taken
            answer = world.client.post("/api/v1/keys", json={"name": "x"}, headers=caller)
        assert (answer.status_code, answer.json()["code"]) == (503, "too_slow")
        assert answer.headers["retry-after"] == "5"
