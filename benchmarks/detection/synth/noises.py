"""Things that make noise: weapons, machines, alarms, weather, animals, microphones.

Unit RMS over the loud part, mono, unless said otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmarks.detection.synth import voice
from benchmarks.detection.synth.crowd import unit_core
from benchmarks.detection.synth.dsp import (
    F32,
    RATE,
    add,
    band,
    curve,
    fade,
    noise,
    ring,
    samples,
    shape,
    unit,
    wander,
)


def _time(seconds: float) -> F32:
    return np.arange(samples(seconds), dtype=np.float32) / RATE


def sweep(frequency: F32, harmonics: int = 6, tilt: float = -6.0) -> F32:
    """A tone whose frequency is given for every sample."""
    phase = 2 * np.pi * np.cumsum(frequency, dtype=np.float64) / RATE
    out = np.zeros(len(frequency), np.float32)
    for k in range(1, harmonics + 1):
        out += np.float32(10 ** (tilt * np.log2(k) / 20)) * np.sin(k * phase).astype(np.float32)
    return out


# --- bangs ---------------------------------------------------------------------------------------------


def bang(rng: Generator, decay: float = 0.12, *, dull: float = 0.0) -> F32:
    """A shot or a slam: a crack, then noise that loses its highs as it dies; `dull` 0..1."""
    t = _time(decay * 6)
    body = shape(noise(rng, len(t)), [(60, 0), (250, 2), (1500, -4 - 14 * dull), (8000, -16 - 30 * dull)])
    crack = band(noise(rng, len(t)), 800, 9000) * np.exp(-t / 0.012) * (1 - dull)
    return unit_core(body * np.exp(-t / decay) + crack)


def gunfire(rng: Generator, seconds: float, rate: float = 9.0) -> F32:
    """Bursts of shots from a few weapons with pauses."""
    out = np.zeros(samples(seconds + 1), np.float32)
    guns = [bang(rng, rng.uniform(0.04, 0.12), dull=rng.uniform(0, 0.4)) for _ in range(3)]
    t = 0.0
    while t < seconds:
        gun, pace, gain = guns[int(rng.integers(3))], rate * rng.uniform(0.7, 1.2), rng.uniform(0.5, 1)
        for _ in range(int(rng.integers(3, 10))):
            if t < seconds:
                add(out, t, gun, gain * rng.uniform(0.8, 1))
            t += 1 / pace
        t += rng.exponential(0.35)
    return unit_core(out[: samples(seconds)])


def explosion(rng: Generator, decay: float = 0.9) -> F32:
    """A deep boom with debris."""
    t = _time(decay * 4.5)
    boom = shape(noise(rng, len(t)), [(30, 4), (90, 4), (400, 0), (1500, -9), (6000, -22)])
    debris = (
        band(noise(rng, len(t)) * (rng.random(len(t)) < 0.02), 1200, 8000) * np.exp(-t / (decay * 1.3)) * 0.5
    )
    crack = band(noise(rng, len(t)), 300, 6000) * np.exp(-t / 0.05) * 0.7
    return unit_core(boom * np.exp(-t / decay) + debris + crack)


def door_slam(rng: Generator) -> F32:
    """A door."""
    out = bang(rng, 0.09, dull=0.7)
    add(out, 0, ring(rng, rng.uniform(70, 160), 0.08, 0.4), 2)
    return unit_core(out)


def thump(rng: Generator) -> F32:
    """A fist or a cup on the table."""
    out = np.zeros(samples(0.7), np.float32)
    for k in range(int(rng.integers(1, 4))):
        add(out, 0.17 * k, bang(rng, 0.03, dull=0.9))
        add(out, 0.17 * k, ring(rng, rng.uniform(90, 240), 0.05, 0.3), 2)
    return unit_core(out)


def mic_bump(rng: Generator) -> F32:
    """The microphone is touched: deep rumble, crackle."""
    seconds = rng.uniform(0.5, 1.2)
    size = samples(seconds)
    rumble = shape(noise(rng, size), [(20, 6), (80, 6), (300, -10), (2000, -34)])
    crackle = noise(rng, size) * (rng.random(size) < 0.003) * 12
    return unit_core(
        (rumble + band(crackle.astype(np.float32), 200, 5000)) * np.hanning(size).astype(np.float32) ** 0.5
    )


def crash(rng: Generator) -> F32:
    """Metal and glass: two cars, a falling rack."""
    out = np.zeros(samples(2.4), np.float32)
    add(out, 0, bang(rng, 0.25, dull=0.2), 1)
    for _ in range(int(rng.integers(18, 40))):
        at = rng.gamma(1.3, 0.3)
        piece = ring(rng, rng.uniform(900, 7000), rng.uniform(0.02, 0.12), 0.5)
        add(out, at, piece, rng.lognormal(-1.2, 0.6))
        add(out, at, bang(rng, 0.03), rng.uniform(0.05, 0.4))
    return unit_core(out)


def firework(rng: Generator, seconds: float) -> F32:
    """Rockets: whistle up, boom, crackle."""
    out = np.zeros(samples(seconds + 3), np.float32)
    t = 0.0
    while t < seconds:
        climb = _time(rng.uniform(0.4, 0.8))
        tone = sweep(1400 + 1400 * climb, 2) * 0.15 + band(noise(rng, len(climb)), 2000, 6000) * 0.1
        add(out, t, fade(tone, 0.1, 0.05), 0.8)
        at = t + len(climb) / RATE
        add(out, at, explosion(rng, 0.35), 1.0)
        for _ in range(int(rng.integers(0, 30))):
            add(out, at + rng.uniform(0.2, 1.3), bang(rng, 0.01), rng.uniform(0.1, 0.4))
        t += rng.uniform(0.3, 1.5)
    return unit_core(out[: samples(seconds + 1.5)])


# --- machines ------------------------------------------------------------------------------------------


def engine(rng: Generator, seconds: float, rpm: tuple[float, float] = (40, 90)) -> F32:
    """Harmonics of a wandering firing rate (Hz) with noise."""
    size = samples(seconds)
    f = np.clip(np.mean(rpm) + (rpm[1] - rpm[0]) / 2 * wander(rng, size, 3.0), rpm[0] * 0.8, rpm[1] * 1.2)
    hiss = band(noise(rng, size), 200, 2500, 9)
    return unit(sweep(f, 16, -4) + 1.2 * hiss)


def passing(rng: Generator, seconds: float) -> F32:
    """A vehicle comes, passes and goes: swell, Doppler, tyres."""
    t = _time(seconds)
    offset = (t - seconds / 2) / (seconds / 9)
    distance = np.sqrt(1 + offset**2)
    drone = sweep(np.float32(rng.uniform(55, 110)) * (1 - 0.06 * offset / distance), 14, -4)
    tyres = shape(noise(rng, len(t)), [(80, -6), (300, 0), (1100, 0), (3000, -10), (9000, -26)])
    return unit_core((unit(drone) + unit(tyres)) / distance**1.4)


def machine(rng: Generator, seconds: float) -> F32:
    """A blender, drill or vacuum cleaner: switched on, whines, switched off."""
    size = samples(seconds)
    spin = np.minimum(1, _time(seconds) / 0.7)
    whine = sweep((rng.uniform(180, 420) * (0.6 + 0.4 * spin)).astype(np.float32), 18, -3)
    out = unit(whine) + 1.2 * unit(band(noise(rng, size), 500, 9000, 6))
    return unit(fade(out, 0.3, 0.4))


def helicopter(rng: Generator, seconds: float) -> F32:
    """Blades at 12 a second over a turbine, coming and going."""
    t = _time(seconds)
    chop = (0.5 + 0.5 * np.cos(2 * np.pi * rng.uniform(10, 14) * t)) ** 3
    wash = shape(noise(rng, len(t)), [(40, 2), (200, 2), (900, -6), (4000, -20)])
    out = wash * chop + 0.15 * sweep(np.full(len(t), 620, np.float32), 3)
    return unit_core(out * np.sin(np.pi * t / seconds) ** 0.8)


# --- signals -------------------------------------------------------------------------------------------


def whistle(rng: Generator) -> F32:
    """A referee's pea whistle: 2.5-4 kHz, trilled at 20-35 Hz."""
    out = np.zeros(samples(2.2), np.float32)
    f, t0 = rng.uniform(2600, 3900), 0.0
    for _ in range(int(rng.integers(1, 4))):
        t = _time(rng.uniform(0.2, 0.7))
        trill = 1 + 0.03 * np.sin(2 * np.pi * rng.uniform(20, 35) * t)
        tone = np.sin(2 * np.pi * np.cumsum(f * trill) / RATE).astype(np.float32)
        tone *= 0.65 + 0.35 * np.sin(2 * np.pi * 28 * t)
        add(out, t0, fade(tone + 0.1 * band(noise(rng, len(t)), 2000, 6000), 0.02, 0.03))
        t0 += len(t) / RATE + 0.12
    return unit_core(out)


def siren(rng: Generator, seconds: float) -> F32:
    """An ambulance drives by."""
    t = _time(seconds)
    if rng.random() < 0.5:
        f = 1000 + 380 * np.sin(2 * np.pi * rng.uniform(0.25, 3) * t)
    else:
        f = np.where((t % 1.1) < 0.55, 440.0, 585.0)
    out = sweep(f.astype(np.float32), 8, -4)
    return unit_core(out * np.sin(np.pi * t / seconds) ** 0.7)


def alarm(rng: Generator, seconds: float) -> F32:
    """Beep, beep, beep."""
    t = _time(seconds)
    on = (t * rng.uniform(1.5, 5) % 1) < 0.5
    return unit(sweep(np.full(len(t), rng.uniform(900, 3000), np.float32), 4, -8) * on)


def phone(rng: Generator, seconds: float) -> F32:
    """A ringing phone: a marimba-like figure, repeated."""
    out = np.zeros(samples(seconds), np.float32)
    notes = rng.choice([0, 3, 5, 7, 10, 12], 8)
    step = rng.uniform(0.11, 0.16)
    for k in range(int(seconds / step)):
        if k % 16 < 10:
            add(out, k * step, ring(rng, 740 * 2 ** (notes[k % 8] / 12), 0.08, 0.4))
    return unit_core(out)


def feedback(rng: Generator, seconds: float) -> F32:
    """A loudspeaker heard by its microphone: one tone grows and stops."""
    t = _time(seconds)
    f = rng.uniform(700, 3200)
    tone = np.sin(2 * np.pi * f * t) + 0.3 * np.sin(2 * np.pi * 2.02 * f * t)
    return unit_core(tone.astype(np.float32) * np.minimum(1, (t / seconds) ** 2 * 2))


def horn(rng: Generator, seconds: float) -> F32:
    """A car's or an arena's horn."""
    size = samples(seconds)
    f = rng.uniform(280, 420)
    out = sweep(np.full(size, f, np.float32), 12, -3) + sweep(np.full(size, f * 1.26, np.float32), 12, -3)
    return unit(fade(out, 0.03, 0.08))


def vuvuzela(rng: Generator, seconds: float) -> F32:
    """Plastic horns at 235 Hz, dozens, not quite in tune."""
    size = samples(seconds)
    out = np.zeros(size, np.float32)
    for _ in range(10):
        f = 235 * (1 + 0.012 * wander(rng, size, 2.0)) * 2 ** rng.normal(0, 0.02)
        out += sweep(f.astype(np.float32), 8, -3) * (wander(rng, size, 1.2) > -0.6)
    return unit_core(fade(out, 0.8, 0.8))


def bells(rng: Generator, seconds: float) -> F32:
    """A church."""
    out = np.zeros(samples(seconds + 2), np.float32)
    f = rng.uniform(220, 420)
    t = 0.0
    while t < seconds:
        for partial, gain in ((0.5, 0.5), (1, 1), (1.19, 0.7), (1.5, 0.5), (2, 0.8), (2.7, 0.3), (4.1, 0.2)):
            add(out, t, ring(rng, f * partial, 1.4 / partial**0.5, 2.5), gain)
        t += rng.uniform(0.9, 1.3)
    return unit_core(fade(out[: samples(seconds)], 0.01, 0.6))


# --- clicks, hiss, weather -----------------------------------------------------------------------------


def typing(rng: Generator, seconds: float) -> F32:
    """Keys and mouse, 6-11 a second in bursts."""
    out = np.zeros(samples(seconds + 0.2), np.float32)
    t = 0.0
    while t < seconds:
        for _ in range(int(rng.integers(3, 14))):
            click = band(bang(rng, rng.uniform(0.003, 0.008)), 900, 9000)
            add(out, t, click, rng.uniform(0.4, 1))
            t += rng.gamma(6, 1 / 6) / rng.uniform(6, 11)
        t += rng.exponential(0.3)
    return unit_core(out[: samples(seconds)])


def clicks(rng: Generator, seconds: float) -> F32:
    """Single loud clicks, irregular: a loose plug."""
    out = np.zeros(samples(seconds), np.float32)
    for at in rng.uniform(0, seconds, int(seconds * rng.uniform(1, 4))):
        add(out, at, bang(rng, 0.004), rng.uniform(0.3, 1))
    return unit_core(out)


def hiss(rng: Generator, seconds: float) -> F32:
    """A fan, a bad preamplifier, an air conditioner: sets in and stops at once."""
    tilt = rng.uniform(-5, 1)
    out = shape(noise(rng, samples(seconds)), [(100, -6 * tilt / 3), (1000, 0), (10_000, 3.3 * tilt)])
    return unit(fade(out, 0.05, 0.05))


def rain(rng: Generator, seconds: float) -> F32:
    """Noise of many drops with single ones in front."""
    size = samples(seconds)
    drops = noise(rng, size) * (rng.random(size) < 0.004) * 6
    out = shape(noise(rng, size), [(100, -14), (800, -4), (3000, 0), (9000, -3)]) + band(drops, 900, 9000, 12)
    return unit(
        fade(out * 10 ** (0.7 * wander(rng, size, 4.0) / 20), min(6, seconds / 4), min(6, seconds / 4))
    )


def wind(rng: Generator, seconds: float) -> F32:
    """Gusts into an open microphone: mostly below 500 Hz, buffeting."""
    size = samples(seconds)
    gust = np.maximum(wander(rng, size, 1.6) + 0.3, 0) * np.sin(np.pi * _time(seconds) / seconds)
    low = shape(noise(rng, size), [(20, 8), (120, 4), (400, -6), (1500, -20), (6000, -34)])
    return unit_core(low * gust * (1 + 0.5 * np.abs(wander(rng, size, 0.12))))


def thunder(rng: Generator) -> F32:
    """A clap far off and its rolling."""
    t = _time(6.0)
    roll = shape(noise(rng, len(t)), [(25, 6), (120, 4), (500, -8), (2500, -26)])
    roll *= np.exp(-t / 1.8) * 10 ** (4 * wander(rng, len(t), 0.5) / 20)
    add(
        roll,
        0.05,
        band(noise(rng, samples(0.4)), 200, 3000) * np.hanning(samples(0.4)).astype(np.float32),
        0.6,
    )
    return unit_core(roll)


def static(rng: Generator, seconds: float) -> F32:
    """Bursts of digital or radio noise."""
    size = samples(seconds)
    gate = np.repeat(rng.random(size // 400 + 1) < 0.55, 400)[:size]
    return unit_core(noise(rng, size) * gate)


def torn(rng: Generator, seconds: float) -> F32:
    """Clipping noise: rumble driven far beyond full scale until it is square."""
    raw = shape(noise(rng, samples(seconds)), [(40, 10), (200, 6), (1000, -8), (4000, -20)])
    return unit(fade(np.clip(unit(raw) * 12, -1, 1).astype(np.float32), 0.1, 0.1))


def dishes(rng: Generator, seconds: float) -> F32:
    """Plates and cutlery."""
    out = np.zeros(samples(seconds + 0.5), np.float32)
    for at in rng.uniform(0, seconds, int(seconds * 7)):
        for _ in range(3):
            add(
                out,
                at,
                ring(rng, rng.uniform(1800, 8000), rng.uniform(0.01, 0.08), 0.3),
                rng.lognormal(-1, 0.5),
            )
    return unit_core(out[: samples(seconds)])


# --- bodies and animals --------------------------------------------------------------------------------


def cough(rng: Generator) -> F32:
    """Two or three coughs."""
    out = np.zeros(samples(1.6), np.float32)
    for k in range(int(rng.integers(1, 4))):
        t = _time(0.3)
        one = shape(noise(rng, len(t)), [(150, -8), (500, 0), (1500, 0), (4000, -8), (9000, -18)])
        add(out, 0.45 * k, one * np.minimum(1, t / 0.01) * np.exp(-t / 0.07), rng.uniform(0.7, 1))
    return unit_core(out)


def dog(rng: Generator, seconds: float) -> F32:
    """Barks of 0.2 s in groups."""
    out = np.zeros(samples(seconds + 0.5), np.float32)
    base, t = rng.uniform(280, 620), 0.0
    while t < seconds:
        for _ in range(int(rng.integers(1, 4))):
            x = _time(0.2)
            f = base * (0.75 + 0.6 * np.exp(-(((x - 0.06) / 0.05) ** 2)))
            one = sweep(f.astype(np.float32), 12, -3) + 0.8 * band(noise(rng, len(x)), 500, 4000)
            add(out, t, one * np.hanning(len(x)).astype(np.float32), rng.uniform(0.7, 1))
            t += rng.uniform(0.3, 0.5)
        t += rng.uniform(0.2, 0.9)
    return unit_core(out[: samples(seconds)])


def baby(rng: Generator, seconds: float) -> F32:
    """A crying child: wails of a second around 450 Hz."""
    out = np.zeros(samples(seconds + 2), np.float32)
    who = voice.speaker(rng, "child")
    t = 0.0
    while t < seconds:
        one = voice.scream(rng, voice.livelier(who, pitch=0.75), rng.uniform(0.7, 1.3))
        add(out, t, one * np.hanning(len(one)).astype(np.float32) ** 0.5)
        t += len(one) / RATE + rng.uniform(0.2, 0.5)
    return unit_core(out[: samples(seconds)])


def seagulls(rng: Generator, seconds: float) -> F32:
    """Birds: falling cries."""
    out = np.zeros(samples(seconds + 1), np.float32)
    for at in rng.uniform(0, seconds, int(seconds * 1.3)):
        t = _time(rng.uniform(0.25, 0.5))
        f = rng.uniform(1300, 2300) * (1.15 - 0.5 * t)
        add(
            out,
            at,
            sweep(f.astype(np.float32), 5, -5) * np.hanning(len(t)).astype(np.float32),
            rng.uniform(0.3, 1),
        )
    return unit_core(out[: samples(seconds)])


def ball(rng: Generator) -> F32:
    """A kick, a bounce, a racket."""
    return unit_core(bang(rng, 0.02, dull=0.5) + 0)


def steps(rng: Generator, seconds: float) -> F32:
    """Somebody walks."""
    out = np.zeros(samples(seconds + 0.5), np.float32)
    pace, t = rng.uniform(1.6, 2.1), 0.2
    feet = [band(bang(rng, 0.03, dull=0.4), 100, 3500) for _ in range(4)]
    while t < seconds:
        add(out, t, feet[int(rng.integers(4))], rng.uniform(0.5, 1))
        t += rng.normal(1, 0.05) / pace
    return unit(out[: samples(seconds)])


def swell_of(sound: F32, rise: float, fall: float) -> F32:
    """`sound` faded in and out over seconds."""
    total = len(sound) / RATE
    return sound * curve([(0, -30), (rise, 0), (max(rise, total - fall), 0), (total, -40)], len(sound))
