"""Speech, shouting and laughing voices: pulse trains and noise through moving formants.

Source-filter synthesis (Fant 1960; Klatt 1980) done frame by frame in the frequency domain. Vowel
targets after Peterson & Barney (1952). Vocal effort raises pitch, level and the first formant and
flattens the spectrum (Traunmüller & Eriksson 2000); that is what `arousal` 0..1 does here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.detection.synth.dsp import F32, RATE, noise, repitch, samples, unit

HOP, WINDOW, SIZE = 256, 512, 1024  # 8 ms frames of 16 ms, filtered with room for 8 ms of ringing
FRAME_RATE = RATE / HOP
BINS = SIZE // 2 + 1
FREQS = np.fft.rfftfreq(SIZE, 1 / RATE)

VOWELS: dict[str, tuple[float, float, float]] = {
    "i": (270, 2290, 3010), "I": (390, 1990, 2550), "e": (530, 1840, 2480), "ae": (660, 1720, 2410),
    "a": (730, 1090, 2440), "o": (570, 840, 2410), "u": (300, 870, 2240), "U": (440, 1020, 2240),
    "uh": (640, 1190, 2390), "er": (490, 1350, 1690),
}  # fmt: skip

_FRICATIVES: dict[str, list[tuple[float, float]]] = {
    "s": [(200, -50), (3000, -18), (5000, 0), (8000, 0), (14_000, -12)],
    "sh": [(200, -50), (1500, -14), (2500, 0), (5000, 0), (10_000, -18)],
    "f": [(200, -30), (1200, -14), (4000, -10), (9000, -8), (15_000, -16)],
    "h": [(200, -20), (700, -4), (1500, -4), (4000, -14), (10_000, -26)],
    "burst": [(150, -12), (1000, -6), (3000, -4), (6000, -8), (12_000, -18)],
}
_FRICATIVE_NAMES = tuple(_FRICATIVES)


def _fricative_rows() -> F32:
    logs = np.log(np.maximum(FREQS, 20))
    rows = [
        10 ** (np.interp(logs, [np.log(f) for f, _ in c], [g for _, g in c]) / 20)
        for c in _FRICATIVES.values()
    ]
    return np.array(rows, np.float32)


_FRICATIVE_TABLE = _fricative_rows()
_FORMANT_GRID = np.geomspace(180, 5200, 180)


def _formant_table() -> F32:
    """ln magnitude of a resonance at each grid frequency (rows), bandwidth 50 Hz + 6 %."""
    centre = _FORMANT_GRID[:, None]
    half = (50 + 0.06 * centre) / 2
    down = (FREQS - centre) ** 2 + half**2
    up = (FREQS + centre) ** 2 + half**2
    return np.log((centre**2 + half**2) / np.sqrt(down * up)).astype(np.float32)


_FORMANT_TABLE = _formant_table()
_OCTAVES = np.log2(np.maximum(FREQS, 200) / 200).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice."""

    f0: float  # Hz, calm
    range: float  # octaves of a lively phrase
    scale: float  # formants against an adult man's
    tilt: float  # dB per octave of the voiced source, radiation included
    breath: float  # amplitude of noise in the voice
    rate: float  # syllables a second
    talkative: float  # share of time that is no pause
    gain: float = 1.0  # brings calm speech to unit RMS


def speaker(rng: Generator, kind: str = "") -> Speaker:
    """A random man, woman or child."""
    kind = kind or str(rng.choice(["man", "woman"]))
    base, scale = {"man": (112, 1.0), "woman": (200, 1.16), "child": (270, 1.3)}[kind]
    who = Speaker(
        f0=base * 2 ** rng.uniform(-0.25, 0.25),
        range=rng.uniform(0.3, 0.6),
        scale=scale * rng.uniform(0.95, 1.06),
        tilt=-rng.uniform(5.5, 8.0),
        breath=rng.uniform(0.15, 0.45),
        rate=rng.uniform(3.6, 5.4),
        talkative=rng.uniform(0.7, 0.9),
    )
    return replace(who, gain=1 / _level(speech(rng, who, 5.0)))


@dataclass(slots=True)
class Score:
    """Break points of a voice over time; `render` draws lines between them."""

    time: list[float] = field(default_factory=list[float])
    rows: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])

    def put(
        self,
        at: float,
        f0: float,
        vowel: tuple[float, float, float],
        *,
        voiced: float = 0.0,
        breath: float = 0.0,
        fricative: float = 0.0,
        kind: str = "h",
        tilt: float = -6.0,
    ) -> None:
        """One break point; amplitudes are linear."""
        self.time.append(at)
        self.rows.append((f0, *vowel, voiced, breath, fricative, _FRICATIVE_NAMES.index(kind), tilt))


def render(rng: Generator, score: Score, seconds: float, scale: float) -> F32:
    """The sound of a score, not normalised."""
    size = samples(seconds)
    frames = size // HOP + 2
    if len(score.time) < 2:
        return np.zeros(size, np.float32)
    at = np.arange(frames) / FRAME_RATE
    table = np.array(score.rows)
    p = [np.interp(at, score.time, table[:, k]) for k in range(table.shape[1])]
    kind = table[np.clip(np.searchsorted(score.time, at), 0, len(table) - 1), 7].astype(int)
    pulses = _pulses(rng, p[0], size)
    hiss = noise(rng, size)
    out = np.zeros((frames + 4) * HOP + SIZE, np.float32)
    for first in range(0, frames, 2048):
        part = slice(first, min(frames, first + 2048))
        voiced_gain, noise_gain = _filters([x[part] for x in p], kind[part], scale)
        for source, gain in ((pulses, voiced_gain), (hiss, noise_gain)):
            _overlap_add(out, source, gain, first)
    lead = (SIZE - WINDOW) // 2
    return out[lead : lead + size]


def _pulses(rng: Generator, f0: NDArray[np.float64], size: int) -> F32:
    """Glottal pulses with 1 % jitter and 8 % shimmer, split over two samples; each of equal loudness."""
    f0 = f0 * (1 + 0.012 * rng.standard_normal(len(f0)))
    phase = np.cumsum(np.interp(np.arange(size) / HOP, np.arange(len(f0)), f0) / RATE)
    at = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    exact = (np.ceil(phase[at]) - phase[at]) / np.maximum(phase[at + 1] - phase[at], 1e-9)
    strength = (1 + 0.08 * rng.standard_normal(len(at))) * np.sqrt(RATE / np.maximum(f0[at // HOP], 40))
    out = np.zeros(size, np.float32)
    np.add.at(out, at, (1 - exact) * strength)
    np.add.at(out, at + 1, exact * strength)
    return out


def _filters(p: list[NDArray[np.float64]], kind: NDArray[np.int_], scale: float) -> tuple[F32, F32]:
    """(frames, bins) gains of the voiced and of the noisy source."""
    tract = np.zeros((len(kind), BINS), np.float32)
    for formant in (p[1], p[2], p[3]):
        tract += _FORMANT_TABLE[np.searchsorted(_FORMANT_GRID, formant * scale).clip(0, 179)]
    for fixed in (3500, 4500):
        tract += _FORMANT_TABLE[np.searchsorted(_FORMANT_GRID, fixed * scale).clip(0, 179)]
    lift = p[8][:, None].astype(np.float32) * np.float32(np.log(10) / 20) * _OCTAVES
    tract_gain = np.exp(tract + 0.6 * np.maximum(FREQS / 1000 - 4, 0).astype(np.float32).clip(0, 4))
    voiced = np.exp(lift) * tract_gain * p[4][:, None].astype(np.float32)
    hissy = tract_gain * p[5][:, None].astype(np.float32) * 0.3
    hissy += _FRICATIVE_TABLE[kind] * p[6][:, None].astype(np.float32)
    return voiced, hissy


_HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)


def _overlap_add(out: F32, source: F32, gain: F32, first: int) -> None:
    padded = np.pad(source[first * HOP : (first + len(gain) + 2) * HOP], (0, WINDOW * 2))
    views = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(gain)]
    framed = np.zeros((len(gain), SIZE), np.float32)
    framed[:, (SIZE - WINDOW) // 2 : (SIZE + WINDOW) // 2] = views * _HANN
    made = np.fft.irfft(np.fft.rfft(framed, axis=1) * gain, SIZE, axis=1).reshape(len(gain), SIZE // HOP, HOP)
    for k in range(SIZE // HOP):
        begin = (first + k) * HOP
        out[begin : begin + len(gain) * HOP] += made[:, k].reshape(-1)


Arousal = Callable[[float], float]


def calm(_: float) -> float:
    """Nobody is excited."""
    return 0.0


def speech(rng: Generator, who: Speaker, seconds: float, arousal: Arousal = calm) -> F32:
    """Phrases and pauses; unit RMS while calmly speaking, about 10-12 dB above at full arousal."""
    score, t = Score(), float(rng.uniform(0, 0.4))
    while t < seconds - 0.3:
        t = _phrase(rng, who, score, t, arousal, seconds)
        lively = arousal(t)
        pause = rng.exponential(0.9 * (1 / who.talkative - 0.95)) + rng.uniform(0.12, 0.35)
        t += pause * (1 - 0.7 * lively)
    sound = render(rng, score, seconds, who.scale) * np.float32(who.gain)
    at = np.arange(0, seconds + 0.1, 0.05)
    level = np.array([arousal(x) for x in at])
    return sound * np.interp(np.arange(len(sound)) / RATE, at, 10 ** (level * -1 / 20)).astype(np.float32)


def _level(sound: F32) -> float:
    """RMS over the frames that are not pauses."""
    power = np.mean(sound[: len(sound) // 800 * 800].reshape(-1, 800) ** 2, axis=1)
    return float(np.sqrt(power[power > 0.05 * power.mean()].mean()))


def _phrase(rng: Generator, who: Speaker, score: Score, t: float, arousal: Arousal, seconds: float) -> float:
    """One breath group; gives back when it ends."""
    count = int(rng.integers(3, 17))
    turn = rng.choice([-1.0, -1.0, 0.6])  # falls at the end, or asks
    for i in range(count):
        if t > seconds - 0.3:
            break
        a = arousal(t)
        along = i / max(1, count - 1)
        accent = who.range * (0.5 - 0.6 * along) + 0.2 * rng.standard_normal() * (1 + a)
        accent += turn * 0.25 * (along > 0.85)
        f0 = who.f0 * 2 ** (accent * (1 + 0.4 * a) * 0.6 + 0.85 * a)
        length = rng.gamma(14, 1 / 14) / (who.rate * (1 + 0.35 * a))
        if a > 0.7 and rng.random() < 0.18:
            length *= rng.uniform(2.5, 7)  # "gooooal"
        _syllable(rng, who, score, t, length, f0, a)
        t += length
    score.put(t + 0.04, who.f0, VOWELS["uh"], tilt=who.tilt)
    return t + 0.05


_OPEN = ("a", "ae", "o", "uh")


def _syllable(
    rng: Generator, who: Speaker, score: Score, t: float, length: float, f0: float, a: float
) -> None:
    names = _OPEN if rng.random() < 0.6 * a else tuple(VOWELS)
    f1, f2, f3 = VOWELS[str(rng.choice(names))]
    vowel = (f1 * (1 + 0.2 * a), f2 * rng.uniform(0.93, 1.07), f3)
    tilt = who.tilt + 3.5 * a
    onset = min(0.5 * length, rng.uniform(0.05, 0.13))
    breath = who.breath
    match rng.choice(["fricative", "stop", "nasal", "none"], p=[0.3, 0.34, 0.2, 0.16]):
        case "fricative":
            kind, amount = str(rng.choice(["s", "sh", "f", "h"])), rng.uniform(0.15, 0.6)
            score.put(t, f0, vowel, tilt=tilt, kind=kind)
            score.put(t + 0.3 * onset, f0, vowel, fricative=amount, kind=kind, tilt=tilt)
            score.put(t + 0.8 * onset, f0, vowel, fricative=amount, voiced=0.05, kind=kind, tilt=tilt)
        case "stop":
            score.put(t, f0, vowel, tilt=tilt)
            score.put(t + 0.7 * onset, f0, vowel, tilt=tilt, kind="burst")
            burst = rng.uniform(0.2, 0.9)
            score.put(t + 0.75 * onset, f0, vowel, fricative=burst, kind="burst", tilt=tilt)
            score.put(t + onset, f0, (f1 * 0.7, f2, f3), voiced=0.3, tilt=tilt)
        case "nasal":
            score.put(t, f0, (280, 1100, 2300), voiced=0.25, tilt=tilt - 4)
            score.put(t + 0.9 * onset, f0, (280, 1200, 2300), voiced=0.3, tilt=tilt - 4)
        case _:
            score.put(t, f0, vowel, voiced=0.3, tilt=tilt)
    loud = rng.uniform(0.6, 1.0)
    rise, fall = 2 ** rng.normal(0.03, 0.13), 2 ** rng.normal(-0.05, 0.13)  # pitch moves within a syllable
    score.put(t + onset + 0.02, f0 / rise, vowel, voiced=loud, breath=breath, tilt=tilt)
    score.put(t + 0.5 * (onset + length), f0, vowel, voiced=loud, breath=breath, tilt=tilt)
    closed = rng.random() < 0.3  # a consonant at the end
    last = 0.72 if closed else 0.86
    score.put(t + last * length, f0 * fall, vowel, voiced=loud * 0.8, breath=breath, tilt=tilt)
    if closed:
        kind = str(rng.choice(["s", "f", "sh", "burst"]))
        score.put(t + 0.8 * length, f0 * fall, vowel, tilt=tilt, kind=kind)
        amount = rng.uniform(0.1, 0.4)
        score.put(t + 0.88 * length, f0 * fall, vowel, fricative=amount, kind=kind, tilt=tilt)
    score.put(t + 0.98 * length, f0 * fall, vowel, voiced=0.0 if closed else 0.1, tilt=tilt)


def scream(rng: Generator, who: Speaker, seconds: float) -> F32:
    """One held, rough, high vowel; unit RMS."""
    score, f0 = Score(), who.f0 * 2 ** rng.uniform(1.0, 1.5)
    vowel = VOWELS[str(rng.choice(["a", "ae", "e"]))]
    score.put(0, f0 * 0.7, vowel)
    for t in np.arange(0.08, seconds - 0.1, 0.03):
        along = t / seconds
        rough = 1 + 0.05 * rng.standard_normal()
        score.put(t, f0 * rough * (1 - 0.25 * along**2), vowel, voiced=1 - 0.4 * along, breath=0.5, tilt=-1.5)
    score.put(seconds, f0 * 0.6, vowel)
    return unit(render(rng, score, seconds, who.scale))


def laugh(rng: Generator, who: Speaker, seconds: float) -> F32:
    """A bout of "ha ha ha": 4-6 Hz, each a breathy onset and a short vowel, falling; unit RMS.

    Rates and pitch after Bachorowski, Smoski & Owren (2001): voiced laughs lie far above speech.
    """
    score, t = Score(), 0.02
    rate, f0 = rng.uniform(4.2, 5.8), who.f0 * 2 ** rng.uniform(0.5, 1.1)
    vowel = VOWELS[str(rng.choice(["a", "uh", "ae", "e"]))]
    while t < seconds - 0.25:
        bout_end = min(seconds - 0.2, t + rng.uniform(0.8, 2.4))
        first = t
        while t < bout_end:
            along = (t - first) / 2.4
            period = rng.normal(1, 0.06) / (rate * (1 - 0.15 * along))
            pitch = f0 * (1.1 - 0.3 * along) * 2 ** rng.normal(0, 0.06)
            loud = (1.1 - 0.7 * along) * rng.uniform(0.7, 1.1)
            voiced = loud * (rng.random() > 0.15)
            score.put(t, pitch, vowel)
            score.put(t + 0.2 * period, pitch, vowel, fricative=0.45 * loud, breath=0.5 * loud, tilt=-4)
            score.put(t + 0.36 * period, pitch * 1.05, vowel, voiced=voiced, breath=0.3 * loud, tilt=-4)
            score.put(t + 0.66 * period, pitch * 0.93, vowel, voiced=voiced * 0.8, breath=0.3 * loud, tilt=-4)
            score.put(t + 0.8 * period, pitch * 0.9, vowel)
            t += period
        score.put(t, f0, vowel)
        score.put(t + 0.15, f0, VOWELS["e"], breath=0.5, fricative=0.12, kind="h")
        t += rng.uniform(0.3, 0.6)
        score.put(t - 0.03, f0, vowel)
    return unit(render(rng, score, seconds, who.scale))


def choir(
    rng: Generator,
    voices: int,
    seconds: float,
    *,
    vowels: tuple[str, ...] = ("a", "o", "ae"),
    glide: float = 0.0,
    effort: float = 1.0,
    spread: float = 0.35,
) -> F32:
    """Many people holding vowels, each at a pitch and with a wobble of their own; unit RMS.

    `glide` octaves are gone through from begin to end (a groan falls, a cheer rises first).
    """
    size, frames = samples(seconds), samples(seconds) // HOP + 2
    out = np.zeros(size, np.float32)
    groups = max(1, min(5, voices // 6))
    along = np.linspace(0, 1, frames)
    for _ in range(groups):
        source = np.zeros(size, np.float32)
        for _ in range(max(1, voices // groups)):
            base = 190 * 2 ** (rng.normal(0, spread) + 0.35 * effort)
            drift = np.interp(along, np.linspace(0, 1, 6), np.cumsum(rng.normal(0, 0.05, 6)))
            contour = base * 2 ** (drift + glide * along)
            source += _pulses(rng, contour, size) * np.float32(rng.uniform(0.4, 1))
        score = Score()
        for t in np.arange(0, seconds + 0.6, 0.6):
            vowel = VOWELS[str(rng.choice(vowels))]
            score.put(t, 200, vowel, voiced=rng.uniform(0.6, 1), breath=0.8, tilt=-6 + 4.5 * effort)
        out += _through(rng, score, source, rng.uniform(0.95, 1.25))
    return unit(out)


def _through(rng: Generator, score: Score, source: F32, scale: float) -> F32:
    """A given voiced source through a score's formants, with breath noise."""
    frames = len(source) // HOP + 2
    at = np.arange(frames) / FRAME_RATE
    table = np.array(score.rows)
    p = [np.interp(at, score.time, table[:, k]) for k in range(table.shape[1])]
    out = np.zeros((frames + 4) * HOP + SIZE, np.float32)
    voiced, hissy = _filters(p, np.zeros(frames, int), scale)
    _overlap_add(out, source, voiced, 0)
    _overlap_add(out, noise(rng, len(source)) * np.float32(4.0), hissy, 0)
    lead = (SIZE - WINDOW) // 2
    return out[lead : lead + len(source)]


def babble(rng: Generator, seconds: float, voices: int, *, lively: float = 0.15) -> F32:
    """Many people talking at once; unit RMS. A pool of eight voices, cut, shifted and repitched."""
    pool = [speech(rng, speaker(rng), 12.0, lambda _t: lively) for _ in range(6)]
    size = samples(seconds)
    out = np.zeros(size + samples(14), np.float32)
    for _ in range(voices):
        at = int(rng.integers(0, samples(3)))
        gain = rng.uniform(0.3, 1.0)
        while at < size:
            part = pool[int(rng.integers(len(pool)))]
            first = int(rng.integers(0, samples(8)))
            part = repitch(part[first : first + samples(rng.uniform(1.5, 6))], rng.uniform(0.85, 1.2))
            out[at : at + len(part)] += part * np.float32(gain * rng.uniform(0.5, 1.2))
            at += len(part) + samples(rng.exponential(0.4))
    return unit(out[:size])


def livelier(who: Speaker, *, rate: float = 1.0, pitch: float = 1.0) -> Speaker:
    """The same person in another mood."""
    return replace(who, rate=who.rate * rate, f0=who.f0 * pitch)
