"""What the pages of the server say to type, typed word for word, and answered as they say."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from tests.api.world import World, world_on
from tests.services import Backend, SQLite
from tldr_highlight.cli.main import app
from tldr_highlight.cli.serve import _greet
from tldr_highlight.core.migrate import migrate
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def world(sqlite: SQLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A server as it is when it was started for the first time, and a shell on its data folder."""
    with sqlite.databases(tmp_path) as new, world_on(Backend("sqlite", new), tmp_path) as made:
        monkeypatch.setenv("TLDR_DATA_DIR", str(made.runtime.data_dir))
        monkeypatch.setenv("TLDR_DATABASE_URL", str(made.runtime.db.engine.url))
        yield made


def blocks(page: str, language: str) -> str:
    """All that a page has in blocks of a language."""
    text = (DOCS / page).read_text("utf-8")
    return "".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def commands(page: str) -> Iterator[list[str]]:
    """The words of each command; one goes on behind a backslash and within quotes."""
    so_far = ""
    for line in blocks(page, "sh").replace("\\\n", " ").splitlines(keepends=True):
        so_far += line
        with suppress(ValueError):  # quotes are open
            words = shlex.split(so_far, comments=True)
            so_far = ""
            if words:
                yield words
    assert not so_far


def curl(world: World, words: list[str], key: str = "") -> httpx2.Response:
    """What `curl URL -H HEADER -d BODY` sends, with a key in place of the page's."""
    _, url, *options = words
    given = list(zip(options[::2], options[1::2], strict=True))
    assert {option for option, _ in given} <= {"-H", "-d"}
    headers = dict(
        value.replace("tldr_live_…", key).split(": ", 1) for option, value in given if option == "-H"
    )
    body = next((value for option, value in given if option == "-d"), None)
    return world.client.request("POST" if body else "GET", url, headers=headers, content=body)


def test_the_first_account(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = [w for w in commands("server.md") if w[0] == "curl" or "create" in w or "plan" in w]
    assert len(typed) == 7
    [register, *others] = typed
    answer = curl(world, register)
    assert answer.status_code == 201, answer.text
    assert answer.json()["organization"]["plan"] == "STARTER"
    assert [word for word in commands("server.md") if word[-1] == "TLDR_REGISTRATION=closed"]
    monkeypatch.setenv("TLDR_REGISTRATION", "closed")
    for _, *words in others:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.output)
    assert "is on PROFESSIONAL" in CliRunner().invoke(app, ["org", "plan", "Nordlicht Sports"]).output


def test_a_closed_server_says_what_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(
        Settings(_env_file=None, data_dir=tmp_path / "with a space", registration="closed")
    ) as runtime:
        migrate(runtime.db)
        _greet(runtime)
        lines = capsys.readouterr().err.splitlines()
        typed = [shlex.split(line) for line in lines if line.startswith("  tldr-highlight ")]
        assert len(typed) == 2
        for _, *words in typed:
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, (words, done.output)


def test_signing_up_and_asking(world: World) -> None:
    [register] = commands("accounts.md")
    answer = curl(world, register)
    assert answer.status_code == 201, answer.text
    assert answer.json()["webhook"]["events"]
    [ask] = commands("api.md")
    me = curl(world, ask, answer.json()["api_key"]["key"]).json()
    assert me["organization"]["name"] == "Nordlicht Sports"


def test_a_problem_looks_as_shown(world: World) -> None:
    shown: dict[str, Any] = json.loads(blocks("api.md", "json"))
    owner = world.person(world.organization())
    answer = world.client.patch("/api/v1/organization", json={"name": "x" * 101}, headers=owner)
    assert answer.json() | {"trace_id": shown["trace_id"]} == shown
    assert answer.headers["content-type"] == "application/problem+json"
