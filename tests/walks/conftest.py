"""Films that several walks look at; made once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.walks import films


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where films are."""
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="session")
def film(folder: Path) -> Path:
    """24 s with a roar at 12."""
    return films.film(folder / "film.mp4")


@pytest.fixture(scope="session")
def tiny(folder: Path) -> Path:
    """A film of 80 kB whose one highlight is cut in a fifth of a second."""
    return films.film(folder / "tiny.mp4", (8,), seconds=16.0, size=(64, 36), fps=Fraction(5), rate=8000)


@pytest.fixture(scope="session")
def three(folder: Path) -> Path:
    """Three times as much."""
    return films.film(
        folder / "three.mp4", (16, 36, 56), seconds=70.0, size=(64, 36), fps=Fraction(5), rate=8000
    )


@pytest.fixture(scope="session")
def match(folder: Path) -> Path:
    """Seven roars in 160 s; each clip takes long enough to be interrupted."""
    return films.film(folder / "match.mp4", range(20, 160, 20), seconds=160.0, size=(320, 180))


@pytest.fixture(scope="session")
def half_hour(folder: Path) -> Path:
    """Half an hour whose analysis takes long enough to be interrupted."""
    return films.hours(folder / "half_hour.mkv", 3, heard=600)
