"""What every store does: the same tests on a folder and on a bucket."""

from __future__ import annotations

import hashlib
import io
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.conftest import Fresh, damage, set_credentials
from tldr_highlight.errors import (
    Fate,
    ObjectDamagedError,
    ObjectKeyError,
    ObjectMismatchError,
    ObjectNotFoundError,
)
from tldr_highlight.storage.base import CHUNK, Body, ObjectStore
from tldr_highlight.storage.local import LocalStore

MIB = 1 << 20
KEY = "org_1/str_2/clip.mp4"
SHORT = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def some(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def put(store: ObjectStore, data: bytes = b"some bytes", key: str = KEY, **how: Any) -> Any:
    return store.put(key, io.BytesIO(data), **{"content_type": "video/mp4"} | how)


def content(store: ObjectStore, key: str = KEY) -> bytes:
    with store.open(key) as body:
        return body.read()


def hexdigest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def nothing_left(store: ObjectStore) -> bool:
    return store.sweep(timedelta(seconds=-5)).things == 0


# --- there and back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["path", "stream"])
@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 16 * MIB, 16 * MIB + 1])
def test_what_is_put_is_there(size: int, way: str, store: ObjectStore, tmp_path: Path) -> None:
    data, path = some(size), tmp_path / "source"
    path.write_bytes(data)
    before = datetime.now(UTC) - timedelta(seconds=2)
    made = store.put(KEY, path if way == "path" else io.BytesIO(data), content_type="video/mp4")
    found = store.stat(KEY)
    for each in (made, found):
        assert (each.key, each.bytes, each.sha256) == (KEY, size, hexdigest(data))
        assert before < each.modified < datetime.now(UTC) + timedelta(seconds=2)
    assert content(store) == data
    assert store.exists(KEY)
    assert nothing_left(store)


def test_attributes_stay(fresh: Fresh) -> None:
    about = {
        "content_type": "video/mp4",
        "cache_control": "private, max-age=60",
        "download_name": "Tor für 1:0.mp4",
    }
    put(fresh(), **about)
    kept = fresh().stat(KEY).about
    assert (kept.content_type, kept.cache_control) == ("video/mp4", "private, max-age=60")
    assert kept.download_name == "Tor für 1_0.mp4"


@pytest.mark.parametrize(
    "how", [{"content_type": "video/mp4\r\nX: y"}, {"content_type": "VIDEO"}, {"cache_control": "a\nb"}]
)
def test_attributes_that_are_none(how: dict[str, str], store: ObjectStore) -> None:
    with pytest.raises(ValueError, match=r"no media type|no Cache-Control"):
        put(store, **how)


def test_what_is_not_there(store: ObjectStore, tmp_path: Path) -> None:
    for ask in (store.stat, store.open, store.move_to_cold, lambda key: store.get(key, tmp_path / "file")):
        with pytest.raises(ObjectNotFoundError):
            ask(KEY)
    assert not store.exists(KEY)
    assert list(store.list()) == []
    store.delete(KEY)
    assert not (tmp_path / "file").exists()


def test_deleted_is_gone(store: ObjectStore) -> None:
    put(store)
    put(store, key="org_1/str_2/other")
    store.delete(KEY)
    store.delete(KEY)
    assert not store.exists(KEY)
    assert [each.key for each in store.list()] == ["org_1/str_2/other"]
    assert nothing_left(store)


def test_replaced_by_another(store: ObjectStore) -> None:
    put(store, b"first", download_name="first.mp4")
    put(store, b"the second", content_type="audio/mp4")
    found = store.stat(KEY)
    assert (content(store), found.bytes, found.about.content_type) == (b"the second", 10, "audio/mp4")
    assert found.about.download_name is None
    assert nothing_left(store)


def test_keys_within_keys(store: ObjectStore) -> None:
    """Folders and files are no different here: `a` and `a/b` may both be there."""
    keys = ["a", "a/b", "a/b/c", "a.mp4", "a/b.mp4"]
    for key in keys:
        put(store, key.encode(), key)
    assert {each.key for each in store.list()} == set(keys)
    assert all(content(store, key) == key.encode() for key in keys)
    store.delete("a/b")
    assert {each.key for each in store.list()} == set(keys) - {"a/b"}


HOSTILE = [
    "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/..", ".hidden", "a/.hidden", "a\0b", "a\nb",
    "a b", "ä", "a@b", "a?b", "a%2e%2e", "a\\b", "~/a", "a:b", "x" * 201, "/".join(["x" * 100] * 6), "a\n",
    "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE)
def test_names_that_are_no_keys(key: str, store: ObjectStore, tmp_path: Path) -> None:
    asked = [
        lambda: put(store, key=key), lambda: store.open(key), lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.exists(key) or store.stat(key), lambda: store.move_to_cold(key),
        lambda: store.writer(key, content_type="video/mp4"), lambda: store.get(key, tmp_path / "file"),
        lambda: store.url(key, expires=timedelta(hours=1)), lambda: list(store.list(key or "/")),
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(ObjectKeyError):
            ask()


@given(st.text(max_size=60) | st.from_regex(r"[a-z./@-]{1,20}", fullmatch=True))
def test_no_key_leaves_its_folder(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    """A key that is taken is a path below the folder, spelled in one way alone."""
    from tldr_highlight.storage.base import is_key

    if is_key(key):
        root = Path("/root/of/files")
        assert (root / key).resolve().is_relative_to(root)
        assert (root / key).relative_to(root).as_posix() == key
        assert key.isascii()
        assert key.isprintable()


# --- hashes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["path", "stream"])
@pytest.mark.parametrize("size", [10, 17 * MIB])
def test_a_hash_that_does_not_fit(size: int, way: str, store: ObjectStore, tmp_path: Path) -> None:
    put(store, b"what was there")
    path = tmp_path / "source"
    path.write_bytes(some(size))
    source = path if way == "path" else io.BytesIO(some(size))
    with pytest.raises(ObjectMismatchError) as caught:
        store.put(KEY, source, content_type="video/mp4", sha256="0" * 64)
    assert (caught.value.status, caught.value.fate) == (422, Fate.PERMANENT)
    assert content(store) == b"what was there"
    assert nothing_left(store)


@pytest.mark.parametrize("size", [10, 17 * MIB])
def test_a_hash_that_fits(size: int, store: ObjectStore) -> None:
    data = some(size)
    put(store, data, sha256=hexdigest(data).upper())
    assert content(store) == data


def test_damaged_bytes_are_an_error(store: ObjectStore, tmp_path: Path) -> None:
    put(store, b"some bytes")
    damage(store, KEY)
    with pytest.raises(ObjectDamagedError):
        content(store)
    with pytest.raises(ObjectDamagedError):
        store.get(KEY, tmp_path / "file")
    with pytest.raises(ObjectDamagedError):
        store.file(KEY, tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_file_on_this_machine(store: ObjectStore, tmp_path: Path) -> None:
    put(store, data := some(3 * CHUNK + 5))
    path = store.file(KEY, tmp_path / "file")
    assert path.read_bytes() == data
    assert (path == tmp_path / "file") is not isinstance(store, LocalStore), "a copy that nobody needs"
    assert store.file(KEY, tmp_path / "again").read_bytes() == data
    damage(store, KEY)
    with pytest.raises(ObjectDamagedError):
        store.file(KEY, tmp_path / "more")


def test_a_copy_in_a_file(store: ObjectStore, tmp_path: Path) -> None:
    data = some(3 * CHUNK + 5)
    put(store, data)
    stored = store.get(KEY, tmp_path / "deep" / "file.mp4")
    assert (tmp_path / "deep" / "file.mp4").read_bytes() == data
    assert stored == store.stat(KEY)


# --- ranges --------------------------------------------------------------------------------------------


@SHORT
@given(st.integers(0, 3000), st.none() | st.integers(0, 4000), st.integers(1, 700))
def test_any_range(fresh: Fresh, start: int, end: int | None, step: int) -> None:
    data = some(3000)
    store = _kept(fresh, data)
    if end is not None and end < start:
        with pytest.raises(ValueError, match="no bytes"):
            store.open(KEY, start, end)
        return
    with store.open(KEY, start, end) as body:
        assert (body.stored.bytes, body.stored.sha256) == (3000, hexdigest(data))
        assert b"".join(iter(lambda: body.read(step), b"")) == data[start:end]
        assert body.read() == b""


_stores: dict[int, ObjectStore] = {}


def _kept(fresh: Fresh, data: bytes) -> ObjectStore:
    """One store for all examples of a test: a bucket's client takes half a second."""
    if id(fresh) not in _stores:
        _stores.clear()
        _stores[id(fresh)] = fresh()
        put(_stores[id(fresh)], data)
    return _stores[id(fresh)]


@pytest.mark.parametrize(("start", "end"), [(11, None), (11, 12), (-1, None), (-3, 2), (5, 3)])
def test_ranges_that_are_none(start: int, end: int | None, store: ObjectStore) -> None:
    put(store, b"some bytes")
    with pytest.raises(ValueError, match="no bytes"):
        store.open(KEY, start, end)


@pytest.mark.parametrize(("start", "end"), [(10, None), (10, 20), (4, 4), (0, 0)])
def test_ranges_that_are_empty(start: int, end: int | None, store: ObjectStore) -> None:
    put(store, b"some bytes")
    with store.open(KEY, start, end) as body:
        assert body.read() == b""


# --- streams that fail ---------------------------------------------------------------------------------


class Failing:
    """A stream that breaks off."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int, /) -> bytes:
        if not self._left:
            raise ConnectionResetError("the customer hung up")
        count = min(size, self._left)
        self._left -= count
        return bytes(count)


@pytest.mark.parametrize("size", [10, 26 * MIB])
def test_a_source_that_breaks_off(size: int, store: ObjectStore) -> None:
    """Its error is its own, not the storage's; nothing is there."""
    put(store, b"what was there")
    with pytest.raises(ConnectionResetError):
        store.put(KEY, Failing(size), content_type="video/mp4")
    assert content(store) == b"what was there"
    assert nothing_left(store)


# --- in pieces -----------------------------------------------------------------------------------------


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize(("size", "piece"), [(0, 1), (5, 2), (20 * MIB, 3 * MIB), (16 * MIB, 8 * MIB)])
def test_each_piece_by_another_process(size: int, piece: int, fresh: Fresh) -> None:
    data = some(size)
    writer = fresh().writer(KEY, content_type="video/mp4", download_name="mine.mp4")
    token, offset = writer.token, 0
    for each in pieces(data, piece):
        writer.write(each)
        writer.suspend()
        offset += len(each)
        assert not fresh().exists(KEY)
        writer = fresh().resume(token)
        assert (writer.offset, writer.token) == (offset, token)
    stored = writer.finish(sha256=hexdigest(data))
    assert (stored.bytes, stored.sha256, stored.about.download_name) == (size, hexdigest(data), "mine.mp4")
    assert content(fresh()) == data
    with pytest.raises(ObjectNotFoundError):
        fresh().resume(token)
    assert nothing_left(fresh())


def test_a_process_that_died(fresh: Fresh) -> None:
    """What was suspended is safe; of the rest there is as much as `offset` says, and it is right."""
    data = some(20 * MIB)
    writer = fresh().writer(KEY, content_type="video/mp4")
    writer.write(data[: 3 * MIB])
    writer.suspend()
    lost = fresh().resume(writer.token)
    lost.write(data[3 * MIB : 10 * MIB])  # and then nothing
    again = fresh().resume(writer.token)
    assert 3 * MIB <= again.offset <= 10 * MIB
    again.write(data[again.offset :])
    assert again.finish().sha256 == hexdigest(data)
    assert content(fresh()) == data


def test_by_one_process(store: ObjectStore) -> None:
    data = some(20 * MIB)
    writer = store.writer(KEY, content_type="video/mp4")
    for each in pieces(data, 700_000):
        writer.write(each)
    assert writer.offset == len(data)
    assert writer.finish().sha256 == hexdigest(data)
    writer.abort()  # does nothing any more
    assert content(store) == data
    assert nothing_left(store)


@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_pieces_with_another_hash(size: int, fresh: Fresh) -> None:
    put(fresh(), b"what was there")
    writer = fresh().writer(KEY, content_type="video/mp4")
    writer.write(some(size))
    writer.suspend()
    with pytest.raises(ObjectMismatchError):
        fresh().resume(writer.token).finish(sha256="0" * 64)
    with pytest.raises(ObjectNotFoundError):
        fresh().resume(writer.token)
    assert content(fresh()) == b"what was there"
    assert nothing_left(fresh())


@pytest.mark.parametrize("size", [0, 10, 9 * MIB])
def test_given_up(size: int, fresh: Fresh) -> None:
    writer = fresh().writer(KEY, content_type="video/mp4")
    writer.write(some(size))
    writer.suspend()
    writer = fresh().resume(writer.token)
    writer.abort()
    writer.abort()
    with pytest.raises(ObjectNotFoundError):
        fresh().resume(writer.token)
    assert not fresh().exists(KEY)
    assert nothing_left(fresh())


def test_sweeping(fresh: Fresh) -> None:
    """Takes what was not touched for so long, and nothing that is there or goes on."""
    store = fresh()
    put(store)
    writer = store.writer("org_1/upload", content_type="video/mp4")
    writer.write(some(9 * MIB))
    writer.suspend()
    assert store.sweep(timedelta(hours=1)).things == 0
    assert fresh().resume(writer.token).offset == 9 * MIB
    swept = store.sweep(timedelta(seconds=-5))
    assert swept.things >= 1
    assert swept.bytes == 9 * MIB
    with pytest.raises(ObjectNotFoundError):
        fresh().resume(writer.token)
    assert content(store) == b"some bytes"
    assert nothing_left(store)


# --- lists, cold, links --------------------------------------------------------------------------------


def test_lists(store: ObjectStore) -> None:
    for number, key in enumerate(["org_1/a", "org_1/b/c.mp4", "org_10/a", "x"]):
        put(store, bytes(number), key)
    store.writer("org_1/unfinished", content_type="video/mp4").suspend()
    assert {each.key: each.bytes for each in store.list()} == {
        "org_1/a": 0,
        "org_1/b/c.mp4": 1,
        "org_10/a": 2,
        "x": 3,
    }
    assert {each.key for each in store.list("org_1")} == {"org_1/a", "org_1/b/c.mp4"}
    assert list(store.list("org_1/a")) == []
    assert all(datetime.now(UTC) - each.modified < timedelta(minutes=1) for each in store.list())


def test_cold(store: ObjectStore) -> None:
    data = some(CHUNK + 7)
    put(store, data, download_name="mine.mp4", cache_control="private, max-age=60")
    assert not store.stat(KEY).cold
    moved = store.move_to_cold(KEY)
    assert (moved.cold, store.stat(KEY).cold) == (True, True)
    assert store.move_to_cold(KEY) == store.stat(KEY)
    assert (moved.sha256, moved.about.download_name) == (hexdigest(data), "mine.mp4")
    assert moved.about.cache_control == "private, max-age=60"
    assert content(store) == data
    assert [each.bytes for each in store.list()] == [len(data)]
    assert nothing_left(store)
    put(store, b"new")
    assert (content(store), store.stat(KEY).cold) == (b"new", False)
    assert nothing_left(store)
    store.move_to_cold(KEY)
    store.delete(KEY)
    assert nothing_left(store)


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=7, seconds=1), timedelta(days=-1)])
def test_links_hold_for_a_while(expires: timedelta, store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="links hold"):
        store.url(KEY, expires=expires)


# --- many at once --------------------------------------------------------------------------------------


def test_many_put_one_key(fresh: Fresh) -> None:
    """Whoever reads meanwhile sees one of them, whole: bytes that do not fit their record are an error."""
    store, wrong = fresh(), []
    put(store, b"first")
    over = threading.Event()

    def write(number: int) -> None:
        for turn in range(6):
            put(store, some(2000 + 100 * number, number * 10 + turn), download_name=f"{number}.mp4")

    def read() -> None:
        while not over.is_set():
            try:
                with store.open(KEY) as body:
                    _whole(body)
            except Exception as error:  # noqa: BLE001 - told below
                wrong.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in readers:
        thread.join()
    assert wrong == []
    stored = store.stat(KEY)
    assert stored.about.download_name == f"{(stored.bytes - 2000) // 100}.mp4"
    assert content(store)
    assert nothing_left(store)


def _whole(body: Body) -> None:
    assert len(body.read()) == body.stored.bytes
    if name := body.stored.about.download_name:
        assert body.stored.bytes == 2000 + 100 * int(name.removesuffix(".mp4"))


# --- memory --------------------------------------------------------------------------------------------

MEASURE = """
import os, sys
from datetime import timedelta
from pathlib import Path
from tldr_highlight.core.security import Links, new_key

kind, place, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
if kind == "s3":
    from tldr_highlight.storage.s3 import S3Store
    endpoint, _, bucket = place.partition(" ")
    store = S3Store(bucket, endpoint=endpoint, style="path")
else:
    from tldr_highlight.storage.local import LocalStore
    store = LocalStore(Path(place), Links([new_key()]))

class Much:
    def __init__(self):
        self.left = size
    def read(self, count):
        count = min(count, self.left)
        self.left -= count
        return b"x" * count

def peak():  # not ru_maxrss, which starts with our parent's
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

store.put("small", Path(__file__ if "__file__" in globals() else os.devnull), content_type="video/mp4")
before = peak()
store.put("a", Much(), content_type="video/mp4")
store.get("a", Path("copy"))
store.put("b", Path("copy"), content_type="video/mp4")
writer = store.writer("c", content_type="video/mp4")
stream = Much()
while data := stream.read(1 << 20):
    writer.write(data)
writer.suspend()
store.resume(writer.token).finish()
print((peak() - before) // 1024)
"""


def test_memory_stays_flat(fresh: Fresh, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """As a stream, a file, in pieces, and read again: no more than the parts that are in the air."""
    local = isinstance(fresh(), LocalStore)
    if local:
        place, size = str(tmp_path / "files"), 100 * MIB
    else:
        place, size = f"{request.getfixturevalue('s3_server')} {fresh()._bucket}", 40 * MIB  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        set_credentials(patch)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, "local" if local else "s3", place, str(size)],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < (8 if local else 50)
