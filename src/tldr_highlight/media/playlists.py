"""Recordings that come as HLS playlists of segments, in a form that libav may be given.

Playlists are read here and every address in them is checked. libav gets copies in which all addresses have
names of ours; what it asks for by such a name is fetched through `core/egress.py`, and there are no others.
"""

from __future__ import annotations

import io
import itertools
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import av

from tldr_highlight.core.addresses import Address, parse, refused
from tldr_highlight.core.egress import HARMLESS, Egress
from tldr_highlight.errors import MediaError, NoStreamsError
from tldr_highlight.media.types import Remote, shown

PLAYLIST_BYTES = 8 << 20
"""Of one playlist: 100 000 segments, which are a week."""

SEGMENT_BYTES = 64 << 20
"""Of one segment: ten seconds at 50 Mbit/s."""

KEPT_BYTES = 64 << 20
"""Of segments in memory. Pictures and sound are read through a container each, which are rarely far apart."""

NAMES = "http://0/"
"""What our names of playlists, segments and keys begin with: libav's HLS takes only addresses of HTTP."""

FIRST = NAMES + "0"
"""Our name of the playlist that libav begins with."""


@dataclass(frozen=True, slots=True)
class _Named:
    """What one of our names stands for: a playlist of ours, or an address with the headers to tell there."""

    text: bytes | None = None
    address: Address | None = None


_Part: TypeAlias = tuple[int, int | None, int | None]
"""Number of a name, first byte and the one behind the last; None: the whole."""

TAGS = {
    "#EXTM3U", "#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXTINF",
    "#EXT-X-BYTERANGE", "#EXT-X-DISCONTINUITY", "#EXT-X-KEY", "#EXT-X-MAP",
}  # fmt: skip
"""What libav is told of a playlist of segments; its end is set by us."""

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')


class Recording:
    """The playlists of a recording, and what of its segments was fetched lately.

    Of several variants the one with the largest pictures is used, and of its sounds the default one.
    """

    def __init__(self, egress: Egress, remote: Remote, found: str, text: bytes) -> None:
        """Read the playlist `text`, which was `found` in the end where `remote` led.

        Raises:
            MediaError: it is live, encrypted or none.
            SourceError: it names addresses that may not be opened, or playlists that cannot be.
        """
        own = parse(remote.url)
        self._egress = egress
        self._own = own
        self._shown = shown(remote)
        self._headers = dict(remote.headers)
        if own.authorization:
            self._headers["Authorization"] = own.authorization
        self._named = [_Named()]
        self._names: dict[str, int] = {}
        self._count = 0  # segments in all playlists
        self._segments: set[str] = set()  # their names; parts of one file share one
        self._kept: OrderedDict[_Part, bytes] = OrderedDict()
        self._seen: dict[_Part, int] = {}  # bytes of the segments that were fetched
        self._lock = threading.Lock()
        self._named[0] = _Named(text=self._read(_lines(text), parse(found)))

    # reading

    def _read(self, lines: list[str], base: Address) -> bytes:
        if any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
            return self._master(lines, base)
        return self._media(lines, base)

    def _master(self, lines: list[str], base: Address) -> bytes:
        """A playlist of playlists: one with the best variant only."""
        variants = [
            (_attributes(line), uri)
            for line, uri in itertools.pairwise(lines)
            if line.startswith("#EXT-X-STREAM-INF:") and not uri.startswith("#")
        ]
        if not variants:
            raise MediaError(f"{self._shown} names no variant: it is damaged")
        chosen, uri = max(variants, key=lambda v: _goodness(v[0]))
        media = [_attributes(line) for line in lines if line.startswith("#EXT-X-MEDIA:")]
        sounds = [
            m for m in media if m.get("TYPE") == "AUDIO" and m.get("GROUP-ID") == chosen.get("AUDIO", "")
        ]
        sound = next((m for m in sounds if m.get("DEFAULT") == "YES"), sounds[0] if sounds else {})
        written = ["#EXTM3U"]
        stream = "#EXT-X-STREAM-INF:BANDWIDTH=1"
        if "URI" in sound:
            name = self._inner(sound["URI"], base)
            written.append(f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="{name}"')
            stream += ',AUDIO="a"'
        written += [stream, self._inner(uri, base)]
        return "\n".join(written).encode()

    def _inner(self, uri: str, base: Address) -> str:
        """Our name for a playlist that another names."""
        address = self._checked(uri, base)
        fetched = self._egress.fetch(address.url, headers=self._told(address), most=PLAYLIST_BYTES)
        lines = _lines(fetched.body)
        if any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
            raise MediaError(f"{self._shown} names playlists of playlists: name one of them")
        return self._name(_Named(text=self._media(lines, parse(fetched.url))))

    def _media(self, lines: list[str], base: Address) -> bytes:
        """A playlist of segments, with our names in it."""
        if lines[:1] != ["#EXTM3U"]:
            raise MediaError(f"{self._shown} names something that is no playlist: it is damaged")
        if not {"#EXT-X-ENDLIST", "#EXT-X-PLAYLIST-TYPE:VOD"} & set(lines):
            raise MediaError(f"{self._shown} is live: name a recording, whose playlist says where it ends")
        written: list[str] = []
        for line in lines:
            if not line.startswith("#"):
                written.append(self._address(line, base))
                self._segments.add(written[-1])
                self._count += 1
            elif line.partition(":")[0] in TAGS:
                written.append(self._tag(line, base))
        return "\n".join([*written, "#EXT-X-ENDLIST"]).encode()

    def _tag(self, line: str, base: Address) -> str:
        """A tag with our name for the key or map that it names."""
        attributes = _attributes(line)
        if line.startswith("#EXT-X-KEY:") and attributes.get("KEYFORMAT", "identity") != "identity":
            raise NoStreamsError(f"{self._shown} is encrypted: name a recording without protection")
        if not line.startswith(("#EXT-X-KEY:", "#EXT-X-MAP:")) or "URI" not in attributes:
            return line
        name = self._address(attributes["URI"], base)
        return re.sub(r'URI="[^"]*"', f'URI="{name}"', line)

    def _address(self, uri: str, base: Address) -> str:
        """Our name for an address."""
        address = self._checked(uri, base)
        if address.url not in self._names:
            self._names[address.url] = len(self._named)
            return self._name(_Named(address=address))
        return f"{NAMES}{self._names[address.url]}"

    def _name(self, named: _Named) -> str:
        self._named.append(named)
        return f"{NAMES}{len(self._named) - 1}"

    def _checked(self, uri: str, base: Address) -> Address:
        address = parse(uri, base=base)
        self._egress.check(address.url)
        return address

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
        body = self._fetched(int(number), _number(options, "offset"), _number(options, "end_offset"))
        return io.BytesIO(_decrypted(body, options["key"], options["iv"]) if encrypted else body)

    def _fetched(self, number: int, start: int | None, end: int | None) -> bytes:
        key = (number, start, end)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        address = self._named[number].address
        assert address
        told = self._told(address)
        body = self._egress.fetch(address.url, headers=told, start=start, end=end, most=SEGMENT_BYTES).body
        with self._lock:
            self._kept[key] = body
            if f"{NAMES}{number}" in self._segments:
                self._seen[key] = len(body)
            while sum(map(len, self._kept.values())) > KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return body


def _lines(text: bytes) -> list[str]:
    return [line.strip() for line in text.decode("utf-8-sig", "replace").splitlines() if line.strip()]


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in ATTRIBUTE.findall(line.partition(":")[2])}


def _goodness(variant: Mapping[str, str]) -> tuple[int, bool, int]:
    """Order of variants: large pictures, those that can be copied into clips, many bits."""
    height = variant.get("RESOLUTION", "").partition("x")[2]
    bits = variant.get("BANDWIDTH", "")
    return _whole(height), "avc" in variant.get("CODECS", "avc"), _whole(bits)


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else 0


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
