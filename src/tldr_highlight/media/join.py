"""A reel: ranges of one source one after another in one MP4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tldr_highlight.errors import RangeError
from tldr_highlight.media.cut import make
from tldr_highlight.media.frames import Source
from tldr_highlight.media.types import DEFAULTS, ClipResult, ClipSpec, CutOptions, MediaInfo


def reel(
    info: MediaInfo,
    ranges: Sequence[tuple[float, float]],
    path: Path,
    options: CutOptions = DEFAULTS,
    *,
    jumped: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> ClipResult:
    """Join `ranges` (media seconds) into `path`, exact to the picture and the sample at every joint.

    The sound of each range is as long as its pictures, so nothing drifts however many there are. The
    result's `actual_start` is 0 and its `actual_end` the reel's length in seconds. `on_progress` gets the
    share that is done, 0..1.

    Raises:
        RangeError: there is no range, or one that holds nothing; `index` says which.
        CutError: what was written is not right.
        DiskFullError, OutputError: it cannot be written.
        TldrError: the source cannot be opened any more.
    """
    if not ranges:
        raise RangeError("a reel needs at least one range")
    total = sum(end - start for start, end in ranges)
    spec = ClipSpec(ranges[0][0], ranges[-1][1], path)

    def tell(seconds: float) -> None:
        if on_progress:
            on_progress(min(1.0, seconds / total))

    with Source(info, jumped=jumped) as source:
        result, length = make(source, ranges, spec, options, tell)
    return replace(result, actual_start=0.0, actual_end=length)
