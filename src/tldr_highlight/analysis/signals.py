"""Segments in, curves out: what can be heard and seen, measured every half second.

Sound is looked at in frames of 62.5 ms, 32 a second, placed on a grid that starts at media time 0, at
the source's own rate (no resampler, hence no phase that depends on where reading began). A step of a
curve summarises the 16 frames that start in it. All decibels are relative to full scale. A curve is
NaN where there was nothing to measure.

Sound
    loudness    LUFS, K-weighted mean power of the step (ITU-R BS.1770-5, one channel, no gate)
    low mid high air
                dB, 60th percentile over frames of the power in 150-600, 600-2000, 2000-6000 and
                6000-12000 Hz: a click fills one frame of 16 and vanishes
    floor       dB, 20th percentile of the power in 150-6000 Hz
    peak        dB, maximum of it
    fill        0..1, share of frames within 9 dB of the loudest one: 1 for roars, small for knocks
    flatness    0..1, geometric over arithmetic mean power, 300-5000 Hz: noise, crowd, applause
    centroid    Hz, power-weighted mean frequency (brightness)
    flux        dB, mean rise of 24 log-spaced bands from one frame to the next
    onset       dB, the largest such rise in the step
    tonality    0..1, share of power in spectral peaks that stand out of their surroundings
    stability   0..1, likeness of the whitened spectrum to that 1/8 s later: music, alarms, hum
    voiced      0..1, share of frames with a pitch of 75-500 Hz
    pitch       log2 Hz, median pitch of the voiced frames
    glide       octaves per second, median absolute movement of the pitch: speech moves, notes stay
    effort      dB, 900-3000 over 200-900 Hz in voiced frames: shouting tilts the spectrum up
    syllables   0..1, share of the envelope's modulation (600-3000 Hz, 2 s) at 2-4 Hz: speech
    ha          0..1, the same at 4-6.5 Hz: laughter
    wobble      dB, standard deviation of the envelope over 2 s: machines and crowds are steady
    clipped     0..1, share of frames that touch full scale for several samples
Picture
    motion      gray levels per picture pair at the pace of four a second, brightness and cuts taken out
    cuts        shot changes in the step
    flash       gray levels, largest jump of the mean brightness that comes back
    brightness  0..255, mean
    detail      gray levels, standard deviation over the picture: black and blank pictures have none
    packets     log2 of bytes per second of video
    stir        share of the picture's own contrast that differs between two pictures of one shot: the same
                in the dark, at any exposure and across a cut, which `motion` is not
    shots       shot changes in the step: pictures unlike each other however one is shifted on the other
    tremble     0..1, how much the camera's way turns from picture to picture: pans keep theirs, shaking not
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tldr_highlight.analysis.base import STEP, Curve
from tldr_highlight.media.types import AudioBlock, FloatArray, Pictures, Segment

FRAME_RATE = 32
"""Sound frames per second."""

PER_STEP = int(FRAME_RATE * STEP)
SILENCE = 1e-10
"""Power below which sound counts as digital silence: -100 dB."""

SOUND_CURVES = (
    "loudness", "low", "mid", "high", "air", "floor", "peak", "fill", "flatness", "centroid", "flux",
    "onset", "tonality", "stability", "voiced", "pitch", "glide", "effort", "syllables", "ha", "wobble",
    "clipped",
)  # fmt: skip
PICTURE_CURVES = (
    "motion", "cuts", "flash", "brightness", "detail", "packets", "stir", "shots", "tremble",
)  # fmt: skip

BANDS = {
    "low": (150, 600),
    "mid": (600, 2000),
    "high": (2000, 6000),
    "air": (6000, 12_000),
    "power": (150, 6000),
    "envelope": (600, 3000),
}
"""Hz."""

CUT_DIFFERENCE = 22.0
"""Gray levels of mean absolute difference above which two pictures may be different shots."""

_FRAME_FIELDS = (
    "power", "low", "mid", "high", "air", "loud", "flatness", "centroid", "flux", "tonality",
    "stability", "voicing", "pitch", "effort", "envelope", "clipped",
)  # fmt: skip
_COL = {name: i for i, name in enumerate(_FRAME_FIELDS)}


@dataclass(slots=True)
class Signals:
    """Curves of one stretch. Step `i` of every curve covers `[start + i*STEP, start + (i+1)*STEP)`."""

    first: int  # index of the first step on the grid of media time
    curves: Mapping[str, Curve]

    @property
    def steps(self) -> int:
        """Number of values in every curve."""
        return len(self.curves["loudness"])

    @property
    def end(self) -> float:
        """Media seconds at which the last step ends."""
        return (self.first + self.steps) * STEP

    def part(self, first: int, last: int) -> Signals:
        """What there is of steps `[first, last)` of the grid; of nothing it is as long as that."""
        first = max(first, self.first)
        keep = slice(first - self.first, max(last, first) - self.first)
        return Signals(first, {name: curve[keep] for name, curve in self.curves.items()})


def joined(before: Signals | None, after: Signals) -> Signals:
    """Two stretches that follow each other as one."""
    return after if before is None else strung([before, after])


def strung(parts: Sequence[Signals]) -> Signals:
    """Stretches that follow each other, of which there is one at least, as one."""
    names = parts[0].curves
    return Signals(parts[0].first, {n: np.concatenate([p.curves[n] for p in parts]) for n in names})


def measure(segments: Iterable[Segment]) -> Signals:
    """The curves of a whole source."""
    extractor = Extractor()
    for segment in segments:
        extractor.feed(segment)
    return extractor.finish()


@dataclass(slots=True)
class Extractor:
    """Turns segments into curves as they come; what it holds back is two seconds, however long they are."""

    first: int = 0  # step to begin at, when an earlier part was measured before
    _safe: int = field(default=0, init=False)
    _sound: _SoundTrack = field(init=False)
    _picture: _PictureTrack = field(init=False)

    def __post_init__(self) -> None:
        self._sound = _SoundTrack(self.first)
        self._picture = _PictureTrack(self.first)

    def feed(self, segment: Segment) -> None:
        """Add the next segment."""
        for block in segment.audio:
            self._sound.feed(block)
        self._picture.feed(segment)
        safe = int((segment.start - SETTLED) / STEP)
        self._safe = max(0, self._sound.settled(safe) - self.first)

    def so_far(self) -> Signals:
        """The curves up to where nothing that comes can change them: some seconds before the last segment."""
        return self._build(self._sound.done(), self._picture.finish(), self._safe)

    def take(self) -> Signals:
        """As `so_far`, but each step once: what was taken is forgotten, so that memory does not grow."""
        taken = self.so_far()
        self.first += taken.steps
        self._safe = 0
        self._sound.forget(self.first)
        self._picture.forget(self.first)
        return taken

    def finish(self) -> Signals:
        """All curves, made equally long."""
        return self._build(self._sound.finish(), self._picture.finish(), None)

    def _build(self, sound: NDArray[np.float32], picture: NDArray[np.float32], end: int | None) -> Signals:
        length = max(sound.shape[1], picture.shape[1]) if end is None else end
        rows = np.full((len(SOUND_CURVES) + len(PICTURE_CURVES), length), np.nan, np.float64)
        for part, at in ((sound, 0), (picture, len(SOUND_CURVES))):
            rows[at : at + len(part), : part.shape[1]] = part[:, :length]
        return Signals(self.first, dict(zip(SOUND_CURVES + PICTURE_CURVES, rows, strict=True)))


SETTLED = 3.0
"""Seconds before a segment's start up to which all its predecessors have been summarised."""

SOUND_LATE = 15.0
"""Seconds that sound may come behind its pictures in a file; beyond them there is none. Muxers write what
lies within ten seconds together."""


# --- sound ---------------------------------------------------------------------------------------------


class _SoundTrack:
    """Blocks of samples in, one column of `SOUND_CURVES` per step out."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._spectra: _Spectra | None = None
        self._tail = np.empty(0, np.float32)  # samples not yet framed
        self._tail_at = 0  # sample index of the tail's first one, on the grid of the rate
        self._frames: list[tuple[int, NDArray[np.float32]]] = []  # (first frame, (n, fields))
        self._done: list[NDArray[np.float32]] = []
        self._next_step = first

    def feed(self, block: AudioBlock) -> None:
        if self._spectra is None or self._spectra.rate != block.rate:
            self._spectra = _Spectra(block.rate)
            self._tail = np.empty(0, np.float32)
        at = round(block.start * block.rate)
        samples = block.samples
        expected = self._tail_at + len(self._tail)
        if len(self._tail) and abs(at - expected) <= 0.05 * block.rate:
            samples = np.concatenate([self._tail, samples])
            at = self._tail_at
        elif at < expected and self._frames:  # sound that was heard already
            samples = samples[max(0, expected - at) :]
            at = max(at, expected)
        first, frames, used = self._spectra.frames(at, samples)
        if len(frames):
            self._frames.append((first, frames))
        self._tail, self._tail_at = samples[used:], at + used
        self._emit((self._heard - _AFTER) // PER_STEP)

    def settled(self, end: int) -> int:
        """The step up to which curves are ready that should be ready up to `end`."""
        if self._spectra and self._next_step < end:
            if end <= self._next_step + SOUND_LATE / STEP:
                return self._next_step
            self._emit(end)
        return end

    def forget(self, end: int) -> None:
        """Let go of the steps before `end`."""
        left = self.done()[:, end - self._first :].copy()
        self._done = [left] if left.size else []
        self._first = end
        self._next_step = max(self._next_step, end)

    def done(self) -> NDArray[np.float32]:
        return (
            np.concatenate(self._done, axis=1) if self._done else np.empty((len(SOUND_CURVES), 0), np.float32)
        )

    def finish(self) -> NDArray[np.float32]:
        self._emit(-(-self._heard // PER_STEP))
        return self.done()

    @property
    def _heard(self) -> int:
        """Number of the frame behind the last."""
        return self._frames[-1][0] + len(self._frames[-1][1]) if self._frames else 0

    def _emit(self, steps_end: int) -> None:
        """Summarise the steps before `steps_end`, whose frames, and the second after them, are there."""
        if not self._frames or steps_end <= self._next_step:
            return
        low = self._next_step * PER_STEP - _BEFORE
        high = steps_end * PER_STEP + _AFTER
        window = np.full((high - low, len(_FRAME_FIELDS)), np.nan, np.float32)
        for first, frames in self._frames:
            a, b = max(first, low), min(first + len(frames), high)
            if a < b:
                window[a - low : b - low] = frames[a - first : b - first]
        self._done.append(_steps(window))
        self._next_step = steps_end
        keep = steps_end * PER_STEP - _BEFORE
        self._frames = [(f, x) for f, x in self._frames if f + len(x) > keep]


_BEFORE, _AFTER = 24, 40
"""Frames around a step's first one that its envelope is looked at in: 2 s, the step in the middle."""


def _steps(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(frames with `_BEFORE`/`_AFTER` around them, fields) -> (SOUND_CURVES, steps).

    What is read of 16 frames depends on which 16, and a file that begins .2 s later has others: that moved
    worth by .6 logits, and by .4 where it is the mean of seven looks 1/8 s apart, the middle weighing most.
    """
    count = (len(frames) - _BEFORE - _AFTER) // PER_STEP
    starts = _BEFORE + PER_STEP * np.arange(count) + _SHIFTS[:, None]
    looks = _look(frames[starts.reshape(-1, 1) + np.arange(PER_STEP)]).reshape(-1, *starts.shape)
    middle = looks[:, len(_SHIFTS) // 2]
    mean = (looks * _NEARNESS[:, None]).sum(axis=1)
    curves = np.where(np.isfinite(mean), mean, middle)  # at the ends there are fewer
    heard = np.isfinite(middle[SOUND_CURVES.index("peak")])
    if heard.any():
        for name, values in _modulation(frames[:, _COL["envelope"]], heard).items():
            curves[SOUND_CURVES.index(name), heard] = values
    return curves


_SHIFTS = np.arange(-12, 13, 4)
"""Frames between the looks and their step, and how much each weighs."""

_NEARNESS = np.array([1, 2, 3, 4, 3, 2, 1], np.float32) / 16


def _look(inner: NDArray[np.float32]) -> NDArray[np.float32]:
    """(looks, frames of each, fields) -> (SOUND_CURVES, looks), but for the rhythm."""
    power = _db(inner[..., _COL["power"]])
    heard = np.isfinite(power).sum(axis=1) >= PER_STEP // 2
    out = np.full((len(SOUND_CURVES), len(inner)), np.nan, np.float32)
    if not heard.any():
        return out
    inner, power = inner[heard], power[heard]

    def col(name: str) -> NDArray[np.float32]:
        return inner[..., _COL[name]]

    values: dict[str, NDArray[np.float32]] = {
        "loudness": -0.691 + _db(np.nanmean(col("loud"), axis=1)),
        "floor": _rank(power, 0.2),
        "peak": np.nanmax(power, axis=1),
        "fill": np.mean(power > np.nanmax(power, axis=1, keepdims=True) - 9.0, axis=1),
        "flatness": _rank(col("flatness"), 0.5),
        "centroid": _rank(col("centroid"), 0.5),
        "flux": np.nanmean(col("flux"), axis=1),
        "onset": np.nanmax(col("flux"), axis=1),
        "tonality": _rank(col("tonality"), 0.5),
        "stability": _rank(col("stability"), 0.5),
        "clipped": np.nanmean(col("clipped"), axis=1),
    }
    for band in ("low", "mid", "high", "air"):
        values[band] = _rank(_db(col(band)), 0.6)
    values |= _voice(col("voicing"), col("pitch"), col("effort"))
    for name, value in values.items():
        out[SOUND_CURVES.index(name), heard] = value
    return out


def _voice(
    voicing: NDArray[np.float32], pitch: NDArray[np.float32], effort: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    voiced = voicing > VOICED
    some = voiced.sum(axis=1) >= 3
    glide = np.abs(np.diff(np.where(voiced, pitch, np.nan), axis=1)) * FRAME_RATE
    return {
        "voiced": voiced.mean(axis=1, dtype=np.float32),
        "pitch": np.where(some, _masked_median(pitch, voiced), np.nan),
        "effort": np.where(some, _masked_median(effort, voiced), np.nan),
        "glide": np.where(some, _masked_median(glide, np.isfinite(glide)), np.nan),
    }


VOICED = 0.55
"""Normalised autocorrelation above which a frame has a pitch."""


def _modulation(envelope: NDArray[np.float32], heard: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """Rhythm of the envelope (dB) in the 2 s around each step: shares of its power by modulation rate."""
    size = _BEFORE + _AFTER
    windows = np.lib.stride_tricks.sliding_window_view(envelope, size)[::PER_STEP][: len(heard)][heard]
    level = _db(windows)
    middle = np.nanmean(level, axis=1, keepdims=True)
    level = np.where(np.isfinite(level), level, middle) - middle
    level = np.maximum(level, -25.0)  # silence between words counts as a pause, however deep
    spectrum = np.abs(np.fft.rfft(level * _HANN_2S, axis=1)) ** 2  # 0.5 Hz per bin
    total = spectrum[:, 2:25].sum(axis=1) + 1e-3
    return {
        "syllables": spectrum[:, 4:8].sum(axis=1) / total,
        "ha": spectrum[:, 8:14].sum(axis=1) / total,
        "wobble": level.std(axis=1),
    }


_HANN_2S = np.hanning(_BEFORE + _AFTER).astype(np.float32)


class _Spectra:
    """Frames of one sample rate to rows of `_FRAME_FIELDS`."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._size = _smooth(round(2 * rate / FRAME_RATE))  # 62.5 ms, hop is half of it
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._scale = np.float32(2.0 / (self._window**2).sum() / self._size)
        freqs = np.fft.rfftfreq(self._size, 1 / rate)
        self._bins = int(np.searchsorted(freqs, 12_000))
        self._freqs = freqs[: self._bins].astype(np.float32)
        self._k_weight = _k_weighting(self._freqs)
        self._log_bands = np.unique(np.searchsorted(self._freqs, np.geomspace(150, 10_000, 25)))
        self._log_bands = self._log_bands[self._log_bands < self._bins]
        self._next = -1  # the frame that would follow the last one measured
        self._bands_before = np.empty((0, 0), np.float32)  # its predecessor's log bands
        self._white_before = np.empty((0, 0), np.float32)  # whitened spectra of the four before it

    def frames(self, at: int, samples: FloatArray) -> tuple[int, NDArray[np.float32], int]:
        """(first frame's index, rows, samples used up) of the whole frames within `samples`."""
        hop = self.rate / FRAME_RATE
        first = max(0, int(np.ceil(at / hop - 1e-9)))
        last = int((at + len(samples) - self._size) // hop)
        while last >= 0 and round(last * hop) + self._size > at + len(samples):
            last -= 1
        if last < first:
            return first, np.empty((0, len(_FRAME_FIELDS)), np.float32), 0
        starts = np.round(np.arange(first, last + 1) * hop).astype(np.int64) - at
        rows = np.concatenate(
            [self._measure(first + i, samples, starts[i : i + 320]) for i in range(0, len(starts), 320)]
        )
        return first, rows, max(0, round((last + 1) * hop) - at)

    def _measure(self, first: int, samples: FloatArray, starts: NDArray[np.int64]) -> NDArray[np.float32]:
        raw = np.lib.stride_tricks.sliding_window_view(samples, self._size)[starts]
        spectrum = np.fft.rfft(raw * self._window, axis=1)[:, : self._bins]
        power: NDArray[np.float32] = ((spectrum.real**2 + spectrum.imag**2) * self._scale).astype(
            np.float32, copy=False
        )
        out = np.empty((len(starts), len(_FRAME_FIELDS)), np.float32)

        def put(name: str, values: NDArray[np.float32]) -> None:
            out[:, _COL[name]] = values

        for name, (low, high) in BANDS.items():
            put(name, self._band(power, low, high))
        put("loud", (power * self._k_weight).sum(axis=1))
        a, b = np.searchsorted(self._freqs, (300, 5000))
        middle = power[:, a:b] + np.float32(SILENCE / 100)
        put("flatness", np.exp(np.log(middle).mean(axis=1)) / middle.mean(axis=1))
        total = power.sum(axis=1) + np.float32(SILENCE)
        put("centroid", (power * self._freqs).sum(axis=1) / total)
        put("clipped", (np.abs(raw) > 0.985).sum(axis=1) >= 6)
        follows = first == self._next
        self._next = first + len(starts)
        put("flux", self._flux(power, follows=follows))
        tonality, stability = self._tones(power, follows=follows)
        put("tonality", tonality)
        put("stability", stability)
        voicing, pitch = self._pitch(power)
        put("voicing", voicing)
        put("pitch", pitch)
        put("effort", _db(self._band(power, 900, 3000)) - _db(self._band(power, 200, 900)))
        return out

    def _band(self, power: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
        a, b = np.searchsorted(self._freqs, (low, high))
        return power[:, a:b].sum(axis=1)

    def _flux(self, power: NDArray[np.float32], *, follows: bool) -> NDArray[np.float32]:
        bands = np.maximum(_db(np.add.reduceat(power, self._log_bands, axis=1)), -80)
        before = self._bands_before if follows else bands[:1]
        self._bands_before = bands[-1:]
        return np.maximum(np.diff(np.concatenate([before, bands]), axis=0), 0).mean(axis=1)

    def _tones(
        self, power: NDArray[np.float32], *, follows: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Share of power in peaks of 150-5000 Hz, and how much of the picture of peaks stays for 1/8 s."""
        a, b = np.searchsorted(self._freqs, (150, 5000))
        part = power[:, a:b] + np.float32(SILENCE / 100)
        around = _moving_mean(part, 17)  # 272 Hz
        tonality = np.where(part > 3.0 * around, part, 0).sum(axis=1) / part.sum(axis=1)
        white = np.log(part / around)
        white -= white.mean(axis=1, keepdims=True)
        white /= np.sqrt((white**2).sum(axis=1, keepdims=True)) + 1e-6
        before = self._white_before if follows else np.full((4, white.shape[1]), np.nan, np.float32)
        row = np.concatenate([before, white])
        self._white_before = row[-4:]
        return tonality, np.clip((white * row[: len(white)]).sum(axis=1), 0, 1)

    def _pitch(self, power: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(voicing 0..1, log2 Hz) by autocorrelation of what stands out of the spectrum below 2 kHz.

        The square root flattens formants (generalised autocorrelation, Tolonen & Karjalainen 2000); taking
        the moving mean out leaves the comb of harmonics: noise stays below .42, speech in noise has .7.
        """
        top = int(np.searchsorted(self._freqs, 2000))
        root = np.sqrt(power[:, :top])
        comb = np.maximum(root - _moving_mean(root, 17), 0)
        comb[:, : int(np.searchsorted(self._freqs, 70))] = 0
        size = 8 * top
        lags = np.fft.irfft(comb, n=size, axis=1)
        rate = size * float(self._freqs[1])
        a, b = int(rate / 500), int(rate / 75)
        part = lags[:, a:b]
        most = part.max(axis=1, keepdims=True)
        early = (part >= 0.85 * most).argmax(axis=1)  # the first strong lag: the later ones are octaves
        reach: NDArray[np.int64] = np.arange(part.shape[1], dtype=np.int64)
        near: NDArray[np.bool_] = (reach >= early[:, None]) & (reach <= (early[:, None] + a) * 1.2 - a)
        best = np.where(near, part, -1).argmax(axis=1)
        value = part[np.arange(len(part)), best] / (lags[:, 0] + 1e-9)
        return value.astype(np.float32), np.log2(rate / (best + a)).astype(np.float32)


def _smooth(size: int) -> int:
    """The next length from `size` on that an FFT likes: factors 2, 3 and 5 only."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1


def _k_weighting(freqs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power gain of the K filter at `freqs` Hz: the two biquads of ITU-R BS.1770-5 at 48 kHz."""
    z = np.exp(-2j * np.pi * freqs / 48_000)
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    highpass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    return (np.abs(shelf * highpass) ** 2).astype(np.float32)


def _db(power: NDArray[np.float32]) -> NDArray[np.float32]:
    return 10 * np.log10(np.maximum(power, np.float32(SILENCE)))


def _rank(values: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Per row, the value below which `share` of it lies; by sorting, NaN last: exact and quick."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    pick = np.clip((share * (count - 1)).round().astype(int), 0, values.shape[1] - 1)
    return ordered[np.arange(len(values)), pick]


def _masked_median(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return _rank(np.where(mask, values, np.nan), 0.5)


def _moving_mean(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Mean over `width` columns around each, edges repeated."""
    half = width // 2
    padded = np.pad(values, ((0, 0), (half + 1, half)), mode="edge")
    sums = np.cumsum(padded, axis=1, dtype=np.float64)
    return ((sums[:, width:] - sums[:, :-width]) / width).astype(np.float32)


def with_pictures(signals: Signals, pictures: Iterable[Pictures]) -> Signals:
    """The same curves, the picture's replaced wherever `pictures` (windows, denser than before) tell more."""
    curves = {name: curve.copy() for name, curve in signals.curves.items()}
    for window in pictures:
        if len(window.times) < 2:
            continue
        first = int(np.ceil(window.times[0] / STEP))
        track = _PictureTrack(first)
        track.pictures(window)
        for name, values in zip(PICTURE_CURVES, track.finish(), strict=True):
            at = first - signals.first
            room = curves[name][at : at + len(values) - 1]
            fresh = values[: len(room)]
            room[np.isfinite(fresh)] = fresh[np.isfinite(fresh)]
    return Signals(signals.first, curves)


# --- picture -------------------------------------------------------------------------------------------


class _PictureTrack:
    """Small pictures in, one column of `PICTURE_CURVES` per step out.

    A difference of two pictures counts for the steps between them, so that sparse key pictures give a
    curve without holes.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._last: _Look | None = None
        self._shift: _Shift | None = None  # from the picture before the last one to that
        self._pairs: list[_Pair] = []
        self._bytes: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._end = first

    def feed(self, segment: Segment) -> None:
        if len(segment.packet_times):
            steps = np.floor(segment.packet_times / STEP).astype(np.int64)
            where, inverse = np.unique(steps, return_inverse=True)
            self._bytes.append((where, np.bincount(inverse, segment.packet_sizes).astype(np.float64)))
        self.pictures(segment.pictures)

    def pictures(self, pictures: Pictures) -> None:
        for at, gray in zip(pictures.times.tolist(), pictures.gray, strict=True):
            look = _Look.of(at, gray)
            if self._last is not None and at > self._last.at:
                shift = _shift(self._last, look) if at - self._last.at <= SHIFT_PAIR else None
                self._pairs.append(_compare(self._last, look, self._shift, shift))
                self._shift = shift
            self._last = look

    def forget(self, end: int) -> None:
        """Let go of what tells nothing of steps from `end` on."""
        self._first = end
        self._pairs = [p for p in self._pairs if p.end >= end * STEP]
        self._bytes = [(where, sizes) for where, sizes in self._bytes if where[-1] >= end]

    def finish(self) -> NDArray[np.float32]:
        ends = [int(np.ceil(p.end / STEP)) for p in self._pairs[-1:]]
        ends += [int(w[-1]) + 1 for w, _ in self._bytes[-1:]]
        length = max(0, max(ends, default=0) - self._first)
        out = np.full((len(PICTURE_CURVES), length), np.nan, np.float32)
        row = {name: out[i] for i, name in enumerate(PICTURE_CURVES)}
        self._fill_packets(row["packets"])
        if not self._pairs:
            return out
        pair = dict(zip(_Pair._fields, np.array(self._pairs).T, strict=True))
        a = np.clip(np.floor(pair["start"] / STEP).astype(int) - self._first, 0, length)
        b = np.clip(np.ceil(pair["end"] / STEP).astype(int) - self._first, 0, length)
        apart = pair["end"] - pair["start"]
        for name in ("motion", "flash", "brightness", "detail", "stir", "tremble"):
            longest = LOOK_PAIR if name in {"brightness", "detail"} else MOTION_PAIR
            told = (apart <= longest) & np.isfinite(pair[name])
            _mean_over_spans(row[name], a[told], b[told], pair[name][told])
        for name, changed in (("cuts", pair["cut"]), ("shots", pair["shot"])):
            row[name][np.isfinite(row["brightness"])] = 0
            at = np.floor(pair["end"][changed > 0] / STEP).astype(int) - self._first
            np.add.at(row[name], np.minimum(at[at >= 0], length - 1), 1)
        return out

    def _fill_packets(self, row: NDArray[np.float32]) -> None:
        sums = np.zeros(len(row))
        for where, sizes in self._bytes:
            inside = (where >= self._first) & (where < self._first + len(row))
            np.add.at(sums, where[inside] - self._first, sizes[inside])
        seen = sums > 0
        row[seen] = np.log2(sums[seen] / STEP)


MOTION_PAIR = 3.5
"""Seconds between two pictures beyond which their difference says nothing about motion."""

SHIFT_PAIR = 0.6
"""Seconds between two pictures beyond which one is not looked for in the other: the camera may be anywhere
by then."""

LOOK_PAIR = 12.0
"""Seconds for which a picture stands for what is shown."""


def _mean_over_spans(
    row: NDArray[np.float32], first: NDArray[np.int64], last: NDArray[np.int64], values: NDArray[np.float64]
) -> None:
    """Write into each step of `row` the mean of the values whose spans `[first, last)` cover it."""
    lengths = np.maximum(last - first, 0)
    within: NDArray[np.int64] = np.arange(int(lengths.sum()), dtype=np.int64)
    within -= np.repeat(np.cumsum(lengths) - lengths, lengths)
    where = np.repeat(first, lengths) + within
    total = np.bincount(where, np.repeat(values, lengths), len(row))
    count = np.bincount(where, minlength=len(row))
    row[count > 0] = (total[count > 0] / count[count > 0]).astype(np.float32)


class _Look(NamedTuple):
    """What of one picture is compared with its neighbours."""

    at: float
    fine: NDArray[np.float32]  # 45 x 80, every second one of the rows and columns
    coarse: NDArray[np.float32]  # 22 x 40, means of 16 without their mean: grain is a quarter of what it was
    contrast: float  # standard deviation of it
    spectrum: NDArray[np.complex64]  # of it, with room for shifts

    @classmethod
    def of(cls, at: float, gray: NDArray[np.uint8]) -> Self:
        height, width = (n // 4 for n in gray.shape)
        rows = gray[: 4 * height].reshape(height, 4, -1).sum(axis=1, dtype=np.uint16)
        coarse = rows[:, : 4 * width].reshape(height, width, 4).sum(axis=2, dtype=np.float32) / 16
        coarse -= coarse.mean()
        spectrum = np.fft.rfft2(coarse, (2 * height, 2 * width)).astype(np.complex64, copy=False)
        return cls(at, gray[1::2, 1::2].astype(np.float32), coarse, float(coarse.std()), spectrum)


class _Pair(NamedTuple):
    """What two pictures that follow each other tell; NaN: nothing."""

    start: float
    end: float
    motion: float
    flash: float
    brightness: float
    detail: float
    cut: float
    stir: float
    shot: float
    tremble: float


class _Shift(NamedTuple):
    """Where one picture lies in the next, in squares of the coarse ones, and how like it is there."""

    down: float
    right: float
    likeness: float  # -1..1


def _compare(before: _Look, after: _Look, shift_before: _Shift | None, shift: _Shift | None) -> _Pair:
    mean0, mean1 = float(before.fine.mean()), float(after.fine.mean())
    difference = float(np.abs((after.fine - mean1) - (before.fine - mean0)).mean())
    detail = float(after.fine.std())
    cut = difference > CUT_DIFFERENCE and difference > 0.6 * max(detail, float(before.fine.std()))
    # Differences grow with the distance of pictures and then saturate: brought to the pace of 4 a second.
    pace = max(1.0, ((after.at - before.at) / 0.25) ** 0.5)
    shot = shift.likeness < SAME_SHOT if shift else cut
    return _Pair(
        start=before.at,
        end=after.at,
        motion=0.0 if cut else difference / pace,
        flash=abs(mean1 - mean0),
        brightness=mean1,
        detail=detail,
        cut=float(cut),
        stir=np.nan if shot else _stir(before, after) / pace,
        shot=float(shot),
        tremble=_turn(shift_before, shift) if shift_before and shift and not shot else np.nan,
    )


SAME_SHOT = 0.5
"""Likeness below which two pictures are not of one shot; that of a shaken camera's is .6 and more."""

LEAST_CONTRAST = 4.0
"""Gray levels; what is paler has only noise to differ in."""


def _stir(before: _Look, after: _Look) -> float:
    difference = float(np.abs(after.coarse - before.coarse).mean())
    return difference / max((before.contrast + after.contrast) / 2, LEAST_CONTRAST)


def _shift(before: _Look, after: _Look) -> _Shift:
    """By correlation, over up to half of the picture; what is behind the border counts as gray."""
    height, width = before.coarse.shape
    down, right = height // 2, width // 2
    match = np.fft.irfft2(before.spectrum.conj() * after.spectrum, (2 * height, 2 * width))
    match = np.roll(match, (down, right), (0, 1))[: 2 * down + 1, : 2 * right + 1].astype(
        np.float32, copy=False
    )
    y, x = divmod(int(match.argmax()), match.shape[1])
    moved, standing = _likeness(before, after, y - down, x - right), _likeness(before, after, 0, 0)
    if standing >= moved:  # what matched was something large that moves, not the camera
        return _Shift(0.0, 0.0, standing)
    return _Shift(y - down + _between(match[:, x], y), x - right + _between(match[y], x), moved)


def _between(values: NDArray[np.float32], top: int) -> float:
    """How far from `top` the parabola through it and its neighbours is highest."""
    if not 0 < top < len(values) - 1:
        return 0.0
    low, middle, high = values[top - 1 : top + 2]
    bend = low - 2 * middle + high
    return float(0.5 * (low - high) / bend) if bend < 0 else 0.0


def _likeness(before: _Look, after: _Look, down: int, right: int) -> float:
    """Correlation of what both show when `before` is moved by so much."""
    if down == right == 0:
        common = float((before.coarse * after.coarse).mean())
        return common / (before.contrast * after.contrast + NOISE**2)
    height, width = before.coarse.shape
    a = before.coarse[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    b = after.coarse[max(0, down) : height - max(0, -down), max(0, right) : width - max(0, -right)]
    common = float((a * b).mean()) - float(a.mean()) * float(b.mean())
    return common / (float(a.std()) * float(b.std()) + NOISE**2)


NOISE = 0.5
"""Gray levels that a coarse picture varies by where there is nothing to see."""


def _turn(before: _Shift, after: _Shift) -> float:
    turned = np.hypot(after.down - before.down, after.right - before.right)
    gone = np.hypot(before.down, before.right) + np.hypot(after.down, after.right)
    return float(turned / (gone + STANDING))


STANDING = 0.3
"""Squares per picture by which a standing camera seems to move."""
