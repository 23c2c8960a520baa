"""Clip jobs in tests: an installation, small films on a server that can misbehave, and what came of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from tests.api.world import World, world_on
from tests.core.servers import Peer, Request, asked_part
from tests.media_maker import Recipe, make
from tests.services import Backend
from tldr_highlight.clips.models import ClipFile, ClipJob
from tldr_highlight.core.db import now
from tldr_highlight.core.work import Work, enqueue, retry, run_one
from tldr_highlight.webhooks.models import Event

LOOPBACK = "127.0.0.0/8"

SIZE = (320, 180)


def film(folder: Path, name: str = "film", **recipe: Any) -> Path:
    """Twelve small seconds, whose pictures carry their numbers."""
    path = folder / f"{name}.mp4"
    return path if path.exists() else make(path, Recipe(size=SIZE, **{"seconds": 12.0, **recipe}))


@dataclass
class Host:
    """What a server of media has, and how it behaves: an `Answer`."""

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    etag: str | None = '"1"'
    refusals: dict[str, list[int]] = field(
        default_factory=dict[str, list[int]]
    )  # address -> statuses, in turn; 0: none
    before: Callable[[Request], None] = lambda request: None

    def __call__(self, request: Request, peer: Peer) -> None:
        self.before(request)
        if self.refusals.get(request.target) and (status := self.refusals[request.target].pop(0)):
            peer.reply(f"{status} No")
            return
        data = self.files.get(request.target)
        if data is None:
            peer.reply("404 Not Found")
            return
        headers = [f"ETag: {self.etag}"] if self.etag else []
        start, end = asked_part(request, len(data)) or (0, len(data))
        place = f"Content-Range: bytes {start}-{end - 1}/{len(data)}"
        peer.reply("206 Partial Content", data[start:end], place, *headers)


@dataclass
class Shop:
    """An installation with one customer."""

    world: World
    organization: str = ""
    key: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.organization = self.world.organization()
        self.key = self.world.key(self.organization)

    def call(self, method: str, path: str, **how: Any) -> Any:
        return self.world.client.request(method, path, **{"headers": self.key, **how})

    def order(self, url: str, *ranges: tuple[float, float], **more: Any) -> str:
        """The id of a new job."""
        clips = [{"start": start, "end": end} for start, end in ranges]
        answer = self.call("POST", "/api/v1/clip-jobs", json={"source_url": url, "clips": clips, **more})
        assert answer.status_code == 202, answer.text
        assert answer.json()["state"] == "pending"
        return answer.json()["id"]

    def work(self, *ids: str) -> None:
        """Do it now, each once, in this process."""
        for id in ids:
            with self.world.runtime.db.begin() as session:
                session.execute(update(Work).where(Work.id == id).values(run_at=now()))
            assert run_one(self.world.runtime, owner="test", id=id, suspects=None)

    def job(self, id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/api/v1/clip-jobs/{id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sweep(self) -> None:
        with self.world.runtime.db.begin() as session:
            work = enqueue(session, "clip_sweep", key="periodic", priority="soon")
            retry(session, work.id)
        assert run_one(self.world.runtime, owner="test", id=work.id)

    def age(self, *ids: str) -> None:
        """Their time is over."""
        with self.world.runtime.db.begin() as session:
            session.execute(update(ClipJob).where(ClipJob.id.in_(ids)).values(delete_at=now()))

    def rows(self, query: Any) -> list[Any]:
        with self.world.runtime.db.read() as session:
            return list(session.scalars(query))

    def files(self) -> list[ClipFile]:
        return self.rows(select(ClipFile).order_by(ClipFile.id))

    def stored(self) -> set[str]:
        return {listed.key for listed in self.world.runtime.storage.list()}

    def events(self) -> list[Event]:
        return self.rows(select(Event).order_by(Event.id))

    def fetch(self, key: str, path: Path) -> Path:
        self.world.runtime.storage.get(key, path)
        return path


@contextlib.contextmanager
def shop_on(backend: Backend, folder: Path, **settings: Any) -> Generator[Shop]:
    with world_on(backend, folder, allow_networks=LOOPBACK, **settings) as world:
        yield Shop(world)


class Gate:
    """Holds back who comes to it until it is opened, and says that somebody has come."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        self.opened.wait(60)
