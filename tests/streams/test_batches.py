"""Batches: what can be taken is, the rest is listed with its reason, and somebody is told at the end."""

from __future__ import annotations

from tests.streams import stand_in
from tests.streams.house import URL, House
from tldr_highlight.webhooks.models import Event


def told(house: House) -> list[dict[str, object]]:
    with house.world.runtime.db.read() as session:
        return [e.data for e in session.scalars(Event.of(house.id).where(Event.type == "batch.completed"))]


def test_what_is_wrong_with_one_is_no_reason_to_refuse_the_others(house: House) -> None:
    sources = [
        {"url": URL}, {"url": "http://10.0.0.1/"}, {"upload_id": "upl_1"}, {"url": URL, "title": "Own"},
        {"url": URL, "processing_options": {"dimension_set": "badminton"}},
    ]  # fmt: skip
    body = {"title": "Round 7", "sources": sources, "processing_options": {"dimension_set": "sports"}}
    answer = house.call("POST", "/batches", body)
    assert answer.status_code == 202
    batch = answer.json()
    assert [(r["index"], r["code"]) for r in batch["refused"]] == [
        (1, "source_url_not_allowed"), (2, "not_found"), (4, "not_found"),
    ]  # fmt: skip
    assert [s["title"] for s in batch["streams"]] == [None, "Own"]
    assert {s["processing_options"]["dimension_set"] for s in batch["streams"]} == {"sports"}
    assert house.call("GET", answer.headers["Location"].removeprefix("/api/v1")).json() == {
        name: value for name, value in batch.items() if name != "streams"
    }
    listed = house.call("GET", f"/streams?batch_id={batch['id']}").json()["data"]
    assert listed == batch["streams"][::-1]
    assert house.call("GET", "/batches").json()["data"][0]["id"] == batch["id"]


def test_its_end_is_told_once_when_all_of_it_has_ended(house: House) -> None:
    batch = house.call("POST", "/batches", {"sources": [{"url": URL}] * 3}).json()
    house.call("POST", f"/streams/{batch['streams'][0]['id']}/cancel")
    house.work(stand_in.begin, most=1)
    assert told(house) == []
    assert house.call("GET", f"/batches/{batch['id']}").json()["states"] == {
        "cancelled": 1, "completed": 1, "pending": 1,
    }  # fmt: skip
    house.work(stand_in.begin)
    assert told(house) == [{"batch_id": batch["id"], "states": {"cancelled": 1, "completed": 2}}]
    assert house.call("GET", f"/batches/{batch['id']}").json()["ended_at"] is not None
    house.call("POST", f"/streams/{batch['streams'][0]['id']}/retry")
    house.work(stand_in.begin)
    assert len(told(house)) == 1


def test_one_of_which_nothing_can_be_taken_is_over(light_house: House) -> None:
    batch = light_house.call("POST", "/batches", {"sources": [{"url": "http://10.0.0.1/"}]}).json()
    assert (batch["count"], batch["streams"], len(batch["refused"])) == (0, [], 1)
    assert batch["ended_at"] is not None


def test_more_than_may_wait_are_listed_too(light_house: House) -> None:
    light_house.limits(concurrent_streams=1)
    for _ in range(30):
        light_house.submit()
    batch = light_house.call("POST", "/batches", {"sources": [{"url": URL}] * 100}).json()
    assert batch["count"] == 100 - 29  # one is let in
    assert {r["code"] for r in batch["refused"]} == {"too_many_pending"}
