"""Worlds to call (see `tests/api/world.py`)."""

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


@pytest.fixture
def light_world(sqlite: SQLite, tmp_path: Path) -> Iterator[World]:
    """An application on SQLite, for what no database has a part in."""
    with sqlite.databases(tmp_path) as new, world_on(Backend("sqlite", new), tmp_path) as made:
        yield made
