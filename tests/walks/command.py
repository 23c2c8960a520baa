"""The real command, run as a person runs it: a process of its own, or the same code in ours."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest

from tldr_highlight.cli import main

COMMAND = (sys.executable, "-m", "tldr_highlight")

PATIENCE = 120.0
"""Seconds until a test gives up; not what anything should take."""


@dataclass(frozen=True)
class Run:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What `--json` printed: one document and nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """Code of the error in the document, which stderr tells too."""
        error = self.document["error"]
        assert self.document.keys() == {"source", "error"}
        assert error.keys() == {"code", "message"}
        assert self.err == f"tldr-highlight: {error['message']}\n"
        return error["code"]


def environment() -> dict[str, str]:
    """Ours, without settings of the product and with a terminal's usual width."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("TLDR_", "COV_", "COVERAGE"))}
    return {**own, "COLUMNS": "100"}


def start(*arguments: object, cwd: Path, **how: Any) -> subprocess.Popen[str]:
    """Begin a run."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float = PATIENCE) -> Run:
    """Wait for the end of a run."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return _told(process.returncode, out, err)


def _told(code: int, out: str, err: str) -> Run:
    assert "Traceback" not in err, err
    assert "Warning" not in err, err
    return Run(code, out, err)


def run(*arguments: object, cwd: Path, seconds: float = PATIENCE, **how: Any) -> Run:
    """Run the command to its end."""
    return ended(start(*arguments, cwd=cwd, **how), seconds)


def here(*arguments: object, cwd: Path) -> Run:
    """Run the command in this process, where one of its own is not what is tested.

    Its start, and that of what keeps its own processes, takes more than most of these runs: 1.5 s.
    """
    terminated = signal.getsignal(signal.SIGTERM)
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    code: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["tldr-highlight", *map(str, arguments)])
        for name in os.environ.keys() - environment().keys():
            patch.delenv(name)
        patch.setenv("COLUMNS", environment()["COLUMNS"])
        try:
            main.run()
        except SystemExit as end:
            code = end.code or 0
        finally:
            signal.signal(signal.SIGTERM, terminated)
    assert isinstance(code, int)
    return _told(code, _written(out), _written(err))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def find(*arguments: object, cwd: Path) -> Run:
    """Run `find` in this process."""
    return here("find", *arguments, cwd=cwd)


def until(happened: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for something to happen; TimeoutError if it does not."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError("it never happened")
        time.sleep(pause)
        pause = min(2 * pause, 0.02)  # asking costs: one query each 5 ms keeps a fifth of a core busy


def left_over(folder: Path) -> list[str]:
    """What a tidy run leaves nothing of: hidden files and folders, empty folders, empty files."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.name.startswith(".")
        or (path.is_dir() and not any(path.iterdir()))
        or (path.is_file() and path.stat().st_size == 0)
    )


def tree(folder: Path) -> set[str]:
    """Everything in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def stored(out: Path) -> Any:
    """The document in a folder of results, without what differs from run to run."""
    document = json.loads((out / "highlights.json").read_text("utf-8"))
    del document["elapsed"]
    return document


@dataclass(frozen=True)
class Clip:
    """What a clip holds."""

    seconds: float
    size: tuple[int, int] | None
    pictures: int
    channels: int | None
    codecs: tuple[str, ...]


def look(path: str | Path) -> Clip:
    """Decode a clip from start to end."""
    pictures = samples = 0
    with av.open(f"file:{path}") as container:
        video = next(iter(container.streams.video), None)
        sound = next(iter(container.streams.audio), None)
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    pictures += 1
                elif isinstance(frame, av.AudioFrame):
                    samples += frame.samples
        assert container.duration is not None
        assert sound is None or samples > 0
        return Clip(
            seconds=container.duration / av.time_base,
            size=(video.width, video.height) if video else None,
            pictures=pictures,
            channels=sound.channels if sound else None,
            codecs=tuple(s.codec_context.name for s in container.streams if s.type != "data"),
        )
