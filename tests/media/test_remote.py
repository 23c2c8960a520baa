"""Media that is no local file: pairs, HTTP files, recordings of segments; the clips equal those of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.media.conftest import SOUND_COMPARED, Maker
from tests.media_maker import lag, read
from tldr_highlight.media.cut import cut
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, ClipSpec, MediaInfo

RANGES = ((0.0, 0.5), (0.97, 1.93), (2.5, 9.0))


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
