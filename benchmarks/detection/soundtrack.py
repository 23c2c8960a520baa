"""A plan's sound: the scene that goes on all the time, what happens in it, and how it was recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.detection.happening import Bump, Happening
from benchmarks.detection.labels import VideoSpec
from benchmarks.detection.plan import Plan, generator
from benchmarks.detection.synth import crowd, music, noises, voice
from benchmarks.detection.synth.dsp import (
    CONTROL_RATE,
    F32,
    RATE,
    add,
    band,
    band_level,
    compress,
    convolve,
    curve,
    db,
    noise,
    rms,
    room,
    samples,
    shape,
    soft_limit,
    unit,
    upsample,
    wander,
)

MIXES_TUNE = ("plain", "plain", "compressed", "loud", "quiet", "clipped")
MIXES_REPORT = ("plain", "compressed", "quiet", "agc", "phone", "boomy")
ROOMS_TUNE = (0.35, 0.9, 1.6)
ROOMS_REPORT = (0.25, 0.6, 1.2, 2.4)
LOUDNESS = {"quiet": -36.0, "loud": -13.0, "clipped": -12.0, "phone": -24.0}
"""dBFS RMS of the whole; -22 where nothing is said."""


@dataclass(slots=True)
class Scene:
    """What goes on whether anything happens or not; about unit RMS together."""

    ambience: F32  # around the microphone
    voices: F32  # those whose arousal the happenings drive


@dataclass(slots=True)
class Mixed:
    """The finished sound: (2, n) at RATE, -1..1."""

    stereo: F32
    speaking: NDArray[np.float64]  # level of the voices, 0..1, at CONTROL_RATE: mouths move by it
    rendering: dict[str, str]


def mixed(spec: VideoSpec, plan: Plan) -> Mixed:
    """Everything together."""
    rng = generator(spec, "sound")
    report = spec.split == "report"
    mix = str(rng.choice(MIXES_REPORT if report else MIXES_TUNE))
    rt60 = float(rng.choice(ROOMS_REPORT if report else ROOMS_TUNE))
    scene = make_scene(spec, generator(spec, "scene"), plan, rt60)
    speaking = _envelope(scene.voices)
    impulse = room(rng, rt60)
    dry, side = _assemble(rng, scene, plan, impulse)
    dry *= _gain(plan, len(dry))
    dry = _recorded(rng, dry, mix)
    width = 0.0 if rng.random() < 0.3 else float(rng.uniform(0.2, 0.6))
    side = unit(side) * np.float32(rms(dry) * 0.5 * width)
    stereo = np.stack([dry + side, dry - side])
    stereo = np.clip(stereo, -1, 1) if mix == "clipped" else soft_limit(stereo)
    return Mixed(stereo, speaking, {"mix": mix, "rt60": f"{rt60:g}", "stereo": f"{width:.2f}"})


def _assemble(rng: Generator, scene: Scene, plan: Plan, impulse: F32) -> tuple[F32, F32]:
    """(sound, a second copy for the sides); happenings at their level over the bed around them."""
    size = len(scene.ambience)
    bed = scene.ambience + scene.voices
    power = band_level(bed)
    duck = _sum_of([b for h in plan.happenings for b in h.ducks], size / RATE)
    bed *= upsample(10 ** (-duck / 20), CONTROL_RATE, size)
    wet = np.zeros(size, np.float32)
    for happening in plan.happenings:
        level = _bed_level(power, happening.at)
        for sound in happening.sounds:
            left = 10 ** (-duck[min(len(duck) - 1, int((sound.at + 0.8) * CONTROL_RATE))] / 10)
            gain = level * np.sqrt(max(10 ** (sound.over / 10) - left, 0.25))
            add(bed, sound.at, sound.samples, gain)
            add(wet, sound.at, sound.samples, gain * sound.wet)
    if wet.any():
        bed += convolve(wet, impulse)
    side = scene.ambience + np.roll(wet, 300)
    return bed, side


def _bed_level(power: NDArray[np.float64], at: float) -> float:
    """RMS amplitude of the scene in 150-6000 Hz within 25 s: the second that six in ten are quieter than."""
    around = power[max(0, int(at) - 25) : int(at) + 25]
    return float(np.sqrt(np.quantile(around, 0.6))) if len(around) else 0.1


def _sum_of(bumps: Sequence[Bump], seconds: float) -> NDArray[np.float64]:
    """Highest bump at each moment, at CONTROL_RATE."""
    times = np.arange(int(seconds * CONTROL_RATE) + 2) / CONTROL_RATE
    total = np.zeros(len(times))
    for bump in bumps:
        a, b = int(max(0, bump.begin) * CONTROL_RATE), int(max(0, bump.gone) * CONTROL_RATE) + 2
        total[a:b] = np.maximum(total[a:b], bump.values(times[a:b]))
    return total


def _gain(plan: Plan, size: int) -> F32:
    """Steps and drifts, summed."""
    seconds = size / RATE
    total = np.zeros(int(seconds * CONTROL_RATE) + 2)
    times = np.arange(len(total)) / CONTROL_RATE
    for happening in plan.happenings:
        if happening.gains:
            total += np.interp(times, [t for t, _ in happening.gains], [g for _, g in happening.gains])
    return upsample(10 ** (np.clip(total, -14, 12) / 20), CONTROL_RATE, size)


def _recorded(rng: Generator, sound: F32, mix: str) -> F32:
    """Microphone noise, hum, dynamics and level."""
    size = len(sound)
    loud = rms(sound)
    floor = shape(noise(rng, size), [(50, 6), (300, 0), (6000, -3)])
    sound = sound + floor * np.float32(loud * db(-rng.uniform(38, 60)))
    if rng.random() < 0.3:
        t = np.arange(size, dtype=np.float64) / RATE
        mains = float(rng.choice([50, 60]))
        for k in (1, 2, 3, 5):
            sound += (np.sin(2 * np.pi * k * mains * t) * loud * db(-34 - 4 * k)).astype(np.float32)
    level = 20 * np.log10(loud)
    match mix:
        case "compressed":
            sound = compress(sound, threshold=level, ratio=2.0, makeup=3)
        case "loud":
            sound = compress(sound, threshold=level + 1, ratio=2.2, attack=0.005, release=0.15, makeup=4)
        case "agc":
            sound = compress(sound, threshold=level - 6, ratio=2.5, attack=0.8, release=5.0, makeup=4)
        case "phone":
            sound = shape(sound, [(60, -40), (220, 0), (5000, 0), (8000, -30)])
            sound = compress(sound, threshold=level - 3, ratio=2.5, attack=0.05, release=1.5, makeup=3)
        case "boomy":
            sound = shape(sound, [(40, 8), (200, 6), (600, 0), (3000, -4), (10_000, -12)])
        case _:
            pass
    return sound * np.float32(db(LOUDNESS.get(mix, -22.0)) / rms(sound))


def _envelope(voices: F32) -> NDArray[np.float64]:
    hop = RATE // CONTROL_RATE
    level = np.abs(voices[: len(voices) // hop * hop]).reshape(-1, hop).mean(axis=1, dtype=np.float64)
    return np.clip(level / (np.quantile(level, 0.95) + 1e-9), 0, 1) if len(level) else np.zeros(1)


# --- scenes --------------------------------------------------------------------------------------------


def make_scene(spec: VideoSpec, rng: Generator, plan: Plan, rt60: float) -> Scene:
    """The scene of a spec."""
    arousal = _arousal(plan)
    return _SCENES[spec.scene](rng, plan.seconds, arousal, rt60)


Arousal = Callable[[float], float]
SceneMaker = Callable[[Generator, float, Arousal, float], Scene]


def _arousal(plan: Plan) -> Arousal:
    """What the happenings ask for, over a small restlessness that means nothing."""
    bumps = [b for h in plan.happenings for b in h.arousal]
    table = _sum_of(bumps, plan.seconds)

    def at(t: float) -> float:
        k = int(t * CONTROL_RATE)
        return float(table[k]) if 0 <= k < len(table) else 0.0

    return at


def dialogue(
    rng: Generator,
    speakers: Sequence[voice.Speaker],
    seconds: float,
    arousal: Arousal,
    *,
    turn: tuple[float, float] = (4, 20),
    gap: float = 0.6,
    restless: float = 0.12,
) -> F32:
    """Speakers take turns; some turns are a little livelier than others for no reason."""
    out = np.zeros(samples(seconds), np.float32)
    t, last = float(rng.uniform(0, 1)), 0
    while t < seconds - 1:
        length = min(float(rng.uniform(*turn)), seconds - t)
        last = (last + int(rng.integers(1, max(2, len(speakers))))) % len(speakers)
        mood = abs(float(rng.normal(0, restless)))
        begin = t

        def at(x: float, begin: float = begin, mood: float = mood) -> float:
            return min(1.0, max(arousal(begin + x), mood))

        add(out, t, voice.speech(rng, speakers[last], length, at))
        t = _next_turn(t + length, float(rng.exponential(gap)), arousal)
    return compress(out, threshold=5, ratio=2.0, attack=0.02, release=0.3)


def _next_turn(t: float, pause: float, arousal: Arousal) -> float:
    """After the pause, or as soon as there is something to shout about."""
    for x in np.arange(t, t + pause, 0.1):
        if arousal(float(x)) > 0.3:
            return float(x)
    return t + pause


def _sports(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    ambience = crowd.bed(rng, seconds, voices=int(rng.integers(16, 40)))
    ambience *= 10 ** (1.0 * wander(rng, len(ambience), 7.0) / 20)
    for at in rng.uniform(0, seconds, int(seconds / 4)):
        add(ambience, float(at), noises.ball(rng), float(rng.uniform(0.2, 0.7)))
    for at in rng.uniform(0, seconds, int(seconds / 90)):
        add(ambience, float(at), crowd.finger_whistle(rng), float(rng.uniform(0.2, 0.6)))
    for _ in range(rng.poisson(seconds / 150)):  # singing far off, whatever happens meanwhile
        length = float(rng.uniform(15, 50))
        far = crowd.chant(rng, length) * curve(
            [(0, -30), (5, 0), (length - 5, 0), (length, -30)], samples(length)
        )
        add(ambience, float(rng.uniform(0, seconds)), far, float(rng.uniform(0.25, 0.6)))
    comment = dialogue(rng, [voice.speaker(rng) for _ in range(2)], seconds, arousal, turn=(3, 14), gap=2.5)
    return Scene(ambience, comment * np.float32(db(rng.uniform(0, 6))))


def _gaming(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    style = str(rng.choice(["ambient", "rock", "techno", "pop"]))
    ambience = music.play(rng, style, seconds) * np.float32(db(-rng.uniform(9, 15)))
    for at in rng.uniform(0, seconds, int(seconds / 9)):
        pick = int(rng.integers(4))
        one = (
            noises.gunfire(rng, float(rng.uniform(0.3, 1.5))) if pick == 0
            else noises.bang(rng, 0.06) if pick == 1
            else noises.steps(rng, 3.0) if pick == 2
            else noises.ring(rng, float(rng.uniform(500, 1500)), 0.1, 0.4)
        )  # fmt: skip
        add(ambience, float(at), one, float(rng.uniform(0.1, 0.5)))
    ambience += noises.engine(rng, seconds, (30, 60)) * np.float32(db(-22))
    streamer = dialogue(rng, [voice.speaker(rng)], seconds, arousal, turn=(2, 9), gap=2.0, restless=0.15)
    friend = dialogue(rng, [voice.speaker(rng)], seconds, lambda t: 0.6 * arousal(t), turn=(1.5, 5), gap=7.0)
    friend = shape(friend, [(100, -30), (350, 0), (4500, 0), (7000, -30)]) * np.float32(db(-4))
    return Scene(ambience, streamer + friend)


def _talk(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    people = [voice.speaker(rng) for _ in range(int(rng.integers(2, 5)))]
    said = dialogue(rng, people, seconds, arousal, turn=(3, 25), gap=0.5)
    said += convolve(said, room(rng, min(rt60, 0.6))) * np.float32(rng.uniform(0.1, 0.35))
    ambience = unit(shape(noise(rng, len(said)), [(60, 4), (300, 0), (3000, -16)])) * np.float32(db(-34))
    if rng.random() < 0.4:  # music under speech
        length = min(seconds, float(rng.uniform(60, 200)))
        under = music.play(rng, "ambient", length) * np.float32(db(-rng.uniform(14, 20)))
        add(ambience, float(rng.uniform(0, seconds - length + 0.01)), under)
    if rng.random() < 0.5:  # an audience that sits there
        ambience += crowd.bed(rng, seconds, voices=6, hiss=0.4) * np.float32(db(-28))
    return Scene(ambience, said)


def _lecture(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    said = dialogue(rng, [voice.speaker(rng)], seconds, arousal, turn=(10, 60), gap=2.5, restless=0.08)
    said += convolve(said, room(rng, max(rt60, 0.6))) * np.float32(rng.uniform(0.3, 0.8))
    ambience = unit(shape(noise(rng, len(said)), [(60, 2), (300, 0), (5000, -8)])) * np.float32(
        db(-rng.uniform(24, 34))
    )
    for at in rng.uniform(0, seconds, int(seconds / 25)):
        one = noises.cough(rng) if rng.random() < 0.3 else noises.bang(rng, 0.02, dull=0.8)
        add(ambience, float(at), one, float(rng.uniform(0.05, 0.25)))
    return Scene(ambience, said)


def _walking(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    size = samples(seconds)
    traffic = shape(noise(rng, size), [(40, 6), (120, 4), (500, -4), (2000, -12), (8000, -26)])
    ambience = unit(traffic) * 10 ** (2 * wander(rng, size, 6.0) / 20) * np.float32(db(-10))
    street = crowd.bed(rng, seconds, voices=10) * 10 ** (4 * wander(rng, size, 12.0) / 20)
    ambience += street * np.float32(db(-rng.uniform(8, 14)))
    ambience += noises.steps(rng, seconds)[:size] * np.float32(db(-20))
    for at in rng.uniform(0, seconds, int(seconds / 30)):
        add(ambience, float(at), noises.passing(rng, float(rng.uniform(3, 7))), float(rng.uniform(0.1, 0.5)))
    for _ in range(rng.poisson(seconds / 150)):  # past shops with music
        length = float(rng.uniform(15, 40))
        shop = music.play(rng, str(rng.choice(["pop", "rock", "jazz"])), length)
        shop = shape(shop, [(60, 0), (400, 0), (3000, -12), (9000, -30)]) * _arch(length)
        add(ambience, float(rng.uniform(0, seconds)), shop, db(-rng.uniform(6, 12)))
    host = dialogue(rng, [voice.speaker(rng)], seconds, arousal, turn=(3, 14), gap=3.0, restless=0.15)
    return Scene(ambience, host)


def _arch(seconds: float) -> F32:
    """In over the first third, out over the last."""
    return curve([(0, -40), (seconds / 3, 0), (2 * seconds / 3, 0), (seconds, -40)], samples(seconds))


def _calm_talk(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    return _talk(rng, seconds, lambda _t: 0.0, rt60)


def _monotone(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    return _lecture(rng, seconds, lambda _t: 0.0, rt60)


def _only(sound: F32) -> Scene:
    return Scene(sound, np.zeros_like(sound))


def _music_only(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    """Several pieces with silence between them, as on an album."""
    out, t = np.zeros(samples(seconds), np.float32), 0.5
    while t < seconds - 10:
        length = min(float(rng.uniform(60, 150)), seconds - t)
        piece = music.play(rng, str(rng.choice(music.STYLES_TUNE + music.STYLES_REPORT)), length)
        piece *= curve([(0, -20), (3, 0), (length - 5, 0), (length, -40)], len(piece))
        add(out, t, piece, db(rng.uniform(-4, 2)))
        t += length + float(rng.uniform(0.5, 3))
    return _only(out)


def _rain_only(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    sound = noises.rain(rng, seconds)
    return _only(sound * 10 ** (2 * wander(rng, len(sound), 15.0) / 20))


def _still_camera(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    """A hall at night: nearly nothing, now and then a creak."""
    out = unit(shape(noise(rng, samples(seconds)), [(40, 6), (200, 0), (2000, -14)])) * np.float32(0.1)
    for at in rng.uniform(0, seconds, int(seconds / 40)):
        add(out, float(at), noises.bang(rng, 0.02, dull=0.7), float(rng.uniform(0.02, 0.1)))
    return _only(out)


def _market(rng: Generator, seconds: float, arousal: Arousal, rt60: float) -> Scene:
    sound = crowd.bed(rng, seconds, voices=30)
    return _only(sound + unit(band(noise(rng, len(sound)), 100, 800, 12)) * np.float32(0.2))


_SCENES: dict[str, SceneMaker] = {
    "sports": _sports, "gaming": _gaming, "talk": _talk, "lecture": _lecture, "walking": _walking,
    "calm-talk": _calm_talk, "music-only": _music_only, "rain-only": _rain_only,
    "still-camera": _still_camera, "monotone-lecture": _monotone, "market": _market,
}  # fmt: skip


def happening_levels(plan: Plan, sound: F32) -> list[tuple[Happening, float]]:
    """Each event's core over its surroundings in dB (150-6000 Hz), for checking what was made."""
    power = band_level(sound)
    found: list[tuple[Happening, float]] = []
    for h in plan.happenings:
        if h.event:
            a, b = int(h.event.core_start), max(int(h.event.core_start) + 1, int(np.ceil(h.event.core_end)))
            before = power[max(0, a - 22) : max(1, int(h.event.start) - 1)]
            found.append((h, float(10 * np.log10(power[a:b].mean() / np.quantile(before, 0.6)))))
    return found
