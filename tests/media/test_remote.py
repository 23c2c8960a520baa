"""Media that is no local file: pairs, HTTP files, recordings of segments; the clips equal those of a file."""

from __future__ import annotations

import ipaddress
import pickle
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.media.conftest import SOUND_COMPARED, Made, Maker
from tests.media.server import Server
from tests.media_maker import lag, read
from tests.walks.command import until
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.core.ranges import BLOCK
from tldr_highlight.errors import (
    CutSourceError,
    MediaError,
    NoStreamsError,
    NotMediaError,
    SourceChangedError,
    SourceDeniedError,
    SourceError,
    SourceLargeError,
    SourceNotFoundError,
    TldrError,
    UsageError,
)
from tldr_highlight.media.cut import cut
from tldr_highlight.media.probe import probe
from tldr_highlight.media.remote import opened
from tldr_highlight.media.types import ClipResult, ClipSpec, MediaInfo, Remote

RANGES = ((0.0, 0.5), (0.97, 1.93), (2.5, 9.0))


@pytest.fixture
def egress() -> Iterator[Egress]:
    """A way out to this machine alone, that does not wait between tries."""
    networks = (ipaddress.ip_network("127.0.0.1/32"),)
    with Egress(Policy(allow_networks=networks, pause=0.0)) as egress:
        yield egress


def clips_of(info: MediaInfo, folder: Path) -> list[ClipResult]:
    specs = [ClipSpec(a, b, folder / f"{i}.mp4") for i, (a, b) in enumerate(RANGES)]
    results = list(cut(info, specs))
    assert all(isinstance(r, ClipResult) for r in results), results
    return [r for r in results if isinstance(r, ClipResult)]


def assert_same(ours: list[ClipResult], theirs: list[ClipResult]) -> None:
    """Pictures at the same times, and the sound to the sample."""
    for mine, other in zip(ours, theirs, strict=True):
        a, b = read(mine.spec.path), read(other.spec.path)
        assert (a.numbers, a.times, a.sound_start) == (b.numbers, b.times, b.sound_start)
        assert (mine.actual_start, mine.actual_end) == (other.actual_start, other.actual_end)
        assert len(a.samples) == len(b.samples)
        assert np.abs(a.samples - b.samples).max() < 0.02


# --- pairs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "sound"), [("mp4", "m4a"), ("ts", "ts"), ("mkv", "mka"), ("mp4", "mka")])
@pytest.mark.parametrize("starts", [(5.0, 5.0), (5.0, 6.0), (6.0, 5.0)])
def test_a_pair_is_in_sync(
    suffix: str, sound: str, starts: tuple[float, float], media: Maker, tmp_path: Path
) -> None:
    seen = media(suffix, audio=None, start=starts[0])
    heard = media(sound, codec=None, start=starts[1], seconds=6.0)
    info = probe(seen.path, sound=heard.path)
    spec = ClipSpec(2.0, 3.0, tmp_path / "clip.mp4")
    result = next(iter(cut(info, [spec])))
    assert isinstance(result, ClipResult), result
    clip = read(spec.path)
    number = round((2.0 + min(starts) - starts[0]) * 25)
    assert clip.numbers == list(range(number, number + 25))
    assert clip.sound_start == 0
    place = round((starts[0] - starts[1] + number / 25) * 48_000)  # of the sample heard with that picture
    late = lag(clip.samples[:SOUND_COMPARED], place, 48_000) - heard.own_lag
    assert abs(late) <= 1
    assert result.actual_start == pytest.approx(2.0, abs=0.03)


# --- files on servers ----------------------------------------------------------------------------------

FASTSTART = (("movflags", "faststart"),)

LARGE = {"seconds": 60.0, "noise": 64.0, "gop": 25}
"""Some twenty megabytes, most of which a clip has no need of."""


@pytest.mark.parametrize(
    ("suffix", "recipe"),
    [
        ("mp4", {}),
        ("mp4", {"mux": FASTSTART}),
        ("mkv", {"start": 5.0}),
        ("ts", {"start": 10.0}),
        ("m4a", {"codec": None}),
    ],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_on_a_server_is_cut_as_the_file(
    suffix: str, recipe: dict[str, Any], ranges: bool, media: Maker, egress: Egress, tmp_path: Path
) -> None:
    made = media(suffix, **recipe)
    with Server({"/a": made.path.read_bytes()}, ranges) as server:
        with opened(Remote(server.url("/a")), egress) as origin:
            info = probe(origin)
            ours = clips_of(info, tmp_path / "ours")
        assert replace(info, origin=made.path) == made.info
        assert_same(ours, clips_of(made.info, tmp_path / "theirs"))
        if not ranges:
            assert server.sent <= 2 * len(server.files["/a"])
        ranges_asked = [told["range"] for told in server.told if "range" in told]
        assert len(ranges_asked) == len(set(ranges_asked))


def test_a_file_that_was_probed_elsewhere_is_not_read_at_its_beginning(
    media: Maker, egress: Egress, tmp_path: Path
) -> None:
    made = media("mp4", **LARGE)
    with Server({"/a": made.path.read_bytes()}) as server:
        with opened(Remote(server.url("/a")), egress, probed=True) as origin:
            info = replace(made.info, origin=origin)
            (clip,) = cut(info, [ClipSpec(30.3, 34.7, tmp_path / "a.mp4")])
        assert isinstance(clip, ClipResult), clip
        firsts = [int(told["range"].removeprefix("bytes=").partition("-")[0]) for told in server.told]
    assert not [first for first in firsts if 0 < first < 20 * BLOCK]


def test_a_pair_on_a_server(media: Maker, egress: Egress, tmp_path: Path) -> None:
    seen, heard = media("mp4", audio=None), media("m4a", codec=None)
    with (
        Server({"/v": seen.path.read_bytes(), "/a": heard.path.read_bytes()}) as server,
        opened(Remote(server.url("/v")), egress) as video,
        opened(Remote(server.url("/a")), egress) as audio,
    ):
        ours = clips_of(probe(video, sound=audio), tmp_path / "ours")
    assert_same(ours, clips_of(probe(seen.path, sound=heard.path), tmp_path / "theirs"))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(404, SourceNotFoundError), (403, SourceDeniedError), (500, SourceError),
     (b"<!DOCTYPE html>", NotMediaError), (b"", NotMediaError), (b"#EXTM3U", MediaError),
     (b"#EXTM3U\n" + bytes(9 << 20), SourceLargeError)],
)  # fmt: skip
def test_answers_that_are_no_media(answer: int | bytes, kind: type[TldrError], egress: Egress) -> None:
    with (
        Server({"/a?KEY": answer}) as server,
        pytest.raises(kind) as caught,
        opened(Remote(server.url("/a?KEY")), egress) as origin,
    ):
        probe(origin)
    assert type(caught.value) is kind
    assert "KEY" not in str(caught.value)


def test_an_address_must_be_opened() -> None:
    with pytest.raises(UsageError, match=r"'example\.com/a\.mp4'"):
        probe(Remote("https://example.com/a.mp4"))


@pytest.mark.parametrize("mux", [(), FASTSTART], ids=["index-behind", "index-before"])
def test_what_a_clip_needs_of_mp4_is_asked_for_early_and_in_few_requests(
    mux: tuple[tuple[str, str], ...], media: Maker, egress: Egress, tmp_path: Path
) -> None:
    """The first block, what follows it and the index, then the clip's beginning, its end, what is between."""
    body = media("mp4", seconds=60.0, noise=64.0, gop=25, mux=mux).path.read_bytes()
    both = threading.Barrier(2)  # neither of the first two is answered before the other has come

    def answer() -> bytes:
        if looked and len(server.asked) <= looked + 2:
            both.wait(20)
        return body

    looked = 0
    with Server({"/a": answer}) as server, opened(Remote(server.url("/a")), egress) as origin:
        info = probe(origin)
        until(lambda: len(server.asked) == 2 + (not mux))  # one may still be on its way
        looked = len(server.asked)
        (clip,) = cut(info, [ClipSpec(30.3, 44.7, tmp_path / "a.mp4")])
        assert isinstance(clip, ClipResult), clip
        assert clip.method == "smart"
    assert server.sent <= clip.bytes + (1 << 20) + 6 * BLOCK  # of which at most three are the index
    firsts = [int(told["range"].removeprefix("bytes=").partition("-")[0]) for told in server.told]
    assert len(firsts) <= looked + 3
    assert max(firsts[looked : looked + 2]) > 0.7 * len(body)


def test_a_file_that_changes_while_it_is_read(media: Maker, egress: Egress, tmp_path: Path) -> None:
    body = media("mp4", **LARGE).path.read_bytes()
    with Server({"/a": body}) as server, opened(Remote(server.url("/a")), egress) as origin:
        info = probe(origin)
        server.files["/a"] = body + b"more"
        (lost,) = cut(info, [ClipSpec(20.0, 21.0, tmp_path / "clip.mp4")])
        assert isinstance(lost, CutSourceError)
        assert type(lost.__cause__) is SourceChangedError
        assert "source_changed" in str(lost)
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_inside_libav_keeps_its_name(
    media: Maker, egress: Egress, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = media("mp4", **LARGE).path.read_bytes()
    with Server({"/a": body}) as server, opened(Remote(server.url("/a")), egress) as origin:
        info = probe(origin)
        server.files["/a"] = 404
        (lost,) = cut(info, [ClipSpec(20.0, 21.0, tmp_path / "clip.mp4")])
        assert isinstance(lost, CutSourceError)
        assert type(lost.__cause__) is SourceNotFoundError
        assert "source_not_found" in str(lost)
    assert capfd.readouterr().err == ""  # PyAV prints what it cannot carry
    assert probe(media("mp4").path)  # and what it carries is not left over


def test_control_c_while_libav_waits(media: Maker, egress: Egress, capfd: pytest.CaptureFixture[str]) -> None:
    body = media("ts", seconds=40.0, noise=64.0).path.read_bytes()
    main = threading.get_ident()

    def press() -> bytes:
        if len(server.asked) == 3:  # the first two are for the beginning and come without libav
            signal.pthread_kill(main, signal.SIGINT)
        return body

    with (
        Server({"/a": press}) as server,
        opened(Remote(server.url("/a")), egress) as origin,
        pytest.raises(KeyboardInterrupt),
    ):
        probe(origin)
    assert capfd.readouterr().err == ""


def test_in_another_process_it_is_an_address_again(media: Maker, egress: Egress) -> None:
    with Server({"/a": media("mp4").path.read_bytes()}) as server:
        remote = Remote(server.url("/a"), {"X-Key": "1"})
        with opened(remote, egress) as origin:
            assert pickle.loads(pickle.dumps(origin)) == remote


# --- recordings in segments ----------------------------------------------------------------------------

KEY = b"0123456789abcdef"

RECORDINGS: dict[str, dict[str, str]] = {
    "ts": {},
    "fmp4": {"hls_segment_type": "fmp4"},
    "ts-parts-of-a-file": {"hls_flags": "single_file"},
    "fmp4-parts-of-a-file": {"hls_flags": "single_file", "hls_segment_type": "fmp4"},
    "ts-encrypted": {"key": "IV"},
    "ts-encrypted-by-number": {"key": ""},
}


def recorded(source: Path, folder: Path, kind: str = "", **options: str) -> dict[str, bytes]:
    """A recording of the pictures ("v"), the sound ("a") or both of a file, by path; its list is `/list`."""
    folder.mkdir(parents=True)
    if "key" in options:
        (folder / "key").write_bytes(KEY)
        iv = ["00112233445566778899aabbccddeeff"] if options.pop("key") else []
        (folder / "info").write_text("\n".join(["key", str(folder / "key"), *iv]))
        options["hls_key_info_file"] = str(folder / "info")
    options |= {"hls_time": "2", "hls_list_size": "0", "hls_playlist_type": "vod"}
    name = f"{folder}/list.m3u8"
    with av.open(str(source)) as given, av.open(name, "w", format="hls", options=options) as made:
        streams = {
            s.index: made.add_stream_from_template(s) for s in given.streams if s.type[0] in (kind or "va")
        }
        for packet in given.demux([given.streams[i] for i in streams]):
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                made.mux(packet)
    return {f"/{p.name}": p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def film(media: Maker) -> Made:
    return media("mp4", seconds=30.0)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_cut_exactly(name: str, film: Made, egress: Egress, tmp_path: Path) -> None:
    files = recorded(film.path, tmp_path / "files", **RECORDINGS[name])
    with Server(files) as server, opened(Remote(server.url("/list.m3u8")), egress) as origin:
        info = probe(origin)
        assert info.duration == pytest.approx(30, abs=0.1)
        assert info.size == pytest.approx(film.path.stat().st_size, rel=0.4)
        for start in (0.0, 11.2, 23.04, 29.0):
            spec = ClipSpec(start, start + 1.6, tmp_path / f"{start}.mp4")
            result = next(iter(cut(info, [spec])))
            assert isinstance(result, ClipResult), result
            clip = read(spec.path)
            number = int(result.actual_start * 25 + 0.01)  # the sound's priming comes 0.02 s before
            assert clip.numbers == list(range(number, min(number + 40, 750)))
            assert clip.sound_start == 0
            own = 33 if "fmp4" in name else 1  # the edit lists it was made with count milliseconds
            assert abs(lag(clip.samples[:20_000], number * 1920, 48_000)) <= own


def test_only_what_is_needed_of_a_recording_is_fetched_and_that_once(
    media: Maker, egress: Egress, tmp_path: Path
) -> None:
    files = recorded(media("mp4", **LARGE).path, tmp_path / "files")
    with Server(files) as server, opened(Remote(server.url("/list.m3u8")), egress) as origin:
        info = probe(origin)
        looked_at = len(server.asked)
        list(cut(info, [ClipSpec(20.0, 21.0, tmp_path / "a.mp4"), ClipSpec(20.5, 21.5, tmp_path / "b.mp4")]))
        assert len(server.asked) == len(set(server.asked))
        assert len(server.asked) - looked_at <= 7


def best_of(server: Server, film: Made, folder: Path) -> None:
    """A recording of three variants with separate sounds."""
    for name, kind in (("large", "v"), ("small", "v"), ("main", "a"), ("other", "a")):
        for path, body in recorded(film.path, folder / name, kind).items():
            server.files[f"/{name}{path}"] = body
    server.files["/all.m3u8"] = b"""#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="other",URI="other/list.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="main",DEFAULT=YES,URI="main/list.m3u8"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="s",URI="file:///etc/passwd"
#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=160x90,CODECS="avc1.64001f,mp4a.40.2",AUDIO="g",SUBTITLES="s"
small/list.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1000000,RESOLUTION=320x192,CODECS="avc1.64001f,mp4a.40.2",AUDIO="g"
large/list.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2000000,RESOLUTION=320x192,CODECS="hvc1.1.6.L93",AUDIO="g"
missing/list.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1000,URI="missing/frames.m3u8"
"""


def test_the_best_variant_and_its_own_sound(media: Maker, egress: Egress, tmp_path: Path) -> None:
    with Server() as server:
        best_of(server, media("ts", seconds=30.0, start=10.0), tmp_path)
        with opened(Remote(server.url("/all.m3u8")), egress) as origin:
            info = probe(origin)
            assert (info.video is not None, info.audio is not None) == (True, True)
            spec = ClipSpec(20.0, 21.0, tmp_path / "clip.mp4")
            result = next(iter(cut(info, [spec])))
        assert isinstance(result, ClipResult), result
        clip = read(spec.path)
        assert len(clip.numbers) == 25
        assert abs(lag(clip.samples[:20_000], clip.numbers[0] * 1920, 48_000)) <= 1
        assert {path.split("/")[1] for path in server.asked} == {"all.m3u8", "large", "main"}


MEDIA = """#EXTM3U
#EXT-X-TARGETDURATION:4
#EXTINF:4,
own.ts
"""


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        (MEDIA, MediaError, "is live"),
        (MEDIA + "#EXT-X-PLAYLIST-TYPE:EVENT", MediaError, "is live"),
        (MEDIA.replace("#EXTINF", '#EXT-X-KEY:METHOD=SAMPLE-AES,KEYFORMAT="com.apple.streamingkeydelivery",'
                       'URI="skd://x"\n#EXTINF') + "#EXT-X-ENDLIST", NoStreamsError, "is encrypted"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx.m3u8\n", MediaError, "playlists of playlists"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nown.ts\n", MediaError, "no playlist"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", MediaError, "no variant"),
        ("#EXTM3U\n#EXT-X-ENDLIST\n", MediaError, "cannot be read"),
        (MEDIA.replace("own", "text") + "#EXT-X-ENDLIST", MediaError, "cannot be read"),
        (MEDIA.replace("own", "missing") + "#EXT-X-ENDLIST", SourceNotFoundError, "no such file"),
    ],
)  # fmt: skip
def test_recordings_that_cannot_be_used(
    text: str, kind: type[TldrError], what: str, film: Made, egress: Egress, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {"/x.m3u8": text.encode(), "/own.ts": b"G" * 188, "/text.ts": b"words " * 9000}
    with (
        Server(files) as server,
        pytest.raises(kind, match=what) as caught,
        opened(Remote(server.url("/x.m3u8")), egress) as origin,
    ):
        probe(origin)
    assert type(caught.value) is kind
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("answer", [404, 403, 500])
def test_a_segment_that_is_gone(
    answer: int, media: Maker, egress: Egress, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = recorded(media("mp4", **LARGE).path, tmp_path / "files")
    with Server(files) as server, opened(Remote(server.url("/list.m3u8")), egress) as origin:
        info = probe(origin)
        whole = server.files["/list10.ts"]
        server.files["/list10.ts"] = answer
        spec = ClipSpec(20.0, 22.0, tmp_path / "clip.mp4")
        after, lost, before = cut(
            info, [replace(spec, start=24.0, end=25.0), spec, replace(spec, start=5.0, end=6.0)]
        )
        assert isinstance(lost, CutSourceError)
        assert lost.index == 1
        assert str(answer) in str(lost)
        assert isinstance(after, ClipResult)
        assert isinstance(before, ClipResult)
        with pytest.raises(SourceError, match=str(answer)):
            list(cut(info, [spec] * 3))
        spec.path.unlink()
        server.files["/list10.ts"] = whole
        assert isinstance(next(iter(cut(info, [spec]))), ClipResult)
    assert capfd.readouterr().err == ""


def test_headers_are_told_to_their_own_server(film: Made, egress: Egress, tmp_path: Path) -> None:
    files = recorded(film.path, tmp_path / "files")
    with Server(files) as own, Server(files) as other:
        own.files["/list.m3u8"] = files["/list.m3u8"].replace(b"list1.", other.url("/list1.").encode())
        url = own.url("/list.m3u8").replace("//", "//name:word@")
        with opened(Remote(url, {"X-Key": "KEY", "Cookie": "KEY", "User-Agent": "us"}), egress) as origin:
            probe(origin)
        assert [t["x-key"] for t in own.told] == ["KEY"] * len(own.told)
        assert {t["authorization"] for t in own.told} == {"Basic bmFtZTp3b3Jk"}
        assert other.told
        for told in other.told:
            assert not {"x-key", "cookie", "authorization"} & set(told)
            assert told["user-agent"] == "us"


def test_names_in_a_playlist_count_from_where_it_was_found(
    film: Made, egress: Egress, tmp_path: Path
) -> None:
    files = {f"/deep/er{path}": body for path, body in recorded(film.path, tmp_path / "files").items()}
    url = "/x?to=/deep/er/list.m3u8"
    with Server({**files, url: 302}) as server, opened(Remote(server.url(url)), egress) as origin:
        assert probe(origin).duration == pytest.approx(30, abs=0.1)
