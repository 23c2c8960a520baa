"""The API, on each database and in each deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import Backend
from tests.tenancy.house import House, house


@pytest.fixture
def api(backend: Backend, tmp_path: Path) -> Iterator[House]:
    """The API on SQLite, and on PostgreSQL."""
    with house(backend, tmp_path) as found:
        yield found


@pytest.fixture
def deployed(deployment: Backend, tmp_path: Path) -> Iterator[House]:
    """The API embedded (SQLite alone), and scaled (PostgreSQL and Redis)."""
    with house(deployment, tmp_path) as found:
        yield found
