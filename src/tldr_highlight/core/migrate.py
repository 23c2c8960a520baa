"""Brings a database to what this release needs, whoever else is trying to do the same.

Steps are files in `migrations/versions`, named by their number. All of them run in one transaction under a
lock: a database is at one revision or at the next, never between. A new step is written by

    python scripts/migration "what it does"     # compares the models with the newest step; check it by hand
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from tldr_highlight.core.db import Database
from tldr_highlight.errors import DatabaseError, SchemaError

if TYPE_CHECKING:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

FOLDER = Path(__file__).parent / "migrations"

HEAD = max((path.stem.partition("_")[0] for path in (FOLDER / "versions").glob("0*.py")), default="0000")
"""The newest step, known without loading Alembic (0.3 s)."""

LOCK = 0x_71D2_0001
"""Of PostgreSQL's advisory locks, the one for migrating."""


def migrate(db: Database) -> bool:
    """Bring the database to `HEAD`; False: it was there already. Others that do the same wait.

    Raises:
        SchemaError: it was made by a newer release.
        DatabaseError: it does not answer.
    """
    found = revision(db)
    if found is not None and found > HEAD:
        raise SchemaError(
            f"the database is at revision {found}, and this release knows {HEAD} at most: "
            "it was used by a newer release. Install that one, or restore a backup"
        )
    if found == HEAD:
        return False
    with _alone(db) as connection:
        _upgrade(connection)
    return True


def need_migrated(db: Database) -> None:
    """Refuse a database that is at another revision; for commands that do not migrate by themselves.

    Raises:
        SchemaError: the message says which command to run.
        DatabaseError: it does not answer.
    """
    found = revision(db)
    if found != HEAD:
        what = "is empty" if found is None else f"is at revision {found}, not {HEAD}"
        raise SchemaError(f"the database {what}: run `tldr-highlight migrate` first")


def revision(db: Database) -> str | None:
    """The step that the database is at; None: nothing was ever done to it.

    Raises:
        DatabaseError: it does not answer.
    """
    with contextlib.suppress(ProgrammingError), db.read() as session:  # PostgreSQL: there is no such table
        try:
            return session.scalar(text("SELECT version_num FROM alembic_version"))
        except OperationalError as error:
            if "no such table" not in str(error):  # SQLite's words for it
                raise
    return None


@contextlib.contextmanager
def _alone(db: Database) -> Generator[Connection]:
    """A transaction that no other migration runs beside.

    SQLite rebuilds a table to change it. With foreign keys on, dropping the old one deletes the rows that
    refer to it, and they cannot be turned off inside a transaction: so off before it, and checked at its end.
    """
    with db.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        if db.is_sqlite:
            raw.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():  # SQLite: IMMEDIATE, so that others wait
                if not db.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
                yield connection
                if db.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise SchemaError(
                        "the migration would leave rows that refer to nothing: nothing was changed"
                    )
        except OperationalError as error:
            raise DatabaseError(f"the database cannot be migrated: {error.orig}") from error
        finally:
            if db.is_sqlite:
                raw.execute("PRAGMA foreign_keys=ON")


def _upgrade(connection: Connection) -> None:
    from alembic.config import Config  # noqa: PLC0415 - loads in 0.3 s, and is needed once
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory(str(FOLDER))

    def steps(found: Any, context: MigrationContext) -> Any:
        return _steps(script, found)

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, render_as_batch=True)
        environment.run_migrations()


def _steps(script: ScriptDirectory, found: Any) -> Any:
    return script._upgrade_revs("head", found)  # pyright: ignore[reportPrivateUsage]
