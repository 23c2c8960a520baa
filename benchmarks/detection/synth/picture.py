"""Cheap pictures: a textured background under a moving camera, bodies, a talking head, slides, a HUD.

320 x 180, YUV 4:2:0, a few hundred pictures a second on one core. What matters is what a detector can
measure: contrast, camera and body motion, cuts, flashes, darkness, grain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

WIDTH, HEIGHT = 320, 180
PAD_X, PAD_Y = 320, 60  # how much larger than the picture a texture is


@dataclass(frozen=True, slots=True)
class Style:
    """How a scene looks and moves when nothing happens."""

    backgrounds: tuple[str, ...]  # texture kinds to cut between
    pan: float  # pixels per picture of the camera
    bob: float  # pixels of hand-held unrest
    bodies: int
    body_size: tuple[int, int]  # width, height of a body in a wide shot
    body_speed: float  # pixels per picture
    head: bool = False  # a talking head in front
    hud: bool = False
    shot_seconds: float = 1e9  # mean length of a shot


STYLES: dict[str, Style] = {
    "sports": Style(
        ("pitch", "pitch", "stand", "close"), 0.8, 0.2, 18, (7, 16), 1.0, hud=True, shot_seconds=14
    ),
    "gaming": Style(("level", "level", "menu"), 3.0, 0.5, 5, (12, 26), 2.0, hud=True, shot_seconds=70),
    "talk": Style(("set", "set", "set"), 0.0, 0.1, 1, (76, 104), 0.15, head=True, shot_seconds=9),
    "lecture": Style(("slide", "slide", "slide", "hall"), 0.0, 0.0, 1, (22, 60), 0.5, shot_seconds=40),
    "walking": Style(("street",), 0.9, 1.0, 8, (16, 44), 1.2, shot_seconds=150),
    "still": Style(("hall",), 0.0, 0.0, 0, (10, 10), 0.0),
    "music": Style(("set", "stand"), 0.3, 0.0, 0, (10, 10), 0.0, shot_seconds=30),
    "rain": Style(("street",), 0.0, 0.0, 1, (10, 20), 0.2),
}


@dataclass(slots=True)
class Directions:
    """What to do with every picture."""

    motion: F64  # multiples of the style's own speed, 1 as usual
    shake: F64  # pixels
    light: F64  # gray levels added
    gain: F64  # brightness, 1 as recorded
    mouth: F64  # 0..1
    black: NDArray[np.bool_]
    foreign: NDArray[np.bool_]  # an advert's pictures
    cuts: NDArray[np.bool_]  # a new shot begins
    grain: float = 2.0  # gray levels of noise


@dataclass(slots=True)
class _Texture:
    y: U8
    u: U8
    v: U8


def frames(rng: Generator, style: Style, todo: Directions) -> Iterator[U8]:
    """Pictures as (270, 320) planes, the way libav stores yuv420p."""
    textures = [_texture(rng, kind) for kind in style.backgrounds]
    adverts = [_texture(rng, str(rng.choice(["set", "street", "menu", "close"]))) for _ in range(6)]
    bodies = _Bodies(rng, style)
    grain = _grain_pool(rng, todo.grain)
    camera = _Camera(rng, style)
    hud = _hud(rng) if style.hud else None
    texture = textures[0]
    for i in range(len(todo.motion)):
        foreign = bool(todo.foreign[i])
        if todo.cuts[i]:
            texture = _next_shot(rng, adverts if foreign else textures, texture)
            camera.jump()
            bodies.jump()
        x, y = camera.step(float(todo.motion[i]), float(todo.shake[i]))
        out = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
        luma = texture.y[y : y + HEIGHT, x : x + WIDTH].copy()
        bodies.draw(luma, float(todo.motion[i]), float(todo.mouth[i]))
        if hud is not None and not foreign:
            luma[8:24, 10:90] = hud[(i // 15) % len(hud)]
        _finish(rng, out, luma, grain, todo, i)
        out[HEIGHT:] = _chroma(texture, x, y, 0.0 if todo.black[i] else float(todo.gain[i]))
        yield out


def _next_shot(rng: Generator, pool: list[_Texture], now: _Texture) -> _Texture:
    others = [t for t in pool if t is not now] or pool
    return others[int(rng.integers(len(others)))]


def _finish(
    rng: Generator, out: U8, luma: U8, grain: list[NDArray[np.int16]], todo: Directions, i: int
) -> None:
    """Light, exposure and grain on the gray plane."""
    if todo.black[i]:
        out[:HEIGHT] = 16
        return
    pool = grain[i % len(grain)]
    a, b = int(rng.integers(40)), int(rng.integers(40))
    value = luma.astype(np.int16)
    gain = float(todo.gain[i])
    if gain != 1:
        value = (value * np.int16(round(gain * 64))) >> 6
    value += pool[a : a + HEIGHT, b : b + WIDTH]
    value += np.int16(todo.light[i])
    np.clip(value, 0, 255, out=value)
    out[:HEIGHT] = value


def _chroma(texture: _Texture, x: int, y: int, gain: float) -> U8:
    if gain == 0:
        return np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    cx, cy = x // 2, y // 2
    half = [p[cy : cy + HEIGHT // 2, cx : cx + WIDTH // 2].reshape(-1, WIDTH) for p in (texture.u, texture.v)]
    planes = np.concatenate(half)
    return planes if gain > 0.7 else (128 + gain * (planes.astype(np.float32) - 128)).astype(np.uint8)


def _grain_pool(rng: Generator, level: float) -> list[NDArray[np.int16]]:
    shape = (HEIGHT + 40, WIDTH + 40)
    return [np.round(rng.normal(0, max(level, 0.01), shape)).astype(np.int16) for _ in range(5)]


class _Camera:
    """A point that wanders over the texture and turns back at its borders."""

    def __init__(self, rng: Generator, style: Style) -> None:
        self._rng, self._style = rng, style
        self._heading, self._phase = 1.0, 0.0
        self._x = self._y = 0.0
        self.jump()

    def jump(self) -> None:
        self._x, self._y = float(self._rng.uniform(0, PAD_X)), float(self._rng.uniform(0.2, 0.8) * PAD_Y)

    def step(self, motion: float, shake: float) -> tuple[int, int]:
        if self._rng.random() < 0.02:
            self._heading = float(self._rng.uniform(-1.3, 1.3))
        extra = max(0.0, motion - 1)
        self._x += self._heading * (self._style.pan * motion + extra)
        if not 0 <= self._x <= PAD_X:
            self._heading = -self._heading
            self._x = min(max(self._x, 0.0), float(PAD_X))
        self._phase += 0.35
        bob = self._style.bob * (0.6 + 0.4 * motion)
        x = self._x + bob * np.sin(0.6 * self._phase) + shake * self._rng.normal()
        y = self._y + bob * np.sin(self._phase) + shake * self._rng.normal()
        return int(np.clip(x, 0, PAD_X)) & ~1, int(np.clip(y, 0, PAD_Y)) & ~1


class _Bodies:
    """Players, passers-by, or one talking head."""

    def __init__(self, rng: Generator, style: Style) -> None:
        self._rng, self._style = rng, style
        self._where = np.zeros((style.bodies, 2))
        self._speed = np.zeros((style.bodies, 2))
        self._sprites: list[tuple[U8, NDArray[np.bool_]]] = []
        self.jump()

    def jump(self) -> None:
        rng, style = self._rng, self._style
        n = style.bodies
        zoom = 1.0 if style.head else float(rng.choice([1.0, 1.0, 2.2]))
        low = (0.25 * WIDTH, 0.1 * HEIGHT) if style.head else (0.0, 0.25 * HEIGHT)
        high = (0.6 * WIDTH, 0.25 * HEIGHT) if style.head else (float(WIDTH), 0.85 * HEIGHT)
        self._where = rng.uniform(low, high, (n, 2))
        self._speed = rng.normal(0, style.body_speed, (n, 2))
        w, h = (int(s * zoom) for s in style.body_size)
        self._sprites = [_body(rng, w, h) for _ in range(n)]

    def draw(self, luma: U8, motion: float, mouth: float) -> None:
        style = self._style
        if not style.bodies:
            return
        kick = self._rng.normal(0, style.body_speed * 0.35, self._speed.shape)
        self._speed = 0.9 * self._speed + kick
        self._where += self._speed * motion
        if style.head:
            self._where += 0.03 * (np.array([0.4 * WIDTH, 0.2 * HEIGHT]) - self._where)
        else:
            self._where %= (WIDTH, HEIGHT)
        where = self._where.clip(0, (WIDTH - 1, HEIGHT - 1)).astype(int)
        for (x, y), (sprite, mask) in zip(where, self._sprites, strict=True):
            h, w = min(len(sprite), HEIGHT - y), min(sprite.shape[1], WIDTH - x)
            np.copyto(luma[y : y + h, x : x + w], sprite[:h, :w], where=mask[:h, :w])
            if style.head:
                a, b = y + int(0.2 * h), x + int(0.4 * w)
                luma[a : a + 2 + int(9 * mouth), b : b + int(0.2 * w)] = 40


def _body(rng: Generator, w: int, h: int) -> tuple[U8, NDArray[np.bool_]]:
    """Head, shirt and legs, each of its own brightness, soft folds over them; with the outline."""
    y, x = np.meshgrid(np.linspace(0, 1, h), np.linspace(0, 1, w), indexing="ij")
    skin, shirt, legs = (int(v) for v in rng.integers(25, 235, 3))
    out = np.where(y < 0.3, skin, np.where(y < 0.65, shirt, legs)).astype(np.float64)
    out += 14 * np.sin(7 * x + rng.uniform(0, 6)) * np.cos(5 * y + rng.uniform(0, 6))
    head = ((x - 0.5) / 0.28) ** 2 + ((y - 0.16) / 0.17) ** 2 < 1
    trunk = (y >= 0.28) & (np.abs(x - 0.5) < 0.48 - 0.22 * (y > 0.65))
    return out.clip(0, 255).astype(np.uint8), head | trunk


def _hud(rng: Generator) -> list[U8]:
    """A score board whose clock changes every second."""
    base = np.full((16, 80), 30, np.uint8)
    boards: list[U8] = []
    for _ in range(10):
        board = base.copy()
        for x in range(4, 76, 8):
            board[4:12, x : x + int(rng.integers(2, 6))] = 230
        boards.append(board)
    return boards


def _texture(rng: Generator, kind: str) -> _Texture:
    h, w = HEIGHT + PAD_Y, WIDTH + PAD_X
    noise = _fractal(rng, h, w)
    luma = _TEXTURES[kind](rng, noise).clip(0, 255)
    tint = rng.normal(0, 5, 2) + _TINTS.get(kind, (0, 0))
    colour = _fractal(rng, h // 2, w // 2)
    u, v = (
        (128 + t + 4 * colour * s).clip(30, 220).astype(np.uint8) for t, s in zip(tint, (1, -1), strict=True)
    )
    return _Texture(luma.astype(np.uint8), u, v)


def _fractal(rng: Generator, h: int, w: int, fall: float = 1.3) -> F64:
    """Noise whose amplitude falls with frequency, about 1/f in natural pictures; unit deviation."""
    f = np.hypot(np.fft.fftfreq(h)[:, None] * h, np.fft.rfftfreq(w)[None] * w)
    f[0, 0] = 1
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((h, w))) / f**fall, (h, w))
    return field / field.std()


def _blocks(rng: Generator, out: F64, count: int, size: tuple[int, int], contrast: float) -> F64:
    h, w = out.shape
    for _ in range(count):
        x, y = int(rng.integers(w)), int(rng.integers(h))
        bw, bh = int(rng.integers(4, size[0])), int(rng.integers(4, size[1]))
        out[y : y + bh, x : x + bw] += rng.normal(0, contrast)
    return out


def _pitch(rng: Generator, noise: F64) -> F64:
    """Mown stripes, lines, the stand above."""
    h, w = noise.shape
    out = 95 + 6 * noise
    out[:, (np.arange(w) // 40) % 2 == 0] += 14
    top = int(0.35 * h)
    out[:top] = 90 + 24 * _fractal(rng, top + top % 2, w, 0.9)[:top]
    out[top : top + 3] = 220
    out[:, rng.integers(20, w - 20, 4)] = 215
    return out


def _stand(rng: Generator, noise: F64) -> F64:
    """Nothing but spectators."""
    h, w = noise.shape
    return 100 + 14 * noise + 24 * _fractal(rng, h, w, 0.9)


def _close(rng: Generator, noise: F64) -> F64:
    return _blocks(rng, 110 + 40 * noise, 14, (140, 160), 40)


def _level(rng: Generator, noise: F64) -> F64:
    """Walls, crates, sky."""
    out = 90 + 30 * noise
    out[: len(out) // 3] += 50
    return _blocks(rng, out, 70, (60, 60), 45)


def _menu(rng: Generator, noise: F64) -> F64:
    out = 50 + 10 * noise
    for k in range(6):
        out[30 + 26 * k : 46 + 26 * k, :] = 120 + 20 * (k % 2)
    return out


def _set(rng: Generator, noise: F64) -> F64:
    """A studio or a living room."""
    return _blocks(rng, 80 + 18 * noise, 18, (110, 90), 35)


def _slide(rng: Generator, noise: F64) -> F64:
    """Lines of text on white."""
    out = 235 + 0 * noise
    for y in range(20, out.shape[0] - 20, int(rng.integers(14, 22))):
        x = int(rng.integers(10, 60))
        while x < rng.integers(200, 620):
            word = int(rng.integers(8, 40))
            out[y : y + 6, x : x + word] = 40
            x += word + 7
    return out


def _hall(rng: Generator, noise: F64) -> F64:
    return _blocks(rng, 60 + 20 * noise, 24, (60, 40), 30)


def _street(rng: Generator, noise: F64) -> F64:
    """Houses with windows, a road."""
    out = _blocks(rng, 110 + 28 * noise, 40, (80, 140), 35)
    for x in range(0, out.shape[1], 24):
        out[20:110:22, x : x + 10] = 45
    out[int(0.75 * len(out)) :] = 85 + 10 * noise[int(0.75 * len(out)) :]
    return out


_TINTS = {"pitch": (-14, -16), "street": (4, -2), "set": (-5, 8), "level": (6, -3)}

_TEXTURES = {
    "pitch": _pitch, "stand": _stand, "close": _close, "level": _level, "menu": _menu, "set": _set,
    "slide": _slide, "hall": _hall, "street": _street,
}  # fmt: skip
