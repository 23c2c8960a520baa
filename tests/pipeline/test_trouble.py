"""What goes wrong with a stream: what is kept, what waits, what is told, and to whom."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import av
import pytest
from sqlalchemy import select

from tests.core.servers import Peer, Request, Server, parts
from tests.pipeline.office import ORGANIZATION, Office
from tests.schema import tables
from tests.services import SQLite
from tests.walks.films import film
from tldr_highlight.analysis.base import Moment
from tldr_highlight.analysis.dimensions import preset
from tldr_highlight.analysis.moments import MomentOptions
from tldr_highlight.core import work
from tldr_highlight.core.outbox import Mail
from tldr_highlight.core.work import CancelledError, LaterError, StoppingError
from tldr_highlight.errors import (
    DiskFullError,
    ObjectDamagedError,
    StorageError,
    StorageFullError,
    TldrError,
)
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.media.types import ClipSpec, CutOptions
from tldr_highlight.pipeline import publish, run, tidy
from tldr_highlight.pipeline.checkpoint import Checkpoint
from tldr_highlight.pipeline.wanted import Wanted
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.streams.models import Stream
from tldr_highlight.streams.progress import waiting_of
from tldr_highlight.streams.scratch import scratch_of
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy import alerts
from tldr_highlight.tenancy.models import Alert, AuditRecord, Organization, User
from tldr_highlight.usage import quotas
from tldr_highlight.worker.kinds import product_kinds


@pytest.fixture(scope="module")
def match(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four seconds with a roar at the twelfth."""
    return film(tmp_path_factory.mktemp("films") / "match.mp4")


@pytest.fixture(scope="module")
def long_match(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty seconds, a roar every twenty; its index is at its end, as is usual."""
    path = tmp_path_factory.mktemp("films") / "long.mp4"
    return film(path, (15, 35, 55, 72), seconds=80.0, size=(320, 180))


@pytest.fixture
def office(sqlite: SQLite, tmp_path: Path) -> Iterator[Office]:
    with sqlite.databases(tmp_path) as new:
        settings = Settings(
            data_dir=tmp_path / "data",
            database_url=new(tables),
            allow_networks="127.0.0.0/8",
            allow_local_paths="/",
        )
        with opened(settings, product_kinds()) as runtime:
            office = Office(runtime)
            office.found()
            yield office


def types(office: Office, id: str = "str_1") -> list[str]:
    return [e.type for e in office.events(id) if e.type != "stream.progress"]


# --- sources -------------------------------------------------------------------------------------------


class Dying:
    """A server of a playlist that has lost what is behind a segment, until it is healed."""

    def __init__(self, folder: Path, source: Path, lost: int) -> None:
        self.folder = folder
        self.lost: int | None = lost
        options = {"hls_time": "4", "hls_list_size": "0", "hls_playlist_type": "vod"}
        with (
            av.open(str(source)) as given,
            av.open(str(folder / "list.m3u8"), "w", format="hls", options=options) as made,
        ):
            streams = {each: made.add_stream_from_template(each) for each in given.streams}
            for packet in given.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream]
                    made.mux(packet)

    def __call__(self, request: Request, peer: Peer) -> object:
        name = request.target.rpartition("/")[2]
        number = re.search(r"(\d+)\.ts$", name)
        if self.lost is not None and number and int(number[1]) >= self.lost:
            peer.reply("503 Service Unavailable")
            return None
        return parts((self.folder / name).read_bytes(), 'ETag: "1"')(request, peer)


def test_a_source_that_dies_half_way_is_partly_done_and_goes_on_later(
    office: Office, long_match: Path, tmp_path: Path
) -> None:
    dying = Dying(tmp_path, long_match, 12)
    with Server(dying) as server:
        office.submit(Source(url=f"{server.url}list.m3u8"))
        for _ in range(8):  # each try gets 2 s further at first, as shorter pieces are whole
            office.hurry()
            office.work()
        stream = office.stream()
        assert (stream.state, stream.error_code) == ("partially_completed", "source_unavailable")
        assert 0 < stream.analysed_seconds < 70
        before = {h.id: (h.start, h.clip["sha256"]) for h in office.highlights()}
        assert len(before) >= 1
        events = types(office)
        assert events.count("highlight.ready") == len(before)
        assert events[-1] == "stream.partially_completed"

        dying.lost = None
        office.again()
        office.work()
    stream = office.stream()
    assert (stream.state, stream.error_code) == ("completed", None)
    found = office.highlights()
    assert {h.id: (h.start, h.clip["sha256"]) for h in found if h.id in before} == before
    ranges = sorted((h.start, h.end) for h in found)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges)), ranges
    for roar in (15, 35, 55, 72):
        assert sum(start - 1 < roar < end + 1 for start, end in ranges) == 1, ranges
    told = [e.data["highlight_id"] for e in office.events() if e.type == "highlight.ready"]
    assert sorted(told) == sorted(h.id for h in found)
    assert sum(v for k, v in office.usage().items() if "segment" in k) == pytest.approx(80_000, abs=300)


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_what_was_found_is_published_when_the_source_is_gone(office: Office, match: Path, how: str) -> None:
    """All is analysed, the moments are known only at the end, and there is no way to the source any more."""
    well, gone = parts(match.read_bytes(), 'ETag: "1"'), False

    def answer(request: Request, peer: Peer) -> object:
        if not gone:
            return well(request, peer)
        return peer.reply("404 Not Found" if how == "gone" else "503 Service Unavailable")

    class Died(BaseException):
        pass

    def dying(self: run.Story, moments: Any) -> None:
        if self.checkpoint.whole:
            raise Died

    with Server(answer) as server:
        office.submit(Source(url=f"{server.url}match.mp4"), max_highlights=5)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run.Story, "publish", dying)
            with pytest.raises(Died):
                office.work()
        assert (office.stream().analysed_seconds, list(office.highlights())) == (
            pytest.approx(24, abs=0.2),
            [],
        )
        with office.runtime.db.begin() as session:
            work.get(session, office.stream().job_id).lease_until = work.now()
        gone = True
        for _ in range(run.TRIES + 1):
            office.hurry()
            office.work()
    stream = office.stream()
    assert stream.state == "partially_completed"
    [highlight] = office.highlights()
    assert highlight.start - 1 < 12 < highlight.end + 1
    assert (highlight.state, highlight.error_code) == ("failed", "cut_source_failed")
    assert stream.error_code in str(highlight.error_message)
    assert types(office)[-3:] == ["highlight.detected", "highlight.failed", "stream.partially_completed"]
    assert office.job().attempts <= run.TRIES


def test_what_was_published_early_and_deleted_does_not_come_back(office: Office, long_match: Path) -> None:
    """The source breaks when all is analysed, and is there again when somebody tries the stream again."""
    well, gone = parts(long_match.read_bytes(), 'ETag: "1"'), False

    def answer(request: Request, peer: Peer) -> object:
        return peer.reply("404 Not Found") if gone else well(request, peer)

    with Server(answer) as server:
        office.submit(Source(url=f"{server.url}match.mp4"), max_highlights=3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run.Story, "settle", raising(StorageError("not now")))
            office.work()
        gone = True
        office.hurry()
        office.work()
        assert office.stream().state == "partially_completed"
        early = office.highlights()
        assert len(early) == 3
        with office.runtime.db.begin() as session:
            session.delete(session.get_one(Highlight, early[1].id))
        gone = False
        office.again()
        office.work()
    assert office.stream().state == "completed"
    assert [h.id for h in office.highlights()] == [early[0].id, early[2].id]


def raising(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(("most", "expected"), [(None, [5, 40, 60, 80]), (3, [60, 80]), (1, [])])
def test_of_a_limit_what_was_published_early_has_its_part(most: int | None, expected: list[int]) -> None:
    story = object.__new__(run.Story)
    story.checkpoint = Checkpoint(early=[[18.0, 22.0]])
    story.wanted = Wanted(preset("general"), MomentOptions(max_highlights=most), CutOptions(), 20.0)
    found = [a_moment(at, score) for at, score in ((5, 0.5), (21, 0.9), (40, 0.6), (60, 0.8), (80, 0.7))]
    assert sorted(m.peak for m in story._new(found)) == expected


def a_moment(at: float, score: float) -> Moment:
    return Moment(
        start=at - 2, end=at + 2, peak=at, score=score, confidence=1.0, types=(), title="", dimensions={},
        evidence=(), clip_start=at - 5, clip_end=at + 5,
    )  # fmt: skip


def test_a_source_that_is_not_there_fails_with_its_reason(office: Office) -> None:
    def gone(request: Request, peer: Peer) -> None:
        peer.reply("404 Not Found")

    with Server(gone) as server:
        office.submit(Source(url=f"{server.url}match.mp4"))
        office.work()
    stream = office.stream()
    assert (stream.state, stream.error_code, stream.admitted) == ("failed", "source_not_found", False)
    assert types(office) == ["stream.started", "stream.failed"]


def test_another_file_than_before_is_not_taken_for_the_same(office: Office, match: Path) -> None:
    office.submit(match)
    office.work()
    with office.runtime.db.begin() as session:
        row = work.get(session, office.stream().job_id)
        row.checkpoint = {**row.checkpoint, "version": "abc", "whole": False}
        row.state = "failed"
    with pytest.MonkeyPatch.context() as patch:
        real = run.resolve
        patch.setattr(run, "resolve", lambda *a, **k: replace(real(*a, **k), version="def"))
        office.again()
        office.work()
    assert office.job().error_code == "source_changed"


# --- stopping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "state", "code"),
    [
        (CancelledError(), "cancelled", "conflict"),
        (ObjectDamagedError("not what was stored"), "partially_completed", "object_damaged"),
    ],
    ids=["cancelled", "failed"],
)
def test_a_stream_can_end_while_it_is_cut(
    office: Office, match: Path, why: Exception, state: str, code: str
) -> None:
    office.submit(match)

    def ending(self: run.Story, index: int, share: float) -> None:
        raise why

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Story, "_while_cutting", ending)
        office.work()
    stream = office.stream()
    assert (stream.state, stream.admitted) == (state, False)
    assert types(office) == ["stream.started", "highlight.detected", "highlight.failed", f"stream.{state}"]
    assert [(h.state, h.error_code) for h in office.highlights()] == [("failed", code)]  # nobody cuts it now
    assert list(office.runtime.storage.list(ORGANIZATION)) == []
    office.again()  # and what was found is cut
    office.work()
    assert [h.state for h in office.highlights()] == ["ready"]
    assert types(office)[-2:] == ["highlight.ready", "stream.completed"]


def test_a_source_that_is_silent_can_be_cancelled(office: Office, match: Path) -> None:
    asked = threading.Event()
    well = parts(match.read_bytes(), 'ETag: "1"')

    def silent(request: Request, peer: Peer) -> object:
        if request.headers["range"] == "bytes=0-511":  # the resolver's look
            return well(request, peer)
        asked.set()
        return peer.over.wait(60)

    with Server(silent) as server:
        office.submit(Source(url=f"{server.url}match.mp4"))
        worker = threading.Thread(target=office.work)
        worker.start()
        assert asked.wait(30)
        with office.runtime.db.begin() as session:
            work.cancel(session, session.get_one(Stream, "str_1").job_id)
        worker.join(10)
        assert not worker.is_alive()
    assert office.stream().state == "cancelled"


def test_a_worker_that_is_to_stop_leaves_its_stream_to_others(office: Office, match: Path) -> None:
    office.submit(match)

    def stopping(self: run.Story, index: int, share: float) -> None:
        raise StoppingError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Story, "_while_cutting", stopping)
        assert work.run_one(office.runtime, owner="here/1", suspects=None)
    assert (office.job().state, office.job().attempts, office.stream().state) == ("waiting", 0, "processing")
    office.work()
    assert office.stream().state == "completed"
    assert types(office).count("highlight.detected") == 1


def test_what_is_deleted_meanwhile_leaves_no_file(office: Office, match: Path) -> None:
    office.submit(match)
    real = publish.stored

    def stored(store: Any, highlight: Highlight, result: Any) -> Any:
        with office.runtime.db.begin() as session:
            session.delete(session.get_one(Highlight, highlight.id))
        return real(store, highlight, result)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "stored", stored)
        office.work()
    assert office.stream().state == "completed"
    assert list(office.runtime.storage.list(ORGANIZATION)) == []


def test_a_clip_that_fails_leaves_the_others_alone(office: Office, long_match: Path) -> None:
    office.submit(long_match)
    real = run.cut_apart

    def cut(visit: Any, specs: list[ClipSpec], **how: Any) -> Any:
        broken = specs[0].path.parent.name.endswith("0002")
        wrong = replace(specs[0], start=1000.0, end=1001.0)
        return real(visit, [wrong] if broken else specs, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "cut_apart", cut)
        office.work()
    states = [(h.state, h.error_code) for h in office.highlights()]
    assert states[1] == ("failed", "range_invalid")
    assert states[:1] + states[2:] == [("ready", None)] * (len(states) - 1)
    assert len(states) >= 3
    assert office.stream().state == "completed"


# --- shortages -----------------------------------------------------------------------------------------


class Full:
    """A store that takes nothing, for a reason."""

    def __init__(self, store: Any, error: Exception) -> None:
        self._store = store
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, *args: Any, **how: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    "error", [StorageFullError("no room"), StorageError("no answer"), DiskFullError("no space")], ids=type
)
def test_what_runs_out_is_waited_for_and_told_once(office: Office, match: Path, error: Exception) -> None:
    runtime = office.runtime
    with runtime.db.begin() as session:
        session.add(
            User(id="usr_1", email="root@x.org", email_key="root", password_hash="", is_operator=True)
        )
    store = runtime.storage
    runtime.storage = Full(store, error)  # type: ignore[assignment]
    office.submit(match)
    for _ in range(5):  # more than the tries there are
        office.hurry()
        assert work.run_one(runtime, owner="here/1", suspects=None)
    assert (office.job().state, office.job().attempts, office.stream().state) == ("waiting", 0, "processing")
    assert office.job().error_code == error.code  # type: ignore[attr-defined]
    assert list((runtime.data_dir / "scratch").iterdir()) == []
    with runtime.db.read() as session:
        letters = [m.context["cause"] for m in session.scalars(select(Mail)) if m.kind == "operator_alert"]
        assert letters == [error.code]  # type: ignore[attr-defined]

    runtime.storage = store
    office.hurry()
    office.work()
    assert office.stream().state == "completed"
    assert types(office).count("highlight.detected") == 1
    with runtime.db.read() as session:
        assert session.scalars(select(Alert)).one().recovered_at is not None
        noted = select(AuditRecord.action).where(AuditRecord.object_id == error.code)  # type: ignore[attr-defined]
        assert session.scalars(noted.order_by(AuditRecord.id)).all() == ["alert.raised", "alert.recovered"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("LEFT OUT: a full disk (mounting a small one takes root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("left", [20_000, 110_000, 180_000, 300_000])
def test_a_disk_that_is_full_is_waited_for_at_every_stage(
    sqlite: SQLite, tmp_path: Path, small_disk: Path, match: Path, left: int
) -> None:
    """Clip and pictures take 167 kB in the scratch folder, and as much in the store."""
    with sqlite.databases(tmp_path) as new:
        settings = Settings(data_dir=small_disk / "data", database_url=new(tables), allow_local_paths="/")
        with opened(settings, product_kinds()) as runtime:
            office = Office(runtime)
            office.found()
            office.submit(match)
            filler = small_disk / "filler"
            about = os.statvfs(small_disk)
            filler.write_bytes(bytes(about.f_bavail * about.f_frsize - left))
            office.work()
            full = "disk_full" if left < 150_000 else "storage_full"
            assert (office.job().state, office.job().error_code) == ("waiting", full)
            assert [h.state for h in office.highlights()] == ["detected"]
            assert list((runtime.data_dir / "scratch").iterdir()) == []
            filler.unlink()
            office.hurry()
            office.work()
            [highlight] = office.highlights()
            assert (office.stream().state, highlight.state) == ("completed", "ready")
            assert runtime.storage.stat(highlight.clip_key or "").sha256 == highlight.clip["sha256"]


def test_while_something_is_short_one_stream_at_a_time_tries(office: Office, match: Path) -> None:
    runtime = office.runtime
    office.submit(match, "str_1")
    office.submit(match, "str_2")
    with runtime.db.begin() as session:
        alerts.raised(session, StorageFullError("no room"))
        first, second = sorted(
            (work.get(session, session.get_one(Stream, f"str_{n}").job_id) for n in (1, 2)),
            key=lambda row: row.id,
        )
        first.state = "running"  # in another process
        first.lease_until = work.NEVER
        second.waits = 4  # it failed of it, too
    with pytest.MonkeyPatch.context() as patch:
        stood_back: list[str] = []

        def note(seconds: float, error: TldrError) -> LaterError:
            stood_back.append("later")
            return LaterError(seconds, error)

        patch.setattr("tldr_highlight.pipeline.shortage.LaterError", note)
        assert work.run_one(runtime, owner="here/1", id=second.id, suspects=None)
    assert stood_back == ["later"]
    with runtime.db.begin() as session:
        row = work.get(session, second.id)
        assert (row.state, row.attempts, row.waits) == ("waiting", 0, 4)
        waits_for = waiting_of(session.get_one(Stream, "str_2"), row, 1)
        assert waits_for is not None
        assert waits_for.reason == "storage_full"
        assert waits_for.message == StorageFullError.for_customers
        alerts.recovered(session, {"storage_full"})
        row.run_at = row.created_at
    assert work.run_one(runtime, owner="here/1", id=second.id, suspects=None)
    with runtime.db.read() as session:
        assert work.get(session, second.id).state == "done"


def test_a_quota_that_is_reached_keeps_what_there_is_and_waits(office: Office, long_match: Path) -> None:
    with office.runtime.db.begin() as session:
        organization = session.get_one(Organization, ORGANIZATION)
        organization.plan, organization.overrides = "STARTER", {"processing_minutes": 0.6}
    office.submit(long_match)
    office.work()
    stream, job = office.stream(), office.job()
    assert (stream.state, job.state, job.error_code) == ("processing", "waiting", "quota_exceeded")
    kept = stream.analysed_seconds
    assert 10 < kept <= 36
    with office.runtime.db.begin() as session:
        session.get_one(Organization, ORGANIZATION).overrides = {}
    office.hurry()
    office.work()
    assert office.stream().state == "completed"
    assert sum(v for k, v in office.usage().items() if "segment" in k) == pytest.approx(80_000, abs=300)
    with office.runtime.db.read() as session:
        assert session.scalars(select(Alert)).all() == []  # nothing the operator could do


@pytest.mark.parametrize("taken", ["before", "meanwhile"])
def test_a_clip_that_the_plan_has_no_room_for_is_not_stored(
    office: Office, match: Path, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if taken == "meanwhile":  # there was room when somebody looked
        monkeypatch.setattr(quotas, "require_storage", lambda *_: None)
    office.submit(match)
    office.room(1000)
    office.work()
    job = office.job()
    assert (office.stream().state, job.state, job.error_code) == ("processing", "waiting", "quota_exceeded")
    assert list(office.runtime.storage.list()) == []
    office.room(None)
    office.hurry()
    office.work()
    assert office.stream().state == "completed"
    assert [h.state for h in office.highlights()] == ["ready"]


# --- what is left over ---------------------------------------------------------------------------------


def test_files_that_nobody_refers_to_are_removed_after_a_day(
    office: Office, match: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.submit(match)
    office.work()
    store = office.runtime.storage
    kept = {file.key for file in store.list()}
    others = {f"{ORGANIZATION}/str_1/hl_9990001.mp4", f"{ORGANIZATION}/str_9/hl_9990001.jpg"}
    foreign = f"{ORGANIZATION}/uploads/upl_1"
    for key in (*others, foreign):
        store.put(key, match, content_type="video/mp4")
    for name in ("job_dead", "job_dead-1", f"{office.job().id}-1"):
        (office.runtime.data_dir / "scratch" / name).mkdir()
    with office.runtime.db.begin() as session:
        work.enqueue(session, "tidy", key="1")
    office.work()
    assert {file.key for file in store.list()} == kept | others | {foreign}  # they may be about to be named
    assert list((office.runtime.data_dir / "scratch").iterdir()) == []
    monkeypatch.setattr(tidy, "OLD", timedelta(0))
    office.hurry()
    office.work()
    assert {file.key for file in store.list()} == kept | {foreign}


def test_who_lost_a_job_leaves_its_next_run_alone(office: Office, match: Path) -> None:
    """It notices late, when another has claimed the job and works beside it, on this host."""
    office.submit(match)
    first, kept = contextlib.ExitStack(), list[bool]()

    def works(job: work.Job[Any]) -> None:
        folder = first.enter_context(scratch_of(job))
        with office.runtime.db.begin() as session:
            work.void_leases(session, "here/1")
        office.runtime.kinds = {"stream": replace(run.STREAM, run=works_on)}
        assert work.run_one(office.runtime, owner="here/2", id=job.id, suspects=None)
        assert not folder.exists()

    def works_on(job: work.Job[Any]) -> None:
        with scratch_of(job) as folder:
            (folder / "clip.mp4").write_bytes(b"clip")
            first.close()
            kept.append((folder / "clip.mp4").exists())

    office.runtime.kinds = {"stream": replace(run.STREAM, run=works)}
    office.work()
    assert kept == [True]
    assert list((office.runtime.data_dir / "scratch").iterdir()) == []


# --- reels ---------------------------------------------------------------------------------------------


def test_a_reel_that_was_asked_for_is_joined_at_the_end(office: Office, match: Path) -> None:
    office.submit(match, reel_seconds=6.0)
    office.work()
    with office.runtime.db.read() as session:
        [reel] = session.scalars(Reel.of(ORGANIZATION)).all()
    assert (reel.state, reel.stream_id) == ("ready", "str_1")


# --- strangers -----------------------------------------------------------------------------------------


def test_work_for_another_organization_is_dropped_and_audited(office: Office, match: Path) -> None:
    office.found("org_2")
    id = office.submit(match)
    with office.runtime.db.begin() as session:
        work.get(session, session.get_one(Stream, id).job_id).organization_id = "org_2"
    office.work()
    assert (office.job().state, office.job().error_code) == ("failed", "not_found")
    assert office.stream().state == "pending"  # untouched
    with office.runtime.db.read() as session:
        record = session.scalars(select(AuditRecord).where(AuditRecord.action == "work.dropped")).one()
    assert (record.details["said"], record.object_id, record.actor) == ("org_2", id, "system")
