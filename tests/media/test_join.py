"""Reels are exact at every joint, do not drift, and copy what can be copied."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.media.conftest import Made, Maker
from tests.media_maker import Content, gray_of, lag, number_of, read, sound
from tldr_highlight.errors import CutError, NotFoundError, RangeError, TldrError
from tldr_highlight.media import join as module
from tldr_highlight.media.cut import cut
from tldr_highlight.media.join import join
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions, Quality, Watermark

MANY = [(0.1 + 0.15 * i, 0.2 + 0.151 * i) for i in range(20)]

CASES: dict[str, tuple[str, dict[str, Any], list[tuple[float, float]]]] = {
    "h264": ("mp4", {}, [(0.5, 1.2), (3.0, 3.8), (1.9, 2.4)]),
    "29.97": ("mkv", {"fps": Fraction(30000, 1001), "rate": 44_100}, [(0.5, 1.2), (3.0, 3.8), (1.9, 2.4)]),
    "60-ts": ("ts", {"fps": Fraction(60), "start": 50.0}, [(2.5, 3.1), (0.4, 1.0)]),
    "uneven": ("mp4", {"times": tuple(Fraction(i * i, 500) for i in range(45))}, [(0.5, 1.2), (2.0, 3.0)]),
    "many": ("mp4", {"fps": Fraction(30000, 1001), "rate": 44_100}, MANY),
    "to-the-end": ("mp4", {}, [(3.5, 60.0), (0.0, 0.4)]),
    "late-sound": ("mkv", {"audio_start": 1.5}, [(1.2, 2.0), (2.5, 3.0)]),
    "turned": ("mp4", {"rotation": 90}, [(0.5, 1.2), (3.0, 3.8)]),
    "silent": ("mp4", {"audio": None}, [(0.5, 1.2), (3.0, 3.8)]),
    "hevc": ("mp4", {"codec": "libx265"}, [(0.5, 1.2), (3.0, 3.8)]),
    "long-gop": ("mp4", {"gop": 250, "bframes": 3}, [(0.5, 1.2), (3.0, 3.8)]),
}


def clips_of(
    made: Made, ranges: list[tuple[float, float]], folder: Path, options: CutOptions | None = None
) -> list[Path]:
    folder.mkdir()
    specs = [ClipSpec(a, b, folder / f"{i}.mp4") for i, (a, b) in enumerate(ranges)]
    for outcome in cut(made.info, specs, options=options or CutOptions()):
        assert isinstance(outcome, ClipResult), outcome
    return [spec.path for spec in specs]


@pytest.mark.parametrize("case", CASES)
def test_exact_at_every_joint(case: str, media: Maker, tmp_path: Path) -> None:
    suffix, recipe, ranges = CASES[case]
    made = media(suffix, **recipe)
    result = join(clips_of(made, ranges, tmp_path / "clips"), tmp_path / "reel.mp4")
    assert result.method == ("encode" if case == "many" else "copy")  # some of those are inside a GOP
    video = probe(result.spec.path).video
    assert video
    joined = read(result.spec.path, video.rotation)
    wanted = [made.numbers(a, b) for a, b in ranges]
    assert joined.numbers == [n for piece in wanted for n in piece]
    assert (result.actual_start, result.frames) == (0.0, len(joined.numbers))
    begins = starts_of(made, wanted)
    place = 0
    for numbers, begin in zip(wanted, begins, strict=True):
        times = [made.content.times[made.content.numbers.index(n)] for n in numbers]
        shown = joined.times[place : place + len(numbers)]
        assert [t - shown[0] for t in shown] == [t - times[0] for t in times]
        assert shown[0] == begin
        check_sound(made, joined, begin, numbers)
        place += len(numbers)
    assert result.actual_end == pytest.approx(float(begins[-1] + length_of(made, wanted[-1])))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clips", "reel.mp4"]


def starts_of(made: Made, pieces: list[list[int]]) -> list[Fraction]:
    """Seconds of the reel at which each piece begins."""
    starts = [Fraction(0)]
    for piece in pieces[:-1]:
        starts.append(starts[-1] + length_of(made, piece))
    return starts


def length_of(made: Made, numbers: list[int]) -> Fraction:
    """Seconds of a piece: until the picture behind it begins, or would."""
    times = made.content.times
    last = made.content.numbers.index(numbers[-1])
    if last + 1 < len(times):
        return times[last + 1] - times[made.content.numbers.index(numbers[0])]
    return times[last] - times[made.content.numbers.index(numbers[0])] + 1 / made.recipe.fps


def check_sound(made: Made, joined: Content, begin: Fraction, numbers: list[int]) -> None:
    """The middle of a piece's sound is where its pictures are."""
    if not made.info.audio:
        return
    first = float(made.content.times[made.content.numbers.index(numbers[0])]) - made.info.start_time
    start = round(float(begin) * joined.rate)
    piece = joined.samples[start : start + round(float(length_of(made, numbers)) * joined.rate)]
    edge = 1024 if len(piece) > 8000 else 200
    inner = piece[edge:-edge]
    if len(inner) > 2000 and first > made.recipe.audio_start:
        assert abs(made.added_lag(inner, first + edge / joined.rate)) <= 1


def samples_of(path: Path) -> Any:
    """Its sound, channels averaged, whatever its pictures show."""
    with av.open(path) as container:
        return np.concatenate([f.to_ndarray().mean(axis=0) for f in container.decode(audio=0)])


def packets_of(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


def test_pictures_are_copied_byte_for_byte(media: Maker, tmp_path: Path) -> None:
    clips = clips_of(media("mp4"), [(0.48, 1.44), (1.0, 2.2), (2.4, 3.1)], tmp_path / "clips")
    join(clips, tmp_path / "reel.mp4")
    assert packets_of(tmp_path / "reel.mp4") == [p for clip in clips for p in packets_of(clip)]


@pytest.mark.parametrize("crossfade", [0.0, 0.2])
def test_what_an_edit_list_hides_stays_hidden(crossfade: float, media: Maker, tmp_path: Path) -> None:
    """Instant clips hold the rest of the GOP that they begin in."""
    made = media("mp4", gop=25)
    ranges = [(0.2, 1.7), (2.3, 3.3)]
    clips = clips_of(made, ranges, tmp_path / "clips", CutOptions("instant"))
    result = join(clips, tmp_path / "reel.mp4", crossfade=crossfade)
    assert result.method == "smart"
    shown = [p.number for p in seen(result.spec.path)]
    one, other = (made.numbers(*r) for r in ranges)
    fade = round(crossfade * 25)
    assert len(shown) == len(one) + len(other) - fade
    assert shown[: len(one) - fade] == one[: len(one) - fade]
    assert shown[len(one) :] == other[fade:]


def test_sound_does_not_drift(media: Maker, tmp_path: Path) -> None:
    """Twenty pieces, none a whole number of samples long."""
    made = media("mp4", fps=Fraction(30000, 1001), rate=44_100)
    result = join(clips_of(made, MANY, tmp_path / "clips"), tmp_path / "reel.mp4")
    with av.open(result.spec.path) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.duration is not None
        assert audio.duration is not None
        assert audio.duration == round(float(video.duration * video.time_base) * 44_100)


def test_clips_with_and_without_reordering(media: Maker, tmp_path: Path) -> None:
    """Decoding times rise through all of it, though the clips' own distances differ."""
    made = media("mp4")
    clips = clips_of(made, [(0.5, 1.2), (1.44, 1.47), (3.0, 3.8), (1.9, 2.4)], tmp_path / "clips")
    assert join(clips, tmp_path / "reel.mp4").method == "copy"
    with av.open(tmp_path / "reel.mp4") as container:
        stamps = [(p.dts, p.pts) for p in container.demux(video=0) if p.size]
    assert all(a[0] < b[0] for a, b in pairwise(stamps))
    assert all(dts <= pts for dts, pts in stamps)


# --- cross-fades ---------------------------------------------------------------------------------------


@dataclass
class Seen:
    """One picture of a reel: the number it carries, None where two are mixed, and its time."""

    number: int | None
    at: Fraction


def seen(path: Path) -> list[Seen]:
    out: list[Seen] = []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            try:
                number = number_of(gray_of(frame))
            except ValueError:
                number = None
            out.append(Seen(number, frame.pts * frame.time_base))
    return out


@pytest.mark.parametrize("mode", ["auto", "encode"])
def test_cross_fade(mode: Any, media: Maker, tmp_path: Path) -> None:
    made = media("mp4", seconds=8.0)
    clips = clips_of(made, [(0.5, 3.2), (4.1, 6.9), (2.0, 4.0)], tmp_path / "clips")
    result = join(clips, tmp_path / "reel.mp4", crossfade=0.4, options=CutOptions(mode))
    assert result.method == ("smart" if mode == "auto" else "encode"), result.reason
    pieces = [made.numbers(0.5, 3.2), made.numbers(4.1, 6.9), made.numbers(2.0, 4.0)]
    assert result.frames == sum(map(len, pieces)) - 20
    assert result.actual_end == pytest.approx(result.frames / 25)
    pictures = seen(result.spec.path)
    assert [p.at for p in pictures] == [Fraction(i, 25) for i in range(result.frames)]
    place = 0
    for index, piece in enumerate(pieces):
        alone = piece[10 if index else 0 : None if index == 2 else -10]
        assert [p.number for p in pictures[place : place + len(alone)]] == alone
        place += len(alone) + 10


def test_only_the_pictures_around_a_cross_fade_are_encoded(media: Maker, tmp_path: Path) -> None:
    clips = clips_of(media("mp4", seconds=8.0), [(0.0, 3.2), (4.0, 7.2)], tmp_path / "clips")
    join(clips, tmp_path / "reel.mp4", crossfade=0.4)
    copied = set(packets_of(clips[0])) | set(packets_of(clips[1]))
    reel = packets_of(tmp_path / "reel.mp4")
    fresh = [i for i, p in enumerate(reel) if p not in copied]
    assert 10 <= len(fresh) <= 10 + 12 + 12  # the fade, and at most a GOP on each side
    assert fresh == list(range(fresh[0], fresh[-1] + 1))


def test_pictures_are_mixed_by_their_place(tmp_path: Path) -> None:
    """Black fading into white rises in even steps."""
    clips: list[Path] = []
    for name, luma in (("black", 16), ("white", 235)):
        path = tmp_path / f"{name}.mp4"
        with av.open(path, "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = 320, 192, "yuv420p", 10
            planes = np.full((288, 320), 128, np.uint8)
            planes[:192] = luma
            for i in range(50):
                frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        clips.append(path)
    result = join(clips, tmp_path / "reel.mp4", crossfade=0.6)
    assert (result.method, result.frames) == ("smart", 85)
    with av.open(result.spec.path) as container:
        luma = [float(f.to_ndarray()[:192].mean()) for f in container.decode(video=0)]
    assert luma[:35] == pytest.approx([16] * 35, abs=1)
    assert luma[50:] == pytest.approx([235] * 35, abs=1)
    assert luma[35:50] == pytest.approx([16 + 219 * (i + 1) / 16 for i in range(15)], abs=2)


def test_sound_is_mixed_with_equal_power(media: Maker, tmp_path: Path) -> None:
    """Where two noises overlap it is as loud as elsewhere, and both are where they belong to the sample."""
    made = media("mp4", seconds=8.0)
    clips = clips_of(made, [(0.0, 3.0), (4.0, 7.0)], tmp_path / "clips")
    result = join(clips, tmp_path / "reel.mp4", crossfade=1.0)
    samples = samples_of(result.spec.path)
    assert len(samples) == pytest.approx(5 * 48_000, abs=1024)
    fade = samples[96_000:144_000]
    assert np.std(fade) == pytest.approx(np.std(samples[20_000:90_000]), rel=0.05)
    for place in (97_000, 110_000, 120_000, 130_000, 143_000):
        share = (place - 96_000) / 48_000
        parts = np.stack([sound(place, 4000, 48_000), sound(place + 96_000, 4000, 48_000)])
        weights = np.linalg.lstsq(parts.T, samples[place : place + 4000], rcond=None)[0]
        middle = share + 2000 / 48_000
        assert weights == pytest.approx([np.cos(middle * np.pi / 2), np.sin(middle * np.pi / 2)], abs=0.08)


@pytest.mark.parametrize("case", ["29.97", "60-ts", "uneven", "many", "silent", "long-gop", "late-sound"])
def test_cross_fades_of_all_kinds(case: str, media: Maker, tmp_path: Path) -> None:
    suffix, recipe, ranges = CASES[case]
    made = media(suffix, **recipe)
    clips = clips_of(made, ranges, tmp_path / "clips")
    result = join(clips, tmp_path / "reel.mp4", crossfade=0.2)
    assert result.method in {"smart", "encode"}
    pictures = seen(result.spec.path)
    assert len(pictures) == result.frames
    lengths = [float(length_of(made, made.numbers(a, b))) for a, b in ranges]
    longest = max(b - a for a, b in pairwise(made.times))
    fades = sum(lengths) - result.actual_end
    assert fades <= 0.2 * (len(ranges) - 1) + 1e-6
    assert fades >= sum(min(0.2, a / 2, b / 2) - longest for a, b in pairwise(lengths))
    assert all(a.at < b.at for a, b in pairwise(pictures))
    known = set(itertools.chain(*[made.numbers(a, b) for a, b in ranges]))
    assert {p.number for p in pictures} <= known | {None}
    assert (pictures[0].number, pictures[-1].number) == (
        made.numbers(*ranges[0])[0],
        made.numbers(*ranges[-1])[-1],
    )


def test_a_cross_fade_is_at_most_half_a_clip(media: Maker, tmp_path: Path) -> None:
    clips = clips_of(media("mp4"), [(0.0, 1.0), (2.0, 2.4), (3.0, 4.0)], tmp_path / "clips")
    result = join(clips, tmp_path / "reel.mp4", crossfade=30.0)
    assert result.frames == 25 + 10 + 25 - 5 - 5


# --- clips that differ ---------------------------------------------------------------------------------


def test_clips_of_different_sources(media: Maker, tmp_path: Path) -> None:
    """Another size and rate, other sound: all is shown at the size of the first, with bars, in sync."""
    one, other = media("mp4"), media("mp4", size=(192, 320), fps=Fraction(30), rate=44_100, layout="mono")
    clips = [
        *clips_of(one, [(0.5, 1.5)], tmp_path / "a"),
        *clips_of(other, [(1.0, 2.0)], tmp_path / "b"),
        *clips_of(one, [(2.0, 3.0)], tmp_path / "c"),
    ]
    result = join(clips, tmp_path / "reel.mp4")
    assert (result.method, result.frames) == ("encode", 25 + 30 + 25)
    with av.open(result.spec.path) as container:
        frames = [(gray_of(f), f.pts * f.time_base) for f in container.decode(video=0)]
    begins = Fraction(26, 25) - frames[0][1] - Fraction(1, 25)
    assert [t for _, t in frames[:25]] == [Fraction(i, 25) for i in range(25)]
    assert [t - begins for _, t in frames[25:55]] == [Fraction(i, 30) for i in range(30)]
    for gray, _ in frames[25:55]:
        assert gray[:, :100].max() < 24  # the bars
        assert gray[:, 225:].max() < 24
    width = 192 * 192 // 320 // 2 * 2
    left = (320 - width) // 4 * 2
    assert [number_of(g[:, left : left + width]) for g, _ in frames[25:55]] == other.numbers(1.0, 2.0)
    samples = samples_of(result.spec.path)
    assert abs(lag(samples[1024:47_000], one.numbers(0.5, 1.5)[0] * 1920 + 1024, 48_000)) <= 1
    assert abs(lag(samples[97_024:143_000], 96_000 + 1024, 48_000)) <= 1


def test_colours_of_different_sources(media: Maker, tmp_path: Path) -> None:
    """BT.709 and BT.601 name colours differently; in one track they are named as in the first clip."""
    clips = [
        *clips_of(media("mp4", colours=1), [(0.0, 1.0)], tmp_path / "a"),
        *clips_of(media("mp4", colours=6), [(0.0, 1.0)], tmp_path / "b"),
    ]
    result = join(clips, tmp_path / "reel.mp4", options=CutOptions(crf=4))
    assert (result.method, result.frames) == ("encode", 50)
    with av.open(result.spec.path) as reel, av.open(clips[1]) as other:
        shown = list(reel.decode(video=0))[25:]
        assert {f.colorspace for f in shown} == {1}
        for ours, theirs in zip(shown, other.decode(video=0), strict=True):
            left = slice(80, 180), slice(20, 140)
            difference = rgb_of(ours)[left].mean((0, 1)) - rgb_of(theirs)[left].mean((0, 1))
            assert abs(difference).max() < 3.5  # taken for the other matrix: 8


def rgb_of(frame: Any) -> Any:
    """A picture's colours by the matrix it names."""
    return frame.reformat(format="rgb24", src_colorspace=frame.colorspace).to_ndarray().astype(float)


@pytest.mark.parametrize(
    "options",
    [CutOptions("encode"), CutOptions(watermark=Watermark(text="x")), CutOptions(max_height=96)],
)
def test_what_is_asked_for_is_done_to_the_reel(options: CutOptions, media: Maker, tmp_path: Path) -> None:
    clips = clips_of(media("mp4"), [(0.0, 1.0), (2.0, 3.0)], tmp_path / "clips")
    told: list[float] = []
    result = join(clips, tmp_path / "reel.mp4", options=options, on_progress=told.append)
    assert result.method == "encode"
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    with av.open(result.spec.path) as container:
        assert container.streams.video[0].height == (options.max_height or 192)


def test_quality_alone_encodes_nothing_twice(media: Maker, tmp_path: Path) -> None:
    small = CutOptions(quality="small")
    clips = clips_of(media("mp4"), [(0.0, 1.0), (2.0, 3.0)], tmp_path / "clips", small)
    assert join(clips, tmp_path / "reel.mp4", options=small).method == "copy"


def test_a_cross_fade_has_the_quality_of_its_clips(media: Maker, tmp_path: Path) -> None:
    """And reaches no farther than the next key picture: two seconds where the clips are encoded by us."""
    source = media("mp4", seconds=16.0, noise=24.0)
    sizes: dict[str, int] = {}
    qualities: tuple[Quality, ...] = ("high", "small")
    for quality in qualities:
        options = CutOptions("encode", quality=quality)
        clips = clips_of(source, [(0.0, 6.0), (8.0, 14.0)], tmp_path / quality, options)
        reel = tmp_path / f"{quality}.mp4"
        result = join(clips, reel, crossfade=0.4, options=replace(options, mode="auto"))
        assert result.method == "smart"
        copied = set(packets_of(clips[0])) | set(packets_of(clips[1]))
        fresh = [packet for packet in packets_of(reel) if packet not in copied]
        assert 10 <= len(fresh) <= 10 + 50
        sizes[quality] = sum(map(len, fresh)) // len(fresh)
    assert sizes["small"] < sizes["high"] / 2


def test_a_reel_is_brought_to_one_loudness(media: Maker, tmp_path: Path) -> None:
    clips = clips_of(media("mp4"), [(0.0, 1.0), (2.0, 3.0)], tmp_path / "clips")
    plain, quiet = (
        join(clips, tmp_path / "a.mp4"),
        join(clips, tmp_path / "b.mp4", options=CutOptions(loudness=-40.0)),
    )
    assert quiet.method == "copy"
    ratio = np.std(read(quiet.spec.path).samples) / np.std(read(plain.spec.path).samples)
    assert 0 < ratio < 0.5
    again = join(clips, tmp_path / "c.mp4", options=CutOptions(loudness=-46.0))
    assert np.std(read(again.spec.path).samples) / np.std(read(quiet.spec.path).samples) == pytest.approx(
        10 ** (-6 / 20), rel=0.02
    )


def test_sound_alone(media: Maker, tmp_path: Path) -> None:
    clips = clips_of(media("m4a", codec=None), [(2.0, 3.0), (0.5, 1.0)], tmp_path / "clips")
    result = join(clips, tmp_path / "reel.mp4")
    samples = read(result.spec.path).samples
    assert result.actual_end == pytest.approx(1.5)
    assert lag(samples[1024:46_000], 96_000 + 1024, 48_000) == 0
    assert lag(samples[49_024:70_000], 24_000 + 1024, 48_000) == 0
    assert join(clips, tmp_path / "faded.mp4", crossfade=0.1).actual_end == pytest.approx(1.4)


def test_some_without_sound(media: Maker, tmp_path: Path) -> None:
    clips = [
        *clips_of(media("mp4", audio=None), [(0.5, 1.5)], tmp_path / "a"),
        *clips_of(media("mp4"), [(2.0, 3.0)], tmp_path / "b"),
    ]
    result = join(clips, tmp_path / "reel.mp4")
    content = read(result.spec.path)
    assert abs(content.samples[:46_000]).max() < 0.01
    assert abs(lag(content.samples[49_000:90_000], 97_000, 48_000)) <= 1


# --- errors --------------------------------------------------------------------------------------------


def test_no_clips(tmp_path: Path) -> None:
    with pytest.raises(RangeError):
        join([], tmp_path / "reel.mp4")


@pytest.mark.parametrize("crossfade", [-1.0, float("nan"), float("inf")])
def test_no_cross_fade(crossfade: float, media: Maker, tmp_path: Path) -> None:
    with pytest.raises(RangeError):
        join([media("mp4").path], tmp_path / "reel.mp4", crossfade=crossfade)


def test_clips_with_and_without_pictures(media: Maker, tmp_path: Path) -> None:
    with pytest.raises(CutError, match="without"):
        join([media("mp4").path, media("m4a", codec=None).path], tmp_path / "reel.mp4")
    assert list(tmp_path.iterdir()) == []


def test_no_clip_at_all(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("hello")
    with pytest.raises(TldrError):
        join([tmp_path / "clip.mp4", tmp_path / "none.mp4"], tmp_path / "reel.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_clip_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "reel.mp4").write_bytes(b"an old one")
    with pytest.raises(NotFoundError):
        join([tmp_path / "clip.mp4"], tmp_path / "reel.mp4")


def test_not_onto_a_clip(media: Maker, tmp_path: Path) -> None:
    clips = clips_of(media("mp4"), [(0.5, 1.5)], tmp_path / "clips")
    before = clips[0].read_bytes()
    with pytest.raises(CutError):
        join(clips, clips[0])
    assert clips[0].read_bytes() == before


def test_what_goes_wrong_with_copying_is_encoded(
    media: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(*_: object) -> None:
        raise CutError("not right")

    clips = clips_of(media("mp4"), [(0.0, 1.0), (2.0, 3.0)], tmp_path / "clips")
    monkeypatch.setattr(module, "_check_joints", spoilt)
    result = join(clips, tmp_path / "reel.mp4")
    assert (result.method, result.frames) == ("encode", 50)
    assert "not right" in result.reason
