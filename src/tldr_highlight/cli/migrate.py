"""`tldr-highlight migrate`: bring the database to what this release needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tldr_highlight.cli.configured import read_settings
from tldr_highlight.cli.extras import needs


def migrate(
    data: Annotated[Path | None, typer.Option(help="Folder of the server, where its SQLite is.")] = None,
) -> None:
    """Bring the database to what this release needs. `serve` does so by itself."""
    with needs("server"):
        from tldr_highlight.core import migrate as steps  # noqa: PLC0415 - loads SQLAlchemy
        from tldr_highlight.runtime import opened  # noqa: PLC0415

        with opened(read_settings() if data is None else read_settings(data_dir=data)) as runtime:
            done = steps.migrate(runtime.db)
    sys.stderr.write(f"the database is at revision {steps.HEAD}" + (", new\n" if done else " already\n"))
