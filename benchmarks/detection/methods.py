"""What is compared: ours, and four simple methods that read the file in a plain way of their own."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from benchmarks.detection.labels import LabelledVideo, Prediction

F64 = NDArray[np.float64]
Method = Callable[[LabelledVideo], list[Prediction]]

HOP = 0.5
"""Seconds between values of the baselines' curves."""


def ours(video: LabelledVideo) -> list[Prediction]:
    """The product's own detector, with the preset of the genre."""
    return _ours(video, None)


def ranked(video: LabelledVideo) -> list[Prediction]:
    """All that ours gives odds of one in twenty or more: average precision is about their order."""
    return _ours(video, 0.05)


def _ours(video: LabelledVideo, threshold: float | None) -> list[Prediction]:
    from tldr_highlight.pipeline.find import detect  # noqa: PLC0415 - the baselines run without it

    moments = detect(video.path, video.spec.preset, threshold)
    return [Prediction(m.start, m.peak, m.end, m.score) for m in moments]


def random(video: LabelledVideo) -> list[Prediction]:
    """As many moments of 6 s as there are events, anywhere."""
    rng = np.random.default_rng(zlib.crc32(video.spec.name.encode()))
    peaks = rng.uniform(0, video.duration, _given(video))
    return [Prediction(p - 3, p, p + 3, float(rng.random())) for p in peaks.tolist()]


def loudest(video: LabelledVideo) -> list[Prediction]:
    """The loudest seconds, the true number of events given, 10 s apart at least."""
    level = loudness(video.path)
    level = np.convolve(level, np.ones(2) / 2, mode="same") if len(level) else level
    picked: list[Prediction] = []
    left = level.copy()
    for _ in range(_given(video)):
        if not len(left) or not np.isfinite(left).any() or left.max() <= -90:
            break
        k = int(left.argmax())
        at = (k + 0.5) * HOP
        picked.append(Prediction(at - 3, at, at + 3, float(level[k])))
        left[max(0, k - 20) : k + 21] = -100
    return picked


def threshold(video: LabelledVideo) -> list[Prediction]:
    """Every stretch louder than the file's mean by 1.5 standard deviations."""
    level = loudness(video.path)
    return _runs(level, level > level.mean() + 1.5 * level.std(), gap=2.0) if len(level) else []


def relative(video: LabelledVideo) -> list[Prediction]:
    """Every stretch of a second or more that is 6 dB louder than the median of the minute around it."""
    level = loudness(video.path)
    if not len(level):
        return []
    padded = np.pad(level, 60, mode="reflect" if len(level) > 60 else "edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 121), axis=1)
    runs = _runs(level - around, level > np.maximum(around + 6, -60), gap=2.0)
    return [p for p in runs if p.end - p.start >= 1]


def cut_density(video: LabelledVideo) -> list[Prediction]:
    """Ten-second windows with the most cuts, the true number given."""
    cuts = cut_times(video.path)
    edges = np.arange(0, video.duration + HOP, HOP)
    counts, _ = np.histogram(cuts, edges)
    density = np.convolve(counts, np.hanning(22)[1:-1], mode="same")
    picked: list[Prediction] = []
    for _ in range(_given(video)):
        k = int(density.argmax())
        if density[k] <= 0:
            break
        at = (k + 0.5) * HOP
        picked.append(Prediction(at - 4, at, at + 4, float(density[k])))
        density[max(0, k - 20) : k + 21] = 0
    return picked


METHODS: dict[str, Method] = {
    "ours": ours,
    "ranked": ranked,
    "random": random,
    "loudest": loudest,
    "threshold": threshold,
    "relative": relative,
    "cuts": cut_density,
}


def _given(video: LabelledVideo) -> int:
    """The true number of events; on controls, what an average file of that length has."""
    return len(video.events) or max(1, round(video.duration / 75))


def _runs(level: F64, over: NDArray[np.bool_], gap: float) -> list[Prediction]:
    """Stretches where `over` holds, those closer than `gap` seconds as one."""
    found: list[Prediction] = []
    where = np.flatnonzero(over)
    if not len(where):
        return found
    for part in np.split(where, np.flatnonzero(np.diff(where) > gap / HOP) + 1):
        k = int(part[level[part].argmax()])
        start, end = float(part[0] * HOP), float((part[-1] + 1) * HOP)
        found.append(Prediction(start, (k + 0.5) * HOP, end, float(level[k])))
    return found


def loudness(path: Path) -> F64:
    """RMS in dBFS of every half second, channels averaged; empty without sound."""
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for at, samples, rate in _sound(path):
        hop = rate * HOP
        first = at * rate
        index = np.floor((first + np.arange(len(samples))) / hop).astype(int)
        for k in range(int(index[0]), int(index[-1]) + 1):
            part = samples[index == k]
            sums[k] = sums.get(k, 0.0) + float((part**2).sum())
            counts[k] = counts.get(k, 0) + len(part)
    if not sums:
        return np.empty(0)
    power = np.array([sums.get(k, 0.0) / max(1, counts.get(k, 1)) for k in range(max(sums) + 1)])
    return 10 * np.log10(power + 1e-10)


def _sound(path: Path) -> Iterator[tuple[float, F64, int]]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return
        for frame in container.decode(container.streams.audio[0]):
            assert isinstance(frame, AudioFrame)
            yield frame.time or 0.0, frame.to_ndarray().mean(axis=0, dtype=np.float64), frame.sample_rate


def cut_times(path: Path) -> F64:
    """Times at which two pictures 0.2 s apart differ by more than 25 gray levels on average."""
    times: list[float] = []
    last: NDArray[np.int16] | None = None
    for at, gray in _pictures(path):
        small = gray[::8, ::8].astype(np.int16)
        if last is not None and float(np.abs(small - last).mean()) > 25:
            times.append(at)
        last = small
    return np.array(times)


def _pictures(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        if not container.streams.video:
            return
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        try:
            for index, frame in enumerate(container.decode(stream)):
                assert isinstance(frame, VideoFrame)
                if index % 3 == 0:
                    yield frame.time or 0.0, frame.to_ndarray(format="gray").astype(np.uint8)
        except FFmpegError:
            return
