"""One pass over a source: what comes out of it, where segments end, and what is left undecoded."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.media_maker import Recipe, join_bytes, make
from tldr_highlight.analysis.signals import SOUND_CURVES, measure
from tldr_highlight.errors import MediaError
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import (
    LONGEST_SEGMENT,
    Reader,
    Sampling,
    keys_show_motion,
    pictures_between,
    sampling_for,
)
from tldr_highlight.media.sampling import HEIGHT, WIDTH
from tldr_highlight.media.types import Segment

LONG = Recipe(seconds=65.0, gop=50, size=(64, 48))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("read") / "film.mp4", LONG)


def samples(segments: list[Segment]) -> int:
    return sum(len(b.samples) for s in segments for b in s.audio)


def test_segments_follow_each_other_from_key_picture_to_key_picture(film: Path) -> None:
    reader = Reader(probe(film), Sampling.ALL)
    segments = list(reader)
    assert [s.index for s in segments] == list(range(len(segments)))
    assert segments[0].start == 0
    assert segments[-1].end == reader.end == pytest.approx(65, abs=0.1)
    for before, after in itertools.pairwise(segments):
        assert before.end == after.start
        assert 20 <= before.end - before.start <= LONGEST_SEGMENT
        assert after.start == pytest.approx(after.key_times[0])
    assert (reader.damaged, reader.jumped) == (0, False)


def test_everything_is_read_once(film: Path) -> None:
    segments = list(Reader(probe(film), Sampling.ALL))
    assert sum(len(s.packet_times) for s in segments) == 65 * 25
    assert samples(segments) == pytest.approx(65 * 48_000, abs=3000)
    for s in segments:
        assert s.pictures.gray.shape[1:] == (HEIGHT, WIDTH)
        assert (np.diff(s.pictures.times) > 0).all()
        assert ((s.start <= s.pictures.times) & (s.pictures.times < s.end)).all()


@pytest.mark.parametrize(("sampling", "spacing"), [(Sampling.KEYS, 2.0), (Sampling.ALL, 0.24)])
def test_pictures_come_as_often_as_asked(film: Path, sampling: Sampling, spacing: float) -> None:
    times = np.concatenate([s.pictures.times for s in Reader(probe(film), sampling)])
    assert np.median(np.diff(times)) == pytest.approx(spacing, abs=0.05)
    assert len(times) == pytest.approx(65 / spacing, rel=0.1)


def test_sources_of_key_pictures_only_are_not_all_decoded(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Recipe(seconds=10, gop=1, bframes=0, size=(64, 48)))
    times = np.concatenate([s.pictures.times for s in Reader(probe(path), Sampling.KEYS)])
    assert len(times) <= 11


def test_reading_can_begin_in_the_middle(film: Path) -> None:
    segments = list(Reader(probe(film), Sampling.KEYS, start=31.0))
    assert segments[0].start == 31.0
    assert min(t for s in segments for t in s.pictures.times) >= 31.0
    assert samples(segments) == pytest.approx(34 * 48_000, abs=2 * 48_000)


def test_a_window_holds_its_pictures_and_no_others(film: Path) -> None:
    first, second = pictures_between(probe(film), [(10.0, 14.0), (40.0, 43.0)])
    assert 10.0 <= first.times[0] <= 10.3
    assert 13.5 <= first.times[-1] < 14.0
    assert len(first.times) == pytest.approx(4 / 0.24, abs=2)
    assert 40.0 <= second.times[0] <= 40.3
    whole = np.concatenate([s.pictures.times for s in Reader(probe(film), Sampling.ALL)])
    assert len(whole) > 200


def test_sound_alone_and_pictures_alone(tmp_path: Path) -> None:
    heard = make(tmp_path / "sound.m4a", Recipe(seconds=45, codec=None))
    seen = make(tmp_path / "seen.mp4", Recipe(seconds=45, audio=None, size=(64, 48)))
    assert sampling_for(probe(heard)) is Sampling.NONE
    parts = list(Reader(probe(heard), Sampling.NONE))
    assert len(parts) == 3
    assert not any(len(s.pictures.times) for s in parts)
    assert sampling_for(probe(seen)) is Sampling.ALL
    assert not any(s.audio for s in Reader(probe(seen), Sampling.ALL))


def test_a_clock_that_starts_again_goes_on(tmp_path: Path) -> None:
    one = make(tmp_path / "one.ts", Recipe(seconds=20, size=(64, 48), start=1000.0))
    two = make(tmp_path / "two.ts", Recipe(seconds=20, size=(64, 48), start=5.0))
    joined = join_bytes(tmp_path / "both.ts", [one, two])
    reader = Reader(probe(joined), Sampling.ALL)
    times = np.concatenate([s.pictures.times for s in reader])
    assert reader.jumped
    assert reader.end == pytest.approx(40, abs=1.5)
    assert (np.diff(times) > 0).all()


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_sound_of_any_shape_measures_alike(tmp_path: Path, rate: int, layout: str) -> None:
    path = make(tmp_path / "a.mkv", Recipe(seconds=3, codec=None, audio="flac", rate=rate, layout=layout))
    signals = measure(Reader(probe(path), Sampling.NONE))
    for name in SOUND_CURVES[:3]:
        assert np.isfinite(signals.curves[name][:5]).all(), name


def test_which_pictures_are_decoded_follows_size_and_gop(film: Path, tmp_path: Path) -> None:
    assert sampling_for(probe(film)) is Sampling.ALL
    large = probe(make(tmp_path / "large.mp4", Recipe(seconds=1, size=(1280, 720), gop=25)))
    assert sampling_for(large) is Sampling.KEYS
    assert keys_show_motion(probe(film))
    rare = make(tmp_path / "rare.mp4", Recipe(seconds=12, gop=125, size=(64, 48)))
    assert not keys_show_motion(probe(rare))


@pytest.mark.parametrize("start", [0.0, 30.0])
def test_a_pair_reads_as_one_file(start: float, film: Path, tmp_path: Path) -> None:
    seen = make(tmp_path / "seen.mp4", replace(LONG, audio=None))
    heard = make(tmp_path / "heard.m4a", replace(LONG, codec=None))
    whole = list(Reader(probe(film), Sampling.ALL, start=start))
    pair = list(Reader(probe(seen, sound=heard), Sampling.ALL, start=start))
    assert len(pair) == len(whole)
    for ours, theirs in zip(pair, whole, strict=True):
        assert (ours.start, ours.end) == pytest.approx((theirs.start, theirs.end), abs=0.05)
        assert (ours.packet_times == theirs.packet_times).all()
        assert (ours.pictures.times == theirs.pictures.times).all()
        assert np.abs(ours.pictures.gray.astype(int) - theirs.pictures.gray).mean() < 1
        assert ours.audio[0].start == pytest.approx(theirs.audio[0].start, abs=1.1)
    assert samples(pair) == pytest.approx(samples(whole), abs=5000)


def test_sound_of_a_pair_alone(film: Path, tmp_path: Path) -> None:
    heard = make(tmp_path / "heard.m4a", replace(LONG, codec=None, seconds=30))
    segments = list(Reader(probe(film, sound=heard), Sampling.NONE))
    assert samples(segments) == pytest.approx(30 * 48_000, abs=3000)
    assert sum(len(s.packet_times) for s in segments) == 0


def test_a_pair_whose_clocks_leap_is_refused(tmp_path: Path) -> None:
    part = make(tmp_path / "part.ts", Recipe(seconds=20, audio=None, gop=25))
    seen = join_bytes(tmp_path / "seen.ts", [part, part])
    heard = make(tmp_path / "heard.m4a", Recipe(seconds=40, codec=None))
    with pytest.raises(MediaError, match="leap"):
        list(Reader(probe(seen, sound=heard), Sampling.ALL))
