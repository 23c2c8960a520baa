"""A folder: crashes at every step, a disk that is full at every step, links of our own."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.walks.command import until
from tldr_highlight.core.security import Links, new_key
from tldr_highlight.errors import (
    Fate,
    ObjectDamagedError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StorageSetupError,
)
from tldr_highlight.storage.local import LocalStore

KEY = "org_1/clip.mp4"
HOUR = timedelta(hours=1)
ALL = timedelta(seconds=-5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def store(root: Path, links: Links) -> LocalStore:
    return LocalStore(root, links)


def put(store: LocalStore, data: bytes = b"some bytes", key: str = KEY) -> None:
    store.put(key, io.BytesIO(data), content_type="video/mp4")


def content(store: LocalStore, key: str = KEY) -> bytes:
    with store.open(key) as body:
        return body.read()


def files(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.is_file() and p.name != ".lock")


# --- crashes -------------------------------------------------------------------------------------------

CRASHES = """
import io, os, signal, sys
from datetime import timedelta
from pathlib import Path
from tldr_highlight.core.security import Links, new_key
from tldr_highlight.storage.local import LocalStore

root = Path(sys.argv[1])
store = LocalStore(root / "hot", Links([new_key()]), cold=root / "cold")
STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock", "os.utime"}

def put(data):
    return store.put("org/clip.mp4", io.BytesIO(data), content_type="video/mp4")

def interrupted(do, step):
    left = [step]
    def hook(event, arguments):
        if event in STEPS and str(root) in str(arguments) or event == "fcntl.flock":
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    child = os.fork()
    if not child:
        sys.addaudithook(hook)
        do()
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL

def visible():
    if not store.exists("org/clip.mp4"):
        return None
    with store.open("org/clip.mp4") as body:
        return body.read()      # checks size and hash

def left():
    return [p for p in root.rglob("*") if p.is_file() and p.name != ".lock"]

OLD, NEW = b"old" * 1000, b"newer" * 100_000
for name, do, fine in [
    ("put", lambda: put(NEW), {OLD, NEW}),
    ("delete", lambda: store.delete("org/clip.mp4"), {OLD, None}),
    ("cold", lambda: store.move_to_cold("org/clip.mp4"), {OLD}),
    ("sweep", lambda: store.sweep(timedelta(seconds=-5)), {OLD}),
]:
    for step in range(200):
        put(OLD)
        if name == "sweep":
            store.writer("org/unfinished", content_type="video/mp4").suspend()
        killed = interrupted(do, step)
        seen = visible()
        assert seen in fine, (name, step, seen and len(seen))
        store.sweep(timedelta(seconds=-5))
        assert visible() == seen, (name, step)
        assert len(left()) == (0 if seen is None else 2), (name, step, left())
        if not killed:
            break
    assert not killed and step >= 4, (name, step)
    print(name, step)
"""


def test_killed_at_every_step(tmp_path: Path) -> None:
    """kill -9 before each call that changes names: the old file or the new one, whole; the rest is swept."""
    done = subprocess.run(
        [sys.executable, "-c", CRASHES, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    steps = dict(line.split() for line in done.stdout.splitlines())
    assert steps.keys() == {"put", "delete", "cold", "sweep"}
    assert int(steps["put"]) >= 8


# --- a full disk ---------------------------------------------------------------------------------------


def test_a_disk_that_is_full_at_every_step(tiny_disk: Path, links: Links) -> None:
    """With room for nothing, for a page more, and so on: an error, or the whole of it."""
    store, ballast, outcomes = LocalStore(tiny_disk / "files", links), tiny_disk / "ballast", []
    put(store, b"old" * 100)
    for pages in range(14):
        _fill(ballast, keep=pages)
        try:
            put(store, bytes(30_000))
            outcomes.append("stored")
        except StorageFullError:
            outcomes.append("full")
            assert content(store) == b"old" * 100
        assert len(files(tiny_disk / "files")) == 2
        store.delete(KEY)  # works, full or not
        assert files(tiny_disk / "files") == []
        ballast.unlink()
        put(store, b"old" * 100)  # and all is well again
    assert set(outcomes) == {"full", "stored"}
    assert outcomes == sorted(outcomes)
    assert (StorageFullError.status, StorageFullError.fate) == (507, Fate.RESOURCE)


def _fill(ballast: Path, keep: int) -> None:
    """Leave that many pages of 4 KiB."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(max(0, file.tell() // 4096 - keep) * 4096)


def test_an_upload_survives_a_full_disk(tiny_disk: Path, links: Links) -> None:
    store = LocalStore(tiny_disk / "files", links)
    writer = store.writer(KEY, content_type="video/mp4")
    writer.write(bytes(20_000))
    ballast = tiny_disk / "ballast"
    _fill(ballast, keep=0)
    with pytest.raises(StorageFullError):
        writer.write(bytes(50_000))
    writer.suspend()
    ballast.unlink()
    writer = store.resume(writer.token)
    assert 20_000 <= writer.offset < 70_000
    writer.write(bytes(70_000 - writer.offset))
    assert writer.finish().bytes == 70_000


# --- what is in the folder -----------------------------------------------------------------------------


@pytest.fixture
def lax() -> Iterator[None]:
    """A process whose files others may read, unless it says otherwise."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("lax")
def test_only_its_owner_may_look(links: Links, tmp_path: Path) -> None:
    root = tmp_path / "made" / "files"
    put(LocalStore(root, links), key="org_1/upl_2/file")
    made = [root.parent, *root.parent.rglob("*")]
    assert {p.stat().st_mode & 0o777 for p in made if p.is_file()} == {0o600}
    assert {p.stat().st_mode & 0o777 for p in made if p.is_dir()} == {0o700}
    assert {root / ".lock", root / "org_1"} <= set(made)


def test_other_peoples_files_stay(store: LocalStore, root: Path) -> None:
    put(store)
    theirs = [
        root / "me@home.txt",
        root / "notes@.json.bak",
        root / "org_1" / "photo@2x.png",
        root / "read.me",
    ]
    for path in theirs:
        path.write_text("mine")
    store.sweep(ALL)
    assert all(path.exists() for path in theirs)
    assert [each.key for each in store.list()] == [KEY]


def test_empty_folders_go(store: LocalStore, root: Path) -> None:
    put(store, key="org_1/str_2/deep/clip.mp4")
    put(store, key="org_1/other.mp4")
    store.delete("org_1/str_2/deep/clip.mp4")
    assert [p.name for p in (root / "org_1").iterdir() if p.is_dir()] == []
    store.delete("org_1/other.mp4")
    assert {p.name for p in root.iterdir()} == {".lock"}


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"about": 1}', "null"])
def test_a_damaged_record(text: str, store: LocalStore, root: Path) -> None:
    put(store)
    record = next(root.rglob("*@.json"))
    record.write_text(text)
    for ask in (store.stat, store.open, store.move_to_cold):
        with pytest.raises(ObjectDamagedError):
            ask(KEY)
    assert [each.key for each in store.list()] == [KEY]
    store.delete(KEY)
    assert not store.exists(KEY)
    store.sweep(ALL)
    assert files(root) == []


def test_a_record_of_another_object(store: LocalStore, root: Path) -> None:
    put(store)
    record = next(root.rglob("*@.json"))
    record.with_name("other.mp4@.json").write_bytes(record.read_bytes())
    with pytest.raises(ObjectDamagedError, match="another"):
        store.open("org_1/other.mp4")


def test_a_record_that_names_another_folder(store: LocalStore, root: Path, tmp_path: Path) -> None:
    """Whoever can write records could point them elsewhere; names with slashes are none."""
    put(store)
    (tmp_path / "secret").write_text("0123456789")
    record = next(root.rglob("*@.json"))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"blob": "../../secret"}))
    with pytest.raises(ObjectDamagedError):
        store.open(KEY)


@pytest.mark.parametrize("change", ["gone", "shorter", "longer"])
def test_lost_bytes(change: str, store: LocalStore, root: Path) -> None:
    put(store)
    blob = next(p for p in files(root) if not p.name.endswith("@.json"))
    match change:
        case "gone":
            blob.unlink()
        case "shorter":
            blob.write_bytes(b"some")
        case _:
            blob.write_bytes(b"some bytes and more")
    with pytest.raises(ObjectDamagedError):
        content(store)


def test_a_folder_that_is_a_file(tmp_path: Path, links: Links) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageSetupError) as caught:
        put(LocalStore(tmp_path / "file", links))
    assert caught.value.fate is Fate.RESOURCE


def test_readers_keep_what_they_opened(store: LocalStore) -> None:
    put(store, b"first")
    with store.open(KEY) as body:
        put(store, b"second")
        store.delete(KEY)
        assert body.read() == b"first"


def test_bytes_that_are_lost_while_they_are_read(store: LocalStore, root: Path) -> None:
    put(store)
    blob = next(p for p in files(root) if not p.name.endswith("@.json"))
    with store.open(KEY, 2, 8) as body:
        blob.write_bytes(b"some")
        with pytest.raises(ObjectDamagedError, match="missing"):
            body.read()


def test_one_changes_names_at_a_time(store: LocalStore, root: Path) -> None:
    """Whoever holds the lock is waited for: the system's list of locks shows it."""
    put(store, b"first")
    lock = root / ".lock"
    with lock.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        other = threading.Thread(target=put, args=(store, b"second"))
        other.start()
        waits = re.compile(rf"-> FLOCK .*:{lock.stat().st_ino} ")
        until(lambda: waits.search(Path("/proc/locks").read_text()))
        assert content(store) == b"first"
    other.join()
    assert content(store) == b"second"


def test_an_upload_that_is_finished_while_it_is_swept(root: Path, links: Links) -> None:
    """Between the first look at it and its turn."""

    class Late(LocalStore):
        def _is_stale(self, path: Path, before: float) -> bool:
            stale = super()._is_stale(path, before)
            if stale and not self.exists(KEY):
                self.resume(token).finish()
            return stale

    writer = LocalStore(root, links).writer(KEY, content_type="video/mp4")
    writer.write(b"some bytes")
    writer.suspend()
    token = writer.token
    store = Late(root, links)
    assert store.sweep(ALL).things == 0
    assert content(store) == b"some bytes"


def test_cold_is_another_folder(tmp_path: Path, root: Path, links: Links) -> None:
    cold = tmp_path / "cold"
    store = LocalStore(root, links, cold=cold)
    put(store, bytes(1000))
    store.move_to_cold(KEY)
    assert [p.stat().st_size for p in files(cold)] == [1000]
    assert [p.name for p in files(root)] == ["clip.mp4@.json"]
    store.delete(KEY)
    assert files(cold) == files(root) == []
    assert list(cold.iterdir()) == []


def test_without_a_cold_folder_nothing_moves(store: LocalStore) -> None:
    put(store)
    assert not store.move_to_cold(KEY).cold
    assert not store.stat(KEY).cold


def test_a_cold_folder_that_is_no_longer_named(tmp_path: Path, root: Path, links: Links) -> None:
    both = LocalStore(root, links, cold=tmp_path / "cold")
    put(both)
    both.move_to_cold(KEY)
    store = LocalStore(root, links)
    for ask in (store.open, store.delete):
        with pytest.raises(StorageSetupError, match="cold"):
            ask(KEY)
    assert content(both) == b"some bytes"


def test_all_at_once(root: Path, tmp_path: Path, links: Links) -> None:
    """Putting, deleting, moving and sweeping one key together: at the end nothing is lost or left."""
    store, wrong = LocalStore(root, links, cold=tmp_path / "cold"), []

    def often(do: object, times: int = 40) -> None:
        for _ in range(times):
            try:
                do()  # type: ignore[operator]
            except ObjectNotFoundError:
                pass
            except StorageError as error:
                wrong.append(error)

    does = [lambda: put(store, bytes(5000)), lambda: put(store, b"x", "org_1/b"), lambda: store.delete(KEY)]
    does += [lambda: store.move_to_cold(KEY), lambda: store.sweep(HOUR), lambda: content(store)]
    threads = [threading.Thread(target=often, args=(do,)) for do in does]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.sweep(ALL).things == 0
    assert content(store, "org_1/b") == b"x"
    store.delete(KEY)
    assert len(files(root) + files(tmp_path / "cold")) == 2


# --- links ---------------------------------------------------------------------------------------------


def opened_by(store: LocalStore, url: str, now: datetime) -> bool:
    """As the server sees it."""
    parts = urlsplit(url)
    assert parts.path.startswith("/files/")
    return store.opens(parts.path.removeprefix("/files/"), dict(parse_qsl(parts.query)), now)


@pytest.mark.parametrize("name", [None, "a.mp4", "Tor & mehr?.mp4", "日本.mp4", "x\ud800y", ""])
def test_a_link_opens_its_file_until_then(name: str | None, store: LocalStore) -> None:
    now = datetime.now(UTC)
    url = store.url(KEY, expires=HOUR, download_name=name)
    if name == "":  # parse_qsl drops it, and so may others: then it is another link
        assert not opened_by(store, url, now)
        return
    assert opened_by(store, url, now)
    assert opened_by(store, url, now + timedelta(minutes=59))
    assert not opened_by(store, url, now + timedelta(minutes=61))


def changes() -> Iterator[tuple[str, str]]:
    yield "clip.mp4", "clip.mp3"
    yield "org_1", "org_2"
    yield "a.mp4", "a.exe"
    yield "download_name=a.mp4&", ""
    yield "expires=1", "expires=2"
    yield "signature=", "signature=A"


@pytest.mark.parametrize("change", [*changes()], ids=[f"{a}-{b}" for a, b in changes()])
def test_a_link_that_was_changed(change: tuple[str, str], store: LocalStore) -> None:
    url = store.url(KEY, expires=HOUR, download_name="a.mp4")
    assert change[0] in url
    assert not opened_by(store, url.replace(*change), datetime.now(UTC))


def test_a_link_of_another_installation(store: LocalStore, root: Path) -> None:
    other = LocalStore(root, Links([new_key()]))
    assert not opened_by(store, other.url(KEY, expires=HOUR), datetime.now(UTC))


def test_where_links_lead(root: Path, links: Links) -> None:
    assert LocalStore(root, links).url(KEY, expires=HOUR).startswith(f"/files/{KEY}?expires=")
    there = LocalStore(root, links, base="https://cdn.example.com")
    assert there.url(KEY, expires=HOUR).startswith(f"https://cdn.example.com/files/{KEY}?expires=")
