"""Which processes on this host are alive: each holds a lock on a file of its name for as long as it lives.

The system lets go of locks however a process ends, so that what the dead held is known within a second,
rather than when their leases run out after 30. A lock tells more than a process id, which is given again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import secrets
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

FOLDER = "workers"
"""In the data folder. Hosts may share it: each looks at its own names alone."""


@contextlib.contextmanager
def present(data_dir: Path) -> Generator[str]:
    """While the block runs, and this process lives, it is present: under this name, which is its alone."""
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        path = folder / f"{_host()}{secrets.token_hex(8)}"
        with path.open("wb") as file:
            # Somebody who looked in between has taken us for dead, and removes the file.
            if _locked(file) and os.fstat(file.fileno()).st_nlink:
                yield path.name
                return


@contextlib.contextmanager
def departed(data_dir: Path) -> Generator[list[str]]:
    """Names of processes of this host that are gone. When the block ends well, they are forgotten."""
    with contextlib.ExitStack() as stack:
        gone = list(_gone(data_dir / FOLDER, stack))
        yield [path.name for path in gone]
        for path in gone:
            path.unlink(missing_ok=True)


def _gone(folder: Path, stack: contextlib.ExitStack) -> Iterator[Path]:
    for path in sorted(folder.glob(f"{_host()}*")):
        with contextlib.suppress(FileNotFoundError):  # others of us look, too
            if _locked(stack.enter_context(path.open("rb"))):
                yield path


def _host() -> str:
    return f"{platform.node() or 'host'}-"


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
