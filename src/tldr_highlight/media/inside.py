"""What runs in the sandbox: media is opened here, and nowhere else. See `job` for the other side.

Each function is a `keeper.Target`: arguments as JSON in, an item for each step out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from tldr_highlight.core.wire import Json, Refusal, pack, unpack
from tldr_highlight.errors import CutError
from tldr_highlight.media.cut import cut
from tldr_highlight.media.job import Look, Work
from tldr_highlight.media.keeper import Tell
from tldr_highlight.media.plan import plan
from tldr_highlight.media.probe import probe

NOTES_APART = 0.1
"""Least seconds between two notes about progress: cutting sees 1 000 pictures a second."""


def look(arguments: Json, tell: Tell) -> Iterator[Json]:
    """One item: the `MediaInfo` of a `Look`."""
    del tell
    wanted = unpack(Look, arguments)
    yield pack(probe(wanted.origin, sound=wanted.sound))


def plans(arguments: Json, tell: Tell) -> Iterator[Json]:
    """An item for each clip of a `Work`: `ClipPlan` or `Refusal`; all of them are made in the first step."""
    del tell
    work = unpack(Work, arguments)
    yield from map(_packed, plan(work.info, work.specs, options=work.options, jumped=work.jumped))


def clips(arguments: Json, tell: Tell) -> Iterator[Json]:
    """An item for each clip of a `Work`: `ClipResult` or `Refusal`. Notes: index and share that is done."""
    work = unpack(Work, arguments)
    told = 0.0

    def on_progress(index: int, share: float) -> None:
        nonlocal told
        if share >= 1 or time.monotonic() >= told + NOTES_APART:
            told = time.monotonic()
            tell([index, share])

    outcomes = cut(work.info, work.specs, options=work.options, jumped=work.jumped, on_progress=on_progress)
    yield from map(_packed, outcomes)


def _packed(outcome: object) -> Json:
    return pack(Refusal.of(outcome) if isinstance(outcome, CutError) else outcome)
