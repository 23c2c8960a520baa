"""Reels are exact at every joint, and do not drift."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from tests.media.conftest import Made, Maker
from tests.media_maker import lag, read
from tldr_highlight.errors import RangeError
from tldr_highlight.media.join import reel
from tldr_highlight.media.types import CutOptions

MANY = [(0.1 + 0.15 * i, 0.2 + 0.151 * i) for i in range(20)]

CASES = {
    "h264": ("mp4", {}, [(0.5, 1.2), (3.0, 3.8), (1.9, 2.4)]),
    "29.97": ("mkv", {"fps": Fraction(30000, 1001), "rate": 44_100}, [(0.5, 1.2), (3.0, 3.8), (1.9, 2.4)]),
    "60-ts": ("ts", {"fps": Fraction(60), "start": 50.0}, [(2.5, 3.1), (0.4, 1.0)]),
    "uneven": ("mp4", {"times": tuple(Fraction(i * i, 500) for i in range(45))}, [(0.5, 1.2), (2.0, 3.0)]),
    "many": ("mp4", {"fps": Fraction(30000, 1001), "rate": 44_100}, MANY),
    "to-the-end": ("mp4", {}, [(3.5, 60.0), (0.0, 0.4)]),
    "late-sound": ("mkv", {"audio_start": 1.5}, [(1.2, 2.0), (2.5, 3.0)]),
    "turned": ("mp4", {"rotation": 90}, [(0.5, 1.2), (3.0, 3.8)]),
    "silent": ("mp4", {"audio": None}, [(0.5, 1.2), (3.0, 3.8)]),
}


@pytest.mark.parametrize("case", CASES)
def test_exact_at_every_joint(case: str, media: Maker, tmp_path: Path) -> None:
    suffix, recipe, ranges = CASES[case]
    made = media(suffix, **recipe)
    result = reel(made.info, ranges, tmp_path / "reel.mp4")
    joined = read(result.spec.path)
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
    assert [p.name for p in tmp_path.iterdir()] == ["reel.mp4"]


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


def check_sound(made: Made, joined: object, begin: Fraction, numbers: list[int]) -> None:
    """The middle of a piece's sound is where its pictures are."""
    from tests.media_maker import Content

    assert isinstance(joined, Content)
    if not made.info.audio:
        return
    first = float(made.content.times[made.content.numbers.index(numbers[0])]) - made.info.start_time
    start = round(float(begin) * joined.rate)
    piece = joined.samples[start : start + round(float(length_of(made, numbers)) * joined.rate)]
    edge = 1024 if len(piece) > 8000 else 200
    inner = piece[edge:-edge]
    if len(inner) > 2000 and first > made.recipe.audio_start:
        assert abs(made.added_lag(inner, first + edge / joined.rate)) <= 1


def test_sound_does_not_drift(media: Maker, tmp_path: Path) -> None:
    """Twenty pieces, none a whole number of samples long."""
    made = media("mp4", fps=Fraction(30000, 1001), rate=44_100)
    result = reel(made.info, MANY, tmp_path / "reel.mp4")
    import av

    with av.open(result.spec.path) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.duration is not None
        assert audio.duration is not None
        assert audio.duration == round(float(video.duration * video.time_base) * 44_100)


@pytest.mark.parametrize("bad", [(2.0, 1.0), (50.0, 60.0), (float("nan"), 1.0)])
def test_bad_range_is_named(bad: tuple[float, float], media: Maker, tmp_path: Path) -> None:
    with pytest.raises(RangeError) as caught:
        reel(media("mp4").info, [(0.5, 1.0), bad], tmp_path / "reel.mp4")
    assert caught.value.index == 1
    assert list(tmp_path.iterdir()) == []


def test_no_ranges(media: Maker, tmp_path: Path) -> None:
    with pytest.raises(RangeError):
        reel(media("mp4").info, [], tmp_path / "reel.mp4")


def test_sound_alone(media: Maker, tmp_path: Path) -> None:
    made = media("m4a", codec=None)
    result = reel(made.info, [(2.0, 3.0), (0.5, 1.0)], tmp_path / "reel.mp4")
    samples = read(result.spec.path).samples
    assert result.actual_end == pytest.approx(1.5)
    assert lag(samples[1024:46_000], 96_000 + 1024, 48_000) == 0
    assert lag(samples[49_024:70_000], 24_000 + 1024, 48_000) == 0


def test_progress_and_size(media: Maker, tmp_path: Path) -> None:
    told: list[float] = []
    result = reel(
        media("mp4").info,
        [(0.0, 1.0), (2.0, 3.0)],
        tmp_path / "reel.mp4",
        CutOptions(max_height=96),
        on_progress=told.append,
    )
    assert all(a <= b for a, b in pairwise(told))
    assert told[-1] == pytest.approx(1.0)
    assert read(result.spec.path).sizes == {(160, 96)}
