"""Objects in a folder: their bytes, and beside them a small record that says which bytes they are.

    org_1/str_2/clip@3f…a9.mp4      the bytes of org_1/str_2/clip.mp4, under a name that is never used again
    org_1/str_2/clip.mp4@.json      its record: that name, size, hash, attributes

The record is renamed into place once all it names is on the disk, so that bytes and attributes change in one
step. Bytes that no record names are not visible: an upload that goes on, or what a crash left to `sweep`.
Keys have no `@`, so nothing can be mistaken for anything else.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from pydantic import AwareDatetime, StringConstraints, TypeAdapter, ValidationError

from tldr_highlight.core.files import FULL
from tldr_highlight.core.security import Links
from tldr_highlight.errors import (
    ObjectDamagedError,
    ObjectMismatchError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StorageSetupError,
)
from tldr_highlight.storage.base import (
    CHUNK,
    About,
    Body,
    Listed,
    ObjectStore,
    Readable,
    Stored,
    Swept,
    Writer,
    bounds,
    checked_key,
    link_seconds,
    same_hash,
)

_SETUP = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP,
    errno.ENOENT,
}  # fmt: skip
_TOKEN = 32  # hexadecimal digits of chance in a name
_BLOB = re.compile(r"[^@/]+@[0-9a-f]{32}(?:\.[^@/]*)?")
_Blob = Annotated[str, StringConstraints(pattern=f"^{_BLOB.pattern}$")]


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept beside an object's bytes."""

    about: About
    blob: _Blob  # name of the file with the bytes
    bytes: int
    sha256: str
    modified: AwareDatetime
    cold: bool = False

    @property
    def stored(self) -> Stored:
        """For those who ask."""
        return Stored(self.about, self.bytes, self.sha256, self.modified, self.cold)


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a writer's token holds."""

    about: About
    blob: _Blob


_HELD = 1000
"""Files that are remembered to be what was stored."""

_RECORD = TypeAdapter(Record)
_BEGUN = TypeAdapter(_Begun)


class LocalStore(ObjectStore):
    """A folder on this machine, or one that several machines mount."""

    def __init__(self, root: Path, links: Links, *, cold: Path | None = None, base: str = "") -> None:
        """`cold` is a folder on a cheaper disk; `base` comes before the path of links."""
        self._hot, self._cold = root, cold
        self._links, self._base = links, base
        self._held: dict[Path, int] = {}  # files held against their hashes -> when they had changed, ns

    def put(
        self,
        key: str,
        source: Path | Readable,
        *,
        content_type: str,
        cache_control: str | None = None,
        download_name: str | None = None,
        sha256: str | None = None,
    ) -> Stored:
        """See `ObjectStore`."""
        about = About(key, content_type, cache_control, download_name)
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            writer = self._begin(about)
            stack.callback(writer.abort)  # does nothing once it is finished
            for data in iter(lambda: stream.read(CHUNK), b""):
                writer.write(data)
            return writer.finish(sha256=sha256)

    def writer(
        self,
        key: str,
        *,
        content_type: str,
        cache_control: str | None = None,
        download_name: str | None = None,
    ) -> Writer:
        """See `ObjectStore`."""
        return self._begin(About(key, content_type, cache_control, download_name))

    def _begin(self, about: About, *, cold: bool = False) -> _LocalWriter:
        path = Path(about.key)
        blob = f"{path.stem}@{secrets.token_hex(_TOKEN // 2)}{path.suffix}"
        where = self._folder(about.key, cold=cold) / blob
        with _errors(about.key), self._turn():
            _make(where.parent)
            handle = os.open(where, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        writer = _LocalWriter(self, about, where, handle, cold=cold)
        with _errors(about.key):
            _sync(where.parent)  # an upload is safe from here on
        return writer

    def resume(self, token: str) -> Writer:
        """See `ObjectStore`."""
        begun = _BEGUN.validate_json(token)
        where = self._folder(begun.about.key) / begun.blob
        with _errors(begun.about.key):
            if self._is_used(where) or not where.exists():
                raise ObjectNotFoundError(f"{begun.about.key}: this upload is over, or was given up")
            return _LocalWriter(self, begun.about, where, os.open(where, os.O_RDWR | os.O_CLOEXEC))

    def open(self, key: str, start: int = 0, end: int | None = None) -> Body:
        """See `ObjectStore`."""
        return self._opened(key, start, end)[1]

    def _opened(self, key: str, start: int = 0, end: int | None = None) -> tuple[Record, Body]:
        record = self._record(key)
        while True:
            try:
                file = self._blob(record).open("rb")
                break
            except FileNotFoundError as error:  # replaced since we read the record; or lost
                again = self._record(key)
                if again == record:
                    raise ObjectDamagedError(f"{key}: its bytes are gone") from error
                record = again
            except OSError as error:
                raise _ours(error, key) from error
        with contextlib.ExitStack() as stack:
            stack.callback(file.close)
            if os.fstat(file.fileno()).st_size != record.bytes:
                raise ObjectDamagedError(f"{key}: it has not the size it was stored with")
            first, last = bounds(record.bytes, start, end)
            file.seek(first)
            stack.pop_all()
        return record, Body(record.stored, _File(file, key), first, last)

    def file(self, key: str, elsewhere: Path) -> Path:
        """See `ObjectStore`. In each process the first time takes 0.6 s for a gigabyte in memory."""
        record, body = self._opened(key)
        blob = self._blob(record)
        with body, _errors(key):
            changed = blob.stat().st_mtime_ns
            if self._held.get(blob) != changed:
                for _ in body:
                    pass
                if len(self._held) == _HELD:
                    self._held.clear()
                self._held[blob] = changed  # a clip of ten seconds need not read ten gigabytes again
        return blob

    def free(self) -> int | None:
        """See `ObjectStore`."""
        there = next(folder for folder in (self._hot, *self._hot.absolute().parents) if folder.exists())
        with _errors("files"):
            return shutil.disk_usage(there).free

    def stat(self, key: str) -> Stored:
        """See `ObjectStore`."""
        return self._record(key).stored

    def delete(self, key: str) -> None:
        """See `ObjectStore`. Works on a full disk."""
        place = self._place(key)
        with _errors(key), self._turn():
            with contextlib.suppress(ObjectDamagedError, ObjectNotFoundError):
                blob = self._blob(self._record(key))
                place.unlink()  # first: what is visible is whole
                blob.unlink(missing_ok=True)
                self._prune(blob.parent)
            place.unlink(missing_ok=True)
            self._prune(place.parent)

    def move_to_cold(self, key: str) -> Stored:
        """See `ObjectStore`. Without a cold folder nothing happens."""
        with contextlib.ExitStack() as stack:
            body = stack.enter_context(self.open(key))
            before = self._record(key)
            if before.cold or self._cold is None or before.stored != body.stored:
                return before.stored
            writer = self._begin(before.about, cold=True)
            stack.callback(writer.abort)
            for data in body:
                writer.write(data)
            return writer.finish_as(replace(before, blob=writer.blob, cold=True), instead_of=before)

    def list(self, folder: str = "") -> Iterator[Listed]:
        """See `ObjectStore`."""
        top = self._hot / checked_key(folder) if folder else self._hot
        for place in _files(top, re.compile(r".+@\.json")):
            key = place.relative_to(self._hot).as_posix().removesuffix("@.json")
            try:
                record = self._record(key)
                yield Listed(key, record.bytes, record.modified)
            except ObjectNotFoundError:  # deleted meanwhile
                continue
            except ObjectDamagedError:  # whoever compares with what should be there must see it
                yield Listed(key, 0, datetime.fromtimestamp(0, UTC))

    def url(self, key: str, *, expires: timedelta, download_name: str | None = None) -> str:
        """See `ObjectStore`. `opens` checks it where the request arrives."""
        until = int(datetime.now(UTC).timestamp()) + link_seconds(expires)
        named = {} if download_name is None else {"download_name": download_name}
        signed = self._links.sign(_signed(checked_key(key), download_name), until)
        return f"{self._base}/files/{key}?{urlencode(named, errors='replace')}{'&' if named else ''}{signed}"

    def opens(self, key: str, query: Mapping[str, str], now: datetime) -> bool:
        """Whether a request for `/files/{key}` with this query has a link of ours that holds at `now`."""
        return self._links.check(_signed(key, query.get("download_name")), query, now)

    def sweep(self, older_than: timedelta) -> Swept:
        """See `ObjectStore`. Takes a look at each file that is that old: 100 000 in some 5 s."""
        before = datetime.now(UTC).timestamp() - older_than.total_seconds()
        found = Swept()
        for root in {self._hot, self._cold or self._hot}:
            for path in _files(root, _BLOB):  # other people's files are theirs
                if self._is_stale(path, before):
                    found += self._removed(path, before)
        return found

    def close(self) -> None:
        """See `ObjectStore`. There are none."""

    # --- where things are ------------------------------------------------------------------------------

    def _folder(self, key: str, *, cold: bool = False) -> Path:
        root = self._cold if cold else self._hot
        if root is None:
            raise StorageSetupError(f"{key} is in a cold folder that TLDR_STORAGE_URL no longer names")
        return root / Path(checked_key(key)).parent

    def _place(self, key: str) -> Path:
        """Of the record."""
        return self._folder(key) / f"{Path(key).name}@.json"

    def _blob(self, record: Record) -> Path:
        return self._folder(record.about.key, cold=record.cold) / record.blob

    def _record(self, key: str) -> Record:
        place = self._place(key)
        try:
            record = _RECORD.validate_json(place.read_bytes())
        except FileNotFoundError as error:
            raise ObjectNotFoundError(f"no stored file {key}") from error
        except OSError as error:
            raise _ours(error, key) from error
        except ValidationError as error:
            raise ObjectDamagedError(f"{key}: its record is damaged: {place}") from error
        if record.about.key != key:
            raise ObjectDamagedError(f"{key}: its record is another's: {place}")
        return record

    @contextlib.contextmanager
    def _turn(self) -> Generator[None]:
        """Be the only one, of all processes, who changes names. Takes microseconds."""
        import fcntl  # noqa: PLC0415 - not on Windows, where nobody serves

        _make(self._hot)
        handle = os.open(self._hot / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def publish(self, record: Record, instead_of: Record | None = None) -> bool:
        """Make `record` the object; not if it should replace a certain one, and another is there.

        Raises:
            ObjectNotFoundError: its bytes were swept meanwhile.
        """
        key, place = record.about.key, self._place(record.about.key)
        draft = place.with_name(f"{Path(key).name}@{record.blob.partition('@')[2][:_TOKEN]}.draft")
        with _errors(key), self._kept(draft, _RECORD.dump_json(record)), self._turn():
            if not self._blob(record).exists():
                raise ObjectNotFoundError(f"{key}: this upload was given up")
            old = self._replaced(key)
            if instead_of is not None and old != instead_of:
                return False
            draft.replace(place)
        with _errors(key):
            _sync(place.parent)
            if old:
                self._blob(old).unlink(missing_ok=True)
        return True

    def _replaced(self, key: str) -> Record | None:
        with contextlib.suppress(ObjectNotFoundError, ObjectDamagedError):
            return self._record(key)
        return None

    @contextlib.contextmanager
    def _kept(self, draft: Path, data: bytes) -> Generator[None]:
        """A file on the disk that is gone afterwards, unless it was renamed."""
        try:
            with self._turn():
                _make(draft.parent)
                handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            yield
        finally:
            draft.unlink(missing_ok=True)

    # --- what is left over -----------------------------------------------------------------------------

    def remove(self, path: Path) -> None:
        """Remove bytes, unless a record names them."""
        with _errors(path.name), self._turn():
            if not self._is_used(path):
                path.unlink(missing_ok=True)
                self._prune(path.parent)

    def _is_stale(self, path: Path, before: float) -> bool:
        try:
            return path.stat().st_mtime < before and not self._is_used(path)
        except FileNotFoundError:
            return False

    def _removed(self, path: Path, before: float) -> Swept:
        with _errors(path.name), self._turn():
            if not self._is_stale(path, before):  # finished since
                return Swept()
            size = path.stat().st_size
            path.unlink()
            self._prune(path.parent)
        return Swept(1, size)

    def _is_used(self, path: Path) -> bool:
        """Whether a record names this file."""
        root = self._hot if path.is_relative_to(self._hot) else self._cold
        assert root
        stem, _, rest = path.name.partition("@")
        key = path.relative_to(root).with_name(stem + rest[_TOKEN:]).as_posix()
        with contextlib.suppress(ObjectNotFoundError, ObjectDamagedError, StorageSetupError):
            return self._blob(self._record(key)) == path
        return False

    def _prune(self, folder: Path) -> None:
        """Remove folders that have become empty."""
        for each in (folder, *folder.parents):
            if each in (self._hot, self._cold):
                return
            try:
                each.rmdir()
            except OSError:  # not empty
                return


class _LocalWriter(Writer):
    """A file that grows."""

    def __init__(
        self, store: LocalStore, about: About, path: Path, handle: int, *, cold: bool = False
    ) -> None:
        self._store, self._about, self._path = store, about, path
        self.blob = path.name
        self.token = json.dumps(asdict(_Begun(about, path.name)))
        self._handle: int | None = handle
        self._offset = os.lseek(handle, 0, os.SEEK_END)
        self._hash = None if self._offset else hashlib.sha256()

    @property
    def offset(self) -> int:
        """See `Writer`."""
        return self._offset

    def write(self, data: bytes) -> None:
        """See `Writer`."""
        left = memoryview(data)
        with _errors(self._about.key):
            while left:
                count = os.write(self._open, left)
                self._offset += count
                if self._hash:
                    self._hash.update(left[:count])
                left = left[count:]

    def suspend(self) -> None:
        """See `Writer`."""
        with contextlib.closing(self), _errors(self._about.key):
            os.fsync(self._open)

    def finish(self, *, sha256: str | None = None) -> Stored:
        """See `Writer`."""
        try:
            got = same_hash(self._about, self._digest(), sha256)
        except ObjectMismatchError:
            self.abort()
            raise
        return self.finish_as(Record(self._about, self.blob, self._offset, got, datetime.now(UTC)))

    def finish_as(self, record: Record, instead_of: Record | None = None) -> Stored:
        """Make what was written what `record` says."""
        with _errors(self._about.key):
            os.utime(self._open)  # a sweep shall not take it for old now
            os.fsync(self._open)
        if not self._store.publish(record, instead_of):
            self.abort()
            return self._store.stat(self._about.key)
        self.close()
        return record.stored

    def abort(self) -> None:
        """See `Writer`."""
        if self._handle is not None:
            self.close()
            self._store.remove(self._path)

    @property
    def _open(self) -> int:
        assert self._handle is not None, "it is finished, suspended or aborted"
        return self._handle

    def _digest(self) -> str:
        if self._hash:
            return self._hash.hexdigest()
        with _errors(self._about.key), self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def close(self) -> None:
        """See `Writer`."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@dataclass(frozen=True, slots=True)
class _File:
    """A file whose errors are ours."""

    file: Any
    key: str

    def read(self, size: int, /) -> bytes:
        with _errors(self.key):
            return self.file.read(size)

    def close(self) -> None:
        self.file.close()


def _signed(key: str, download_name: str | None) -> str:
    """What a link's signature is over: keys have no `?`, so no key and name can pass for others."""
    path = f"/files/{key}"
    return path if download_name is None else f"{path}?{quote(download_name, safe='', errors='replace')}"


def _files(top: Path, name: re.Pattern[str]) -> Iterator[Path]:
    """Files below a folder whose names are like that; folders that go meanwhile are no error."""
    for folder, _, names in os.walk(top, onerror=_unless_gone):
        yield from (Path(folder, each) for each in names if name.fullmatch(each))


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise _ours(error, "files") from error


def _make(folder: Path) -> None:
    """Make a folder, with those it is in, that its owner alone may enter, so that a power cut loses none."""
    missing = takewhile(lambda each: not each.exists(), (folder, *folder.parents))
    for each in reversed(list(missing)):
        each.mkdir(mode=0o700, exist_ok=True)  # with `parents` those would have the mode that others have
        _sync(each.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _errors(key: str) -> Generator[None]:
    """Turn what the system says into errors of ours."""
    try:
        yield
    except OSError as error:
        raise _ours(error, key) from error


def _ours(error: OSError, key: str) -> StorageError:
    words = error.strerror or str(error)
    if error.errno in FULL:
        return StorageFullError(f"no space left to store {key}")
    if error.errno in _SETUP:
        return StorageSetupError(f"cannot store or read {key}: {words}; TLDR_STORAGE_URL names the folder")
    return StorageError(f"cannot store or read {key}: {words}")
