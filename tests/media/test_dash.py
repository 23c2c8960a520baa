"""DASH recordings: their clips equal those of the file they were made of, and nothing else is ever opened.

Most manifests are written by libav's own muxer; what it cannot write is made here around its segments.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tests.media import dash
from tests.media.conftest import Made, Maker
from tests.media.dash import fragmented, group, manifest
from tests.media.server import Server
from tests.media_maker import lag, read
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.errors import (
    AddressError,
    MediaError,
    NoStreamsError,
    RangeError,
    SourceNotFoundError,
    TldrError,
)
from tldr_highlight.media import boxes
from tldr_highlight.media.cut import cut
from tldr_highlight.media.manifests import MOST_DEEP, MOST_SEGMENTS
from tldr_highlight.media.plan import plan
from tldr_highlight.media.probe import probe
from tldr_highlight.media.remote import opened
from tldr_highlight.media.types import ClipPlan, ClipResult, ClipSpec, MediaInfo, Remote

Files = dict[str, bytes]

SECONDS = 14.4
"""Six segments of 2.4 s, each of five groups of pictures."""


PRIMING = 1024 / 48_000
"""Seconds before the first picture with which the sound of these recordings begins."""


@pytest.fixture
def egress() -> Iterator[Egress]:
    networks = (ipaddress.ip_network("127.0.0.1/32"),)
    with Egress(Policy(allow_networks=networks, pause=0.0)) as egress:
        yield egress


@pytest.fixture(scope="module")
def film(media: Maker) -> Made:
    return media("mp4", seconds=SECONDS)


@pytest.fixture(scope="module")
def recorded(film: Made, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Files]:
    """The film as a recording, by the muxer's options; each is made once."""
    made: dict[str, Files] = {}

    def get(kinds: str = "va", **options: str) -> Files:
        key = f"{kinds}{options}"
        if key not in made:
            made[key] = dash.recorded(film.path, tmp_path_factory.mktemp("dash") / "x", kinds, **options)
        return dict(made[key])

    return get


STARTS = (0.0, 5.2, 8.64, 13.4)


def assert_exact(info: MediaInfo, folder: Path, *, starts: tuple[float, ...] = STARTS) -> None:
    """Clips of the film's recording hold its pictures, and its sound to the sample."""
    for start in starts:
        spec = ClipSpec(start, start + 0.8, folder / f"{start}.mp4")
        (result,) = cut(info, [spec])
        assert isinstance(result, ClipResult), repr(result)
        clip = read(spec.path)
        number = int(result.actual_start * 25 + 0.01)  # the sound's priming comes 0.02 s before
        last = round(min(result.actual_end, info.duration) * 25 - 0.4)
        assert clip.numbers == list(range(number, min(last, round(SECONDS * 25))))
        assert result.method == "smart"
        if info.audio:
            assert clip.sound_start == 0
            assert result.sync_ms == 0
            assert abs(lag(clip.samples[:16_000], number * 1920, 48_000)) <= 1


# --- how segments are named ----------------------------------------------------------------------------


def by_time(files: Files) -> Files:
    """Pictures' segments under names by their time, at which a timeline that goes on puts them."""
    text = files["/list.mpd"].decode().replace("chunk-stream0-$Number%05d$", "at-$Time$-of-$$")
    text = re.sub(r'<S t="0" d="61440" r="\d+" />', '<S t="0" d="61440" r="-1" />', text)
    text = text.replace(
        'media="chunk-stream$RepresentationID$-$Number%05d$.m4s"', 'media="at-$Time$$$.m4s"', 1
    )
    moved = {f"/at-{i * 30_720}$.m4s": files.pop(f"/chunk-stream0-{i + 1:05}.m4s") for i in range(6)}
    text = re.sub(r'<S t="0" d="30720" r="5" />', '<S t="0" d="30720" r="-1" />', text)
    return {**files, **moved, "/list.mpd": text.encode()}


def renumbered(files: Files) -> Files:
    """Numbers that begin with 7, and are not padded."""
    text = files["/list.mpd"].decode().replace("$Number%05d$", "$Number$").replace('"1">', '"7">')
    moved = {
        re.sub(r"-(\d{5})\.", lambda f: f"-{int(f[1]) + 6}.", path): body for path, body in files.items()
    }
    return {**moved, "/list.mpd": text.encode()}


def in_folders(files: Files) -> Files:
    """Base addresses at every level, one of them of this server by its whole address."""
    text = files["/list.mpd"].decode()
    text = re.sub(r"<Period[^>]*>", r"\g<0><BaseURL>/deep/</BaseURL>", text)
    text = re.sub(r"<AdaptationSet[^>]*>", r"\g<0><BaseURL>er/x/</BaseURL>", text)
    text = re.sub(r"<Representation[^>]*>", r"\g<0><BaseURL>../y/</BaseURL>", text)
    moved = {f"/deep/er/y{path}": body for path, body in files.items()}
    return {**moved, "/list.mpd": text.encode()}


def inherited(files: Files) -> Files:
    """What is said of the segments of all sets, said once of the period."""
    text = files["/list.mpd"].decode()
    said = 'initialization="init-stream$RepresentationID$.m4s" startNumber="1"'
    text = text.replace(' initialization="init-stream$RepresentationID$.m4s"', "").replace(
        ' startNumber="1"', ""
    )
    text = re.sub(r"<Period[^>]*>", rf"\g<0><SegmentTemplate {said}/>", text)
    return {**files, "/list.mpd": text.encode()}


RECORDINGS: dict[str, tuple[dict[str, str], Callable[[Files], Files]]] = {
    "numbers, timeline": ({}, dict),
    "numbers, one length": ({"use_timeline": "0"}, dict),
    "times, a timeline without end": ({}, by_time),
    "numbers from 7": ({}, renumbered),
    "list": ({"use_template": "0"}, dict),
    "list of parts of a file": ({"single_file": "1"}, dict),
    "base addresses": ({}, in_folders),
    "inherited": ({}, inherited),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_cut_exactly(
    name: str, recorded: Callable[..., Files], egress: Egress, tmp_path: Path
) -> None:
    options, changed = RECORDINGS[name]
    with (
        Server(dict(changed(recorded(**options)))) as server,
        opened(Remote(server.url("/list.mpd")), egress) as origin,
    ):
        info = probe(origin)
        assert info.duration == pytest.approx(SECONDS, abs=0.1)
        assert_exact(info, tmp_path)
        assert len(server.asked) == len(set(server.asked)) or "parts" in name


@pytest.mark.parametrize(
    ("kinds", "edits"), [(("v",), True), (("v", "a"), True), (("v", "a"), False), (("va",), True)]
)
def test_files_with_an_index(
    kinds: tuple[str, ...], edits: bool, film: Made, egress: Egress, tmp_path: Path
) -> None:
    """Without edit lists pictures are late by their B-frames, sound by its priming: the manifest says so."""
    files: Files = {}
    sets = ""
    for kind in kinds:
        body = fragmented(film.path, tmp_path / f"{kind}.mp4", kind, edits=edits)
        files[f"/{kind}.mp4"] = body
        at = body.index(b"sidx") - 4
        end = at + int.from_bytes(body[at : at + 4], "big")
        offset = 'presentationTimeOffset="1024"' if not edits else f'indexRange="{at}-{end - 1}"'
        base = f'<SegmentBase timescale="{48_000 if kind == "a" else 12_800}" {offset}/>'
        name = "audio" if kind == "a" else "video"
        sets += group(name, f"<BaseURL>{kind}.mp4</BaseURL>{base}")
    files["/x.mpd"] = manifest(sets, SECONDS)
    with Server(dict(files)) as server, opened(Remote(server.url("/x.mpd")), egress) as origin:
        info = probe(origin)
        assert (info.audio is not None) is (kinds != ("v",))
        assert info.duration == pytest.approx(SECONDS, abs=0.1)
        assert_exact(info, tmp_path)


def test_only_what_is_needed_is_fetched(
    recorded: Callable[..., Files], egress: Egress, tmp_path: Path
) -> None:
    with Server(dict(recorded())) as server, opened(Remote(server.url("/list.mpd")), egress) as origin:
        info = probe(origin)
        assert server.asked[0] == "/list.mpd"
        server.asked.clear()
        list(cut(info, [ClipSpec(9.7, 11.0, tmp_path / "clip.mp4")]))
    assert len([path for path in server.asked if "stream0" in path]) <= 3


def test_webm_is_read_too(media: Maker, egress: Egress, tmp_path: Path) -> None:
    source = media("webm", codec="libvpx-vp9", audio="libopus", seconds=6.0)
    files = dash.recorded(source.path, tmp_path / "files", dash_segment_type="webm")
    with Server(dict(files)) as server, opened(Remote(server.url("/list.mpd")), egress) as origin:
        (result,) = cut(probe(origin), [ClipSpec(2.1, 3.0, tmp_path / "clip.mp4")])
    assert isinstance(result, ClipResult), repr(result)
    clip = read(result.spec.path)
    number = int(result.actual_start * 25 + 0.01)
    assert clip.numbers == list(range(number, number + len(clip.numbers)))
    assert abs(lag(clip.samples[:16_000], number * 1920, 48_000)) <= 1


def test_a_segment_that_only_rounding_made(
    recorded: Callable[..., Files], egress: Egress, tmp_path: Path
) -> None:
    """A length of 14.45 s leaves room for a seventh segment, which is not there; the second one must be."""
    files = recorded(use_timeline="0")
    text = files["/list.mpd"].decode()
    for old in set(re.findall(r' duration="\d+"', text)):
        text = text.replace(old, ' duration="2400000"')
    files["/list.mpd"] = text.replace('"PT14.4S"', '"PT14.45S"').encode()
    with Server(dict(files)) as server, opened(Remote(server.url("/list.mpd")), egress) as origin:
        info = probe(origin)
        (result,) = cut(info, [ClipSpec(13.6, 14.4, tmp_path / "clip.mp4")])
        assert isinstance(result, ClipResult), repr(result)
        assert read(result.spec.path).numbers[-1] >= 358
        assert any("00007" in path for path in server.asked)
    del files["/chunk-stream0-00002.m4s"]
    with (
        Server(dict(files)) as server,
        pytest.raises(SourceNotFoundError),
        opened(Remote(server.url("/list.mpd")), egress) as origin,
    ):
        probe(origin)


# --- choosing ------------------------------------------------------------------------------------------


def test_the_best_pictures_and_the_main_sound(
    recorded: Callable[..., Files], egress: Egress, tmp_path: Path
) -> None:
    files = recorded()
    text = files["/list.mpd"].decode()
    (seen, heard) = re.findall(r"<AdaptationSet.*?</AdaptationSet>", text, re.DOTALL)
    other = heard.replace("init-stream$", "missing-$").replace('bandwidth="', 'bandwidth="9')
    fine = '<Representation id="{}" mimeType="video/mp4" codecs="{}" bandwidth="{}" height="{}"/>'
    small, wide = (
        fine.format("s", "avc1.64000c", "99999999", "90"),
        fine.format("h", "hvc1", "99999999", "192"),
    )
    trick = '<EssentialProperty schemeIdUri="http://dashif.org/guidelines/trickmode" value="0"/>'
    sets = [
        f"<AdaptationSet>{trick}{fine.format('t', 'avc1', '1', '1080')}</AdaptationSet>",
        '<AdaptationSet contentType="image" mimeType="image/jpeg"><Representation id="i"/></AdaptationSet>',
        other.replace("<Representation", '<Role value="dub"/><Representation', 1),
        seen.replace("</AdaptationSet>", f"{small}{wide}</AdaptationSet>"),
        heard.replace("<Representation", '<Role value="main"/><Representation', 1),
    ]
    files["/list.mpd"] = manifest("".join(sets), SECONDS)
    with Server(dict(files)) as server, opened(Remote(server.url("/list.mpd")), egress) as origin:
        assert_exact(probe(origin), tmp_path, starts=(5.2,))
        assert {path for path in server.asked if "stream" not in path} == {"/list.mpd"}


# --- clocks --------------------------------------------------------------------------------------------


def moved(files: Files, stream: int, seconds: float) -> Files:
    """The same recording, the clock of one stream of which is late, as its manifest says."""
    ticks = boxes.ticks(files[f"/init-stream{stream}.m4s"])
    scale = next(iter(ticks.values()))
    late = {
        path: boxes.later(body, Fraction(seconds), ticks) if f"chunk-stream{stream}" in path else body
        for path, body in files.items()
    }
    parts = re.split(r"(?=<AdaptationSet)", late["/list.mpd"].decode())
    parts[stream + 1] = (
        parts[stream + 1]
        .replace("<SegmentTemplate", f'<SegmentTemplate presentationTimeOffset="{round(seconds * scale)}"')
        .replace('<S t="0"', f'<S t="{round(seconds * scale)}"')
    )
    return {**late, "/list.mpd": "".join(parts).encode()}


@pytest.mark.parametrize("stream", [0, 1])
def test_pictures_and_sound_on_clocks_of_their_own(
    stream: int, recorded: Callable[..., Files], egress: Egress, tmp_path: Path
) -> None:
    files = moved(recorded(), stream, 1000.0)
    with Server(dict(files)) as server, opened(Remote(server.url("/list.mpd")), egress) as origin:
        info = probe(origin)
        assert info.audio
        assert info.duration == pytest.approx(SECONDS, abs=0.1)
        assert_exact(info, tmp_path)


def periods(*made: tuple[Files, str]) -> Files:
    """Recordings in folders, as periods one after another."""
    files: Files = {}
    texts: list[str] = []
    for index, (part, length) in enumerate(made):
        inner = re.search(r"<Period[^>]*>(.*)</Period>", part["/list.mpd"].decode(), re.DOTALL)
        assert inner
        texts.append(f'<Period duration="PT{length}S"><BaseURL>p{index}/</BaseURL>{inner[1]}</Period>')
        files |= {f"/p{index}{path}": body for path, body in part.items()}
    return {**files, "/list.mpd": manifest(texts, None)}


def test_periods_that_agree_are_one_recording(
    recorded: Callable[..., Files], egress: Egress, tmp_path: Path
) -> None:
    """The film twice: behind 14.4 s its pictures come again, without a gap at the border."""
    files = periods((recorded(), "14.4"), (moved(recorded(), 0, 50.0), "14.4"))
    with Server(dict(files)) as server, opened(Remote(server.url("/list.mpd")), egress) as origin:
        info = probe(origin)
        assert info.duration == pytest.approx(2 * SECONDS, abs=0.1)
        assert not [warning for warning in info.warnings if "break" in warning]
        across, behind = cut(
            info, [ClipSpec(13.2, 16.0, tmp_path / "a.mp4"), ClipSpec(20.0, 21.0, tmp_path / "b.mp4")]
        )
        assert isinstance(across, ClipResult), repr(across)
        clip = read(across.spec.path)
        number = int(across.actual_start * 25 + 0.01)
        assert clip.numbers == [n % 360 for n in range(number, number + 70)]
        assert isinstance(behind, ClipResult), repr(behind)
        clip = read(behind.spec.path)
        number = int(behind.actual_start * 25 + 0.01) - 360
        assert clip.numbers == list(range(number, number + 25))
        assert abs(lag(clip.samples[:16_000], number * 1920, 48_000)) <= 1


def test_periods_that_differ_are_cut_apart(
    media: Maker, recorded: Callable[..., Files], egress: Egress, tmp_path: Path
) -> None:
    other = media("mp4", seconds=6.0, size=(192, 128), fps=Fraction(50))
    files = periods((recorded(), "14.4"), (dash.recorded(other.path, tmp_path / "other"), "6"))
    with Server(dict(files)) as server, opened(Remote(server.url("/list.mpd")), egress) as origin:
        info = probe(origin)
        assert info.duration == pytest.approx(20.4, abs=0.1)
        assert any("breaks at 14.400" in warning for warning in info.warnings)
        specs = [ClipSpec(a, b, tmp_path / f"{a}.mp4") for a, b in ((13.0, 14.4), (14.0, 15.0), (16.4, 17.4))]
        before, across, behind = cut(info, specs)
        planned = plan(info, specs)
    assert isinstance(before, ClipResult), repr(before)
    assert isinstance(across, RangeError)
    assert "break in the recording, at 14.400 s" in str(across)
    assert [type(p) for p in planned] == [ClipPlan, RangeError, ClipPlan]
    assert isinstance(behind, ClipResult), repr(behind)
    clip = read(behind.spec.path)
    number = int((behind.actual_start - 14.4 - PRIMING) * 50 + 0.01)
    assert clip.numbers == list(range(number, number + 50))
    assert abs(lag(clip.samples[:16_000], number * 960, 48_000)) <= 1


# --- what cannot be used -------------------------------------------------------------------------------

TEMPLATE = '<SegmentTemplate media="$Number$.m4s" initialization="i.mp4" {} />'
PLAIN = group("video", TEMPLATE.format('duration="2"'))
LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))


def timeline(*entries: str) -> str:
    inner = f"<SegmentTimeline>{''.join(entries)}</SegmentTimeline>"
    return group(
        "video", f'<SegmentTemplate media="$Time$.m4s" initialization="i.mp4">{inner}</SegmentTemplate>'
    )


BAD: dict[str, tuple[bytes, type[TldrError], str]] = {
    "live": (manifest(PLAIN, 30, 'type="dynamic"'), MediaError, "is live"),
    "encrypted set": (
        manifest(group("video", "", "").replace("<Rep", '<ContentProtection schemeIdUri="urn:x"/><Rep')),
        NoStreamsError, "is encrypted",
    ),
    "encrypted representation": (
        manifest(group("video", '<ContentProtection schemeIdUri="urn:x"/>')), NoStreamsError, "is encrypted",
    ),
    "damaged XML": (b"<MPD><Period>", MediaError, "XML is damaged"),
    "a billion laughs": (
        f'<!DOCTYPE MPD [<!ENTITY l0 "ha">{LAUGHS}]><MPD>&l9;</MPD>'.encode(), MediaError, "document type",
    ),
    "an outer type": (b'<!DOCTYPE MPD SYSTEM "http://x.test/x.dtd"><MPD/>', MediaError, "document type"),
    "deep": (
        f"<MPD>{'<a>' * MOST_DEEP}{'</a>' * MOST_DEEP}</MPD>".encode(), MediaError, "deeper or larger",
    ),
    "large": (b"<MPD>" + b"<a/>" * 500_000 + b"</MPD>", MediaError, "deeper or larger"),
    "no period": (manifest([]), MediaError, "0 periods"),
    "nothing in it": (manifest(""), NoStreamsError, "neither picture nor sound"),
    "transport streams": (
        manifest(PLAIN.replace("video/mp4", "video/mp2t")), NoStreamsError, "is video/mp2t",
    ),
    "another manifest's period": (
        manifest(
            ['<Period xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="http://127.0.0.2/x"/>']
        ), MediaError, "several manifests",
    ),
    "no length": (manifest(PLAIN, None), MediaError, "how many segments"),
    "no length of a segment": (
        manifest(group("video", TEMPLATE.format(""))), MediaError, "how many segments",
    ),
    "lengths of nothing": (manifest(timeline('<S t="0" d="0"/>')), MediaError, "no sense"),
    "endless": (manifest(timeline('<S t="0" d="2" r="-1"/>'), None), MediaError, "without an end"),
    "a timeline of billions": (
        manifest(timeline('<S t="0" d="1" r="999999999999"/>')), MediaError, f"than {MOST_SEGMENTS} segments",
    ),
    "a length of billions": (
        manifest(group("video", TEMPLATE.format('duration="1" timescale="1000000000"'))),
        MediaError, f"than {MOST_SEGMENTS} segments",
    ),
    "no numbers": (manifest(timeline('<S t="zero" d="2"/>')), MediaError, "no number"),
    "no time": (manifest(PLAIN).replace(b"PT30.0S", b"half an hour"), MediaError, "no length of time"),
    "backward bytes": (
        manifest(group("video", '<SegmentBase indexRange="9-1"/>')), MediaError, "range of bytes",
    ),
    "unknown fields": (
        manifest(PLAIN.replace("$Number$", "$SubNumber$")), MediaError, "fields that are not read",
    ),
    "no index": (
        manifest(group("video", "<BaseURL>zeros</BaseURL>")), MediaError, "no index of its segments",
    ),
    "an index elsewhere": (
        manifest(group("video", '<BaseURL>zeros</BaseURL><SegmentBase indexRange="10-99"/>')),
        MediaError, "no index where",
    ),
    "segments that are not there": (manifest(PLAIN), SourceNotFoundError, "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_manifests_that_cannot_be_used(name: str, egress: Egress, capfd: pytest.CaptureFixture[str]) -> None:
    text, kind, words = BAD[name]
    with (
        Server({"/x.mpd?KEY": text, "/zeros": bytes(100_000)}) as server,
        pytest.raises(kind, match=words) as caught,
        opened(Remote(server.url("/x.mpd?KEY")), egress) as origin,
    ):
        probe(origin)
    assert type(caught.value) is kind
    assert "KEY" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_local_manifest_is_no_media(tmp_path: Path) -> None:
    (tmp_path / "x.mpd").write_bytes(b"<MPD/>")
    with pytest.raises(TldrError, match="a DASH manifest"):
        probe(tmp_path / "x.mpd")


# --- addresses -----------------------------------------------------------------------------------------

ELSEWHERE = (
    "{}", "file:///etc/passwd", "FILE:/etc/passwd", "http://169.254.169.254/x", "http://0x7f000002/x",
    "concat:/etc/passwd", "http://[::1]/x", "ftp://127.0.0.2/x", "data:video/mp4;base64,AAAA",
)  # fmt: skip

PLACES: dict[str, Callable[[str], bytes]] = {
    "MPD": lambda uri: manifest(f"{PLAIN}").replace(
        b"<Period>", f"<BaseURL>{uri}</BaseURL><Period>".encode()
    ),
    "Period": lambda uri: manifest(f"<BaseURL>{uri}</BaseURL>{PLAIN}"),
    "set": lambda uri: manifest(PLAIN.replace("<Repr", f"<BaseURL>{uri}</BaseURL><Repr")),
    "file": lambda uri: manifest(group("video", f"<BaseURL>{uri}</BaseURL>")),
    "index": lambda uri: manifest(
        group("video", f'<BaseURL>{uri}</BaseURL><SegmentBase indexRange="0-99"/>')
    ),
    "segments": lambda uri: manifest(PLAIN.replace("$Number$.m4s", uri)),
    "header": lambda uri: manifest(PLAIN.replace("i.mp4", uri)),
    "list": lambda uri: manifest(
        group("video", f'<SegmentList duration="2"><SegmentURL media="{uri}"/></SegmentList>')
    ),
    "list's header": lambda uri: manifest(
        group("video", f'<SegmentList duration="2"><Initialization sourceURL="{uri}"/></SegmentList>')
    ),
    "sound": lambda uri: manifest(
        PLAIN + group("audio", TEMPLATE.replace("i.mp4", uri).format('duration="2"'))
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_inside_is_asked(place: str, egress: Egress) -> None:
    """Counted by the connections that are made: none."""
    with Server(host="127.0.0.2") as inside:
        for uri in ELSEWHERE:
            text = PLACES[place](uri.format(inside.url("/x.mp4")))
            with (
                Server({"/x.mpd": text}) as server,
                pytest.raises(AddressError),
                opened(Remote(server.url("/x.mpd")), egress) as origin,
            ):
                probe(origin)
        assert inside.connections == 0


def test_headers_are_told_to_their_own_server(
    recorded: Callable[..., Files], egress: Egress, tmp_path: Path
) -> None:
    files = recorded()
    with Server(dict(files)) as own, Server(dict(files)) as other:
        parts = re.split(r"(?=<AdaptationSet)", files["/list.mpd"].decode())
        parts[2] = parts[2].replace(">", f"><BaseURL>{other.url('/')}</BaseURL>", 1)
        own.files["/list.mpd"] = "".join(parts).encode()
        with opened(Remote(own.url("/list.mpd"), {"X-Key": "KEY"}), egress) as origin:
            info = probe(origin)
            assert_exact(info, tmp_path, starts=(5.2,))
        assert {told.get("x-key") for told in own.told} == {"KEY"}
        assert other.told
        assert not [told for told in other.told if "x-key" in told]
