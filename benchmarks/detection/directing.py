"""A plan's pictures: motion, cuts, light and darkness for every frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.detection.happening import Bump
from benchmarks.detection.labels import VideoSpec
from benchmarks.detection.plan import Plan, generator
from benchmarks.detection.synth.picture import STYLES, Directions, Style

FPS = 15

_LOOKS = {
    "calm-talk": "talk", "monotone-lecture": "lecture", "music-only": "music", "rain-only": "rain",
    "still-camera": "still", "market": "walking",
}  # fmt: skip


def style_of(spec: VideoSpec) -> Style:
    """The look of a scene."""
    return STYLES[_LOOKS.get(spec.scene, spec.scene)]


def directions(
    spec: VideoSpec, plan: Plan, speaking: NDArray[np.float64]
) -> tuple[Directions, dict[str, str]]:
    """Curves at FPS, and how dark and grainy it got."""
    rng = generator(spec, "picture")
    style = style_of(spec)
    count = round(plan.seconds * FPS)
    times = np.arange(count) / FPS
    dark = bool(rng.random() < (0.35 if spec.split == "report" else 0.25)) and spec.scene != "lecture"
    gain = float(rng.uniform(0.25, 0.5)) if dark else float(rng.uniform(0.75, 1.0))
    grain = float(rng.uniform(2.5, 6.0)) if dark else float(rng.choice([0.7, 1.5, 3.0]))
    todo = Directions(
        motion=_restless(rng, times, style) + _sum(times, [b for h in plan.happenings for b in h.motion]),
        shake=_sum(times, [b for h in plan.happenings for b in h.shake]),
        light=_sum(times, [b for h in plan.happenings for b in h.light]),
        gain=np.full(count, round(gain * 64) / 64),
        mouth=np.interp(times, np.arange(len(speaking)) / 100, speaking),
        black=_inside(times, [s for h in plan.happenings for s in h.black]),
        foreign=_inside(times, [s for h in plan.happenings for s in h.foreign]),
        cuts=_cuts(rng, plan, style, count),
        grain=grain,
    )
    return todo, {"brightness": f"{gain:.2f}", "grain": f"{grain:.1f}"}


def _sum(times: NDArray[np.float64], bumps: Sequence[Bump]) -> NDArray[np.float64]:
    total = np.zeros(len(times))
    for bump in bumps:
        a, b = np.searchsorted(times, (bump.begin, bump.gone + 0.1))
        total[a:b] += bump.values(times[a:b])
    return total


def _inside(times: NDArray[np.float64], spans: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    inside = np.zeros(len(times), bool)
    for a, b in spans:
        inside |= (times >= a) & (times < b)
    return inside


def _restless(rng: Generator, times: NDArray[np.float64], style: Style) -> NDArray[np.float64]:
    """Usual motion: 1, wandering between .4 and 2, with bursts of play that lead nowhere."""
    knots = np.arange(0, times[-1] + 8, 4.0)
    base = np.exp(np.interp(times, knots, rng.normal(-0.05, 0.28, len(knots))))
    for _ in range(rng.poisson(times[-1] / 60 * (1.2 if style.pan else 0.4))):
        at, length = rng.uniform(0, times[-1]), rng.uniform(1.5, 5)
        base += Bump(at, at + 0.5, at + length - 0.5, at + length, float(rng.uniform(0.3, 1.1))).values(times)
    return base


def _cuts(rng: Generator, plan: Plan, style: Style, count: int) -> NDArray[np.bool_]:
    cuts = np.zeros(count, bool)
    t = float(rng.exponential(style.shot_seconds))
    while t < plan.seconds:
        cuts[min(count - 1, int(t * FPS))] = True
        t += float(max(1.2, rng.gamma(2, style.shot_seconds / 2)))
    wanted = [t for h in plan.happenings for t in h.cuts]
    wanted += [b for h in plan.happenings for span in h.foreign for b in span]
    for at in wanted:
        if 0 <= at < plan.seconds:
            cuts[min(count - 1, int(at * FPS))] = True
    return cuts
