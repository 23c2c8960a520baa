"""What may happen to a stream at any moment: cancelled, tried again, deleted; and nothing after the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.streams import stand_in
from tests.streams.house import House
from tldr_highlight.core.work import CancelledError, Job, LeaseLostError, Work
from tldr_highlight.errors import SourceNotFoundError
from tldr_highlight.highlights.models import Highlight, Reel, highlight_id
from tldr_highlight.highlights.service import delete_highlight
from tldr_highlight.runtime import Act, Caller
from tldr_highlight.streams.models import Segment, Upload
from tldr_highlight.streams.results import delete_reel
from tldr_highlight.usage import ledger, quotas
from tldr_highlight.usage.quotas import Metric
from tldr_highlight.webhooks.models import Event

SOON = 10.0  # seconds: R16


def fail(job: Job[Any]) -> None:
    stand_in.begin(job)
    raise SourceNotFoundError("the server has no such file")


@contextmanager
def worked_on(house: House) -> Iterator[list[BaseException]]:
    """Somebody works on the stream, asking for nothing but whether to go on, until the block ends."""
    began, over, told = threading.Event(), threading.Event(), list[BaseException]()

    def run(job: Job[Any]) -> None:
        stand_in.begin(job)
        began.set()
        try:
            while not over.wait(0.01):
                with job.step() as session:
                    job.save(session, progress={"analysed_seconds": 1.0, "times_realtime": 2.0})
                job.ask()
        except BaseException as error:
            told.append(error)
            raise

    thread = threading.Thread(target=house.work, args=(run,))
    thread.start()
    try:
        assert began.wait(SOON)
        yield told
    finally:
        over.set()
        thread.join(SOON)
        assert not thread.is_alive()


def until(house: House, stream: dict[str, Any], state: str) -> dict[str, Any]:
    end = time.monotonic() + SOON
    while (told := house.get(stream))["state"] != state:
        assert time.monotonic() < end, told
        time.sleep(0.01)
    return told


def test_a_title_is_changed_and_taken_away(light_house: House) -> None:
    stream = light_house.submit()
    for title in ("Semi-final", None):
        answer = light_house.call("PATCH", f"/streams/{stream['id']}", {"title": title})
        assert (answer.status_code, answer.json()["title"]) == (200, title)


def test_what_waits_is_cancelled_at_once(house: House) -> None:
    stream = house.submit()
    for _ in range(2):  # again changes nothing
        answer = house.call("POST", f"/streams/{stream['id']}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert house.work(stand_in.begin) == 0


def test_what_is_processed_is_cancelled_soon(house: House) -> None:
    stream = house.submit()
    with worked_on(house) as told:
        answer = house.call("POST", f"/streams/{stream['id']}/cancel").json()
        assert (answer["state"], answer["cancelling"]) == ("processing", True)
        ended = until(house, stream, "cancelled")
        assert not ended["cancelling"]
    assert [type(error) for error in told] == [CancelledError]


@pytest.mark.parametrize("call", ["cancel", "retry"])
def test_what_is_complete_stays_so(light_house: House, call: str) -> None:
    stream = light_house.submit()
    light_house.work(stand_in.begin)
    answer = light_house.call("POST", f"/streams/{stream['id']}/{call}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert light_house.get(stream)["state"] == "completed"


def test_what_failed_goes_on_from_its_checkpoint(house: House) -> None:
    stream = house.submit()
    seen: list[dict[str, Any]] = []

    def half(job: Job[Any]) -> None:
        seen.append(job.checkpoint)
        stand_in.begin(job)
        with job.step() as session:
            job.save(session, checkpoint={"segments": 7})
        if len(seen) == 1:
            raise SourceNotFoundError("the server has no such file")

    house.work(half)
    told = house.get(stream)
    assert (told["state"], told["error"]["code"]) == ("failed", "source_not_found")
    again = house.call("POST", f"/streams/{stream['id']}/retry")
    assert (again.status_code, again.json()["state"], again.json()["error"]) == (202, "pending", None)
    house.work(half)
    assert house.get(stream)["state"] == "completed"
    assert seen == [{}, {"segments": 7}]


def test_what_is_tried_again_waits_for_its_turn(house: House) -> None:
    house.limits(concurrent_streams=1)
    first = house.submit()
    house.call("POST", f"/streams/{first['id']}/cancel")
    second = house.submit()
    assert house.get(second)["waiting"]["reason"] == "worker"
    house.call("POST", f"/streams/{first['id']}/retry")
    assert house.get(first)["waiting"]["reason"] == "concurrent_streams"
    assert house.work(stand_in.begin) == 2
    assert [house.get(each)["state"] for each in (first, second)] == ["completed"] * 2


def test_work_that_is_forgotten_cannot_go_on(light_house: House) -> None:
    stream = light_house.submit()
    light_house.work(fail)
    with light_house.world.runtime.db.begin() as session:
        session.delete(session.get_one(Work, stream["job_id"]))
    answer = light_house.call("POST", f"/streams/{stream['id']}/retry")
    assert answer.status_code == 409
    assert "submit its source again" in answer.json()["detail"]
    assert light_house.call("DELETE", f"/streams/{stream['id']}").status_code == 204


# --- deleting ------------------------------------------------------------------------------------------


def left_of(house: House, stream_id: str) -> dict[str, int]:
    with house.world.runtime.db.read() as session:
        rows = {
            model.__name__: len(session.scalars(model.of(house.id).where(model.stream_id == stream_id)).all())
            for model in (Highlight, Reel, Segment)
        }
        works = session.scalars(select(Work.kind).where(Work.object_id.contains(stream_id[4:]))).all()
    files = list(house.world.runtime.storage.list(house.id))
    return rows | {"works": len(works), "files": len(files)}


def furnish(house: House, stream: dict[str, Any]) -> None:
    """What a pipeline leaves of a stream."""
    id, runtime = stream["id"], house.world.runtime
    with runtime.db.begin() as session:
        about = {"organization_id": house.id, "stream_id": id}
        session.add(Segment(**about, ordinal=0, start=0, end=20, curves=b""))
        session.add(Reel(**about, job_id="job_1", target_seconds=30, tolerance=1, stored_bytes=300))
        for ordinal in (1, 2):
            place = {
                "start": 1,
                "end": 2,
                "peak": 1.5,
                "clip_start": 0,
                "clip_end": 9,
                "types": [],
                "title": "x",
            }
            row = Highlight(id=highlight_id(id, ordinal), **about, ordinal=ordinal, stored_bytes=100, **place)
            session.add(row)
        ledger.record(session, house.id, Metric.STORED_BYTES, 500, key=f"{id}/stored")
    path = runtime.data_dir / "clip.mp4"
    path.write_bytes(b"clip")
    for name in ("1.mp4", "deeper/2.mp4"):
        runtime.storage.put(f"{house.id}/{id}/{name}", path, content_type="video/mp4")


def test_deleted_it_is_gone_with_all_that_came_of_it(house: House) -> None:
    stream, other = house.submit(), house.submit()
    house.work(stand_in.begin)
    furnish(house, stream)
    furnish(house, other)
    kept = left_of(house, other["id"])
    assert house.call("DELETE", f"/streams/{stream['id']}").status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry")):
        assert house.call(method, f"/streams/{stream['id']}{path}").status_code == 404
    house.work(stand_in.begin)
    rows = {"Highlight": 0, "Reel": 0, "Segment": 0}
    assert left_of(house, stream["id"]) == rows | {"works": 1, "files": 2}  # the purge, which looks again
    assert left_of(house, other["id"]) == kept | {"files": 2}
    with house.world.runtime.db.read() as session:
        assert quotas.usage_of(session, house.id)["storage_gb"] == 500 / 10**9


def test_deleted_while_it_is_processed_nothing_comes_after(house: House) -> None:
    house.limits(concurrent_streams=1)
    stream, other = house.submit(), house.submit()
    with worked_on(house) as told:
        assert house.call("DELETE", f"/streams/{stream['id']}").status_code == 204
        assert (house.get(other)["waiting"] or {}).get("reason") != "concurrent_streams"  # its place is free
        end = time.monotonic() + SOON
        while not told:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert [type(error) for error in told] == [LeaseLostError]
    assert left_of(house, stream["id"]) | {"works": 0} == dict.fromkeys(left_of(house, stream["id"]), 0)


@pytest.mark.parametrize("model", [Highlight, Reel], ids=["highlight", "reel"])
def test_what_is_deleted_on_its_own_meanwhile_is_given_back_once(
    house: House, model: type[Highlight | Reel]
) -> None:
    """They lock in one order, so that neither is ended for a deadlock; nothing is left, nothing owed."""
    stream = house.submit()
    house.work(stand_in.begin)
    furnish(house, stream)
    runtime = house.world.runtime
    answers = list[int]()

    def delete() -> None:
        answers.append(house.call("DELETE", f"/streams/{stream['id']}").status_code)

    thread = threading.Thread(target=delete)
    with runtime.db.begin() as session:
        row = session.scalars(model.of(house.id).order_by(model.id.desc()).with_for_update()).first()
        assert row is not None
        thread.start()
        if not runtime.db.is_sqlite:  # where nobody else writes meanwhile
            until_somebody_waits(house)
        act = Act(runtime, Caller(house.id, name="test"), session=session)
        (delete_highlight if model is Highlight else delete_reel)(act, row.id)
    thread.join(SOON)
    assert answers == [204]
    with runtime.db.read() as session:
        assert quotas.usage_of(session, house.id)["storage_gb"] == 0


def until_somebody_waits(house: House) -> None:
    """Somebody on this PostgreSQL database waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    end = time.monotonic() + SOON
    while True:
        with house.world.runtime.db.read() as session:
            if session.scalar(waiting):
                return
        assert time.monotonic() < end
        time.sleep(0.01)


def test_files_stored_on_a_last_breath_go_too(light_house: House) -> None:
    stream = light_house.submit()
    light_house.call("DELETE", f"/streams/{stream['id']}")
    light_house.work(stand_in.begin)
    runtime = light_house.world.runtime
    path = runtime.data_dir / "clip.mp4"
    path.write_bytes(b"clip")
    runtime.storage.put(f"{light_house.id}/{stream['id']}/9.mp4", path, content_type="video/mp4")
    with runtime.db.begin() as session:
        purge = session.scalars(select(Work).where(Work.kind == "purge")).one()
        assert (purge.run_at - purge.created_at).total_seconds() > runtime.settings.worker_lease_seconds
        purge.run_at = purge.created_at
    light_house.work(stand_in.begin)
    assert list(runtime.storage.list(light_house.id)) == []


def test_an_upload_is_kept_as_long_as_a_stream_is_made_of_it(light_house: House) -> None:
    with light_house.world.runtime.db.begin() as session:
        upload = Upload(organization_id=light_house.id, state="ready", key="k")
        session.add(upload)
        session.flush()
        id = upload.id

    def expires() -> bool:
        with light_house.world.runtime.db.read() as session:
            return Upload.get_for(session, light_house.id, id).expires_at is not None

    streams = [light_house.submit(upload_id=id) for _ in range(2)]
    for stream in streams:
        assert not expires()
        light_house.call("DELETE", f"/streams/{stream['id']}")
    assert expires()


def test_deleting_what_waits_gives_its_place_away(house: House) -> None:
    house.limits(concurrent_streams=1)
    first, second = house.submit(), house.submit()
    house.call("DELETE", f"/streams/{first['id']}")
    assert house.get(second)["waiting"]["reason"] == "worker"


def events(house: House, stream_id: str) -> list[str]:
    with house.world.runtime.db.read() as session:
        found = Event.of(house.id).where(Event.stream_id == stream_id).order_by(Event.sequence)
        return [event.type for event in session.scalars(found)]
