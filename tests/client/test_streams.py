"""Waiting for a stream: until its end, past a server that is restarted, and no longer than one wants."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client.server import HANG_UP, Answer, Scripted, problem
from tldr_highlight.client import Client, ConnectionProblem, waiting
from tldr_highlight.client.streams import Stream

STREAM: dict[str, Any] = {
    "id": "str_1", "job_id": "job_1", "state": "pending", "source": "https://a.example/x",
    "platform": "custom", "protocol": "http", "processing_options": {}, "from_the_future": 1,
    "created_at": "2026-11-25T12:00:00Z",
}  # fmt: skip


def told(state: str, analysed: float = 0.0, **more: Any) -> Answer:
    progress = {"analysed_seconds": analysed, "highlights": 0, "percent": analysed}
    return Answer(200, {**STREAM, "state": state, "progress": progress, **more})


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE", 0.02)


def test_it_is_waited_for_until_its_end() -> None:
    failed = told("failed", 50.0, error={"code": "media_unreadable", "message": "damaged"})
    with (
        Scripted(told("pending"), told("processing", 25.0), failed) as server,
        Client(server.url, "k") as client,
    ):
        seen: list[float | None] = []
        ended = client.streams.create("https://a.example/x").wait(
            on_progress=lambda stream: seen.append(stream.progress.percent)
        )
        assert (ended.state, ended.error and ended.error.code) == ("failed", "media_unreadable")
        assert seen == [0.0, 25.0, 50.0]
        assert [asked.method for asked in server.asked] == ["POST", "GET", "GET"]
        assert server.asked[0].headers["Idempotency-Key"]


def test_a_server_that_is_restarted_is_waited_for() -> None:
    away = [HANG_UP, problem(503, "database_unavailable"), HANG_UP]
    with (
        Scripted(told("pending"), *away, told("completed")) as server,
        Client(server.url, "k", retries=0) as client,
    ):
        assert client.streams.create("https://a.example/x").wait().state == "completed"
        assert len(server.asked) == 5


def test_one_that_stays_away_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)
    with Scripted(told("pending"), HANG_UP) as server, Client(server.url, "k", retries=0) as client:
        stream = client.streams.create("https://a.example/x")
        with pytest.raises(ConnectionProblem):
            stream.wait()


def test_no_longer_than_one_wants() -> None:
    with Scripted(told("processing")) as server, Client(server.url, "k") as client:
        stream = client.streams.get("str_1")
        with pytest.raises(TimeoutError, match="str_1 is processing"):
            stream.wait(timeout=0.1)
        assert len(server.asked) > 2


def test_what_has_ended_is_not_asked_for_again() -> None:
    with Scripted(told("cancelled")) as server, Client(server.url, "k") as client:
        assert client.streams.get("str_1").wait().state == "cancelled"
        assert len(server.asked) == 1


def test_one_of_a_list_says_what_to_do() -> None:
    listed = Answer(200, {"data": [told("pending").body], "next_cursor": None})
    with Scripted(listed) as server, Client(server.url, "k") as client:
        [stream] = client.streams.list()
        assert isinstance(stream, Stream)
        with pytest.raises(ValueError, match="get it by its id, str_1"):
            stream.cancel()
