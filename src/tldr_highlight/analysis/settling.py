"""Moments of a source that is still being read, each as soon as nothing that comes can change it.

    settler = Settler(dimension_set, options)
    for signals in stretches:               that follow each other, cut anywhere
        publish(settler.feed(signals))      moments that are certain now, in order of time
    publish(settler.finish(duration))       the rest

Which moments come, and in what order, depends on the curves alone and not on where they were cut: whoever
starts again with the same curves gets the same first, second, third moment. They are those of `choose`, but
for replays: of a thing shown twice `choose` keeps the better one, and here the first one is published
already.

Curves are judged in stretches whose borders are fixed, each with `CONTEXT` on both sides, which gives what
the whole would give. So something that happens is certain four to eight minutes of media later, which are
read in some seconds; time grows with the length of the source, memory does not.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from tldr_highlight.analysis.base import STEP, Curve, Moment
from tldr_highlight.analysis.dimensions import DimensionSet
from tldr_highlight.analysis.local import CONTEXT, analyse
from tldr_highlight.analysis.moments import (
    LONGEST_MOMENT,
    REACTION_LEAD,
    SNAP,
    Clip,
    Look,
    MomentOptions,
    Scored,
    apart,
    choose,
    framed,
    look_of,
    moment,
    shown_before,
    united,
    worthy,
)
from tldr_highlight.analysis.rolling import steps
from tldr_highlight.analysis.signals import Signals, joined

SHORTEST, LONGEST = 50.0, 300.0
"""Seconds that are judged at once: the first stretches are short, so that what happens in the first minute
need not wait for more than six of media; in the long ones surroundings that are judged twice cost least."""

REACH = LONGEST_MOMENT + REACTION_LEAD + STEP
"""Seconds by which an event can begin before its peak, at most."""

SLACK = 5.0
"""Seconds by which a source may end before its curves do: half a step and a sound packet, in truth."""

REMEMBERED = 256
"""Published events that later ones are compared with: 1.7 MB, and more than most days hold."""


def rescore(
    signals: Signals, dimension_set: DimensionSet, duration: float, options: MomentOptions | None = None
) -> list[Moment]:
    """The moments of a source whose curves are known as a whole: another set or other options, tried on."""
    return choose(analyse(signals), dimension_set, duration, options)


@dataclass(frozen=True, slots=True)
class _Ground:
    """The curves that borders of clips look at."""

    first: int
    loudness: Curve
    cuts: Curve


class Settler:
    """Takes curves as they come and gives the moments in them that are certain.

    With `max_highlights` nothing is certain before the end, and all curves are kept: 20 MB for twelve hours.
    """

    def __init__(self, dimension_set: DimensionSet, options: MomentOptions | None = None) -> None:
        self._set = dimension_set
        self._options = options or MomentOptions()
        self._curves: Signals | None = None  # as far as they are still needed
        self._judged = 0  # step up to which all events are known
        self.judged_anything = False
        """Whether any dimension was known anywhere so far."""
        self._waiting: list[tuple[Scored, Look]] = []  # events with their looks; one may come before them
        self._open: Scored | None = None  # the next may belong to it
        self._closed: deque[Scored] = deque()  # whole; what surrounds them is not known
        self._last: tuple[Scored, Clip] | None = None  # the next one's clip may take some of its end
        self._looks: deque[Look] = deque(maxlen=REMEMBERED)

    def feed(self, signals: Signals) -> list[Moment]:
        """Take the next stretch; give what is certain now, behind all that was given before.

        Raises:
            ValueError: it does not begin where the one before ended.
        """
        self._take(signals)
        if self._options.max_highlights is not None:
            return []
        found: list[Moment] = []
        while self._end >= self._next_stretch() * STEP + CONTEXT:
            self._judge()
            found += self._settle(self._judged * STEP - REACH, math.inf)
        self._forget()
        return found

    def finish(self, duration: float) -> list[Moment]:
        """The rest, once all curves were fed; the source is `duration` media seconds long.

        With `max_highlights` these are all, exactly as `choose` gives them.
        """
        if self._curves is None:
            return []
        if self._options.max_highlights is not None:
            analysis = analyse(self._curves)
            self.judged_anything = analysis.judged_anything
            return choose(analysis, self._set, duration, self._options)
        while self._end > self._judged * STEP:
            self._judge()
        return self._settle(math.inf, duration)

    @property
    def kept_steps(self) -> int:
        """Steps of curves that are held: what tells how much memory it takes, 30 numbers each."""
        return self._curves.steps if self._curves else 0

    @property
    def _end(self) -> float:
        return self._curves.end if self._curves else 0.0

    def _take(self, signals: Signals) -> None:
        if self._curves is None:
            self._judged = signals.first
        elif signals.first != self._curves.first + self._curves.steps:
            raise ValueError(f"curves from step {signals.first} on do not follow those before")
        self._curves = joined(self._curves, signals)

    def _next_stretch(self) -> int:
        """The step at which the next stretch to judge ends: 50, 100, 200, 400, 700, 1000 s …"""
        return self._judged + min(max(self._judged, steps(SHORTEST)), steps(LONGEST))

    def _judge(self) -> None:
        """Find the events of the next stretch of the grid."""
        assert self._curves
        start, end = self._judged, self._next_stretch()
        analysis = analyse(self._curves.part(start - steps(CONTEXT), end + steps(CONTEXT)))
        self.judged_anything |= analysis.judged_anything
        inside = [e for e in analysis.events if start * STEP <= e.peak < end * STEP]
        found = worthy(inside, self._set, self._options)
        self._waiting += [(each, look_of(each[1], analysis)) for each in found]
        self._waiting.sort(key=lambda w: (w[0][1].start, -w[0][0], w[0][1].peak))
        self._judged = end

    def _settle(self, sure: float, duration: float) -> list[Moment]:
        """What is certain when all events before `sure` are known; `duration` inf: not known yet."""
        while self._waiting and self._waiting[0][0][1].start < sure:
            self._add(*self._waiting.pop(0))
        if self._open and self._open[1].end + self._options.merge_gap <= sure:
            self._closed.append(self._open)
            self._open = None
        return [moment(scored, clip, self._set) for scored, clip in self._framed(sure, duration)]

    def _add(self, scored: Scored, look: Look) -> None:
        """Take the next event in order of time."""
        if self._looks and shown_before(look, np.stack(self._looks)):
            return
        self._looks.append(look)
        one = united(self._open, scored, self._options) if self._open else None
        if self._open and one is None:
            self._closed.append(self._open)
        self._open = one or scored

    def _framed(self, sure: float, duration: float) -> list[tuple[Scored, Clip]]:
        """Closed events whose clips nothing can change any more."""
        done: list[tuple[Scored, Clip]] = []
        while self._closed and (duration < math.inf or self._surrounded(self._closed[0])):
            scored = self._closed.popleft()
            clip = framed(scored[1], self._ground(), duration, self._options)
            if self._last:
                before, earlier = self._last
                earlier, clip = apart(before[1], earlier, scored[1], clip)
                done.append((before, earlier))
            self._last = scored, clip
        if self._last and self._last[1][1] <= self._next_clip(sure):
            done.append(self._last)
            self._last = None
        return done

    def _surrounded(self, scored: Scored) -> bool:
        """Whether the curves go on behind all that its clip may show."""
        options = self._options
        return scored[1].end + options.context_after + SNAP + options.shortest_clip + SLACK <= self._end

    def _next_clip(self, sure: float) -> float:
        """Seconds before which the clip of no event can begin that has none yet."""
        pending = self._pending()
        first = min(sure, pending[0][1].start) if pending else sure
        return first - self._options.context_before - SNAP - self._options.shortest_clip

    def _pending(self) -> list[Scored]:
        """Events without clips, in order of time."""
        return [*self._closed, *([self._open] if self._open else []), *(each for each, _ in self._waiting)]

    def _ground(self) -> _Ground:
        assert self._curves
        curves = self._curves.curves
        return _Ground(self._curves.first, curves["loudness"], np.nan_to_num(curves["cuts"]))

    def _forget(self) -> None:
        """Let go of curves that neither the next stretch nor a clip of ours needs."""
        assert self._curves
        needed = self._judged * STEP - CONTEXT
        if pending := self._pending():
            needed = min(needed, pending[0][1].start - self._options.context_before - SLACK)
        self._curves = self._curves.part(steps(needed), self._curves.first + self._curves.steps)
