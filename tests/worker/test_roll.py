"""Who is alive, by locks: of real processes, killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tldr_highlight.worker.roll import FOLDER, departed, present

HERE = """
import sys, time
from pathlib import Path
from tldr_highlight.worker.roll import present
with present(Path(sys.argv[1])) as name:
    print(name, flush=True)
    time.sleep(60)
"""


def gone(data_dir: Path) -> list[str]:
    with departed(data_dir) as names:
        return names


def test_the_dead_are_told_from_the_living_and_once(tmp_path: Path) -> None:
    with present(tmp_path) as mine, subprocess.Popen(
        [sys.executable, "-c", HERE, tmp_path], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as other:  # fmt: skip
        assert other.stdout
        theirs = other.stdout.readline().strip()
        assert theirs != mine
        assert gone(tmp_path) == []
        other.kill()
        other.wait()
        assert gone(tmp_path) == [theirs]
        assert gone(tmp_path) == []
    assert gone(tmp_path) == [mine], "it left by itself, and what it held is void all the same"


def test_the_dead_are_kept_until_they_are_dealt_with(tmp_path: Path) -> None:
    with present(tmp_path) as name:
        pass
    with pytest.raises(OSError, match="the database"), departed(tmp_path):
        raise OSError("the database is away")
    assert gone(tmp_path) == [name]


def test_other_hosts_see_to_their_own_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with present(tmp_path) as name:
        pass
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert gone(tmp_path) == []
    monkeypatch.undo()
    assert gone(tmp_path) == [name]


def test_who_is_taken_for_dead_before_it_has_its_lock_takes_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody looks between the file and its lock."""
    real, looked = os.fstat, []

    def look(descriptor: int) -> os.stat_result:
        if not looked:
            looked.extend(path.name for path in (tmp_path / FOLDER).iterdir())
            (tmp_path / FOLDER / looked[0]).unlink()
        return real(descriptor)

    monkeypatch.setattr("tldr_highlight.worker.roll.os.fstat", look)
    with present(tmp_path) as name:
        assert [name] != looked
        assert gone(tmp_path) == []
