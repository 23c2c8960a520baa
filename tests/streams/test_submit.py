"""Submitting: what is taken, what is refused and by which name, and what is told of it."""

from __future__ import annotations

from tests.streams.house import URL, House
from tldr_highlight.streams.models import Stream
from tldr_highlight.streams.sources import Source


def test_a_source_is_taken_with_everything_by_default(house: House) -> None:
    answer = house.call("POST", "/streams", {"source_url": URL + "?sig=secret", "title": "Final"})
    assert answer.status_code == 202
    told = answer.json()
    assert answer.headers["Location"] == f"/api/v1/streams/{told['id']}"
    assert (told["state"], told["platform"], told["protocol"]) == ("pending", "custom", "http")
    assert told["waiting"] == {"reason": "worker", "message": "it waits for its turn", "next_at": None}
    assert told["processing_options"] == {
        "dimension_set": "general", "analyzer": "auto", "threshold": None, "segment_seconds": 20.0,
        "smoothing_seconds": 5.0, "context_before_seconds": 5.0, "context_after_seconds": 5.0,
        "merge_gap_seconds": 3.0, "min_clip_seconds": 5.0, "max_clip_seconds": 120.0, "max_highlights": None,
        "quality": "high", "watermark": None, "reel_seconds": None,
    }  # fmt: skip
    assert house.get(told) == told
    assert house.call("GET", "/streams").json() == {"data": [told], "next_cursor": None}
    job = house.call("GET", f"/jobs/{told['job_id']}").json()
    assert (job["kind"], job["object_id"], job["state"], job["held"]) == (
        "stream",
        told["id"],
        "waiting",
        False,
    )


def test_what_is_stored_of_a_source_is_sealed_and_whole(house: House) -> None:
    url, headers = URL + "?sig=canary-1", {"Authorization": "canary-2"}
    told = house.submit(video_url=url, audio_url=URL + "?canary-3", headers=headers)
    assert "canary" not in str(told)
    with house.world.runtime.db.read() as session:
        row = Stream.get_for(session, house.id, told["id"])
        assert "canary" not in row.source + row.source_label
        opened = Source.from_json(house.world.runtime.vault.open(row.source))
    assert opened == Source(url=url, audio_url=URL + "?canary-3", headers=headers)


def test_sent_twice_it_is_submitted_once(house: House) -> None:
    answers = [
        house.call("POST", "/streams", {"url": URL}, **{"Idempotency-Key": "match-7"}) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Location"] == answers[0].headers["Location"]
    assert len(house.call("GET", "/streams").json()["data"]) == 1
