"""`tldr-highlight worker`: does the work of servers that share a database and a broker."""

from __future__ import annotations

import signal
import threading
from enum import StrEnum
from typing import Annotated

import typer

from tldr_highlight.cli.configured import read_settings
from tldr_highlight.cli.extras import needs


class Queue(StrEnum):
    """Priorities that plans give to streams and clip jobs; what is light and due at once, as mails are."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    SOON = "soon"


def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Processes for streams and clip jobs, one each; else TLDR_WORKER_THREADS."
        ),
    ] = None,
    queues: Annotated[
        list[Queue] | None, typer.Option(help="Only work of this priority; repeat it for more.")
    ] = None,
    beat: Annotated[bool, typer.Option(help="Look each second for work that nobody rang for.")] = True,
) -> None:
    """Do the work of servers elsewhere: for PostgreSQL and a broker (TLDR_DATABASE_URL, TLDR_BROKER_URL)."""
    with needs("server"):
        from tldr_highlight.core.telemetry import set_up_logs  # noqa: PLC0415
        from tldr_highlight.worker import scaled  # noqa: PLC0415

    settings = read_settings()
    scaled.check(settings)
    set_up_logs()
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        # In a thread: a signal may come while the main thread holds the event's own lock.
        signal.signal(each, lambda number, frame: threading.Thread(target=stopping.set).start())
    with needs("scale"):
        scaled.work(
            settings,
            concurrency=concurrency or settings.worker_threads,
            priorities=[each.value for each in queues or Queue],
            rings=beat,
            stopping=stopping,
        )
