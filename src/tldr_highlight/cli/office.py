"""What `org`, `key` and `user` share: the services, called by the shell, and how what they say is shown."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from tldr_highlight.cli.configured import read_settings
from tldr_highlight.cli.extras import needs
from tldr_highlight.cli.failures import JsonCommand
from tldr_highlight.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from tldr_highlight.runtime import Act
    from tldr_highlight.tenancy.models import Organization

Data: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder of the server, where its SQLite is; else TLDR_DATA_DIR.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def group(words: str) -> typer.Typer:
    """A command that has commands."""
    return typer.Typer(help=words, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


def command(app: typer.Typer, name: str) -> Any:
    """Make a function a command of a group; under `--json` its failures are documents, too."""
    return app.command(name, cls=JsonCommand)


@contextlib.contextmanager
def shell(data: Path | None, *, writes: bool = True) -> Generator[Act]:
    """The installation, acted in by the shell: in one transaction, or (`writes=False`) reading at first.

    Raises:
        MissingExtraError: the server's libraries are not installed.
        SchemaError: the database is not as it must be; says what to do.
    """
    with needs("server"):
        from pydantic import ValidationError  # noqa: PLC0415 - loads in 1 s, with SQLAlchemy

        from tldr_highlight.api.problems import words  # noqa: PLC0415
        from tldr_highlight.core.migrate import need_migrated  # noqa: PLC0415
        from tldr_highlight.runtime import Act, Caller, opened  # noqa: PLC0415
        from tldr_highlight.tenancy.roles import ALL, Role  # noqa: PLC0415
        from tldr_highlight.worker.embedded import served_at  # noqa: PLC0415

        settings = read_settings() if data is None else read_settings(data_dir=data)
        _look_for(settings)
        with opened(settings) as runtime:
            runtime.listens_at = served_at(runtime.data_dir) or runtime.listens_at
            need_migrated(runtime.db)
            caller = Caller(None, ALL, rank=Role.OWNER, is_operator=True, name="shell")
            with (runtime.db.begin if writes else runtime.db.read)() as session:
                try:
                    yield Act(runtime, caller, session=session)
                except ValidationError as error:
                    first = error.errors(include_url=False, include_input=False)[0]
                    raise UsageError(f"{'.'.join(map(str, first['loc']))}: {words(first)}") from error


def _look_for(settings: Any) -> None:
    """Do not make a data folder for who has mistyped its name."""
    if settings.database_url is None and not (settings.data_dir / "tldr.db").exists():
        raise NotFoundError(
            f"there is no database in {settings.data_dir}: run `tldr-highlight migrate` or `serve` there, "
            "or name the folder with --data"
        )


def inside(act: Act, name: str) -> tuple[Act, Organization]:
    """The shell acting in one organization, by its id or its whole name.

    Raises:
        NotFoundError: there is none. `UsageError`: there are several of that name.
    """
    from dataclasses import replace  # noqa: PLC0415

    from sqlalchemy import or_, select  # noqa: PLC0415

    from tldr_highlight.tenancy.models import Organization  # noqa: PLC0415

    query = select(Organization).where(or_(Organization.id == name, Organization.name == name))
    found = act.session.scalars(query.order_by(Organization.id)).all()
    if not found:
        raise NotFoundError(f"there is no organization {name!r}: `tldr-highlight org list` shows all")
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} organizations are called {name!r}: use the id of one, {found[0].id} …"
        )
    return act.acting(replace(act.caller, organization_id=found[0].id)), found[0]


def show(as_json: bool, document: Mapping[str, Any], words: str) -> None:
    """Print what was done, in one of two ways."""
    text = json.dumps(document, ensure_ascii=False, indent=2, default=str) if as_json else words
    sys.stdout.write(text + "\n")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, squeeze: int) -> str:
    """Rows under headings; cells of column `squeeze` are cut short where the terminal is narrow."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - knows how wide letters are

    cells = [headings, *rows]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(headings))]
    wide = shutil.get_terminal_size((10_000, 24)).columns  # in a pipe nothing is cut
    widths[squeeze] = max(8, widths[squeeze] - max(0, sum(widths) + 2 * (len(widths) - 1) - wide))

    def fitted(cell: str, width: int) -> str:
        return set_cell_size(cell, width - 1) + "…" if cell_len(cell) > width else set_cell_size(cell, width)

    return "\n".join("  ".join(map(fitted, row, widths)).rstrip() for row in cells)


def lines(facts: Mapping[str, object]) -> str:
    """Facts, one a line, in two columns."""
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())
