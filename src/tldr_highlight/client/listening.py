"""Answers that go on: server-sent events (HTML standard, 9.2), over as many connections as it takes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tldr_highlight.client.problems import ConnectionProblem, RateLimited, Unavailable
from tldr_highlight.client.transport import FIRST_WAIT, LONGEST_WAIT, Transport

LONGEST_EVENT = 4 << 20
"""Bytes; ours have some thousand."""


@dataclass(frozen=True)
class Told:
    """One event as it came."""

    id: str
    data: str  # empty: no event, but the place from which it goes on


def follow(transport: Transport, path: str, query: Mapping[str, Any]) -> Iterator[Told]:
    """What a path tells, from connection to connection, for ever."""
    last: str | None = None
    answered = False
    wait = FIRST_WAIT
    while True:
        try:
            headers = {} if last is None else {"Last-Event-ID": last}
            with transport.stream(path, query, headers) as chunks:
                answered = True
                for told in events_in(chunks):
                    last, wait = told.id, FIRST_WAIT
                    if told.data:
                        yield told
        except ConnectionProblem:
            if not answered:
                raise
        except (RateLimited, Unavailable) as problem:
            wait = max(wait, problem.retry_after or 0.0)
        time.sleep(wait * random.uniform(0.5, 1))  # noqa: S311
        wait = min(2 * wait, LONGEST_WAIT)


def events_in(chunks: Iterable[bytes]) -> Iterator[Told]:
    """Events, once they are whole; one that is cut off is no event."""
    id, data, moved = "", list[str](), False
    for line in _lines(chunks):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data or moved:
                yield Told(id, "\n".join(data))
            data, moved = [], False
        elif name == "id":
            id, moved = value, True
        elif name == "data":
            data.append(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines as the server ends them; not as `splitlines` does, to which a title may hold ends of lines."""
    left = b""
    for chunk in chunks:
        *lines, left = (left + chunk).split(b"\n")
        if len(left) > LONGEST_EVENT:
            raise ConnectionProblem("the server sends lines without end; is that the API's address?")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
