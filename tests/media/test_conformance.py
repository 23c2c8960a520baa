"""Every clip of every kind of source shows just what the source has there, to the picture and the sample.

The truth is the source, decoded from its beginning by libav alone (`truth.py`); nothing is asked of the
cutter but its clips. A picture that a clip copies is the source's own bit by bit; one that it encodes
anew reaches 40 dB on every plane. All pictures carry their number, and so a wrong one is at 20 dB.
"""

from __future__ import annotations

import ipaddress
import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media import dash
from tests.media.server import Server
from tests.media.truth import Truth, judge, judge_pictures, judge_sound, pictures
from tests.media_maker import Recipe, hidden_start, make, shifted, short_lengths, spliced
from tests.peers import need
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.media.cut import cut
from tldr_highlight.media.probe import probe
from tldr_highlight.media.remote import opened
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions, Remote

EVEN = "keyint=12:min-keyint=12:scenecut=0"
EVEN_GOPS = (("x264-params", EVEN),)
OTHER_SETTINGS = (("x264-params", f"{EVEN}:sps-id=1:ref=1:cabac=0"),)
SAME_ID = (("x264-params", f"{EVEN}:ref=1:cabac=0"),)
PYRAMID = (("x264-params", "keyint=30:min-keyint=30:scenecut=0:bframes=7:b-adapt=0:b-pyramid=normal:ref=4"),)
OPEN_GOP = (("x264-params", "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3:b-adapt=0"),)
REFRESH = (("x264-params", "intra-refresh=1:keyint=30"),)
HEVC_OPEN = (("x265-params", "log-level=none:open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3"),)
FRAGMENTED = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
UNEVEN = tuple(Fraction(i * i, 500) for i in range(45))
SPLICE = Fraction(48, 25)
HIDDEN = Fraction(18, 25)
NO_GUESSED_NOISE = (("aac_pns", "0"),)
"""Without it decoded AAC holds noise that depends on where decoding began, and nothing could be identical."""

Rework = Callable[[Path, Callable[..., Path]], Path]
"""Makes the source's file at a path; its second argument makes plain files: `make(suffix, recipe fields)`."""


def hide_start(path: Path, plain: Callable[..., Path]) -> Path:
    return hidden_start(path, plain("mp4"), HIDDEN)


def shorten(path: Path, plain: Callable[..., Path]) -> Path:
    return short_lengths(path, plain("mp4"))


def splice(suffix: str, options: tuple[tuple[str, str], ...]) -> Rework:
    def made(path: Path, plain: Callable[..., Path]) -> Path:
        return spliced(
            path, plain(suffix, options=EVEN_GOPS), plain(suffix, options=options, bframes=0), SPLICE
        )

    return made


@dataclass(frozen=True)
class Kind:
    """A kind of source."""

    suffix: str
    recipe: dict[str, Any] = field(default_factory=dict[str, Any])
    copies: bool = True  # whole GOPs of it are to be copied
    rework: Rework | None = None


KINDS = {
    "h264": Kind("mp4"),
    "h264-no-b-frames": Kind("mp4", {"bframes": 0}),
    "h264-b-pyramid": Kind("mp4", {"options": PYRAMID, "seconds": 6.0}),
    "h264-60": Kind("mp4", {"fps": Fraction(60), "gop": 30, "seconds": 3.0}),
    "h264-29.97": Kind("mp4", {"fps": Fraction(30000, 1001)}),
    "h264-variable-rate": Kind("mp4", {"times": UNEVEN}),
    "h264-mkv": Kind("mkv"),
    "h264-mkv-23.976": Kind("mkv", {"fps": Fraction(24000, 1001)}),
    "h264-ts": Kind("ts"),
    "h264-flv": Kind("flv"),
    "h264-fragmented": Kind("mp4", {"mux": FRAGMENTED}),
    "h264-two-byte-lengths": Kind("mp4", rework=shorten),
    "h264-edit-list": Kind("mp4", rework=hide_start),
    "h264-two-parameter-sets": Kind("mp4", copies=False, rework=splice("mp4", OTHER_SETTINGS)),
    "h264-parameters-change-ts": Kind("ts", copies=False, rework=splice("ts", SAME_ID)),
    "h264-parameters-change-mkv": Kind("mkv", copies=False, rework=splice("ts", SAME_ID)),
    "h264-starts-at-100-mkv": Kind("mkv", {"start": 100.0}),
    "h264-starts-at-50-ts": Kind("ts", {"start": 50.0, "fps": Fraction(60), "gop": 30, "seconds": 3.0}),
    "h264-starts-at-5-mp4": Kind("mp4", {"start": 5.0}),
    "h264-rotated": Kind("mp4", {"rotation": 90}, copies=False),
    "h264-late-sound": Kind("mp4", {"audio_start": 1.5}),
    "h264-late-sound-mkv": Kind("mkv", {"audio_start": 1.5}),
    "h264-late-pictures": Kind("mp4", {"video_start": 0.4}),
    "h264-mono-44100": Kind("mp4", {"layout": "mono", "rate": 44_100}),
    "h264-5.1": Kind("mp4", {"layout": "5.1"}),
    "h264-opus": Kind("mkv", {"audio": "libopus"}),
    "h264-no-sound": Kind("mp4", {"audio": None}),
    "h264-open-gop": Kind("mp4", {"options": OPEN_GOP}, copies=False),
    "h264-open-gop-ts": Kind("ts", {"options": OPEN_GOP, "start": 10.0}, copies=False),
    "h264-intra-refresh": Kind("ts", {"options": REFRESH, "bframes": 0}, copies=False),
    "h264-interlaced": Kind("ts", {"interlaced": True}, copies=False),
    "hevc": Kind("mp4", {"codec": "libx265", "bframes": 3}, copies=False),
    "hevc-open-gop": Kind("mkv", {"codec": "libx265", "options": HEVC_OPEN}, copies=False),
    "vp9-webm": Kind("webm", {"codec": "libvpx-vp9", "audio": "libopus"}, copies=False),
    "av1": Kind("mp4", {"codec": "libsvtav1", "gop": 25}, copies=False),
}

TEXTURE = {"seconds": 3.0, "noise": 6, "size": (192, 128), "sound_options": NO_GUESSED_NOISE}


def ranges(truth: Truth) -> dict[str, tuple[float, float]]:
    """What is cut of every source, by name."""
    times, keys = truth.times, truth.keys
    middle = len(times) // 2
    early, late = (keys[1], keys[-2]) if len(keys) > 3 else (middle // 2, middle)
    before, after = min(early, late) - 1, max(early, late) + 1
    return {
        "from key to key": (times[early], times[late]),
        "a picture before keys": (times[early - 1], times[late - 1]),
        "a picture behind keys": (times[early + 1], times[late + 1]),
        "inside a GOP": (times[early + 2], times[early + 7]),
        "across many": (times[3], times[-4]),
        "between pictures": (
            times[before] * 0.4 + times[before + 1] * 0.6,
            (times[after] + times[after + 1]) / 2,
        ),
        "one key picture": (times[early], times[early + 1]),
        "first picture": (times[0], times[1]),
        "last picture": (times[-1], truth.end),
        "whole": (times[0], truth.end + 0.02),
    }


RANGES = ("from key to key", "a picture before keys", "a picture behind keys", "inside a GOP", "across many",
          "between pictures", "one key picture", "first picture", "last picture", "whole")  # fmt: skip


class Bench:
    """Sources made once, and their clips, all ranges of one source cut in one call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = itertools.count()
        self._sources: dict[str, Truth] = {}
        self._clips: dict[str, dict[str, object]] = {}

    def plain(self, suffix: str, **recipe: Any) -> Path:
        path = self._folder / f"{next(self._number)}.{suffix}"
        return make(path, Recipe(**(TEXTURE | recipe)))

    def source(self, name: str) -> Truth:
        if name not in self._sources:
            kind = KINDS[name]
            path = self._folder / f"{name}.{kind.suffix}"
            made = kind.rework(path, self.plain) if kind.rework else self.plain(kind.suffix, **kind.recipe)
            self._sources[name] = Truth(made)
        return self._sources[name]

    def clips(self, name: str) -> dict[str, object]:
        if name not in self._clips:
            truth = self.source(name)
            outcomes = self.cut(truth, *ranges(truth).values())
            self._clips[name] = dict(zip(RANGES, outcomes, strict=True))
        return self._clips[name]

    def cut(self, truth: Truth, *wanted: tuple[float, float]) -> list[object]:
        specs = [ClipSpec(a, b, self._folder / f"clip-{next(self._number)}.mp4") for a, b in wanted]
        return list(cut(truth.info, specs))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("conformance"))


@pytest.mark.parametrize("wanted", RANGES)
@pytest.mark.parametrize("name", KINDS)
def test_clip(name: str, wanted: str, bench: Bench) -> None:
    truth = bench.source(name)
    judge(truth, bench.clips(name)[wanted], *ranges(truth)[wanted])


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if kind.copies])
def test_what_can_be_copied_is_copied(name: str, bench: Bench) -> None:
    methods = {w: r.method for w, r in bench.clips(name).items() if isinstance(r, ClipResult)}
    assert {methods["from key to key"], methods["one key picture"]} == {"copy"}
    assert {methods[w] for w in ("a picture before keys", "a picture behind keys", "across many")} == {
        "smart"
    }
    assert {methods["between pictures"], methods["whole"]} <= {"copy", "smart"}


# --- recordings of segments ----------------------------------------------------------------------------

RECORDED = ("h264", "h264-b-pyramid", "h264-29.97", "h264-mono-44100", "h264-no-sound", "av1")
"""Not HEVC: the muxer gives key pictures that others precede a wrong time."""


@pytest.mark.parametrize("name", RECORDED)
def test_recordings(name: str, bench: Bench, tmp_path: Path) -> None:
    """Of DASH as libav's muxer makes it, pictures and sound apart: what was judged of the file, once more.

    Media time begins with the sound's priming there, which no edit list of a whole file hides.
    """
    truth = bench.source(name)
    files = dash.recorded(truth.path, tmp_path / "files", seg_duration="1")
    policy = Policy(allow_networks=(ipaddress.ip_network("127.0.0.1/32"),), pause=0.0)
    with (
        Server(dict(files)) as server,
        Egress(policy) as egress,
        opened(Remote(server.url("/list.mpd")), egress) as origin,
    ):
        info = probe(origin)
        late = truth.info.start_time - info.start_time
        wanted = list(ranges(truth).values())
        specs = [ClipSpec(a + late, b + late, tmp_path / f"{i}.mp4") for i, (a, b) in enumerate(wanted)]
        outcomes = list(cut(info, specs))
    for (start, end), result in zip(wanted, outcomes, strict=True):
        assert isinstance(result, ClipResult), repr(result)
        placed = replace(result, actual_start=result.actual_start - late, actual_end=result.actual_end - late)
        judge(truth, placed, start, end)
    methods = {r.method for r in outcomes if isinstance(r, ClipResult)}
    assert "smart" in methods or not KINDS[name].copies


# --- sound alone ---------------------------------------------------------------------------------------

SOUNDS = {"m4a": "aac", "mp3": "libmp3lame", "ogg": "libopus", "flac": "flac", "wav": "pcm_s16le"}
PACKET = 58 * 1024 / 48_000
"""Seconds at which a packet begins, whose sound is nothing without the one before."""


@pytest.mark.parametrize("suffix", SOUNDS)
def test_sound_alone(suffix: str, bench: Bench) -> None:
    truth = Truth(bench.plain(suffix, codec=None, audio=SOUNDS[suffix], seconds=3.0, sound_options=()))
    wanted = [(0.0, 0.5), (0.97, 1.93), (PACKET, 2.0), (1.0, 1.05), (2.9, 3.0), (0.0, truth.info.duration)]
    for (start, end), result in zip(wanted, bench.cut(truth, *wanted), strict=True):
        judge(truth, result, start, end)
        assert isinstance(result, ClipResult)
        assert result.frames == 0
        assert abs(result.actual_start - start) <= 0.5 / 48_000
        assert abs(result.actual_end - end) < 1024 / 48_000


# --- drawn ranges, drawn sources -----------------------------------------------------------------------

FEW = settings(derandomize=True, max_examples=12, deadline=None)
"""The same few examples in every run."""


@st.composite
def places(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """A range: shares of the source where it begins and ends, and how far off a picture each is."""
    share, off = st.floats(0, 1, width=16), st.sampled_from((0.0, -0.4, 0.3))
    first, last = sorted((draw(share), draw(share)))
    return first, last, draw(off), draw(off)


def placed(truth: Truth, place: tuple[float, float, float, float]) -> tuple[float, float]:
    """Seconds of a drawn range, which holds one picture at least."""
    first, last, off_first, off_last = place
    times = [*truth.times, truth.end]
    begin = min(int(first * (len(times) - 1)), len(times) - 3)
    end = max(int(last * (len(times) - 1)), begin + 2)
    gap = times[begin + 1] - times[begin]
    return max(0.0, times[begin] + off_first * gap), times[end] + off_last * gap


RECIPES = st.fixed_dictionaries(
    {
        "fps": st.sampled_from((Fraction(24), Fraction(25), Fraction(30_000, 1001), Fraction(50))),
        "gop": st.integers(1, 40),
        "bframes": st.integers(0, 5),
        "start": st.sampled_from((0.0, 7.0)),
        "rate": st.sampled_from((44_100, 48_000)),
        "seconds": st.sampled_from((1.0, 2.0)),
    }
)


@FEW
@given(
    name=st.sampled_from([n for n, k in KINDS.items() if k.copies]),
    drawn=st.lists(places(), min_size=4, max_size=4),
)
def test_drawn_ranges(name: str, drawn: list[tuple[float, float, float, float]], bench: Bench) -> None:
    truth = bench.source(name)
    wanted = [placed(truth, place) for place in drawn]
    for (start, end), result in zip(wanted, bench.cut(truth, *wanted), strict=True):
        judge(truth, result, start, end)


@FEW
@given(
    suffix=st.sampled_from(("mp4", "mkv", "ts")),
    recipe=RECIPES,
    drawn=st.lists(places(), min_size=3, max_size=3),
)
def test_drawn_sources(
    suffix: str, recipe: dict[str, Any], drawn: list[tuple[float, float, float, float]], bench: Bench
) -> None:
    truth = Truth(bench.plain(suffix, **recipe))
    wanted = [placed(truth, place) for place in drawn]
    for (start, end), result in zip(wanted, bench.cut(truth, *wanted), strict=True):
        judge(truth, result, start, end)


# --- the judge and others ------------------------------------------------------------------------------


def test_the_judge_notices_what_is_wrong(bench: Bench, tmp_path: Path) -> None:
    """Pictures and sound that are one off, pictures that are worse, and copies that are none."""
    truth = bench.source("h264")
    (result,) = bench.cut(truth, (0.6, 2.04))
    assert isinstance(result, ClipResult)
    judge_pictures(truth, result, 0.6, 2.04)
    judge_sound(truth, result)
    for start, end in ((0.64, 2.04), (0.6, 2.0), (0.56, 2.04)):
        with pytest.raises(AssertionError):
            judge_pictures(truth, result, start, end)
    for ticks in (2, -2, 480):
        late = replace(result.spec, path=shifted(tmp_path / "late.mp4", result.spec.path, "audio", ticks))
        with pytest.raises(AssertionError):
            judge_sound(truth, replace(result, spec=late))
    (worse,) = cut(truth.info, [replace(result.spec, path=tmp_path / "worse.mp4")],
                   options=CutOptions(mode="encode", crf=36))  # fmt: skip
    assert isinstance(worse, ClipResult)
    with pytest.raises(AssertionError, match="dB"):
        judge_pictures(truth, worse, 0.6, 2.04)
    (good,) = cut(truth.info, [result.spec], options=CutOptions(mode="encode"))
    assert isinstance(good, ClipResult)
    with pytest.raises(AssertionError, match="not copied"):
        judge_pictures(truth, replace(good, method="smart"), 0.6, 2.04)


@pytest.mark.parametrize("name", ["h264", "h264-b-pyramid", "h264-ts", "h264-edit-list"])
def test_another_decoder_sees_the_same(name: str, bench: Bench) -> None:
    """Clips do not lean on how forgiving one version of libav is."""
    program = need("ffmpeg")
    for wanted, result in bench.clips(name).items():
        assert isinstance(result, ClipResult)
        done = subprocess.run(
            [program, "-v", "warning", "-i", result.spec.path, "-map", "0:v", "-fps_mode", "passthrough",
             "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"],
            check=True, capture_output=True,
        )  # fmt: skip
        assert done.stderr == b"", wanted
        ours = b"".join(plane.tobytes() for p in pictures(result.spec.path) for plane in p.planes)
        assert done.stdout == ours, wanted
