"""The command `tldr-highlight`. Heavy imports wait inside the commands, so that `--help` is quick."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from tldr_highlight import __version__
from tldr_highlight.cli import key, org, streams, user
from tldr_highlight.cli.cut import cut
from tldr_highlight.cli.demo import demo
from tldr_highlight.cli.doctor import doctor
from tldr_highlight.cli.ends import INTERRUPTED, interrupted
from tldr_highlight.cli.failures import JsonCommand
from tldr_highlight.cli.find import find
from tldr_highlight.cli.listen import listen
from tldr_highlight.cli.migrate import migrate
from tldr_highlight.cli.openapi import openapi
from tldr_highlight.cli.serve import serve
from tldr_highlight.cli.submit import submit
from tldr_highlight.cli.worker import worker
from tldr_highlight.errors import TldrError

app = typer.Typer(
    help="Find the moments worth watching in a video, and cut them into clips.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command(cls=JsonCommand)(find)
app.command(cls=JsonCommand)(cut)
app.command(cls=JsonCommand)(submit)
app.command(cls=JsonCommand)(listen)
app.command()(demo)
app.command()(doctor)
app.command()(serve)
app.command()(migrate)
app.command()(openapi)
app.command()(worker)

app.add_typer(org.app, name="org")
app.add_typer(key.app, name="key")
app.add_typer(user.app, name="user")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tldr-highlight {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""


def run() -> None:
    """Run the command line; exit codes are the contract's (see `errors`)."""
    signal.signal(signal.SIGTERM, _interrupt)
    streams.prepare(json=not {"--json", "openapi"}.isdisjoint(sys.argv))
    try:
        try:
            app()
        finally:
            streams.finish()
    except TldrError as error:
        sys.stderr.write(f"tldr-highlight: {error}\n")
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            interrupted()
        raise
    except KeyboardInterrupt:  # outside of any command
        interrupted()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C from another process: the same tidy end."""
    raise KeyboardInterrupt
