"""An installation for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts.office import Office, office
from tests.services import Backend, SQLite


@pytest.fixture
def home(backend: Backend, tmp_path: Path) -> Iterator[Office]:
    """An installation on each database."""
    with office(backend, tmp_path) as opened:
        yield opened


@pytest.fixture
def quick(sqlite: SQLite, tmp_path: Path) -> Iterator[Office]:
    """An installation on SQLite, for what does not depend on the database."""
    with sqlite.databases(tmp_path) as new, office(Backend("sqlite", new), tmp_path) as opened:
        yield opened
