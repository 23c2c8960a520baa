"""The work of clip jobs, on both databases: exact clips, each by itself, each cut once, each gone in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips.shop import Host, Shop, film, shop_on
from tests.core.servers import Server
from tests.media_maker import read
from tests.services import Backend


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture
def host(films: Path) -> Host:
    return Host({"/film.mp4": film(films).read_bytes()})


@pytest.fixture
def server(host: Host) -> Iterator[Server]:
    with Server(host) as running:
        yield running


@pytest.fixture
def shop(backend: Backend, tmp_path: Path) -> Iterator[Shop]:
    with shop_on(backend, tmp_path) as opened:
        yield opened


def test_exact_clips_of_one_source(shop: Shop, server: Server, tmp_path: Path) -> None:
    id = shop.order(f"{server.url}film.mp4", (1.0, 3.0), (9.0, 4.0), (5.2, 6.0), options={"posters": True})
    shop.work(id)
    job = shop.job(id)
    assert (job["state"], job["processed"], job["total"], job["error"]) == ("finished", 3, 3, None)
    first, bad, last = job["clips"]
    assert [clip["state"] for clip in job["clips"]] == ["ready", "failed", "ready"]
    assert bad["error"]["code"] == "range_invalid"
    numbers = [read(shop.fetch(f.key, tmp_path / f"{f.id}.mp4")).numbers for f in shop.files()]
    assert numbers == [list(range(25, 75)), list(range(130, 150))]
    assert (first["frames"], first["width"], first["height"], last["frames"]) == (50, 320, 180, 20)
    assert first["url"].startswith(shop.world.runtime.url + "/files/")
    assert first["poster_url"] is not None
