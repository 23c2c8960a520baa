"""What runs in the sandbox: media is opened here, and nowhere else. See `job` for the other side.

Each function is a `keeper.Target`: arguments as JSON in, an item for each step out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Protocol

from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.core.wire import Json, Refusal, pack, unpack
from tldr_highlight.errors import CutError
from tldr_highlight.media.cut import cut
from tldr_highlight.media.job import Look, Reel, Work
from tldr_highlight.media.join import join
from tldr_highlight.media.keeper import Tell
from tldr_highlight.media.leaps import leaps
from tldr_highlight.media.plan import plan
from tldr_highlight.media.probe import probe
from tldr_highlight.media.remote import opened
from tldr_highlight.media.types import MediaInfo, Origin

NOTES_APART = 0.1
"""Least seconds between two notes about progress: cutting sees 1 000 pictures a second."""


def look(arguments: Json, tell: Tell) -> Iterator[Json]:
    """One item: the `MediaInfo` of a `Look`."""
    del tell
    wanted = unpack(Look, arguments)
    with _reached(wanted.origin, wanted.sound, wanted.policy) as (origin, sound):
        info = probe(origin, sound=sound)
    yield pack(replace(info, origin=wanted.origin, sound_origin=wanted.sound))


def plans(arguments: Json, tell: Tell) -> Iterator[Json]:
    """An item for each clip of a `Work`: `ClipPlan` or `Refusal`; all of them are made in the first step."""
    del tell
    work = unpack(Work, arguments)
    with _source(work) as info:
        yield from map(
            _packed, plan(info, work.specs, options=work.options, jumped=work.jumped or leaps(info))
        )


def clips(arguments: Json, tell: Tell) -> Iterator[Json]:
    """An item for each clip of a `Work`: `ClipResult` or `Refusal`. Notes: index and share that is done."""
    work = unpack(Work, arguments)
    now_and_then = _seldom(tell)

    def on_progress(index: int, share: float) -> None:
        now_and_then([index, share], last=share >= 1)

    with _source(work) as info:
        jumped = work.jumped or leaps(info)
        outcomes = cut(info, work.specs, options=work.options, jumped=jumped, on_progress=on_progress)
        yield from map(_packed, outcomes)


def reel(arguments: Json, tell: Tell) -> Iterator[Json]:
    """One item: the `ClipResult` of a `Reel`. Notes: the share that is done."""
    wanted = unpack(Reel, arguments)
    now_and_then = _seldom(tell)

    def on_progress(share: float) -> None:
        now_and_then(share, last=share >= 1)

    yield pack(
        join(
            wanted.clips,
            wanted.path,
            crossfade=wanted.crossfade,
            options=wanted.options,
            on_progress=on_progress,
        )
    )


class _Note(Protocol):
    def __call__(self, note: Json, *, last: bool) -> None: ...


def _seldom(tell: Tell) -> _Note:
    """Tell what is told too often only now and then, and the last of it always."""
    told = 0.0

    def now_and_then(note: Json, *, last: bool) -> None:
        nonlocal told
        if last or time.monotonic() >= told + NOTES_APART:
            told = time.monotonic()
            tell(note)

    return now_and_then


@contextlib.contextmanager
def _source(work: Work) -> Generator[MediaInfo]:
    """What is cut, open for as long as the block lasts."""
    info = work.info
    with _reached(info.origin, info.sound_origin, work.policy, probed=True) as (origin, sound):
        yield replace(info, origin=origin, sound_origin=sound)


@contextlib.contextmanager
def _reached(
    origin: Origin, sound: Origin | None, policy: Policy, *, probed: bool = False
) -> Generator[tuple[Origin, Origin | None]]:
    """Both in a form that can be opened as often as needed."""
    with contextlib.ExitStack() as stack:
        egress = stack.enter_context(Egress(policy))
        pictures = stack.enter_context(opened(origin, egress, probed=probed))
        yield pictures, stack.enter_context(opened(sound, egress, probed=probed)) if sound else None


def _packed(outcome: object) -> Json:
    return pack(Refusal.of(outcome) if isinstance(outcome, CutError) else outcome)
