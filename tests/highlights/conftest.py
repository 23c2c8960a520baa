"""Worlds to ask for highlights in (see `tests/api/world.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.world import World, world_on
from tests.services import Backend, SQLite


@pytest.fixture
def world(backend: Backend, tmp_path: Path) -> Iterator[World]:
    """An application, on each database in turn."""
    with world_on(backend, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def light(sqlite: SQLite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One on SQLite for a whole module: each test has an organization of its own in it."""
    folder = tmp_path_factory.mktemp("light")
    with sqlite.databases(folder) as new, world_on(Backend("sqlite", new), folder) as made:
        yield made
