"""Media made once a session, and the truth about it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.media_maker import Content, Recipe, lag, make, read
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, MediaInfo

SOUND_COMPARED = 48_000
"""Samples looked at to find a lag: a second."""


@dataclass(frozen=True)
class Made:
    """A file made for tests."""

    path: Path
    recipe: Recipe

    @functools.cached_property
    def info(self) -> MediaInfo:
        return probe(self.path)

    @functools.cached_property
    def content(self) -> Content:
        """The whole file, decoded from its beginning by libav alone."""
        return read(self.path, self.recipe.rotation, flipped=self.recipe.flipped)

    @property
    def times(self) -> list[float]:
        """Media seconds of every picture."""
        return [float(t) - self.info.start_time for t in self.content.times]

    @functools.cached_property
    def own_lag(self) -> int:
        """Samples by which the container's own sound is late against the recipe."""
        content = self.content
        assert content.sound_start is not None
        return lag(content.samples[:SOUND_COMPARED], self._sample(float(content.sound_start)), content.rate)

    def _sample(self, raw: float) -> int:
        return round((raw - self.recipe.start) * self.content.rate)

    def added_lag(self, samples: Any, media_time: float, track: int = 0) -> int:
        """Samples by which sound that should begin at `media_time` is later than in this source."""
        place = self._sample(media_time + self.info.start_time)
        return lag(samples[:SOUND_COMPARED], place, self.content.rate, track) - self.own_lag

    def numbers(self, start: float, end: float) -> list[int]:
        """Numbers of the pictures that begin in `[start, end)`."""
        return [n for n, t in zip(self.content.numbers, self.times, strict=True) if start <= t + 5e-4 < end]

    def assert_exact(self, result: object, start: float, end: float) -> Content:
        """Check a clip of `[start, end)`: pictures, their times, and the sound in sync to the sample."""
        assert isinstance(result, ClipResult), result
        turned = probe(result.spec.path).video  # a copied clip is turned by the player, as its source is
        clip = read(
            result.spec.path, *((turned.rotation,) if turned else ()), flipped=bool(turned and turned.flipped)
        )
        wanted = self.numbers(start, end)
        assert clip.numbers == wanted
        times = dict(zip(self.content.numbers, self.content.times, strict=True))
        assert clip.times == [times[n] - times[wanted[0]] for n in wanted]
        assert result.frames == len(wanted)
        assert result.actual_start == pytest.approx(float(times[wanted[0]]) - self.info.start_time, abs=1e-6)
        if self.info.audio:
            assert clip.sound_start == 0
            assert result.sync_ms == 0
            if clip.samples.any() and len(clip.samples) >= 8000:
                assert abs(self.added_lag(clip.samples, result.actual_start)) <= 1
        return clip


Maker = Callable[..., Made]


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes a file: `media("mp4", fps=Fraction(60))`; the same one is made once."""
    folder = tmp_path_factory.mktemp("media")
    made: dict[tuple[str, Recipe], Made] = {}

    def get(suffix: str, **recipe: Any) -> Made:
        key = (suffix, Recipe(**recipe))
        if key not in made:
            path = make(folder / f"{len(made)}.{suffix}", key[1])
            made[key] = Made(path, key[1])
        return made[key]

    return get
