"""One highlight: read, changed, voted on, deleted; its files; links without account."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.api.world import World
from tests.highlights.made import add_highlight, add_stream
from tldr_highlight.core.work import run_one
from tldr_highlight.highlights.models import Highlight
from tldr_highlight.tenancy.models import AuditRecord, Organization
from tldr_highlight.usage.models import UsageRecord, UsageTotal


class Shelf:
    """An organization with one highlight, whose files are in the store."""

    def __init__(self, world: World, folder: Path, **more: Any) -> None:
        self.world = world
        self.organization = world.organization()
        self.headers = world.key(self.organization)
        (folder / "file").write_bytes(b"pictures")
        with world.runtime.db.begin() as session:
            self.stream = add_stream(session, self.organization).id
            self.row = add_highlight(session, self.organization, self.stream, **more)
            self.id = self.row.id
            for end in ("jpg", "webp"):
                name = "thumbnail_key" if end == "jpg" else "thumbnail_small_key"
                setattr(self.row, name, f"{self.organization}/{self.stream}/{self.id}.{end}")
        for key in (self.row.clip_key, self.row.thumbnail_key, self.row.thumbnail_small_key):
            world.runtime.storage.put(key or "", folder / "file", content_type="video/mp4")

    def call(self, method: str, path: str = "", body: Any = None) -> Any:
        return self.world.client.request(
            method, f"/api/v1/highlights/{self.id}{path}", headers=self.headers, json=body,
            follow_redirects=False,
        )  # fmt: skip

    def set(self, **values: Any) -> None:
        with self.world.runtime.db.begin() as session:
            for name, value in values.items():
                setattr(session.get_one(Highlight, self.id), name, value)


@pytest.fixture
def shelf(light: World, tmp_path: Path) -> Shelf:
    return Shelf(light, tmp_path)


def test_it_says_what_is_known_of_it(shelf: Shelf) -> None:
    found = shelf.call("GET").json()
    assert found["dimensions"] == {"crowd_reaction": 0.8}
    assert found["evidence"] == [{"dimension": "crowd_reaction", "time": 22.0, "text": "a roar"}]
    assert found["clip"]["bytes"] == 1000
    assert urlsplit(found["clip_url"]).path == f"/api/v1/highlights/{shelf.id}/clip"
    assert not {"clip_key", "share_salt", "organization_id"} & found.keys()


def test_what_somebody_thinks_of_it_is_kept_with_who_and_when(world: World, tmp_path: Path) -> None:
    shelf = Shelf(world, tmp_path)
    body = {"title": "  The equaliser ", "tags": ["derby", "derby", "cup"], "verdict": "keep"}
    changed = shelf.call("PATCH", body=body).json()
    assert (changed["title"], changed["tags"], changed["verdict"]) == (
        "The equaliser", ["derby", "cup"], "keep",
    )  # fmt: skip
    assert shelf.call("PATCH", body={"verdict": None}).json()["verdict"] is None
    assert shelf.call("PATCH", body={"tags": ["derby", "cup"]}).status_code == 200  # no change
    with world.runtime.db.read() as session:
        records = [r for r in session.query(AuditRecord).order_by(AuditRecord.id) if r.object_id == shelf.id]
    assert [r.details for r in records] == [
        {"title": "The equaliser", "tags": ["derby", "cup"], "verdict": "keep"},
        {"verdict": None},
    ]
    assert records[0].actor.startswith("key_")


@pytest.mark.parametrize(
    "body",
    [{"verdict": "maybe"}, {"title": ""}, {"title": "two\nlines"}, {"tags": [""]}, {"tags": ["x"] * 11},
     {"score": 1.0}, {"title": None}],
    ids=["verdict", "empty", "lines", "tag", "tags", "score", "null"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(shelf: Shelf, body: Any) -> None:
    answer = shelf.call("PATCH", body=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_deleting_it_removes_its_files_and_gives_back_what_they_took_up(world: World, tmp_path: Path) -> None:
    shelf = Shelf(world, tmp_path)
    store = world.runtime.storage
    assert len(list(store.list(shelf.organization))) == 3
    assert shelf.call("DELETE").status_code == 204
    assert shelf.call("GET").status_code == 404
    while run_one(world.runtime, owner="test"):
        pass
    assert list(store.list(shelf.organization)) == []
    with world.runtime.db.read() as session:
        [record] = session.scalars(UsageRecord.of(shelf.organization))
        [total] = session.scalars(UsageTotal.of(shelf.organization))
    assert (record.key, record.amount, record.object_id) == (f"{shelf.id}/deleted", -1000, shelf.stream)
    assert (total.metric, total.amount) == ("stored_bytes", -1000)


def test_the_longest_tags_fit_into_the_indexes(world: World, tmp_path: Path) -> None:
    """PostgreSQL's take 2704 bytes: ten tags of forty letters have 1600 in UTF-8."""
    shelf = Shelf(world, tmp_path, types=["x" * 64, "y" * 64, "z" * 64])
    tags = ["".join(chr(0x1F300 + 61 * n + i) for i in range(40)) for n in range(10)]
    assert len("".join(tags).encode()) == 1600
    assert shelf.call("PATCH", body={"tags": tags}).status_code == 200
    found = world.client.get("/api/v1/highlights", headers=shelf.headers, params={"tag": tags[9]}).json()
    assert [row["id"] for row in found["data"]] == [shelf.id]


# --- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "end"),
    [("/clip", "mp4"), ("/thumbnail", "jpg"), ("/thumbnail?size=small", "webp")],
    ids=["clip", "large", "small"],
)
def test_its_files_are_where_a_signed_link_leads(shelf: Shelf, path: str, end: str) -> None:
    answer = shelf.call("GET", path)
    assert answer.status_code == 307
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"  # any page may show it
    link = urlsplit(answer.headers["location"])
    key = link.path.removeprefix("/files/")
    assert key == f"{shelf.organization}/{shelf.stream}/{shelf.id}.{end}"
    query = {name: values[0] for name, values in parse_qs(link.query).items()}
    assert 3590 < int(query["expires"]) - time.time() <= 3601
    store = shelf.world.runtime.storage
    assert store.opens(key, query, datetime.now(UTC))  # type: ignore[attr-defined]
    assert not store.opens(key + "x", query, datetime.now(UTC))  # type: ignore[attr-defined]


def test_a_clip_to_be_saved_has_its_title_for_a_name(shelf: Shelf) -> None:
    link = urlsplit(shelf.call("GET", "/clip?download=true").headers["location"])
    assert parse_qs(link.query)["download_name"] == ["Moment 1.mp4"]


@pytest.mark.parametrize(
    ("state", "words"), [("detected", "is being cut"), ("failed", "could not be made: no picture")]
)
def test_a_clip_that_is_not_there_says_why(shelf: Shelf, state: str, words: str) -> None:
    shelf.set(state=state, clip_key=None, thumbnail_key=None, error_message="no picture")
    answer = shelf.call("GET", "/clip")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert words in answer.json()["detail"]
    assert shelf.call("GET", "/thumbnail").status_code == 409
    assert shelf.call("POST", "/share", {}).status_code == 409
    found = shelf.call("GET").json()
    assert (found["clip_url"], found["thumbnail_url"]) == (None, None)


# --- links without account -----------------------------------------------------------------------------


def test_whoever_has_a_link_may_watch_until_it_is_taken_back(world: World, tmp_path: Path) -> None:
    shelf = Shelf(world, tmp_path)
    answer = shelf.call("POST", "/share", {"expires_in": 3600})
    assert answer.status_code == 201
    first = follow(world, answer.json()["url"])
    assert first.status_code == 307
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
    assert first.headers["x-robots-tag"] == "noindex"
    assert f"{shelf.id}.mp4" in first.headers["location"]
    second = shelf.call("POST", "/share", {}).json()["url"]
    assert follow(world, second).status_code == 307
    assert shelf.call("DELETE", "/share").status_code == 204
    assert [follow(world, url).status_code for url in (answer.json()["url"], second)] == [404, 404]
    third = shelf.call("POST", "/share", {}).json()["url"]
    assert [follow(world, url).status_code for url in (second, third)] == [404, 307]
    shelf.call("DELETE")
    assert follow(world, third).status_code == 404


def test_what_a_link_leads_to_opens_no_longer_than_the_link(shelf: Shelf) -> None:
    world = shelf.world
    short, long = (shelf.call("POST", "/share", {"expires_in": s}).json() for s in (60, 604_800))
    until = {one["url"]: expiry(follow(world, one["url"]).headers["location"]) for one in (short, long)}
    end = datetime.fromisoformat(short["expires_at"]).timestamp()
    assert abs(until[short["url"]] - end) < 30
    assert abs(until[long["url"]] - time.time() - 3600) < 30


def expiry(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["expires"][0])


def test_a_link_leads_nowhere_while_its_organization_is_suspended(shelf: Shelf) -> None:
    url = shelf.call("POST", "/share", {}).json()["url"]
    for status, answer in (("suspended", 404), ("deleting", 404), ("active", 307)):
        with shelf.world.runtime.db.begin() as session:
            session.get_one(Organization, shelf.organization).status = status
        assert follow(shelf.world, url).status_code == answer


def follow(world: World, url: str) -> Any:
    """Where a link leads, for somebody without account."""
    return world.client.get(url.partition(world.runtime.url)[2], follow_redirects=False)


def test_a_link_opens_nothing_else_and_not_for_ever(shelf: Shelf, tmp_path: Path) -> None:
    world, other = shelf.world, Shelf(shelf.world, tmp_path)
    other.call("POST", "/share", {})
    url = shelf.call("POST", "/share", {"expires_in": 60}).json()["url"]
    assert follow(world, url.replace(shelf.id, other.id)).status_code == 404
    expires = parse_qs(urlsplit(url).query)["expires"][0]
    assert follow(world, url.replace(expires, str(int(expires) + 1))).status_code == 404
    assert follow(world, url.partition("?")[0]).status_code == 404
    salt = "0123456789abcdef"
    shelf.set(share_salt=salt)
    query = world.runtime.links.sign(f"/shared/{shelf.id}/{salt}", int(time.time()) - 1)
    assert follow(world, f"{world.runtime.url}/shared/{shelf.id}?{query}").status_code == 404
    good = world.runtime.links.sign(f"/shared/{shelf.id}/{salt}", int(time.time()) + 60)
    assert follow(world, f"{world.runtime.url}/shared/{shelf.id}?{good}").status_code == 307


@pytest.mark.parametrize("seconds", [59, 2_592_001, "week"])
def test_a_link_holds_for_a_minute_to_thirty_days(shelf: Shelf, seconds: Any) -> None:
    assert shelf.call("POST", "/share", {"expires_in": seconds}).status_code == 422
