"""The `signals` analyzer: curves become dimensions and one curve of worth, with no model and no network.

What carries the information is measured in `docs/detection.md`. In short: a moment is loud *against both
its sides in at least two bands at once*, sounds like people rather than like machines, music or weather,
and the picture agrees. The pieces multiply, none is ever a hard zero.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from tldr_highlight.analysis.base import STEP, Analysis, Curve, Event, Evidence, clock
from tldr_highlight.analysis.fusion import Row, fused, standardised
from tldr_highlight.analysis.moments import (
    REACTION_LEAD,
    REACTION_TAIL,
    SUPPRESSION,
    peaks,
    region,
)
from tldr_highlight.analysis.rolling import (
    contrast,
    highest,
    mean,
    over_baseline,
    rank,
    sigmoid,
    steps,
)
from tldr_highlight.analysis.signals import Signals

BANDS = ("low", "mid", "high")


@dataclass(frozen=True, slots=True)
class Features:
    """What the fusion sees, per step; NaN where unknown. Names as in `features`."""

    values: dict[str, Curve]

    def __getitem__(self, name: str) -> Curve:
        return self.values[name]


def features(signals: Signals) -> Features:
    """Everything that needs surroundings, computed once; what each is there for is in `docs/detection.md`."""
    c = signals.curves
    out: dict[str, Curve] = {}
    slow = np.array([contrast(c[b], 3.0, 18.0, 6.0) for b in BANDS])
    fast = np.array([contrast(c[b], 1.5, 12.0, 3.0) for b in BANDS])
    for i, band in enumerate(BANDS):
        out[f"{band}_slow"], out[f"{band}_fast"] = slow[i], fast[i]
    silent = highest(c["peak"], 60.0, 60.0) < INAUDIBLE
    out["slow"] = np.where(silent, np.nan, np.sort(slow, axis=0)[1])  # a rise in at least two of three bands
    out["fast"] = np.where(silent, np.nan, np.sort(fast, axis=0)[1])
    out["excess"] = np.sort(np.array([_excess(c[b]) for b in BANDS]), axis=0)[1]
    out["attack"] = np.sort(np.array([_attack(c[b]) for b in BANDS]), axis=0)[1]
    # Engines and thumps rise below; how far applause and shouts rise above them says nothing.
    out["balance"] = np.clip(out["mid_slow"] - out["low_slow"], -BALANCED, BALANCED)
    out["floor"] = contrast(c["floor"], 1.5, 12.0, 3.0)
    spread = rank(out["mid_slow"], -steps(90), steps(90) + 1, 0.84, 8)
    spread -= rank(out["mid_slow"], -steps(90), steps(90) + 1, 0.5, 8)
    out["mid_z"] = out["mid_slow"] / np.maximum(spread, 0.8)
    compared = ("tonality", "flatness", "voiced", "wobble", "ha", "syllables")
    for name in (*compared, "stability", "fill", "glide", "clipped"):
        out[name] = mean(c[name], 3.0)
    for name in compared:
        out[f"d_{name}"] = out[name] - rank(c[name], -steps(60), steps(60) + 1, 0.5, 8)
    out["hiss"] = mean(c["air"] - c["mid"], 3.0)
    out["d_hiss"] = out["hiss"] - rank(c["air"] - c["mid"], -steps(60), steps(60) + 1, 0.5, 8)
    out["hissing"] = np.maximum(out["d_hiss"], 0.0)  # dull sounds are no better than usual ones
    out["pitch"] = over_baseline(c["pitch"], 2.0, 120.0, 0.12)
    out["pitch_fast"] = over_baseline(c["pitch"], 1.0, 120.0, 0.12)
    out["level"] = over_baseline(c["loudness"], 3.0, 120.0, 2.0)
    out["motion"] = contrast(np.log2(c["motion"] + 0.3), 2.0, 15.0, 3.0)
    out["motion_near"] = highest(out["motion"], 4.0, 1.5)
    out["cut_burst"] = mean(c["cuts"], 6.0) - mean(c["cuts"], 120.0)
    flicker = np.log2(highest(c["flash"], 1.0, 1.0) + FLICKER)
    out["flash"] = np.maximum(contrast(flicker, 2.0, 15.0, 3.0), 0.0)  # that none flashes here says nothing
    stir = np.log2(c["stir"] + STILL)
    out["stir"] = contrast(stir, 1.5, 12.0, 2.5)
    out["stir_near"] = highest(out["stir"], 4.0, 1.5)
    begun = np.isfinite(rank(stir, -steps(18), -steps(3), 0.6, steps(5)))  # what opens a film is no change
    out["stir_wide"] = np.where(begun, contrast(stir, 2.5, 15.0, 3.0, 0.6), np.nan)
    out["stands_out"] = np.minimum(out["stir"], ROUTINE * out["stir_wide"] / _usual_spread(out["stir_wide"]))
    out["lively"] = mean(np.log2(c["stir"] + 0.03), 2.0)
    out["tremble"] = mean(c["tremble"], 3.0)
    out["cutting"] = np.maximum(mean(c["shots"], 12.0) - mean(c["shots"], 120.0) - 0.1, 0.0)
    out["moved"] = np.where(np.isfinite(rise(Features(out))), out["motion"], out["stir"])
    out["advert"] = _adverts(c["brightness"], c["detail"])
    return Features(out)


BALANCED = 3.0
"""dB by which the middle rises more than the low band, beyond which more of it says no more.

Unbounded, `balance` and `hissing` let the table learn the spectrum of the crowds it was fitted on: on real
recordings, which took no part in the fit, average precision was .76, and is .80 with bounds.
"""

FLICKER = 0.3
"""Gray levels by which the brightness of any picture jumps within a second."""

STILL = 0.06
"""Share of a picture's contrast by which grain and leaves differ: twice of nothing is nothing."""

ROUTINE = 0.7
"""Doublings that a rise counts for each time it is as high as the minutes around rise at their highest tenth:
where somebody walks past every twenty seconds, one more who does counts little."""

INAUDIBLE = -80.0
"""dB below which a minute of sound on both sides is nothing that is heard: tracks of silence are common."""


def _usual_spread(curve: Curve) -> Curve:
    """From the middle to the highest tenth of three minutes, no less than a quarter.

    What is not known, before the beginning and behind the end, does not rise: else a short film's only moment
    would be what it is used to.
    """
    reach = steps(100)
    known = np.pad(np.nan_to_num(curve), reach)
    middle, high = (rank(known, -reach, reach + 1, share, 8)[reach:-reach] for share in (0.5, 0.9))
    return np.maximum(high - middle, 0.25)


def _excess(curve: Curve) -> Curve:
    """How far a second of sound stands above both sides: the contrast, as short as borders need it."""
    return contrast(curve, 1.0, 18.0, 6.0)


def _attack(curve: Curve) -> Curve:
    """dB: the largest rise within 1.5 s in the 4 s before a step: traffic, wind and drifts have none.

    Above the usual level of two minutes only: the first word after a pause rises by 40 dB and is none either.
    """
    second = mean(np.fmax(curve, rank(curve, -steps(60), steps(60) + 1, 0.5, 8)), 1.0)
    risen = np.full_like(second, np.nan)
    risen[3:] = second[3:] - second[:-3]
    return highest(risen, 4.0, 1.0)


def _adverts(brightness: Curve, detail: Curve) -> Curve:
    """1 between two black pictures 8-90 s apart, else 0: commercial breaks start and end in black."""
    black = (brightness < 24) & (detail < 6)
    starts = np.flatnonzero(black)
    inside = np.zeros(len(black))
    for a, b in itertools.pairwise(starts.tolist()):
        if steps(8) <= b - a <= steps(90):
            inside[a : b + 1] = 1.0
    return inside


KNOWN = ("action_intensity", "crowd_reaction", "speech_excitement", "humor", "scene_energy", "emotional_peak")
"""The dimensions that signals can judge; all others are unknown."""


def kinds(f: Features) -> dict[str, Curve]:
    """What kind of thing each step sounds and looks like, 0..1 each; evidence and dimensions come from these.

    `hand` is the hand-set fusion of them all as a logit:
    `1 - (1 - loud * gate * (.5 + .5 * support)) * (1 - .5 * voice) * (1 - .5 * laugh * gate)`.
    """
    loud = np.fmax(sigmoid(f["slow"], 4.0, 1.1), sigmoid(0.8 * f["fast"], 4.2, 1.1))
    gate = _gate(f)
    crowd = (
        sigmoid(f["flatness"], 0.12, 0.04)
        * sigmoid(f["fill"], 0.75, 0.06)
        * sigmoid(-f["stability"], -0.45, 0.06)
    )
    voice = (
        sigmoid(f["pitch"], 1.6, 0.45)
        * sigmoid(f["voiced"], 0.45, 0.08)
        * sigmoid(f["level"], 0.6, 0.3)
        * sigmoid(f["glide"], 0.25, 0.08)
    )
    laugh = sigmoid(f["ha"], 0.42, 0.05) * sigmoid(f["slow"], 2.0, 0.8) * sigmoid(f["d_flatness"], 0.0, 0.03)
    motion = sigmoid(f["moved"], 0.7, 0.25)
    cuts = sigmoid(f["cut_burst"], 0.12, 0.04)
    doubts = [
        1 - weight * np.nan_to_num(highest(part, 2.0, 2.0))
        for part, weight in ((crowd, 1), (voice, 1), (laugh, 1), (motion, 0.8), (cuts, 0.4))
    ]
    support = 1 - np.prod(doubts, axis=0)
    sound = np.nan_to_num(loud) * gate * (0.5 + 0.5 * support)
    odds = 1 - (1 - sound) * (1 - 0.5 * np.nan_to_num(voice)) * (1 - 0.5 * np.nan_to_num(laugh) * gate)
    return {
        "loud": loud, "gate": gate, "crowd": crowd, "voice": voice, "laugh": laugh, "motion": motion,
        "cuts": cuts, "hand": _logit(odds),
    }  # fmt: skip


def _logit(odds: Curve) -> Curve:
    clipped = np.clip(odds, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))


def _gate(f: Features) -> Curve:
    """How much a rise sounds like people and action, 0..1: the product of doubts about its kind."""
    tonal = 1 - 0.85 * sigmoid(f["tonality"], 0.62, 0.05) * sigmoid(f["stability"], 0.42, 0.06)
    hiss = 1 - 0.8 * sigmoid(f["hiss"], 2.0, 2.0) * sigmoid(f["d_hiss"], 4.0, 1.5)
    knocks = 0.25 + 0.75 * sigmoid(f["fill"], 0.42, 0.06)
    machine = 1 - 0.6 * sigmoid(-f["wobble"], -0.9, 0.2)
    clipped = 1 - 0.4 * sigmoid(f["clipped"], 0.5, 0.15)
    return np.nan_to_num(tonal * hiss * knocks * machine * clipped, nan=0.5)


TEXTURE = ("mid", "centroid", "flux", "flatness", "stability", "motion", "brightness", "detail")
"""What a replay has in common with what it repeats. Two different roars share the swell, not its grain."""

CONTEXT = 150.0
"""Seconds on both sides of a stretch that its results depend on; more changes nothing."""


def analyse(signals: Signals, inside: tuple[float, float] | None = None) -> Analysis:
    """Worth, dimensions and events of a stretch of curves, or of the part `inside` it (media seconds).

    A part with `CONTEXT` seconds of curves on both sides gets what it would get within the whole source.
    """
    f = features(signals)
    parts = kinds(f)
    worth = _worth(f, parts)
    dimensions = _dimensions(f, parts)
    events = _events(signals.first, f, parts, worth, dimensions)
    c = signals.curves
    texture = np.stack([c[n] for n in TEXTURE], axis=1)
    cuts = np.nan_to_num(c["cuts"])
    whole = Analysis(signals.first, worth, dimensions, events, c["loudness"], cuts, texture)
    return whole if inside is None else _part(whole, inside)


def _part(whole: Analysis, inside: tuple[float, float]) -> Analysis:
    start, end = inside
    keep = slice(max(0, round(start / STEP) - whole.first), max(0, round(end / STEP) - whole.first))
    return Analysis(
        whole.first + keep.start,
        whole.worth[keep],
        {n: v[keep] for n, v in whole.dimensions.items()},
        tuple(e for e in whole.events if start <= e.peak < end),
        whole.loudness[keep],
        whole.cuts[keep],
        whole.texture[keep],
    )


def _worth(f: Features, parts: dict[str, Curve]) -> Curve:
    """Logit of a moment around each step: by the fitted table where there is sound, by pictures where not."""
    heard = np.isfinite(rise(f))
    worth = np.where(heard, fused(f.values | {"hand": parts["hand"], "gate": parts["gate"]}), _seen(f))
    return np.where(f["advert"] > 0, worth - ADVERT, worth)


def _seen(f: Features) -> Curve:
    """Logit from the picture alone."""
    parts = [r.weight * standardised(f[r.name], r.middle, r.width, SEEN_SMOOTHING) for r in SEEN]
    return SEEN_EVEN + np.sum(parts, axis=0)


SEEN = (
    Row("stands_out", 0.34, 0.40, 0.32),
    Row("lively", -1.83, 1.2, 0.40),
    Row("tremble", 0.265, 0.147, -0.34),
    Row("cutting", 0.0, 0.03, -0.55),
)
"""How much speaks for a moment where nothing is heard; what each is worth is in `docs/detection.md`."""

SEEN_SMOOTHING = 1.5
"""Seconds: pictures need no syllables to pass."""

SEEN_EVEN = -0.5
"""Logits of a middling proposal."""

ADVERT = 2.2
"""Logits taken off between black pictures: odds of one tenth."""


def rise(f: Features) -> Curve:
    """dB by which two bands stand above both sides; where events are looked for, NaN without sound."""
    return np.fmax(f["slow"], 0.8 * f["fast"])


def proposals(f: Features) -> list[int]:
    """Steps at which something may have happened, the largest rise first, `APART` seconds apart."""
    heard = rise(f)
    curve = np.where(np.isfinite(heard), heard, SILENT_RISE * f["stir_wide"])
    taken: list[int] = []
    for top in peaks(curve, LEAST_RISE, LEAST_RISE):
        if all(abs(top - other) >= steps(APART) for other in taken):
            taken.append(top)
    return taken


LEAST_RISE = 0.3
"""dB above both sides, and above the saddle to a higher peak."""

SILENT_RISE = 1.5
"""dB that a doubling of what stirs counts as, where there is no sound."""

APART = 4.0


def _dimensions(f: Features, part: dict[str, Curve]) -> dict[str, Curve]:
    """Fixed sigmoids, so that two files compare. Where neither sound nor picture was there: NaN."""
    stands_out = sigmoid(rise(f), 2.2, 0.9) * part["gate"]
    heard, seen = np.isfinite(stands_out), np.isfinite(part["motion"])
    crowd = part["crowd"] * stands_out
    pitch = sigmoid(np.fmax(f["pitch"], f["pitch_fast"]), 1.1, 0.4)
    voice = np.nan_to_num(pitch * sigmoid(f["voiced"], 0.35, 0.08) * sigmoid(f["level"], 0.3, 0.3))
    laugh = sigmoid(f["ha"], 0.36, 0.05) * stands_out * sigmoid(f["d_flatness"], 0.0, 0.03)
    action = 1 - (1 - np.nan_to_num(part["motion"])) * (1 - 0.6 * np.nan_to_num(part["cuts"]))
    energy = np.nan_to_num(0.85 * stands_out) + 0.15 * np.nan_to_num(part["cuts"])
    return {
        "action_intensity": np.where(seen, action, np.nan),
        "crowd_reaction": np.where(heard, crowd, np.nan),
        "speech_excitement": np.where(heard, voice, np.nan),
        "humor": np.where(heard, np.nan_to_num(0.9 * laugh), np.nan),
        "scene_energy": np.where(heard | seen, energy, np.nan),
        "emotional_peak": np.where(heard, np.sqrt(voice * np.nan_to_num(stands_out)), np.nan),
    }


REGION_SHARE = 0.3
"""Share of its height, in dB above both sides, down to which a region reaches."""

REFINED = 3.0
"""Seconds around a proposal in which an event's peak is looked for: what was weighed is near it, not where
a long region is loudest."""

FLOOR = -3.0
"""Logit below which nothing is an event, whatever the threshold: odds of one in twenty."""


def _events(
    first: int, f: Features, parts: dict[str, Curve], worth: Curve, dimensions: dict[str, Curve]
) -> tuple[Event, ...]:
    """Proposals with their borders, best first; weaker ones close to a stronger one belong to it."""
    taken: list[tuple[int, int]] = []
    events: list[Event] = []
    heard = np.isfinite(rise(f))
    room = steps(SUPPRESSION)
    for top in sorted(proposals(f), key=lambda t: (-worth[t], t)):
        if worth[top] < FLOOR:
            break
        if any(a - room <= top <= b + room for a, b in taken):
            continue
        excess = f["excess"] if heard[top] else f["stir"]
        a, b = region(excess, top, REGION_SHARE, 1.2 if heard[top] else 0.3)
        taken.append((a, b))
        part = slice(a, b + 1)
        near = slice(max(a, top - steps(REFINED)), min(b, top + steps(REFINED)) + 1)
        best = near.start + int(np.argmax(np.nan_to_num(excess[near], nan=-np.inf)))
        peak = (first + best + 0.5) * STEP
        values = {n: float(np.nanmax(v[part])) for n, v in dimensions.items() if np.isfinite(v[part]).any()}
        events.append(
            Event(
                start=max(0.0, (first + a) * STEP - REACTION_LEAD),
                peak=peak,
                end=(first + b + 1) * STEP + REACTION_TAIL,
                worth=float(worth[top]),
                confidence=_confidence(f, top),
                dimensions=values,
                evidence=_evidence(f, parts, part, peak),
            )
        )
    return tuple(sorted(events, key=lambda e: e.start))


def _confidence(f: Features, top: int) -> float:
    """How much of what could be judged was: sound is most of it, picture the rest."""
    heard, seen = np.isfinite(f["slow"][top]), np.isfinite(f["motion"][top])
    return 0.65 * float(heard) + 0.3 * float(seen)


def _evidence(f: Features, part: dict[str, Curve], at: slice, peak: float) -> tuple[Evidence, ...]:
    """Sentences for what spoke for the event, the strongest first; at least one."""

    def top(curve: Curve) -> float:
        values = curve[at]
        return float(np.nanmax(values)) if np.isfinite(values).any() else -np.inf

    rising, level = top(rise(f)), top(f["level"])
    above = f", {level:.1f} σ over the minutes around" if level >= 1 else ""
    pitch, motion, ha = top(np.fmax(f["pitch"], f["pitch_fast"])), top(f["moved"]), top(f["ha"])
    crowd = top(part["crowd"]) if rising > 1 else 0.0
    sentences = [
        (crowd, 0.5, "crowd_reaction", f"crowd noise {rising:.1f} dB above both sides{above}"),
        (0.9 * top(part["loud"]), 0.3, "scene_energy", f"sound {rising:.1f} dB above both sides{above}"),
        (pitch / 3, 0.4, "speech_excitement", f"voice {pitch:.1f} σ higher than in the minutes around"),
        (ha, 0.4, "humor", f"a rhythm of laughter: {ha:.0%} of the swing at 4-6.5 Hz"),
        (motion / 2, 0.4, "action_intensity", f"{2**motion:.1f} times the motion of both sides"),
        (top(part["cuts"]), 0.5, "scene_energy", "cuts follow faster than in the minutes around"),
    ]
    strong = sorted((s for s in sentences if s[0] >= s[1]), key=lambda s: -s[0])
    if not strong:
        strong = [max(sentences, key=lambda s: s[0] - s[1])]
    return tuple(Evidence(name, round(peak, 2), f"{text} at {clock(peak)}") for _, _, name, text in strong)
