"""Events that are followed: whole, in order, over broken connections."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.servers import Peer, Request, Server
from tldr_highlight.client import Client, ConnectionProblem, Unauthorized
from tldr_highlight.client.listening import Told, events_in

TITLE = "a\u2028b\u0085c"
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def event(number: int, title: str = "x") -> str:
    data = {
        "id": f"evt_{number}", "type": "stream.started", "sequence": number, "organization_id": "org_1",
        "created_at": "2026-11-25T12:00:00Z", "trace_id": None, "data": {"title": title},
    }  # fmt: skip
    return f"id: evt_{number}\nevent: stream.started\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


@given(cuts=st.lists(st.integers(0, 400), max_size=12))
def test_events_are_the_same_however_their_bytes_come(cuts: list[int]) -> None:
    """Titles may hold what other readers take for ends of lines."""
    text = f"retry: 2000\n\n{event(1, TITLE)}: nothing new\r\n\r\n{event(2)}id: evt_3\ndata: {{"
    data = text.encode()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    told = list(events_in(data[a:b] for a, b in itertools.pairwise(places)))
    assert [each.id for each in told] == ["evt_1", "evt_2"]
    assert json.loads(told[0].data)["data"]["title"] == TITLE


def test_data_of_several_lines_is_one_text() -> None:
    assert list(events_in([b"id: 1\ndata: a\ndata:b\n\n"])) == [Told("1", "a\nb")]


def test_a_broken_connection_goes_on_where_it_was() -> None:
    def answer(request: Request, peer: Peer) -> bool:
        match len(server.requests):
            case 1:
                peer.send(HEAD, event(1), event(2), event(3)[:40])  # cut off in the middle
            case 2:
                peer.reply("503 Service Unavailable", b"", "Retry-After: 0")
            case 3:
                pass  # hangs up
            case _:
                peer.send(HEAD, event(3), event(4))
        return False

    with Server(answer) as server, Client(server.url, "tldr_live_x") as client:
        followed = client.events.follow(after="evt_0", types=["stream.*", "plan.changed"])
        assert [each.sequence for each in itertools.islice(followed, 4)] == [1, 2, 3, 4]
        assert [request.headers.get("last-event-id") for request in server.requests] == [
            None, "evt_2", "evt_2", "evt_2",
        ]  # fmt: skip
        target = server.requests[0].target
        assert target.startswith("/api/v1/events/stream?cursor=evt_0&type=stream.%2A&type=plan.changed")
        assert server.requests[0].headers["x-api-key"] == "tldr_live_x"


def test_a_connection_that_breaks_before_anything_happened_goes_on_from_its_start() -> None:
    def answer(request: Request, peer: Peer) -> bool:
        first = len(server.requests) == 1
        peer.send(HEAD, "retry: 2000\nid: evt_7\n\n" if first else event(8))
        return False

    with Server(answer) as server, Client(server.url, "tldr_live_x") as client:
        assert next(client.events.follow()).id == "evt_8"
        assert [request.headers.get("last-event-id") for request in server.requests] == [None, "evt_7"]


def test_who_may_not_hear_is_told_so() -> None:
    problem = b'{"status": 401, "code": "unauthorized", "detail": "no"}'
    refusing = Server(
        lambda r, p: p.reply("401 Unauthorized", problem, "Content-Type: application/problem+json")
    )
    with refusing as server, Client(server.url, "k") as client, pytest.raises(Unauthorized):
        next(client.events.follow())
    with Client("http://127.0.0.1:9", "k") as client, pytest.raises(ConnectionProblem):
        next(client.events.follow())
