"""Lists of highlights: filtered, ordered, and in pages that nothing shifts."""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.world import World
from tests.highlights.made import add_highlight, add_stream
from tldr_highlight.core.db import new_id

SEED = 5


class Shelf:
    """An organization with highlights."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.organization = world.organization()
        self.headers = world.key(self.organization)
        self.stream = new_id("str")

    def add(self, ordinal: int, stream: str | None = None, **more: Any) -> str:
        with self.world.runtime.db.begin() as session:
            return add_highlight(session, self.organization, stream or self.stream, ordinal, **more).id

    def ask(self, path: str = "/api/v1/highlights", **query: Any) -> dict[str, Any]:
        answer = self.world.client.get(path, headers=self.headers, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids(self, **query: Any) -> list[str]:
        return [row["id"] for row in self.ask(**query)["data"]]

    def pages(self, **query: Any) -> Iterator[list[str]]:
        """Ids, page by page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.ask(**query, **cursor)
            yield [row["id"] for row in page["data"]]
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}


@pytest.fixture
def shelf(world: World) -> Shelf:
    return Shelf(world)


FIVE: list[dict[str, Any]] = [
    {"score": 0.9, "types": ["score", "reaction"], "tags": ["derby"], "verdict": "keep"},
    {"score": 0.3, "types": ["reaction"], "tags": ['a "b" c', "x"], "verdict": "drop"},
    {"score": 0.6, "types": ["funny"], "tags": ['say "derby', "\\\\"], "state": "failed"},
    {"score": 0.6, "types": ["generic"], "tags": ["derby 2"], "start": 3.0},
    {"score": None, "types": [], "origin": "request", "state": "detected"},
]

FILTERED: dict[str, tuple[dict[str, Any], set[int]]] = {
    "all": ({}, {0, 1, 2, 3, 4}),
    "good": ({"min_score": 0.6}, {0, 2, 3}),
    "between": ({"min_score": 0.3, "max_score": 0.6}, {1, 2, 3}),
    "type": ({"type": "reaction"}, {0, 1}),
    "no such type": ({"type": "react"}, set()),
    "tag": ({"tag": "derby"}, {0}),
    "tag with quotes": ({"tag": 'a "b" c'}, {1}),
    "tag with a quote": ({"tag": 'say "derby'}, {2}),
    "tag of strokes": ({"tag": "\\\\"}, {2}),
    "what is between two tags": ({"tag": '", "'}, set()),
    "kept": ({"verdict": "keep"}, {0}),
    "failed": ({"state": "failed"}, {2}),
    "asked for": ({"origin": "request"}, {4}),
    "two at once": ({"type": "reaction", "verdict": "drop"}, {1}),
    "since": ({"created_after": "2020-01-01T00:00:00Z"}, {0, 1, 2, 3, 4}),
    "before": ({"created_before": "2020-01-01T01:00:00+01:00"}, set()),
    "by score": ({"order": "score"}, {0, 1, 2, 3}),
}


def test_filters_let_through_what_they_say(shelf: Shelf) -> None:
    ids = [shelf.add(number, **about) for number, about in enumerate(FIVE, 1)]
    other = shelf.add(1, new_id("str"))
    for name, (query, wanted) in FILTERED.items():
        found = shelf.ids(stream_id=shelf.stream, **query)
        assert set(found) == {ids[i] for i in wanted}, name
    assert set(shelf.ids()) == {*ids, other}


@pytest.mark.parametrize("order", ["newest", "score", "time"])
def test_pages_hold_each_once_in_order_whatever_is_added_or_deleted(shelf: Shelf, order: str) -> None:
    """Keyset, not offset: while somebody reads page after page, what was there is there once."""
    chance = random.Random(SEED)
    with shelf.world.runtime.db.begin() as session:
        shelf.stream = add_stream(session, shelf.organization).id
    scores = [chance.choice([0.1, 0.5, 0.5, 0.9, 1.0]) for _ in range(25)]
    there = [shelf.add(n, score=score, start=chance.choice([1.0, 2.0])) for n, score in enumerate(scores, 1)]
    path = f"/api/v1/streams/{shelf.stream}/highlights"
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for number in itertools.count(100):
        page = shelf.ask(path, order=order, limit=4, **cursor)
        assert len(page["data"]) <= 4
        seen += page["data"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        shelf.add(number, score=1.0, start=0.5)  # in front, in every order
        if number % 2:  # what the cursor was made of
            gone = shelf.world.client.delete(f"/api/v1/highlights/{seen[-1]['id']}", headers=shelf.headers)
            assert gone.status_code == 204
    ids = [row["id"] for row in seen]
    assert len(ids) == len(set(ids))
    assert set(there) <= set(ids)
    keys = {
        "newest": [(row["created_at"], row["id"]) for row in seen],
        "score": [(row["score"], row["id"]) for row in seen],
        "time": [(row["start"], row["id"]) for row in seen],
    }[order]
    assert keys == sorted(keys, reverse=order != "time")


def test_what_was_found_last_comes_first_whatever_the_age_of_its_stream(shelf: Shelf) -> None:
    long, short = new_id("str"), new_id("str")  # ids of highlights begin with those of their streams
    ids = [shelf.add(1, long), shelf.add(1, short), shelf.add(2, long)]
    assert shelf.ids() == ids[::-1]
    assert [id for page in shelf.pages(limit=1) for id in page] == ids[::-1]


def test_a_cursor_of_another_order_is_refused(shelf: Shelf) -> None:
    for number in range(1, 4):
        shelf.add(number)
    cursor = shelf.ask(order="score", limit=1)["next_cursor"]
    forged = [
        ["2026-11-26T05:00:00Z", 1],
        ["x", "hl_1"],
        ["0001-01-01T00:00:00+23:00", "hl_1"],
        ["x"],
        ["hl_\0"],
        ["hl_\ud800"],
        [["hl_1"]],
        [1.0, "hl_1"],
        {},
        "hl_1",
    ]
    texts = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode() for each in forged]
    queries = [{"order": "newest", "cursor": cursor}, *({"cursor": text} for text in (*texts, "x", "_w=="))]
    for query in queries:
        answer = shelf.world.client.get("/api/v1/highlights", headers=shelf.headers, params=query)
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid"), query
    ours = shelf.world.client.get(
        "/api/v1/highlights", headers=shelf.headers, params={"order": "score", "cursor": cursor}
    )
    assert ours.status_code == 200


def test_time_is_the_time_of_one_stream(shelf: Shelf) -> None:
    answer = shelf.world.client.get("/api/v1/highlights?order=time", headers=shelf.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert shelf.ids(order="time", stream_id=shelf.stream) == []


def test_other_organizations_streams_have_no_highlights_for_us(shelf: Shelf) -> None:
    other = Shelf(shelf.world)
    shelf.add(1)
    assert other.ids(stream_id=shelf.stream) == []
