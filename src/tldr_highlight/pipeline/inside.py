"""What of this room runs in the sandbox; `measure.py` is the other side. See `media/inside.py`."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from tldr_highlight.core.wire import Json, pack, unpack
from tldr_highlight.media.inside import reached
from tldr_highlight.media.job import Look
from tldr_highlight.media.keeper import Tell
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import ahead
from tldr_highlight.pipeline.measure import Sent, Wanted
from tldr_highlight.pipeline.pieces import pieces


def measure(arguments: Json, tell: Tell) -> Generator[Json, Json]:
    """The `MediaInfo` of a `Look`; then, once a `Wanted` is sent, an item `Sent` for each piece."""
    look = unpack(Look, arguments)
    with reached(look.origin, look.sound, look.policy, probed=look.info is not None) as (origin, sound):
        info = look.info or probe(origin, sound=sound)
        asked = yield pack(replace(info, origin=look.origin, sound_origin=look.sound))
        wanted = unpack(Wanted, asked)
        info = replace(info, origin=origin, sound_origin=sound)
        given = pieces(
            info,
            first_step=wanted.first_step,
            jumped=wanted.jumped,
            segment_seconds=wanted.segment_seconds,
        )
        for piece in ahead(given):
            yield pack(Sent.of(piece))
