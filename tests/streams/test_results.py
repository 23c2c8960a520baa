"""What came of a stream: timelines, trials of dimension sets, exports, and what is asked for beside."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from tests.api.world import World, world_on
from tests.highlights.made import add_highlight, add_reel, add_stream
from tests.services import Backend, SQLite
from tests.walks.films import ROAR, film
from tldr_highlight.analysis.local import analyse
from tldr_highlight.analysis.signals import Signals, measure
from tldr_highlight.core.db import now
from tldr_highlight.core.work import Work
from tldr_highlight.highlights.models import Highlight
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Reader, Sampling
from tldr_highlight.streams.curves import packed
from tldr_highlight.streams.models import Segment, Stream
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage.models import UsageTotal
from tldr_highlight.usage.quotas import month_of


@pytest.fixture(scope="module")
def light(sqlite: SQLite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("light")
    with sqlite.databases(folder) as new, world_on(Backend("sqlite", new), folder) as made:
        yield made


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Signals:
    """The curves of a film that roars at `ROAR`."""
    info = probe(film(tmp_path_factory.mktemp("films") / "match.mp4"))
    return measure(Reader(info, Sampling.ALL))


class Desk:
    """An organization with a stream."""

    def __init__(self, world: World, **more: Any) -> None:
        self.world = world
        self.organization = world.organization()
        self.headers = world.key(self.organization)
        with world.runtime.db.begin() as session:
            self.stream = add_stream(session, self.organization, **more)
        self.id = self.stream.id

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.world.client.request(method, f"/api/v1{path}", headers=self.headers, json=body)

    def has(self, signals: Signals, pieces: int = 1) -> None:
        """Store its curves, cut into pieces."""
        ends = np.linspace(0, signals.steps, pieces + 1).astype(int)
        with self.world.runtime.db.begin() as session:
            for number, (a, b) in enumerate(itertools.pairwise(ends)):
                part = Signals(signals.first + int(a), {n: c[a:b] for n, c in signals.curves.items()})
                session.add(
                    Segment(
                        organization_id=self.organization, stream_id=self.id, ordinal=number,
                        start=0.0, end=part.end, curves=packed(part),
                    )
                )  # fmt: skip


# --- timelines and trials ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words", "again"),
    [("processing", "is analysed yet", "5"), ("failed", "the stream is failed, and nothing", None)],
)
def test_a_stream_without_curves_says_whether_they_come(
    light: World, state: str, words: str, again: str | None
) -> None:
    desk = Desk(light, state=state)
    answer = desk.call("GET", f"/streams/{desk.id}/timeline")
    assert (answer.status_code, answer.headers.get("retry-after")) == (409, again)
    assert words in answer.json()["detail"]


def test_a_timeline_shows_where_it_happens(light: World, measured: Signals) -> None:
    desk = Desk(light, options={"threshold": 0.7})
    desk.has(measured, pieces=3)
    found = desk.call("GET", f"/streams/{desk.id}/timeline?smoothing_seconds=0").json()
    assert (found["start"], found["step"], found["threshold"]) == (0.0, 0.5, 0.7)
    score = np.array([np.nan if v is None else v for v in found["score"]])
    assert len(score) == measured.steps
    assert abs(np.nanargmax(score) * 0.5 - ROAR) < 4  # it begins 2.5 s before
    worth = analyse(_as_stored(measured)).worth
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-worth)), atol=1e-4)
    energy = np.array(found["dimensions"]["scene_energy"], float)  # None is NaN
    assert abs(np.nanargmax(energy) * 0.5 - ROAR) < 4
    assert all(v is None or 0 <= v <= 1 for curve in found["dimensions"].values() for v in curve)


def _as_stored(signals: Signals) -> Signals:
    curves = {n: c.astype(np.float32).astype(np.float64) for n, c in signals.curves.items()}
    return Signals(signals.first, curves)


@pytest.mark.parametrize(("options", "seconds"), [({"smoothing_seconds": 20.0}, 20), ({}, 5)])
def test_a_timeline_is_as_smooth_as_the_stream_wants_it(
    light: World, measured: Signals, options: dict[str, Any], seconds: int
) -> None:
    desk = Desk(light, options=options)
    desk.has(measured)
    said = desk.call("GET", f"/streams/{desk.id}/timeline?smoothing_seconds={seconds}").json()
    assert desk.call("GET", f"/streams/{desk.id}/timeline").json() == said
    assert desk.call("GET", f"/streams/{desk.id}/timeline?smoothing_seconds=0").json() != said


def test_a_coarser_timeline_loses_no_peak(light: World, measured: Signals) -> None:
    desk = Desk(light)
    desk.has(measured)
    fine = desk.call("GET", f"/streams/{desk.id}/timeline?smoothing_seconds=0").json()
    coarse = desk.call("GET", f"/streams/{desk.id}/timeline?smoothing_seconds=0&resolution=10").json()
    assert len(coarse["score"]) <= 10
    assert coarse["step"] == 2.5
    assert max(coarse["score"]) == max(v for v in fine["score"] if v is not None)
    smooth = desk.call("GET", f"/streams/{desk.id}/timeline?smoothing_seconds=10").json()
    assert max(v for v in smooth["score"] if v is not None) < max(coarse["score"])


def test_what_is_not_analysed_has_no_timeline_yet(light: World) -> None:
    desk = Desk(light)
    answer = desk.call("GET", f"/streams/{desk.id}/timeline")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert desk.call("POST", "/dimension-sets/sports/try", {"stream_id": desk.id}).status_code == 409


def test_a_set_is_tried_without_analysing_or_storing(light: World, measured: Signals) -> None:
    desk = Desk(light, duration=24.0, options={"context_before_seconds": 1.0, "threshold": 0.99})
    desk.has(measured)
    strict = {"dimensions": {"humor": {}}, "threshold": 1.0}
    mine = desk.call("POST", "/dimension-sets", strict).json()["id"]
    before = _rows(light)
    found = desk.call("POST", "/dimension-sets/sports/try", {"stream_id": desk.id}).json()
    [moment] = found["highlights"]
    assert moment["start"] - 1 < ROAR < moment["end"] + 1
    assert moment["score"] >= 0.5  # the set's own threshold counts, not the stream's
    assert moment["start"] - moment["clip_start"] <= 2.1  # the stream's context does: 1 s, and 1 to a pause
    assert (found["set_id"], found["version"], found["degraded"]) == ("sports", None, False)
    none = desk.call("POST", f"/dimension-sets/{mine}/try", {"stream_id": desk.id}).json()
    assert (none["highlights"], none["version"]) == ([], 1)
    blind = {"dimensions": {"concept_clarity": {}, "humor": {"weight": 0.1}}}
    other = desk.call("POST", "/dimension-sets", blind).json()["id"]
    assert desk.call("POST", f"/dimension-sets/{other}/try", {"stream_id": desk.id}).json()["degraded"]
    assert _rows(light)["highlights"] == before["highlights"]
    assert _rows(light)["work"] == before["work"]


def test_a_set_is_tried_as_the_stream_was_submitted(light: World, measured: Signals) -> None:
    rule = {"when": {"scene_energy": 0.01}, "match": "any", "priority": 1000}
    copied = {"id": "typ_1", "name": "party", "version": 3, "rule": rule}  # deleted since
    wanted = {"dimension_set": "sports", "threshold": 0.4, "context_before_seconds": 1.0}
    desk = Desk(light, duration=24.0, options=wanted, highlight_types=[copied])
    desk.has(measured)
    at, body = "/dimension-sets/sports/try", {"stream_id": desk.id}
    assert all("party" not in each["types"] for each in desk.call("POST", at, body).json()["highlights"])
    again = desk.call("POST", at, {**body, "as_submitted": True}).json()["highlights"]
    assert "party" in again[0]["types"]
    with light.runtime.db.begin() as session:
        stream = Stream.get_for(session, desk.organization, desk.id)
        stream.options = {**wanted, "threshold": 1.0}
    assert desk.call("POST", at, {**body, "as_submitted": True}).json()["highlights"] == []
    other = desk.call("POST", "/dimension-sets/podcast/try", {**body, "as_submitted": True})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


def _rows(world: World) -> dict[str, int]:
    with world.runtime.db.read() as session:
        count = {t: session.scalar(select(func.count()).select_from(t)) or 0 for t in (Highlight, Work)}
    return {table.__tablename__: n for table, n in count.items()}


def test_nobody_tries_a_set_on_anothers_stream(light: World, measured: Signals) -> None:
    desk, other = Desk(light), Desk(light)
    other.has(measured)
    for set_id in ("sports", "dset_1"):
        answer = desk.call("POST", f"/dimension-sets/{set_id}/try", {"stream_id": other.id})
        assert answer.status_code == 404


# --- exports -------------------------------------------------------------------------------------------

FORMATS = ("json", "csv", "edl", "otio", "chapters", "vtt", "fcpxml")


@pytest.fixture(scope="module")
def exporting(light: World) -> Desk:
    media = {"frame_rate": 29.97, "video_codec": "h264", "audio_codec": "aac"}
    desk = Desk(light, media=media, title="Derby; final")
    with light.runtime.db.begin() as session:
        for ordinal in (2, 1, 3):
            add_highlight(session, desk.organization, desk.id, ordinal)
        add_highlight(session, desk.organization, desk.id, 4, verdict="drop", title="Nobody wants it")
        asked = {"origin": "request", "score": None, "title": "Asked for"}
        add_highlight(session, desk.organization, desk.id, -1, **asked)
    return desk


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_lists_what_was_found(exporting: Desk, format: str) -> None:
    answer = exporting.call("GET", f"/streams/{exporting.id}/export?format={format}")
    assert answer.status_code == 200, answer.text
    assert 'filename="Derby; final.' in answer.headers["content-disposition"].replace("_ ", "; ")
    assert answer.headers["content-disposition"].startswith("attachment")
    titles = ["Moment 1", "Moment 2", "Moment 3"]
    assert all(title in answer.text for title in titles) or format == "chapters"
    assert not [title for title in ("Nobody wants it", "Asked for") if title in answer.text]


def test_exports_say_times_as_editors_count_them(exporting: Desk) -> None:
    """29.97 is 30000/1001, with drop-frame timecode: an hour off by 3.6 s otherwise."""
    document = json.loads(exporting.call("GET", f"/streams/{exporting.id}/export").content)
    assert [h["start"] for h in document["highlights"]] == sorted(h["start"] for h in document["highlights"])
    rows = list(
        csv.DictReader(io.StringIO(exporting.call("GET", f"/streams/{exporting.id}/export?format=csv").text))
    )
    assert rows[0]["title"] == "Moment 1"
    assert ";" in rows[0]["timecode_in"]
    assert float(rows[0]["clip_start"]) == pytest.approx(450 * 1001 / 30_000, abs=1e-6)
    edl = exporting.call("GET", f"/streams/{exporting.id}/export?format=edl").text
    assert "FCM: DROP FRAME" in edl


def test_a_format_that_nobody_knows_is_refused(exporting: Desk) -> None:
    assert exporting.call("GET", f"/streams/{exporting.id}/export?format=pdf").status_code == 422


# --- what is asked for ---------------------------------------------------------------------------------


def test_a_clip_that_is_asked_for_is_handed_in_once(light: World) -> None:
    desk = Desk(light)
    headers = desk.headers | {"Idempotency-Key": "once"}
    path = f"/api/v1/streams/{desk.id}/clips"
    body = {"start": 10, "end": 20.5, "quality": "small", "tags": ["derby", " derby", "cup"]}
    first, second = (light.client.post(path, headers=headers, json=body) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    found = first.json()
    assert (found["origin"], found["state"], found["score"]) == ("request", "detected", None)
    assert (found["title"], found["tags"]) == ("Clip at 0:10", ["derby", "cup"])
    assert first.headers["location"] == f"/api/v1/highlights/{found['id']}"
    with light.runtime.db.read() as session:
        [work] = [w for w in session.query(Work) if w.object_id == found["id"]]
    assert (work.kind, work.payload) == ("clip", {"quality": "small"})
    assert (work.organization_id, work.priority) == (desk.organization, "high")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"start": 5, "end": 5}, 422, "validation_failed"),
        ({"start": 10, "end": 5}, 422, "validation_failed"),
        ({"start": -1, "end": 5}, 422, "validation_failed"),
        ({"start": 0, "end": 601}, 422, "validation_failed"),
        ({"start": 600, "end": 610}, 422, "range_invalid"),
        ({"start": 1, "end": 5, "quality": "ultra"}, 422, "validation_failed"),
    ],
    ids=["empty", "backwards", "negative", "long", "behind", "quality"],
)
def test_a_range_that_makes_no_clip_is_refused(
    light: World, body: dict[str, Any], status: int, code: str
) -> None:
    desk = Desk(light)
    answer = desk.call("POST", f"/streams/{desk.id}/clips", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_reel_takes_highlights_that_have_clips(light: World) -> None:
    desk = Desk(light)
    refused = desk.call("POST", f"/streams/{desk.id}/reel", {"target_seconds": 30})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    with light.runtime.db.begin() as session:
        add_highlight(session, desk.organization, desk.id)
    made = desk.call("POST", f"/streams/{desk.id}/reel", {"target_seconds": 30})
    assert made.status_code == 202
    found = desk.call("GET", made.headers["location"].removeprefix("/api/v1")).json()
    assert found == made.json()
    assert (found["state"], found["tolerance"], found["video_url"]) == ("pending", 1.0, None)
    assert desk.call("GET", f"/reels/{found['id']}/video").status_code == 409
    assert [r["id"] for r in desk.call("GET", f"/streams/{desk.id}/reels").json()["data"]] == [found["id"]]


def test_where_the_storage_is_used_up_nothing_more_is_made(light: World) -> None:
    desk = Desk(light)
    with light.runtime.db.begin() as session:
        add_highlight(session, desk.organization, desk.id)
        session.get_one(Organization, desk.organization).plan = "STARTER"
        session.add(
            UsageTotal(
                organization_id=desk.organization, month=month_of(now()), metric="stored_bytes",
                amount=10 * 10**9,
            )
        )  # fmt: skip
    for path, body in (("clips", {"start": 1, "end": 2}), ("reel", {"target_seconds": 30})):
        answer = desk.call("POST", f"/streams/{desk.id}/{path}", body)
        assert (answer.status_code, answer.json()["code"]) == (402, "quota_exceeded")


def test_a_reel_can_be_had_and_deleted(light: World, tmp_path: Path) -> None:
    desk = Desk(light)
    key = f"{desk.organization}/{desk.id}/reel.mp4"
    with light.runtime.db.begin() as session:
        reel = add_reel(session, desk.organization, desk.id, state="ready", key=key, stored_bytes=7)
    link = light.client.get(f"/api/v1/reels/{reel.id}/video", headers=desk.headers, follow_redirects=False)
    assert link.headers["cross-origin-resource-policy"] == "cross-origin"
    assert link.status_code == 307
    assert key in link.headers["location"]
    assert desk.call("DELETE", f"/reels/{reel.id}").status_code == 204
    assert desk.call("GET", f"/reels/{reel.id}").status_code == 404
    with light.runtime.db.read() as session:
        removals = [w.payload for w in session.query(Work).filter(Work.kind == "remove_files")]
    assert {"keys": [key]} in removals
