"""Who runs, how a run is measured, and what the figures must be.

Only the standard library: on Linux a child's peak memory includes what its parent held when it was
started, so the parent must stay small.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).parents[1] / "cache"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to look through a file."""

    name: str
    looks_at: str  # what it decodes: speeds of different work are not the same
    command: Callable[[Path], list[str]]
    missing: str = ""  # why it cannot run here


class Run(NamedTuple):
    """One process from start to end, children included."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def contestants() -> list[Contestant]:
    scenedetect = shutil.which(
        "scenedetect", path=f"{CACHE / 'scenedetect' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    )
    ffmpeg = shutil.which("ffmpeg")

    def us(sampling: str) -> Callable[[Path], list[str]]:
        return lambda path: [sys.executable, "-m", "benchmarks.analyse.us", str(path), sampling]

    return [
        Contestant("ours", "key pictures, packet sizes, all sound", us("keys")),
        Contestant("ours, exact motion", "every reference picture, all sound", us("all")),
        Contestant(
            "PySceneDetect adaptive", "every picture, no sound",
            lambda path: [scenedetect or "", "-q", "-i", str(path), "detect-adaptive"],
            "" if scenedetect else "not installed; --install-peers puts it into benchmarks/cache",
        ),
        Contestant(
            "ffmpeg scdet+ebur128", "every picture, all sound",
            lambda path: [ffmpeg or "", "-nostdin", "-v", "error", "-i", str(path), "-vf", "scdet",
                          "-af", "ebur128", "-f", "null", "-"],
            "" if ffmpeg else "no ffmpeg program on the PATH",
        ),
    ]  # fmt: skip


def install_peers() -> None:
    """PySceneDetect in an environment of its own: its OpenCV is no business of ours."""
    home = CACHE / "scenedetect"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "scenedetect-headless>=0.7,<0.8"]
    subprocess.run(pip, check=True)


def measured(command: Sequence[str]) -> Run:
    """Run `command` to its end.

    Raises:
        RuntimeError: it failed, with its last words.
    """
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        words = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {words.decode(errors='replace')[-500:]}")
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, KiB elsewhere
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1.024 / scale)


class Figures(NamedTuple):
    """Medians of a contestant's runs on one file."""

    realtime: float
    cpu_seconds: float
    peak_mb: float


def figures(runs: Sequence[Run], duration: float) -> Figures:
    return Figures(
        statistics.median(duration / r.seconds for r in runs),
        statistics.median(r.cpu_seconds for r in runs),
        max(r.peak_mb for r in runs),
    )


def faster(ours: Sequence[Run], theirs: Sequence[Run]) -> float:
    """How many times faster we are: the median over pairs of runs that followed each other."""
    return statistics.median(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True))


class Bound(NamedTuple):
    """What a figure must be, and what it is."""

    what: str
    figure: float
    limit: float
    at_least: bool

    @property
    def rule(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"

    @property
    def kept(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


def bounds(results: dict[float, dict[str, list[Run]]]) -> list[Bound]:
    """The promises that the runs so far can be held to. `results` is minutes -> contestant -> runs."""
    longest, shortest = max(results), min(results)
    runs = results[longest]
    checks: list[Bound] = []
    if ours := runs.get("ours"):
        best = figures(ours, longest * 60)
        checks.append(Bound(f"x realtime, {longest:g} min", best.realtime, 110, at_least=True))
        checks.append(Bound(f"MB at the peak, {longest:g} min", best.peak_mb, 350, at_least=False))
        if longest > shortest:
            growth = best.peak_mb / figures(results[shortest]["ours"], shortest * 60).peak_mb
            checks.append(
                Bound(f"memory, {longest:g} against {shortest:g} min", growth, 1.15, at_least=False)
            )
            checks.append(Bound(f"memory, {longest:g} against {shortest:g} min", growth, 0.85, at_least=True))
        if theirs := runs.get("PySceneDetect adaptive"):
            checks.append(Bound("x PySceneDetect adaptive", faster(ours, theirs), 12, at_least=True))
    if exact := runs.get("ours, exact motion"):
        best = figures(exact, longest * 60)
        checks.append(
            Bound(f"x realtime with exact motion, {longest:g} min", best.realtime, 15, at_least=True)
        )
        checks.append(Bound(f"MB with exact motion, {longest:g} min", best.peak_mb, 350, at_least=False))
    return checks
