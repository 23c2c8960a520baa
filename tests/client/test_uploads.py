"""The client's uploads against the real server, whose connection breaks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.serving import Served, serving
from tests.api.world import World, world_on
from tests.services import Backend, SQLite
from tldr_highlight.client import Client, NotFound, Problem
from tldr_highlight.client import uploads as client_uploads
from tldr_highlight.errors import BodyGoneError
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.web.incoming import Incoming

BYTES = random.Random(20261125).randbytes(3_000_000)


@pytest.fixture(scope="module")
def house(sqlite: SQLite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Served]]:
    folder = tmp_path_factory.mktemp("client")
    with (
        sqlite.databases(folder) as new,
        world_on(Backend("sqlite", new), folder, disk_reserve_mb=0) as world,
        serving(world.app) as served,
    ):
        yield world, served


@pytest.fixture
def organization(house: tuple[World, Served]) -> str:
    return house[0].organization()


@pytest.fixture
def client(house: tuple[World, Served], organization: str) -> Iterator[Client]:
    world, served = house
    with Client(served.url, world.key(organization)["X-API-Key"]) as made:
        yield made


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "match.mp4"
    path.write_bytes(BYTES)
    return path


def test_a_file_is_sent_and_told_of(client: Client, film: Path) -> None:
    told: list[tuple[int, int]] = []
    upload = client.uploads.create(film, on_progress=lambda sent, of: told.append((sent, of)))
    assert (upload.state, upload.bytes, upload.filename) == ("ready", len(BYTES), "match.mp4")
    assert told == sorted(told)
    assert told[-1] == (len(BYTES), len(BYTES))
    assert client.uploads.get(upload.id) == upload
    assert list(client.uploads.list()) == [upload]
    client.uploads.delete(upload.id)
    with pytest.raises(NotFound):
        client.uploads.get(upload.id)


def test_what_breaks_goes_on(client: Client, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the connection ends in the middle."""
    monkeypatch.setattr(client_uploads, "FIRST_WAIT", 0.01)
    read, breaks = Incoming.read, [1_000_000, 2_000_000]
    came = 0

    def breaking(body: Incoming) -> bytes:
        nonlocal came
        if breaks and came > breaks[0]:
            breaks.pop(0)
            raise BodyGoneError("the connection ended before the body did")
        data = read(body)
        came += len(data)
        return data

    monkeypatch.setattr(Incoming, "read", breaking)
    upload = client.uploads.create(film)
    assert (upload.state, breaks) == ("ready", [])


def test_what_is_refused_is_raised(
    client: Client, film: Path, house: tuple[World, Served], organization: str
) -> None:
    with house[0].runtime.db.begin() as session:
        row = session.get_one(Organization, organization)
        row.plan, row.overrides = "STARTER", {**row.overrides, "storage_gb": 0.001}
    with pytest.raises(Problem) as caught:
        client.uploads.create(film)
    assert caught.value.code == "quota_exceeded"
