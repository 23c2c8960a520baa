"""Files that appear whole or not at all, and folders that one run holds at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Generator
from pathlib import Path

from tldr_highlight.errors import DiskFullError, OutputBusyError, OutputError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when there is no more room: on the disk, in the quota, for one file."""


@contextlib.contextmanager
def output_errors(path: Path) -> Generator[None]:
    """Turn what the system says about writing `path` into `OutputError` or `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(
                f"no space left to write {path}: free some, or choose another folder with --out"
            ) from error
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o666) -> Generator[Path]:
    """A temporary path beside `path` to write to; it takes the name when the block ends well.

    Of `mode` its rights are what the user's umask leaves, as of any new file.
    On any failure, Ctrl-C included, the temporary file is removed and `path` is what it was before.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tag = f".{tempfile.gettempprefix()}"  # a child's is known to its parent, who may have to kill it
        draft = path.with_name(f"{tag}{secrets.token_hex(8)}{path.suffix}")  # `mkstemp` knows no umask
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        try:
            yield draft
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that readers see the old file or the new one."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def create_private(path: Path, text: str) -> None:
    """Write UTF-8 text that only its owner can read, unless the name is taken: the first of several wins.

    Whoever reads `path` afterwards finds all of what the winner wrote, also after a crash.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{tempfile.gettempprefix()}")  # 0600
        draft = Path(name)
        try:
            with open(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(handle)
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)  # a rename would replace what another process has just read
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(path.parent)


def keep_private(path: Path) -> None:
    """Let its owner alone read and write a database of SQLite; it is made, empty, when missing.

    Also in a folder that others may enter. SQLite gives the files that it makes beside it the same rights;
    those of an older release are taken along. None is opened: closing it would give up SQLite's locks.
    """
    with output_errors(path):
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            with contextlib.suppress(FileNotFoundError, PermissionError):  # of another owner: theirs to say
                each.chmod(0o600)


def _sync_folder(folder: Path) -> None:
    """Names are the folder's content: without this a power cut can lose a file that was written whole."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold `folder` against other runs for as long as the block lasts; a crash lets go of it.

    Raises:
        OutputBusyError: another process holds it.
    """
    import fcntl  # noqa: PLC0415 - not on Windows, where two runs are the user's to avoid

    with contextlib.ExitStack() as stack:
        with output_errors(folder):
            lock = stack.enter_context((folder / "lock").open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputBusyError(
                    f"another run is writing into {folder.parent}: wait for it, or choose another --out"
                ) from error
        yield
