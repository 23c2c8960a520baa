"""Files that make players open other files: whatever they are called, nothing but the named one is opened.

A pipe stands for another file of this machine: whoever opens it is seen. A server that nobody may ask stands
for everything inside the network: whoever connects is counted.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from av.error import FFmpegError

from tests.media.conftest import Maker
from tests.media.server import Server
from tests.media_maker import read
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.errors import AddressError, CutError, TldrError
from tldr_highlight.media.cut import cut
from tldr_highlight.media.probe import probe
from tldr_highlight.media.remote import opened
from tldr_highlight.media.types import ClipResult, ClipSpec, Remote

CODES = {"not_media", "media_unreadable", "no_usable_streams", "source_url_not_allowed", "source_not_found"}

INSIDE = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""Where the server is that nobody may ask."""


class Pipe:
    """A file of this machine that tells whether somebody opened it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = self._done = False
        os.mkfifo(path)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        for _ in range(100):
            writer = os.open(self.path, os.O_WRONLY)  # waits for somebody to read
            self.opened = self.opened or not self._done  # before whoever reads sees the end
            os.close(writer)
            if self._done:
                return

    def close(self) -> bool:
        """Whether it had been opened."""
        opened, self._done = self.opened, True
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._thread.join()
        os.close(reader)
        return opened


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "elsewhere").mkdir()
    pipe = Pipe(tmp_path / "elsewhere" / "secret.ts")
    yield pipe.path
    assert not pipe.close(), "another file was opened"


@pytest.fixture
def inside() -> Iterator[Server]:
    with Server({"/secret.ts": b"G" * 1000}, host=INSIDE) as server:
        yield server
        assert server.connections == 0, "an address inside the network was asked"


@pytest.fixture
def egress() -> Iterator[Egress]:
    only = (ipaddress.ip_network("127.0.0.1/32"),) if INSIDE != "127.0.0.1" else ()
    names = {"outside.test": ["127.0.0.1"], "inside.test": [INSIDE], "mixed.test": ["127.0.0.1", INSIDE]}
    with Egress(Policy(allow_networks=only, pause=0.0), resolve=lambda host, port: names[host]) as egress:
        yield egress


def hls(uri: str, *tags: str, end: bool = True) -> str:
    head = ["#EXTM3U", "#EXT-X-TARGETDURATION:4", "#EXT-X-MEDIA-SEQUENCE:0", *tags, "#EXTINF:4,", uri]
    return "\n".join([*head, *(["#EXT-X-ENDLIST"] if end else [])]) + "\n"


def master(uri: str, sound: str = "") -> str:
    media = f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="{sound}"\n' if sound else ""
    return f'#EXTM3U\n{media}#EXT-X-STREAM-INF:BANDWIDTH=1000,AUDIO="a"\n{uri}\n'


def mpd(base: str, entity: str = "") -> str:
    return (
        f'<?xml version="1.0"?>{entity}<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT4S"><Period><AdaptationSet mimeType="video/mp4"><Representation'
        f' id="1" bandwidth="1"><BaseURL>{base}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )


def sdp(host: str) -> str:
    return f"v=0\no=- 0 0 IN IP4 {host}\ns=x\nc=IN IP4 {host}\nt=0 0\nm=video 5004 RTP/AVP 96\n"


PLAYLISTS: dict[str, Callable[[str, str], str]] = {
    "segment, a path": lambda file, url: hls(file),
    "segment, file:": lambda file, url: hls(f"file:{file}"),
    "segment, file://": lambda file, url: hls(f"file://{file}"),
    "segment, FILE:": lambda file, url: hls(f"FILE:{file}"),
    "segment, subfile": lambda file, url: hls(f"subfile,,start,0,end,999,,:{file}"),
    "segment, crypto": lambda file, url: hls(f"crypto:{file}"),
    "segment, crypto+file": lambda file, url: hls(f"crypto+file:{file}"),
    "segment, concat": lambda file, url: hls(f"concat:{file}|{file}"),
    "segment, concatf": lambda file, url: hls(f"concatf:{file}"),
    "segment, tee": lambda file, url: hls(f"tee:{file}"),
    "segment, async": lambda file, url: hls(f"async:{file}"),
    "segment, cache": lambda file, url: hls(f"cache:{file}"),
    "segment, data": lambda file, url: hls("data:video/mp2t;base64,R0dHRw=="),
    "segment, pipe": lambda file, url: hls("pipe:0"),
    "segment, fd": lambda file, url: hls("fd:0"),
    "segment, unix": lambda file, url: hls(f"unix:{file}"),
    "segment, inside": lambda file, url: hls(url),
    "segment, inside by name": lambda file, url: hls(url.replace(INSIDE, "inside.test")),
    "segment, inside by one of two": lambda file, url: hls(url.replace(INSIDE, "mixed.test")),
    "segment, inside as a number": lambda file, url: hls(url.replace(INSIDE, "2130706434")),
    "segment, inside as hexadecimal": lambda file, url: hls(url.replace(INSIDE, "0x7f000002")),
    "segment, inside in short": lambda file, url: hls(url.replace(INSIDE, "127.2")),
    "segment, inside mapped": lambda file, url: hls(url.replace(INSIDE, f"[::ffff:{INSIDE}]")),
    "segment, inside without scheme": lambda file, url: hls(url.removeprefix("http:")),
    "segment, rtmp": lambda file, url: hls(url.replace("http", "rtmp")),
    "segment, tcp": lambda file, url: hls(url.replace("http", "tcp")),
    "segment, gopher": lambda file, url: hls(url.replace("http", "gopher")),
    "segment, ftp": lambda file, url: hls(url.replace("http", "ftp")),
    "key, file": lambda file, url: hls("own.ts", f'#EXT-X-KEY:METHOD=AES-128,URI="file://{file}"'),
    "key, data": lambda file, url: hls("own.ts", '#EXT-X-KEY:METHOD=AES-128,URI="data:,0123456789abcdef"'),
    "key, inside": lambda file, url: hls("own.ts", f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"'),
    "map, file": lambda file, url: hls("own.ts", f'#EXT-X-MAP:URI="file://{file}"'),
    "map, inside": lambda file, url: hls("own.ts", f'#EXT-X-MAP:URI="{url}",BYTERANGE="10@0"'),
    "variant, file": lambda file, url: master(f"file://{file}"),
    "variant, inside": lambda file, url: master(url),
    "sound, file": lambda file, url: master("own.m3u8", f"file://{file}"),
    "sound, inside": lambda file, url: master("own.m3u8", url),
}  # fmt: skip
"""Playlists by what they name; each is refused for it."""

OTHERS: dict[str, Callable[[str, str], str | bytes]] = {
    "playlist that goes on": lambda file, url: hls(file, end=False),
    "playlist behind a byte order mark": lambda file, url: "\ufeff" + hls(file),
    "playlist behind blanks": lambda file, url: "\n\n" + hls(file),
    "playlist behind a transport packet": lambda file, url: b"G" + bytes(187) + hls(file).encode(),
    "playlist behind an ID3 tag": lambda file, url: b"ID3\4\0\0\0\0\0\0" + hls(file).encode(),
    "plain list": lambda file, url: f"{file}\n{url}\n",
    "plain M3U": lambda file, url: f"#EXTM3U\n{file}\n{url}\n",
    "concat script": lambda file, url: f"ffconcat version 1.0\nfile '{file}'\n",
    "concat script of an address": lambda file, url: f"ffconcat version 1.0\nfile '{url}'\n",
    "concat script without head": lambda file, url: f"file '{file}'\n",
    "DASH, a path": lambda file, url: mpd(file),
    "DASH, file:": lambda file, url: mpd(f"file://{file}"),
    "DASH, inside": lambda file, url: mpd(url),
    "DASH, external entity": lambda file, url: mpd("&x;", f'<!DOCTYPE M [<!ENTITY x SYSTEM "file://{file}">]>'),
    "DASH, external DTD": lambda file, url: mpd("x.mp4", f'<!DOCTYPE MPD SYSTEM "{url}">'),
    "SDP": lambda file, url: sdp(INSIDE),
    "ASX": lambda file, url: f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "ASF reference": lambda file, url: f"[Reference]\r\nRef1={url}\r\nRef2=file://{file}\r\n",
    "PLS": lambda file, url: f"[playlist]\nFile1={file}\nFile2={url}\nNumberOfEntries=2\nVersion=2\n",
    "RAM": lambda file, url: f"{url}\nfile://{file}\n",
    "RTSP text": lambda file, url: f"RTSPtext\r{url.replace('http', 'rtsp')}\r",
    "SMIL": lambda file, url: f'<smil><body><video src="{url}"/><video src="file://{file}"/></body></smil>',
    "IMF": lambda file, url: f'<CompositionPlaylist><Id>x</Id><Asset href="{file}"/></CompositionPlaylist>',
    "SVG": lambda file, url: f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{file}"/></svg>',
    "cue sheet": lambda file, url: f'FILE "{file}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
    "filter graph": lambda file, url: f"movie={file}",
    "AviSynth": lambda file, url: f'AviSource("{file}")\n',
    "VapourSynth": lambda file, url: f"import os\nos.open({file!r}, 0)\n",
    "subtitles": lambda file, url: f"1\n00:00:00,000 --> 00:00:04,000\n<img src='{url}'>\n",
    "web page": lambda file, url: f'<html><video src="{url}"></video></html>',
    "shortcut": lambda file, url: f"[InternetShortcut]\r\nURL={url}\r\n",
}  # fmt: skip
"""Other scripts; none is media."""

SUFFIXES = (".mp4", ".m3u8", ".ts", ".mpd", ".txt")


def written(trick: Callable[[str, str], str | bytes], secret: Path, inside: Server) -> bytes:
    text = trick(str(secret), inside.url("/secret.ts"))
    return text if isinstance(text, bytes) else text.encode()


def refusal(origin: Any) -> TldrError:
    with pytest.raises(TldrError) as caught:
        probe(origin)
    return caught.value


@pytest.mark.parametrize("name", [*PLAYLISTS, *OTHERS])
def test_a_file(name: str, secret: Path, inside: Server, tmp_path: Path) -> None:
    trick = {**PLAYLISTS, **OTHERS}[name]
    for suffix in SUFFIXES:
        path = tmp_path / f"x{suffix}"
        path.write_bytes(written(trick, secret, inside))
        assert refusal(path).code in {"not_media", "media_unreadable"}


RELATIVE = {"segment, a path", "segment, subfile"}
"""Names without a scheme: files of the same server, as in web pages."""


@pytest.mark.parametrize("name", [*PLAYLISTS, *OTHERS])
def test_from_a_server(name: str, secret: Path, inside: Server, egress: Egress, media: Maker) -> None:
    body = written({**PLAYLISTS, **OTHERS}[name], secret, inside)
    clip = secret.parent / "clip.mp4"
    for suffix in SUFFIXES[:2]:
        files = {f"/x{suffix}": body, "/own.ts": media("ts").path.read_bytes(), "/own.m3u8": OWN}
        with Server(files) as server, pytest.raises(TldrError) as caught:
            cut_from(server.url(f"/x{suffix}").replace("127.0.0.1", "outside.test"), egress, clip)
        refused = {"source_url_not_allowed"} if name in PLAYLISTS else CODES
        assert caught.value.code in ({"source_not_found"} if name in RELATIVE else refused)
    assert not clip.exists()


OWN = hls("own.ts").encode()


def cut_from(url: str, egress: Egress, clip: Path) -> ClipResult | CutError:
    with opened(Remote(url), egress) as origin:
        return next(iter(cut(probe(origin), [ClipSpec(0.0, 1.0, clip)])))


def test_who_opens_or_asks_is_seen(tmp_path: Path, media: Maker) -> None:
    """The watchers of this page see what would be wrong."""
    pipe = Pipe(tmp_path / "secret.ts")
    with pytest.raises(FFmpegError):
        av.open(str(pipe.path))
    assert pipe.close()
    everywhere = Policy(allow_networks=(ipaddress.ip_network("127.0.0.0/8"),))
    with Server({"/secret.ts": media("ts").path.read_bytes()}, host=INSIDE) as inside, Server() as server:
        server.files["/x"] = hls(inside.url("/secret.ts")).encode()
        with Egress(everywhere) as egress:
            assert isinstance(cut_from(server.url("/x"), egress, tmp_path / "clip.mp4"), ClipResult)
        assert inside.connections > 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", ["list", "segment", "key"])
def test_redirects_lead_nowhere_else(
    what: str, status: int, secret: Path, inside: Server, egress: Egress, capfd: pytest.CaptureFixture[str]
) -> None:
    onward = f"/away?to={inside.url('/secret.ts')}"
    lists = {
        "list": hls("own.ts"),
        "segment": hls(onward),
        "key": hls("own.ts", f'#EXT-X-KEY:METHOD=AES-128,URI="{onward}"'),
    }
    with Server({"/x": lists[what].encode(), onward: status, "/own.ts": bytes(1600)}) as server:
        url = server.url(onward if what == "list" else "/x").replace("127.0.0.1", "outside.test")
        with pytest.raises(AddressError):
            cut_from(url, egress, secret.parent / "clip.mp4")
    assert capfd.readouterr().err == ""


# --- containers and names ------------------------------------------------------------------------------


def referring(data: bytes, reference: bytes) -> bytes:
    """An MP4 whose tracks say that their pictures and sound are in another file."""
    at = data.find(b"dref")
    while at >= 0:
        entry = at + 12
        size = int.from_bytes(data[entry : entry + 4], "big")
        data = data[:entry] + reference + data[entry + size :]
        data = _resized(data, at, len(reference) - size)
        at = data.find(b"dref", entry + len(reference))
    return data


def _resized(data: bytes, at: int, by: int) -> bytes:
    """The same with the sizes of all boxes around `at` corrected."""
    out = bytearray(data)
    start = 0
    while out[start + 4 : start + 8] != b"dinf":
        size = int.from_bytes(out[start : start + 4], "big")
        if start < at < start + size:
            out[start : start + 4] = (size + by).to_bytes(4, "big")
            start += 8
        else:
            start += size
    for box_start in (start, start + 8):
        size = int.from_bytes(out[box_start : box_start + 4], "big")
        out[box_start : box_start + 4] = (size + by).to_bytes(4, "big")
    return bytes(out)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def alias(path: str) -> bytes:
    """A Mac alias record as QuickTime wrote it, naming a file by its whole path."""
    name = path.rpartition("/")[2].encode()[:27]
    head = bytes(10) + bytes([27]) + bytes(27) + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    levels = (1).to_bytes(2, "big") + (1).to_bytes(2, "big")
    paths = b"".join(
        kind.to_bytes(2, "big") + len(text).to_bytes(2, "big") + text + b"\0" * (len(text) % 2)
        for kind, text in ((2, path.replace("/", ":").encode()), (18, path.encode()))
    )
    return box(b"alis", bytes(4), (head + levels).ljust(150, b"\0"), paths, b"\xff\xff\0\0")


REFERENCES: dict[str, Callable[[str, str], bytes]] = {
    "url, path": lambda file, url: box(b"url ", bytes(4), file.encode() + b"\0"),
    "url, file:": lambda file, url: box(b"url ", bytes(4), f"file://{file}".encode() + b"\0"),
    "url, inside": lambda file, url: box(b"url ", bytes(4), url.encode() + b"\0"),
    "urn": lambda file, url: box(b"urn ", bytes(4), b"x\0" + url.encode() + b"\0"),
    "alias": lambda file, url: alias(file),
    "alias, relative": lambda file, url: alias("elsewhere/secret.ts"),
}


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("name", REFERENCES)
def test_tracks_that_are_in_another_file(
    name: str, suffix: str, secret: Path, inside: Server, egress: Egress, media: Maker, tmp_path: Path
) -> None:
    body = media(suffix).path.read_bytes()
    body = referring(body, REFERENCES[name](str(secret), inside.url("/secret.ts")))
    (tmp_path / "x.mov").write_bytes(body)
    clip = tmp_path / "clip.mp4"
    with Server({"/x.mov": body}) as server:
        results = [
            next(iter(cut(probe(tmp_path / "x.mov"), [ClipSpec(0.0, 1.0, clip)]))),
            cut_from(server.url("/x.mov").replace("127.0.0.1", "outside.test"), egress, clip),
        ]
    for result in results:  # libav does not look elsewhere: it takes the file's own bytes, or none
        assert isinstance(result, ClipResult) or "alias" in name, result
    if clip.exists():
        assert read(clip).numbers == list(range(25))


def test_a_movie_that_refers_to_others(secret: Path, inside: Server, tmp_path: Path) -> None:
    for name in (f"file://{secret}", inside.url("/secret.ts")):
        where = name.encode() + b"\0"
        reference = box(b"rdrf", bytes(4), b"url ", len(where).to_bytes(4, "big"), where)
        movie = box(b"moov", box(b"rmra", box(b"rmda", reference)))
        (tmp_path / "x.mov").write_bytes(box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + movie)
        assert refusal(tmp_path / "x.mov").code in {"media_unreadable", "no_usable_streams"}


@pytest.mark.parametrize(
    "name",
    ["concat:{}", "subfile,,start,0,end,0,,:{}", "crypto:{}", "file:{}", "async:{}", "cache:{}", "tee:{}",
     "pipe:0", "fd:0", "data:video/mp4;base64,AAAA", "http://127.0.0.2/x.mp4", "x%03d.png", "*.mp4", "lavfi"],
)  # fmt: skip
def test_names_are_names(name: str, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a player would take for a protocol or a pattern is the name of a file that does not exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x001.png").write_bytes(b"\x89PNG")
    (tmp_path / "x.mp4").write_bytes(b"\0")
    assert refusal(Path(name.format("elsewhere/secret.ts"))).code == "not_found"
