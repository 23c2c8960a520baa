"""What is printed where stdout is closed, full or of few characters, and how an early Ctrl-C ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.walks.command import COMMAND, environment

HERE = r"""
import sys
from tldr_highlight.cli import streams
from tldr_highlight.errors import OutputError
streams.prepare(json="--json" in sys.argv)
text = "1.6 \u03c3 \U0001f389 " + ("\udce9" if "--json" in sys.argv else "")
try:
    sys.stdout.write(text * int(sys.argv[1]))
    streams.finish()
except OutputError as error:
    sys.stderr.write(str(error))
"""


def printed(*arguments: str, how: str = "", **settings: str) -> subprocess.CompletedProcess[bytes]:
    """What comes of printing in a process of its own, which the shell starts with `how`."""
    command = f'exec "$0" -c "$@" {how}'
    return subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, HERE, *arguments],
        env=environment() | settings, capture_output=True, check=False,
    )  # fmt: skip


def test_json_is_utf_8_and_text_is_what_can_be_shown() -> None:
    for encoding in ("ascii", "latin-1"):
        text, document = (
            printed("1", *arguments, PYTHONIOENCODING=encoding).stdout for arguments in ([], ["--json"])
        )
        assert text == b"1.6 ? ? "
        assert document.decode() == "1.6 \u03c3 \U0001f389 \\udce9"
        assert json.loads(b'"%s"' % document).endswith("\udce9"), "the file's name as the system has it"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("many", ["1", "5000"])
def test_a_full_stdout_is_told_in_a_sentence(many: str, unbuffered: str) -> None:
    done = printed(many, how="> /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, b"cannot print the result: No space left on device")


def test_what_is_closed_leads_nowhere(tmp_path: Path) -> None:
    done = printed("1", how="<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    shut = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" "$@" >&- 2>&-', *COMMAND, "doctor"],
        cwd=tmp_path, env=environment(), check=False,
    )  # fmt: skip
    assert shut.returncode == 0


def test_ctrl_c_while_it_loads_ends_it_tidily(tmp_path: Path) -> None:
    """By a library that sends it, instead of one that loads first."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*COMMAND, "doctor"],
        cwd=tmp_path, env=environment() | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == ("tldr-highlight: interrupted; what is done is kept: run the same command again\n")
