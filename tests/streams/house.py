"""Organizations that submit streams, through the API and beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.api.world import World, world_on
from tests.services import Backend
from tests.streams import stand_in
from tldr_highlight.core.work import run_one
from tldr_highlight.streams.models import Stream
from tldr_highlight.tenancy.models import Organization

URL = "https://media.example.com/final.mp4"


@dataclass
class House:
    """An organization with a key, whose streams are worked on by the stand-in."""

    world: World
    id: str = ""
    key: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.id = self.id or self.world.organization()
        self.key = self.world.key(self.id)

    def limits(self, **numbers: Any) -> None:
        with self.world.runtime.db.begin() as session:
            row = session.get_one(Organization, self.id)
            row.overrides = {**row.overrides, **numbers}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        sent = {} if body is None else {"json": body}
        return self.world.client.request(method, f"/api/v1{path}", headers={**self.key, **headers}, **sent)

    def submit(self, **wanted: Any) -> dict[str, Any]:
        wanted = wanted or {"source_url": URL}
        answer = self.call("POST", "/streams", wanted)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def get(self, stream: str | dict[str, Any]) -> dict[str, Any]:
        id = stream if isinstance(stream, str) else stream["id"]
        answer = self.call("GET", f"/streams/{id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def set(self, stream_id: str, **values: Any) -> None:
        with self.world.runtime.db.begin() as session:
            row = Stream.get_for(session, self.id, stream_id)
            for name, value in values.items():
                setattr(row, name, value)

    def work(self, run: stand_in.Run, *, most: int = 1000) -> int:
        """Do what is due, streams by `run`: how much it was."""
        before = self.world.runtime.kinds
        self.world.runtime.kinds = stand_in.kinds(run)
        try:
            return next((n for n in range(most) if not run_one(self.world.runtime, owner="test")), most)
        finally:
            self.world.runtime.kinds = before


@contextmanager
def house_on(backend: Backend, folder: Path, **settings: Any) -> Iterator[House]:
    with world_on(backend, folder, **settings) as world:
        world.runtime.kinds = stand_in.kinds()
        yield House(world)


Submit = Callable[..., dict[str, Any]]
