"""Kinds of distractors: loud, bright or sudden, and nobody would keep them.

`KINDS` are tuned on, `HELD_OUT` exist only in reports; `SCENES` names those that fit some scenes only.
Levels are drawn from the same range as those of events, so that level alone tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.detection.happening import Bump, Happening
from benchmarks.detection.synth import crowd, music, noises, voice
from benchmarks.detection.synth.dsp import F32, RATE, add, compress, curve, noise, samples, shape, unit

Kind = Callable[[Happening], None]


def _plain(h: Happening, kind: str, sound: F32, low: float, high: float, wet: float = 0.2) -> None:
    """One sound, `low` to `high` dB over the bed."""
    end = h.sound(h.at, sound, float(h.rng.uniform(low + 0.5, high)), wet)
    h.is_distractor(kind, h.at, end)


def _style(h: Happening, *, held_out: bool = False) -> str:
    return str(h.rng.choice(music.STYLES_REPORT if held_out else music.STYLES_TUNE))


def music_block(h: Happening) -> None:
    """Loud music starts and, 8-25 s later, stops."""
    seconds = float(h.rng.uniform(8, 25))
    sound = music.play(h.rng, _style(h), seconds)
    ramp = float(h.rng.choice([0.05, 1.5]))
    sound *= curve([(0, -30), (ramp, 0), (seconds - ramp, 0), (seconds, -30)], len(sound))
    _plain(h, "music starts and stops", sound, 3, 10, 0.1)


def jingle(h: Happening) -> None:
    """A signature tune."""
    _plain(h, "jingle", music.jingle(h.rng, float(h.rng.uniform(1.5, 4))), 4, 12, 0.1)


def advert(h: Happening) -> None:
    """A break: black, loud compressed sound, many cuts, black."""
    seconds = float(h.rng.uniform(15, 40))
    size = samples(seconds)
    sound = music.play(h.rng, _style(h), seconds) * np.float32(0.6)
    t = 0.3
    while t < seconds - 3:  # spots of 5-9 s, each with a voice of its own
        length = min(float(h.rng.uniform(5, 9)), seconds - t - 0.2)
        who = voice.livelier(voice.speaker(h.rng), rate=1.15)
        add(sound, t, voice.speech(h.rng, who, length, lambda _t: 0.35))
        t += length
    sound = compress(sound, threshold=-6, ratio=5, makeup=5)
    sound[: samples(0.25)] = 0
    sound[size - samples(0.25) :] = 0
    h.sound(h.at, unit(sound), float(h.rng.uniform(3, 7)), 0)
    end = h.at + seconds
    h.ducks.append(Bump(h.at, h.at + 0.05, end - 0.05, end, 70))
    h.foreign.append((h.at, end))
    h.black += [(h.at, h.at + 0.35), (end - 0.35, end)]
    t = h.at + 0.4
    while t < end - 0.5:
        h.cuts.append(t)
        t += float(h.rng.uniform(0.6, 2.4))
    h.move(h.at, end, 1.0)
    h.is_distractor("commercial break", h.at, end)


def siren(h: Happening) -> None:
    """An ambulance."""
    _plain(h, "siren", noises.siren(h.rng, float(h.rng.uniform(4, 9))), 4, 11)


def whistle(h: Happening) -> None:
    """The referee."""
    _plain(h, "whistle", noises.whistle(h.rng), 3, 10, 0.5)


def typing(h: Happening) -> None:
    """Keyboard close to the microphone."""
    _plain(h, "typing", noises.typing(h.rng, float(h.rng.uniform(3, 8))), 2, 8, 0.05)


def clicks(h: Happening) -> None:
    """A loose plug."""
    _plain(h, "clicks", noises.clicks(h.rng, float(h.rng.uniform(2, 6))), 3, 9, 0)


def hiss(h: Happening) -> None:
    """A fan or gas sets in at once and stops at once."""
    _plain(h, "hiss", noises.hiss(h.rng, float(h.rng.uniform(2, 12))), 3, 10, 0)


def rain(h: Happening) -> None:
    """A shower."""
    _plain(h, "rain", noises.rain(h.rng, float(h.rng.uniform(14, 30))), 3, 9, 0)


def hail(h: Happening) -> None:
    """A sudden burst of rain on a roof: spectrum and fill of applause."""
    seconds = float(h.rng.uniform(4, 8))
    sound = 0.7 * noises.rain(h.rng, seconds) + 0.7 * unit(noises.clicks(h.rng, seconds))
    _plain(h, "applause-like rain", crowd.unit_core(noises.swell_of(sound, 0.8, 2.0)), 3, 8, 0)


def wind(h: Happening) -> None:
    """A gust."""
    _plain(h, "wind", noises.wind(h.rng, float(h.rng.uniform(3, 7))), 6, 14, 0)


def torn(h: Happening) -> None:
    """Clipping noise."""
    _plain(h, "clipping noise", noises.torn(h.rng, float(h.rng.uniform(1, 4))), 4, 12, 0)


def slam(h: Happening) -> None:
    """A door."""
    _plain(h, "door slam", noises.door_slam(h.rng), 6, 14, 0.6)


def thump(h: Happening) -> None:
    """Table."""
    _plain(h, "table thump", noises.thump(h.rng), 6, 13, 0.1)


def bump(h: Happening) -> None:
    """Microphone."""
    _plain(h, "microphone bump", noises.mic_bump(h.rng), 6, 14, 0)
    if h.rng.random() < 0.5:
        h.shake.append(Bump(h.at, h.at + 0.1, h.at + 0.5, h.at + 0.8, 4))


def cough(h: Happening) -> None:
    """Somebody."""
    _plain(h, "cough", noises.cough(h.rng), 4, 10, 0.4)


def dog(h: Happening) -> None:
    """Barking."""
    _plain(h, "dog", noises.dog(h.rng, float(h.rng.uniform(1.5, 5))), 4, 10, 0.3)


def vehicle(h: Happening) -> None:
    """A lorry or a motorcycle passes."""
    seconds = float(h.rng.uniform(4, 9))
    _plain(h, "passing vehicle", noises.passing(h.rng, seconds), 4, 11, 0.1)
    h.move(h.at + 0.3 * seconds, h.at + 0.7 * seconds, 0.5)


def announcement(h: Happening) -> None:
    """A loudspeaker: gong, narrow-band voice with echo."""
    seconds = float(h.rng.uniform(4, 8))
    said = voice.speech(h.rng, voice.speaker(h.rng), seconds)
    said = shape(said, [(150, -30), (450, 0), (3200, 0), (5500, -30)])
    said = np.concatenate([np.zeros(samples(0.8), np.float32), unit(said)])
    add(said, 0, music.tone(523, 0.8, tilt=-12, attack=0.01, decay=0.4), 1.0)
    _plain(h, "announcement", crowd.unit_core(said), 2, 7, 0.9)


def static(h: Happening) -> None:
    """Digital noise."""
    seconds = float(h.rng.uniform(0.5, 3))
    _plain(h, "static", noises.static(h.rng, seconds), 4, 12, 0)


def murmur(h: Happening) -> None:
    """The crowd swells by a little over many seconds, for nothing."""
    seconds = float(h.rng.uniform(8, 14))
    sound = crowd.bed(h.rng, seconds, voices=16) * curve(
        [(0, -20), (0.45 * seconds, 0), (0.6 * seconds, -1), (seconds, -20)], samples(seconds)
    )
    _plain(h, "crowd murmur", sound, 1.5, 3, 0.6)


def chant(h: Happening) -> None:
    """Fans sing for half a minute: loud and steady."""
    _plain(h, "steady chant", crowd.chant(h.rng, float(h.rng.uniform(15, 30))), 2.5, 6, 0.6)


def skirmish(h: Happening) -> None:
    """Ordinary shooting nobody comments on."""
    seconds = float(h.rng.uniform(3, 7))
    _plain(h, "ordinary shooting", noises.gunfire(h.rng, seconds), 2, 6, 0.2)
    h.move(h.at, h.at + seconds, float(h.rng.uniform(0.3, 1)))


def cuts(h: Happening) -> None:
    """A montage or a nervous director."""
    seconds = float(h.rng.uniform(4, 9))
    h.cuts += [
        float(t) for t in np.sort(h.rng.uniform(h.at, h.at + seconds, int(seconds * h.rng.uniform(0.8, 1.6))))
    ]
    h.is_distractor("cuts", h.at, h.at + seconds)


def shake(h: Happening) -> None:
    """The camera is carried, or kicked."""
    seconds = float(h.rng.uniform(1.5, 5))
    h.move(h.at, h.at + seconds, float(h.rng.uniform(0.5, 2)), shake=float(h.rng.uniform(2, 6)))
    h.is_distractor("camera shake", h.at, h.at + seconds)


def whirl(h: Happening) -> None:
    """A quick pan over the scene, for nothing."""
    seconds = float(h.rng.uniform(2, 6))
    h.move(h.at, h.at + seconds, float(h.rng.uniform(1, 2.5)))
    h.is_distractor("camera pan", h.at, h.at + seconds)


def flashes(h: Happening) -> None:
    """Photographers, a lamp, lightning."""
    seconds = float(h.rng.uniform(1, 6))
    for t in h.rng.uniform(h.at, h.at + seconds, int(h.rng.integers(2, 10))):
        h.flash(float(t), float(h.rng.uniform(30, 90)))
    h.is_distractor("flashes", h.at, h.at + seconds)


def gain_step(h: Happening) -> None:
    """Somebody turns a knob: all sound from here on is louder or softer."""
    h.gains += [(h.at, 0.0), (h.at + 0.1, float(h.rng.choice([-1, 1]) * h.rng.uniform(4, 9)))]
    h.is_distractor("level step", h.at - 1, h.at + 4)


def drift(h: Happening) -> None:
    """All sound gets louder by up to 10 dB within a minute or two, and stays."""
    seconds = float(h.rng.uniform(60, 120))
    h.gains += [(h.at, 0.0), (h.at + seconds, float(h.rng.choice([-1, 1]) * h.rng.uniform(5, 10)))]
    h.is_distractor("level drift", h.at, h.at + seconds)


# --- held out ------------------------------------------------------------------------------------------


def alarm(h: Happening) -> None:
    """Beeping."""
    _plain(h, "alarm", noises.alarm(h.rng, float(h.rng.uniform(2, 8))), 4, 11)


def phone(h: Happening) -> None:
    """Ringing."""
    _plain(h, "phone", noises.phone(h.rng, float(h.rng.uniform(3, 8))), 3, 10)


def feedback(h: Happening) -> None:
    """Howling loudspeaker."""
    _plain(h, "feedback", noises.feedback(h.rng, float(h.rng.uniform(1, 3.5))), 5, 13, 0.3)


def loud_speaker(h: Happening) -> None:
    """Somebody near the microphone talks, loudly and calmly."""
    seconds = float(h.rng.uniform(5, 12))
    _plain(
        h,
        "loud calm speaker",
        crowd.unit_core(voice.speech(h.rng, voice.speaker(h.rng), seconds)),
        5,
        9,
        0.05,
    )
    h.ducks.append(Bump(h.at, h.at + 0.3, h.at + seconds - 0.3, h.at + seconds, 8))


def machine(h: Happening) -> None:
    """A drill, a blender, a vacuum cleaner."""
    _plain(h, "machine", noises.machine(h.rng, float(h.rng.uniform(3, 12))), 4, 11, 0.2)


def helicopter(h: Happening) -> None:
    """Overhead."""
    _plain(h, "helicopter", noises.helicopter(h.rng, float(h.rng.uniform(8, 16))), 4, 9, 0.1)


def thunder(h: Happening) -> None:
    """With lightning."""
    h.flash(h.at - float(h.rng.uniform(0.3, 3)), 70, 0.3)
    _plain(h, "thunder", noises.thunder(h.rng), 5, 12, 0.2)


def vuvuzelas(h: Happening) -> None:
    """Plastic horns."""
    _plain(h, "vuvuzelas", noises.vuvuzela(h.rng, float(h.rng.uniform(5, 14))), 4, 9, 0.4)


def bells(h: Happening) -> None:
    """Church."""
    _plain(h, "bells", noises.bells(h.rng, float(h.rng.uniform(4, 10))), 3, 9, 0.2)


def dishes(h: Happening) -> None:
    """Plates."""
    _plain(h, "dishes", noises.dishes(h.rng, float(h.rng.uniform(1, 5))), 4, 10, 0.2)


def baby(h: Happening) -> None:
    """A child cries."""
    _plain(h, "crying child", noises.baby(h.rng, float(h.rng.uniform(3, 9))), 3, 8, 0.3)


def seagulls(h: Happening) -> None:
    """Gulls."""
    _plain(h, "gulls", noises.seagulls(h.rng, float(h.rng.uniform(3, 8))), 3, 9, 0.2)


def whoosh(h: Happening) -> None:
    """An editor's transition: a noise sweep with a cut."""
    seconds = float(h.rng.uniform(0.7, 1.6))
    size = samples(seconds)
    t = np.arange(size) / RATE
    sound = noise(h.rng, size) * np.hanning(size).astype(np.float32) ** 2
    sound = shape(sound, [(100, -6), (600, 0), (4000, 0), (12_000, -10)]) + 0.4 * noises.sweep(
        (80 + 500 * t).astype(np.float32), 3
    )
    h.cuts.append(h.at + seconds / 2)
    h.move(h.at, h.at + seconds, 1.5)
    _plain(h, "transition whoosh", crowd.unit_core(sound), 4, 11, 0)


def rally(h: Happening) -> None:
    """Supporters' drums without song."""
    seconds = float(h.rng.uniform(8, 20))
    beat = crowd.chant(h.rng, seconds, tempo=float(h.rng.uniform(3, 5)))
    _plain(h, "drumming", crowd.unit_core(beat), 3, 8, 0.5)


def concert(h: Happening) -> None:
    """Held-out styles of music."""
    seconds = float(h.rng.uniform(8, 30))
    sound = music.play(h.rng, _style(h, held_out=True), seconds)
    sound *= curve([(0, -12), (0.5, 0), (seconds - 1, 0), (seconds, -30)], len(sound))
    _plain(h, "other music", sound, 3, 10, 0.2)


KINDS: tuple[Kind, ...] = (
    music_block, jingle, advert, siren, whistle, typing, clicks, hiss, rain, wind, torn, slam, thump, bump,
    cough, dog, vehicle, announcement, static, murmur, chant, skirmish, cuts, shake, whirl, flashes,
    gain_step, drift,
)  # fmt: skip
HELD_OUT: tuple[Kind, ...] = (
    hail, alarm, phone, feedback, loud_speaker, machine, helicopter, thunder, vuvuzelas, bells, dishes, baby,
    seagulls, whoosh, rally, concert,
)  # fmt: skip

SCENES: dict[Kind, tuple[str, ...]] = {
    whistle: ("sports",),
    murmur: ("sports", "walking", "talk"),
    chant: ("sports", "walking"),
    skirmish: ("gaming",),
    vehicle: ("sports", "walking", "talk"),
    rain: ("sports", "walking", "lecture"),
    wind: ("sports", "walking"),
    vuvuzelas: ("sports",),
    rally: ("sports", "walking"),
    helicopter: ("sports", "walking"),
    seagulls: ("sports", "walking"),
    thunder: ("sports", "walking", "lecture"),
}
"""Kinds that would be odd elsewhere."""

PICTURE_ONLY: tuple[Kind, ...] = (cuts, shake, whirl, flashes, advert)
"""Those that a file without sound can have."""

LASTING: tuple[Kind, ...] = (gain_step, drift)
"""Those that may lie over anything."""
