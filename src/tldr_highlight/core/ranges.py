"""A file on an HTTP server as a seekable file, read in blocks that all of its readers share.

    with Blocks(egress, url, headers=headers) as blocks:     opens it: asks for the first block
        blocks.size, blocks.url
        with blocks.reader() as file:                        as many as needed, in any thread: a binary file
            av.open(file)

Sequential reading is noticed and read ahead of, a little at first, more while it goes on. Who knows what
will be read says so with `expect`: that comes early, in few requests, and nothing beyond it.
A server that does not send parts of files is asked once for the whole, into a temporary file without a name.
The file must stay the same: a change of size, ETag or time ends all reading with `SourceChangedError`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from tldr_highlight.core.addresses import without_keys
from tldr_highlight.core.egress import Egress, Response, worth_another_try
from tldr_highlight.core.files import FULL
from tldr_highlight.errors import (
    DiskFullError,
    IncompleteError,
    OutputError,
    SourceChangedError,
    SourceDeniedError,
    SourceError,
    SourceNotFoundError,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 262_144
"""Bytes of a block: the least that is asked for. At either end of a stretch half of one is wasted."""

KEPT_BLOCKS = 192
"""Blocks in memory: 48 MiB, of which an hour's index takes 3."""

AHEAD = ((2, 2), (3, 3), (32, 5))
"""(blocks read in a row, blocks then asked for ahead). With 3, at 100 Mbit/s and 50 ms, the link is never
idle, and what a clip of 10 s (7.5 MB) does not need of them is a tenth of it."""

RUN = 16
"""Blocks of what is expected that one request asks for: 4 MiB, beside which a round trip is little."""

WINDOW = 64
"""Blocks from which on what is expected waits for its reader: 16 MiB, a third of what is kept. They are
1.3 s at 100 Mbit/s, in which the edges of a clip are encoded while its middle comes."""

EARLY = 2
"""Requests at a time for what is expected: one waits for its answer while the other's comes. With more, what
is needed first would share the line with what is needed last."""

LEAST_PART = 16_384
"""Bytes. A server may send less than was asked for, but byte by byte is slow, and no speed limit sees it."""

RUNS = 8
"""Places a reader may be reading on from at a time: demuxers jump between pictures and sound."""

CONNECTIONS = 6
"""Requests at a time: the block waited for and those ahead of it."""

CLOSED = "reading from a source that is closed"

COPIED = 1 << 20
"""Bytes written at once where the whole file is downloaded."""


class Blocks:
    """One remote file. Use it as a context manager; closing ends what other threads read."""

    def __init__(self, egress: Egress, url: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Open the file.

        Raises:
            SourceError: one of its kinds.
            UsageError: a header that may not be set.
        """
        self._egress = egress.branch()
        self._original = _Place(url, headers or {})
        self._place = self._original  # where redirects led, and what may be told there
        self._version = _Version(0, "", "")
        self._other: SourceChangedError | None = None  # set once another file is in its place
        self._kept: OrderedDict[int, bytes] = OrderedDict()  # longest unused first
        self._uses: Counter[int] = Counter()  # how often each was waited for
        self._coming: dict[int, Future[bytes]] = {}
        self._expected: list[range] = []  # stretches of blocks
        self._whole: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="blocks")
        self._early = ThreadPoolExecutor(EARLY, thread_name_prefix="blocks-early")
        try:
            self._egress.tried(self._open)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._version.size

    @property
    def url(self) -> str:
        """Where the file was found, after redirects."""
        return self._place.url

    @property
    def version(self) -> str | None:
        """What changes when the file does: its size with its ETag or time; None where nothing tells."""
        size, etag, modified = self._version
        mark = etag if etag.startswith('"') else modified  # W/: not the same bytes
        return f"{size} {mark}" if mark else None

    @property
    def moved(self) -> int:
        """Bytes received so far, headers included."""
        return self._egress.moved

    def reader(self) -> RangeReader:
        """A file with a position of its own over the shared blocks."""
        return RangeReader(self)

    def close(self) -> None:
        """Let go of everything; readers that wait get an error."""
        with self._lock:
            self._closed.set()
        self._egress.close()
        for pool in (self._early, self._pool):
            pool.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            for coming in self._coming.values():
                coming.cancel()  # what no thread had begun
            self._kept.clear()
            if self._whole:
                self._whole.close()

    def expect(self, *stretches: tuple[int, int]) -> None:
        """Say what is going to be read: bytes from the first to before the second of each, in this order.

        The beginning of each stretch is asked for now, the rest not far ahead of who reads there. What was
        expected before no longer is.
        """
        with self._lock:
            if self._closed.is_set() or self._whole:
                return
            blocks = -(-self.size // BLOCK)
            self._expected = [range(max(0, a) // BLOCK, min(-(-b // BLOCK), blocks)) for a, b in stretches]
            for stretch in self._expected:
                self._ask(stretch[:RUN], self._early)

    def block(self, index: int, ahead: int) -> bytes:
        """The block's bytes, waited for; `ahead` further ones are asked for and not waited for.

        Raises:
            SourceError: one of its kinds.
            ValueError: it is closed.
        """
        with self._lock:
            if self._closed.is_set():
                raise ValueError(CLOSED)
            if self._whole:
                return os.pread(self._whole.fileno(), BLOCK, index * BLOCK)
            if self._other:
                raise self._other
            coming = self._wanted(index)
            self._ask_ahead(index, ahead)
        try:
            return coming if isinstance(coming, bytes) else coming.result()
        except CancelledError:
            raise ValueError(CLOSED) from None

    def _wanted(self, index: int) -> bytes | Future[bytes]:
        self._uses[index] += 1
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        self._ask(range(index, index + 1), self._pool)
        return self._coming[index]

    def _ask_ahead(self, index: int, ahead: int) -> None:
        """Ask for what comes behind a block, and what was expected to, if anything, in whole runs."""
        stretch = next((s for s in self._expected if index in s), None)
        if stretch is None:
            for further in range(index + 1, min(index + 1 + ahead, -(-self.size // BLOCK))):
                self._ask(range(further, further + 1), self._pool)
            return
        for first in range(stretch.start, min(stretch.stop, index + WINDOW), RUN):
            self._ask(range(max(first, index), min(first + RUN, stretch.stop)), self._early)

    def _ask(self, blocks: range, pool: ThreadPoolExecutor) -> None:
        """Ask for those that are neither here nor coming: in one request, where they follow each other."""
        first = None
        for index in range(blocks.start, blocks.stop + 1):
            missing = index < blocks.stop and index not in self._kept and index not in self._coming
            if missing and first is None:
                first = index
            elif not missing and first is not None:
                self._coming |= {i: Future() for i in range(first, index)}
                pool.submit(self._load, range(first, index))
                first = None

    def _load(self, blocks: range) -> None:
        """Get blocks that follow each other, in a thread of a pool."""
        left = list(blocks)
        try:
            for data in self._received(blocks.start * BLOCK, min(self.size, blocks.stop * BLOCK)):
                with self._lock:
                    self._keep(left[0], data)
                    coming = self._coming.pop(left.pop(0))
                coming.set_result(data)
        finally:  # an error is for whoever waits; what nobody waits for is asked for again when it is read
            with self._lock:
                lost = [self._coming.pop(index) for index in left]
            for coming in lost:
                coming.set_exception(sys.exception())

    def _keep(self, index: int, data: bytes) -> None:
        """Keep a block, and what is used again and again (the file's index) longer than what passes by.

        What is still to be read stays: of that there is less than half.
        """
        self._kept[index] = data
        if len(self._kept) > KEPT_BLOCKS:
            passing = [i for i in self._kept if self._uses[i] == 1]
            victim = passing[0] if len(passing) > KEPT_BLOCKS // 2 else next(iter(self._kept))
            del self._kept[victim], self._uses[victim]

    def _received(self, start: int, end: int) -> Iterator[bytes]:
        """Blocks from byte `start` to before `end`; what came before a failure is not asked for again."""
        data = bytearray()  # of the next block
        failures = 0  # since the last one
        while True:
            place = self._place
            try:
                for chunk in self._chunks(place, start + len(data), end):
                    data += chunk
                    if len(data) == BLOCK < end - start:
                        yield bytes(data)
                        start, failures = start + BLOCK, 0
                        data.clear()
                if len(data) == end - start:  # only now: whoever waits for it may have the connection
                    yield bytes(data)
                    return
            except SourceError as error:
                failures += 1
                if failures >= self._egress.policy.tries or not self._helps(error, place):
                    raise
                self._closed.wait(self._egress.policy.pause * 2 ** (failures - 1))

    def _helps(self, error: SourceError, place: _Place) -> bool:
        """Whether to try again; where a redirect once led, links expire, so the original is asked anew."""
        if isinstance(error, SourceDeniedError | SourceNotFoundError) and place is not self._original:
            self._place = self._original
            return True
        return worth_another_try(error)

    def _chunks(self, place: _Place, start: int, end: int) -> Iterator[bytes]:
        """Bytes from `start` to before `end`, or to where the server stops, none over a block's border."""
        try:
            response = self._egress.open(place.url, headers=place.headers, start=start, end=end)
        except IncompleteError as error:  # HTTP 416
            raise self._changed("is shorter") from error
        with response:
            version = _version(response)
            if response.status != 206 or version != self._version:
                raise self._changed("is another")
            if (response.length or 0) < min(end - start, LEAST_PART):
                raise IncompleteError(
                    f"{response.address}: the server sends {response.length} bytes at a time"
                )
            self._place = _Place(response.url, response.told)
            while chunk := response.read(BLOCK - start % BLOCK):
                yield chunk
                start += len(chunk)

    def _changed(self, how: str) -> SourceChangedError:
        self._other = SourceChangedError(f"{without_keys(self._place.url)}: the file {how} than at first")
        return self._other

    def _open(self) -> None:
        """Ask for the first block, which shows whether the server sends parts of files."""
        original = self._original
        with self._egress.open(original.url, headers=original.headers, start=0, end=BLOCK) as response:
            self._place = _Place(response.url, response.told)
            if response.status != 206:
                return self._download(response)
            if response.total is not None:
                self._version = _version(response)
                data = response.whole(BLOCK)
                if len(data) == min(BLOCK, self.size):
                    self._kept[0] = data
                return None
        with self._egress.open(original.url, headers=original.headers) as response:
            return self._download(response)

    def _download(self, response: Response) -> None:
        try:
            with contextlib.ExitStack() as undo:
                whole = undo.enter_context(tempfile.TemporaryFile())
                while data := response.read(COPIED):
                    whole.write(data)
                whole.flush()
                self._version = _Version(whole.tell(), "", "")
                self._whole = whole
                undo.pop_all()
        except OSError as error:
            kind = DiskFullError if error.errno in FULL else OutputError
            folder = tempfile.gettempdir()
            raise kind(
                f"cannot keep the source in {folder}: {error.strerror}; TMPDIR names another"
            ) from error


class _Place(NamedTuple):
    """An address and the headers to tell there."""

    url: str
    headers: Mapping[str, str]


class _Version(NamedTuple):
    """What stays the same while a file does."""

    size: int
    etag: str
    modified: str  # where there is no ETag


def _version(response: Response) -> _Version:
    etag = response.headers.get("etag", "")
    return _Version(response.total or 0, etag, "" if etag else response.headers.get("last-modified", ""))


class RangeReader(io.RawIOBase):
    """A seekable binary file over a remote one's blocks. For one thread at a time, like any file."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._position: int = 0
        self._index: int = -1
        self._data = b""  # of that block
        self._runs: OrderedDict[int, int] = OrderedDict()  # next block -> blocks read in a row up to it

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._blocks.size

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Place of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to another place; nothing is asked for before it is read."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
        if whence not in origin or origin[whence] + offset < 0:
            raise ValueError(f"no such place: {offset} ({whence})")
        self._position = origin[whence] + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read up to the end of a block, so as not to wait for the next.

        Raises:
            SourceError: one of its kinds.
        """
        if self.closed:
            raise ValueError("reading from a closed file")
        if self._position >= self.size:
            return 0
        index = self._position // BLOCK
        offset = self._position % BLOCK
        if index != self._index:
            self._data = self._blocks.block(index, self._ahead(index))
            self._index = index
        view = memoryview(buffer).cast("B")
        piece = self._data[offset : offset + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _ahead(self, index: int) -> int:
        """How many blocks to ask for ahead of this one: more the longer reading goes on in a row."""
        run = self._runs.pop(index, 0) + 1
        self._runs[index + 1] = run
        if len(self._runs) > RUNS:
            self._runs.popitem(last=False)
        return max((ahead for least, ahead in AHEAD if run >= least), default=0)
