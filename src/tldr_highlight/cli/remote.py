"""Commands that call a server: at which address, with which key, and what its errors are here."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated

import typer

from tldr_highlight.core.wire import Refusal
from tldr_highlight.errors import AuthError, SourceError, TldrError, UnavailableError, UsageError

if TYPE_CHECKING:
    from tldr_highlight.client import Client

Server = Annotated[
    str, typer.Option("--server", envvar="TLDR_SERVER", metavar="URL", help="Address of the server.")
]
Key = Annotated[
    str | None,
    typer.Option("--key", envvar="TLDR_API_KEY", metavar="KEY", help="API key. Better in the environment."),
]

HERE = "http://127.0.0.1:8000"
"""Where `serve` listens, unless told otherwise."""


@contextlib.contextmanager
def connected(server: str, key: str | None) -> Generator[Client]:
    """A client of that server, whose problems are raised as our own errors, exit codes included.

    Raises:
        UsageError: the address is none, or the key. AuthError: there is no key.
        TldrError: the server's answer, under the same code. UnavailableError: there is none.
    """
    from tldr_highlight.client import Client, ConnectionProblem, Problem  # noqa: PLC0415 - loads httpx2

    if not key:
        raise AuthError("a key is missing: set TLDR_API_KEY, or give --key")
    try:
        client = Client(server, key)
    except ValueError as error:
        raise UsageError(str(error).replace("base_url", "--server")) from error
    with client:
        try:
            yield client
        except Problem as problem:
            raise failure(problem.code, problem.detail) from problem
        except ConnectionProblem as problem:
            raise UnavailableError(f"{server} does not answer: is it running? ({problem})") from problem


def failure(code: str, message: str) -> TldrError:
    """An error of the server as ours of that code; as one of upstream where this release has none."""
    try:
        return Refusal(code, message).error()
    except ValueError:
        return SourceError(f"{message} ({code})")
