"""A process dies where it is told to, once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tldr_highlight.core.faults import Faults

PASS = """
import sys
from pathlib import Path
from tldr_highlight.core.faults import Faults
faults = Faults(sys.argv[1], Path(sys.argv[2]))
for point in sys.argv[3:]:
    faults.at(point)
    print(point, flush=True)
"""


def passes(folder: Path, asked: str, *points: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PASS, asked, str(folder), *points], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.split()


def test_a_process_dies_at_the_pass_that_is_asked_for_and_once_only(tmp_path: Path) -> None:
    assert passes(tmp_path, "b:2,c", "a", "b", "a", "b", "c") == (-signal.SIGKILL, ["a", "b", "a"])
    assert passes(tmp_path, "b:2,c", "a", "b", "b", "c") == (-signal.SIGKILL, ["a", "b", "b"])
    assert passes(tmp_path, "b:2,c", "a", "b", "b", "c") == (0, ["a", "b", "b", "c"])


def test_nothing_is_asked_for_in_service() -> None:
    Faults().at("anything")
