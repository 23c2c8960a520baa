"""`org`, `key`, `user`: the same services as the API's, called by the shell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from tests.services import Backend, SQLite
from tldr_highlight.cli.main import app
from tldr_highlight.cli.office import table
from tldr_highlight.core.db import Database
from tldr_highlight.core.migrate import migrate
from tldr_highlight.core.outbox import Mail
from tldr_highlight.core.passwords import Passwords
from tldr_highlight.core.security import Secrets, Vault, hash_token
from tldr_highlight.tenancy.models import ApiKey, AuditRecord, Member, Organization, User
from tldr_highlight.worker.embedded import hold_data_dir


def migrated(url: str) -> None:
    db = Database(url)
    migrate(db)
    db.close()


class Shell:
    """Commands on one installation."""

    def __init__(self, url: str) -> None:
        self.db = Database(url)

    def run(self, *words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, words, input=stdin)

    def told(self, *words: str, stdin: str | None = None) -> Any:
        """What `--json` says."""
        done = self.run(*words, "--json", stdin=stdin)
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    def refused(self, *words: str, stdin: str | None = None) -> tuple[int, str]:
        """Exit code, error code."""
        done = self.run(*words, "--json", stdin=stdin)
        document = json.loads(done.stdout)
        assert document.keys() == {"error"}
        assert done.stderr == f"tldr-highlight: {document['error']['message']}\n"
        return done.exit_code, document["error"]["code"]

    def rows(self, query: Any) -> list[Any]:
        with self.db.read() as session:
            return list(session.scalars(query))


@pytest.fixture
def shell(sqlite: SQLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    with sqlite.databases(tmp_path) as new:
        yield from opened(new(migrated), tmp_path, monkeypatch)


@pytest.fixture
def each_shell(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """On each database."""
    yield from opened(backend.database(migrated), tmp_path, monkeypatch)


def opened(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TLDR_DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "80")
    made = Shell(url)
    yield made
    made.db.close()


def founded(shell: Shell) -> Shell:
    """With an organization, One, of ann@example.com."""
    shell.told("user", "create", "ann@example.com")
    shell.told("org", "create", "One", "--owner", "ann@example.com")
    return shell


@pytest.fixture
def one(shell: Shell) -> Shell:
    return founded(shell)


@pytest.fixture
def each_one(each_shell: Shell) -> Shell:
    """On each database."""
    return founded(each_shell)


# --- people --------------------------------------------------------------------------------------------


def test_a_made_password_is_shown_once_and_opens_the_account(shell: Shell) -> None:
    made = shell.told("user", "create", "Ann@Example.com", "--name", "Ann", "--operator")
    [user] = shell.rows(select(User))
    assert (user.email, user.name, user.is_operator) == ("Ann@example.com", "Ann", True)
    assert user.email_verified_at is not None
    assert Passwords().verify(user.password_hash, made["password"])
    assert [r.actor for r in shell.rows(select(AuditRecord))] == ["shell"]


def test_a_given_password_comes_from_stdin_and_is_not_shown(shell: Shell) -> None:
    done = shell.run("user", "create", "ann@example.com", "--password-stdin", stdin="five odd socks dance\n")
    assert done.exit_code == 0
    assert "socks" not in done.output
    [user] = shell.rows(select(User))
    assert not user.is_operator
    assert Passwords().verify(user.password_hash, "five odd socks dance")


def test_accounts_that_cannot_be(one: Shell) -> None:
    assert one.refused("user", "create", "ANN@example.com") == (1, "email_taken")
    assert one.refused("user", "create", "nobody") == (2, "email_invalid")
    assert one.refused("user", "create", "b@example.com", "--name", "x" * 101) == (2, "usage")
    assert one.refused("user", "create", "b@example.com", "--password-stdin", stdin="") == (2, "usage")
    answer = one.refused("user", "create", "b@example.com", "--password-stdin", stdin="password1\n")
    assert answer == (2, "password_refused")
    assert len(one.rows(select(User))) == 1


def test_people_are_listed_disabled_and_enabled(each_one: Shell) -> None:
    each_one.told("user", "create", "op@example.com", "--operator")
    done = each_one.told("user", "disable", "ANN@example.com")
    assert done["disabled_at"] is not None
    assert each_one.told("user", "disable", "ann@example.com")["disabled_at"] == done["disabled_at"]
    listed = each_one.told("user", "list")["users"]
    assert [(u["email"], u["is_operator"], u["disabled_at"] is None) for u in listed] == [
        ("ann@example.com", False, False), ("op@example.com", True, True),
    ]  # fmt: skip
    assert "ann@example.com            disabled" in each_one.run("user", "list").output
    assert each_one.told("user", "enable", "ann@example.com")["disabled_at"] is None
    assert each_one.refused("user", "disable", "bea@example.com") == (5, "not_found")
    [organization] = each_one.rows(select(Organization))
    theirs = each_one.rows(select(AuditRecord).where(AuditRecord.organization_id == organization.id))
    assert [r.action for r in theirs][-2:] == ["user.disabled", "user.enabled"]


# --- organizations -------------------------------------------------------------------------------------


def test_an_organization_has_its_owner(each_one: Shell) -> None:
    [organization] = each_one.rows(select(Organization))
    [user] = each_one.rows(select(User))
    [member] = each_one.rows(Member.of(organization.id))
    assert (member.user_id, member.role) == (user.id, "owner")
    assert [o["name"] for o in each_one.told("org", "list")["organizations"]] == ["One"]


def test_organizations_that_cannot_be(one: Shell) -> None:
    assert one.refused("org", "create", "Two", "--owner", "bea@example.com") == (5, "not_found")
    assert one.refused("org", "create", " ", "--owner", "ann@example.com") == (2, "usage")
    assert one.refused("org", "plan", "Three") == (5, "not_found")
    one.told("org", "create", "One", "--owner", "ann@example.com")
    assert one.refused("org", "plan", "One") == (2, "usage")  # which?


def test_plans_and_limits_change_and_hold(each_one: Shell) -> None:
    assert each_one.told("org", "plan", "One")["plan"] == "STARTER"
    with hold_data_dir(Path("tldr-data"), "http://127.0.0.1:4711"):
        pass  # a server listens there, or did: links lead to it
    changed = each_one.told(
        "org", "plan", "One", "professional", "--set", "api_keys=3", "--set", "priority=high"
    )
    assert (changed["plan"], changed["limits"]["api_keys"], changed["limits"]["priority"]) == (
        "PROFESSIONAL", 3, "high",
    )  # fmt: skip
    [mail] = each_one.rows(select(Mail))
    vault = Vault(Secrets.load_or_make(Path("tldr-data")).vault_keys)
    assert (mail.kind, vault.open(mail.sealed)) == ("plan_changed", "http://127.0.0.1:4711/docs")
    for i in range(3):
        each_one.told("key", "create", "One", "--name", f"k{i}")
    assert each_one.refused("org", "plan", "One", "--set", "api_keys=2") == (1, "plan_does_not_fit")
    assert each_one.refused("org", "plan", "One", "STARTER", "--set", "api_keys=default") == (
        1,
        "plan_does_not_fit",
    )
    assert each_one.told("org", "plan", "One")["overrides"] == {
        "api_keys": 3,
        "priority": "high",
    }  # all or nothing
    # both together are what has to hold: not the new number on the old plan
    each_one.told("org", "plan", "One", "STARTER", "--set", "api_keys=4")
    changed = each_one.told("org", "plan", "One", "ENTERPRISE", "--set", "api_keys=default")
    assert (changed["plan"], changed["limits"]["api_keys"]) == ("ENTERPRISE", 50)
    each_one.told("org", "plan", "One", "PROFESSIONAL", "--set", "api_keys=3")
    assert each_one.told("org", "plan", "One", "--set", "api_keys=default")["limits"]["api_keys"] == 10


@pytest.mark.parametrize(
    "words",
    [
        ["GOLD"],
        ["STARTER"],
        ["--set", "api_keys"],
        ["--set", "api_keys=-1"],
        ["--set", "api_keys=1e3"],
        ["--set", "api_keys=٣"],
        ["--set", "colour=3"],
        ["--set", "priority=3"],
    ],
)
def test_changes_that_make_no_sense(one: Shell, words: list[str]) -> None:
    assert one.refused("org", "plan", "One", *words)[0] in {1, 2}
    assert one.told("org", "plan", "One")["overrides"] == {}


def test_suspending_and_activating(one: Shell) -> None:
    assert one.told("org", "suspend", "One", "--reason", "unpaid")["status"] == "suspended"
    assert [m.context["reason"] for m in one.rows(select(Mail))] == ["unpaid"]
    assert one.told("org", "activate", "One")["status"] == "active"


# --- keys ----------------------------------------------------------------------------------------------


def test_keys_are_made_listed_and_revoked(each_one: Shell) -> None:
    made = each_one.told(
        "key", "create", "One", "--name", "ci", "--scope", "streams:read", "--expires", "2099-01-31"
    )
    [key] = each_one.rows(select(ApiKey))
    assert (key.hash, key.scopes) == (hash_token(made["key"]), ["streams:read"])
    assert f"{key.expires_at:%Y-%m-%d}" == "2099-01-31"
    assert made["key"] not in each_one.run("key", "list", "One").output
    assert each_one.told("key", "revoke", key.id)["id"] == key.id
    [key] = each_one.rows(select(ApiKey))
    assert key.revoked_at is not None
    assert "revoked" in each_one.run("key", "list", "One").output


def test_keys_that_cannot_be(one: Shell) -> None:
    assert one.refused("key", "create", "One", "--name", "x", "--scope", "everything") == (2, "usage")
    assert one.refused("key", "create", "One", "--name", "x", "--expires", "2020-01-01") == (2, "usage")
    assert one.refused("key", "create", "One", "--name", "x", "--expires", "soon") == (2, "usage")
    assert one.refused("key", "create", "Two", "--name", "x") == (5, "not_found")
    assert one.refused("key", "revoke", "key_0") == (5, "not_found")
    assert one.rows(select(ApiKey)) == []


# --- the terminal, and installations that are not ready --------------------------------------------------


def test_tables_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [("org_01m8a3gwc1wm0bqe1c3nwzmegy", "名前" * 30, "ENTERPRISE", "suspended")]
    wide = table(("ID", "NAME", "PLAN", "STATUS"), rows, squeeze=1).splitlines()
    assert all(len(line) <= 80 for line in wide)
    assert wide[1].startswith(rows[0][0])
    assert wide[1].endswith("…  ENTERPRISE  suspended")
    monkeypatch.delenv("COLUMNS")
    assert rows[0][1] in table(("ID", "NAME", "PLAN", "STATUS"), rows, squeeze=1)  # in a pipe


def test_folders_without_a_database_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TLDR_DATABASE_URL", raising=False)
    done = CliRunner().invoke(app, ["org", "list", "--data", str(tmp_path / "typo"), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (5, "not_found")
    assert list(tmp_path.iterdir()) == []


def test_databases_that_are_not_migrated_are_refused(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLDR_DATABASE_URL", backend.database_url)
    done = CliRunner().invoke(app, ["org", "list", "--json"])
    assert done.exit_code != 0
    assert "tldr-highlight migrate" in json.loads(done.stdout)["error"]["message"]


def test_help_loads_neither_database_nor_web() -> None:
    code = (
        "import sys; sys.argv = ['x', 'org', '--help']\n"
        "from tldr_highlight.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "assert not {'sqlalchemy', 'fastapi'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
