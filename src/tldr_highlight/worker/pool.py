"""Celery's worker: the parent of a pool of processes, which it feeds with bells.

    python -m tldr_highlight.worker.pool < pipe

The line on the pipe is its order; the pipe's end means that whoever started us is gone, and then we go, too.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any, cast

import celery.signals  # pyright: ignore[reportMissingTypeStubs]

from tldr_highlight.core.telemetry import logger, set_up_logs
from tldr_highlight.settings import Settings
from tldr_highlight.worker.celery_app import celery_app, queue_of
from tldr_highlight.worker.child import kinds_named
from tldr_highlight.worker.tasks import Place

log = logger(__name__)


@dataclasses.dataclass(frozen=True)
class PoolOrder:
    """What a pool is told."""

    settings: dict[str, Any]
    kinds: str  # module:function
    concurrency: int
    priorities: Sequence[str]


def run(order: PoolOrder) -> int:
    """Feed the pool until told to stop: an exit code."""
    settings = Settings(**order.settings)
    assert settings.broker_url is not None
    app = celery_app(settings.broker_url.get_secret_value(), consumes=True)
    signals = cast(Any, celery.signals)
    place = Place(settings, kinds_named(order.kinds), order.priorities)
    place.equip(app, signals)

    def ready(**_: object) -> None:
        log.info("ready", processes=order.concurrency)

    def leave(**_: object) -> None:
        place.leaving = True
        for pid in worker.pool.info["processes"]:
            os.kill(pid, signal.SIGTERM)

    signals.setup_logging.connect(_leave_logging_alone, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(leave, weak=False)
    worker = app.Worker(
        concurrency=order.concurrency,
        queues=[queue_of(priority) for priority in order.priorities],
        pool="prefork",
        quiet=True,  # no banner
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return worker.exitcode or 0


def _leave_logging_alone(**_: object) -> None:
    """Being asked, Celery sets nothing up itself."""
    logging.getLogger("celery").setLevel(logging.WARNING)  # three lines a bell


def _follow() -> None:
    """End when whoever started us ends."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Take the order and work."""
    set_up_logs()
    warnings.filterwarnings("ignore", "You're running the worker with superuser")  # JSON alone: no matter
    order = PoolOrder(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_follow, name="follow", daemon=True).start()
    sys.exit(run(order))


if __name__ == "__main__":
    main()
