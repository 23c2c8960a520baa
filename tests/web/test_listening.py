"""Answers that go on: what happened is told once, in order, soon; and those who listen can be put out."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.api.serving import Served, listening, serving
from tests.api.world import World
from tests.walks.command import until
from tldr_highlight.core.db import new_id, now
from tldr_highlight.core.security import hash_token
from tldr_highlight.errors import DatabaseError
from tldr_highlight.streams.models import Stream
from tldr_highlight.tenancy.models import ApiKey
from tldr_highlight.web import listening as machinery
from tldr_highlight.webhooks.catalogue import PlanChanged, StreamCancelled
from tldr_highlight.webhooks.events import emit

EVENTS = "/api/v1/events"
FOLLOW = f"{EVENTS}/stream"


@pytest.fixture
def served(world: World) -> Iterator[Served]:
    with serving(world.app) as made:
        yield made


@pytest.fixture
def light(light_world: World) -> Iterator[Served]:
    with serving(light_world.app) as made:
        yield made


def cancelled(world: World, organization: str, stream: str = "str_a", *, quietly: bool = False) -> str:
    """Something happened: the event's id."""
    with world.runtime.db.begin() as session:
        if quietly:  # as if in another process
            del session.info["runtime"]
        return emit(
            session, organization, StreamCancelled(stream_id=stream, highlights=0), stream_id=stream
        ).id


def changed(world: World, organization: str) -> str:
    with world.runtime.db.begin() as session:
        return emit(session, organization, PlanChanged(old_plan="A", new_plan="B", limits={})).id


def listed(world: World, caller: dict[str, str], **asked: object) -> list[str]:
    """Ids of all pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {**asked, "limit": 7, **({"cursor": cursor} if cursor else {})}
        answer = world.client.get(EVENTS, headers=caller, params=query).json()
        found += [each["id"] for each in answer["data"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            return found


# --- events --------------------------------------------------------------------------------------------


def test_pages_are_in_the_order_of_what_happened(world: World) -> None:
    organization = world.organization()
    caller = world.key(organization)
    cancelled(world, world.organization())
    ids = [cancelled(world, organization) if n % 3 else changed(world, organization) for n in range(20)]
    assert listed(world, caller) == ids
    assert listed(world, caller, type="plan.*") == ids[::3]
    assert listed(world, caller, type="plan.changed") == ids[::3]
    assert listed(world, caller, type=["plan.*", "stream.cancelled"]) == ids
    assert listed(world, caller, type="stream.failed") == []
    later = world.client.get(EVENTS, headers=caller, params={"cursor": ids[-2]}).json()
    assert [each["id"] for each in later["data"]] == ids[-1:]
    assert later["data"][0]["data"] == {"stream_id": "str_a", "highlights": 0}


def test_an_event_that_commits_late_is_not_missed(world: World) -> None:
    """Its id and time are older than those of what was read before it was there."""
    if world.runtime.db.is_sqlite:
        pytest.skip("SQLite has one writer: nobody overtakes")
    organization = world.organization()
    caller = world.key(organization)
    begun, go = threading.Event(), threading.Event()

    def slow() -> str:
        with world.runtime.db.begin() as session:
            event = emit(session, organization, PlanChanged(old_plan="A", new_plan="B", limits={}))
            begun.set()
            assert go.wait(10)
            return event.id

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(slow)
        assert begun.wait(10)
        quick = cancelled(world, organization)
        assert listed(world, caller) == [quick]
        go.set()
        assert late.result() < quick
    answer = world.client.get(EVENTS, headers=caller, params={"cursor": quick}).json()
    assert [each["id"] for each in answer["data"]] == [late.result()]


def test_many_writers_and_a_reader_who_misses_nothing(world: World) -> None:
    """8 writers, 20 events each, and a reader by cursor meanwhile: each once, none left out."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    organization = world.organization()
    caller = world.key(organization)
    writing = threading.Event()
    read: list[str] = []

    def write(number: int) -> list[str]:
        chance = random.Random(seed + number)
        return [cancelled(world, organization, chance.choice(["str_a", "str_b"])) for _ in range(20)]

    def reader() -> None:
        while True:
            over = writing.is_set()
            cursor = {"cursor": read[-1]} if read else {}
            answer = world.client.get(EVENTS, headers=caller, params={"limit": 3, **cursor}).json()
            read.extend(each["id"] for each in answer["data"])
            if over and not answer["data"]:
                return

    reading = threading.Thread(target=reader)
    reading.start()
    with ThreadPoolExecutor(8) as pool:
        written = [id for ids in pool.map(write, range(8)) for id in ids]
    writing.set()
    reading.join(30)
    assert sorted(read) == sorted(written)


def test_what_happens_is_told_at_once_and_goes_on_where_it_broke(served: Served, world: World) -> None:
    organization = world.organization()
    caller = world.key(organization)
    cancelled(world, organization)  # before anybody listened
    cancelled(world, world.organization())
    with listening(served.url, FOLLOW, caller) as ear:
        assert ear.response.headers["content-type"].startswith("text/event-stream")
        assert ear.response.headers["cache-control"] == "no-store"
        until(lambda: len(world.app.state.listeners) == 1)
        first = cancelled(world, organization)
        heard = ear.next()
        assert (heard.id, heard.event) == (first, "stream.cancelled")
        assert heard.data["organization_id"] == organization
        assert heard.data["sequence"] == 3
    until(lambda: len(world.app.state.listeners) == 0)
    missed = [cancelled(world, organization), changed(world, organization)]
    with listening(served.url, FOLLOW, caller, after=first) as ear:
        assert [ear.next().id, ear.next().id] == missed
        other = cancelled(world, organization, quietly=True)
        assert ear.next().id == other
    with listening(served.url, f"{FOLLOW}?type=plan.*&cursor={first}", caller) as ear:
        assert ear.next().id == missed[1]
    with listening(served.url, f"{FOLLOW}?follow=false&cursor={first}", caller) as ear:
        assert [each.id for each in ear] == [*missed, other]


def test_an_event_that_is_gone_stands_for_the_beginning(light: Served, light_world: World) -> None:
    organization = light_world.organization()
    theirs = cancelled(light_world, light_world.organization())
    ids = [cancelled(light_world, organization) for _ in range(3)]
    caller = light_world.key(organization)
    for lost in (new_id("evt"), theirs):
        with listening(light.url, f"{FOLLOW}?follow=false", caller, after=lost) as ear:
            assert [each.id for each in ear] == ids


def test_who_hears_nothing_before_it_breaks_knows_where_it_began(light: Served, light_world: World) -> None:
    """In an organization where nothing has happened, too."""
    organization = light_world.organization()
    caller = light_world.key(organization)
    for _ in range(2):
        began = httpx2.get(f"{light.url}{FOLLOW}?follow=false", headers=caller).text
        place = began.removeprefix("retry: 2000\nid: ").removesuffix("\n\n")
        missed = [cancelled(light_world, organization), changed(light_world, organization)]
        with listening(light.url, f"{FOLLOW}?follow=false", caller, after=place) as ear:
            assert [each.id for each in ear] == missed


# --- who listens ---------------------------------------------------------------------------------------


def test_listeners_end_when_the_server_does(light: Served, light_world: World) -> None:
    caller = light_world.caller()
    with listening(light.url, FOLLOW, caller) as ear, listening(light.url, FOLLOW, caller) as other:
        until(lambda: len(light_world.app.state.listeners) == 2)
        began = time.monotonic()
        light.stop()
        assert list(ear) == list(other) == []  # whole answers, not broken ones
        assert time.monotonic() - began < 5


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may listen no more is found soon, by what is served after this."""
    monkeypatch.setattr(machinery, "ALLOWED_SECONDS", 0.2)


def test_a_revoked_key_hears_nothing_more(quick_looks: None, light: Served, light_world: World) -> None:
    organization = light_world.organization()
    caller, other = light_world.key(organization), light_world.key(organization)
    with listening(light.url, FOLLOW, caller) as ear, listening(light.url, FOLLOW, other) as stays:
        until(lambda: len(light_world.app.state.listeners) == 2)
        with light_world.runtime.db.begin() as session:
            mine = ApiKey.hash == hash_token(caller["X-API-Key"])
            row = session.scalars(ApiKey.of(organization).where(mine)).one()
            row.revoked_at = now()
        assert list(ear) == []
        told = cancelled(light_world, organization)
        assert stays.next().id == told


def test_nobody_listens_too_often(light: Served, light_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinery, "OF_CALLER", 1)
    organization = light_world.organization()
    caller, other = light_world.key(organization), light_world.key(organization)
    with listening(light.url, FOLLOW, caller):
        refused = httpx2.get(light.url + FOLLOW, headers=caller)
        assert (refused.status_code, refused.json()["code"]) == (429, "limited")
        assert refused.headers["retry-after"]
        monkeypatch.setattr(machinery, "IN_ALL", 1)
        refused = httpx2.get(light.url + FOLLOW, headers=other)
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    until(lambda: len(light_world.app.state.listeners) == 0)
    with listening(light.url, FOLLOW, caller) as ear:
        assert ear.response.status_code == 200


def test_a_quiet_connection_has_a_heartbeat(
    light: Served, light_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machinery, "HEARTBEAT_SECONDS", 0.05)
    organization = light_world.organization()
    with listening(light.url, FOLLOW, light_world.key(organization)) as ear, ThreadPoolExecutor(1) as pool:
        heard = pool.submit(ear.next)
        until(lambda: ear.comments > 1)
        assert cancelled(light_world, organization) == heard.result().id


def test_head_does_not_listen(light: Served, light_world: World) -> None:
    answer = httpx2.head(light.url + FOLLOW, headers=light_world.caller(), timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")


def test_many_idle_listeners_take_one_query_at_a_time(light: Served, light_world: World) -> None:
    """60 of them: the looks are counted, not the time they take."""
    organizations = [light_world.organization() for _ in range(3)]
    callers = [light_world.key(each) for each in organizations for _ in range(2)]
    looks = 0
    from tldr_highlight.webhooks import history

    before = history.latest

    def counted(session: object, names: object) -> object:
        nonlocal looks
        looks += 1
        return before(session, names)  # pyright: ignore[reportArgumentType]

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(60) as pool:
        patch.setattr(history, "latest", counted)
        over = threading.Event()

        def listen(number: int) -> list[str]:
            with listening(light.url, FOLLOW, callers[number % 6], seconds=20) as ear:
                told = ear.next().id
                over.wait(20)
                return [told]

        waiting = [pool.submit(listen, number) for number in range(60)]
        until(lambda: len(light_world.app.state.listeners) == 60)
        looks = 0
        began = time.monotonic()
        time.sleep(1)
        assert looks <= 60 + 4 * (time.monotonic() - began)  # each polls once after its first look
        looks = 0
        began = time.monotonic()
        time.sleep(1)
        assert looks <= 4 * (time.monotonic() - began)
        told = {each: cancelled(light_world, each) for each in organizations}
        over.set()
        heard = [each.result()[0] for each in waiting]
        assert sorted(heard) == sorted(list(told.values()) * 20)


# --- progress ------------------------------------------------------------------------------------------


def a_stream(world: World, organization: str, **given: object) -> str:
    named = {
        "source": "x",
        "source_label": "x",
        "source_kind": "url",
        "platform": "custom",
        "protocol": "http",
    }
    with world.runtime.db.begin() as session:
        row = Stream(organization_id=organization, job_id=new_id("job"), options={}, **named, **given)
        session.add(row)
        session.flush()
        return row.id


def further(world: World, stream: str, **given: object) -> None:
    with world.runtime.db.begin() as session:
        row = session.get_one(Stream, stream)
        for name, value in given.items():
            setattr(row, name, value)


def test_progress_is_told_to_its_end(served: Served, world: World) -> None:
    organization = world.organization()
    caller = world.key(organization)
    stream = a_stream(world, organization, duration=None)
    with listening(served.url, f"/api/v1/streams/{stream}/progress", caller) as ear:
        first = ear.next()
        assert first.event == "progress"
        assert first.data["state"] == "pending"
        assert (first.data["percent"], first.data["seconds_left"], first.data["times_realtime"]) == (
            None,
        ) * 3
        further(world, stream, state="processing", duration=200.0, started_at=now())
        assert ear.next().data["percent"] == 0.0
        began = now().replace(year=2020)
        further(world, stream, analysed_seconds=50.0, highlight_count=2, started_at=began)
        second = ear.next()
        assert (second.data["percent"], second.data["highlights"]) == (25.0, 2)
        further(world, stream, state="completed", analysed_seconds=200.0, ended_at=now())
        last = ear.next()
        assert (last.data["state"], last.data["percent"], last.data["seconds_left"]) == (
            "completed",
            100.0,
            None,
        )
        assert list(ear) == []
    with listening(served.url, f"/api/v1/streams/{stream}/progress", caller, after=second.id) as ear:
        assert [each.id for each in ear] == [last.id]
    with listening(served.url, f"/api/v1/streams/{stream}/progress", caller, after=last.id) as ear:
        assert ear.response.status_code == 204  # which browsers take for an end


def test_progress_ends_with_a_stream_that_is_deleted(light: Served, light_world: World) -> None:
    organization = light_world.organization()
    stream = a_stream(light_world, organization)
    with listening(light.url, f"/api/v1/streams/{stream}/progress", light_world.key(organization)) as ear:
        ear.next()
        with light_world.runtime.db.begin() as session:
            session.delete(session.get_one(Stream, stream))
        assert list(ear) == []


def test_listeners_outlast_a_database_that_is_away(
    light: Served, light_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization = light_world.organization()
    with listening(light.url, FOLLOW, light_world.key(organization)) as ear:
        until(lambda: len(light_world.app.state.listeners) == 1)
        with monkeypatch.context() as patch:

            def away(*_: object) -> None:
                raise DatabaseError("away")

            patch.setattr(light_world.runtime.db, "read", away)
            told = cancelled(light_world, organization)
            time.sleep(0.1)
        assert ear.next().id == told
