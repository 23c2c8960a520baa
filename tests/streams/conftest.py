"""Houses to submit from (see `house.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import Backend, SQLite
from tests.streams.house import House, house_on


@pytest.fixture
def house(backend: Backend, tmp_path: Path) -> Iterator[House]:
    """An organization, on each database in turn."""
    with house_on(backend, tmp_path) as made:
        yield made


@pytest.fixture
def light_house(sqlite: SQLite, tmp_path: Path) -> Iterator[House]:
    """An organization on SQLite, for what no database has a part in."""
    with sqlite.databases(tmp_path) as new, house_on(Backend("sqlite", new), tmp_path) as made:
        yield made
