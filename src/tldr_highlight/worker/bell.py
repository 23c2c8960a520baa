"""Ringing through the broker, without ever waiting for it.

    with bell(runtime):          # from now on handing in work rings
        ...

A bell that is lost costs a second: every worker looks for what nobody rang for (`periodic.py`). So all is
allowed to fail here, and nothing to block: with a hung Redis a ring took 20 s.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator
from typing import Any

from tldr_highlight.core.telemetry import logger
from tldr_highlight.runtime import Runtime
from tldr_highlight.worker.celery_app import RING, celery_app, need_celery, queue_of

log = logger(__name__)

PENDING = 1000
"""Rings that wait for the thread; more are dropped. A broker takes 2 000 a second."""

ENOUGH = 100
"""Bells in a queue beyond which more would wake nobody: whoever is woken goes on while anything is due.
It also bounds the broker's memory while all workers are busy for hours."""

EXPIRES_SECONDS = 60.0
"""After which a bell wakes nobody any more; whatever it was for was looked for by then."""

FAREWELL_SECONDS = 1.0
"""For what was rung last to get out, when the process ends."""


class Bell:
    """A thread that sends what `ring` is told."""

    def __init__(self, broker_url: str) -> None:
        need_celery()
        self._broker_url = broker_url
        self._rings: queue.Queue[tuple[str, str] | None] = queue.Queue(PENDING)
        self._thread = threading.Thread(target=self._send_forever, name="bell", daemon=True)
        self._thread.start()

    def ring(self, id: str, priority: str) -> None:
        """Wake a worker; returns within microseconds, whatever the broker does."""
        with contextlib.suppress(queue.Full):
            self._rings.put_nowait((id, priority))

    def close(self) -> None:
        """Send what waits, if that is quick."""
        with contextlib.suppress(queue.Full):
            self._rings.put_nowait(None)
            self._thread.join(FAREWELL_SECONDS)

    def _send_forever(self) -> None:
        from kombu.exceptions import KombuError  # noqa: PLC0415

        app = celery_app(self._broker_url)  # here, as it takes 0.4 s to import
        away = False
        while True:
            with app.connection_for_write() as connection:
                errors = (KombuError, *connection.connection_errors, *connection.channel_errors)
                try:
                    for id, priority in iter(self._rings.get, None):
                        _send(app, connection, id, priority)
                        if away:
                            log.info("the broker answers again")
                        away = False
                    return
                except errors as error:
                    if not away:
                        log.warning("the broker does not answer: nobody is rung", reason=str(error))
                    away = True
                    self._forget()

    def _forget(self) -> None:
        """Drop what waits: each would take its own time to fail."""
        with contextlib.suppress(queue.Empty):
            while self._rings.get_nowait() is not None:
                pass
            self._rings.put_nowait(None)  # the end is not forgotten


def _send(app: Any, connection: Any, id: str, priority: str) -> None:
    name = queue_of(priority)
    waiting = app.amqp.queues[name].bind(connection.default_channel).queue_declare().message_count
    if waiting < ENOUGH:
        app.send_task(RING, [id], queue=name, connection=connection, expires=EXPIRES_SECONDS, retry=False)


@contextlib.contextmanager
def bell(runtime: Runtime) -> Generator[None]:
    """While the block runs, work that is handed in rings through the broker of the settings.

    Raises:
        MissingExtraError: Celery is not installed.
    """
    url = runtime.settings.broker_url
    assert url is not None
    ringing, before = Bell(url.get_secret_value()), runtime.ring
    runtime.ring = ringing.ring
    try:
        yield
    finally:
        runtime.ring = before
        ringing.close()
