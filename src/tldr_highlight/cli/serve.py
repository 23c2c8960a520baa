"""`tldr-highlight serve`: the API, and beside it the workers, on this machine."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tldr_highlight.cli.configured import read_settings
from tldr_highlight.cli.extras import needs

if TYPE_CHECKING:
    from socket import socket

    from tldr_highlight.api.app import Application
    from tldr_highlight.runtime import Runtime
    from tldr_highlight.settings import Settings
    from tldr_highlight.worker.birth import Child

BANNER = """\
TL;DR Highlight {version}
  address   {address}
  docs      {address}/docs
  data      {data}
"""

LISTENS = """\
  listens   {listens_at}
"""

FIRST_ACCOUNT = """
Nobody is registered yet. The first account:
  curl {address}/api/v1/auth/register -H 'Content-Type: application/json' \\
    -d '{{"email": "you@example.com", "password": "a long sentence", "company_name": "Yours"}}'
"""

FIRST_ACCOUNT_IF_CLOSED = """
Nobody is registered yet, and nobody can (TLDR_REGISTRATION=closed). The first account:
  tldr-highlight user create you@example.com --data {data}
  tldr-highlight org create Yours --owner you@example.com --data {data}
"""

WORKERS = """
Work is done by workers of their own, because TLDR_BROKER_URL is set: start `tldr-highlight worker`.
"""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any that is free.")] = 8000,
    data: Annotated[Path | None, typer.Option(help="Folder of database, secrets, mail and clips.")] = None,
) -> None:
    """Serve the API on this machine, and do the work that is asked for."""
    with needs("server"), contextlib.suppress(KeyboardInterrupt):
        from tldr_highlight.api.server import address_of, is_loopback, listen  # noqa: PLC0415 - loads in 1 s
        from tldr_highlight.core.telemetry import set_up_logs  # noqa: PLC0415

        settings = read_settings() if data is None else read_settings(data_dir=data)
        with _spare(settings) as spare, listen(host, port) as listening:
            set_up_logs()
            with _opened(settings, address_of(listening)) as runtime:
                runtime.is_private = is_loopback(listening)
                _serve(runtime, listening, spare)


def _spare(settings: Settings) -> contextlib.AbstractContextManager[Callable[[], Child] | None]:
    """The process that will be the worker, before anything is open; none where workers are elsewhere.

    What serves is loaded by now; what works is loaded here, so that both have it from before the fork.
    """
    import tldr_highlight.worker.kinds  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
    from tldr_highlight.worker.birth import spare  # noqa: PLC0415

    return spare() if settings.broker_url is None else contextlib.nullcontext()


@contextlib.contextmanager
def _opened(settings: Settings, address: str) -> Generator[Runtime]:
    """The runtime on a database that is as it must be; where work is done here, the folder is ours alone.

    `address` is where we listen.
    """
    from tldr_highlight.core.migrate import migrate  # noqa: PLC0415
    from tldr_highlight.runtime import opened  # noqa: PLC0415
    from tldr_highlight.worker.embedded import hold_data_dir  # noqa: PLC0415
    from tldr_highlight.worker.kinds import product_kinds  # noqa: PLC0415

    alone = settings.broker_url is None
    held = hold_data_dir(settings.data_dir, address) if alone else contextlib.nullcontext()
    with held, opened(settings, product_kinds()) as runtime:
        runtime.listens_at = address
        migrate(runtime.db)
        yield runtime


def _serve(runtime: Runtime, listening: socket, spare: Callable[[], Child] | None) -> None:
    from tldr_highlight.api.app import create_app  # noqa: PLC0415
    from tldr_highlight.api.server import run  # noqa: PLC0415

    app = create_app(runtime)
    with _worker(runtime, app, spare) as begin_work:

        def ready() -> None:
            _greet(runtime)
            begin_work()

        run(app, listening, ready=ready)


@contextlib.contextmanager
def _worker(
    runtime: Runtime, app: Application, spare: Callable[[], Child] | None
) -> Generator[Callable[[], None]]:
    """What starts those who do the work: processes of ours, unless there is a broker.

    To be called once requests are answered: starting may take 0.6 s of a processor.
    """
    from tldr_highlight.worker.bell import bell  # noqa: PLC0415
    from tldr_highlight.worker.embedded import EmbeddedWorker  # noqa: PLC0415

    if runtime.settings.broker_url is not None:
        with bell(runtime):
            yield lambda: None
        return
    worker = EmbeddedWorker(runtime, spare=spare)
    app.state.worker_runs = lambda: "worker" in worker.pids()
    try:
        yield worker.start
    finally:
        worker.stop()


def _greet(runtime: Runtime) -> None:
    """Say where everything is, and what to do first."""
    from tldr_highlight import __version__  # noqa: PLC0415

    address, data = runtime.url, runtime.data_dir.absolute()
    words = BANNER.format(version=__version__, address=address, data=data)
    if runtime.settings.public_url is not None:  # which says nothing of our port
        words += LISTENS.format(listens_at=runtime.listens_at)
    if runtime.settings.broker_url is not None:
        words += WORKERS
    if _nobody_registered(runtime):
        closed = runtime.settings.registration == "closed"
        first = FIRST_ACCOUNT_IF_CLOSED if closed else FIRST_ACCOUNT
        words += first.format(address=address, data=shlex.quote(str(data)))
    sys.stderr.write(words)
    sys.stderr.flush()


def _nobody_registered(runtime: Runtime) -> bool:
    from sqlalchemy import select  # noqa: PLC0415

    from tldr_highlight.tenancy.models import User  # noqa: PLC0415

    with runtime.db.read() as session:
        return session.scalar(select(User.id).limit(1)) is None
