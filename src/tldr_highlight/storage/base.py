"""What a store of files must do. `local.py` and `s3.py` do it; `tests/storage/` holds both to it.

    stored = store.put("org_1/str_2/clip.mp4", path, content_type="video/mp4")
    with store.open(stored.key, 100, 200) as body: ...     # bytes 100..199
    store.url(stored.key, expires=timedelta(hours=1))      # whoever has it may read until then

An object is visible whole, with all its attributes, or not at all; putting one where one is replaces it for
whoever opens it afterwards. Nothing is public. What was begun and never finished is collected by `sweep`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tldr_highlight.core.files import replacing
from tldr_highlight.errors import ObjectDamagedError, ObjectKeyError, ObjectMismatchError, ObjectNotFoundError
from tldr_highlight.storage.names import harmless

CHUNK = 256 * 1024
"""Bytes that are moved at a time: less costs calls (4 KiB: 3 times the CPU), more gains nothing."""

LONGEST_KEY = 512
"""Characters. S3 takes 1024 bytes, prefix included."""

LONGEST_LINK = timedelta(days=7)
"""S3 signs for no longer."""

_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"  # 255 bytes are a file's name, and we add some 40
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_MEDIA_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,60}(?:; ?charset=utf-8)?"
)
_HEADER = re.compile(r"[\x20-\x7e]{1,200}")


def checked_key(key: str) -> str:
    """The key, if it is one: ASCII letters, digits and `_-.` between slashes; no part begins with a dot.

    Raises:
        ObjectKeyError: it is none.
    """
    if not is_key(key):
        raise ObjectKeyError("no stored file can have this name")
    return key


def is_key(text: str) -> bool:
    """Whether it could be one."""
    return len(text) <= LONGEST_KEY and _KEY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an object before its bytes are."""

    key: str
    content_type: str
    cache_control: str | None = None
    download_name: str | None = None  # any text; made harmless here

    def __post_init__(self) -> None:
        checked_key(self.key)
        if not _MEDIA_TYPE.fullmatch(self.content_type):
            raise ValueError(f"no media type: {self.content_type!r}")
        if self.cache_control is not None and not _HEADER.fullmatch(self.cache_control):
            raise ValueError(f"no Cache-Control: {self.cache_control!r}")
        if self.download_name is not None:
            object.__setattr__(self, "download_name", harmless(self.download_name))


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there."""

    about: About
    bytes: int
    sha256: str  # 64 hexadecimal digits
    modified: datetime  # aware
    cold: bool = False  # where keeping is cheaper and reading is not

    @property
    def key(self) -> str:
        """Its name."""
        return self.about.key


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as lists have it."""

    key: str
    bytes: int
    modified: datetime  # aware


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed: things that were begun and never finished."""

    things: int = 0
    bytes: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(self.things + other.things, self.bytes + other.bytes)


class Readable(Protocol):
    """Anything bytes can be read from: a file, a request's body."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


class Source(Readable, Protocol):
    """Where a body's bytes come from."""

    def close(self) -> None:
        """Let go of it."""
        ...


class Body:
    """An object's bytes, or a range of them, to be read once. Use it in a `with`, or close it.

    Read to its end, a whole object is held against its hash.
    """

    def __init__(self, stored: Stored, source: Source, start: int, end: int) -> None:
        self.stored = stored
        self._source = source
        self._left = end - start
        self._hash = hashlib.sha256() if self._left == stored.bytes else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(CHUNK), b"")

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all that is left when negative; none at the end.

        Raises:
            ObjectDamagedError: they are not the bytes that were stored.
            StorageError: they cannot be had now.
        """
        if size < 0:
            return b"".join(self)
        wanted = min(size, self._left)
        data = self._source.read(wanted) if wanted else b""
        if wanted and not data:
            raise ObjectDamagedError(f"{self.stored.key}: {self._left} bytes are missing at its end")
        self._left -= len(data)
        if self._hash:
            self._hash.update(data)
            if not self._left and self._hash.hexdigest() != self.stored.sha256:
                raise ObjectDamagedError(f"{self.stored.key}: its bytes are not those that were stored")
        return data

    def close(self) -> None:
        """Let go of file or connection."""
        self._source.close()


class Writer(Protocol):
    """An object that comes in pieces, to processes that may change; not visible until `finish`."""

    token: str
    """What `resume` takes. Stays the same; for us alone, not for customers."""

    @property
    def offset(self) -> int:
        """Bytes that came. After `resume`: that are safe, and where the next ones go."""
        ...

    def write(self, data: bytes) -> None:
        """Append."""
        ...

    def suspend(self) -> None:
        """Make safe what came, and let go of it: `resume` goes on, in any process."""
        ...

    def finish(self, *, sha256: str | None = None) -> Stored:
        """Make it the object. What other processes wrote is read again for its hash.

        Raises:
            ObjectMismatchError: it has not the hash that it should have; the upload is gone.
        """
        ...

    def abort(self) -> None:
        """Forget it, and what came. To do so twice does nothing."""
        ...

    def close(self) -> None:
        """Let go of it as it is in the store, where it may be another process's by now."""
        ...


class ObjectStore(Protocol):
    """Files by key. All methods may be called from several threads and processes at once.

    Each may raise `StorageError` (no answer now), `StorageSetupError` (the operator must act) or, when
    writing, `StorageFullError`; and `ObjectKeyError` for what is no key.
    """

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
        """Store a file or all that a stream gives. With `sha256` (64 digits) only if that is its hash.

        Raises:
            ObjectMismatchError: it is not; what was there under this key still is.
        """
        ...

    def writer(
        self,
        key: str,
        *,
        content_type: str,
        cache_control: str | None = None,
        download_name: str | None = None,
    ) -> Writer:
        """Begin an object that comes in pieces."""
        ...

    def resume(self, token: str) -> Writer:
        """Go on with one. One process at a time: who may is for the caller to arrange.

        Raises:
            ObjectNotFoundError: it is finished, aborted or swept.
        """
        ...

    def open(self, key: str, start: int = 0, end: int | None = None) -> Body:
        """The bytes from `start` to before `end`, which may be past the object's.

        Raises:
            ObjectNotFoundError: there is no such object.
            ValueError: `start` is past its end.
        """
        ...

    def stat(self, key: str) -> Stored:
        """What is known of it.

        Raises:
            ObjectNotFoundError: there is no such object.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove it; that it is not there is fine."""
        ...

    def move_to_cold(self, key: str) -> Stored:
        """Move it to where keeping is cheaper, if there is such a place; it stays readable at once.

        Raises:
            ObjectNotFoundError: there is no such object.
        """
        ...

    def list(self, folder: str = "") -> Iterator[Listed]:
        """What there is below `folder` (`org_1` has `org_1/a`, not `org_10/a`), in any order."""
        ...

    def url(self, key: str, *, expires: timedelta, download_name: str | None = None) -> str:
        """An address that opens this object, and nothing else, for `expires`: a second to seven days.

        With `download_name` browsers save it, under that name. Whether the object is there is not looked up.
        The local store's is a path on our own server where neither CDN_URL nor PUBLIC_URL is set.
        """
        ...

    def sweep(self, older_than: timedelta) -> Swept:
        """Remove what was begun and not finished, and not touched for that long."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...

    def free(self) -> int | None:
        """Bytes for which there is room; None: as many as anybody pays for."""
        return None

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            self.stat(key)
        except ObjectNotFoundError:
            return False
        return True

    def get(self, key: str, path: Path) -> Stored:
        """Copy an object into a file, which appears whole and with the right hash, or not at all.

        Raises:
            ObjectNotFoundError: there is no such object.
            ObjectDamagedError: its bytes are not those that were stored.
            OutputError: the file cannot be written.
        """
        with replacing(path) as draft, draft.open("wb") as file, self.open(key) as body:
            for data in body:
                file.write(data)
        return body.stored

    def file(self, key: str, elsewhere: Path) -> Path:
        """A file on this machine with an object's bytes, all held against its hash.

        Its own, which nobody may write to, and which may be deleted or replaced at any time; or a copy called
        `elsewhere`, where the object is on another machine.

        Raises:
            ObjectNotFoundError, ObjectDamagedError, OutputError: as `get` does.
        """
        self.get(key, elsewhere)
        return elsewhere


def same_hash(about: About, got: str, wanted: str | None) -> str:
    """`got`, if it is what is wanted or nothing is.

    Raises:
        ObjectMismatchError: it is not.
    """
    if wanted is not None and got != wanted.lower():
        raise ObjectMismatchError(f"{about.key}: its SHA-256 is {got}, not {wanted}", sha256=got)
    return got


def bounds(size: int, start: int, end: int | None) -> tuple[int, int]:
    """The range as it is in an object of `size` bytes.

    Raises:
        ValueError: it begins past the end, or ends before it begins.
    """
    last = size if end is None else min(end, size)
    if not 0 <= start <= size or (end is not None and end < start):
        raise ValueError(f"no bytes {start}..{end} in {size}")
    return start, last


def link_seconds(expires: timedelta) -> int:
    """How long a link holds.

    Raises:
        ValueError: less than a second, or more than seven days.
    """
    if not timedelta(seconds=1) <= expires <= LONGEST_LINK:
        raise ValueError(f"links hold for a second to seven days, not {expires}")
    return int(expires.total_seconds())
