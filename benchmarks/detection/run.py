"""A method over many videos, in processes of their own: spawned, for libav's threads cannot be forked."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.detection.labels import VideoSpec
from benchmarks.detection.make import halved, make
from benchmarks.detection.methods import METHODS
from benchmarks.detection.score import Outcome, judge


def run(
    method: str, specs: list[VideoSpec], cache: Path, *, half: bool = False, processes: int = 2
) -> list[Outcome]:
    """Make and judge every video, two at a time; no `Pool`: that waits forever for a worker that died."""
    task = partial(_one, method, cache, half)
    if processes < 2:
        return [task(spec) for spec in specs]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(task, specs))


def _one(method: str, cache: Path, half: bool, spec: VideoSpec) -> Outcome:
    video = make(spec, cache)
    video = halved(video) if half else video
    try:
        return judge(METHODS[method](video), video)
    except Exception as error:  # as one that every process can unpickle, and that says where
        raise RuntimeError(f"{method} failed on {video.path}: {error!r}") from error
