"""H4: a creating call that is sent again answers again, and creates nothing again."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select, update

from tests.api.world import World
from tests.program import Process
from tests.schema import migrated
from tests.services import Backend
from tests.walks.command import environment
from tldr_highlight.core.db import Database, now
from tldr_highlight.core.idempotency import KEPT, Reservation
from tldr_highlight.core.work import enqueue, run_one
from tldr_highlight.errors import InProgressError
from tldr_highlight.tenancy.models import ApiKey, Organization

KEYS = "/api/v1/keys"


def create(world: World, caller: dict[str, str], key: str, name: str = "made", **more: Any) -> Any:
    headers = caller | {"Idempotency-Key": key}
    return world.client.post(KEYS, json={"name": name, **more}, headers=headers)


def count(world: World, name: str = "made") -> int:
    with world.runtime.db.read() as session:
        return session.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.name == name)) or 0


def test_fifty_at_once_create_one(world: World) -> None:
    caller = world.caller()
    ready = threading.Barrier(50)

    def call() -> Any:
        ready.wait()
        return create(world, caller, "fifty")

    with ThreadPoolExecutor(50) as pool:
        answers = [future.result() for future in [pool.submit(call) for _ in range(50)]]
    assert count(world) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    refused = [answer for answer in answers if answer.status_code == 409]
    assert all(answer.json()["code"] == "idempotency_in_progress" for answer in refused)
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    made = [answer for answer in answers if answer.status_code == 201]
    assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1
    assert len({answer.content for answer in made}) == 1


def test_a_replay_is_equal_and_marked(world: World) -> None:
    caller = world.caller()
    first, second = create(world, caller, "k"), create(world, caller, "k")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert first.headers["x-trace-id"] != second.headers["x-trace-id"]
    assert count(world) == 1


def test_another_request_with_the_same_key_is_refused(world: World) -> None:
    caller = world.caller()
    assert create(world, caller, "k").status_code == 201
    other = create(world, caller, "k", name="other")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert count(world, "other") == 0


def test_equal_keys_of_others_are_other_keys(world: World) -> None:
    answers = [create(world, world.caller(), "k") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["key"] != answers[1].json()["key"]


def test_nobody_gets_the_answer_to_a_colleagues_call(world: World) -> None:
    """It may hold a key that can do more than theirs."""
    organization = world.organization()
    strong, weak = world.key(organization), world.key(organization, "keys:write")
    person = world.person(organization)
    scopes = ["organizations:write"]
    made = create(world, strong, "k", scopes=scopes)
    refused = create(world, weak, "k", scopes=scopes)
    theirs = create(world, person, "k", scopes=scopes)
    assert (made.status_code, theirs.status_code) == (201, 201)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert made.json()["key"] != theirs.json()["key"]
    again = create(world, world.key(organization), "k", scopes=scopes)
    assert "idempotency-replayed" not in again.headers


def test_what_failed_can_be_tried_again(world: World) -> None:
    caller = world.caller()
    broken = create(world, caller, "k", name="made", unknown=1)
    assert broken.status_code == 422
    limited = world.organization()
    with world.runtime.db.begin() as session:  # the operation itself will fail
        session.get_one(Organization, limited).plan = "no such plan"
    headers = world.key(limited)
    assert create(world, headers, "k").status_code == 500
    with world.runtime.db.begin() as session:
        assert session.scalar(select(func.count()).select_from(Reservation)) == 0
        session.get_one(Organization, limited).plan = "ENTERPRISE"
    assert create(world, headers, "k").status_code == 201


def test_an_abandoned_key_is_taken_over(world: World) -> None:
    caller = world.caller()
    assert create(world, caller, "k").status_code == 201
    with world.runtime.db.begin() as session:  # as if its process had died before the operation committed
        row = session.scalars(select(Reservation)).one()
        row.status, row.body, row.held_until = None, None, now() + timedelta(seconds=20)
    held = create(world, caller, "k")
    assert (held.status_code, held.json()["code"]) == (409, "idempotency_in_progress")
    with world.runtime.db.begin() as session:
        session.execute(update(Reservation).values(held_until=now() - timedelta(seconds=1)))
    assert create(world, caller, "k").status_code == 201
    assert count(world) == 2  # the first one's was made by this test


def test_who_lost_the_key_commits_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that took longer than its hold: somebody else has the key when it ends."""
    from tldr_highlight.tenancy import routes

    real = routes.service.create_key

    def slow(call: Any, body: Any) -> Any:
        made = real(call, body)
        call.session.flush()
        call.session.execute(update(Reservation).values(holder="somebody else"))
        return made

    monkeypatch.setattr(routes.service, "create_key", slow)
    answer = create(world, world.caller(), "k")
    assert (answer.status_code, answer.json()["code"]) == (409, InProgressError.code)
    assert count(world) == 0


def test_stored_answers_are_sealed(world: World) -> None:
    answer = create(world, world.caller(), "k")
    with world.runtime.db.read() as session:
        row = session.scalars(select(Reservation)).one()
        assert row.body is not None
        assert answer.json()["key"].encode() not in row.body
        assert world.runtime.vault.open(row.body.decode()).encode() == answer.content


@pytest.mark.parametrize(
    ("key", "status"), [("x" * 255, 201), ("x" * 256, 400), ("a b", 400), ("", 400), ("é", 400)]
)
def test_keys_are_bounded(light_world: World, key: str, status: int) -> None:
    headers = {
        "X-API-Key": light_world.caller()["X-API-Key"].encode(),
        "Idempotency-Key": key.encode("latin-1"),
    }
    answer = light_world.client.post(KEYS, json={"name": "made"}, headers=headers)
    assert answer.status_code == status


def test_answers_are_forgotten_after_a_day(world: World) -> None:
    caller = world.caller()
    assert create(world, caller, "old").status_code == 201
    assert create(world, caller, "new").status_code == 201
    with world.runtime.db.begin() as session:
        old = Reservation.key == "old"
        session.execute(update(Reservation).where(old).values(created_at=now() - KEPT - timedelta(minutes=1)))
    again = create(world, caller, "old", name="another")  # not swept yet
    assert (again.status_code, again.headers.get("idempotency-replayed")) == (201, None)
    with world.runtime.db.begin() as session:
        ago = now() - KEPT - timedelta(minutes=1)
        session.execute(update(Reservation).where(old).values(created_at=ago, held_until=ago))
        work = enqueue(session, "sweep", key="periodic")
    assert run_one(world.runtime, owner="test", id=work.id)
    with world.runtime.db.read() as session:
        assert session.scalars(select(Reservation.key)).all() == ["new"]


def post(address: str, headers: dict[str, str]) -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    try:
        body = json.dumps({"name": "made"})
        connection.request("POST", KEYS, body, headers | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("idempotency-replayed")
    finally:
        connection.close()


def test_a_crash_between_commit_and_answer_loses_and_repeats_nothing(
    backend: Backend, tmp_path: Path
) -> None:
    """A real server, killed by -9 right after the commit: the caller asks again and gets the answer."""
    url = backend.database(migrated)
    command = [sys.executable, "-m", "tests.api.mortal", url, str(tmp_path / "data")]
    server = Process(command, cwd=Path.cwd(), log=tmp_path / "log", env=environment())
    with server:
        address, secret = server.says(r"^(http://\S+) (\S+)$").groups()
        headers = {"X-API-Key": secret, "Idempotency-Key": "once"}
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            post(address, headers)
        assert server.wait() == -9
        server.log.write_bytes(b"")
        server.start()
        address = server.says(r"^(http://\S+) ").group(1)
        status, body, replayed = post(address, headers)
    assert (status, replayed) == (201, "true")
    db = Database(url)
    with db.read() as session:
        made = session.scalars(select(ApiKey).where(ApiKey.name == "made")).all()
    db.close()
    assert [row.id for row in made] == [json.loads(body)["id"]]
