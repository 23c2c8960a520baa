"""Uploads over real sockets: whole, in pieces, cut off, wrong, too much; what fails leaves nothing behind."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from sqlalchemy import select

from tests.api.serving import Served, serving
from tests.api.world import World, world_on
from tests.services import Backend, SQLite
from tests.storage.conftest import bucket, s3_client  # noqa: F401 - fixtures
from tests.walks.command import until
from tldr_highlight.core.db import new_id, now
from tldr_highlight.core.work import enqueue, run_one
from tldr_highlight.errors import StorageError, StorageFullError, StorageRefusedError
from tldr_highlight.storage.base import ObjectStore
from tldr_highlight.storage.s3 import S3Store
from tldr_highlight.streams import uploads as service
from tldr_highlight.streams.models import Stream, Upload
from tldr_highlight.streams.resolvers import resolve
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy.models import Alert, AuditRecord, Organization
from tldr_highlight.usage.models import UsageTotal
from tldr_highlight.web import incoming

UPLOADS = "/api/v1/uploads"
PIECE = {"Content-Type": "application/offset+octet-stream"}
BYTES = random.Random(20261125).randbytes(3_000_000)
SHA256 = hashlib.sha256(BYTES).hexdigest()


class Depot:
    """A served world, an organization in it, and its key."""

    def __init__(self, world: World, served: Served) -> None:
        self.world, self.served = world, served
        self.organization = world.organization()
        self.key = world.key(self.organization)
        self.http = httpx2.Client(base_url=served.url, headers=self.key, timeout=20)

    @property
    def store(self) -> ObjectStore:
        return self.world.runtime.storage

    def send(self, data: Any = BYTES, query: str = "", **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(UPLOADS + query, content=data, headers=named)

    def begin(self, length: int = len(BYTES), **metadata: str) -> str:
        """A tus upload: its address."""
        said = ",".join(f"{n} {base64.b64encode(v.encode()).decode()}" for n, v in metadata.items())
        headers = {"Upload-Length": str(length), "Tus-Resumable": "1.0.0", "Upload-Metadata": said}
        answer = self.http.post(UPLOADS, headers=headers)
        assert answer.status_code == 201, answer.text
        assert answer.headers["tus-resumable"] == "1.0.0"
        return answer.headers["location"]

    def patch(self, path: str, offset: int, data: Any) -> httpx2.Response:
        return self.http.patch(path, content=data, headers={**PIECE, "Upload-Offset": str(offset)})

    def offset(self, path: str) -> int:
        answer = self.http.head(path)
        assert answer.status_code == 200, answer.headers
        return int(answer.headers["upload-offset"])

    def rows(self) -> list[Upload]:
        with self.world.runtime.db.read() as session:
            return list(session.scalars(Upload.of(self.organization).order_by(Upload.id)))

    def stored(self) -> int:
        """Bytes that the ledger has."""
        with self.world.runtime.db.read() as session:
            total = UsageTotal.of(self.organization).where(UsageTotal.metric == "stored_bytes")
            return sum(row.amount for row in session.scalars(total))

    def work(self) -> None:
        """Do what waits: files are removed by work."""
        while run_one(self.world.runtime, owner="test"):
            pass

    def left(self) -> list[str]:
        """What there is in the store."""
        return [each.key for each in self.store.list(self.organization)]

    def nothing_left(self) -> None:
        self.work()
        assert (self.rows(), self.left(), self.stored()) == ([], [], 0)
        folder = self.world.runtime.data_dir / "files" / self.organization
        assert [each for each in folder.rglob("*") if each.is_file()] == []


@pytest.fixture(scope="module")
def house(sqlite: SQLite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Served]]:
    folder = tmp_path_factory.mktemp("uploads")
    with (
        sqlite.databases(folder) as new,
        world_on(Backend("sqlite", new), folder, disk_reserve_mb=0) as world,
        serving(world.app) as served,
    ):
        yield world, served


@pytest.fixture
def depot(house: tuple[World, Served]) -> Iterator[Depot]:
    made = Depot(*house)
    with made.http:
        yield made


@pytest.fixture(params=["local", "s3"])
def either(request: pytest.FixtureRequest, depot: Depot, monkeypatch: pytest.MonkeyPatch) -> Depot:
    """With each store."""
    if request.param == "s3":
        new: Callable[..., ObjectStore] = request.getfixturevalue("bucket")
        monkeypatch.setattr(depot.world.runtime, "storage", new())
    return depot


# --- whole ---------------------------------------------------------------------------------------------


def test_a_file_is_stored_as_it_was_sent(either: Depot) -> None:
    answer = either.send(query="?filename=match.mp4", Content_Type="video/mp4", X_Content_SHA256=SHA256)
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    assert (upload["state"], upload["bytes"], upload["offset"]) == ("ready", len(BYTES), len(BYTES))
    assert (upload["sha256"], upload["filename"], upload["content_type"]) == (
        SHA256,
        "match.mp4",
        "video/mp4",
    )
    assert answer.headers["location"] == f"{UPLOADS}/{upload['id']}"
    (row,) = either.rows()
    with either.store.open(row.key) as body:
        assert body.read() == BYTES
    assert either.stored() == len(BYTES)
    assert either.http.get(answer.headers["location"]).json() == upload
    assert either.http.get(UPLOADS).json()["data"] == [upload]
    assert either.http.delete(answer.headers["location"]).status_code == 204
    either.work()
    assert (either.rows(), either.left(), either.stored()) == ([], [], 0)
    with either.world.runtime.db.read() as session:
        mine = select(AuditRecord.action).where(AuditRecord.object_id == upload["id"])
        assert session.scalars(mine.order_by(AuditRecord.id)).all() == [
            "upload.begun", "upload.finished", "upload.deleted",
        ]  # fmt: skip


def test_a_file_of_unknown_length(depot: Depot) -> None:
    answer = depot.send(iter([BYTES[:100_000], BYTES[100_000:]]))
    assert answer.status_code == 201
    assert answer.json()["sha256"] == SHA256
    assert depot.send(b"").json()["bytes"] == 0


def test_a_worker_on_this_machine_opens_it_without_a_copy(either: Depot, tmp_path: Path) -> None:
    upload = either.send().json()
    source = Source(upload_id=upload["id"])
    resolved = resolve(either.world.runtime, source, organization_id=either.organization, scratch=tmp_path)
    assert isinstance(resolved.origin, Path)
    assert resolved.origin.read_bytes() == BYTES
    assert bool(list(tmp_path.iterdir())) == isinstance(either.store, S3Store)


PIECED = {"Content_Type": PIECE["Content-Type"]}
WRONG = {
    "another hash": ({"X_Content_SHA256": "0" * 64}, 422, "object_mismatch"),
    "another digest": ({"Content_Digest": "sha-256=:" + "A" * 43 + "=:"}, 422, "object_mismatch"),
    "no hash": ({"X_Content_SHA256": "zz"}, 400, "request_invalid"),
    "a digest of another kind": ({"Content_Digest": "md5=:abc=:"}, 400, "request_invalid"),
    "another version of tus": ({"Tus_Resumable": "0.2.2"}, 412, "tus_version"),
    "a length that is told later": ({"Upload_Defer_Length": "1"}, 400, "request_invalid"),
    "a first piece of another type": (
        {"Upload_Length": "3000000", "Content_Type": "video/mp4"}, 415, "body_type_unsupported",
    ),
    "a first piece that is too long": ({"Upload_Length": "1000", **PIECED}, 413, "body_too_large"),
    "a first piece with another hash": (
        {"Upload_Length": "3000000", "X_Content_SHA256": "0" * 64, **PIECED}, 422, "object_mismatch",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "status", "code"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_leaves_nothing(depot: Depot, headers: Any, status: int, code: str) -> None:
    answer = depot.send(**headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert depot.organization not in answer.text  # nor where it was to be kept
    depot.nothing_left()


def test_a_first_piece_that_turns_out_too_long_leaves_nothing(depot: Depot) -> None:
    answer = depot.send(iter([BYTES[:700], BYTES[700:1400]]), Upload_Length="1000", **PIECED)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    depot.nothing_left()


def test_a_first_piece_that_breaks_off_is_gone_on_with(depot: Depot) -> None:
    with contextlib.closing(socket.create_connection(depot.served.address)) as connection:
        head = f"POST {UPLOADS} HTTP/1.1\r\nhost: x\r\nx-api-key: {depot.key['X-API-Key']}\r\n"
        head += f"content-type: {PIECE['Content-Type']}\r\nupload-length: {len(BYTES)}\r\n"
        connection.sendall(f"{head}content-length: {len(BYTES)}\r\n\r\n".encode() + BYTES[:1_000_000])
    until(lambda: any(row.offset for row in depot.rows()), 10)
    [upload] = depot.http.get(UPLOADS).json()["data"]
    path = f"{UPLOADS}/{upload['id']}"
    assert depot.patch(path, upload["offset"], BYTES[upload["offset"] :]).status_code == 204
    assert depot.http.get(path).json()["sha256"] == SHA256


def test_a_sender_who_leaves_leaves_nothing(depot: Depot) -> None:
    with contextlib.closing(socket.create_connection(depot.served.address)) as connection:
        head = f"POST {UPLOADS} HTTP/1.1\r\nhost: x\r\nx-api-key: {depot.key['X-API-Key']}\r\n"
        connection.sendall(f"{head}content-length: {len(BYTES)}\r\n\r\n".encode() + BYTES[:1_000_000])
        until(depot.rows)
    until(lambda: not depot.rows())
    depot.nothing_left()


@pytest.mark.parametrize("pause", [1.5, 0.05], ids=["silent", "dripping"])
def test_slow_senders_are_put_out(depot: Depot, monkeypatch: pytest.MonkeyPatch, pause: float) -> None:
    monkeypatch.setattr(incoming, "SILENT_SECONDS", 0.4)

    def drip() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x"
            time.sleep(pause)

    with contextlib.suppress(httpx2.WriteError, httpx2.ReadError):  # it may close before we have heard why
        answer = depot.send(drip())
        assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")
    depot.nothing_left()


# --- in pieces -----------------------------------------------------------------------------------------


def test_an_upload_goes_on_where_it_broke(either: Depot) -> None:
    path = either.begin(filename="match.mp4", filetype="video/mp4", sha256=SHA256)
    assert either.offset(path) == 0
    assert either.patch(path, 0, BYTES[:1_000_000]).headers["upload-offset"] == "1000000"
    with contextlib.closing(socket.create_connection(either.served.address)) as connection:
        head = f"PATCH {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {either.key['X-API-Key']}\r\n"
        head += "content-type: application/offset+octet-stream\r\nupload-offset: 1000000\r\n"
        connection.sendall(f"{head}content-length: 2000000\r\n\r\n".encode() + BYTES[1_000_000:1_700_000])
    until(lambda: either.offset(path) > 1_000_000)
    reached = either.offset(path)
    assert reached <= 1_700_000
    wrong = either.patch(path, reached - 1, BYTES[reached - 1 :])
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["offset"]) == (
        409,
        "upload_offset",
        reached,
    )
    last = either.patch(path, reached, BYTES[reached:])
    assert (last.status_code, last.content) == (204, b"")
    upload = either.http.get(path).json()
    assert (upload["state"], upload["sha256"], upload["filename"]) == ("ready", SHA256, "match.mp4")
    with either.store.open(either.rows()[0].key) as body:
        assert body.read() == BYTES
    again = either.patch(path, len(BYTES), b"")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_a_hash_that_is_wrong_at_the_end_leaves_nothing(either: Depot) -> None:
    path = either.begin(sha256="0" * 64)
    assert either.patch(path, 0, BYTES[:1_000_000]).status_code == 204
    last = either.patch(path, 1_000_000, BYTES[1_000_000:])
    assert (last.status_code, last.json()["code"]) == (422, "object_mismatch")
    assert either.http.head(path).status_code == 404
    either.work()
    assert (either.rows(), either.left(), either.stored()) == ([], [], 0)


def test_of_two_senders_one_wins(depot: Depot) -> None:
    path = depot.begin()
    go = threading.Event()

    def slow() -> Iterator[bytes]:
        yield BYTES[:1_000_000]
        assert go.wait(10)
        yield BYTES[1_000_000:]

    answers: list[httpx2.Response] = []
    first = threading.Thread(target=lambda: answers.append(depot.patch(path, 0, slow())))
    first.start()
    until(lambda: depot.rows()[0].holder)
    second = depot.patch(path, 0, BYTES)
    assert (second.status_code, second.json()["code"]) == (409, "upload_busy")
    assert second.headers["retry-after"] == "2"
    go.set()
    first.join(20)
    assert answers[0].status_code == 204
    assert depot.http.get(path).json()["sha256"] == SHA256


def test_more_than_was_announced_is_refused(depot: Depot) -> None:
    path = depot.begin(10)
    answer = depot.patch(path, 0, b"x" * 11)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    answer = depot.patch(path, 0, iter([b"x" * 5, b"x" * 6]))
    assert answer.status_code == 413
    assert depot.patch(path, depot.offset(path), b"x" * (10 - depot.offset(path))).status_code == 204


def test_what_a_dead_process_wrote_is_found_again(depot: Depot) -> None:
    """Its bytes are in the store, its row says nothing of them, and it seems to be at it still."""
    path = depot.begin()
    (row,) = depot.rows()
    writer = depot.store.resume(depot.world.runtime.vault.open(row.token or ""))
    writer.write(BYTES[:500_000])
    writer.suspend()
    with depot.world.runtime.db.begin() as session:
        session.get_one(Upload, row.id).held_until = now() + timedelta(seconds=0.5)
    assert depot.patch(path, 0, BYTES[:1000]).json()["code"] == "upload_busy"
    until(lambda: depot.rows()[0].held_until < now())
    assert depot.patch(path, 0, BYTES[:1000]).json()["code"] == "upload_offset"
    assert depot.offset(path) == 500_000
    assert depot.patch(path, 500_000, BYTES[500_000:]).status_code == 204
    assert depot.http.get(path).json()["sha256"] == SHA256


def test_pieces_of_another_type_are_refused(depot: Depot) -> None:
    path = depot.begin()
    answer = depot.http.patch(path, content=b"x", headers={"Upload-Offset": "0"})
    assert (answer.status_code, answer.json()["code"]) == (415, "body_type_unsupported")
    options = depot.http.options(UPLOADS)
    assert options.headers["tus-version"] == "1.0.0"
    assert "creation" in options.headers["tus-extension"]


# --- when the store or a hold fails --------------------------------------------------------------------


def meddle(depot: Depot, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None]) -> None:
    """Have `change` do something to each writer that goes on."""
    resume = depot.store.resume

    def changed(token: str) -> Any:
        writer = resume(token)
        change(writer)
        return writer

    monkeypatch.setattr(depot.store, "resume", changed)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


FAILING = [("write",), ("suspend",), ("finish",), ("write", "suspend"), ("finish", "suspend")]


@pytest.mark.parametrize("failing", FAILING, ids="+".join)
def test_a_store_that_fails_once_costs_no_upload(
    either: Depot, monkeypatch: pytest.MonkeyPatch, failing: tuple[str, ...]
) -> None:
    path = either.begin(sha256=SHA256)
    assert either.patch(path, 0, BYTES[:1_000_000]).status_code == 204
    away = StorageError("the bucket is away")

    def change(writer: Any) -> None:
        for each in failing:
            monkeypatch.setattr(writer, each, raising(away))

    with monkeypatch.context() as once:
        meddle(either, once, change)
        until_end = 2_000_000 if failing == ("suspend",) else len(BYTES)
        answer = either.patch(path, 1_000_000, BYTES[1_000_000:until_end])
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert either.rows()[0].holder is None
    reached = either.offset(path)
    assert reached >= 1_000_000
    answer = either.patch(path, reached, BYTES[reached:])
    if answer.status_code == 409:  # more is there than could be told
        reached = answer.json()["offset"]
        answer = either.patch(path, reached, BYTES[reached:])
    assert answer.status_code == 204, answer.text
    assert either.http.get(path).json()["sha256"] == SHA256


def test_a_store_that_cannot_go_on_holds_up_nobody(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    path = depot.begin(sha256=SHA256)
    with monkeypatch.context() as once:
        once.setattr(depot.store, "resume", raising(StorageError("the bucket is away")))
        assert depot.patch(path, 0, BYTES).status_code == 503
        assert depot.send().status_code == 503
    assert [f"{UPLOADS}/{row.id}" for row in depot.rows()] == [path]  # nobody was told the other's id
    assert depot.patch(path, 0, BYTES).status_code == 204


@pytest.mark.parametrize("error", [StorageFullError, StorageRefusedError])
def test_what_the_store_will_never_take_leaves_nothing(
    depot: Depot, monkeypatch: pytest.MonkeyPatch, error: type[StorageError]
) -> None:
    path = depot.begin()
    with monkeypatch.context() as once:
        meddle(depot, once, lambda writer: once.setattr(writer, "write", raising(error("no"))))
        assert depot.patch(path, 0, BYTES).json()["code"] == error.code
    depot.nothing_left()


@pytest.mark.parametrize("whole", [False, True], ids=["piece", "whole"])
def test_a_call_that_lost_its_hold_leaves_its_successor_alone(
    either: Depot, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr(service, "RENEW_SECONDS", 0.0)
    path = "" if whole else either.begin(sha256=SHA256)
    go, writers = threading.Event(), list[Any]()
    meddle(either, monkeypatch, writers.append)

    def slow() -> Iterator[bytes]:
        yield BYTES[:1_000_000]
        assert go.wait(10)
        yield BYTES[1_000_000:]

    def send() -> None:
        with contextlib.suppress(httpx2.WriteError, httpx2.ReadError):  # it may close before we heard why
            answers.append(either.send(slow()) if whole else either.patch(path, 0, slow()))

    answers: list[httpx2.Response] = []
    first = threading.Thread(target=send)
    first.start()
    until(lambda: writers and writers[0].offset == 1_000_000)
    path = path or f"{UPLOADS}/{either.rows()[0].id}"
    with monkeypatch.context() as once:
        once.setattr(service, "_check_open", lambda *_: None)  # its hold is over
        answer = either.patch(path, 0, BYTES[:2_000_000])
    if answer.status_code == 409:
        reached = answer.json()["offset"]
        answer = either.patch(path, reached, BYTES[reached:2_000_000])
    assert answer.status_code == 204, answer.text
    go.set()
    first.join(20)
    assert [(each.status_code, each.json()["code"]) for each in answers] in ([], [(409, "upload_busy")])
    assert either.offset(path) == 2_000_000
    assert either.patch(path, 2_000_000, BYTES[2_000_000:]).status_code == 204
    if not whole:  # else nobody knows that this is its end
        assert either.http.get(path).json()["sha256"] == SHA256


@pytest.mark.parametrize("length", [None, "1000"], ids=["whole", "tus"])
def test_an_upload_that_the_store_cannot_begin_leaves_nothing(
    depot: Depot, monkeypatch: pytest.MonkeyPatch, length: str | None
) -> None:
    monkeypatch.setattr(depot.store, "writer", raising(StorageError("the bucket is away")))
    headers = {"Upload-Length": length} if length else {}
    answer = depot.http.post(UPLOADS, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert depot.rows() == []


def test_the_store_is_asked_for_nothing_while_rows_are_deleted(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that hangs would hold the only write lock of SQLite."""
    deleted, over = depot.begin(), depot.begin()
    for path in (deleted, over):
        assert depot.patch(path, 0, BYTES[:1000]).status_code == 204
    asked: list[str] = []
    with monkeypatch.context() as once:
        meddle(depot, once, lambda writer: asked.append(writer.token))
        assert depot.http.delete(deleted).status_code == 204
        with depot.world.runtime.db.begin() as session:
            for upload in session.scalars(Upload.of(depot.organization)):
                upload.expires_at = now() - timedelta(seconds=1)
            sweep = enqueue(session, "upload_sweep").id
        run_one(depot.world.runtime, owner="test", id=sweep)
        assert (depot.rows(), asked) == ([], [])
        depot.work()
        assert len(asked) == 2
    depot.nothing_left()


def test_a_process_that_dies_while_it_finishes_holds_up_nobody_for_long(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is held for no longer than while bytes come, and that is renewed for as long as it takes."""
    monkeypatch.setattr(service, "HOLD_SECONDS", 5.0)
    monkeypatch.setattr(service, "RENEW_SECONDS", 0.05)
    go = threading.Event()

    def change(writer: Any) -> None:
        finish = writer.finish

        def slow(**how: Any) -> Any:
            assert go.wait(10)
            return finish(**how)

        writer.finish = slow

    meddle(depot, monkeypatch, change)
    path = depot.begin()
    sending = threading.Thread(target=lambda: answers.append(depot.patch(path, 0, BYTES)))
    answers: list[httpx2.Response] = []
    sending.start()
    try:
        seen: set[Any] = set()

        def renewed() -> bool:
            if until_ := depot.rows()[0].held_until:
                assert until_ < now() + timedelta(seconds=6)
                seen.add(until_)
            return len(seen) > 4

        until(renewed)
        assert depot.patch(path, 0, BYTES).json()["code"] == "upload_busy"
    finally:
        go.set()
        sending.join(20)
    assert answers[0].status_code == 204
    assert depot.http.get(path).json()["state"] == "ready"


# --- room ----------------------------------------------------------------------------------------------


def limited(depot: Depot, *, gb: float, plan: str = "STARTER") -> None:
    with depot.world.runtime.db.begin() as session:
        row = session.get_one(Organization, depot.organization)
        row.plan = plan
        row.overrides = {**row.overrides, "storage_gb": gb}


def test_what_the_plan_has_no_room_for_is_refused_before_it_comes(depot: Depot) -> None:
    limited(depot, gb=0.005)
    assert depot.send().status_code == 201
    answer = depot.send()
    assert (answer.status_code, answer.json()["code"]) == (402, "quota_exceeded")
    path = depot.begin(2_000_000)  # room for it is set aside
    assert depot.http.post(UPLOADS, headers={"Upload-Length": "1000"}).status_code == 402
    assert depot.http.delete(path).status_code == 204
    assert depot.http.post(UPLOADS, headers={"Upload-Length": "1000"}).status_code == 201


def test_a_quota_that_is_reached_in_the_middle_leaves_nothing(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "STEP", 500_000)
    limited(depot, gb=0.002)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 100_000
            yield BYTES[:100_000]
            time.sleep(0.005)

    with contextlib.suppress(httpx2.WriteError, httpx2.ReadError):  # it may close before we have heard why
        answer = depot.send(endless())
        assert (answer.status_code, answer.json()["code"]) == (402, "quota_exceeded")
    until(lambda: not depot.rows())
    depot.nothing_left()


def test_a_disk_that_becomes_full_leaves_nothing(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STEP", 500_000)
    monkeypatch.setattr(depot.world.runtime.settings, "disk_reserve_mb", 1)
    free = iter([10**9] * 3)
    monkeypatch.setattr(depot.store, "free", lambda: next(free, 10))
    path = depot.begin()
    answer = depot.patch(path, 0, BYTES)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    refused = depot.send()
    assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
    depot.nothing_left()
    with depot.world.runtime.db.begin() as session:
        session.delete(session.get_one(Alert, "storage_full"))  # the operators were told


def test_operators_do_not_hear_of_a_file_that_is_larger_than_the_room_there_is(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depot.store, "free", lambda: 2 * service.STEP)
    answer = depot.http.post(UPLOADS, headers={"Upload-Length": str(3 * service.STEP)})
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    with depot.world.runtime.db.read() as session:
        assert session.get(Alert, "storage_full") is None


def test_parallel_uploads_never_take_more_than_there_is(depot: Depot) -> None:
    """T7: 20 at once where there is room for 3."""
    limited(depot, gb=0.0031)
    answers: list[int] = []

    def send() -> None:
        answers.append(depot.send(BYTES[:1_000_000]).status_code)

    threads = [threading.Thread(target=send) for _ in range(15)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert answers.count(201) == 3
    assert set(answers) == {201, 402}
    assert depot.stored() == 3_000_000


# --- how long ------------------------------------------------------------------------------------------


def test_what_nobody_finishes_or_uses_goes(depot: Depot) -> None:
    unfinished, ready, used = depot.begin(), depot.send().json()["id"], depot.send().json()["id"]
    assert depot.patch(unfinished, 0, BYTES[:1000]).status_code == 204
    named = {"source": "x", "source_label": "x", "platform": "upload", "protocol": "file"}
    with depot.world.runtime.db.begin() as session:
        for upload in session.scalars(Upload.of(depot.organization)):
            upload.expires_at = None if upload.id == used else now() - timedelta(seconds=1)
        session.add(
            Stream(
                organization_id=depot.organization, job_id=new_id("job"), options={}, upload_id=used,
                source_kind="upload", **named,
            )
        )  # fmt: skip
        enqueue(session, "upload_sweep")
    depot.work()
    assert [row.id for row in depot.rows()] == [used]
    assert len(depot.left()) == 1
    assert depot.stored() == len(BYTES)
    refused = depot.http.delete(f"{UPLOADS}/{used}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert ready != used


def test_memory_stays_flat(depot: Depot) -> None:
    """200 MB in one call, while other calls are answered."""
    piece = BYTES[:1_000_000]
    process = psutil.Process()
    depot.send(piece)
    before = process.memory_info().rss
    most = before

    def pieces() -> Iterator[bytes]:
        nonlocal most
        for number in range(200):
            if number % 20 == 0:
                most = max(most, process.memory_info().rss)
                assert httpx2.get(f"{depot.served.url}/health/live").status_code == 200
            yield piece

    answer = depot.send(pieces())
    assert (answer.status_code, answer.json()["bytes"]) == (201, 200_000_000)
    assert most - before < 30_000_000


def test_a_server_that_stops_keeps_what_came(sqlite: SQLite, tmp_path: Path) -> None:
    with (
        sqlite.databases(tmp_path) as new,
        world_on(Backend("sqlite", new), tmp_path, disk_reserve_mb=0) as world,
    ):
        with serving(world.app) as served:
            depot = Depot(world, served)
            path = depot.begin()
            go = threading.Event()

            def slow() -> Iterator[bytes]:
                yield BYTES[:1_000_000]
                go.wait(10)

            def send() -> None:
                with contextlib.suppress(httpx2.TransportError):
                    depot.patch(path, 0, slow())

            sending = threading.Thread(target=send)
            sending.start()
            until(lambda: depot.rows()[0].holder)
            time.sleep(0.3)
            began = time.monotonic()
            served.stop()
            assert time.monotonic() - began < 6
            go.set()
            sending.join(10)
            depot.http.close()
        (row,) = depot.rows()
        assert (row.offset, row.holder) == (1_000_000, None)
