"""A method over many videos, in processes of their own: spawned, for libav's threads cannot be forked."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path

from benchmarks.detection.labels import LabelledVideo, VideoSpec
from benchmarks.detection.make import halved, make
from benchmarks.detection.methods import METHODS
from benchmarks.detection.score import Outcome, judge


def run(
    method: str, specs: list[VideoSpec], cache: Path, *, half: bool = False, processes: int = 2
) -> list[Outcome]:
    """Make and judge every video, two at a time."""
    task = partial(_one, method, cache, half)
    if processes < 2:
        return [task(spec) for spec in specs]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return pool.map(task, specs, chunksize=1)


def _one(method: str, cache: Path, half: bool, spec: VideoSpec) -> Outcome:
    video: LabelledVideo = make(spec, cache)
    video = halved(video) if half else video
    return judge(METHODS[method](video), video)
