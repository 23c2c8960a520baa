"""Lists: newest first, in pages that miss nothing, filtered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.streams import stand_in
from tests.streams.house import URL, House


def ids(house: House, query: str) -> list[str]:
    answer = house.call("GET", f"/streams?{query}")
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


def test_pages_have_all_of_them_once(house: House) -> None:
    all_of_them = [house.submit()["id"] for _ in range(7)]
    found, cursor = list[str](), ""
    while True:
        page = house.call("GET", f"/streams?limit=3{cursor}").json()
        found += [row["id"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        house.submit()  # what comes meanwhile disturbs nobody
        cursor = f"&cursor={page['next_cursor']}"
    assert found == all_of_them[::-1]


def test_filters_leave_what_is_asked_for(house: House) -> None:
    submit: list[dict[str, Any]] = [
        {"url": URL}, {"url": "https://youtu.be/x"}, {"url": "https://www.twitch.tv/videos/1"},
    ]  # fmt: skip
    _, second, third = (house.submit(**each)["id"] for each in submit)
    house.call("POST", f"/streams/{second}/cancel")
    batch = house.call("POST", "/batches", {"sources": [{"url": URL}]}).json()
    assert ids(house, "state=cancelled") == [second]
    assert ids(house, "platform=twitch") == [third]
    assert ids(house, f"batch_id={batch['id']}") == [batch["streams"][0]["id"]]
    assert ids(house, "platform=twitch&state=cancelled") == []


def test_times_are_bounds(house: House) -> None:
    streams = [house.submit() for _ in range(3)]
    house.work(stand_in.begin)
    at = [datetime.fromisoformat(stream["created_at"]) for stream in streams]
    text = at[1].isoformat().replace("+00:00", "Z")
    assert ids(house, f"created_after={text}") == [streams[2]["id"], streams[1]["id"]]
    assert ids(house, f"created_before={text}") == [streams[0]["id"]]
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    assert len(ids(house, f"created_before={later}")) == 3
    for extreme in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
        assert ids(house, f"created_after={extreme}&created_before={extreme}") == []


def test_what_is_no_filter_is_refused(light_house: House) -> None:
    for query in ("state=lost", "platform=You%20Tube", "created_after=2026-01-01T00:00:00", "colour=red"):
        assert light_house.call("GET", f"/streams?{query}").status_code == 422, query
