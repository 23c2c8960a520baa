"""Kinds of events: `KINDS[scene]` are tuned on, `HELD_OUT[scene]` exist only in reports.

Each function fills a `Happening` whose `at` is the instant of the action. The label starts where the
action begins, its core is where action or reaction is in full swing, and it ends when the reaction has
fallen by 5 dB (weak) to 10 dB (strong).
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.detection.happening import Bump, Happening
from benchmarks.detection.synth import crowd, music, noises, voice

Kind = Callable[[Happening], None]


def _cheer(
    h: Happening, delay: float, *, attack: float = 0.0, people: int = 36, claps: float = 0.3
) -> tuple[float, float, float, float]:
    """A crowd's roar after `delay`; (core from, peak, core to, end)."""
    rng = h.rng
    attack = attack or float(rng.uniform(0.5, 2.0))
    hold, decay = h.pick(0.8, 1.5, 2.5), h.pick(2.5, 4.5, 7.0)
    at = h.at + delay
    h.sound(at, crowd.roar(rng, attack, hold, decay, people=people, claps=claps), h.over, wet=0.6)
    top = at + attack
    return at + 0.5 * attack, top + 0.4 * hold, top + hold, top + hold + decay * h.pick(0.3, 0.4, 0.5)


def _yell(h: Happening, at: float, seconds: float) -> None:
    """Somebody near the microphone cheers in words, whoever else is talking."""
    height = h.excitement
    said = voice.speech(h.rng, voice.speaker(h.rng), seconds, lambda _t: height)
    h.sound(at, crowd.unit_core(said), h.over, wet=0.15)


def _shout(h: Happening, lead: float, hold: float, fade: float, *, height: float = 0.0) -> None:
    h.excite(h.at - lead, h.at + 0.3, h.at + hold, h.at + hold + fade, height or h.excitement)


def _maybe_cuts(h: Happening, after: float, chance: float) -> None:
    """Other camera, close-up: two events in three on average, as directors do."""
    t = h.at + after
    while h.rng.random() < chance and len(h.cuts) < 4:
        h.cuts.append(t)
        t += h.rng.uniform(1.2, 3.0)


def _quiet(begin: float, until: float, depth: float) -> Bump:
    """The scene's own sound is `depth` dB lower: who laughs or listens does not talk."""
    return Bump(begin, begin + 0.4, until - 0.2, until, depth)


# --- sports --------------------------------------------------------------------------------------------


def goal(h: Happening) -> None:
    """Attack, shot, shout, roar, flashes, close-ups."""
    delay = float(h.rng.uniform(0, 2.0))
    lead = float(h.rng.uniform(0.8, 2.0))
    h.move(h.at - lead - 1, h.at + 2.5, h.pick(0.8, 1.3, 2.0))
    _shout(h, lead, h.pick(2, 4, 6), 4)
    a, p, b, end = _cheer(h, delay)
    _maybe_cuts(h, 2.5, 0.65)
    if h.rng.random() < 0.35:
        for t in h.rng.uniform(h.at + 1, h.at + 5, int(h.pick(2, 5, 10))):
            h.flash(float(t), 40)
    h.is_event("goal", h.at - 0.7 * lead, (a, p, b), end)


def near_miss(h: Happening) -> None:
    """Shot, groan."""
    delay = float(h.rng.uniform(0, 0.8))
    h.move(h.at - 2, h.at + 1, h.pick(0.8, 1.2, 1.6))
    _shout(h, 1.0, 1.0, 2.0)
    hold, decay = h.pick(0.5, 0.8, 1.2), h.pick(1.5, 2.5, 3.5)
    h.sound(h.at + delay, crowd.groan(h.rng, hold, decay), h.over, wet=0.6)
    top = h.at + delay + 0.4
    _maybe_cuts(h, 2, 0.4)
    h.is_event("near miss", h.at - 1, (h.at + delay, top + 0.3 * hold, top + hold), top + hold + 0.45 * decay)


def big_play(h: Happening) -> None:
    """A fine move: applause with some cheering."""
    seconds = h.pick(3.5, 5.5, 8)
    delay = float(h.rng.uniform(0.2, 1.2))
    h.move(h.at - 2.5, h.at + 0.5, h.pick(0.7, 1.1, 1.5))
    _shout(h, 1.5, 2.0, 3.0, height=0.7 * h.excitement)
    at = h.at + delay
    sound = crowd.clapping(h.rng, seconds, int(h.pick(40, 90, 160)))
    cheer = crowd.roar(h.rng, 0.6, 0.4 * seconds, 0.4 * seconds, claps=0)
    size = min(len(sound), len(cheer))
    h.sound(at, crowd.unit_core(sound[:size] + 0.7 * cheer[:size]), h.over, wet=0.6)
    _maybe_cuts(h, 1.5, 0.5)
    h.is_event(
        "big play", h.at - 1.2, (at + 0.4, at + 0.3 * seconds, at + 0.6 * seconds), at + 0.85 * seconds
    )


def dunk(h: Happening) -> None:
    """Sudden: thump at the rim, a short sharp roar, a shouted call."""
    h.move(h.at - 1.2, h.at + 0.8, h.pick(1, 1.6, 2.2), shake=h.pick(0, 1.5, 3))
    h.sound(h.at, noises.thump(h.rng), 3, wet=0.4)
    _shout(h, 0.4, 1.8, 2.0)
    a, p, b, end = _cheer(h, 0.15, attack=0.4)
    _maybe_cuts(h, 1.2, 0.5)
    h.is_event("dunk", h.at - 0.6, (a, p, b), end)


def knock_out(h: Happening) -> None:
    """Held out: a blow, the bell, everybody jumps up."""
    h.move(h.at - 3, h.at + 1.5, h.pick(1, 1.5, 2))
    h.sound(h.at, noises.bang(h.rng, 0.05, dull=0.8), 4, wet=0.3)
    h.sound(h.at + 1.8, noises.bells(h.rng, 1.5), 2, wet=0.4)
    _shout(h, 1.5, h.pick(2, 3, 5), 3)
    a, p, b, end = _cheer(h, 0.4, attack=0.6, claps=0)
    h.is_event("knock-out", h.at - 1.5, (min(a, h.at), p, b), end)


def finish(h: Happening) -> None:
    """Held out: a race's end; crowd and commentator climb for six seconds."""
    climb = float(h.rng.uniform(3.5, 6))
    h.move(h.at - climb, h.at + 1, h.pick(0.6, 1.0, 1.4))
    h.excite(h.at - climb, h.at, h.at + 2, h.at + 5, h.excitement)
    a, p, b, end = _cheer(h, -0.7 * climb, attack=0.75 * climb)
    h.is_event("finish", h.at - 0.6 * climb, (a, p, b), end)


def buzzer(h: Happening) -> None:
    """Held out: the shot in the last second: horn and roar."""
    h.move(h.at - 2, h.at + 2, h.pick(1, 1.4, 2))
    h.sound(h.at, noises.horn(h.rng, 1.0), 5, wet=0.6)
    _shout(h, 0.8, h.pick(2, 3, 5), 3)
    a, p, b, end = _cheer(h, 0.5, attack=0.6)
    _maybe_cuts(h, 2, 0.6)
    h.is_event("buzzer beater", h.at - 1, (a, p, b), end)


# --- gaming --------------------------------------------------------------------------------------------


def multi_kill(h: Happening) -> None:
    """Bangs, a turning camera, the streamer shouts."""
    fight = h.pick(2, 3.5, 5)
    h.move(h.at - fight, h.at + 1, h.pick(0.6, 1, 1.5), shake=h.pick(0.5, 1, 2))
    h.sound(h.at - fight, noises.gunfire(h.rng, fight + 0.3), h.over + 2, wet=0.2)
    for t in h.rng.uniform(h.at - fight, h.at, int(3 * fight)):
        h.flash(float(t), 25, 0.1)
    _shout(h, 0.5, h.pick(1.5, 2.5, 4), 1.5)
    end = h.at + h.pick(1.8, 3, 4.5)
    _yell(h, h.at, end - h.at)
    h.is_event("multi kill", h.at - fight, (h.at - 0.6 * fight, h.at, end - 0.8), end)


def clutch(h: Happening) -> None:
    """Silence, one last duel, then a yell."""
    h.ducks.append(_quiet(h.at - 6, h.at - 0.2, 5))
    h.move(h.at - 1.5, h.at + 0.8, h.pick(0.7, 1, 1.5))
    h.sound(h.at - 0.6, noises.gunfire(h.rng, 0.8), h.over, wet=0.2)
    _shout(h, 0.1, h.pick(2, 3, 5), 2)
    h.sound(h.at + 0.4, voice.scream(h.rng, voice.speaker(h.rng), h.pick(0.6, 1, 1.6)), h.over, wet=0.2)
    end = h.at + h.pick(2.2, 3.5, 5.5)
    _yell(h, h.at + 0.6, end - h.at - 0.6)
    h.is_event("clutch", h.at - 1, (h.at - 0.3, h.at + 0.7, end - 1), end)


def funny_fail(h: Happening) -> None:
    """Something silly; streamer and friend laugh."""
    seconds = h.pick(2, 3.2, 5)
    h.move(h.at - 1.5, h.at, h.pick(0.5, 0.8, 1.1))
    h.ducks.append(_quiet(h.at, h.at + seconds, 12))
    for k in range(2):
        one = voice.laugh(h.rng, voice.speaker(h.rng), seconds * h.rng.uniform(0.8, 1))
        h.sound(h.at + 0.3 + 0.4 * k, one, h.over - 1, wet=0.15)
    h.is_event(
        "funny fail",
        h.at - 1,
        (h.at + 0.4, h.at + 0.35 * seconds, h.at + 0.3 + 0.75 * seconds),
        h.at + 0.3 + seconds,
    )


def jump_scare(h: Happening) -> None:
    """A sting from the game, a scream, nervous laughing."""
    h.ducks.append(_quiet(h.at - 5, h.at - 0.1, 6))
    h.move(h.at, h.at + 1.5, h.pick(1, 1.6, 2.4), shake=h.pick(1, 2, 4))
    h.sound(h.at, noises.explosion(h.rng, 0.3), h.over, wet=0.2)
    length = h.pick(0.7, 1.1, 1.8)
    h.sound(h.at + 0.25, voice.scream(h.rng, voice.speaker(h.rng), length), h.over + 1, wet=0.15)
    _shout(h, 0.0, h.pick(2, 3, 4), 2)
    end = h.at + length + h.pick(1.2, 2, 3)
    h.is_event("jump scare", h.at - 0.3, (h.at, h.at + 0.6, h.at + length + 0.5), end)


def boss_down(h: Happening) -> None:
    """Held out: a big explosion, a fanfare, "yes, yes!"."""
    h.move(h.at - 3, h.at + 1, h.pick(0.8, 1.2, 1.6), shake=h.pick(1, 2, 3))
    h.sound(h.at, noises.explosion(h.rng, 0.8), h.over, wet=0.3)
    h.flash(h.at, 60, 0.4)
    h.sound(h.at + 1.2, music.fanfare(h.rng, 2.5), 0.6 * h.over, wet=0.2)
    h.excite(h.at - 1, h.at + 0.6, h.at + h.pick(2.5, 4, 5.5), h.at + h.pick(4, 6, 8), h.excitement)
    h.is_event(
        "boss down", h.at - 1, (h.at, h.at + 1.2, h.at + h.pick(2, 3.2, 4.5)), h.at + h.pick(3.5, 5, 7)
    )


def rage(h: Happening) -> None:
    """Held out: the streamer loses and yells at it, hitting the desk."""
    length = h.pick(2.5, 4, 6)
    h.excite(h.at, h.at + 0.2, h.at + length, h.at + length + 1, h.excitement)
    for t in h.rng.uniform(h.at + 0.4, h.at + length, int(h.pick(1, 2, 4))):
        h.sound(float(t), noises.thump(h.rng), 4, wet=0.1)
    h.sound(h.at + 0.2, voice.scream(h.rng, voice.speaker(h.rng, "man"), 0.35 * length), h.over, wet=0.1)
    h.move(h.at, h.at + length, 0.3)
    h.is_event(
        "rage", h.at - 0.3, (h.at + 0.1, h.at + 0.25 * length, h.at + 0.8 * length), h.at + length + 0.4
    )


# --- talk and lecture ----------------------------------------------------------------------------------


def _laughter(
    h: Happening, kind: str, people: tuple[int, int], *, delay: float = 0.3, lead: float = 1.2
) -> None:
    seconds = h.pick(2.2, 3.6, 5.5)
    at = h.at + delay
    h.ducks.append(_quiet(at + 0.2, at + 0.75 * seconds, 14))
    h.sound(at, crowd.laughter(h.rng, seconds, int(h.rng.integers(*people))), h.over + 1.5, wet=0.4)
    h.move(h.at - 0.5, at + 0.7 * seconds, h.pick(0.3, 0.6, 1.0))
    h.is_event(kind, h.at - lead, (at + 0.2, at + 0.25 * seconds, at + 0.6 * seconds), at + 0.85 * seconds)


def punchline(h: Happening) -> None:
    """The audience or the table laughs."""
    _laughter(h, "punchline", (5, 28))


def applause(h: Happening) -> None:
    """The audience claps."""
    seconds = h.pick(3.5, 6, 9.5)
    h.ducks.append(_quiet(h.at + 0.3, h.at + 0.7 * seconds, 16))
    people = int(h.pick(25, 60, 130))
    h.sound(h.at, crowd.clapping(h.rng, seconds, people), h.over, wet=0.5)
    h.move(h.at, h.at + 0.7 * seconds, h.pick(0.3, 0.5, 0.8))
    if h.rng.random() < 0.5:
        h.cuts.append(h.at + h.rng.uniform(0.5, 2))
    h.is_event(
        "applause",
        h.at - 0.4,
        (h.at + 0.5, h.at + 0.3 * seconds, h.at + 0.65 * seconds),
        h.at + 0.88 * seconds,
    )


def argument(h: Happening) -> None:
    """All talk at once and loudly."""
    seconds = h.pick(4, 6, 9)
    height = h.excitement
    h.excite(h.at, h.at + 1, h.at + seconds - 1, h.at + seconds + 1, height)
    for _ in range(2):
        other = voice.speech(
            h.rng, voice.livelier(voice.speaker(h.rng), rate=1.15), seconds - 0.8, lambda _t: height
        )
        h.sound(h.at + 0.5, crowd.unit_core(other), 0.8 * h.over, wet=0.25)
    h.move(h.at, h.at + seconds, h.pick(0.5, 1, 1.5))
    for k in range(int(h.rng.integers(0, 4))):
        h.cuts.append(h.at + 1 + 1.6 * k)
    h.is_event("argument", h.at, (h.at + 0.8, h.at + 0.5 * seconds, h.at + seconds - 0.8), h.at + seconds)


def question_laugh(h: Happening) -> None:
    """Somebody asks from the back, the room laughs."""
    asked = float(h.rng.uniform(2, 3.5))
    h.ducks.append(_quiet(h.at - asked - 0.5, h.at, 18))
    far = voice.speech(h.rng, voice.speaker(h.rng), asked)
    h.sound(h.at - asked, crowd.unit_core(far), 1.0, wet=1.2)
    _laughter(h, "question, laughter", (8, 30), delay=0.1, lead=0.8)


def demo_wow(h: Happening) -> None:
    """An experiment works: "oh!", then clapping."""
    h.sound(h.at + 0.1, crowd.gasp(h.rng, int(h.pick(12, 20, 34))), h.over, wet=0.5)
    seconds = h.pick(2.5, 4, 6)
    h.sound(h.at + 1.5, crowd.clapping(h.rng, seconds, int(h.pick(20, 45, 90))), h.over - 1, wet=0.5)
    h.ducks.append(_quiet(h.at, h.at + seconds, 12))
    h.move(h.at - 1, h.at + 1.5, h.pick(0.8, 1.4, 2))
    h.is_event(
        "demo, wow",
        h.at - 0.8,
        (h.at + 0.2, h.at + 2.2, h.at + 1.5 + 0.5 * seconds),
        h.at + 1.5 + 0.85 * seconds,
    )


def outburst(h: Happening) -> None:
    """Held out: one person loses temper or breaks into tears: shouting for seconds."""
    length = h.pick(2.5, 4, 6.5)
    h.excite(h.at, h.at + 0.3, h.at + length, h.at + length + 1.5, min(1.0, h.excitement + 0.1))
    h.sound(h.at + 0.1, voice.scream(h.rng, voice.speaker(h.rng), 0.3 * length), h.over, wet=0.25)
    h.move(h.at, h.at + length, h.pick(0.8, 1.4, 2))
    h.is_event(
        "outburst", h.at - 0.3, (h.at + 0.1, h.at + 0.3 * length, h.at + 0.85 * length), h.at + length + 0.5
    )


def gasp_reveal(h: Happening) -> None:
    """Held out: a surprise is shown: gasp, shouting, applause."""
    h.sound(h.at, crowd.gasp(h.rng, 24), h.over, wet=0.5)
    a, p, b, end = _cheer(h, 0.8, attack=0.7, people=24, claps=0.8)
    h.ducks.append(_quiet(h.at, b, 10))
    h.cuts += [h.at - 0.3, h.at + 1.6]
    h.is_event("reveal", h.at - 0.3, (min(a, h.at + 0.2), p, b), end)


def crying_laugh(h: Happening) -> None:
    """Held out: one person cannot stop laughing."""
    seconds = h.pick(3, 5, 7)
    h.ducks.append(_quiet(h.at + 0.3, h.at + seconds - 0.3, 16))
    h.sound(h.at, voice.laugh(h.rng, voice.speaker(h.rng), seconds), h.over, wet=0.25)
    h.move(h.at, h.at + seconds, h.pick(0.5, 1, 1.5))
    h.is_event(
        "crying with laughter",
        h.at - 0.8,
        (h.at + 0.2, h.at + 0.3 * seconds, h.at + 0.8 * seconds),
        h.at + seconds,
    )


def demo_bang(h: Happening) -> None:
    """Held out: the experiment explodes, the room shrieks and laughs."""
    h.sound(h.at, noises.explosion(h.rng, 0.25), h.over + 3, wet=0.6)
    h.flash(h.at, 70, 0.3)
    h.sound(h.at + 0.2, crowd.gasp(h.rng, 20), h.over, wet=0.5)
    seconds = h.pick(2, 3.2, 4.5)
    h.sound(h.at + 1.2, crowd.laughter(h.rng, seconds, 16), h.over, wet=0.5)
    h.ducks.append(_quiet(h.at, h.at + 1 + seconds, 14))
    h.is_event(
        "demo, bang", h.at - 0.8, (h.at, h.at + 1.4, h.at + 1.2 + 0.6 * seconds), h.at + 1.2 + 0.85 * seconds
    )


# --- walking -------------------------------------------------------------------------------------------


def performer(h: Happening) -> None:
    """A street artist's trick: cheer, claps, drum."""
    a, p, b, end = _cheer(h, 0.2, people=22, claps=0.9)
    h.sound(h.at - 1.2, crowd.chant(h.rng, 1.6, tempo=6), 2, wet=0.3)
    h.move(h.at - 1, h.at + 2, h.pick(0.3, 0.6, 1))
    _shout(h, 0.2, 1.5, 2, height=0.7 * h.excitement)
    h.is_event("street performer", h.at - 0.6, (a, p, b), end)


def collision(h: Happening) -> None:
    """A crash, people shout."""
    h.sound(h.at, noises.crash(h.rng), h.over + 3, wet=0.3)
    length = h.pick(2, 3.2, 5)
    cries = crowd.roar(h.rng, 0.4, 0.5 * length, 0.6 * length, people=10, claps=0)
    h.sound(h.at + 0.5, cries, h.over, wet=0.3)
    _shout(h, 0, length, 3)
    h.move(h.at, h.at + 2.5, h.pick(1, 2, 3), shake=h.pick(2, 4, 6))
    h.is_event(
        "crash, reaction", h.at - 0.8, (h.at, h.at + 0.9, h.at + 0.6 + 0.6 * length), h.at + 0.6 + length
    )


def banter(h: Happening) -> None:
    """Host and company laugh."""
    _laughter(h, "laughing together", (2, 5))


def fans(h: Happening) -> None:
    """People recognise somebody and scream."""
    length = h.pick(2, 3.2, 5)
    for k in range(int(h.pick(3, 5, 9))):
        one = voice.scream(h.rng, voice.speaker(h.rng, "woman"), length * h.rng.uniform(0.4, 0.8))
        h.sound(h.at + 0.25 * k, one, 0.6 * h.over, wet=0.3)
    a, p, b, end = _cheer(h, 0.3, attack=0.6, people=18, claps=0.2)
    h.move(h.at, h.at + 3, h.pick(0.6, 1.2, 2))
    h.is_event(
        "fans", h.at - 0.5, (min(a, h.at + 0.3), p, max(b, h.at + 0.7 * length)), max(end, h.at + length)
    )


def fireworks(h: Happening) -> None:
    """Held out: rockets burst, "oooh"."""
    length = h.pick(3, 5, 8)
    h.sound(h.at - 0.6, noises.firework(h.rng, length), h.over + 1, wet=0.4)
    h.sound(h.at + 0.8, crowd.roar(h.rng, 0.8, 0.4 * length, 0.5 * length, people=20), 0.7 * h.over, wet=0.3)
    for t in h.rng.uniform(h.at, h.at + length, int(2 * length)):
        h.flash(float(t), 45, 0.5)
    h.is_event("fireworks", h.at - 0.6, (h.at, h.at + 0.4 * length, h.at + length - 0.5), h.at + length + 1)


def narrow_escape(h: Happening) -> None:
    """Held out: a horn, brakes, a scream, excited talk."""
    h.sound(h.at - 0.3, noises.horn(h.rng, 1.4), h.over + 1, wet=0.3)
    h.sound(h.at + 0.3, voice.scream(h.rng, voice.speaker(h.rng), h.pick(0.6, 0.9, 1.3)), h.over + 1, wet=0.2)
    length = h.pick(2.5, 4, 6)
    h.excite(h.at, h.at + 0.5, h.at + length, h.at + length + 2, h.excitement)
    h.move(h.at - 0.3, h.at + 2, h.pick(1.5, 2.5, 3.5), shake=h.pick(2, 4, 6))
    h.is_event(
        "narrow escape", h.at - 0.6, (h.at - 0.2, h.at + 0.7, h.at + 0.8 * length), h.at + length + 0.5
    )


KINDS: dict[str, tuple[Kind, ...]] = {
    "sports": (goal, goal, near_miss, big_play, dunk),
    "gaming": (multi_kill, multi_kill, clutch, funny_fail, jump_scare),
    "talk": (punchline, punchline, applause, argument),
    "lecture": (question_laugh, punchline, applause, demo_wow),
    "walking": (performer, collision, banter, fans),
}
HELD_OUT: dict[str, tuple[Kind, ...]] = {
    "sports": (knock_out, finish, buzzer),
    "gaming": (boss_down, rage),
    "talk": (outburst, gasp_reveal, crying_laugh),
    "lecture": (demo_bang, gasp_reveal),
    "walking": (fireworks, narrow_escape),
}
