"""What runs in the sandbox: media is opened here, and nowhere else. See `job` for the other side.

Each function is a `keeper.Target`: arguments as JSON in, an item for each step out.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Protocol

from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.core.wire import Json, Refusal, pack, unpack
from tldr_highlight.errors import CutError
from tldr_highlight.media.cut import cut
from tldr_highlight.media.job import Look, Reel, Task
from tldr_highlight.media.join import join
from tldr_highlight.media.keeper import Tell
from tldr_highlight.media.leaps import leaps
from tldr_highlight.media.plan import plan
from tldr_highlight.media.probe import probe
from tldr_highlight.media.remote import opened
from tldr_highlight.media.types import ClipPlan, ClipResult, MediaInfo, Origin

NOTES_APART = 0.1
"""Least seconds between two notes about progress: cutting sees 1 000 pictures a second."""


def visit(arguments: Json, tell: Tell) -> Generator[Json, Json]:
    """The `MediaInfo` of a `Look`; then for each `Task` that is sent an item for each of its clips.

    Items are `ClipPlan`s or `ClipResult`s, or `Refusal`s. Notes, of clips: index and share that is done.
    """
    look = unpack(Look, arguments)
    looked = look.info is not None
    with reached(look.origin, look.sound, look.policy, probed=looked) as (origin, sound):
        info = look.info or probe(origin, sound=sound)
        task = yield pack(replace(info, origin=look.origin, sound_origin=look.sound))
        info = replace(info, origin=origin, sound_origin=sound)
        leapt = functools.cache(lambda: leaps(info))
        while task is not None:
            wanted = unpack(Task, task)
            task = yield from _given(_outcomes(info, wanted, tell, jumped=wanted.jumped or leapt()))


def _outcomes(
    info: MediaInfo, task: Task, tell: Tell, *, jumped: bool
) -> Iterator[ClipPlan | ClipResult | CutError]:
    if task.kind == "plan":
        return iter(plan(info, task.specs, options=task.options, jumped=jumped))
    now_and_then = _seldom(tell)

    def on_progress(index: int, share: float) -> None:
        now_and_then([index, share], last=share >= 1)

    return cut(info, task.specs, options=task.options, jumped=jumped, on_progress=on_progress)


def _given(outcomes: Iterator[ClipPlan | ClipResult | CutError]) -> Generator[Json, Json, Json]:
    """Give outcomes until something else is wanted, and say what; None: they were all."""
    for outcome in outcomes:
        wanted = yield pack(Refusal.of(outcome) if isinstance(outcome, CutError) else outcome)
        if wanted is not None:
            return wanted
    return None


def reel(arguments: Json, tell: Tell) -> Generator[Json, Json]:
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
def reached(
    origin: Origin, sound: Origin | None, policy: Policy, *, probed: bool = False
) -> Generator[tuple[Origin, Origin | None]]:
    """Both in a form that can be opened as often as needed."""
    with contextlib.ExitStack() as stack:
        egress = stack.enter_context(Egress(policy))
        pictures = stack.enter_context(opened(origin, egress, probed=probed))
        yield pictures, stack.enter_context(opened(sound, egress, probed=probed)) if sound else None
