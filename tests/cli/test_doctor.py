"""What `doctor` looks at."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tldr_highlight.cli import doctor

ROOT = Path(__file__).parents[2]


def test_every_extra_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(doctor.EXTRAS) == set(project["optional-dependencies"]) - {"dev"}
    doctor.doctor()
    out = capsys.readouterr().out
    assert all(f"{name} extra" in out for name in doctor.EXTRAS)


def test_an_extra_that_lacks_a_library_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "s3", (("boto3", "no_such_library"), "a bucket"))
    doctor.doctor()
    assert "pip install 'tldr-highlight[s3]' adds a bucket" in capsys.readouterr().out


def test_a_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    checks = {check.name: check for check in doctor._here()}  # pyright: ignore[reportPrivateUsage]
    assert checks["here"].state == "problem"
    assert "there no more" in checks["here"].message
