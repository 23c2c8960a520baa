"""What a process of Celery's pool does when it is rung: the work that is due, until there is none.

It takes what comes first by the rows, which need not be what was rung for: so a priority is kept to the
minute whatever order the bells come in, and a lost one delays nobody while others ring.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from tldr_highlight.core.telemetry import logger
from tldr_highlight.core.work import Kinds, run_one
from tldr_highlight.errors import DatabaseError
from tldr_highlight.media.sandbox import give_way
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker.bell import bell
from tldr_highlight.worker.celery_app import RING
from tldr_highlight.worker.child import STOP_SECONDS, break_down
from tldr_highlight.worker.roll import present

log = logger(__name__)


class Place:
    """One process of the pool: made before the fork, opened after it, as connections cannot be shared."""

    def __init__(self, settings: Settings, kinds: Kinds, priorities: Sequence[str]) -> None:
        self._settings = settings
        self._kinds = kinds
        self._priorities = priorities
        self._open = contextlib.ExitStack()
        self._runtime: Runtime | None = None
        self._owner = ""
        self.leaving = False
        """Known before the fork: processes that are started now find nothing to do."""

    def equip(self, app: Any, signals: Any) -> None:
        """Tell Celery when to call what."""
        app.task(name=RING)(self.ring)
        signals.worker_process_init.connect(self._begin, weak=False)
        signals.worker_process_shutdown.connect(self._close, weak=False)

    def _begin(self, **_: object) -> None:
        threading.excepthook = break_down
        give_way()
        self._runtime = self._open.enter_context(opened(self._settings, self._kinds))
        self._runtime.leases.memory = self._settings.worker_memory_mb * 1_000_000
        self._open.enter_context(bell(self._runtime))
        self._owner = self._open.enter_context(present(self._settings.data_dir))
        if self.leaving:
            self._runtime.leases.stopping.set()

    def _close(self, **_: object) -> None:
        self._open.close()

    def ring(self, id: str) -> None:
        """Somebody handed in work."""
        runtime = self._runtime
        assert runtime is not None
        signal.signal(signal.SIGTERM, self._stop)  # not when it begins: the pool sets its own after that
        try:
            # Suspects, too: a process with one job at a time takes nobody else's along.
            while not runtime.leases.stopping.is_set() and run_one(
                runtime, owner=f"{self._owner}/0", suspects=None, priorities=self._priorities
            ):
                pass
        except DatabaseError as error:
            log.warning("nothing can be claimed", reason=str(error), job=id)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        # In a thread: the job that this interrupts may be waiting for the very event.
        threading.Thread(target=self._leave, name="leave", daemon=True).start()

    def _leave(self) -> None:
        """Ask the job to stop; when it does not, give it back and end."""
        runtime = self._runtime
        assert runtime is not None
        runtime.leases.stopping.set()
        threading.Event().wait(STOP_SECONDS)
        if runtime.leases.busy:
            log.warning("work did not stop in time: it is given back")
            runtime.leases.give_back()
            os._exit(0)
