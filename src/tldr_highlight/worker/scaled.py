"""A worker beside the server: Celery's pool as a child process, and the looks that need no broker.

    work(settings, concurrency=4, priorities=PRIORITIES, rings=True, stopping=event)

A pool for each lane, so that a mail need not wait for an hour of video. Two processes are above each pool,
as neither can do the other's part: the pool's parent forks, so it must not have threads or connections to
the database; whoever looks at the database has both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence

from tldr_highlight.core.migrate import migrate
from tldr_highlight.core.telemetry import logger
from tldr_highlight.core.work import HEAVY, LIGHT
from tldr_highlight.errors import InternalError, UsageError
from tldr_highlight.runtime import Runtime, database_url, opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker.bell import bell
from tldr_highlight.worker.child import STOP_SECONDS, kinds_named
from tldr_highlight.worker.embedded import PRODUCT, revealed
from tldr_highlight.worker.periodic import Rounds
from tldr_highlight.worker.pool import PoolOrder

log = logger(__name__)

LIGHT_PROCESSES = 2
"""For mails, deliveries and the like: each runs several deliveries at once by itself."""

LOOK_SECONDS = 1.0
"""Seconds between two looks for the dead and for what nobody rang for."""

END_SECONDS = STOP_SECONDS + 6.0
"""For the pool to end; its processes give back what does not stop in `STOP_SECONDS`, in 5 s at most."""


def work(
    settings: Settings,
    *,
    concurrency: int,
    priorities: Sequence[str],
    rings: bool,
    stopping: threading.Event,
    kinds: str = PRODUCT,
) -> None:
    """Work until `stopping` is set; then jobs are asked to stop, and are kept with their checkpoints.

    Args:
        settings: With the addresses of broker and database.
        concurrency: Processes for heavy work, each with one job at a time.
        priorities: Of the work to do.
        rings: Ring for work that is due and nobody rang for.
        stopping: Tells when to end; takes at most `END_SECONDS`.
        kinds: "module:function" that gives what can be done.

    Raises:
        UsageError: no broker is named, or no database that several hosts can share.
        MissingExtraError: Celery is not installed.
        SchemaError: the database was used by a newer release.
        DatabaseError: it does not answer.
        InternalError: the pool died.
    """
    check(settings)
    heavy, light = (tuple(p for p in lane if p in priorities) for lane in (HEAVY, LIGHT))
    lanes = {lane: n for lane, n in ((heavy, concurrency), (light, LIGHT_PROCESSES)) if lane}
    orders = [PoolOrder(revealed(settings), kinds, n, lane) for lane, n in lanes.items()]
    with opened(settings, kinds_named(kinds)) as runtime, bell(runtime):
        migrate(runtime.db)  # workers may be there before the first server
        _supervise(runtime, orders, Rounds(runtime, lanes, rings), stopping)


def _supervise(
    runtime: Runtime, orders: Sequence[PoolOrder], rounds: Rounds, stopping: threading.Event
) -> None:
    with contextlib.ExitStack() as stack:
        pools = [stack.enter_context(_pool(order)) for order in orders]
        try:
            while not stopping.wait(LOOK_SECONDS):
                if codes := [pool.returncode for pool in pools if pool.poll() is not None]:
                    raise InternalError(f"the pool of processes died (exit code {codes[0]})")
                rounds.look()
        finally:
            _end(pools)
            rounds.rings = False
            rounds.look()  # for what had to be killed


def check(settings: Settings) -> None:
    """See that a worker of its own makes sense.

    Raises:
        UsageError: it does not.
    """
    if settings.broker_url is None:
        raise UsageError(
            "TLDR_BROKER_URL is not set: it is what rings a worker of its own. Without it "
            "`tldr-highlight serve` does the work itself, and no other worker is needed"
        )
    if database_url(settings).startswith("sqlite"):
        raise UsageError(
            "TLDR_DATABASE_URL is not set. Workers beside the server share a PostgreSQL with it: "
            "postgresql://user:password@host/name"
        )


@contextlib.contextmanager
def _pool(order: PoolOrder) -> Generator[subprocess.Popen[bytes]]:
    # A session of its own: Ctrl-C on the terminal is for us, who then tell the pool.
    command = [sys.executable, "-m", "tldr_highlight.worker.pool"]
    pool = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, bufsize=0)  # noqa: S603 - ourselves
    assert pool.stdin is not None
    with pool.stdin:
        with contextlib.suppress(BrokenPipeError):
            pool.stdin.write(json.dumps(dataclasses.asdict(order)).encode() + b"\n")
        yield pool


def _end(pools: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask the pools to stop; kill one that does not, and its processes with it."""
    for pool in pools:
        pool.terminate()
    end = time.monotonic() + END_SECONDS
    for pool in pools:
        try:
            pool.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("the pool did not end in time: it is killed")
            pool.kill()
            pool.wait()
