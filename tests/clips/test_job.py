"""The work of clip jobs, on both databases: exact clips, each by itself, each cut once, each gone in time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as hooks
from sqlalchemy import func, select

from tests.clips.shop import Gate, Host, Shop, film, shop_on
from tests.core.servers import Request, Server
from tests.media_maker import read
from tests.services import Backend, SQLite
from tldr_highlight.clips.models import ClipItem, ClipJob
from tldr_highlight.core.faults import Faults
from tldr_highlight.core.work import Work
from tldr_highlight.errors import StorageFullError
from tldr_highlight.tenancy.models import Alert, AuditRecord, Organization
from tldr_highlight.usage.models import UsageTotal


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture
def host(films: Path) -> Host:
    return Host({"/film.mp4": film(films).read_bytes()})


@pytest.fixture
def server(host: Host) -> Iterator[Server]:
    with Server(host) as running:
        yield running


@pytest.fixture
def shop(backend: Backend, tmp_path: Path) -> Iterator[Shop]:
    with shop_on(backend, tmp_path) as opened:
        yield opened


@pytest.fixture
def light(sqlite: SQLite, tmp_path: Path) -> Iterator[Shop]:
    """For what no database has a part in."""
    with sqlite.databases(tmp_path) as new, shop_on(Backend("sqlite", new), tmp_path, clip_seconds=3) as made:
        yield made


class Points(Faults):
    """Has something done at each named point of the work that is passed."""

    def __init__(self, do: Callable[[str], None]) -> None:
        super().__init__()
        self.at = do


def states(job: dict[str, Any]) -> list[str]:
    return [clip["state"] for clip in job["clips"]]


def stored_bytes(shop: Shop) -> int:
    [amount] = shop.rows(select(UsageTotal.amount).where(UsageTotal.metric == "stored_bytes"))
    return amount


def test_a_job_from_beginning_to_end(shop: Shop, server: Server, host: Host, tmp_path: Path) -> None:
    """Exact clips, one error that is its clip's own, what is told, what is kept, and what is left at last."""
    url = f"{server.url}film.mp4"
    id = shop.order(url, (1.0, 3.0), (9.0, 4.0), (5.2, 6.0), options={"posters": True}, title="Final")
    assert shop.stored() == set()
    assert server.requests == []  # nothing is asked of the source in the call
    shop.work(id)
    job = shop.job(id)
    assert (job["state"], job["processed"], job["total"], job["error"]) == ("finished", 3, 3, None)
    assert (job["title"], job["resolver"]) == ("Final", "direct")
    first, bad, last = job["clips"]
    assert states(job) == ["ready", "failed", "ready"]
    assert bad["error"]["code"] == "range_invalid"
    numbers = [read(shop.fetch(f.key, tmp_path / f"{f.id}.mp4")).numbers for f in shop.files()]
    assert numbers == [list(range(25, 75)), list(range(130, 150))]
    assert (first["frames"], first["width"], first["height"], last["frames"]) == (50, 320, 180, 20)
    assert first["url"].startswith(shop.world.runtime.url + "/files/")
    assert first["poster_url"] is not None
    assert len(shop.stored()) == 4
    assert stored_bytes(shop) == sum(listed.bytes for listed in shop.world.runtime.storage.list())
    [event] = shop.events()
    told = {"clip_job_id": id, "total": 3, "succeeded": 2, "failed": 1, "delete_at": event.data["delete_at"]}
    assert (event.type, event.data) == ("clip_job.finished", told)
    assert list((shop.world.runtime.data_dir / "scratch").glob("*")) == []

    # the same again: nothing is cut, one more is; what both have stays until the last of them goes
    asked = len(server.requests)
    again = shop.order(url, (1.0, 3.0), (7.0, 8.0), (7.0, 8.0), options={"posters": True})
    shop.work(again)
    assert states(shop.job(again)) == ["ready"] * 3
    assert len(shop.files()) == 3  # equal clips of one job are one file
    assert len(server.requests) > asked
    shop.age(id)
    shop.sweep()
    assert shop.call("GET", f"/api/v1/clip-jobs/{id}").status_code == 404
    assert len(shop.stored()) == 4
    assert shop.call("DELETE", f"/api/v1/clip-jobs/{again}").status_code == 204
    assert shop.call("GET", f"/api/v1/clip-jobs/{again}").status_code == 404
    shop.sweep()
    assert shop.stored() == set()
    assert stored_bytes(shop) == 0
    assert shop.rows(select(func.count()).select_from(ClipItem)) == [0]


def test_a_job_is_locked_before_what_is_counted(light: Shop, server: Server) -> None:
    """The whole organization waits for whoever holds a month's total: they wait for nobody's row."""
    transactions: list[list[str]] = []
    engine = light.world.runtime.db.engine

    def executes(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.startswith("BEGIN"):
            transactions.append([])
        transactions[-1] += [each for each in ("FROM clip_jobs", "INTO usage_totals") if each in statement]

    id = light.order(f"{server.url}film.mp4", (1.0, 2.0))
    hooks.listen(engine, "before_cursor_execute", executes)
    light.work(id)
    hooks.remove(engine, "before_cursor_execute", executes)
    [storing] = [statements for statements in transactions if "INTO usage_totals" in statements]
    assert storing[0] == "FROM clip_jobs"


def test_what_the_plan_has_no_room_for_is_the_clips_own_error(shop: Shop, server: Server) -> None:
    url = f"{server.url}film.mp4"
    shop.work(shop.order(url, (0.0, 4.0)))
    full, small = shop.order(url, (4.0, 8.0), (1.0, 1.2)), shop.order(url, (0.0, 4.0), (2.0, 4.0), (2.0, 5.0))
    for id, room, expected in (
        (full, stored_bytes(shop) // 2, ["failed", "ready"]),
        (small, 0, ["ready", "failed", "failed"]),
    ):
        before = stored_bytes(shop)
        with shop.world.runtime.db.begin() as session:
            organization = session.get_one(Organization, shop.organization)
            organization.plan = "STARTER"  # whose amounts are the most
            organization.overrides = {"storage_gb": (before + room) / 10**9}
        shop.work(id)
        job = shop.job(id)
        assert (job["state"], states(job)) == ("finished", expected)
        assert {c["error"]["code"] for c in job["clips"] if c["error"]} == {"quota_exceeded"}
        assert before <= stored_bytes(shop) <= before + room
        assert stored_bytes(shop) == sum(listed.bytes for listed in shop.world.runtime.storage.list())


def test_a_store_that_is_full_is_waited_for_and_operators_hear_of_it(
    light: Shop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFullError("no room")

    id = light.order(f"{server.url}film.mp4", (1.0, 2.0))
    with monkeypatch.context() as patch:
        patch.setattr(light.world.runtime.storage, "put", full)
        light.work(id)
    assert [alert.recovered_at for alert in light.rows(select(Alert))] == [None]
    light.work(id)
    assert states(light.job(id)) == ["ready"]
    assert [alert.recovered_at is None for alert in light.rows(select(Alert))] == [False]


def test_another_source_is_another_clip(shop: Shop, server: Server, host: Host) -> None:
    """A file of the same version, range and options is used again; of another, or of none known, never."""
    url = f"{server.url}film.mp4"
    orders: list[tuple[str | None, dict[str, Any], int]] = [
        ('"1"', {}, 1),
        ('"1"', {}, 1),
        ('"2"', {}, 2),  # the source has changed
        ('"2"', {"quality": "small"}, 3),
        (None, {}, 4),  # nothing tells whether it has
        (None, {}, 5),
    ]
    for host.etag, options, files in orders:
        id = shop.order(url, (1.0, 2.0), options=options)
        shop.work(id)
        assert states(shop.job(id)) == ["ready"]
        assert len(shop.files()) == files


def test_two_jobs_that_make_the_same_at_once(shop: Shop, server: Server) -> None:
    """Both have stored a clip and neither has recorded it: one file stays, for both, counted once."""
    ids = [shop.order(f"{server.url}film.mp4", (1.0, 2.0)) for _ in range(2)]
    both, stored = threading.Barrier(2), set[str]()

    def at(point: str) -> None:
        if point == "job-clip-put":
            both.wait(60)
            stored.update(shop.stored())

    shop.world.runtime.faults = Points(at)
    working = [threading.Thread(target=shop.work, args=(id,)) for id in ids]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join(90)
    assert [states(shop.job(id)) for id in ids] == [["ready"], ["ready"]]
    [file] = shop.files()
    assert shop.rows(select(ClipItem.file_id)) == [file.id] * 2
    assert (shop.stored(), len(stored)) == ({file.key}, 2)
    assert stored_bytes(shop) == file.bytes
    for id in ids:
        assert shop.call("DELETE", f"/api/v1/clip-jobs/{id}").status_code == 204
        assert len(shop.stored()) == 1
        shop.sweep()
    assert (shop.stored(), stored_bytes(shop)) == (set(), 0)


def test_a_damaged_file_is_not_used_again(shop: Shop, server: Server) -> None:
    first = shop.order(f"{server.url}film.mp4", (1.0, 2.0))
    shop.work(first)
    [file] = shop.files()
    shop.world.runtime.storage.put(file.key, Path(__file__), content_type="video/mp4")
    second = shop.order(f"{server.url}film.mp4", (1.0, 2.0))
    shop.work(second)
    [clip] = shop.job(second)["clips"]
    new = shop.files()[1]
    assert shop.world.runtime.storage.stat(new.key).sha256 == clip["sha256"] == file.sha256
    assert (shop.files()[0].recipe, new.recipe) == (None, file.recipe)


def test_without_a_source_the_job_has_failed(shop: Shop, server: Server) -> None:
    id = shop.order(f"{server.url}nothing.mp4", (1.0, 2.0), (3.0, 2.0))
    shop.work(id)
    job = shop.job(id)
    assert (job["state"], job["error"]["code"], job["processed"]) == ("failed", "source_not_found", 0)
    assert [event.type for event in shop.events()] == ["clip_job.failed"]
    shop.age(id)
    shop.sweep()
    assert shop.call("GET", f"/api/v1/clip-jobs/{id}").status_code == 404
    assert shop.rows(select(ClipJob)) == []


def test_an_address_that_expires_is_asked_for_again(light: Shop, server: Server, host: Host) -> None:
    """Refused when somebody looks, or when it is opened: once more, and no more than once in all."""
    for refusals in ([403], [0, 403]):
        host.refusals["/film.mp4"] = refusals
        id = light.order(f"{server.url}film.mp4", (1.0, 2.0))
        light.work(id)
        assert (states(light.job(id)), host.refusals["/film.mp4"]) == (["ready"], [])
    host.refusals["/film.mp4"] = [403] * 100
    id = light.order(f"{server.url}film.mp4", (1.0, 2.0))
    light.work(id)
    assert light.job(id)["error"]["code"] == "source_denied"
    assert len(host.refusals["/film.mp4"]) == 98


def test_addresses_that_expire_in_the_middle_of_clips_spoil_none(
    light: Shop, server: Server, host: Host, films: Path
) -> None:
    """Twice in one job: the second time after a clip was made with the address that the first time gave."""
    big = film(films, "big", noise=60, gop=25, seconds=30.0)
    host.files["/big.mp4"] = data = big.read_bytes()
    expire = [range(int(len(data) * share), int(len(data) * (share + 0.1))) for share in (0.45, 0.88)]

    def before(request: Request) -> None:
        start = int(request.headers.get("range", "bytes=0-")[6:].partition("-")[0])
        for place in [place for place in expire if start in place]:
            expire.remove(place)
            host.refusals["/big.mp4"] = [403]

    host.before = before
    id = light.order(f"{server.url}big.mp4", (1.0, 2.0), (14.0, 15.0), (27.0, 28.0))
    light.work(id)
    assert (expire, host.refusals["/big.mp4"]) == ([], [])
    assert states(light.job(id)) == ["ready"] * 3


def test_the_second_of_three_takes_too_long(light: Shop, server: Server, host: Host, films: Path) -> None:
    """Two results and one error: the server hangs where the second clip's pictures are."""
    big = film(films, "big", noise=60, gop=25, seconds=30.0)
    host.files["/big.mp4"] = data = big.read_bytes()
    gate = Gate()
    middle = range(int(len(data) * 0.42), int(len(data) * 0.6))

    def before(request: Request) -> None:
        start = int(request.headers.get("range", "bytes=0-")[6:].partition("-")[0])
        if start in middle and not gate.opened.is_set():
            gate()

    host.before = before
    id = light.order(f"{server.url}big.mp4", (1.0, 2.0), (14.0, 15.0), (27.0, 28.0))
    try:
        light.work(id)
    finally:
        gate.opened.set()
    assert gate.reached.is_set()
    job = light.job(id)
    assert (job["state"], job["processed"]) == ("finished", 3)
    assert states(job) == ["ready", "failed", "ready"]
    assert job["clips"][1]["error"]["code"] == "cut_timeout"


def test_deleted_while_it_is_cut(light: Shop, server: Server, host: Host) -> None:
    """It is gone at once, its work ends without a trace, and its files are swept."""
    gate = Gate()
    host.before = lambda request: gate()
    id = light.order(f"{server.url}film.mp4", (1.0, 2.0))
    working = threading.Thread(target=light.work, args=(id,))
    working.start()
    try:
        assert gate.reached.wait(30)
        assert light.call("DELETE", f"/api/v1/clip-jobs/{id}").status_code == 204
        assert light.call("GET", f"/api/v1/clip-jobs/{id}").status_code == 404
        assert light.call("DELETE", f"/api/v1/clip-jobs/{id}").status_code == 404
    finally:
        gate.opened.set()
        working.join(60)
    assert light.rows(select(Work.state).where(Work.id == id)) == ["cancelled"]
    light.sweep()
    assert (light.rows(select(ClipJob)), light.stored(), light.events()) == ([], set(), [])


def test_deleted_while_its_source_stalls(light: Shop, server: Server, host: Host) -> None:
    """A source that is to be asked again later keeps nothing: what is deleted does not wait for that."""
    gate = Gate()
    host.before = lambda request: gate()
    host.refusals["/film.mp4"] = [503] * 100
    id = light.order(f"{server.url}film.mp4", (1.0, 2.0))
    working = threading.Thread(target=light.work, args=(id,))
    working.start()
    try:
        assert gate.reached.wait(30)
        assert light.call("DELETE", f"/api/v1/clip-jobs/{id}").status_code == 204
    finally:
        gate.opened.set()
        working.join(60)
    assert light.rows(select(Work.state).where(Work.id == id)) == ["cancelled"]
    light.sweep()
    assert (light.rows(select(ClipJob)), light.stored(), light.events()) == ([], set(), [])


def test_a_clip_deleted_meanwhile_has_not_failed(light: Shop, server: Server) -> None:
    """Its file goes while the next one is made: it was made all the same, and is told so."""
    body = {"video_id": f"{server.url}film.mp4", "clips": [{"start": 1, "end": 2}, {"start": 3, "end": 4}]}
    told = light.call("POST", "/api/create-clips", json=body).json()
    first = told["clip_filenames"][0]
    deleted: list[int] = []

    def at(point: str) -> None:
        if point == "job-clip-ready" and not deleted:
            deleted.append(light.call("DELETE", f"/api/clips/{first}").status_code)

    light.world.runtime.faults = Points(at)
    light.work(told["job_id"])
    assert deleted == [200]
    [event] = light.events()
    assert (event.type, event.data["succeeded"], event.data["failed"]) == ("clip_job.finished", 2, 0)


def test_work_of_another_organization_is_dropped(light: Shop, server: Server) -> None:
    """T5: its row names somebody else's job. Nothing is done, and that is written down."""
    id = light.order(f"{server.url}film.mp4", (1.0, 2.0))
    other = light.world.organization("Other")
    with light.world.runtime.db.begin() as session:
        session.get_one(Work, id).organization_id = other
    light.work(id)
    assert light.job(id)["state"] == "pending"
    assert server.requests == []
    [dropped] = light.rows(select(AuditRecord).where(AuditRecord.action == "work.dropped"))
    assert (dropped.object_id, dropped.details["said"]) == (id, other)


BAD: list[dict[str, Any]] = [
    {"start": 5.0, "end": 5.0},
    {"start": 8.0, "end": 3.0},
    {"start": -3.0, "end": 2.0},
    {"start": 100.0, "end": 110.0},
]


def test_twenty_clips_seven_bad(shop: Shop, server: Server) -> None:
    """R20, by the compatible call, whose clips can also be no ranges: 13 clips, 7 errors, in their order."""
    good = [{"start": n * 0.5, "end": n * 0.5 + 0.4} for n in range(13)]
    worse: list[Any] = [{"start": 1}, {"start": "a", "end": 2}, None]
    clips: list[Any] = list(good)
    places = [1, 4, 6, 9, 12, 15, 19]
    for place, bad in zip(places, [*BAD, *worse], strict=True):
        clips.insert(place, bad)
    body = {"video_id": f"{server.url}film.mp4", "clips": clips}
    answer = shop.call("POST", "/api/create-clips", json=body)
    assert answer.status_code == 200, answer.text
    shop.work(answer.json()["job_id"])
    told = shop.call("GET", f"/api/check-job/{answer.json()['job_id']}").json()
    assert (told["status"], told["total"], told["processed"]) == ("finished", 20, 20)
    assert [error["index"] for error in told["errors"]] == places
    assert [error["clip"] for error in told["errors"]] == [*BAD, *worse]
    assert len({error["error"] for error in told["errors"]}) == 7
    assert [(clip["start"], clip["end"]) for clip in told["clips"]] == [(g["start"], g["end"]) for g in good]


def test_the_longest_address_is_taken(shop: Shop, server: Server) -> None:
    """2048 characters, as the call's document says; PostgreSQL minds what its columns hold."""
    address = f"{server.url}film.mp4?token=".ljust(2048, "x")
    body = {"video_id": address, "clips": [{"start": 1, "end": 2}]}
    answer = shop.call("POST", "/api/create-clips", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["video_id"] == address


def test_two_addresses_of_one_name_are_two_clips(light: Shop, server: Server, host: Host) -> None:
    """What ends alike is told apart: each name is served, and deleted, by itself."""
    host.files["/a/film.mp4"] = host.files["/b/film.mp4"] = host.files["/film.mp4"]
    names: list[str] = []
    for folder in ("a", "b"):
        body = {"video_id": f"{server.url}{folder}/film.mp4", "clips": [{"start": 1, "end": 2}]}
        told = light.call("POST", "/api/create-clips", json=body).json()
        light.work(told["job_id"])
        names += told["clip_filenames"]
    one, other = names
    assert one != other
    assert all(re.fullmatch(r"film-[0-9a-f]{8}-1-2\.mp4", name) for name in names), names
    assert light.call("DELETE", f"/api/clips/{one}").status_code == 200
    assert light.call("GET", f"/clips/{one}").status_code == 404
    assert light.call("GET", f"/clips/{other}").status_code == 200


def test_strangers_get_nothing(shop: Shop, server: Server) -> None:
    """Another organization's jobs and clips are not there; neither are they to whoever lacks the scope."""
    body = {"video_id": f"{server.url}film.mp4", "clips": [{"start": 1, "end": 2}]}
    told = shop.call("POST", "/api/create-clips", json=body).json()
    job_id, [name] = told["job_id"], told["clip_filenames"]
    shop.work(job_id)
    calls = [
        ("GET", f"/api/check-job/{job_id}"), ("GET", f"/clips/{name}"),
        ("DELETE", f"/api/clips/{name}"), ("DELETE", f"/api/jobs/{job_id}"),
    ]  # fmt: skip
    stranger = shop.world.caller()
    reader, writer = (
        shop.world.key(shop.organization, "clips:read"),
        shop.world.key(shop.organization, "clips:write"),
    )
    for method, path in calls:
        assert shop.call(method, path, headers=stranger).status_code == 404, path
        weak = writer if method == "GET" else reader
        assert shop.call(method, path, headers=weak).status_code == 403, path
        assert shop.call(method, path, headers={}).status_code == 401, path
    assert shop.call("DELETE", "/api/clips/clear", headers=stranger).json()["deleted"] == 0
    assert shop.call("GET", "/api/clips", headers=stranger).json()["clips"] == []
    assert shop.call("GET", "/api/jobs", headers=stranger).json()["jobs"] == []
    assert shop.call("GET", f"/clips/{name}").status_code == 200
    for method, path in calls:
        assert shop.call(method, path).status_code == 200, path
    actions = ["clip_job.created", "clip.deleted", "clip_job.deleted"]
    mine = select(AuditRecord.action).where(AuditRecord.organization_id == shop.organization)
    assert shop.rows(mine.order_by(AuditRecord.id)) == actions
