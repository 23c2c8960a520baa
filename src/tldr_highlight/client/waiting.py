"""Waiting for the end of what the server works on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from tldr_highlight.client.problems import ConnectionProblem, Unavailable

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 3.0
"""Seconds between two looks: 20 a minute, a third of what the smallest plan allows."""

PATIENCE = 120.0
"""Seconds for which a server may be away meanwhile: it may be restarting."""


class Awaited(Protocol):
    """Something that ends."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def state(self) -> str:
        """How far it is."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        ...

    def refresh(self) -> Any:
        """As it is now."""
        ...


AnyAwaited = TypeVar("AnyAwaited", bound=Awaited)


def awaited(
    thing: AnyAwaited, timeout: float | None, on_progress: Callable[[AnyAwaited], None] = lambda thing: None
) -> AnyAwaited:
    """The thing at its end.

    Raises:
        TimeoutError: it goes on still after `timeout` seconds.
        ConnectionProblem, Unavailable: the server was away for `PATIENCE`.
    """
    began = heard = time.monotonic()
    pause = FIRST_PAUSE
    on_progress(thing)
    while not thing.ended:
        if timeout is not None and time.monotonic() - began + pause > timeout:
            raise TimeoutError(f"{thing.id} is {thing.state} after {timeout:g} s")
        time.sleep(pause)
        pause = min(1.2 * pause, LONGEST_PAUSE)
        try:
            thing = thing.refresh()
        except (ConnectionProblem, Unavailable):
            if time.monotonic() - heard > PATIENCE:
                raise
            continue
        heard = time.monotonic()
        on_progress(thing)
    return thing
