"""Loops of made-up music: chords, bass, drums, a tune. Unit RMS."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmarks.detection.synth.dsp import F32, RATE, add, band, noise, samples, shape, unit

STYLES_TUNE = ("pop", "ambient", "rock")
STYLES_REPORT = ("techno", "orchestral", "jazz")

_PROGRESSIONS = ((0, 7, 9, 5), (0, 5, 7, 0), (9, 5, 0, 7), (0, 3, 10, 5))
_SCALE = (0, 2, 4, 7, 9, 12, 14)
# style: (tempo, drum gain, bass gain, chord gain, tune gain, brightness dB per octave)
_MIX = {
    "pop": ((95, 125), 0.8, 0.7, 0.5, 0.4, -7),
    "ambient": ((60, 80), 0.0, 0.3, 1.0, 0.3, -9),
    "rock": ((120, 150), 1.1, 0.8, 0.9, 0.3, -4),
    "techno": ((126, 138), 1.4, 0.9, 0.4, 0.3, -5),
    "orchestral": ((70, 110), 0.2, 0.5, 1.0, 0.7, -8),
    "jazz": ((110, 160), 0.5, 0.8, 0.4, 0.6, -8),
}


def tone(frequency: float, seconds: float, *, tilt: float, attack: float, decay: float) -> F32:
    """A note of up to 14 harmonics that fall by `tilt` dB an octave."""
    t = np.arange(samples(seconds), dtype=np.float32) / RATE
    out = np.zeros(len(t), np.float32)
    for k in range(1, 15):
        if k * frequency > 9000:
            break
        out += np.float32(10 ** (tilt * np.log2(k) / 20)) * np.sin(2 * np.pi * k * frequency * t + k).astype(
            np.float32
        )
    return out * np.minimum(1, t / attack) * np.exp(-t / decay) * np.minimum(1, (seconds - t) / 0.03)


def loop(rng: Generator, style: str, bars: int = 8) -> F32:
    """`bars` bars of four beats, to be repeated."""
    tempo, drums, bass, chords, tune, tilt = _MIX[style]
    beat = 60 / rng.uniform(*tempo)
    root = 220 * 2 ** (rng.integers(-5, 7) / 12)
    progression = _PROGRESSIONS[int(rng.integers(len(_PROGRESSIONS)))]
    out = np.zeros(samples(bars * 4 * beat), np.float32)
    kit = _kit(rng)
    for bar in range(bars):
        at, step = bar * 4 * beat, progression[bar % 4]
        third = 3 if step in (9, 3) else 4
        for part in (0, third, 7, 12):
            f = root * 2 ** ((step + part) / 12)
            add(
                out,
                at,
                tone(f, 4 * beat, tilt=tilt, attack=0.05 + 0.3 * (drums < 0.3), decay=3),
                0.3 * chords,
            )
        for k in range(8):
            f = root / 4 * 2 ** (step / 12)
            add(out, at + k * beat / 2, tone(f, beat / 2, tilt=-6, attack=0.01, decay=0.4), 0.5 * bass)
            if rng.random() < 0.6:
                f = root * 2 * 2 ** ((step + int(rng.choice(_SCALE)) - 12) / 12)
                add(
                    out, at + k * beat / 2, tone(f, beat * 0.9, tilt=-10, attack=0.02, decay=0.5), 0.45 * tune
                )
            add(out, at + k * beat / 2, kit["hat"], 0.25 * drums)
        for k in range(4):
            if style == "techno" or k % 2 == 0:
                add(out, at + k * beat, kit["kick"], 1.4 * drums)
            if k % 2 == 1:
                add(out, at + k * beat, kit["snare"], 0.7 * drums)
    return unit(out)


def _kit(rng: Generator) -> dict[str, F32]:
    t = np.arange(samples(0.25), dtype=np.float32) / RATE
    kick = np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-t / 0.02)))).astype(np.float32) * np.exp(-t / 0.08)
    snare = band(noise(rng, len(t)), 180, 7000, 9) * np.exp(-t / 0.07)
    hat = band(noise(rng, len(t)), 6000, 14_000) * np.exp(-t / 0.03)
    return {"kick": kick, "snare": snare, "hat": hat}


def play(rng: Generator, style: str, seconds: float) -> F32:
    """`seconds` of music: a loop, its parts now and then filtered, with a break."""
    one = loop(rng, style)
    size = samples(seconds)
    out = np.tile(one, size // len(one) + 1)[:size]
    for first in range(len(one), size, len(one)):  # no two repetitions alike
        lift = rng.uniform(-5, 3)
        out[first : first + len(one)] = shape(
            out[first : first + len(one)], [(100, rng.uniform(-4, 2)), (800, 0), (6000, lift)]
        )
    return unit(out)


def jingle(rng: Generator, seconds: float) -> F32:
    """A signature tune: bright arpeggio and a final chord."""
    out = np.zeros(samples(seconds), np.float32)
    root = 330 * 2 ** (rng.integers(-4, 5) / 12)
    step = seconds / 9
    for k in range(6):
        f = root * 2 ** (int(rng.choice(_SCALE)) / 12)
        add(out, k * step, tone(f, step * 1.5, tilt=-5, attack=0.005, decay=0.3))
    for part in (0, 4, 7, 12):
        add(out, 6 * step, tone(root * 2 ** (part / 12), 3 * step, tilt=-5, attack=0.01, decay=0.8), 0.6)
    return unit(out)


def fanfare(rng: Generator, seconds: float) -> F32:
    """What a game plays when a round is won."""
    out = jingle(rng, seconds)
    hit = band(noise(rng, samples(1.0)), 100, 6000) * np.exp(-np.arange(RATE, dtype=np.float32) / RATE / 0.3)
    add(out, 0, hit, 1.0)
    return unit(out)
