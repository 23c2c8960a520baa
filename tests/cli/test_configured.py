"""Settings that cannot be are named when a command starts, and what is secret in them is not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.walks.command import here
from tldr_highlight.cli.configured import read_settings
from tldr_highlight.errors import UsageError

WRONG = {
    "another database": ("DATABASE_URL", "bogus://ann:SECRET@host/name"),
    "no database": ("DATABASE_URL", "SECRET"),
    "no port": ("DATABASE_URL", "postgresql://ann:SECRET@host:x/name"),
    "a slash in a password": ("DATABASE_URL", "postgresql://ann:SECRET/x@host/name"),
    "another broker": ("BROKER_URL", "amqp://ann:SECRET@host//"),
    "no broker": ("BROKER_URL", "SECRET"),
    "no port of a broker": ("BROKER_URL", "redis://:SECRET@host:x"),
    "no address": ("PUBLIC_URL", "notaurl"),
    "no host": ("PUBLIC_URL", "https://"),
    "no web address": ("PUBLIC_URL", "ftp://host"),
    "more than an address": ("PUBLIC_URL", "https://host/?a=SECRET"),
    "everybody": ("CORS_ORIGINS", "*"),
    "all below": ("CORS_ORIGINS", "https://good.example, https://*.example"),
    "with a path": ("CORS_ORIGINS", "https://good.example/"),
    "no origin": ("CORS_ORIGINS", "good.example"),
    "null": ("CORS_ORIGINS", "null"),
    "no number": ("WORKER_THREADS", "many"),
    "one of two": ("REGISTRATION", "ajar"),
    "still to come": ("ANALYZER", "gemini"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_cannot_be_are_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    setting, value = WRONG[name]
    monkeypatch.setenv(f"TLDR_{setting}", value)
    with pytest.raises(UsageError) as caught:
        read_settings()
    assert str(caught.value).startswith(f"TLDR_{setting}: ")
    assert "SECRET" not in str(caught.value)
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("DATABASE_URL", "postgresql://ann:pass%40word@/name?host=/run/postgresql"),
        ("DATABASE_URL", "postgres://host/name"),
        ("DATABASE_URL", "postgresql+psycopg://[::1]:5432/name"),
        ("DATABASE_URL", "sqlite:////var/lib/tldr/x.db"),
        ("BROKER_URL", "redis://:pass%40word@host:6380/1"),
        ("BROKER_URL", "rediss://host"),
        ("PUBLIC_URL", "https://highlights.example.com/"),
        ("PUBLIC_URL", "http://10.0.0.1:8000/tldr"),
        ("CORS_ORIGINS", " https://a.example ,http://localhost:3000,"),
    ],
)
def test_settings_that_can_be(monkeypatch: pytest.MonkeyPatch, setting: str, value: str) -> None:
    monkeypatch.setenv(f"TLDR_{setting}", value)
    read_settings()


def test_a_server_with_such_a_setting_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("TLDR_DATABASE_URL=bogus://ann:SECRET@host/name\n")
    done = here("serve", "--port", "0", "--data", tmp_path / "data", cwd=tmp_path)
    assert done.code == 2
    assert done.err.startswith("tldr-highlight: TLDR_DATABASE_URL: ")
    assert "SECRET" not in done.err
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_of_settings_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PASSWORD=p\xe4ss\n")
    for command in (["find", "film.mp4", "--json"], ["doctor"]):
        done = here(*command, cwd=tmp_path)
        assert done.code == 2
        assert done.err == (
            "tldr-highlight: the file .env in this folder is not UTF-8: save it as such, or move it\n"
        )
