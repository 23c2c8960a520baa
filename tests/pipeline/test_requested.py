"""Clips and reels that somebody asks for: they show what was asked for, or say why they do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.core.servers import Peer, Request, Server, parts
from tests.media_maker import join_bytes, read
from tests.pipeline.office import ORGANIZATION, Office
from tests.schema import tables
from tests.services import Backend, SQLite
from tests.walks.films import film
from tldr_highlight.core.telemetry import HIDDEN
from tldr_highlight.core.work import Work, cancel, enqueue, get, run_one
from tldr_highlight.errors import ConflictError, NotFoundError, RangeError, StorageFullError
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.highlights.schemas import HighlightPatch
from tldr_highlight.highlights.service import change_highlight, delete_highlight
from tldr_highlight.media.job import Visit
from tldr_highlight.media.probe import probe
from tldr_highlight.pipeline import requested
from tldr_highlight.runtime import Act, Caller, opened
from tldr_highlight.settings import Settings
from tldr_highlight.storage.base import Stored
from tldr_highlight.streams import results
from tldr_highlight.streams.models import Stream
from tldr_highlight.streams.results_schemas import ClipCreate, ReelCreate
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy.models import Alert, AuditRecord
from tldr_highlight.worker.kinds import product_kinds

RATE = 10
"""Pictures a second of the films here; each shows its number."""

CALLER = Caller(ORGANIZATION, name="test")


class Desk(Office):
    """An office where clips and reels are asked for."""

    def clip(self, start: float, end: float, id: str = "str_1", **more: object) -> Highlight:
        with self.runtime.db.begin() as session:
            act = Act(self.runtime, CALLER, session=session)
            wanted = ClipCreate.model_validate({"start": start, "end": end, **more})
            return results.request_clip(act, id, wanted)[0]

    def reel(self, seconds: float, tolerance: float = 1.0) -> Reel:
        with self.runtime.db.begin() as session:
            act = Act(self.runtime, CALLER, session=session)
            wanted = ReelCreate(target_seconds=seconds, tolerance=tolerance)
            return results.request_reel(act, "str_1", wanted)

    def vote(self, id: str, verdict: str) -> None:
        with self.runtime.db.begin() as session:
            patch = HighlightPatch.model_validate({"verdict": verdict})
            change_highlight(Act(self.runtime, CALLER, session=session), id, patch)

    def delete(self, id: str) -> None:
        with self.runtime.db.begin() as session:
            delete_highlight(Act(self.runtime, CALLER, session=session), id)

    def now(self, row: Highlight | Reel) -> Highlight | Reel:
        """As it is stored now."""
        with self.runtime.db.read() as session:
            return session.get_one(type(row), row.id)

    def numbers(self, key: str | None, folder: Path) -> list[int]:
        """Of the pictures that a stored file shows."""
        assert key
        self.runtime.storage.get(key, folder / "stored.mp4")
        return list(read(folder / "stored.mp4").numbers)


@pytest.fixture(scope="module")
def match(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute with three roars."""
    return film(
        tmp_path_factory.mktemp("films") / "match.mp4",
        (10.0, 30.0, 50.0),
        seconds=60.0,
        size=(320, 180),
        fps=Fraction(RATE),
    )


def settings(folder: Path, database_url: str) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=folder / "data",
        database_url=database_url,
        allow_local_paths="/",
        allow_networks="127.0.0.0/8",
    )


@pytest.fixture
def desk(backend: Backend, match: Path, tmp_path: Path) -> Iterator[Desk]:
    """A stream that nobody has analysed."""
    with opened(settings(tmp_path, backend.database(tables)), product_kinds()) as runtime:
        desk = Desk(runtime)
        desk.found()
        desk.submit(match)
        with runtime.db.begin() as session:
            cancel(session, desk.stream().job_id)
        yield desk


@pytest.fixture(scope="module")
def found(sqlite: SQLite, match: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A stream with its three highlights; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("found")
    with (
        sqlite.databases(folder) as new,
        opened(settings(folder, new(tables)), product_kinds()) as runtime,
    ):
        desk = Desk(runtime)
        desk.found()
        desk.submit(match)
        desk.work()
        assert [h.state for h in desk.highlights()] == ["ready"] * 3
        yield desk


# --- clips ---------------------------------------------------------------------------------------------


def test_a_clip_shows_its_range(desk: Desk, tmp_path: Path) -> None:
    asked = desk.clip(3.0, 7.0, title="The equaliser", tags=["derby"])
    assert (asked.origin, asked.ordinal, asked.state, asked.score) == ("request", -1, "detected", None)
    desk.work()
    clip = desk.now(asked)
    assert isinstance(clip, Highlight)
    assert (clip.state, clip.title, clip.tags) == ("ready", "The equaliser", ["derby"])
    assert desk.numbers(clip.clip_key, tmp_path) == list(range(30, 70))
    kept = list(desk.runtime.storage.list(ORGANIZATION))
    assert len(kept) == 3
    assert clip.stored_bytes == sum(file.bytes for file in kept)
    assert desk.usage()[f"{clip.id}/stored"] == clip.stored_bytes
    assert desk.events()[-1].type == "highlight.ready"
    assert desk.events()[-1].data["highlight_id"] == clip.id
    assert desk.clip(3.0, 7.0).ordinal == -2
    assert list((desk.runtime.data_dir / "scratch").iterdir()) == []


def test_a_range_behind_the_end_is_refused_or_cut_short(found: Desk) -> None:
    with pytest.raises(RangeError, match="the stream ends at 60 s"):
        found.clip(61.0, 63.0)
    clip = found.clip(58.0, 90.0)
    assert clip.clip_end == found.stream().duration
    found.delete(clip.id)


def test_a_clip_that_cannot_be_cut_says_why(desk: Desk, match: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.mp4"
    desk.submit(gone, "str_2")
    with desk.runtime.db.begin() as session:
        act = Act(desk.runtime, CALLER, session=session)
        asked, job_id = results.request_clip(act, "str_2", ClipCreate(start=1.0, end=2.0))
    desk.work()
    clip = desk.now(asked)
    assert isinstance(clip, Highlight)
    assert (clip.state, clip.error_code) == ("failed", "not_found")
    told = next(event for event in desk.events("str_2") if event.type == "highlight.failed")
    assert (told.data["highlight_id"], told.data["error_code"]) == (clip.id, "not_found")
    with desk.runtime.db.read() as session:
        assert get(session, job_id).error_code == "not_found"
    assert list(desk.runtime.storage.list(ORGANIZATION)) == []


@pytest.mark.parametrize("kind", ["file", "pair"])
def test_a_clip_of_another_file_than_was_analysed_is_refused(found: Desk, match: Path, kind: str) -> None:
    with Server(parts(match.read_bytes(), 'ETag: "1"')) as server:
        if kind == "pair":  # of which each has its version
            found.submit(Source(url=f"{server.url}v.mp4", audio_url=f"{server.url}a.mp4"), "str_pair")
            found.work()
        id = {"file": "str_1", "pair": "str_pair"}[kind]
        assert found.stream(id).state == "completed"
        with found.runtime.db.begin() as session:
            stream = session.get_one(Stream, id)
            known, stream.source_version = stream.source_version, "another"
        asked = found.clip(3.0, 5.0, id)
        for _ in range(3):  # it may be in the middle of being replaced
            found.hurry()
            found.work()
    clip = found.now(asked)
    assert (clip.state, clip.error_code) == ("failed", "source_changed")
    found.delete(asked.id)
    with found.runtime.db.begin() as session:
        session.get_one(Stream, id).source_version = known


def test_a_clip_is_cut_where_the_stream_has_it_though_its_clock_leaps(found: Desk, tmp_path: Path) -> None:
    part = film(tmp_path / "part.ts", start=10.0)
    both = join_bytes(tmp_path / "both.ts", [part, part])
    with Server(parts(both.read_bytes(), 'ETag: "1"')) as server:
        found.submit(Source(url=f"{server.url}both.ts"), "str_leap")
        found.work()
        assert found.stream("str_leap").duration == pytest.approx(48, abs=0.2)
        asked = found.clip(30.0, 33.0, "str_leap")
        found.work()
    clip = found.now(asked)
    assert isinstance(clip, Highlight)
    assert (clip.state, clip.error_message) == ("ready", None)
    numbers = found.numbers(clip.clip_key, tmp_path)
    assert numbers[0] in {59, 60, 61}
    assert numbers == list(range(numbers[0], numbers[0] + 30))


def test_a_clip_of_a_silent_source_can_be_cancelled(found: Desk, match: Path) -> None:
    asked = threading.Event()
    well = parts(match.read_bytes(), 'ETag: "1"')

    def silent(request: Request, peer: Peer) -> object:
        if request.headers["range"] == "bytes=0-511":  # the resolver's look
            return well(request, peer)
        asked.set()
        return peer.over.wait(60)

    with Server(silent) as server:
        found.submit(Source(url=f"{server.url}match.mp4"), "str_mute")
        with found.runtime.db.begin() as session:
            cancel(session, found.stream("str_mute").job_id)
        clip = found.clip(3.0, 5.0, "str_mute")
        worker = threading.Thread(target=found.work)
        worker.start()
        assert asked.wait(30)
        with found.runtime.db.begin() as session:
            [job] = session.scalars(select(Work).where(Work.key == clip.id))
            cancel(session, job.id)
        worker.join(10)
        assert not worker.is_alive()
    assert (found.now(clip).state, found.now(clip).error_code) == ("failed", "conflict")


@pytest.mark.parametrize("room", [0, 1000], ids=["none", "too little"])
def test_a_clip_waits_for_room(desk: Desk, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    asked = desk.clip(3.0, 5.0)
    desk.room(room)
    if room == 0:
        monkeypatch.setattr(requested, "cut_apart", None)  # none is cut
    desk.work()
    with desk.runtime.db.read() as session:
        [job] = session.scalars(select(Work).where(Work.key == asked.id))
    assert (job.state, job.error_code) == ("waiting", "quota_exceeded")
    assert list(desk.runtime.storage.list(ORGANIZATION)) == []
    monkeypatch.undo()
    desk.room(None)
    desk.hurry()
    desk.work()
    assert desk.now(asked).state == "ready"


def test_a_clip_that_is_deleted_while_it_is_cut_leaves_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = desk.clip(3.0, 5.0)
    put = desk.runtime.storage.put

    def deleting(key: str, *given: object, **named: object) -> Stored:
        if key.endswith(".mp4"):  # the last of its files
            desk.delete(asked.id)
        return put(key, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.runtime.storage, "put", deleting)
    desk.work()
    assert list(desk.runtime.storage.list(ORGANIZATION)) == []
    assert desk.usage() == {}


def test_another_organizations_highlight_is_not_touched(desk: Desk) -> None:
    """T5: a row of work is worth no more than the organization it says."""
    asked = desk.clip(3.0, 5.0)
    desk.found("org_2")
    with desk.runtime.db.begin() as session:
        [mine] = session.scalars(select(Work).where(Work.key == asked.id))
        cancel(session, mine.id)
        forged = enqueue(session, "clip", organization_id="org_2", object_id=asked.id, key="forged")
    desk.work()
    with desk.runtime.db.read() as session:
        assert get(session, forged.id).error_code == "not_found"
        [record] = session.scalars(select(AuditRecord).where(AuditRecord.action == "work.dropped"))
        assert (record.organization_id, record.object_id) == (None, asked.id)
        assert record.details == {"job": forged.id, "kind": "clip", "said": "org_2"}
    assert list(desk.runtime.storage.list()) == []


# --- reels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [8.0, 20.0, 35.0])
def test_a_reel_is_as_long_as_was_asked_for(found: Desk, seconds: float, tmp_path: Path) -> None:
    asked = found.reel(seconds, tolerance=0.5)
    found.work()
    reel = found.now(asked)
    assert isinstance(reel, Reel)
    assert (reel.state, reel.note, reel.error_code) == ("ready", None, None)
    assert reel.seconds == pytest.approx(seconds, abs=0.5)
    shown = found.numbers(reel.key, tmp_path)
    assert len(shown) / RATE == pytest.approx(seconds, abs=0.5)
    ranges = [h for h in found.highlights() if h.id in reel.highlights]
    inside = {n for h in ranges for n in range(round(h.clip["start"] * RATE), round(h.clip["end"] * RATE))}
    assert set(shown) <= inside
    assert shown == sorted(shown)
    assert all(any(n == round(h.peak * RATE) for n in shown) for h in ranges), "a peak is missing"
    assert reel.stored_bytes == found.runtime.storage.stat(reel.key or "").bytes
    assert found.usage()[f"{reel.id}/stored"] == reel.stored_bytes
    told = found.events()[-1]
    assert (told.type, told.data["reel_id"], told.data["note"]) == ("reel.ready", reel.id, None)


@pytest.mark.parametrize("room", [0, 1000], ids=["none", "too little"])
def test_a_reel_waits_for_room(found: Desk, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    asked = found.reel(20.0)
    before = found.usage()
    found.room(room)
    if room == 0:
        monkeypatch.setattr(requested, "join_apart", None)  # nothing is joined
    found.work()
    with found.runtime.db.read() as session:
        job = get(session, asked.job_id)
    assert (job.state, job.error_code) == ("waiting", "quota_exceeded")
    assert found.usage() == before
    monkeypatch.undo()
    found.room(None)
    found.hurry()
    found.work()
    assert found.now(asked).state == "ready"


@pytest.mark.parametrize(("kind", "broken"), [("clip", "cut_apart"), ("reel", "join_apart")])
def test_why_there_is_none_is_told_without_secrets(
    found: Desk, monkeypatch: pytest.MonkeyPatch, kind: str, broken: str
) -> None:
    def refuses(*given: object, **named: object) -> None:
        raise ConflictError("cannot open https://ann:pa55word@media.example.com/final.mp4")

    monkeypatch.setattr(requested, broken, refuses)
    asked = found.clip(3.0, 5.0) if kind == "clip" else found.reel(20.0)
    found.work()
    row = found.now(asked)
    assert row.state == "failed"
    told = found.events()[-1]
    assert (told.type, told.data["error_code"]) == (
        {"clip": "highlight.failed"}.get(kind, "reel.failed"),
        "conflict",
    )
    assert (
        told.data["error_message"]
        == row.error_message
        == f"cannot open https://{HIDDEN}@media.example.com/final.mp4"
    )
    if kind == "clip":
        found.delete(asked.id)


def test_a_reel_is_left_to_others_while_a_piece_of_it_is_trimmed(
    found: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = found.runtime.leases.stopping

    def hanging(visit: Visit, *given: object, **named: object) -> None:
        stopping.set()
        assert visit.meanwhile
        visit.meanwhile()  # as is done while its process is waited for

    monkeypatch.setattr(requested, "cut_apart", hanging)
    asked = found.reel(20.0)
    run_one(found.runtime, owner="here/1", suspects=None)
    stopping.clear()
    monkeypatch.undo()
    with found.runtime.db.read() as session:
        assert (get(session, asked.job_id).state, get(session, asked.job_id).attempts) == ("waiting", 0)
    found.work()
    assert found.now(asked).state == "ready"


@pytest.mark.parametrize("kind", ["clip", "reel"])
def test_operators_hear_of_a_store_that_is_full(
    found: Desk, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def full(*_: object, **__: object) -> Stored:
        raise StorageFullError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(found.runtime.storage, "put", full)
        asked = found.clip(3.0, 4.0) if kind == "clip" else found.reel(5.0)
        found.work()
    with found.runtime.db.read() as session:
        alert = session.get_one(Alert, "storage_full")
        assert (alert.message, alert.recovered_at) == ("no room", None)
    found.hurry()
    found.work()
    with found.runtime.db.read() as session:
        assert session.get_one(Alert, "storage_full").recovered_at is not None
    if kind == "clip":
        found.delete(asked.id)


def test_where_there_is_less_to_show_the_reel_says_so(found: Desk, tmp_path: Path) -> None:
    asked = found.reel(500.0)
    found.work()
    reel = found.now(asked)
    assert isinstance(reel, Reel)
    assert reel.highlights == [h.id for h in found.highlights() if h.score is not None]
    found.runtime.storage.get(reel.key or "", tmp_path / "reel.mp4")
    seconds = probe(tmp_path / "reel.mp4").duration
    assert reel.seconds == pytest.approx(seconds, abs=0.1)
    assert reel.note == f"{reel.seconds:.1f} s, not 500: there is no more worth showing"


def test_what_was_voted_down_is_in_no_reel(found: Desk) -> None:
    first, *others = found.highlights()
    found.vote(first.id, "drop")
    asked = found.reel(500.0)
    found.work()
    reel = found.now(asked)
    assert isinstance(reel, Reel)
    assert reel.highlights == [h.id for h in others]
    waiting = found.reel(500.0)
    for other in others:
        found.vote(other.id, "drop")
    with pytest.raises(ConflictError, match="no highlight"):
        found.reel(500.0)
    found.work()
    late = found.now(waiting)
    assert isinstance(late, Reel)
    assert (late.state, late.error_code) == ("failed", "conflict")
    for highlight in (first, *others):
        found.vote(highlight.id, "keep")


def test_nobody_elses_stream_is_joined_or_cut(found: Desk) -> None:
    found.found("org_9")
    with found.runtime.db.begin() as session:
        act = Act(found.runtime, Caller("org_9"), session=session)
        with pytest.raises(NotFoundError):
            results.request_reel(act, "str_1", ReelCreate(target_seconds=10.0))
        with pytest.raises(NotFoundError):
            results.request_clip(act, "str_1", ClipCreate(start=1.0, end=2.0))
