"""Our server in a thread, and callers who listen to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from tldr_highlight.api import server
from tldr_highlight.api.app import Application


@dataclass
class Served:
    """Where it answers, and what ends it."""

    url: str
    address: tuple[str, int]
    thread: threading.Thread
    server: Any

    def stop(self) -> None:
        """As SIGTERM does; returns when it has ended."""
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


@contextmanager
def serving(app: Application) -> Iterator[Served]:
    with server.listen("127.0.0.1", 0) as listening:
        ready = threading.Event()
        uvicorn = server._server(app, ready=ready.set)
        thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        assert ready.wait(20)
        served = Served(server.address_of(listening), listening.getsockname(), thread, uvicorn)
        try:
            yield served
        finally:
            served.stop()


@dataclass(frozen=True)
class Heard:
    """One event, read as the HTML standard says."""

    id: str
    event: str
    data: Any


class Ear:
    """A caller who listens."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[Heard]:
        fields: dict[str, str] = {}
        for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            else:
                if "data" in fields:
                    yield Heard(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
                fields = {}

    def next(self) -> Heard:
        return next(iter(self))


@contextmanager
def listening(
    url: str, path: str, headers: Mapping[str, str], *, after: str | None = None, seconds: float = 10
) -> Iterator[Ear]:
    last = {} if after is None else {"Last-Event-ID": after}
    with (
        httpx2.Client(base_url=url, timeout=seconds) as client,
        client.stream("GET", path, headers={**headers, **last}) as response,
    ):
        yield Ear(response)
