"""Videos' curves, measured once and kept: as they are, and as other microphones and codecs would have it.

A *take* is the number of a recording: 0 is the file itself, every other one puts its sound through a room,
an equalizer, noise, a compressor, a telephone, drawn by chance. Pictures stay. The table of
`analysis/fusion.csv` hears every video in several takes: what it learns should not hang on a sound engineer.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator

from benchmarks.detection.labels import LabelledVideo
from benchmarks.detection.synth.dsp import F32, RATE, compress, convolve, noise, rms, room, shape, unit
from tldr_highlight.analysis import signals
from tldr_highlight.analysis.signals import Signals, measure
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Reader, sampling_for
from tldr_highlight.media.types import AudioBlock, Segment


def curves(video: LabelledVideo, takes: Sequence[int]) -> list[Signals]:
    """One `Signals` per take, from the folder of the video where they were measured before."""
    paths = [video.path.with_name(f"{video.path.stem}.{_version()}-{take}.npz") for take in takes]
    if not all(p.exists() for p in paths):
        info = probe(video.path)
        segments = list(Reader(info, sampling_for(info)))
        for path, take in zip(paths, takes, strict=True):
            if not path.exists():
                seed = [zlib.crc32(video.spec.name.encode()), take]
                _keep(path, measure(retaken(segments, np.random.default_rng(seed)) if take else segments))
    return [_kept(p) for p in paths]


def _version() -> str:
    code = Path(__file__).read_bytes() + Path(signals.__file__).read_bytes()
    return hashlib.sha256(code).hexdigest()[:8]


def _keep(path: Path, measured: Signals) -> None:
    names, rows = list(measured.curves), np.array(list(measured.curves.values()))
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, first=measured.first, names=names, rows=rows)
    part.replace(path)


def _kept(path: Path) -> Signals:
    with np.load(path) as data:
        names = [str(n) for n in data["names"]]
        return Signals(int(data["first"]), dict(zip(names, data["rows"], strict=True)))


def retaken(segments: Sequence[Segment], rng: Generator) -> list[Segment]:
    """The same segments with their sound recorded some other way."""
    blocks = [b for s in segments for b in s.audio]
    if not blocks:
        return list(segments)
    sound = recorded_otherwise(np.concatenate([b.samples for b in blocks]), blocks[0].rate, rng)
    parts = iter(np.split(sound, np.cumsum([len(b.samples) for b in blocks])[:-1]))
    return [
        replace(s, audio=tuple(AudioBlock(b.start, b.rate, next(parts)) for b in s.audio)) for s in segments
    ]


def recorded_otherwise(sound: F32, rate: int, rng: Generator) -> F32:
    """Each of five things happens to the sound or not; then any loudness from -34 to -14 dBFS RMS."""
    scale = RATE / rate  # the filters think in the generator's own rate
    sound = unit(sound)
    if rng.random() < 0.5:
        tilt = float(rng.uniform(-3, 3))
        points = [(60 * 2**k * scale, tilt * (k - 4) + float(rng.uniform(-4, 4))) for k in range(9)]
        sound = shape(sound, points)
    if rng.random() < 0.35:
        floor = shape(noise(rng, len(sound)), [(100, 0), (10_000, float(rng.uniform(-40, 0)))])
        sound = sound + unit(floor) * np.float32(rms(sound) * 10 ** (-rng.uniform(8, 25) / 20))
    if rng.random() < 0.4:
        echo = convolve(sound, room(rng, float(rng.uniform(0.5, 2.5))))
        sound = sound + echo * np.float32(rng.uniform(0.4, 1.0))
    if rng.random() < 0.6:
        sound = compress(
            sound,
            threshold=20 * np.log10(rms(sound)) + float(rng.uniform(-6, 2)),
            ratio=float(rng.uniform(1.5, 4)),
            attack=float(rng.uniform(0.003, 0.3)),
            release=float(rng.uniform(0.1, 4)),
        )
    if rng.random() < 0.35:
        low, high = float(rng.uniform(60, 300)) * scale, float(rng.uniform(3200, 9000)) * scale
        sound = shape(sound, [(low / 4, -48), (low, 0), (high, 0), (2 * high, -60)])
    level = 10 ** (float(rng.choice([-34, -26, -20, -14])) / 20)
    return np.clip(unit(sound) * np.float32(level), -1, 1).astype(np.float32)
