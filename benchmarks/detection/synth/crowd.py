"""Many people: the murmur that never rests, roars, groans, applause, laughing audiences, chants.

All give unit RMS over their loud part unless said otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmarks.detection.synth import voice
from benchmarks.detection.synth.dsp import (
    F32,
    RATE,
    add,
    band,
    curve,
    noise,
    repitch,
    rms,
    samples,
    shape,
    unit,
    wander,
)


def bed(rng: Generator, seconds: float, *, voices: int = 24, hiss: float = 0.8) -> F32:
    """Stadium or street murmur: babble, and noise whose bands wander each on its own; never at rest."""
    size = samples(seconds)
    out = voice.babble(rng, seconds, voices)
    bands = ((150, 450, 0.5), (450, 900, 0.6), (900, 1800, 0.4), (1800, 4500, 0.18), (4500, 11_000, 0.06))
    for low, high, gain in bands:
        part = unit(band(noise(rng, size), low, high, 12))
        swing = 1.6 * wander(rng, size, 1.5) + 1.6 * wander(rng, size, 9.0)
        out += part * 10 ** (swing / 20) * np.float32(gain * hiss)
    return unit(out * 10 ** ((1.2 * wander(rng, size, 14.0)) / 20))


def _swell(attack: float, hold: float, decay: float) -> list[tuple[float, float]]:
    """Rise, plateau and a fall of 20 dB that is slow at first, as points for `curve`."""
    top = attack + hold
    return [
        (0, -30), (0.4 * attack, -9), (attack, 0), (top, -1), (top + 0.35 * decay, -6),
        (top + 0.7 * decay, -13), (top + decay, -24), (top + 1.3 * decay, -70),
    ]  # fmt: skip


def roar(
    rng: Generator, attack: float, hold: float, decay: float, *, people: int = 36, claps: float = 0.3
) -> F32:
    """A crowd that cheers: voices gliding up, noise, whistling and clapping, swelling and dying down."""
    seconds = attack + hold + 1.3 * decay
    size = samples(seconds)
    cheer = voice.choir(rng, people, seconds, glide=rng.uniform(-0.35, -0.05))
    wash = shape(
        noise(rng, size),
        [(100, -24), (400, -6), (800, 0), (1600, -2), (3500, -9), (7000, -20), (14_000, -34)],
    )
    out = 0.8 * cheer + unit(wash) * 10 ** (0.8 * wander(rng, size, 0.8) / 20)
    for _ in range(int(rng.integers(0, 4))):
        add(out, rng.uniform(0.5, 1) * attack + rng.uniform(0, hold), finger_whistle(rng), 0.5)
    if claps:
        out += np.float32(claps) * applause(rng, seconds, people * 3)
    return unit_core(out) * curve(_swell(attack, hold, decay), size)


def groan(rng: Generator, hold: float, decay: float) -> F32:
    """ "Ooooh": a chance missed; pitch and level fall after a quick rise."""
    seconds = 0.4 + hold + 1.3 * decay
    size = samples(seconds)
    low = voice.choir(rng, 30, seconds, vowels=("o", "u", "U"), glide=-0.5, effort=0.7)
    wash = unit(shape(noise(rng, size), [(100, -20), (350, 0), (700, 0), (1500, -10), (4000, -24)]))
    return unit_core(low + 0.6 * wash) * curve(_swell(0.4, hold, decay), size)


def gasp(rng: Generator, people: int = 20) -> F32:
    """An audience draws breath, then murmurs "oh"."""
    out = np.zeros(samples(2.6), np.float32)
    for _ in range(people):
        breath = shape(noise(rng, samples(0.5)), [(300, -18), (1200, 0), (2600, -3), (6000, -14)])
        breath *= np.hanning(len(breath)).astype(np.float32) ** 0.6
        add(out, rng.gamma(2, 0.06), breath, rng.uniform(0.4, 1))
    oh = voice.choir(rng, people, 1.9, vowels=("o", "u"), glide=-0.3, effort=0.5)
    add(out, 0.6, oh * curve([(0, -30), (0.25, 0), (0.8, -3), (1.9, -40)], len(oh)), 1.2 * rms(out[:25_000]))
    return unit_core(out)


def applause(rng: Generator, seconds: float, people: int, *, together: float = 0.0) -> F32:
    """Every clap a few milliseconds of noise with a ring of its own, 2.5-5 a second per person.

    Peltola et al. (2007), synthesis of hand clapping: resonances 500-2800 Hz. `together` 0..1 makes
    them clap in time. Beyond 60 people the rest is noise with the spectrum of the claps.
    """
    size = samples(seconds)
    out = np.zeros(size + 4000, np.float32)
    beat = rng.uniform(1.8, 2.6)
    for _ in range(min(people, 60)):
        clap = _clap(rng)
        rate = rng.uniform(2.6, 4.8)
        t = rng.uniform(0, 1 / rate)
        gain = rng.lognormal(0, 0.6)
        while t < seconds:
            at = t if not together else (np.round(t * beat) / beat + rng.normal(0, 0.03) + 0.1)
            first = min(max(0, samples(at)), size)
            out[first : first + len(clap)] += clap * np.float32(gain * rng.uniform(0.5, 1))
            t += max(0.12, rng.normal(1 / (beat if together else rate), 0.025))
    out = unit(out[:size])
    if people > 60:
        wash = shape(
            noise(rng, size), [(200, -26), (700, -4), (1300, 0), (2600, -1), (6000, -8), (12_000, -18)]
        )
        out += unit(wash) * np.float32(min(1.6, people / 120))
    return unit(out)


def _clap(rng: Generator) -> F32:
    size = samples(0.035)
    t = np.arange(size, dtype=np.float32) / RATE
    centre = rng.uniform(600, 2600)
    burst = noise(rng, size) * np.exp(-t / rng.uniform(0.003, 0.009))
    width = rng.uniform(0.3, 0.8)
    body = shape(
        burst,
        [(80, -30), (centre * (1 - width / 2), -3), (centre, 4), (centre * (1 + width), -3), (14_000, -18)],
    )
    return unit(body)


def clapping(rng: Generator, seconds: float, people: int) -> F32:
    """Applause that sets in within half a second and thins out at the end."""
    size = samples(seconds)
    attack = rng.uniform(0.4, 1.0)
    points = [(0, -18), (attack, 0), (seconds * 0.55, -1), (seconds * 0.8, -7), (seconds, -26)]
    return applause(rng, seconds, people) * curve(points, size)


def laughter(rng: Generator, seconds: float, people: int) -> F32:
    """An audience laughs: bouts of many persons, most of them at once, the loudest first."""
    size = samples(seconds)
    out = np.zeros(size + samples(4), np.float32)
    pool = [voice.laugh(rng, voice.speaker(rng), rng.uniform(1.8, 3.2)) for _ in range(min(people, 9))]
    for k in range(people):
        one = repitch(pool[k % len(pool)], rng.uniform(0.85, 1.2))
        at = rng.gamma(1.6, 0.22) if k < 0.7 * people else rng.uniform(0, max(0.3, seconds - 2.2))
        add(out, at, one, rng.lognormal(-0.3, 0.5))
    points = [(0, -10), (0.3, -1), (0.8, 0), (seconds * 0.5, -2), (seconds * 0.8, -9), (seconds, -30)]
    return unit_core(out[:size]) * curve(points, size)


def chant(rng: Generator, seconds: float, *, tempo: float = 0.0, drums: bool = True) -> F32:
    """Fans sing two or three notes over and over, with a drum: loud, but nothing happens."""
    tempo = tempo or rng.uniform(1.5, 2.2)
    size = samples(seconds)
    out = np.zeros(size + samples(2), np.float32)
    pattern = rng.choice([1.0, 1.0, 0.8, 0.5], 8)
    pattern[0] = 1.0
    syllables = [voice.choir(rng, 18, 0.9 / tempo, spread=0.12, effort=0.6) for _ in range(3)]
    drum = _drum()
    for k in range(int(seconds * tempo)):
        at = k / tempo + rng.normal(0, 0.01)
        if pattern[k % 8] and at >= 0:
            one = syllables[k % 3]
            one = one * np.hanning(len(one)).astype(np.float32) ** 0.3
            add(out, at, one, float(pattern[k % 8]))
        if drums and at >= 0:
            add(out, at, drum, 0.8 if k % 4 == 0 else 0.4)
    out += bed_noise(rng, len(out)) * np.float32(0.35)  # not everybody sings in time
    ramp = min(1.5, seconds / 5)
    points = [(0, -12), (ramp, 0), (seconds - ramp, 0), (seconds, -30)]
    return unit_core(out[:size]) * curve(points, size)


def bed_noise(rng: Generator, size: int) -> F32:
    """Far-off voices as noise."""
    return unit(shape(noise(rng, size), [(100, -20), (350, 0), (900, 0), (2500, -12), (8000, -30)]))


def _drum() -> F32:
    t = np.arange(samples(0.35), dtype=np.float32) / RATE
    return np.sin(2 * np.pi * (70 * t + 8 * (1 - np.exp(-t / 0.03)))).astype(np.float32) * np.exp(-t / 0.09)


def finger_whistle(rng: Generator) -> F32:
    """Two fingers in the mouth: a loud glide around 2-3 kHz."""
    seconds = rng.uniform(0.4, 0.9)
    t = np.arange(samples(seconds), dtype=np.float32) / RATE
    f = rng.uniform(1900, 2900) * 2 ** (rng.uniform(-0.2, 0.4) * np.sin(np.pi * t / seconds))
    tone = np.sin(2 * np.pi * np.cumsum(f) / RATE).astype(np.float32)
    return tone * np.hanning(len(t)).astype(np.float32) ** 0.4


def unit_core(sound: F32) -> F32:
    """Brought to RMS 1 over its loudest half second to second: tails do not count."""
    hop = samples(0.25)
    if len(sound) < 2 * hop:
        return unit(sound)
    power = np.mean(sound[: len(sound) // hop * hop].reshape(-1, hop) ** 2, axis=1)
    top = np.sort(power)[-max(1, len(power) // 3) :]
    return sound / np.float32(np.sqrt(top.mean()) + 1e-7)
