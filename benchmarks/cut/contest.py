"""Who cuts, what is cut, how it is measured, and what the figures must be.

Only the standard library: on Linux a child's peak memory includes what its parent held when it was
started, so the parent must stay small.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.analyse.contest import CACHE, Bound, Run, faster, measured

STARTS = (17.37, 123.45, 251.91, 400.03, 519.77)
"""Seconds into a source of ten minutes, none at a key picture, nor at a picture."""

PART = 64
"""Seconds after which the made sources begin anew, see `analyse/source.py`."""

LENGTHS = (10, 60)
"""Seconds of the clips."""

GOPS = (2, 10)
"""Most seconds between key pictures of the sources."""

DELAY, MBITS = 0.05, 100.0
"""Of the slow link: seconds of a round trip, and Mbit/s."""

WARM, APART, COLD = "ours", "ours, a process each", "ours, cold command"
NOT_JUDGED = {APART, COLD}
"""Their clips are the warm one's."""

COPY, VERYFAST, SMARTCUT = "ffmpeg -c copy", "ffmpeg veryfast", "smartcut"


class Clip(NamedTuple):
    """One range of a source, and where the clip goes."""

    source: str  # path or address
    start: float
    end: float
    out: Path


class Cell(NamedTuple):
    """What one table is about."""

    gop: int  # seconds
    minutes: float  # of the source
    length: int  # seconds of the clips

    def __str__(self) -> str:
        return f"g{self.gop}, {self.minutes:g} min, {self.length} s"


class Verdict(NamedTuple):
    """What `correct` found out about a clip."""

    frames_off: int
    first_off: int | None
    lag: int | None
    worst_db: float
    mb: float

    @property
    def exact(self) -> bool:
        return (self.frames_off, self.first_off, self.lag) == (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to cut a range."""

    name: str
    run: Callable[[Clip], Run]
    missing: str = ""  # why it cannot run here


def starts(minutes: float, length: float, most: int) -> list[float]:
    """Where clips begin: the same pictures in sources of all lengths, spread over each.

    Long sources are whole repetitions of the short ones, so that times differ only by what length costs.
    """
    whole = [s for s in STARTS if s + length <= min(minutes, 10) * 60][:most]
    later = max(0, int((minutes - 10) * 60 // PART)) * PART
    return [start + later * (index + 1) // len(whole) // PART * PART for index, start in enumerate(whole)]


# --- who takes part ------------------------------------------------------------------------------------


class Worker:
    """Our process that stays; see `worker.py`. A context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cut.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "1000000"},  # as the product's own processes have it
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def cut(self, clip: Clip, *, apart: bool = False) -> Run:
        """Have one range cut.

        Raises:
            RuntimeError: it failed; its words are on stderr.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {**clip._asdict(), "out": str(clip.out), "apart": apart}
        began = time.monotonic()
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        seconds = time.monotonic() - began
        if not line:
            raise RuntimeError(f"our worker ended at {clip}")
        answer = json.loads(line)
        return Run(seconds, answer["cpu_seconds"], answer["peak_mb"])


def contestants(worker: Worker) -> list[Contestant]:
    ffmpeg = shutil.which("ffmpeg") or ""
    smartcut = shutil.which("smartcut", path=f"{CACHE / 'smartcut' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    no_ffmpeg = "" if ffmpeg else "no ffmpeg program on the PATH"
    return [
        Contestant(WARM, worker.cut),
        Contestant(APART, lambda clip: worker.cut(clip, apart=True)),
        Contestant(COLD, lambda clip: measured(_command(clip))),
        Contestant(COPY, lambda clip: measured(_ffmpeg(ffmpeg, clip, "-c", "copy")), no_ffmpeg),
        Contestant(
            VERYFAST,
            lambda clip: measured(
                _ffmpeg(ffmpeg, clip, "-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac")
            ),
            no_ffmpeg,
        ),
        Contestant(
            SMARTCUT,
            lambda clip: measured(
                [smartcut or "", clip.source, str(clip.out), "--keep", f"{clip.start},{clip.end}"]
            ),
            "" if smartcut else "not installed; --install-peers puts it into benchmarks/cache",
        ),
    ]


def _command(clip: Clip) -> list[str]:
    command = [sys.executable, "-m", "tldr_highlight", "cut", clip.source, f"{clip.start}-{clip.end}"]
    return [*command, "--out", str(clip.out.parent), "--name", clip.out.stem, "--json"]


def _ffmpeg(program: str, clip: Clip, *how: str) -> list[str]:
    return [program, "-nostdin", "-v", "error", "-y", "-ss", str(clip.start), "-i", clip.source, "-t",
            str(round(clip.end - clip.start, 3)), *how, "-movflags", "+faststart", str(clip.out)]  # fmt: skip


def install_peers() -> None:
    """`smartcut` in an environment of its own: it pins another PyAV."""
    home = CACHE / "smartcut"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run(
        [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "smartcut>=1.7,<1.8"], check=True
    )


def judged(clip: Clip, source: Path) -> Verdict:
    """What is wrong with a finished clip of `source`."""
    code = [sys.executable, "-m", "benchmarks.cut.correct", str(source), str(clip.start), str(clip.end)]
    done = subprocess.run([*code, str(clip.out)], check=True, capture_output=True, text=True)
    return Verdict(**json.loads(done.stdout))


# --- over HTTP -----------------------------------------------------------------------------------------


class Moved(NamedTuple):
    """One clip over HTTP."""

    run: Run
    share: float  # bytes moved over bytes of the clip
    requests: int


class Line:
    """A served folder: `server.py` as a process of its own. A context manager."""

    def __init__(self, folder: Path, *, slow: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.cut.server", str(folder)]
        if slow:
            command += ["--delay", str(DELAY), "--rate", str(MBITS)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def moved(self, contestant: Contestant, clip: Clip) -> Moved:
        """Have a clip cut whose source is a file's name in the folder."""
        self._counted()
        run = contestant.run(clip._replace(source=f"{self.address}/{clip.source}"))
        counted = self._counted()
        return Moved(run, counted["bytes"] / clip.out.stat().st_size, counted["requests"])

    def _counted(self) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Found(NamedTuple):
    """`find` as a whole."""

    run: Run
    realtime: float
    clips: int
    seconds: float  # of all clips together


# --- what the figures must be --------------------------------------------------------------------------

Runs = Mapping[Cell, Mapping[str, Sequence[Run]]]
Verdicts = Mapping[Cell, Mapping[str, Sequence[Verdict]]]
Remote = Mapping[tuple[int, bool], Mapping[str, Sequence[Moved]]]
"""(seconds of the clips, slow link) -> contestant -> clips."""


def bounds(runs: Runs, verdicts: Verdicts, remote: Remote, find: Found | None) -> list[Bound]:
    """The promises that what ran can be held to."""
    return [
        *_against(runs),
        *_growth(runs),
        *_memory(runs),
        *_exactness(verdicts),
        *_moved(remote),
        *_find(find),
    ]


def _against(runs: Runs) -> Iterator[Bound]:
    """Speeds against the others, in sources of the shortest length."""
    shortest = min((cell.minutes for cell in runs), default=0.0)
    promises = (
        (2, 60, VERYFAST, 30), (2, 10, VERYFAST, 7), (2, 10, SMARTCUT, 7),
        (10, 60, VERYFAST, 6), (10, 10, SMARTCUT, 3.5),
    )  # fmt: skip
    for gop, length, name, least in promises:
        cell = Cell(gop, shortest, length)
        if theirs := runs.get(cell, {}).get(name):
            ratio = faster(runs[cell][WARM], theirs)
            yield Bound(f"x {name}, {cell}", ratio, least, at_least=True)
    cell = Cell(2, shortest, 60)
    if theirs := runs.get(cell, {}).get(COPY):
        yield Bound(
            f"times the seconds of {COPY}, {cell}", 1 / faster(runs[cell][WARM], theirs), 5, at_least=False
        )
    extra = [
        apart.seconds - warm.seconds
        for by_name in runs.values()
        for apart, warm in zip(by_name.get(APART, ()), by_name.get(WARM, ()), strict=False)
    ]
    if extra:
        yield Bound("seconds more for a process each", statistics.median(extra), 0.15, at_least=False)


def _growth(runs: Runs) -> Iterator[Bound]:
    shortest, longest = min((c.minutes for c in runs), default=0), max((c.minutes for c in runs), default=0)
    if longest > shortest:
        for cell in runs:
            if cell.minutes == longest:
                ratio = 1 / faster(runs[cell][WARM], runs[cell._replace(minutes=shortest)][WARM])
                yield Bound(f"times the seconds of {shortest:g} min, {cell}", ratio, 1.2, at_least=False)


def _memory(runs: Runs) -> Iterator[Bound]:
    peaks = [run.peak_mb for by_name in runs.values() for run in by_name.get(WARM, ())]
    if peaks:
        yield Bound("MB at the peak", max(peaks), 300, at_least=False)


def _exactness(verdicts: Verdicts) -> Iterator[Bound]:
    ours = [verdict for by_name in verdicts.values() for verdict in by_name.get(WARM, ())]
    if ours:
        yield Bound("clips that are exact, of all", sum(v.exact for v in ours) / len(ours), 1, at_least=True)
        yield Bound("dB of the worst picture", min(v.worst_db for v in ours), 40, at_least=True)


def _moved(remote: Remote) -> Iterator[Bound]:
    for (length, slow), by_name in remote.items():
        ours = by_name[WARM]
        most = 1.15 if length >= 60 else 1.6
        link = "slow link" if slow else "loopback"
        yield Bound(f"bytes moved for a byte of clip, {length} s, {link}",
                    statistics.median(m.share for m in ours), most, at_least=False)  # fmt: skip
        if slow and (theirs := by_name.get(COPY)):
            ratio = 1 / faster([m.run for m in ours], [m.run for m in theirs])
            yield Bound(f"times the seconds of {COPY}, {length} s, {link}", ratio, 1.15, at_least=False)


def _find(found: Found | None) -> Iterator[Bound]:
    if found:
        yield Bound("x realtime, find with its clips", found.realtime, 60, at_least=True)
