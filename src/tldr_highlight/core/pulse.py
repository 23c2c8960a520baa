"""Whether a PostgreSQL that lets us wait is busy, or hangs: stopped, frozen, cut off, and not closed.

Nothing tells a client of that: its system keeps the connection, and the answer may come any time. So who has
waited for `PATIENCE_SECONDS` says hello on a new connection: a server that is there, however busy, answers
the first word. One that does not within `HELLO_SECONDS` hangs; then connections that wait are given up, and
nobody waits for another one.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from typing import Any

import psycopg

PATIENCE_SECONDS = 0.8
"""Without a word, before we ask; statements of requests take milliseconds."""

HELLO_SECONDS = 1.0
"""For the server's first word, and how long we believe what it said; beside us it takes 0.002 s."""

HELLO = bytes.fromhex("00000008 04d2162f")
"""The protocol's SSLRequest, which is answered with one letter before anybody has to say who they are."""


class Pulse:
    """Of one server. For any number of threads: one asks, the others take its word."""

    def __init__(self) -> None:
        self.watching = False
        """Whether to give up at all: requests must be answered, workers may wait until the server goes on."""
        self._lock = threading.Lock()
        self._address: tuple[str, int] | None = None  # of a server that hung when it was asked last
        self._asked = 0.0

    def connect(self, *arguments: Any, **parameters: Any) -> psycopg.Connection[Any]:
        """Open a connection that gives up once the server hangs, or none if it does already."""
        if self._address is not None and self.hangs(*self._address):
            raise psycopg.OperationalError("the server hangs")
        connection: Watched = Watched.connect(*arguments, **parameters)
        connection.pulse = self
        return connection

    def patience(self) -> float:
        """How many seconds to wait before asking."""
        return PATIENCE_SECONDS if self._address is None else 0.0

    def hangs(self, host: str, port: int) -> bool:
        """Whether the server does, now or a moment ago."""
        if not self.watching:
            return False
        with self._lock:
            if time.monotonic() - self._asked > HELLO_SECONDS:
                self._address = None if _answers(host, port) else (host, port)
                self._asked = time.monotonic()
            return self._address is not None


class Watched(psycopg.Connection[Any]):
    """A connection that does not wait for a server that hangs."""

    pulse = Pulse()

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **named: Any) -> Any:
        """Run one of the driver's generators; whenever nothing came for 0.1 s it is told, and we look."""
        return super().wait(self._watched(gen), *arguments, **named)

    def _watched(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        began = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() - began > self.pulse.patience():
                    self._give_up_if_it_hangs()
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _give_up_if_it_hangs(self) -> None:
        host = self.pgconn.hostaddr or self.pgconn.host
        if self.pulse.hangs(host.decode(), int(self.pgconn.port)):
            self.pgconn.finish()
            raise psycopg.OperationalError("the server hangs")


def _answers(host: str, port: int) -> bool:
    """Whether it says a word in time. One that refuses us does, too: it does not hang."""
    try:
        if not host.startswith("/"):
            with socket.create_connection((host, port), HELLO_SECONDS) as hello:
                _say(hello)
        else:
            with socket.socket(socket.AF_UNIX) as hello:
                hello.settimeout(HELLO_SECONDS)
                hello.connect(f"{host}/.s.PGSQL.{port}")
                _say(hello)
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def _say(hello: socket.socket) -> None:
    hello.sendall(HELLO)
    hello.recv(1)
