"""`submit`: to a real server and back with what was found; and what is said when it does not work."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.server import Answer, Scripted, problem
from tests.media.server import Server
from tests.program import Program
from tests.walks.command import Run, here, run, until
from tests.walks.films import ROAR, film
from tldr_highlight.cli.remote import connected
from tldr_highlight.client import Client
from tldr_highlight.errors import UsageError


def test_a_film_is_submitted_and_its_highlights_are_told(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    match = film(tmp_path / "match.mp4")
    serve = program("serve", "--port", "0", env={"TLDR_ALLOW_NETWORKS": "127.0.0.0/8"})
    url = serve.says(r"address +(http://\S+)")[1]
    with Client(url) as nobody:
        key = nobody.auth.register("ann@example.com", "four words of hers", "Nordlicht").api_key.key
    there = ("--server", url, "--key", key, "--wait")
    with Server({"/match.mp4?sig=secret": match.read_bytes()}) as media:
        address = media.url("/match.mp4?sig=secret")
        done = run("submit", address, *there, "--json", "--title", "Final", cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        stream = done.document["stream"]
        assert (stream["state"], stream["title"]) == ("completed", "Final")
        assert stream["progress"]["percent"] == 100
        assert "secret" not in done.out
        [highlight] = done.document["highlights"]
        assert highlight["start"] - 1 < ROAR < highlight["end"] + 1
        assert highlight["state"] == "ready"
        gone = here("submit", media.url("/gone.mp4"), *there, cwd=tmp_path)
    sent = here("submit", match.name, *there, "--max", "1", cwd=tmp_path)
    assert (sent.code, sent.err) == (0, "")
    assert re.search(rf"^ +0:{highlight['start'] // 1:02.0f} .* hl_", sent.out, re.MULTILINE), sent.out
    assert gone.code == 5
    assert " failed\n" in gone.out
    assert gone.err.startswith("tldr-highlight: ")


STREAM: dict[str, Any] = {
    "id": "str_1", "job_id": "job_1", "state": "pending", "source": "https://a.example/x",
    "platform": "custom", "protocol": "http", "processing_options": {}, "created_at": "2026-11-25T12:00:00Z",
    "progress": {"analysed_seconds": 0, "highlights": 0},
}  # fmt: skip


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    servers: list[Scripted] = []

    def start(*answers: Answer) -> Scripted:
        servers.append(Scripted(*answers).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def submit(server: Scripted, *more: str, cwd: Path) -> Run:
    words = ("https://a.example/x", "--server", server.url, "--key", "tldr_live_x", *more)
    return here("submit", *words, cwd=cwd)


def test_without_waiting_its_id_is_told(scripted: Callable[..., Scripted], tmp_path: Path) -> None:
    server = scripted(Answer(202, STREAM))
    done = submit(server, "--preset", "sports", "--max", "3", cwd=tmp_path)
    assert (done.code, done.out, done.err) == (0, "str_1  pending\n", "")
    [asked] = server.asked
    assert asked.headers["X-API-Key"] == "tldr_live_x"
    options = {"dimension_set": "sports", "max_highlights": 3}
    assert asked.body == {"source_url": "https://a.example/x", "processing_options": options}


REFUSED = [
    (problem(401, "unauthorized"), 3),
    (problem(422, "source_url_not_allowed"), 2),
    (problem(402, "quota_exceeded"), 6),
    (problem(418, "teapot"), 8),
]


@pytest.mark.parametrize(("answer", "code"), REFUSED, ids=[str(c) for _, c in REFUSED])
def test_what_the_server_refuses_ends_with_the_code_for_that(
    scripted: Callable[..., Scripted], answer: Answer, code: int, tmp_path: Path
) -> None:
    done = submit(scripted(answer), "--json", cwd=tmp_path)
    assert done.code == code
    named = json.loads(done.out)["error"]
    assert named["code"] in {answer.body["code"], "source_unavailable"}
    assert answer.body["code"] in done.err


ENDS = [
    ("partially_completed", "source_incomplete", 1),
    ("failed", "media_unreadable", 4),
    ("cancelled", None, 1),
]


@pytest.mark.parametrize(("state", "error", "code"), ENDS, ids=[e[0] for e in ENDS])
def test_it_ends_as_the_stream_did(
    scripted: Callable[..., Scripted], state: str, error: str | None, code: int, tmp_path: Path
) -> None:
    end = STREAM | {"state": state, "error": error and {"code": error, "message": "so it was"}}
    server = scripted(Answer(202, STREAM), Answer(200, end), Answer(200, {"data": [], "next_cursor": None}))
    done = submit(server, "--wait", "--json", cwd=tmp_path)
    assert done.code == code
    assert done.document["stream"]["state"] == state
    assert ("so it was" in done.err) == (error is not None)


def test_what_it_waits_for_is_told_and_who_leaves_it_hears_that_it_goes_on(
    scripted: Callable[..., Scripted], program: Callable[..., Program]
) -> None:
    turn = {"reason": "worker", "message": "it waits for its turn"}
    full = {"reason": "quota_exceeded", "message": "the minutes are used up"}
    server = scripted(Answer(202, STREAM | {"waiting": turn}), Answer(200, STREAM | {"waiting": full}))
    words = ("https://a.example/x", "--server", server.url, "--key", "tldr_live_x", "--wait")
    submitting = program("submit", *words)
    submitting.says("waits: ")
    until(lambda: len(server.asked) >= 4, 30)  # and it says so once
    assert submitting.terminate() == 130
    assert submitting.output.splitlines() == [
        "tldr-highlight: str_1 waits: the minutes are used up",
        "tldr-highlight: the server goes on with str_1; `cancel` ends it there",
    ]


KEY = ("--key", "tldr_live_x")
MISTAKES = [
    (("match.mp4", *KEY), "not_found", 5),
    (("https://a.example/x",), "unauthorized", 3),
    (("https://a.example/x", *KEY, "--server", "nowhere"), "usage", 2),
    (("https://a.example/x", *KEY, "--server", "http://127.0.0.1:9"), "unavailable", 8),
]


@pytest.mark.parametrize(("words", "error", "code"), MISTAKES, ids=["file", "no key", "address", "nobody"])
def test_mistakes_are_explained(words: tuple[str, ...], error: str, code: int, tmp_path: Path) -> None:
    done = here("submit", *words, "--json", cwd=tmp_path)
    assert (done.code, done.error) == (code, error)


@pytest.mark.parametrize(
    ("server", "key", "said"),
    [("nowhere", "tldr_live_x", "--server is"), ("http://127.0.0.1:9", "schlüssel", "the key holds")],
)
def test_what_cannot_be_called_is_named(server: str, key: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^{said}"), connected(server, key):
        pass
