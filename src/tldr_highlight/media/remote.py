"""Sources on HTTP servers: files, and recordings in segments.

    with Egress(policy) as egress, opened(Remote(url), egress) as origin:
        info = probe(origin)          what `opened` gives is a Remote that `open_media` opens as often as
        cut(info, specs)              needed: all containers share its blocks, playlists and segments

libav opens nothing by itself here: it reads Python files over `core/ranges.py`, and for what a playlist
names it calls `media/recordings.py`. An error in such a call is raised by whatever was asked of libav.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, TypeVar

import av
from av.container import InputContainer

from tldr_highlight.core.addresses import parse, refused
from tldr_highlight.core.egress import Egress
from tldr_highlight.core.ranges import Blocks, RangeReader
from tldr_highlight.errors import SourceLargeError
from tldr_highlight.media import manifests, playlists
from tldr_highlight.media.recordings import PLAYLIST_BYTES, Part, Recording
from tldr_highlight.media.types import Origin, Remote, shown

Result = TypeVar("Result")

HEAD = 4096
"""Bytes that show what a file is."""

BEGINNING = 1 << 20
"""Bytes at the start of a file, behind an index that is there, which `probe` reads in any case."""

READ_BYTES = 65_536
"""Bytes that libav asks us for at once, for small things; large ones it asks for in one piece."""

HLS = {
    "format_whitelist": "hls,mpegts,mov,matroska,aac,mp3,ac3,eac3",
    "http_persistent": "0",
    "allowed_extensions": "ALL",  # the names are ours, and what is behind them is checked by us
    "allowed_segment_extensions": "ALL",
    "extension_picky": "0",
}
"""Options of libav's HLS demuxer."""


class Medium(Protocol):
    """What an address led to."""

    def container(self, options: Mapping[str, str]) -> InputContainer:
        """Open it with libav."""
        ...

    @property
    def size(self) -> int:
        """Bytes; of a recording an estimate by what was seen of it."""
        ...

    @property
    def version(self) -> str | None:
        """What changes when it does; None where nothing tells."""
        ...

    @property
    def parts(self) -> Sequence[Part]:
        """The stretches of a recording that each have a clock of their own; none of what is one file."""
        ...

    def part(self, index: int) -> Medium:
        """One of them alone."""
        ...

    def expect(self, *stretches: tuple[int, int]) -> None:
        """Say which bytes of a file are read next, see `Blocks.expect`."""
        ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Opened(Remote):
    """A source on a server that is open. In another process it is a plain `Remote` again."""

    head: bytes = field(repr=False)  # its first bytes
    medium: Medium = field(repr=False)

    def __reduce__(self) -> tuple[type[Remote], tuple[str, Mapping[str, str]]]:
        return Remote, (self.url, self.headers)

    def part(self, index: int) -> Opened:
        """One of the stretches of a recording, as a source of its own."""
        return replace(self, medium=self.medium.part(index))


@contextlib.contextmanager
def opened(origin: Origin, egress: Egress, *, probed: bool = False) -> Generator[Origin]:
    """Give `origin` in a form that `open_media` can open; files stay as they are.

    Where `probed` says so, `probe` has seen it already, and its beginning is not asked for.

    Raises:
        SourceError: it cannot be reached, or may not be.
        MediaError: a playlist that cannot be used; the message says why.
    """
    if isinstance(origin, Path):
        yield origin
        return
    with Blocks(egress, origin.url, headers=origin.headers) as blocks:
        head = blocks.reader().read(HEAD) or b""
        read = _reader(head)
        medium = _recording(read, blocks, origin, egress) if read else _File(blocks)
        medium.expect(*_read_first(head, medium.size, 0 if probed else BEGINNING))
        yield Opened(origin.url, origin.headers, head=head, medium=medium)


class _File:
    """One file."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks

    @property
    def size(self) -> int:
        return self._blocks.size

    @property
    def version(self) -> str | None:
        return self._blocks.version

    @property
    def parts(self) -> Sequence[Part]:
        return ()

    def part(self, index: int) -> Medium:
        return self

    def expect(self, *stretches: tuple[int, int]) -> None:
        self._blocks.expect(*stretches)

    def container(self, options: Mapping[str, str]) -> InputContainer:
        calls = _Calls()

        def open_other(name: str, flags: int, options: dict[str, str]) -> BinaryIO:
            """A file may name others: no container that we allow does so for a good reason."""
            return calls(_refuse, io.BytesIO())

        file = _Reads(self._blocks.reader(), calls, parse(self._blocks.url).target.partition("?")[0])
        return _opened(file, open_other, options)


class _Segments:
    """A recording in segments, of which one part is opened."""

    def __init__(self, recording: Recording, index: int = 0) -> None:
        self._recording = recording
        self._index = index

    @property
    def size(self) -> int:
        return self._recording.size

    @property
    def version(self) -> str | None:
        return None  # a playlist may stay the same while its segments do not

    @property
    def parts(self) -> Sequence[Part]:
        return self._recording.parts

    def part(self, index: int) -> Medium:
        return _Segments(self._recording, index)

    def expect(self, *stretches: tuple[int, int]) -> None:
        """Segments are fetched as a whole."""

    def container(self, options: Mapping[str, str]) -> InputContainer:
        calls = _Calls()

        def open_named(name: str, flags: int, options: dict[str, str]) -> BinaryIO:
            return calls(lambda: self._recording.open(name, options), io.BytesIO())

        return _opened(self.parts[self._index].first, open_named, {**options, **HLS}, "hls")


def _read_first(head: bytes, size: int, look: int) -> list[tuple[int, int]]:
    """Where a file is read when it is opened, and looked at for `look` bytes: its beginning and MP4's index.

    The index stands before the pictures and sound, or behind them.
    """
    at = 0
    while 0 <= at <= len(head) - 16:
        length, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if not (kind.isalnum() and kind.isascii()):
            return [(0, look)]
        if length == 1:
            length = int.from_bytes(head[at + 8 : at + 16], "big")
        if length < 8 or kind == b"moov":
            return [(0, min(size, at + length + look))]
        at += length
    return [(0, look), (min(at, size), size)]


_Reader: TypeAlias = Callable[[Egress, Remote, str, bytes], Recording]


def _reader(head: bytes) -> _Reader | None:
    """What reads a recording that begins so; None of what is a file."""
    if head.startswith(playlists.MARK):
        return playlists.read_playlist
    return manifests.read_manifest if manifests.is_manifest(head) else None


def _recording(read: _Reader, blocks: Blocks, remote: Remote, egress: Egress) -> _Segments:
    if blocks.size > PLAYLIST_BYTES:
        raise SourceLargeError(
            f"{shown(remote)} is a playlist of {blocks.size} bytes; the most is {PLAYLIST_BYTES}"
        )
    return _Segments(read(egress, remote, blocks.url, blocks.reader().readall()))


def _opened(
    file: str | _Reads,
    io_open: Callable[[str, int, dict[str, str]], BinaryIO],
    options: Mapping[str, str],
    kind: str | None = None,
) -> InputContainer:
    return av.open(
        file,
        "r",
        format=kind,
        options=dict(options),
        metadata_errors="replace",
        buffer_size=READ_BYTES,
        io_open=io_open,
    )


def _refuse() -> BinaryIO:
    raise refused()


# --- what libav calls ----------------------------------------------------------------------------------


class InterruptedByUserError(KeyboardInterrupt, Exception):
    """Ctrl-C while libav waits for us: PyAV carries only Exceptions through libav."""


class _Calls:
    """Calls from libav back to us, for one container.

    PyAV keeps what a call raises and raises it once libav has returned, but knows room for one only. So
    after the first everything is at its end, until libav has given up.
    """

    def __init__(self) -> None:
        self._failed = False

    def __call__(self, work: Callable[[], Result], otherwise: Result) -> Result:
        if self._failed:
            return otherwise
        try:
            return work()
        except KeyboardInterrupt as error:
            self._failed = True
            raise InterruptedByUserError from error
        except BaseException:
            self._failed = True
            raise


class _Reads:
    """A remote file for libav."""

    def __init__(self, file: RangeReader, calls: _Calls, name: str) -> None:
        self.name = name  # libav's guesses heed how it ends
        self._file = file
        self._calls = calls

    def read(self, size: int) -> bytes:
        return self._calls(lambda: self._file.read(size) or b"", b"")

    def seek(self, offset: int, whence: int) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
