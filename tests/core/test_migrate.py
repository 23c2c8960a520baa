from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

import tldr_highlight
from tests.services import Backend
from tldr_highlight.core import migrate as steps
from tldr_highlight.core.db import Base, Database
from tldr_highlight.core.migrate import HEAD, migrate, need_migrated, revision
from tldr_highlight.errors import SchemaError


@pytest.fixture
def db(backend: Backend) -> Iterator[Database]:
    """An empty database."""
    opened = Database(backend.database())
    yield opened
    opened.close()


def load_models() -> None:
    for found in pkgutil.walk_packages(tldr_highlight.__path__, "tldr_highlight."):
        if found.name.endswith(".models") or re.fullmatch(r"tldr_highlight\.core\.\w+", found.name):
            importlib.import_module(found.name)


def differences(db: Database) -> list[Any]:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)


def test_steps_lead_to_the_models(db: Database) -> None:
    """When it fails: python scripts/migration "what is new"."""
    load_models()
    assert len(differences(db)) > 10
    assert revision(db) is None
    assert migrate(db)
    assert revision(db) == HEAD
    assert differences(db) == []
    assert not migrate(db)


def test_four_processes_at_once_are_one(backend: Backend) -> None:
    code = """
        import sys
        from tldr_highlight.core.db import Database
        from tldr_highlight.core.migrate import HEAD, migrate, revision
        db = Database(sys.argv[1])
        sys.stdin.readline()
        migrate(db)
        assert revision(db) == HEAD
        db.close()
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), backend.database_url]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write(b"\n")
        racer.stdin.flush()
    ends = [(racer.communicate(timeout=60)[1], racer.returncode) for racer in racers]
    assert [end for end in ends if end != (b"", 0)] == []


def test_a_newer_database_is_refused_unchanged(db: Database) -> None:
    migrate(db)
    with db.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refuse in (migrate, need_migrated):
        with pytest.raises(SchemaError, match="9999"):
            refuse(db)
    assert revision(db) == "9999"


def test_commands_say_what_to_do_first(db: Database) -> None:
    with pytest.raises(SchemaError, match="tldr-highlight migrate"):
        need_migrated(db)
    migrate(db)
    need_migrated(db)


def test_a_step_that_fails_leaves_nothing(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps._upgrade

    def broken(connection: Any) -> None:
        real(connection)
        raise ZeroDivisionError

    monkeypatch.setattr(steps, "_upgrade", broken)
    with pytest.raises(ZeroDivisionError):
        migrate(db)
    assert revision(db) is None
    monkeypatch.undo()
    assert migrate(db)


PARENT = """
    INSERT INTO organizations (id, name, plan, overrides, status, created_at)
    VALUES ('org_1', 'A', 'STARTER', '{}', 'active', '2026-01-01')
"""
CHILD = """
    INSERT INTO usage_totals (id, organization_id, month, metric, amount)
    VALUES ('use_1', 'org_1', '2026-01', 'api_calls', 7)
"""


def rebuild(connection: Any) -> None:
    """A step that SQLite takes by making the table anew."""
    operations = Operations(MigrationContext.configure(connection))
    with operations.batch_alter_table("organizations") as batch:
        batch.alter_column("name", nullable=True)


def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With foreign keys on, SQLite deletes them: the old table is dropped."""
    migrate(db)
    with db.begin() as session:
        session.execute(text(PARENT))
        session.execute(text(CHILD))
    with steps._alone(db) as connection:
        rebuild(connection)
    with db.begin() as session:
        assert session.scalar(text("SELECT amount FROM usage_totals")) == 7
        if db.is_sqlite:
            assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_step_that_leaves_orphans_is_undone(db: Database) -> None:
    if not db.is_sqlite:
        return  # PostgreSQL never has its foreign keys off
    migrate(db)
    with pytest.raises(SchemaError, match="refer to nothing"), steps._alone(db) as connection:
        connection.execute(text(CHILD))
    with db.read() as session:
        assert session.scalar(text("SELECT count(*) FROM usage_totals")) == 0


def test_steps_are_in_one_line() -> None:
    """Every step names the one before it; two with one number would be a fork."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(steps.FOLDER))
    assert script.get_heads() == [HEAD]
    names = sorted(path.name for path in (steps.FOLDER / "versions").glob("0*.py"))
    assert [name[:4] for name in names] == [f"{n + 1:04}" for n in range(len(names))]


def test_head_is_known_without_alembic() -> None:
    code = "import sys, tldr_highlight.core.migrate as m; assert m.HEAD; assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path.cwd())
