"""A server that dies by SIGKILL after it has committed a call and before it answers.

python -m tests.api.mortal DATABASE_URL DATA_DIR
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tests.api.world import World
from tldr_highlight.api.app import create_app
from tldr_highlight.api.server import address_of, listen, run
from tldr_highlight.core import idempotency
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings

real = idempotency.released_on_failure


@contextlib.contextmanager
def deadly(db: Any, hold: Any) -> Iterator[None]:
    with real(db, hold):
        yield
    os.kill(os.getpid(), signal.SIGKILL)


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main(url: str, data: str) -> None:
    idempotency.released_on_failure = deadly
    with (
        opened(Settings(database_url=url, data_dir=Path(data))) as runtime,
        listen("127.0.0.1", 0) as listening,
    ):
        app = create_app(runtime)
        secret = World(runtime, app, TestClient(app)).caller()["X-API-Key"]
        run(app, listening, ready=lambda: say(f"{address_of(listening)} {secret}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
