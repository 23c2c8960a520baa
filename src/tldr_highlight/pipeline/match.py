"""A football match that never was: what `tldr-highlight demo` looks at. Read `make` first.

    plan (what happens when) -> soundtrack -> play (where everybody is) -> pictures -> one MP4

Everything is drawn and synthesised here, from a seed, with numpy, Pillow and PyAV: no file is needed and
the same seed gives the same film. The moments are planted, so their times are known: goals, a near miss, a
save, a surge of the crowd. Between them are things that are loud or sudden and *no* highlight: a chant with
drums, a public announcement, a commercial break with music.

Units: seconds, metres on the pitch (x 0..105 along it, y 0..68 away from the camera, z up), pixels on the
screen, samples at `RATE`, levels in dB relative to full scale.
"""

# pyright: reportUnknownMemberType=false
# PyAV's packets and streams are generic without saying of what.

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tldr_highlight.core.files import replacing
from tldr_highlight.errors import UsageError

Progress: TypeAlias = Callable[[str, float, float], None]
Floats: TypeAlias = NDArray[np.float64]
Bytes: TypeAlias = NDArray[np.uint8]
Words: TypeAlias = NDArray[np.uint16]
Ints: TypeAlias = NDArray[np.int64]
Sound: TypeAlias = NDArray[np.float32]
Point: TypeAlias = tuple[float, float]
Color: TypeAlias = tuple[int, int, int]
Rng: TypeAlias = np.random.Generator

WIDTH, HEIGHT, FPS = 640, 360, 25
GOP = 2 * FPS
RATE = 48_000
VERSION = 2
"""Goes up when the same seed makes another film."""

SHORTEST, LONGEST = 20.0, 600.0
"""Seconds: from one moment with enough before and after it to be told by, to what memory holds with ease."""

TEAMS = ("NORTHGATE", "RIVERTON")
SCORERS = (("9  HARLAN", "11  OKORO", "7  LINDQVIST"), ("10  MARCHETTI", "9  DUBOIS", "8  SATO"))


@dataclass(frozen=True, slots=True)
class Planted:
    """A moment that is in the film because we put it there. Seconds."""

    start: float
    peak: float
    end: float
    what: str


def _quiet(stage: str, done: float, total: float) -> None:
    """No progress shown."""


def make(path: Path, *, seconds: float = 180.0, seed: int = 1, progress: Progress = _quiet) -> list[Planted]:
    """Make the film at `path` (H.264/AAC MP4, 640x360, 25 fps, 2 s GOP, stereo 48 kHz), whole or not at all.

    Raises:
        UsageError: shorter than `SHORTEST` or longer than `LONGEST`.
        OutputError: it cannot be written, or the disk is full.
    """
    plan = plan_match(seconds, seed)
    with replacing(path) as draft:  # first, so that a folder that cannot be written is known at once
        progress("make", 0.0, seconds)
        sound = soundtrack(plan)
        _write(draft, plan, sound, progress)
    return planted(plan)


def made(path: Path, *, seconds: float = 180.0, seed: int = 1) -> bool:
    """Whether the film at `path` is what `make` would make.

    Raises:
        UsageError: there is something at `path` that no `make` has made and none should replace.
    """
    if not path.exists():
        return False
    comment = ""
    try:
        with av.open(str(path)) as container:
            comment = container.metadata.get("comment", "")
    except (FFmpegError, OSError):
        pass
    if not comment.startswith(MARK):
        raise UsageError(f"{path} is there and was not made by the demo: choose another folder with --out")
    return comment == _recipe(seconds, seed)


MARK = "made by tldr-highlight demo"


def _recipe(seconds: float, seed: int) -> str:
    return f"{MARK}: version {VERSION}, seed {seed}, {seconds:g} seconds"


def _write(path: Path, plan: Plan, sound: Sound, progress: Progress) -> None:
    """Encode pictures and sound, interleaved second by second."""
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        container.metadata["title"] = f"{TEAMS[0].title()} - {TEAMS[1].title()}"
        container.metadata["comment"] = _recipe(plan.seconds, plan.seed)
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "23", "preset": "veryfast",
                         "x264-params": f"keyint={GOP}:min-keyint={GOP}:scenecut=0"}  # fmt: skip
        video.codec_context.thread_count = 2  # always: the bytes depend on it
        audio = container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=160_000)
        for index, picture in enumerate(pictures(plan)):
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts = index
            container.mux(video.encode(frame))
            if index % FPS == 0:
                part = sound[:, index * RATE // FPS : (index + FPS) * RATE // FPS]
                block = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="stereo")
                block.sample_rate, block.pts = RATE, index * RATE // FPS
                container.mux(audio.encode(block))
                progress("make", plan.seconds / 4 + index / FPS * 3 / 4, plan.seconds)  # sound: a quarter
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


# --- the plan ------------------------------------------------------------------------------------------

Kind: TypeAlias = Literal["goal", "near miss", "surge", "save"]
Filler: TypeAlias = Literal["chant", "announcement", "break"]

CYCLE: tuple[Kind, ...] = ("goal", "near miss", "surge", "goal", "save")
SPACING = 36.0
"""Seconds from one moment to the next, about."""
LEAD = 9.0
"""Seconds an attack takes to build."""
TAIL: dict[Kind, float] = {"goal": 13.0, "near miss": 8.5, "surge": 7.0, "save": 7.5}
"""Seconds until the game is itself again."""
SPAN: dict[Kind, Point] = {
    "goal": (-1.0, 6.5),
    "near miss": (-1.5, 4.5),
    "surge": (-3.0, 4.0),
    "save": (-0.7, 5.5),
}
"""Where a moment starts and ends, in seconds after its `at`; `PEAK` likewise."""
PEAK: dict[Kind, float] = {"goal": 1.2, "near miss": 0.8, "surge": 0.3, "save": 1.2}
NAMES: dict[Kind, str] = {"goal": "goal", "near miss": "near miss", "surge": "crowd surge", "save": "save"}
ROOM: dict[Filler, float] = {"chant": 14.0, "announcement": 8.0, "break": 12.0}
"""Seconds each may take."""
REPLAY: dict[Kind, tuple[float, float, float]] = {"goal": (5.0, 10.0, -2.8), "near miss": (3.2, 6.4, -1.8)}
"""From, until, and where the replay starts, all in seconds after what it shows."""
REPLAY_SPEED = 0.8


@dataclass(frozen=True, slots=True)
class Scene:
    """A planted moment: `at` is the second of the ball crossing the line, being caught, tackled."""

    kind: Kind
    at: float
    side: int  # who attacks: 0 plays from left to right


@dataclass(frozen=True, slots=True)
class Pause:
    """What fills the time between moments and must not be taken for one."""

    kind: Filler
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens when."""

    seconds: float
    seed: int
    scenes: tuple[Scene, ...]
    pauses: tuple[Pause, ...]

    @property
    def frames(self) -> int:
        """Pictures in the film."""
        return round(self.seconds * FPS)

    def rng(self, purpose: int) -> Rng:
        """Random numbers of their own for each part, so that one can change without the others."""
        return np.random.default_rng([self.seed, purpose])


def plan_match(seconds: float = 180.0, seed: int = 1) -> Plan:
    """Moments at least 20 s apart, one for about every `SPACING` seconds, and what lies between them."""
    if not SHORTEST <= seconds <= LONGEST:
        raise UsageError(f"cannot make a match of {seconds:g} s: choose {SHORTEST:g} to {LONGEST:g}")
    rng = np.random.default_rng([seed, 0])
    count = max(1, round(seconds / SPACING))
    every = seconds / count
    sway = min(2.0, every / 12)
    scenes = tuple(
        Scene(
            CYCLE[i % len(CYCLE)],
            round((i + 0.52) * every + rng.uniform(-sway, sway), 2),
            int(rng.integers(2)),
        )
        for i in range(count)
    )
    return Plan(seconds, seed, scenes, tuple(_pauses(scenes, seconds)))


def _pauses(scenes: Sequence[Scene], seconds: float) -> Iterator[Pause]:
    turn = 0
    for scene, after in zip(scenes, (*(s.at - LEAD - 1 for s in scenes[1:]), seconds - 4), strict=True):
        kind: Filler = "announcement"
        if scene.kind != "goal":
            kind, turn = ("chant", "break")[turn % 2], turn + 1  # type: ignore[assignment]
        start, end = scene.at + TAIL[scene.kind], after
        if kind == "break":  # between key pictures, so that its black ends are seen on them
            start, end = math.ceil(start / 2) * 2.0, math.floor(end / 2) * 2.0
        end = min(end, start + ROOM[kind])
        if end - start >= 5.0:
            yield Pause(kind, start, end)


def planted(plan: Plan) -> list[Planted]:
    """The truth about a plan."""
    return [
        Planted(
            start=round(max(0.0, s.at + SPAN[s.kind][0]), 2),
            peak=round(s.at + PEAK[s.kind], 2),
            end=round(min(plan.seconds, s.at + SPAN[s.kind][1]), 2),
            what=NAMES[s.kind],
        )
        for s in plan.scenes
    ]


# --- voices --------------------------------------------------------------------------------------------

VOICE_RATE = 16_000
CONTROL = 200
"""Values per second of the curves that steer a voice."""
VOWELS = np.array([(750, 1250, 2550), (530, 1850, 2500), (300, 2250, 2950), (500, 900, 2500),
                   (340, 820, 2300), (500, 1500, 2500), (650, 1700, 2450)], dtype=float)  # fmt: skip
"""First three formants in Hz: a, e, i, o, u, schwa, ae (Peterson and Barney 1952, rounded)."""
OPEN_O = 3
BANDWIDTHS = (90.0, 120.0, 180.0)


def _unit(signal: Floats) -> Floats:
    """Scaled so that its loud half has an RMS of 1: pauses do not count."""
    level = np.sqrt(np.mean(np.square(signal)[np.abs(signal) > 1e-4 * np.abs(signal).max()]))
    return signal / max(float(level), 1e-9)


def _smooth(curve: Floats, width: int) -> Floats:
    """Mean over `width` values along the first axis, ends held."""
    pad = [(width // 2, width - 1 - width // 2)] + [(0, 0)] * (curve.ndim - 1)
    total = np.cumsum(np.pad(np.pad(curve, pad, mode="edge"), [(1, 0)] + [(0, 0)] * (curve.ndim - 1)), axis=0)
    return (total[width:] - total[:-width]) / width


def _voice(rng: Rng, pitch: Floats, formants: Floats, level: Floats, tilt: float) -> Floats:
    """A glottal pulse train through moving formants, as the sum of its harmonics, at `RATE`, unit level.

    Args:
        rng: for the breath.
        pitch: (c,) Hz, `CONTROL` values a second, as are the next two.
        formants: (c, 3) Hz.
        level: (c,) 0..1.
        tilt: how fast harmonics fall, as a power of their number; a shout has little tilt.
    """
    count = len(pitch) * VOICE_RATE // CONTROL
    fine, coarse = np.arange(count) / VOICE_RATE, np.arange(len(pitch)) / CONTROL
    turn = np.exp(2j * np.pi * np.cumsum(np.interp(fine, coarse, pitch)) / VOICE_RATE).astype(np.complex64)
    harmonic = np.ones(count, np.complex64)
    out: Floats = np.zeros(count)
    for k in range(1, int(4800 / pitch.min()) + 1):
        harmonic *= turn
        hertz = k * pitch
        gain = np.full(len(pitch), 0.02)
        for formant, width, weight in zip(formants.T, BANDWIDTHS, (1.0, 0.75, 0.5), strict=True):
            gain += weight / (1 + ((hertz - formant) / width) ** 2)
        gain *= math.pow(k, -tilt) * level * (hertz < 5200)
        wave: Floats = np.imag(harmonic).astype(np.float64)
        out += wave * np.interp(fine, coarse, gain)
    out = _unit(out) + 0.05 * rng.standard_normal(count) * np.interp(fine, coarse, level)
    spectrum = np.fft.rfft(out)
    return np.fft.irfft(np.pad(spectrum, (0, count * 3 // 2 + 1 - len(spectrum))), count * 3) * 3


def _speech(rng: Rng, seconds: float, pitch: float, rate: float, effort: float) -> Floats:
    """Babble with the rhythm of speech: `rate` syllables a second around `pitch` Hz, `effort` 0..1."""
    count = max(1, round(seconds * rate))
    lengths = rng.uniform(0.65, 1.35, count)
    edges = np.concatenate(([0], np.cumsum(lengths))) / lengths.sum() * seconds
    at = np.arange(round(seconds * CONTROL)) / CONTROL
    which = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, count - 1)
    inside = (at - edges[which]) / np.diff(edges)[which]
    accents = rng.uniform(0.88, 1.18, count)
    contour = pitch * _smooth(accents[which] * (1.05 - 0.1 * inside) * (1.08 - 0.16 * at / seconds), 14)
    formants = _smooth(VOWELS[rng.integers(0, len(VOWELS), count)][which], 10) * (1 + 0.06 * effort)
    level = _smooth(np.sin(np.pi * np.clip(inside, 0, 1)) ** 0.6 * rng.uniform(0.5, 1.0, count)[which], 4)
    tone = _voice(rng, contour, formants, level, 1.0 - 0.4 * effort)
    hisses = np.where((inside < 0.3) & (rng.random(count) < 0.35)[which], 0.35, 0.0)
    sharp = np.diff(rng.standard_normal(len(tone) + 1))
    return _unit(tone + sharp * np.interp(np.arange(len(tone)) / RATE, at, _smooth(hisses, 5)))


def _sung(rng: Rng, notes: Sequence[Point], vowel: int, tilt: float = 0.9) -> Floats:
    """Long vowels: `notes` are (seconds, Hz); a cry is one note, a chant is several."""
    parts = [np.full(round(seconds * CONTROL), hertz) for seconds, hertz in notes]
    gaps = [
        np.minimum(1.0, np.minimum(np.arange(1, len(p) + 1), np.arange(len(p), 0, -1)) / 12) for p in parts
    ]
    pitch = _smooth(np.concatenate(parts), 16)
    pitch *= 1 + 0.012 * np.sin(2 * np.pi * 5.5 * np.arange(len(pitch)) / CONTROL + rng.uniform(0, 6))
    formants = np.tile(VOWELS[vowel] * rng.uniform(0.94, 1.08), (len(pitch), 1))
    return _voice(rng, pitch, formants, np.concatenate(gaps), tilt)


# --- sounds of a stadium -------------------------------------------------------------------------------


def _db(level: float) -> float:
    return 10 ** (level / 20)


def _noise(rng: Rng, seconds: float, low: float, high: float) -> Floats:
    """Noise between two soft corners in Hz, unit RMS. Of whole tenths of a second it makes a loop."""
    count = round(seconds * RATE)
    size = -(-count // 4800) * 4800  # a length that transforms quickly
    spectrum = np.fft.rfft(rng.standard_normal(size))
    f = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 1.0)
    out = np.fft.irfft(spectrum / (1 + (low / f) ** 2) / (1 + (f / high) ** 2), size)[:count]
    return out / np.sqrt(np.mean(np.square(out)))


def _envelope(seconds: float, points: Sequence[Point]) -> Floats:
    """Gain per sample through (second, dB) points, straight in dB."""
    times, levels = zip(*points, strict=True)
    coarse = np.arange(0, seconds + 0.02, 0.01)
    gains = 10 ** (np.interp(coarse, times, levels) / 20)
    return np.interp(np.arange(round(seconds * RATE)) / RATE, coarse, gains)


def _roar(rng: Rng, swell: float, decay: float) -> Floats:
    """Thousands of open throats: (2, n), loudest `swell` seconds in, then falling for `decay` seconds."""
    seconds = swell + decay + 1.5
    shape = _envelope(seconds, [(0, -40), (0.35 * swell, -14), (swell, 0), (swell + 0.35 * decay, -3),
                                (swell + decay, -16), (seconds, -45)])  # fmt: skip
    sides: list[Floats] = []
    for _ in range(2):
        body = 0.8 * _noise(rng, seconds, 350, 1500) + 0.5 * _noise(rng, seconds, 900, 3800)
        flutter = 1 + 0.13 * _smooth(rng.standard_normal(round(seconds * 40)), 3)
        sides.append(body * np.interp(np.arange(len(body)) / RATE, np.arange(len(flutter)) / 40, flutter))
    return np.stack(sides) * shape


def _groan(rng: Rng, seconds: float) -> Floats:
    """A falling "ohh" of many: (2, n)."""
    count = round(seconds * RATE)
    out = np.zeros((2, count))
    for _ in range(14):
        top = rng.uniform(150, 330)
        tone = _sung(rng, [(0.35, top), (0.5, top * 0.85), (seconds - 1.2, top * 0.68)], OPEN_O, 0.8)
        lag = int(rng.uniform(0, 0.3) * RATE)
        tone = tone[: count - lag]
        out[:, lag : lag + len(tone)] += np.array([[rng.uniform(0.3, 1)], [rng.uniform(0.3, 1)]]) * tone
    out = out / np.sqrt(np.mean(np.square(out))) + 0.5 * np.stack(
        [_noise(rng, seconds, 300, 1300) for _ in "lr"]
    )
    return out * _envelope(seconds, [(0, -30), (0.3, -2), (0.6, 0), (1.4, -4), (seconds, -30)])


def _applause(rng: Rng, seconds: float, rate: float = 500.0) -> Floats:
    """`rate` claps a second, each a short burst of its own colour: (2, n)."""
    count = round(seconds * RATE)
    grain = np.arange(round(0.015 * RATE)) / RATE
    f = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 1.0)
    hands = 1 / (1 + (700 / f) ** 2) / (1 + (f / 3200) ** 2)
    number = round(rate * seconds / 4)
    out = np.zeros((2, count))
    for damping in (350, 500, 700, 1000):
        burst = rng.standard_normal(len(grain)) * np.exp(-damping * grain)
        for side in range(2):
            claps = np.zeros(count)
            claps[rng.integers(0, count, number)] = rng.gamma(2.0, 0.5, number)
            out[side] += np.fft.irfft(np.fft.rfft(claps) * np.fft.rfft(burst, count) * hands, count)
    out /= np.sqrt(np.mean(np.square(out)))
    return out * _envelope(seconds, [(0, -30), (0.8, 0), (0.55 * seconds, -2), (seconds, -35)])


def _whistle(rng: Rng, seconds: float) -> Floats:
    """A referee's whistle: two tones beaten by the pea."""
    t = np.arange(round(seconds * RATE)) / RATE
    pea = 1 + 0.025 * np.sin(2 * np.pi * 34 * t)
    phase = 2 * np.pi * np.cumsum(pea) / RATE
    tone = np.sin(2880 * phase) + 0.6 * np.sin(3110 * phase) + 0.15 * rng.standard_normal(len(t))
    return (
        tone
        * (0.7 + 0.3 * np.sin(2 * np.pi * 34 * t))
        * np.clip(np.minimum(t / 0.02, (seconds - t) / 0.06), 0, 1)
    )


def _drum(rng: Rng, hertz: float) -> Floats:
    t = np.arange(round(0.4 * RATE)) / RATE
    skin = np.sin(2 * np.pi * hertz * (t - 0.04 * np.exp(-t * 30))) * np.exp(-t * 11)
    return skin + 0.25 * rng.standard_normal(len(t)) * np.exp(-t * 90)


def _chant(rng: Rng, seconds: float) -> Floats:
    """Drums and a song, steady from one end to the other, faded in and out slowly."""
    beat = 0.48
    out = np.zeros(round((seconds + 1) * RATE))
    low, high = _drum(rng, 82), _drum(rng, 130)
    for i in range(int(seconds / beat * 2)):
        if "x.x.x.xxx.x.xx.."[i % 16] == "x":
            _add(out, i * beat / 2, high if i % 4 == 2 else low, 1.6)
    tune = [(2 * beat, 196.0), (beat, 220.0), (beat, 247.0), (2 * beat, 220.0), (2 * beat, 196.0)]
    for _ in range(6):
        voice = _sung(rng, [(s, f * rng.uniform(0.985, 1.015)) for s, f in tune], OPEN_O)
        octave = _sung(rng, [(s, f / 2 * rng.uniform(0.985, 1.015)) for s, f in tune], 0)
        for start in np.arange(0, seconds - 8 * beat + 0.01, 8 * beat):
            _add(out, float(start) + rng.uniform(0, 0.07), voice, 0.16)
            _add(out, float(start) + rng.uniform(0, 0.07), octave, 0.16)
    out = out[: round(seconds * RATE)]
    fade = min(3.0, seconds / 3)
    return _unit(out) * _envelope(seconds, [(0, -30), (fade, 0), (seconds - fade, 0), (seconds, -30)])


def _jingle(rng: Rng, seconds: float) -> Floats:
    """Music of a commercial: chords, bass, kick and hat at 120 beats a minute, with a voice over it."""
    out = np.zeros(round((seconds + 2) * RATE))
    t = np.arange(round(0.5 * RATE)) / RATE
    hat = np.diff(rng.standard_normal(len(t) + 1)) * np.exp(-t * 60)
    kick = _drum(rng, 55)
    for beat in range(int(seconds * 2)):
        root = (261.6, 196.0, 220.0, 174.6)[beat // 4 % 4]
        chord = (1, 1.5, 2, 1.26 if root != 220.0 else 1.19)
        soft = np.minimum(t / 0.01, 1) * np.exp(-t * 3) * np.clip((0.5 - t) / 0.05, 0, 1)
        tones = sum(np.sin(2 * np.pi * root * c * k * t) / k**1.3 for c in chord for k in (1, 2, 3, 4))
        lead = np.sin(2 * np.pi * root * (2, 3, 4, 3)[beat % 4] * t) * soft
        _add(out, beat / 2, np.asarray(tones) * soft, 0.2)
        _add(out, beat / 2, lead + np.sin(np.pi * root * t) * soft, 0.4)
        _add(out, beat / 2, kick, 0.7)
        _add(out, beat / 2 + 0.25, hat, 0.2)
    out = _unit(out[: round(seconds * RATE)])
    for start in np.arange(1.2, seconds - 3, 3.4):
        _add(out, float(start), _speech(rng, 2.2, 190, 4.6, 0.4), 0.8)
    return _unit(out) * _envelope(seconds, [(0, -20), (0.1, 0), (seconds - 0.6, 0), (seconds, -50)])


def _announcement(rng: Rng, seconds: float) -> Floats:
    """Chime and a voice through horn loudspeakers with their echoes."""
    out = np.zeros(round((seconds + 1) * RATE))
    t = np.arange(round(0.9 * RATE)) / RATE
    for i, hertz in enumerate((659.3, 523.3)):
        _add(out, 0.5 * i, np.sin(2 * np.pi * hertz * t) * np.exp(-t * 4) * np.minimum(t / 0.01, 1), 0.7)
    at = 1.6
    while at < seconds - 1.5:
        length = min(rng.uniform(1.6, 2.6), seconds - 0.5 - at)
        _add(out, at, _speech(rng, length, 205, 3.6, 0.5), 0.9)
        at += length + 0.5
    spectrum = np.fft.rfft(out)
    f = np.maximum(np.fft.rfftfreq(len(out), 1 / RATE), 1.0)
    horn = np.fft.irfft(spectrum / (1 + (450 / f) ** 4) / (1 + (f / 3200) ** 6), len(out))
    for delay, gain in ((0.13, 0.5), (0.29, 0.35), (0.47, 0.2)):
        _add(horn, delay, horn[: len(horn) - round(delay * RATE)].copy(), gain)
    return _unit(horn[: round(seconds * RATE)]) * _envelope(
        seconds, [(0, 0), (seconds - 0.4, 0), (seconds, -40)]
    )


# --- the mix -------------------------------------------------------------------------------------------

AMBIENCE, CALM, EXCITED, ROAR = -31.0, -26.0, -19.0, -15.5
"""Levels in dB of full scale while they last; a roar stands 15 dB above the murmur it grows out of."""


def _add(bus: NDArray[np.floating], at: float, sound: NDArray[np.floating], gain: float = 1.0) -> None:
    """Mix `sound` into `bus` at `at` seconds; what lies outside is lost. Both (n,), or both (2, n)."""
    start = round(at * RATE)
    skip = max(0, -start)
    room = bus.shape[-1] - max(start, 0)
    part = sound[..., skip : skip + max(room, 0)]
    if part.shape[-1]:
        bus[..., max(start, 0) : max(start, 0) + part.shape[-1]] += (part * gain).astype(bus.dtype)


def soundtrack(plan: Plan) -> Sound:
    """The whole sound: (2, n) at `RATE`, peaks below -1 dB."""
    count = plan.frames * RATE // FPS
    ground = _ambience(plan.rng(1), count)  # what the stadium hears, and echoes
    _reactions(plan, ground)
    _field(plan, ground)
    _reverberate(plan.rng(4), ground)
    for pause in plan.pauses:
        if pause.kind == "break":
            _leave_ground(ground, pause)
    speech = np.zeros(count, np.float32)
    _commentary(plan, speech)
    ground += speech
    for pause in plan.pauses:
        if pause.kind == "break":
            length = pause.end - pause.start - 1.0
            music = _jingle(plan.rng(5), length)
            _add(ground, pause.start + 0.5, np.stack([music, music]), _db(-22.0))
    return _limited(ground)


def _ambience(rng: Rng, count: int) -> Sound:
    """A murmur that never rests: loops of unlike lengths, each swaying slowly on its own."""
    out = np.zeros((2, count), np.float32)
    talk = np.zeros(7 * RATE)
    for _ in range(10):
        talk += np.roll(
            _speech(rng, 7.0, rng.uniform(95, 240), rng.uniform(3.5, 5.5), 0.4), rng.integers(7 * RATE)
        )
    layers = [(_noise(rng, 11.3, 200, 700), 0.75), (_noise(rng, 8.9, 500, 1800), 0.5),
              (_noise(rng, 9.7, 1500, 5000), 0.22), (_unit(talk), 0.4)]  # fmt: skip
    knots = np.arange(0, count / RATE + 2, 1.3)
    times = np.arange(count // 480) * 480 / RATE
    for loop, weight in layers:
        for side in out:
            sway = 10 ** (_smooth(rng.standard_normal(len(knots)), 3) * 1.3 / 20)
            gain = weight * np.interp(times, knots, sway).astype(np.float32)
            turned = np.roll(loop, int(rng.integers(len(loop)))).astype(np.float32)
            side.reshape(-1, 480)[:] += np.resize(turned, count).reshape(-1, 480) * gain[:, None]
    return out * np.float32(_db(AMBIENCE) / np.sqrt(np.mean(np.square(out))))


def _reactions(plan: Plan, ground: Sound) -> None:
    """What the crowd does at each moment."""
    rng = plan.rng(2)
    for scene in plan.scenes:
        if scene.kind == "goal":
            swell = rng.uniform(0.9, 1.3)
            _add(ground, scene.at - 2.5, _roar(rng, 2.4, 1.5), _db(ROAR - 8))
            _add(ground, scene.at + PEAK["goal"] - swell, _roar(rng, swell, rng.uniform(5.0, 6.5)), _db(ROAR))
            _add(ground, scene.at + 4.5, _applause(rng, 5.0), _db(ROAR - 9))
        elif scene.kind == "near miss":
            _add(ground, scene.at - 1.6, _roar(rng, 1.6, 1.2), _db(ROAR - 3))
            _add(ground, scene.at + 0.2, _groan(rng, 3.2), _db(ROAR + 0.5))
            _add(ground, scene.at + 2.2, _applause(rng, 3.5), _db(ROAR - 8))
        elif scene.kind == "save":
            _add(ground, scene.at - 0.2, _roar(rng, 0.7, 2.2), _db(ROAR - 1))
            _add(ground, scene.at + 0.5, _applause(rng, 6.0, 900), _db(ROAR - 2))
        else:
            _add(ground, scene.at - 1.7, _roar(rng, 2.0, 4.2), _db(ROAR - 0.5))


def _field(plan: Plan, ground: Sound) -> None:
    """Whistles, kicks, chants and announcements."""
    rng = plan.rng(3)
    calls = [(0.9, 0.7)]
    for scene in plan.scenes:
        kicks = np.diff(rng.standard_normal(1200)) * np.exp(-np.arange(1199) / 180)
        _add(ground, scene.at - 0.6, np.stack([kicks, kicks]), _db(-20))
        calls += {
            "goal": [(scene.at + 1.4, 0.9), (scene.at + 10.8, 0.5)],
            "surge": [(scene.at + 0.5, 0.4)],
        }.get(scene.kind, [])
    for at, length in calls:
        tone = _whistle(rng, length)
        _add(ground, at, np.stack([tone, 0.8 * tone]), _db(-31))
    for pause in plan.pauses:
        length = pause.end - pause.start
        if pause.kind == "chant":
            song = _chant(rng, length)
            _add(ground, pause.start, np.stack([song, 0.6 * song]), _db(-26.5))
        elif pause.kind == "announcement":
            voice = _announcement(rng, length)
            _add(ground, pause.start, np.stack([0.8 * voice, voice]), _db(-26.5))


def _reverberate(rng: Rng, ground: Sound) -> None:
    """The bowl answers: 0.7 s of decaying noise, 12 dB below, each side its own."""
    count = round(0.7 * RATE)
    block = (1 << 17) - count
    decay = np.exp(-np.arange(count) / RATE * 8) * (np.arange(count) > 0.018 * RATE)
    for channel in ground:
        answer = rng.standard_normal(count) * decay
        answer *= _db(-12) / np.sqrt(np.sum(np.square(answer)))
        response = np.fft.rfft(answer, 1 << 17)
        dry = channel.copy()
        for start in range(0, len(dry), block):
            wet = np.fft.irfft(np.fft.rfft(dry[start : start + block], 1 << 17) * response, 1 << 17)
            part = channel[start : start + (1 << 17)]
            part += wet[: len(part)].astype(np.float32)


def _leave_ground(ground: Sound, pause: Pause) -> None:
    """No stadium during the commercials."""
    times = [pause.start - 0.5, pause.start, pause.end, pause.end + 0.5]
    first, last = max(0, round(times[0] * RATE)), min(len(ground[0]), round(times[3] * RATE))
    at = np.arange(first, last) / RATE
    ground[:, first:last] *= np.interp(at, times, [1, 0, 0, 1]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Line:
    """Something the commentator says."""

    start: float
    end: float
    effort: float  # 0 calm .. 1 beside himself
    cry: bool = False  # one long vowel


def _commentary(plan: Plan, bus: Sound) -> None:
    """A commentator whose pitch, rate and level follow the game."""
    rng = plan.rng(6)
    for line in _spoken(plan, rng):
        length = line.end - line.start
        level = _db(CALM + (EXCITED - CALM) * line.effort)
        if line.cry:
            notes = [(0.15, 200.0), (length * 0.55, 285.0), (length * 0.45 - 0.15, 240.0)]
            _add(bus, line.start, _sung(rng, notes, OPEN_O, 0.7), level)
            continue
        pitch = 112 * (1 + 0.95 * line.effort) * rng.uniform(0.95, 1.06)
        _add(bus, line.start, _speech(rng, length, pitch, 4.4 + 2.6 * line.effort, line.effort), level)


def _spoken(plan: Plan, rng: Rng) -> Iterator[Line]:
    """Calm lines with pauses in the free time, and what each moment makes him say."""
    taken = [(p.start - 0.6, p.end + 0.6) for p in plan.pauses if p.kind != "chant"]
    for scene in plan.scenes:
        at = scene.at
        taken.append((at - 4.5, at + 6.8))
        yield Line(at - 4.2, at - 2.1, 0.3)
        yield Line(at - 1.8, at - 0.1, 0.65)
        yield Line(at + 0.15, at + (2.6 if scene.kind == "goal" else 1.3), 1.0, scene.kind == "goal")
        yield Line(at + 2.9 if scene.kind == "goal" else at + 1.6, at + 4.3, 0.75)
        yield Line(at + 4.8, at + 6.5, 0.3)
    at = 2.0
    while at < plan.seconds - 1.5:
        end = at + rng.uniform(1.4, 3.6)
        clash = [b for a, b in taken if a < end and at < b]
        if clash:
            at = max(clash) + rng.uniform(0.1, 0.6)
            continue
        yield Line(at, end, float(rng.choice([0.0, 0.0, 0.1, 0.2])))
        at = end + rng.choice([rng.uniform(0.4, 0.9), rng.uniform(1.2, 3.0)])


CEILING = 0.85
"""Largest sample that leaves the limiter, -1.4 dB: what AAC adds stays below full scale."""


def _limited(sound: Sound) -> Sound:
    """Look-ahead limiter: no sample passes `CEILING`; gain goes straight between what 5 ms blocks need."""
    block, reach = 240, 12
    shaped = sound.reshape(2, -1, block)
    need = np.minimum(1.0, CEILING / np.maximum(np.abs(shaped).max(axis=(0, 2)), 1e-9))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(need, reach, mode="edge"), 2 * reach + 1)
    gain = _smooth(around.min(axis=1).astype(np.float64), reach)
    nodes = np.minimum(np.append(gain, gain[-1]), np.append(gain[0], gain))
    ramp = np.arange(block) / block
    curve = nodes[:-1, None] + np.diff(nodes)[:, None] * ramp
    return (shaped * curve.astype(np.float32)).reshape(2, -1)


# --- the play ------------------------------------------------------------------------------------------

LENGTH, BREADTH, MIDDLE = 105.0, 68.0, 34.0
FORMATION = np.array([(0.03, 0.5), (0.2, 0.14), (0.16, 0.38), (0.16, 0.62), (0.2, 0.86), (0.42, 0.15),
                      (0.38, 0.39), (0.38, 0.61), (0.42, 0.85), (0.62, 0.36), (0.6, 0.64)])  # fmt: skip
"""Where eleven stand, own goal to the other one, near to far: goalkeeper, 4-4-2."""
KEEPERS = (0, 11)
REFEREE, LINESMEN = 22, (23, 24)
PEOPLE = 25
STAND, CHEER, DIVE = 4, 5, 6
"""Poses after the four of running."""

LegKind: TypeAlias = Literal["carry", "pass", "shot", "cheer", "rest", "kickoff"]


@dataclass(frozen=True, slots=True)
class Leg:
    """The ball from one place to another."""

    kind: LegKind
    start: float
    end: float
    a: Point
    b: Point
    team: int
    lift: float = 0.0  # metres at the middle of the way


class BallPath:
    """Writes down where the ball goes: free play until a moment is due, then an attack that ends in it."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.legs: list[Leg] = []
        self.now = 0.0
        self.at: Point = (LENGTH / 2, MIDDLE)
        self.team = 0

    def to(self, kind: LegKind, point: Point, seconds: float, lift: float = 0.0) -> None:
        """One leg from here to `point`."""
        self.legs.append(Leg(kind, self.now, self.now + seconds, self.at, point, self.team, lift))
        self.now, self.at = self.now + seconds, point

    def way(self) -> int:
        """1 when the team with the ball plays to the right, else -1."""
        return 1 if self.team == 0 else -1

    def free(self, until: float) -> None:
        """Passes and runs without end product."""
        rng = self.rng
        while self.now < until:
            carry, turn = rng.uniform(0.6, 1.6), rng.uniform(-1.2, 1.2)
            forward = rng.uniform(1.5, 5.0) * carry * self.way()
            self.to("carry", self._inside(self.at[0] + forward, self.at[1] + turn * 3), carry)
            reach, angle = rng.uniform(8, 24), rng.uniform(-1.5, 1.5)
            if abs(self.at[0] - LENGTH / 2) > 30 and forward * (self.at[0] - LENGTH / 2) > 0:
                angle += math.pi  # too near the goal for nothing to happen: back
            x = self.at[0] + reach * math.cos(angle) * self.way()
            y = self.at[1] + reach * math.sin(angle) + 0.15 * (MIDDLE - self.at[1])
            high = reach > 17 and rng.random() < 0.5
            self.to("pass", self._inside(x, y), reach / rng.uniform(13, 17), 4.0 if high else 0.3)
            if rng.random() < 0.2:
                self.team = 1 - self.team

    def attack(self, spot: Point, until: float) -> None:
        """In three passes to `spot`, there at `until`."""
        rounds = 3
        length = max(until - self.now, 0.6) / rounds
        for i in range(rounds):
            share = 1 / (rounds - i)
            x, y = (self.at[k] + (spot[k] - self.at[k]) * share for k in range(2))
            if i < rounds - 1:
                y += self.rng.uniform(-9, 9)
            middle = self._inside(self.at[0] + (x - self.at[0]) * 0.35, self.at[1] + (y - self.at[1]) * 0.3)
            self.to("carry", middle, length * 0.5)
            self.to("pass", self._inside(x, y), length * 0.5, 0.4)

    def _inside(self, x: float, y: float) -> Point:
        return min(max(x, 6.0), LENGTH - 6), min(max(y, 5.0), BREADTH - 5)


def _legs(plan: Plan) -> list[Leg]:
    """The ball's way through the whole film."""
    rng = plan.rng(7)
    path = BallPath(rng)
    path.to("kickoff", path.at, 1.6)
    for scene in plan.scenes:
        way = 1 if scene.side == 0 else -1
        goal = LENGTH if scene.side == 0 else 0.0
        spot = (goal - way * rng.uniform(12, 18), MIDDLE + rng.uniform(-9, 9))
        if scene.kind == "surge":
            path.free(scene.at - LEAD - 4)
            path.team = 1 - scene.side
            path.attack((goal - way * 80, MIDDLE + rng.uniform(-15, 15)), scene.at - 6)
            path.team = scene.side
            path.attack(spot, scene.at)
            path.team = 1 - scene.side
            path.to("pass", (goal - way * 30, 4.0), 1.6, 2.0)
        else:
            path.free(scene.at - LEAD)
            path.team = scene.side
            path.attack(spot, scene.at - math.dist(spot, (goal, MIDDLE)) / 26)
            _finish(path, scene, goal, way)
    path.free(plan.seconds + 1)
    return path.legs


def _finish(path: BallPath, scene: Scene, goal: float, way: int) -> None:
    """The shot and what becomes of it."""
    rng, at = path.rng, scene.at
    aside = float(rng.choice([-1, 1]))
    flight = at - path.now
    if scene.kind == "goal":
        path.to("shot", (goal + way * 1.2, MIDDLE + aside * 2.6), flight, 1.0)
        path.to("cheer", path.at, 7.0)
        path.at, path.team = (LENGTH / 2, MIDDLE), 1 - path.team
        path.to("kickoff", path.at, at + 11.0 - path.now)
    elif scene.kind == "near miss":
        path.to("shot", (goal + way * 1.0, MIDDLE + aside * 4.6), flight, 1.6)
        path.to("rest", (goal + way * 5.0, MIDDLE + aside * 6.0), 0.6, 0.5)
        path.to("rest", path.at, at + 5.4 - path.now)
        path.at, path.team = (goal - way * 5.5, MIDDLE - aside * 4), 1 - path.team
        path.to("rest", path.at, 1.4)
        path.to("pass", (LENGTH / 2 - way * 5, MIDDLE + rng.uniform(-20, 20)), 2.4, 11.0)
    else:
        path.to("shot", (goal - way * 1.4, MIDDLE + aside * 2.3), flight, 0.9)
        path.team = 1 - path.team
        path.to("rest", path.at, 1.6)
        path.to("carry", (goal - way * 9, MIDDLE), 2.6)
        path.to("pass", (LENGTH / 2 - way * 8, MIDDLE + rng.uniform(-20, 20)), 2.3, 10.0)


@dataclass(slots=True)
class Play:
    """Where everything is, per frame."""

    people: Floats  # (frames, PEOPLE, 2) metres
    pose: Bytes  # (frames, PEOPLE)
    left: NDArray[np.bool_]  # (frames, PEOPLE) who looks to the left
    ball: Floats  # (frames, 3) metres


def play_match(plan: Plan) -> Play:
    """Steer twenty-two players after the ball."""
    frames = plan.frames
    legs, rng = _legs(plan), plan.rng(8)
    play = Play(np.zeros((frames, PEOPLE, 2)), np.full((frames, PEOPLE), STAND, np.uint8),
                np.zeros((frames, PEOPLE), bool), np.zeros((frames, 3)))  # fmt: skip
    squad = Squad(rng)
    index = -1
    for frame in range(frames):
        now = frame / FPS
        while index < 0 or now >= legs[index].end:
            index += 1
            squad.take(legs[index])
        play.ball[frame] = _ball(legs[index], now)
        squad.step(legs[index], now, play.ball[frame])
        play.people[frame, :22], play.pose[frame, :22] = squad.at, squad.pose(legs[index], now)
        play.left[frame, :22] = squad.left
    _officials(play)
    return play


def _ball(leg: Leg, now: float) -> tuple[float, float, float]:
    u = min((now - leg.start) / max(leg.end - leg.start, 1e-6), 1.0)
    slow = u if leg.kind == "carry" else u * (1.3 - 0.3 * u)
    x, y = (a + (b - a) * slow for a, b in zip(leg.a, leg.b, strict=True))
    return x, y, leg.lift * 4 * u * (1 - u) if leg.kind != "shot" else leg.lift * math.sin(2.2 * u)


class Squad:
    """Both teams: places to keep, a ball to win. Arrays are (22, 2), home first, goalkeepers at 0 and 11."""

    def __init__(self, rng: Rng) -> None:
        away = np.column_stack([1 - FORMATION[:, 0], FORMATION[:, 1]])
        self.slots: Floats = np.concatenate([FORMATION, away]) * (LENGTH, BREADTH)
        self.at: Floats = self._kickoff_places()
        self.speed: Floats = np.zeros((22, 2))
        self.left = np.arange(22) >= 11
        self.stride: Floats = rng.uniform(0, 4, 22)
        self.wander: Floats = rng.uniform(0, 6.28, (22, 2))
        self.hero = -1
        self.team = np.arange(22) // 11

    def _kickoff_places(self) -> Floats:
        places = self.slots.copy()
        places[:11, 0] = np.minimum(places[:11, 0], LENGTH / 2 - 3)
        places[11:, 0] = np.maximum(places[11:, 0], LENGTH / 2 + 3)
        return places

    def take(self, leg: Leg) -> None:
        """A new leg: who goes for the ball, and whether all start afresh."""
        self.hero = -1
        if leg.kind == "kickoff":
            self.at, self.speed = self._kickoff_places(), np.zeros((22, 2))
            self.at[9 + 11 * leg.team] = (LENGTH / 2 - (0.8 if leg.team == 0 else -0.8), MIDDLE - 0.5)
        elif leg.kind in ("carry", "pass", "cheer"):
            where = leg.a if leg.kind == "carry" else leg.b
            away = np.hypot(*(self.at - where).T) + np.where(self.team == leg.team, 0, 1e3)
            if abs(leg.a[0] - LENGTH / 2) < LENGTH / 2 - 10:
                away[list(KEEPERS)] += 1e3
            self.hero = int(away.argmin())

    def step(self, leg: Leg, now: float, ball: Floats) -> None:
        """One frame on."""
        if leg.kind == "kickoff":
            self.left = self.team == 1
            self.speed[:] = 0
            return
        goal, top = self._aims(leg, now, ball)
        wish = (goal - self.at) * 1.6
        size = np.maximum(np.hypot(*wish.T), 1e-6)
        wish *= np.minimum(1.0, top / size)[:, None]
        self.speed += (wish - self.speed) * 0.14
        apart = self.at[:, None] - self.at[None]
        gap = np.maximum(np.hypot(apart[..., 0], apart[..., 1]), 0.3)
        push = (apart / gap[..., None] * np.clip(1.8 - gap, 0, None)[..., None]).sum(axis=1)
        self.at += (self.speed + 1.5 * push) / FPS
        if leg.kind == "carry":
            ahead = 0.6 * np.sign(leg.b[0] - leg.a[0])
            self.at[self.hero] += (ball[:2] - (ahead, 0.1) - self.at[self.hero]) * 0.25
        fast = np.abs(self.speed[:, 0]) > 0.8
        self.left = np.where(fast, self.speed[:, 0] < 0, self.left)
        self.stride += np.hypot(*self.speed.T) / FPS * 1.15

    def _aims(self, leg: Leg, now: float, ball: Floats) -> tuple[Floats, Floats]:
        """Where each wants to be and how fast he may run, in m and m/s."""
        x, y = float(ball[0]) - LENGTH / 2, float(ball[1]) - MIDDLE
        drift = 2.2 * np.sin(now * 0.35 + self.wander)
        goal = self.slots + np.array([0.55 * x, 0.28 * y]) + drift
        goal[self.team == leg.team, 0] += 6 if leg.team == 0 else -6
        goal = np.clip(goal, (3, 2), (LENGTH - 3, BREADTH - 2))
        top = np.full(22, 5.6)
        if leg.kind == "cheer":
            glad = (self.team == leg.team) & ~np.isin(np.arange(22), KEEPERS)
            corner = (min(max(leg.b[0], 5), LENGTH - 5), BREADTH - 5)
            goal[glad] = (
                corner + np.column_stack([np.cos(self.wander[glad, 0]), np.sin(self.wander[glad, 0])]) * 2.4
            )
            top[glad], top[~glad] = 6.6, 1.5
        elif leg.kind in ("carry", "pass"):
            reach = np.hypot(*(self.at - ball[:2]).T) + np.where(self.team == leg.team, 1e3, 0)
            reach[list(KEEPERS)] = 1e3
            for chaser in np.argsort(reach)[:2]:
                goal[chaser], top[chaser] = ball[:2], 6.8
            left = max(leg.end - now, 0.1)
            goal[self.hero] = leg.b if leg.kind == "pass" else ball[:2]
            top[self.hero] = min(9.0, max(5.0, math.dist(self.at[self.hero], leg.b) / left))
        self._keepers(leg, ball, goal, top)
        return goal, top

    def _keepers(self, leg: Leg, ball: Floats, goal: Floats, top: Floats) -> None:
        for keeper, line, way in ((KEEPERS[0], 0.0, 1), (KEEPERS[1], LENGTH, -1)):
            if self.hero == keeper:
                continue
            goal[keeper] = (line + way * 2.0, MIDDLE + np.clip((ball[1] - MIDDLE) * 0.16, -2.5, 2.5))
            if leg.kind == "shot" and abs(leg.b[0] - line) < 10:
                caught = way * (leg.b[0] - line) > 0  # the ball stops before the line
                goal[keeper] = (line + way * 1.2, MIDDLE + (leg.b[1] - MIDDLE) * (1.0 if caught else 0.6))
                top[keeper] = 7.0

    def pose(self, leg: Leg, now: float) -> Bytes:
        """What each body does."""
        pace = np.hypot(*self.speed.T)
        pose = np.where(pace > 0.7, self.stride.astype(np.int64) % 4, STAND)
        if leg.kind == "cheer":
            pose[(self.team == leg.team) & (pace < 5.5)] = CHEER
        if leg.kind == "shot" and leg.end - now < 0.3:
            pose[KEEPERS[1] if leg.b[0] > LENGTH / 2 else KEEPERS[0]] = DIVE
        return pose.astype(np.uint8)


def _officials(play: Play) -> None:
    """The referee follows the game diagonally, the linesmen along their lines."""
    x, y = _smooth(play.ball[:, :2], 3 * FPS).T
    play.people[:, REFEREE] = np.column_stack([np.clip(x - 7, 12, 93), np.clip(y * 0.7 + 4, 4, 64)])
    for one, line in zip(LINESMEN, (-1.2, BREADTH + 1.2), strict=True):
        play.people[:, one] = np.column_stack([np.clip(x, 5, LENGTH - 5), np.full(len(x), line)])
    officials = [REFEREE, *LINESMEN]
    speed = np.gradient(play.people[:, officials, 0], axis=0) * FPS if len(x) > 1 else np.zeros((len(x), 3))
    stride = np.cumsum(np.abs(speed), axis=0) / FPS * 1.15
    play.pose[:, officials] = np.where(np.abs(speed) > 0.7, stride.astype(np.int64) % 4, STAND)
    play.left[:, officials] = speed < 0


# --- pictures: what is drawn once ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planes:
    """A picture as 4:2:0 planes: luma, and the two colours at half the size."""

    y: Bytes
    u: Bytes
    v: Bytes

    @staticmethod
    def over(packed: Bytes) -> Planes:
        """Views of a packed (height * 3 / 2, width) array, as PyAV takes and gives it."""
        height, width = packed.shape[0] * 2 // 3, packed.shape[1]
        u, v = packed[height:].reshape(2, height // 2, width // 2)
        return Planes(packed[:height], u, v)

    @staticmethod
    def of(picture: Bytes) -> Planes:
        """From (height, width, 3) RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        return Planes.over(frame.reformat(format="yuv420p").to_ndarray().astype(np.uint8))

    def crop_to(self, out: Planes, x: int, y: int) -> None:
        """Copy the window at `x`, `y` (clipped to what there is) into `out`."""
        height, width = out.y.shape
        x = min(max(x, 0), self.y.shape[1] - width)
        y = min(max(y, 0), self.y.shape[0] - height)
        out.y[:] = self.y[y : y + height, x : x + width]
        out.u[:] = self.u[y // 2 : y // 2 + height // 2, x // 2 : x // 2 + width // 2]
        out.v[:] = self.v[y // 2 : y // 2 + height // 2, x // 2 : x // 2 + width // 2]


class Stamp:
    """A small picture with transparency, ready to be laid on planes."""

    def __init__(self, picture: Image.Image, anchor: Point = (0.0, 0.0)) -> None:
        width, height = picture.width + picture.width % 2, picture.height + picture.height % 2
        rgba = np.zeros((height, width, 4))
        rgba[: picture.height, : picture.width] = np.asarray(picture.convert("RGBA"))
        self.dx, self.dy = round(anchor[0] * picture.width), round(anchor[1] * picture.height)
        alpha = rgba[..., 3] * (256 / 255)
        r, g, b = np.moveaxis(rgba[..., :3], 2, 0)
        luma = 16 + 0.257 * r + 0.504 * g + 0.098 * b
        blue = 128 - 0.148 * r - 0.291 * g + 0.439 * b
        red = 128 + 0.439 * r - 0.368 * g - 0.071 * b
        self.luma = self._ready(luma * alpha, alpha)
        self.blue, self.red = (self._ready(_halved(c * alpha), _halved(alpha)) for c in (blue, red))

    @staticmethod
    def _ready(value: Floats, alpha: Floats) -> tuple[Words, Words]:
        return np.round(value).astype(np.uint16), (256 - np.round(alpha)).astype(np.uint16)

    def lay(self, on: Planes, x: int, y: int) -> None:
        """Put the anchor at `x`, `y`; what is outside is left out."""
        x, y = x - self.dx, y - self.dy
        _lay(on.y, self.luma, x, y)
        _lay(on.u, self.blue, x // 2, y // 2)
        _lay(on.v, self.red, x // 2, y // 2)


def _halved(plane: Floats) -> Floats:
    height, width = plane.shape
    return plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def _lay(plane: Bytes, stamp: tuple[Words, Words], x: int, y: int) -> None:
    value, keep = stamp
    top, bottom = max(0, -y), min(value.shape[0], plane.shape[0] - y)
    left, right = max(0, -x), min(value.shape[1], plane.shape[1] - x)
    if top < bottom and left < right:
        part = plane[y + top : y + bottom, x + left : x + right]
        part[:] = (part * keep[top:bottom, left:right] + value[top:bottom, left:right]) >> 8


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


NEAR = 12.8
"""Pixels per metre at the near touchline, unzoomed."""
DEPTH = (1 / 0.7 - 1) / BREADTH
"""The far touchline is drawn at 0.7 of the near one's scale."""
DROP = 833.0
"""Pixels from the vanishing line to the near touchline: the mild perspective of a high camera."""
BASE = 378.0
"""Row of the near touchline, unzoomed."""
BOARDS, TRACK = BREADTH + 4.0, 9.5
"""Where the advertising boards stand, metres: behind the far touchline, behind the goal lines."""
PHASES = 6
HOME, AWAY, KEEPER_HOME, KEEPER_AWAY, BLACK = range(5)
KITS: tuple[tuple[Color, Color], ...] = (((214, 40, 48), (245, 245, 245)), ((42, 92, 214), (20, 34, 86)),
    ((244, 196, 48), (30, 30, 30)), ((255, 128, 40), (30, 30, 30)), ((24, 24, 28), (24, 24, 28)))  # fmt: skip
KIT_OF = np.array([KEEPER_HOME, *[HOME] * 10, KEEPER_AWAY, *[AWAY] * 10, BLACK, BLACK, BLACK])


class World:
    """The stadium at one zoom: a wide picture per mood and phase of the crowd, bodies to lay on it."""

    def __init__(self, rng: Rng, zoom: float) -> None:
        self.zoom = zoom
        self.width, self.height = (2 * round(v * zoom / 2) for v in (1500, 404))
        self._bodies: dict[tuple[int, int, bool, int], Stamp] = {}
        self._pictures: dict[tuple[int, int], Planes] = {}
        self._ground = _ground(self)
        self._crowd = Crowd(self, rng)
        self.balls = [_ball_stamp(self.zoom * s) for s in (0.7, 0.8, 0.9, 1.0)]
        self.shade = _shade_stamp(self.zoom)

    def scale(self, y: Floats) -> Floats:
        """Size of things `y` metres from the near touchline."""
        return 1 / (1 + DEPTH * y)

    def project(self, x: Floats, y: Floats, z: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """Columns and rows of points in metres."""
        s = self.scale(y)
        column = self.width / 2 + (x - LENGTH / 2) * NEAR * s * self.zoom
        return column, (BASE - DROP * (1 - s) - z * NEAR * s) * self.zoom

    def metres(self) -> tuple[Floats, Floats]:
        """For each pixel, what point of the ground it shows."""
        rows, columns = np.arange(self.height)[:, None], np.arange(self.width)
        s = (rows / self.zoom - BASE + DROP) / DROP
        x = (columns - self.width / 2) / (NEAR * s * self.zoom) + LENGTH / 2
        return x, (1 / s - 1) / DEPTH * np.ones(self.width)

    def picture(self, mood: int, phase: int) -> Planes:
        """The stadium without players, drawn when first asked for."""
        key = (mood, phase)
        if key not in self._pictures:
            self._pictures[key] = Planes.of(self._crowd.over(self._ground, mood, phase))
        return self._pictures[key]

    def body(self, kit: int, pose: int, left: bool, depth: float) -> Stamp:
        """A person, drawn when first asked for."""
        size = round(float(depth) * 10)
        key = (kit, pose, bool(left), size)
        if key not in self._bodies:
            self._bodies[key] = _body(KITS[kit], pose, left, 31 * self.zoom * size / 10)
        return self._bodies[key]

    def crowded(self, column: int, row: int) -> bool:
        """Whether a pixel shows the crowd."""
        return bool(self._crowd.where[row, column])


def _ground(world: World) -> Bytes:
    """Grass with mown stripes and lines, track, boards and goals: (h, w, 3)."""
    x, y = world.metres()
    stripe = np.floor(x / 5.25) % 2
    base = np.array([62, 138, 56]) + stripe[..., None] * np.array([12, 19, 9])
    weave = np.random.default_rng(5).normal(0, 2.2, x.shape)
    shadow = np.where(y > 47 + 0.09 * (x - LENGTH / 2), 0.8, 1.0)
    picture = (base + weave[..., None]) * shadow[..., None]
    track = (x < -4.5) | (x > LENGTH + 4.5) | (y > BREADTH + 2.6)
    picture[track] = np.array([154, 84, 66]) + weave[track][:, None]
    paint = _lines(x, y, 0.09 + 0.35 / (NEAR * world.zoom))[..., None]
    picture += (np.array([238, 244, 236]) * shadow[..., None] - picture) * paint
    canvas = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    _boards(canvas, world)
    _goals(canvas, world)
    return np.asarray(canvas)


def _lines(x: Floats, y: Floats, half: float) -> Floats:
    """How much of each pixel is painted white, 0..1; `half` is half a line's width in metres."""
    deep, aside = np.minimum(x, LENGTH - x), np.abs(y - MIDDLE)  # the pitch is four times the same quarter
    spot, centre = np.hypot(deep - 11, aside), np.hypot(deep - LENGTH / 2, aside)
    corner = np.abs(np.hypot(deep, aside - MIDDLE) - 1)
    nearest = np.minimum(np.abs(deep), np.abs(aside - MIDDLE))
    for line in (np.abs(deep - LENGTH / 2), np.abs(centre - 9.15), centre - 0.22, spot - 0.22, corner):
        np.minimum(nearest, line, out=nearest)
    np.minimum(nearest, np.abs(spot - 9.15), out=nearest, where=deep > 16.5)
    for far, wide in ((16.5, 20.16), (5.5, 9.16)):
        np.minimum(nearest, np.abs(deep - far), out=nearest, where=aside < wide + half)
        np.minimum(nearest, np.abs(aside - wide), out=nearest, where=deep < far + half)
    on_pitch = (deep > -half) & (aside < MIDDLE + half)
    return np.clip((half - nearest) / half * 1.6, 0, 0.92) * on_pitch


SPONSORS: tuple[tuple[str, Color, Color], ...] = (
    ("TL;DR HIGHLIGHT", (250, 250, 250), (92, 44, 196)),
    ("FIZZ COLA", (255, 255, 255), (208, 30, 60)),
    ("NORDBANK", (8, 40, 90), (240, 240, 240)),
    ("aurora air", (255, 220, 90), (14, 60, 110)),
    ("HAMMER TOOLS", (20, 20, 20), (250, 196, 20)),
)


def _boards(canvas: Image.Image, world: World) -> None:
    """Advertising behind the far line, and plain boards in perspective behind the goals."""
    draw = ImageDraw.Draw(canvas)
    height, x = 1.5, -TRACK
    corners = ((-TRACK, SPONSORS[0][2]), (LENGTH + TRACK, SPONSORS[1][2]))
    for end, color in corners:
        edge = [
            world.project(np.array(end), np.array(y), z)
            for y, z in ((-9, 0), (BOARDS, 0), (BOARDS, height), (-9, height))
        ]
        draw.polygon([(float(a), float(b)) for a, b in edge], fill=color)
    index = 0
    while x < LENGTH + TRACK:
        name, ink, ground = SPONSORS[index % len(SPONSORS)]
        end = min(x + 13.0, LENGTH + TRACK)
        (left, bottom), (right, top) = (
            world.project(np.array(a), np.array(BOARDS), z) for a, z in ((x, 0), (end, height))
        )
        draw.rectangle([float(left), float(top), float(right) - 1, float(bottom)], fill=ground)
        if end - x > 12:
            middle = (float(left + right) / 2, float(top + bottom) / 2)
            draw.text(middle, name, fill=ink, font=_font(11 * world.zoom), anchor="mm")
        x, index = end, index + 1


def _goals(canvas: Image.Image, world: World) -> None:
    """Posts, bar and net at both ends."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    near, far, high = MIDDLE - 3.66, MIDDLE + 3.66, 2.6

    def point(x: float, y: float, z: float) -> Point:
        column, row = world.project(np.array(x), np.array(y), z)
        return float(column), float(row)

    for line, back in ((0.0, -2.2), (LENGTH, LENGTH + 2.2)):
        for share in np.linspace(0, 1, 11):
            y = near + (far - near) * share
            net = [point(line, y, high), point(back, y, high * 0.8), point(back, y, 0)]
            draw.line(net, fill=(255, 255, 255, 90), width=1)
        for share in np.linspace(0, 1, 6):
            z = high * 0.8 * share
            draw.line([point(line, near, z), point(back, near, z), point(back, far, z), point(line, far, z)],
                      fill=(255, 255, 255, 90), width=1)  # fmt: skip
        frame = [point(line, near, 0), point(line, near, high), point(line, far, high), point(line, far, 0)]
        draw.line(frame, fill=(255, 255, 255, 255), width=max(2, round(2.4 * world.zoom)), joint="curve")


SKINS = np.array([(236, 196, 164), (214, 164, 126), (168, 116, 82), (112, 76, 54)])
CLOTHES = np.array(
    [(206, 46, 52), (222, 222, 226), (40, 84, 190), (36, 38, 46), (230, 184, 54), (64, 110, 70)]
)


class Crowd:
    """People in rows, each at his own place with his own habits, drawn all at once per phase."""

    def __init__(self, world: World, rng: Rng) -> None:
        x, _ = world.metres()
        edge = float(world.project(np.array(0.0), np.array(BOARDS), 1.5)[1])
        rows = np.arange(world.height)[:, None]
        side = TRACK + 0.3
        self.where: NDArray[np.bool_] = (rows < edge) | (x < -side) | (x > LENGTH + side)
        self.zoom = world.zoom
        row, column = self._seats(world, rng)
        self.row, self.column, count = row, column, len(row)
        taste, guests = rng.random(count), column > world.width * 0.74
        pick = np.where(taste < 0.55, np.where(guests, 2, 0), rng.integers(0, len(CLOTHES), count))
        light = rng.uniform(0.62, 1.05, count) * np.clip(0.72 + row / 260 / world.zoom, 0.6, 1)
        colors = (
            np.concatenate([CLOTHES[pick], SKINS[rng.integers(0, 4, count)]]) * np.tile(light, 2)[:, None]
        )
        self.palette: Bytes = np.clip(np.concatenate([[[40, 42, 52]], colors]), 0, 255).astype(np.uint8)
        self.beat: Floats = rng.uniform(0, 1, count)
        self.warmth: Floats = rng.uniform(0, 1, count)

    def _seats(self, world: World, rng: Rng) -> tuple[Floats, Floats]:
        """Rows and columns of the people's upper left corners, from the back to the front."""
        wide, high = 8.0 * world.zoom, 9.0 * world.zoom
        lines, seats = math.ceil(world.height / high) + 1, math.ceil(world.width / wide) + 1
        line, seat = np.divmod(np.arange(lines * seats), seats)
        row = line * high + rng.uniform(-1, 1, len(line))
        column = (seat + line % 2 / 2) * wide + rng.uniform(-1.5, 1.5, len(line))
        y = np.clip(row + high, 0, world.height - 1).astype(np.int64)
        x = np.clip(column, 0, world.width - 1).astype(np.int64)
        seen = self.where[y, x] | self.where[np.maximum(y - round(high), 0), x]
        return row[seen], column[seen]

    def over(self, ground: Bytes, mood: int, phase: int) -> Bytes:
        """The whole stadium with the crowd in `mood` (0 sitting, 1 stirred, 2 beside itself)."""
        share, height = ((0.05, 1.0), (0.45, 2.2), (0.96, 5.0))[mood]
        active = self.warmth < share
        wave = np.sin(2 * np.pi * (phase / PHASES + self.beat * (0.35 if mood == 2 else 1.0)))
        rise = np.where(active, np.maximum(wave, 0) * height, 0) * self.zoom
        canvas = np.zeros(self.where.shape, np.int32)  # 0: an empty seat; else a row of the palette
        everybody, skin = np.arange(len(rise)), len(rise)
        armed = everybody[active & (wave > 0.2) & (mood > 0)]
        self._paint(canvas, everybody, rise, (0.5, 6.5), (3, 9), 1)
        self._paint(canvas, everybody, rise, (2, 5.2), (0, 3.4), 1 + skin)
        self._paint(canvas, armed, rise, (0, 1.2), (-1.5, 4), 1 + skin)
        self._paint(canvas, armed, rise, (5.8, 7), (-1.5, 4), 1 + skin)
        picture = ground.copy()
        picture[self.where] = self.palette[canvas[self.where]]
        return picture

    def _paint(
        self, canvas: NDArray[np.int32], who: Ints, rise: Floats, columns: Point, rows: Point, first: int
    ) -> None:
        """One rectangle per person in `who`, columns and rows in unzoomed pixels from his corner."""
        dy = np.arange(round(rows[0] * self.zoom), round(rows[1] * self.zoom))
        dx = np.arange(round(columns[0] * self.zoom), round(columns[1] * self.zoom))
        y = np.clip(np.round(self.row[who] - rise[who])[:, None] + dy, 0, canvas.shape[0] - 1)
        x = np.clip(np.round(self.column[who])[:, None] + dx, 0, canvas.shape[1] - 1)
        at = (y.astype(np.int32) * canvas.shape[1])[:, :, None] + x.astype(np.int32)[:, None]
        canvas.reshape(-1)[at] = (who + first)[:, None, None]


def _body(kit: tuple[Color, Color], pose: int, left: bool, height: float) -> Stamp:
    """A person `height` pixels tall, standing on the middle of the lower edge, with a shadow."""
    fine = 6
    unit = height * fine / 32
    canvas = Image.new("RGBA", (round(34 * unit), round(40 * unit)))
    draw = ImageDraw.Draw(canvas)
    skin, dark = (222, 174, 138), (44, 30, 24)

    def line(points: Sequence[Point], color: Color, width: float) -> None:
        draw.line(
            [(x * unit, y * unit) for x, y in points], fill=color, width=round(width * unit), joint="curve"
        )

    draw.ellipse([8 * unit, 33.5 * unit, 30 * unit, 38 * unit], fill=(10, 30, 10, 105))
    swing = (4.5, 1.2, -4.5, -1.2, 1.0, 1.6, 3.0)[pose]
    lift = (0.0, 2.2, 0.0, 2.2, 0.0, 0.0, 0.0)[pose]
    for side in (1, -1):
        foot = (17 + side * swing, 36 - (lift if side * swing > 0 else 0))
        knee = (17 + side * swing * 0.7 + (1 if swing * side > 0 else 0), 29.5)
        line([(17, 24), knee], kit[1] if side > 0 else _darker(kit[1]), 4.2)
        line([knee, foot], skin if side > 0 else kit[0], 2.8)
        line([foot, (foot[0] + 1.8, foot[1])], dark, 2.2)
    draw.rounded_rectangle([12.6 * unit, 10.5 * unit, 21.4 * unit, 25 * unit], radius=3 * unit, fill=kit[0])
    for side in (1, -1):
        hand = (17 + side * 8, 3.5) if pose in (CHEER, DIVE) else (17 - side * swing * 1.2 + side * 4.2, 21)
        elbow = (17 + side * 6.6, 9.0) if pose in (CHEER, DIVE) else (17 + side * 5.4, 17)
        line([(17 + side * 3.6, 12.4), elbow], _darker(kit[0]), 2.8)
        line([elbow, hand], skin, 2.0)
    draw.ellipse([13.9 * unit, 3.6 * unit, 20.1 * unit, 10.4 * unit], fill=skin)
    draw.pieslice([13.7 * unit, 3.2 * unit, 20.3 * unit, 10 * unit], 170, 330, fill=dark)
    if pose == DIVE:
        canvas = canvas.rotate(68, center=(17 * unit, 30 * unit))
    if left:
        canvas = canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    small = canvas.resize((max(2, canvas.width // fine), max(2, canvas.height // fine)), Image.Resampling.BOX)
    return Stamp(small, (0.5, 0.9))


def _darker(color: Color) -> Color:
    return color[0] * 3 // 4, color[1] * 3 // 4, color[2] * 3 // 4


def _ball_stamp(size: float) -> Stamp:
    canvas = Image.new("RGBA", (48, 48))
    draw = ImageDraw.Draw(canvas)
    draw.ellipse([2, 2, 46, 46], fill=(252, 252, 250), outline=(60, 60, 60), width=4)
    draw.regular_polygon((24, 24, 9), 5, fill=(40, 40, 44))
    edge = max(5, round(7.5 * size))
    return Stamp(canvas.resize((edge, edge), Image.Resampling.BOX), (0.5, 1.0))


def _shade_stamp(size: float) -> Stamp:
    canvas = Image.new("RGBA", (max(4, round(7 * size)), max(2, round(3 * size))))
    ImageDraw.Draw(canvas).ellipse([0, 0, canvas.width - 1, canvas.height - 1], fill=(8, 24, 8, 120))
    return Stamp(canvas, (0.5, 0.5))


# --- pictures: what is drawn each time -----------------------------------------------------------------

LIVE, AGAIN, ADVERT, DARK = range(4)


@dataclass(slots=True)
class Cutting:
    """What the director shows, per frame."""

    shot: Bytes  # LIVE, AGAIN, ADVERT or DARK
    source: Ints  # the frame of the play that is shown
    mood: Floats  # 0..1, how excited the crowd is
    clock: Ints  # seconds on the scoreboard
    score: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


def _direct(plan: Plan) -> Cutting:
    """Live pictures, replays after goals and misses, commercials between black pictures."""
    frames = plan.frames
    cutting = Cutting(np.full(frames, LIVE, np.uint8), np.arange(frames), np.zeros(frames),
                      np.arange(frames) // FPS + 61 * 60 + 7)  # fmt: skip
    time, score = np.arange(frames) / FPS, np.zeros((frames, 2), np.int64)
    for scene in plan.scenes:
        strength = {"goal": 1.0, "near miss": 0.7, "surge": 0.8, "save": 0.75}[scene.kind]
        knots = [scene.at - 4, scene.at - 0.5, scene.at + 0.6, scene.at + 4.5, scene.at + 8]
        cutting.mood = np.maximum(
            cutting.mood, np.interp(time, knots, [0, 0.5 * strength, strength, strength * 0.9, 0])
        )
        if scene.kind == "goal":
            score[time >= scene.at + 1.0, scene.side] += 1
        if scene.kind in REPLAY:
            start, end, back = REPLAY[scene.kind]
            again = (time >= scene.at + start) & (time < scene.at + end)
            shown = (scene.at + back + (time[again] - scene.at - start) * REPLAY_SPEED) * FPS
            cutting.shot[again], cutting.source[again] = AGAIN, np.clip(shown, 0, frames - 1).astype(np.int64)
    for pause in plan.pauses:
        if pause.kind == "break":
            cutting.shot[(time >= pause.start - 0.4) & (time < pause.end + 0.4)] = DARK
            cutting.shot[(time >= pause.start + 0.4) & (time < pause.end - 0.4)] = ADVERT
    cutting.score = [(int(a), int(b)) for a, b in score]
    return cutting


def pictures(plan: Plan) -> Iterator[Bytes]:
    """Every frame as packed 4:2:0; the array is used again for the next one."""
    studio = Studio(plan)
    packed = np.zeros((HEIGHT * 3 // 2, WIDTH), np.uint8)
    out = Planes.over(packed)
    for frame in range(plan.frames):
        studio.draw(out, frame)
        yield packed


class View:
    """One camera's way through a world: where everything is on its screen, per frame of the play."""

    def __init__(self, world: World, play: Play) -> None:
        self.world = world
        x, y, z = play.ball.T
        column, row = world.project(x, y)
        width = round(0.9 * FPS)
        glide = _smooth(_smooth(np.column_stack([column, row]), width), width)
        # One camera lags and leads like a hand does; the smoothing looks ahead, so the ball stays inside.
        self.x = np.clip(np.round(glide[:, 0] - WIDTH / 2), 0, world.width - WIDTH).astype(np.int64)
        self.y = np.clip(np.round(glide[:, 1] - 0.62 * HEIGHT), 0, world.height - HEIGHT).astype(np.int64)
        columns, rows = world.project(play.people[..., 0], play.people[..., 1])
        self.depth = world.scale(play.people[..., 1])
        self.people = np.round(np.stack([columns, rows], axis=-1)).astype(np.int64)
        self.order = np.argsort(rows, axis=1)
        self.play = play
        self.shadow = np.round(np.column_stack([column, row])).astype(np.int64)
        self.ball = np.round(np.column_stack(world.project(x, y, z))).astype(np.int64)
        self.ball_size = np.clip((world.scale(y) - 0.65) * 10, 0, 3).astype(np.int64)

    def draw(self, out: Planes, frame: int, mood: int, phase: int) -> Point:
        """The picture without graphics; returns the window's corner."""
        x, y = int(self.x[frame]), int(self.y[frame])
        world, play = self.world, self.play
        world.picture(mood, phase).crop_to(out, x, y)
        sx, sy = self.shadow[frame]
        world.shade.lay(out, int(sx) - x, int(sy) - y)
        ball_drawn = False
        for who in self.order[frame]:
            px, py = self.people[frame, who]
            if not ball_drawn and py > sy:
                ball_drawn = self._ball(out, frame, x, y)
            stamp = world.body(int(KIT_OF[who]), int(play.pose[frame, who]), bool(play.left[frame, who]),
                               float(self.depth[frame, who]))  # fmt: skip
            stamp.lay(out, int(px) - x, int(py) - y)
        if not ball_drawn:
            self._ball(out, frame, x, y)
        return x, y

    def _ball(self, out: Planes, frame: int, x: int, y: int) -> bool:
        bx, by = self.ball[frame]
        self.world.balls[int(self.ball_size[frame])].lay(out, int(bx) - x, int(by) - y)
        return True


class Studio:
    """Puts the film together, frame by frame."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        play = play_match(plan)
        rng = plan.rng(9)
        self.cutting = _direct(plan)
        self.live = View(World(rng, 1.0), play)
        self.again = View(World(rng, 1.5), play) if (self.cutting.shot == AGAIN).any() else self.live
        self.adverts = _adverts() if (self.cutting.shot == ADVERT).any() else []
        self.goals = [s for s in plan.scenes if s.kind == "goal"]
        self.banners = [_banner(s, i) for i, s in enumerate(self.goals)]
        self.replay_sign, self.live_sign = _sign("REPLAY", (196, 30, 58)), _sign("LIVE", (30, 30, 36))
        self.flashes = rng
        self._board: tuple[tuple[int, tuple[int, int]], Stamp] | None = None

    def draw(self, out: Planes, frame: int) -> None:
        """Frame number `frame` into `out`."""
        shot = int(self.cutting.shot[frame])
        if shot == DARK:
            out.y[:], out.u[:], out.v[:] = 16, 128, 128
        elif shot == ADVERT:
            self._advert(out, frame)
        else:
            self._match(out, frame, self.again if shot == AGAIN else self.live)
            (self.replay_sign if shot == AGAIN else self.live_sign).lay(out, WIDTH - 86, 16)
            self._scoreboard(frame).lay(out, 18, 16)
            self._banners(out, frame)

    def _match(self, out: Planes, frame: int, view: View) -> None:
        source = int(self.cutting.source[frame])
        level = float(self.cutting.mood[source])
        mood = 2 if level > 0.5 else 1 if level > 0.12 else 0
        beat = (1.1, 1.9, 2.6)[mood] * PHASES / FPS
        x, y = view.draw(out, source, mood, int(source * beat) % PHASES)
        for _ in range(self.flashes.poisson(2.2 * level) if level > 0.55 else 0):
            a, b = int(self.flashes.integers(2, WIDTH - 4)), int(self.flashes.integers(2, HEIGHT // 3))
            if view.world.crowded(int(x) + a, int(y) + b):
                out.y[b : b + 2, a : a + 3] = 235
                out.y[b - 1 : b + 3, a + 1] = 235

    def _advert(self, out: Planes, frame: int) -> None:
        scene = next(p for p in self.plan.pauses if p.kind == "break" and p.start <= frame / FPS <= p.end)
        into = frame / FPS - scene.start
        index = int(into / 2.4)
        step = into - index * 2.4
        self.adverts[index % len(self.adverts)].crop_to(
            out, round((step if index % 2 else 2.4 - step) * 30), round(step * 9)
        )

    def _scoreboard(self, frame: int) -> Stamp:
        """Drawn anew each second."""
        key = (int(self.cutting.clock[frame]), self.cutting.score[frame])
        if self._board is None or self._board[0] != key:
            self._board = (key, _scoreboard(*key))
        return self._board[1]

    def _banners(self, out: Planes, frame: int) -> None:
        now = frame / FPS
        for scene, banner in zip(self.goals, self.banners, strict=True):
            into = now - scene.at - 1.0
            if 0 <= into < 2.0:
                slide = max(0.0, 1 - into / 0.24, 1 - (2.0 - into) / 0.24)
                banner.lay(out, 2 * round(-slide * slide * WIDTH / 2), HEIGHT - 92)


def _scoreboard(clock: int, score: tuple[int, int]) -> Stamp:
    canvas = Image.new("RGBA", (214, 28))
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle([0, 0, 213, 27], radius=4, fill=(16, 20, 30, 228))
    draw.rectangle([0, 4, 4, 23], fill=KITS[HOME][0])
    draw.rectangle([152, 4, 156, 23], fill=KITS[AWAY][0])
    draw.rectangle([62, 0, 96, 27], fill=(248, 248, 250, 240))
    draw.text((34, 14), TEAMS[0][:3], fill="white", font=_font(17), anchor="mm")
    draw.text((79, 14), f"{score[0]}-{score[1]}", fill=(16, 20, 30), font=_font(18), anchor="mm")
    draw.text((124, 14), TEAMS[1][:3], fill="white", font=_font(17), anchor="mm")
    draw.text((185, 14), f"{clock // 60}:{clock % 60:02}", fill=(255, 224, 120), font=_font(16), anchor="mm")
    return Stamp(canvas)


def _sign(text: str, color: Color) -> Stamp:
    canvas = Image.new("RGBA", (70, 24))
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle([0, 0, 69, 23], radius=4, fill=(*color, 225))
    draw.text((35, 12), text, fill="white", font=_font(14), anchor="mm")
    return Stamp(canvas)


def _banner(scene: Scene, number: int) -> Stamp:
    """The lower third that names the scorer."""
    color = KITS[scene.side][0]
    canvas = Image.new("RGBA", (WIDTH, 64))
    draw = ImageDraw.Draw(canvas)
    draw.polygon([(30, 0), (610, 0), (594, 64), (14, 64)], fill=(16, 20, 30, 235))
    draw.polygon([(30, 0), (210, 0), (194, 64), (14, 64)], fill=(*color, 255))
    draw.text((112, 33), "GOAL!", fill="white", font=_font(42), anchor="mm")
    name = SCORERS[scene.side][number % len(SCORERS[scene.side])]
    draw.text((226, 22), name, fill="white", font=_font(24), anchor="lm")
    minute = (int(scene.at) + 61 * 60 + 7) // 60 + 1
    draw.text(
        (226, 47), f"{TEAMS[scene.side]}   {minute}'", fill=(200, 206, 220), font=_font(16), anchor="lm"
    )
    return Stamp(canvas)


COMMERCIAL: tuple[tuple[str, Color], ...] = (
    ("thirsty?", (30, 20, 70)),
    ("FIZZ", (210, 30, 60)),
    ("NOW WITH MORE BUBBLES", (250, 180, 40)),
    ("FIZZ COLA", (20, 110, 150)),
    ("at half time", (90, 20, 90)),
)


def _adverts() -> list[Planes]:
    """Shots of a commercial for a drink that does not exist, wider than the screen, to pan over."""
    width, height = 736, 392
    rows, columns = np.arange(height)[:, None], np.arange(width)
    glow = np.clip(1.25 - np.hypot(rows - 170.0, columns - 330.0) / 420, 0.25, 1.2)
    shots: list[Planes] = []
    for index, (text, tint) in enumerate(COMMERCIAL):
        canvas = Image.fromarray(np.clip(glow[..., None] * tint, 0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(canvas, "RGBA")
        bubbles = np.random.default_rng([index, 77]).uniform((0, 0, 3), (width, height, 22), (60, 3))
        for x, y, r in bubbles.tolist():
            edge = (x - r, y - r, x + r, y + r)
            draw.ellipse(edge, fill=(255, 255, 255, 40), outline=(255, 255, 255, 110))
        bottle = index % 2 == 1
        if bottle:
            body = (330, 60, 410, 300)
            draw.rounded_rectangle(body, radius=26, fill=(200, 24, 50), outline=(240, 240, 240), width=4)
            draw.rounded_rectangle((352, 30, 388, 80), radius=8, fill=(230, 230, 235))
        place = (368, 330) if bottle else (368, 190)
        draw.text(place, text, fill="white", font=_font(58 if bottle else 46), anchor="mm")
        shots.append(Planes.of(np.asarray(canvas)))
    return shots
