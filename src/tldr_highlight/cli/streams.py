"""stdin, stdout and stderr as they may be: closed, full, or of an encoding that lacks most characters."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

from tldr_highlight.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare(*, json: bool) -> None:
    """Make all three usable. What was closed leads nowhere, what stdout does not take is an `OutputError`.

    JSON is UTF-8 whatever the terminal speaks. In text a `?` stands for what it cannot show.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # else a file that we open would take the place
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or _opened(0, "r")
    sys.stderr = sys.stderr or _opened(2, "w")
    sys.stdout = _telling(sys.stdout or _opened(1, "w"))
    if json:
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # of names that are no text
    else:
        sys.stdout.reconfigure(errors="replace")


def _opened(number: int, mode: str) -> TextIO:
    return cast("TextIO", os.fdopen(number, mode, encoding="utf-8", closefd=False))


class _Telling(io.FileIO):
    """A file that says in our words that it takes no more."""

    def write(self, data: ReadableBuffer, /) -> int | None:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise  # nobody reads any more: that is no failure to tell
        except OSError as error:
            raise OutputError(f"cannot print the result: {error.strerror}") from error


def _telling(stream: TextIO) -> io.TextIOWrapper[Any]:
    out = cast("io.TextIOWrapper[Any]", stream)
    buffer: Any = out.buffer
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
        return out  # a test's
    file: Any = _Telling(out.fileno(), "w", closefd=False)
    if isinstance(buffer, io.BufferedWriter):  # not with PYTHONUNBUFFERED
        file = io.BufferedWriter(file)
    return io.TextIOWrapper(file, out.encoding, out.errors, None, out.line_buffering, out.write_through)


def finish() -> None:
    """Print what is not printed yet.

    Raises:
        OutputError: stdout does not take it.
    """
    try:
        sys.stdout.flush()
    except (OutputError, BrokenPipeError) as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # or the interpreter would try again at its end, and complain
        os.close(nowhere)
        if isinstance(error, OutputError):
            raise
