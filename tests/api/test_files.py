"""Files of the local store over HTTP: for whoever has the link, while it holds, however slow they are."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from tests.api.serving import Served, serving
from tests.api.world import World, world_on
from tests.services import Backend, SQLite
from tests.walks.command import until
from tldr_highlight.api import files
from tldr_highlight.storage.base import Stored
from tldr_highlight.storage.local import LocalStore
from tldr_highlight.usage.models import UsageRecord, UsageTotal

HOUR = timedelta(hours=1)
BYTES = random.Random(20261125).randbytes(700_000)
"""Three pieces."""


class Shop:
    """A served world with a clip in its store."""

    def __init__(self, world: World, served: Served) -> None:
        self.world, self.served = world, served
        self.organization = world.organization()
        self.store = world.runtime.storage
        assert isinstance(self.store, LocalStore)
        self.clip = self.put("clip.mp4", BYTES)
        self.http = httpx2.Client(base_url=served.url, timeout=10)

    def put(self, name: str, data: bytes, kind: str = "video/mp4") -> Stored:
        path = self.world.runtime.data_dir / "draft"
        path.write_bytes(data)
        return self.store.put(f"{self.organization}/str_1/{name}", path, content_type=kind)

    def link(self, key: str | None = None, **how: Any) -> str:
        return self.store.url(key or self.clip.key, expires=HOUR, **how)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.http.get(path, headers={"range" if n == "range" else n: v for n, v in headers.items()})

    def used(self, metric: str) -> int:
        self.world.app.state.meter.store()
        with self.world.runtime.db.read() as session:
            total = UsageTotal.of(self.organization).where(UsageTotal.metric == metric)
            row = session.scalars(total).one_or_none()
            records = select(UsageRecord.amount).where(
                UsageRecord.organization_id == self.organization, UsageRecord.metric == metric
            )
            assert (row.amount if row else 0) == sum(session.scalars(records))
            return row.amount if row else 0


@pytest.fixture(scope="module")
def shop(sqlite: SQLite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("files")
    with (
        sqlite.databases(folder) as new,
        world_on(Backend("sqlite", new), folder) as world,
        serving(world.app) as served,
    ):
        made = Shop(world, served)
        with made.http:
            yield made


def test_a_link_opens_the_file_whole_and_in_ranges(shop: Shop) -> None:
    whole = shop.get(shop.link())
    assert (whole.status_code, whole.content) == (200, BYTES)
    assert whole.headers["etag"] == f'"{hashlib.sha256(BYTES).hexdigest()}"'
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["cross-origin-resource-policy"] == "cross-origin"  # a page of any site may show it
    part = shop.get(shop.link(), range="bytes=1000-299999")
    assert (part.status_code, part.content) == (206, BYTES[1000:300_000])
    assert part.headers["content-range"] == "bytes 1000-299999/700000"
    last = shop.get(shop.link(), range="bytes=-5")
    assert (last.status_code, last.content) == (206, BYTES[-5:])
    assert shop.get(shop.link(), range="bytes=700000-").status_code == 416
    same = shop.get(shop.link(), **{"if-none-match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["cross-origin-resource-policy"] == "cross-origin"
    saved = shop.get(shop.link(download_name="Größe.mp4"))
    assert saved.headers["content-disposition"].startswith("attachment")


def test_head_says_what_get_would(shop: Shop) -> None:
    answer = shop.http.head(shop.link())
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "700000"


WRONG = {
    "another file": lambda link: link.replace("clip.mp4", "clap.mp4"),
    "no signature": lambda link: link.partition("?")[0],
    "a signature with one letter changed": lambda link: link[:-1] + ("A" if link[-1] != "A" else "B"),
    "another name to save it under": lambda link: link + "&download_name=x.html",
    "a way out of the folder": lambda link: link.replace("org_", "%2e%2e/org_"),
    "a NUL": lambda link: link.replace("clip", "cl%00ip"),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_other_links_open_nothing(shop: Shop, change: Any) -> None:
    answer = shop.get(change(shop.link()))
    assert (answer.status_code, answer.json()["code"]) == (403, "file_link_invalid")
    assert answer.json()["trace_id"]


def test_a_link_is_good_for_its_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    link, now = shop.link(), files.now
    monkeypatch.setattr(files, "now", lambda: now() + HOUR - timedelta(seconds=5))
    assert shop.get(link).status_code == 200
    monkeypatch.setattr(files, "now", lambda: now() + HOUR + timedelta(seconds=1))
    assert shop.get(link).json()["code"] == "file_link_invalid"


def test_what_is_gone_is_404(shop: Shop) -> None:
    stored = shop.put("gone.mp4", b"x")
    link = shop.link(stored.key)
    shop.store.delete(stored.key)
    answer = shop.get(link)
    assert (answer.status_code, answer.json()["code"]) == (404, "object_not_found")
    assert shop.http.post(link).status_code == 405


def test_a_page_that_somebody_stored_runs_nothing(shop: Shop) -> None:
    stored = shop.put("page.html", b"<script>alert(1)</script>", "text/html")
    answer = shop.get(shop.link(stored.key))
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_damaged_file_is_a_broken_answer_and_not_a_whole_one(shop: Shop) -> None:
    stored = shop.put("damaged.mp4", BYTES)
    path = shop.world.runtime.data_dir / "files" / stored.key
    blob = next(path.parent.glob("damaged@*.mp4"))
    with blob.open("r+b") as file:
        file.seek(699_990)
        file.write(b"x")
    with pytest.raises(httpx2.RemoteProtocolError):
        shop.get(shop.link(stored.key))


def test_delivered_bytes_and_calls_are_in_the_ledger(shop: Shop) -> None:
    before, calls = shop.used("delivered_bytes"), shop.used("api_calls")
    shop.get(shop.link())
    shop.get(shop.link(), range="bytes=0-999")
    shop.http.head(shop.link())
    key = shop.world.key(shop.organization)
    assert shop.http.get("/api/v1/keys", headers=key).status_code == 200
    assert shop.http.get("/api/v1/keys/key_x", headers=key).status_code == 404
    assert shop.http.get("/api/v1/keys").status_code == 401
    until(lambda: shop.used("delivered_bytes") - before == 701_000)
    assert shop.used("api_calls") - calls == 2


def connect(shop: Shop) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(shop.served.address)
    connection.settimeout(10)
    return connection


def ask(connection: socket.socket, link: str) -> None:
    connection.sendall(f"GET {link} HTTP/1.1\r\nhost: x\r\n\r\n".encode())


def test_slow_readers_hold_up_nobody(shop: Shop) -> None:
    """Five times as many as there are threads, who take nothing for now; then one of them takes all."""
    data = BYTES * 10
    big = shop.put("big.mp4", data)
    before = shop.used("delivered_bytes")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(shop)) for _ in range(5 * files.THREADS)]
        for each in slow:
            ask(each, shop.link(big.key))
        assert shop.get(shop.link()).content == BYTES
        with slow[0].makefile("rb") as file:
            while file.readline().strip():
                pass
            assert file.read(len(data)) == data
    until(lambda: shop.used("delivered_bytes") > before + len(BYTES) + len(data))
    # nobody pays for what was not sent: a piece on its way is at most what buffers hold
    assert shop.used("delivered_bytes") - before < len(BYTES) + len(data) + len(slow) * 5_000_000


def test_who_reads_nothing_is_cut_off(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TAKE_SECONDS", 0.2)
    big = shop.put("large.mp4", BYTES * 20)
    connections = shop.served.server.server_state.connections
    before = len(connections)
    with connect(shop) as connection:
        ask(connection, shop.link(big.key))
        until(lambda: len(connections) > before)
        until(lambda: len(connections) == before)  # though nothing was read


def test_elsewhere_there_are_no_files(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link = shop.link()
    monkeypatch.setattr(shop.world.runtime, "storage", object())
    answer = shop.get(link)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
