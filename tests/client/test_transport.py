"""Calls are tried again where that is safe and nowhere else; what fails says why, and no secrets."""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.client.server import HANG_UP, Answer, Asked, Scripted, problem
from tldr_highlight import client as package
from tldr_highlight.client import (
    Client,
    ClientError,
    Conflict,
    ConnectionProblem,
    Forbidden,
    Invalid,
    NotFound,
    Problem,
    RateLimited,
    Unauthorized,
    Unavailable,
    Unreadable,
    transport,
)

PASSWORD = "correct horse battery"
SECRET = "tldr_live_0123456789secretsecretsecret012345"
KEY = {
    "id": "key_1", "name": "CI", "last4": "2345", "scopes": ["keys:read"], "status": "active", "networks": [],
    "requests_per_minute": None, "created_at": "2026-11-25T10:00:00Z", "expires_at": None, "revoked_at": None,
    "last_used_at": None, "replaced_by": None, "created_by": None,
}  # fmt: skip
CREATED = {**KEY, "key": SECRET}
ANN = {
    "id": "usr_1",
    "email": "a@example.com",
    "email_verified_at": None,
    "created_at": "2026-11-25T10:00:00Z",
}
TOKENS = {
    "access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 1800, "token_type": "Bearer",
    "user": ANN, "organization": None,
}  # fmt: skip
GONE = problem(503, "unavailable")
LISTED = Answer(200, {"data": [KEY], "next_cursor": None})

Slept = list[float]


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> Slept:
    """Pauses are written down, not waited for."""
    pauses: Slept = []
    monkeypatch.setattr(transport.time, "sleep", pauses.append)
    return pauses


def keys(client: Client) -> list[Any]:
    return list(client.keys.list())


def create(client: Client) -> Any:
    return client.keys.create("CI")


def login(client: Client) -> Any:
    return client.auth.login("a@example.com", PASSWORD)


def revoke(client: Client) -> Any:
    return client.keys.revoke("key_1")


# --- trying again --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure", [problem(429, "rate_limited"), GONE, problem(502, "x"), problem(504, "x"), HANG_UP]
)
@pytest.mark.parametrize(
    ("call", "good"), [(keys, LISTED), (create, Answer(201, CREATED)), (revoke, Answer(204))]
)
def test_calls_that_may_be_repeated_are(
    call: Callable[[Client], Any], good: Answer, failure: Answer, slept: Slept
) -> None:
    with Scripted(failure, failure, failure, good) as server, Client(server.url, SECRET) as client:
        call(client)
        assert len(server.asked) == 4
    assert len(slept) == 3


@pytest.mark.parametrize("failure", [GONE, problem(502, "x"), problem(504, "x"), HANG_UP])
def test_calls_that_could_do_something_twice_are_not_repeated(failure: Answer) -> None:
    with Scripted(failure, Answer(200, TOKENS)) as server, Client(server.url) as client:
        with pytest.raises((Unavailable, ConnectionProblem)):
            login(client)
        assert len(server.asked) == 1


@pytest.mark.parametrize("failure", [problem(429, "limited"), problem(503, "busy")])
def test_what_was_turned_away_is_repeated_whatever_it_is(failure: Answer) -> None:
    with Scripted(failure, Answer(200, TOKENS)) as server, Client(server.url) as client:
        login(client)
        assert len(server.asked) == 2


def test_a_key_comes_without_the_line_it_stood_on() -> None:
    with Scripted(LISTED) as server, Client(server.url, f" {SECRET}\r\n") as client:
        keys(client)
        assert server.asked[0].headers["x-api-key"] == SECRET


@pytest.mark.parametrize("rest", ["\r", "\n", "\0", "\x7f", "ü", "\u200b"])
@pytest.mark.parametrize("way", ["api_key", "token"])
def test_what_no_key_can_hold_is_refused_and_not_repeated(way: str, rest: str) -> None:
    with pytest.raises(ValueError, match="characters that no key has") as caught:
        Client("http://127.0.0.1:9", **{way: f"{SECRET}{rest}{SECRET}"})
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_headers_that_cannot_be_sent_are_not_shown() -> None:
    with Client("http://127.0.0.1:9", SECRET) as client:
        client._transport.credentials = transport.Header("X-API-Key", f"{SECRET}\r")
        with pytest.raises(ConnectionProblem) as caught:
            create(client)
    assert SECRET not in str(caught.value)


def test_nobody_there_is_asked_again_whatever_the_call(slept: Slept) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        Client(f"http://127.0.0.1:{port}", retries=2) as client,
        pytest.raises(ConnectionProblem, match="/auth/login"),
    ):
        login(client)
    assert len(slept) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 501])
def test_other_answers_are_final(status: int) -> None:
    with Scripted(problem(status, "no")) as server, Client(server.url, SECRET) as client:
        with pytest.raises(Problem):
            create(client)
        assert len(server.asked) == 1


def test_one_creating_call_is_one_idempotency_key_over_all_its_tries() -> None:
    with Scripted(GONE, HANG_UP, Answer(201, CREATED)) as server, Client(server.url, SECRET) as client:
        create(client)
        create(client)
        first, second = (
            {a.headers["Idempotency-Key"] for a in part} for part in (server.asked[:3], server.asked[3:])
        )
    assert len(first) == len(second) == 1
    assert first != second
    assert None not in first | second


def test_a_call_waits_for_its_own_try_before() -> None:
    running = problem(409, "idempotency_in_progress", retry_after=1)
    with Scripted(HANG_UP, running, Answer(201, CREATED)) as server, Client(server.url, SECRET) as client:
        assert create(client).key == SECRET
        assert len(server.asked) == 3


def test_deleting_what_the_try_before_deleted_is_done() -> None:
    with Scripted(HANG_UP, problem(404, "not_found")) as server, Client(server.url, SECRET) as client:
        revoke(client)
        with pytest.raises(NotFound):
            revoke(client)


@pytest.mark.parametrize("seed", [20261125])
def test_pauses_grow_and_vary(slept: Slept, seed: int) -> None:
    random.seed(seed)
    with (
        Scripted(GONE) as server,
        Client(server.url, SECRET, retries=8) as client,
        pytest.raises(Unavailable),
    ):
        keys(client)
    for pause, most in zip(slept, [0.25, 0.5, 1, 2, 4, 8, 8, 8], strict=True):
        assert most / 2 <= pause <= most
    assert len(set(slept[-3:])) == 3


def test_servers_say_how_long_to_wait(slept: Slept) -> None:
    busy = problem(429, "rate_limited", retry_after=17)
    with Scripted(busy, LISTED) as server, Client(server.url, SECRET) as client:
        keys(client)
    assert slept == [17]


def test_nobody_waits_longer_than_a_minute(slept: Slept) -> None:
    busy = problem(429, "rate_limited", retry_after=61)
    with Scripted(busy) as server, Client(server.url, SECRET) as client, pytest.raises(RateLimited) as caught:
        keys(client)
    assert slept == []
    assert caught.value.retry_after == 61


def test_no_retries_are_none() -> None:
    with Scripted(GONE) as server, Client(server.url, SECRET, retries=0) as client:
        with pytest.raises(Unavailable):
            keys(client)
        assert len(server.asked) == 1


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with (
            Client(url, SECRET, timeout=0.1, retries=1) as client,
            pytest.raises(ConnectionProblem, match="too long"),
        ):
            keys(client)
        assert time.monotonic() - began < 2


# --- problems ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Invalid), (401, Unauthorized), (403, Forbidden), (404, NotFound), (409, Conflict), (413, Invalid),
     (415, Invalid), (422, Invalid), (429, RateLimited), (502, Unavailable), (503, Unavailable),
     (504, Unavailable), (402, Problem), (500, Problem), (599, Problem)],
)  # fmt: skip
def test_problems_are_exceptions(status: int, kind: type[Problem]) -> None:
    sent = problem(
        status,
        "some_code",
        trace_id="4bf92f",
        errors=[{"loc": ["body", "name"], "message": "too long"}],
        required_scope="x",
    )
    with (
        Scripted(sent) as server,
        Client(server.url, SECRET, retries=0) as client,
        pytest.raises(kind) as caught,
    ):
        keys(client)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.trace_id) == (
        status,
        "some_code",
        "that is some_code",
        "4bf92f",
    )
    assert error.errors == ({"loc": ["body", "name"], "message": "too long"},)
    assert error.extra == {"required_scope": "x"}
    assert str(error) == f"{status} some_code: that is some_code (trace 4bf92f)"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(502, b"<h1>Bad Gateway</h1>", {"Content-Type": "text/html"}), "http_502"),
        (Answer(500, b"{", {"Content-Type": "application/problem+json"}), "http_500"),
        (Answer(500, [1], {"Content-Type": "application/problem+json"}), "http_500"),
        (Answer(500, {"code": None, "errors": "x", "trace_id": 7}), "http_500"),
        (Answer(301, b"", {"Location": "https://example.com/"}), "http_301"),
        (Answer(418, b""), "http_418"),
        (Answer(200, b"<html>", {"Content-Type": "text/html"}), "answer_unreadable"),
        (Answer(200, b""), "answer_unreadable"),
        (Answer(200, {"data": [{"id": 7}], "next_cursor": None}), "answer_unreadable"),
        (
            Answer(200, {"data": [{**KEY, "created_at": "yesterday"}], "next_cursor": None}),
            "answer_unreadable",
        ),
        (Answer(200, {"data": 3}), "answer_unreadable"),
        (Answer(200, [KEY]), "answer_unreadable"),
    ],
)
def test_answers_of_others_are_problems_too(answer: Answer, code: str) -> None:
    with Scripted(answer) as server, Client(server.url, SECRET, retries=0) as client:
        with pytest.raises(Problem) as caught:
            keys(client)
        assert caught.value.code == code
        assert isinstance(caught.value, Unreadable) is (code == "answer_unreadable")


def test_new_fields_are_ignored() -> None:
    listed = Answer(200, {"data": [{**KEY, "colour": {"red": 1}}], "next_cursor": None, "total": 1})
    with Scripted(listed) as server, Client(server.url, SECRET) as client:
        [key] = client.keys.list()
    assert key.last4 == "2345"
    assert key.created_at.isoformat() == "2026-11-25T10:00:00+00:00"
    assert key.last_used_at is None


@pytest.mark.parametrize(
    "url", ["highlights.example.com", "ftp://x", "https://", "https://u:p@x", "https://:p@x", "https://x?a=b"]
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        Client(url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["", "/", "/api/v1", "/api/v1/"])
def test_addresses_are_taken_as_people_give_them(suffix: str) -> None:
    with Scripted(LISTED) as server, Client(server.url + suffix, SECRET) as client:
        keys(client)
        assert server.asked[0].path == "/api/v1/keys"


@pytest.mark.parametrize("answer", [problem(401, "unauthorized"), HANG_UP, Answer(200, b"x")])
def test_secrets_are_in_no_text(answer: Answer) -> None:
    with Scripted(answer) as server, Client(server.url, SECRET, retries=1) as client:
        shown = [repr(client), repr(client.keys)]
        for call in (keys, create, login):
            try:
                call(client)
            except package.ClientError as error:
                shown += [str(error), repr(error), *traceback.format_exception(error)]
    text = "\n".join(shown)
    assert SECRET not in text
    assert PASSWORD not in text


def test_what_is_shown_once_is_in_no_repr() -> None:
    with Scripted(Answer(201, CREATED), Answer(200, TOKENS)) as server, Client(server.url, SECRET) as client:
        created, tokens = create(client), login(client)
    assert created.key == SECRET
    assert SECRET not in repr(created)
    assert not {"access-1", "refresh-1"} & set(repr(tokens).replace("'", " ").split())


# --- pages ---------------------------------------------------------------------------------------------


def paged(asked: Asked) -> Answer:
    """Seven keys, three a page."""
    cursor = int(asked.path.partition("cursor=")[2] or 0)
    data = [{**KEY, "id": f"key_{n}"} for n in range(cursor, min(cursor + 3, 7))]
    return Answer(200, {"data": data, "next_cursor": str(cursor + 3) if cursor + 3 < 7 else None})


def test_lists_ask_for_pages_when_they_are_needed() -> None:
    with Scripted(paged) as server, Client(server.url, SECRET) as client:
        listed = client.keys.list(limit=3)
        assert server.asked == []
        walk = iter(listed)
        assert [next(walk).id for _ in range(3)] == ["key_0", "key_1", "key_2"]
        assert len(server.asked) == 1
        assert [key.id for key in walk] == ["key_3", "key_4", "key_5", "key_6"]
        assert [a.path for a in server.asked] == [
            "/api/v1/keys?limit=3", "/api/v1/keys?limit=3&cursor=3", "/api/v1/keys?limit=3&cursor=6",
        ]  # fmt: skip
        assert len(list(listed)) == 7
        page = listed.page(2, "3")
        assert server.asked[-1].path == "/api/v1/keys?limit=2&cursor=3"
        assert page.next_cursor == "6"


# --- logins --------------------------------------------------------------------------------------------


class Logins:
    """A server that knows one access token and one refresh token at a time."""

    def __init__(self, expires_in: float = 1800) -> None:
        self.count = self.refreshes = 0
        self.expires_in = expires_in
        self.expired = self.ended = False
        self.lost = 0  # exchanges whose answers get lost
        self.lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        with self.lock:
            if asked.path.endswith("/auth/login"):
                return self._next()
            if asked.path.endswith("/auth/refresh"):
                return self._refreshed(asked)
            good = asked.headers["Authorization"] == f"Bearer access-{self.count}"
            return LISTED if good and not self.expired else problem(401, "token_expired")

    def _refreshed(self, asked: Asked) -> Answer:
        assert "Authorization" not in asked.headers
        self.refreshes += 1
        if self.lost:
            self.lost -= 1
            return HANG_UP
        if self.ended or asked.body != {"refresh_token": f"refresh-{self.count}"}:
            return problem(401, "unauthorized")
        return self._next()

    def _next(self) -> Answer:
        self.count += 1
        self.expired = False
        tokens = {"access_token": f"access-{self.count}", "refresh_token": f"refresh-{self.count}"}
        return Answer(200, {**TOKENS, **tokens, "expires_in": self.expires_in})


def logged_in(server: Scripted) -> Client:
    return Client.login(server.url, "a@example.com", PASSWORD)


def test_a_login_is_made_once_and_its_token_sent() -> None:
    logins = Logins()
    with Scripted(logins) as server, logged_in(server) as client:
        assert len(keys(client) + keys(client)) == 2
        assert server.asked[0].body == {"email": "a@example.com", "password": PASSWORD}
        assert [a.path for a in server.asked[1:]] == ["/api/v1/keys"] * 2
    assert logins.refreshes == 0


def test_a_refused_token_is_exchanged_once_by_twenty_threads() -> None:
    logins = Logins()
    with Scripted(logins) as server, logged_in(server) as client, ThreadPoolExecutor(20) as threads:
        logins.expired = True
        assert list(threads.map(lambda _: len(keys(client)), range(20))) == [1] * 20
    assert logins.refreshes == 1


def test_tokens_are_exchanged_before_they_end() -> None:
    logins = Logins(expires_in=59)
    with Scripted(logins) as server, logged_in(server) as client:
        keys(client)
        assert [a.path.rpartition("/")[2] for a in server.asked] == ["login", "refresh", "keys"]


def test_an_exchange_is_never_sent_twice_and_the_old_token_used_while_it_is_good() -> None:
    logins = Logins(expires_in=59)
    with Scripted(logins) as server, logged_in(server) as client:
        logins.lost = 1
        assert len(keys(client)) == 1
        assert logins.refreshes == 1


def test_a_lost_exchange_of_a_token_that_ended_is_told() -> None:
    logins = Logins(expires_in=0)
    with Scripted(logins) as server, logged_in(server) as client:
        logins.lost = 1
        with pytest.raises(ConnectionProblem, match="/auth/refresh"):
            keys(client)
        assert logins.refreshes == 1


def test_an_ended_login_is_unauthorized() -> None:
    logins = Logins()
    with Scripted(logins) as server, logged_in(server) as client:
        logins.expired = logins.ended = True
        with pytest.raises(Unauthorized):
            keys(client)
        assert logins.refreshes == 1


def test_a_wrong_password_is_unauthorized() -> None:
    with Scripted(problem(401, "unauthorized")) as server, pytest.raises(Unauthorized):
        logged_in(server)


# --- what is sent --------------------------------------------------------------------------------------


def test_ids_lead_nowhere_else() -> None:
    with Scripted(Answer(204)) as server, Client(server.url, SECRET) as client:
        client.keys.revoke("../organization?x=1#y")
        assert server.asked[0].path == "/api/v1/keys/..%2Forganization%3Fx%3D1%23y"
        for no_id in ("", ".", ".."):
            with pytest.raises(ValueError, match="is no id"):
                client.keys.revoke(no_id)
        assert len(server.asked) == 1


def test_what_is_not_given_is_not_sent() -> None:
    with Scripted(Answer(200, KEY)) as server, Client(server.url, SECRET) as client:
        client.keys.update("key_1", name="new")
        client.keys.update("key_1", networks=[], requests_per_minute="plan")
        client.keys.update("key_1", requests_per_minute=30)
        assert [asked.body for asked in server.asked] == [
            {"name": "new"}, {"networks": [], "requests_per_minute": None}, {"requests_per_minute": 30},
        ]  # fmt: skip


def test_times_are_sent_with_their_zone() -> None:
    ends = datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    with Scripted(Answer(201, CREATED)) as server, Client(server.url, SECRET) as client:
        client.keys.create("CI", expires_at=ends)
        assert server.asked[0].body == {"name": "CI", "expires_at": "2027-01-01T00:00:00+01:00"}


# --- who is calling ------------------------------------------------------------------------------------


def test_a_key_or_a_token_is_sent() -> None:
    with Scripted(LISTED) as server:
        for how in ({"api_key": SECRET}, {"token": "abc"}, {}):
            with Client(server.url, **how) as client:
                keys(client)
        sent = [(a.headers["X-API-Key"], a.headers["Authorization"]) for a in server.asked]
    assert sent == [(SECRET, None), (None, "Bearer abc"), (None, None)]
    with pytest.raises(ValueError, match="not both"):
        Client("http://127.0.0.1", SECRET, token="abc")


def test_it_needs_only_httpx2_and_says_so() -> None:
    script = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "httpx2": raise ModuleNotFoundError("No module named 'httpx2'", name="httpx2")
sys.meta_path.insert(0, Hidden())
try:
    import tldr_highlight.client
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == 'tldr_highlight.client needs httpx2: pip install "tldr-highlight[client]"\n'


def test_it_loads_nothing_else_of_ours() -> None:
    script = (
        "import sys, tldr_highlight.client; print(*sorted(n for n in sys.modules if 'tldr_highlight.' in n))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert all(name.startswith("tldr_highlight.client") for name in done.stdout.split())


# --- files ---------------------------------------------------------------------------------------------


def test_a_file_is_saved_whole_and_its_server_gets_no_key(tmp_path: Path) -> None:
    with Scripted(Answer(200, b"pictures")) as files, Scripted(Answer()) as api:
        api.answers = [Answer(307, b"", {"Location": f"{files.url}/files/clip.mp4?signature=x"})]
        with Client(api.url, "tldr_live_secret", retries=0) as client:
            assert client.highlights.clip_url("hl_1") == f"{files.url}/files/clip.mp4?signature=x"
            client.highlights.save("hl_1", tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == b"pictures"
    assert api.asked[-1].headers["X-API-Key"] == "tldr_live_secret"
    assert "X-API-Key" not in files.asked[0].headers
    assert files.asked[0].path == "/files/clip.mp4?signature=x"


def test_a_file_that_does_not_come_leaves_nothing(tmp_path: Path) -> None:
    for answer in (problem(404, "object_not_found"), HANG_UP):
        with (
            Scripted(answer) as files,
            Scripted(Answer(307, b"", {"Location": files.url})) as api,
            Client(api.url, retries=0) as client,
            pytest.raises(ClientError),
        ):
            client.reels.save("reel_1", tmp_path / "reel.mp4")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("header", ["ETag", "x-amz-meta-sha256"])
def test_a_file_that_is_not_what_was_stored_leaves_nothing(header: str, tmp_path: Path) -> None:
    said = hashlib.sha256(b"pictures").hexdigest()
    headers = {"ETag": '"of the bucket"', header: f'"{said}"' if header == "ETag" else said}
    for data in (b"pictures", b"pictured"):
        with (
            Scripted(Answer(200, data, headers)) as files,
            Scripted(Answer(307, b"", {"Location": files.url})) as api,
            Client(api.url, retries=0) as client,
        ):
            if data == b"pictures":
                client.reels.save("reel_1", tmp_path / "reel.mp4")
                (tmp_path / "reel.mp4").unlink()
            else:
                with pytest.raises(Problem, match="not what was stored") as caught:
                    client.reels.save("reel_1", tmp_path / "reel.mp4")
                assert caught.value.code == "object_damaged"
        assert list(tmp_path.iterdir()) == []


def test_a_link_may_be_relative_to_the_server() -> None:
    with Scripted(Answer(307, b"", {"Location": "/files/a.mp4?x=1"})) as api, Client(api.url) as client:
        assert client.reels.video_url("reel_1") == f"{api.url}/files/a.mp4?x=1"


def test_an_export_is_given_as_it_is() -> None:
    with Scripted(Answer(200, b"WEBVTT\n", {"Content-Type": "text/vtt"})) as api, Client(api.url) as client:
        assert client.highlights.export("str_1", "vtt") == b"WEBVTT\n"
        assert api.asked[0].path == "/api/v1/streams/str_1/export?format=vtt"
