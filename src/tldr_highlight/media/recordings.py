"""Recordings that come in segments, in a form that libav may be given: HLS playlists of names that are ours.

Who reads a playlist or a manifest (`playlists.py`, `manifests.py`) checks every address in it and gives each
a name here. What libav asks for by such a name is fetched through `core/egress.py`, and there are no others.
"""

from __future__ import annotations

import io
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, TypeAlias

import av

from tldr_highlight.core.addresses import Address, parse, refused
from tldr_highlight.core.egress import HARMLESS, Egress, Fetched
from tldr_highlight.errors import SourceNotFoundError
from tldr_highlight.media import boxes
from tldr_highlight.media.types import Remote, shown

PLAYLIST_BYTES = 8 << 20
"""Of one playlist or manifest: 100 000 segments, which are a week."""

SEGMENT_BYTES = 64 << 20
"""Of one segment: ten seconds at 50 Mbit/s."""

KEPT_BYTES = 64 << 20
"""Of segments in memory. Pictures and sound are read through a container each, which are rarely far apart."""

NAMES = "http://0/"
"""What our names of playlists, segments and keys begin with: libav's HLS takes only addresses of HTTP."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes at an address."""

    address: Address
    start: int | None = None  # first byte, and the one behind the last; None: the whole
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Shift:
    """Seconds that are added to the times in a segment of MP4."""

    seconds: Fraction
    header: Extent  # tells how many ticks a second has


@dataclass(frozen=True, slots=True)
class Named:
    """What one of our names stands for: a playlist of ours, or an address."""

    text: bytes | None = None
    address: Address | None = None
    is_segment: bool = False
    may_lack: bool = False  # a segment that was counted by time and may be one too many
    shift: Shift | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a recording that has one clock and one set of parameters."""

    first: str  # our name of the playlist that libav begins with
    start: float  # media seconds
    seconds: float


_Piece: TypeAlias = tuple[int, int | None, int | None]
"""Number of a name, first byte and the one behind the last; None: the whole."""


class Recording:
    """What the names of a recording stand for, and what of its segments was fetched lately."""

    def __init__(self, egress: Egress, remote: Remote) -> None:
        own = parse(remote.url)
        self.shown = shown(remote)
        self.parts: tuple[Part, ...] = ()  # in order of time; set by who read the recording
        self._egress = egress
        self._own = own
        self._headers = dict(remote.headers)
        if own.authorization:
            self._headers["Authorization"] = own.authorization
        self._checked: set[tuple[str, str, int]] = set()  # origins: what is checked lies in them alone
        self._named: list[Named] = []
        self._names: dict[Named, str] = {}
        self._count = 0  # segments
        self._kept: OrderedDict[_Piece, bytes] = OrderedDict()
        self._seen: dict[_Piece, int] = {}  # bytes of the segments that were fetched
        self._ticks: dict[Extent, Mapping[int, int]] = {}
        self._lock = threading.Lock()

    # naming

    def checked(self, uri: str, base: Address) -> Address:
        """The address that `uri` is beside `base`.

        Raises:
            AddressError: it may not be opened.
        """
        address = parse(uri, base=base)
        if address.origin not in self._checked:
            self._egress.check(address.url)
            self._checked.add(address.origin)
        return address

    def name(self, named: Named) -> str:
        """Our name for something; the same one for the same."""
        self._count += named.is_segment
        if named not in self._names:
            self._names[named] = f"{NAMES}{len(self._named)}"
            self._named.append(named)
        return self._names[named]

    # fetching

    def fetch(self, extent: Extent, most: int = PLAYLIST_BYTES) -> Fetched:
        """A playlist, a header or an index, by those who read them."""
        address, start, end = extent.address, extent.start, extent.end
        return self._egress.fetch(address.url, headers=self._told(address), start=start, end=end, most=most)

    def _told(self, address: Address) -> dict[str, str]:
        """The headers for an address: those of another origin are secrets here."""
        if address.origin == self._own.origin:
            told = self._headers
        else:
            told = {name: value for name, value in self._headers.items() if name.title() in HARMLESS}
        return told | ({"Authorization": address.authorization} if address.authorization else {})

    # giving

    @property
    def size(self) -> int:
        """Bytes, by those of the segments that were fetched."""
        return round(self._count * sum(self._seen.values()) / max(1, len(self._seen)))

    def open(self, name: str, options: Mapping[str, str]) -> BinaryIO:
        """What libav asks for: a playlist, key or map, or a segment or part of one, decrypted.

        Raises:
            AddressError: it has no name of ours.
            SourceError: it cannot be fetched.
        """
        encrypted = name.startswith("crypto")
        number = name.removeprefix("crypto").lstrip("+:").removeprefix(NAMES)
        if not number.isdecimal() or int(number) >= len(self._named):
            raise refused()
        named = self._named[int(number)]
        if named.text is not None:
            return io.BytesIO(named.text)
        body = self._fetched((int(number), _number(options, "offset"), _number(options, "end_offset")))
        if encrypted:
            body = _decrypted(body, options["key"], options["iv"])
        if named.shift:
            body = boxes.later(body, named.shift.seconds, self._ticks_of(named.shift.header))
        return io.BytesIO(body)

    def _fetched(self, piece: _Piece) -> bytes:
        with self._lock:
            if piece in self._kept:
                self._kept.move_to_end(piece)
                return self._kept[piece]
        number, start, end = piece
        named = self._named[number]
        assert named.address
        try:
            body = self.fetch(Extent(named.address, start, end), SEGMENT_BYTES).body
        except SourceNotFoundError:
            if not named.may_lack:
                raise
            body = b""
        with self._lock:
            self._kept[piece] = body
            if named.is_segment:
                self._seen[piece] = len(body)
            while sum(map(len, self._kept.values())) > KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return body

    def _ticks_of(self, header: Extent) -> Mapping[int, int]:
        if header not in self._ticks:
            self._ticks[header] = boxes.ticks(self.fetch(header).body)
        return self._ticks[header]


def _number(options: Mapping[str, str], name: str) -> int | None:
    return int(options[name]) if name in options else None


PACKET_BYTES = 65_536


def _decrypted(body: bytes, key: str, iv: str) -> bytes:
    """AES-128 in CBC mode, by libav, which reads from a file only."""
    options = {
        "protocol_whitelist": "crypto,file",
        "key": key,
        "iv": iv,
        "raw_packet_size": str(PACKET_BYTES),
    }
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.seek(0)
        name = f"crypto+file:/dev/fd/{file.fileno()}"
        with av.open(name, format="data", options=options) as container:
            return b"".join(bytes(packet) for packet in container.demux() if packet.size)
