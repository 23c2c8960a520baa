"""An installation for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import Backend, SQLite
from tests.webhooks.shop import Shop, shop_on


@pytest.fixture
def shop(backend: Backend, tmp_path: Path) -> Iterator[Shop]:
    """On each database."""
    with shop_on(backend, tmp_path) as opened:
        yield opened


@pytest.fixture
def quick(sqlite: SQLite, tmp_path: Path) -> Iterator[Shop]:
    """On SQLite, for what does not depend on the database."""
    with sqlite.databases(tmp_path) as new, shop_on(Backend("sqlite", new), tmp_path) as opened:
        yield opened
