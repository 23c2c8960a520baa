"""The story of `cut` where it ends early: what was made is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tldr_highlight.clips import cutter
from tldr_highlight.clips.cutter import Order, cut_order
from tldr_highlight.errors import DiskFullError, SourceNotFoundError, TldrError
from tldr_highlight.highlights.ranges import NamedRange
from tldr_highlight.media.job import Visit
from tldr_highlight.media.types import ClipResult, ClipSpec, MediaInfo, Remote

SOURCE = Remote("http://example.com/v.mp4")


@pytest.fixture
def order(tmp_path: Path) -> Order:
    """Three ranges of a source on a server."""
    return Order(SOURCE, tmp_path / "clips", [NamedRange(float(at), at + 1.0) for at in (0, 10, 20)])


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[TldrError | None]:
    """What cutting does, a clip each: an error ends all of it."""
    steps: list[TldrError | None] = []

    def cut_apart(visit: Visit, specs: Sequence[ClipSpec], **_: Any) -> Iterator[ClipResult]:
        for spec, step in zip(specs, steps, strict=False):
            if step:
                raise step
            yield ClipResult(spec, spec.start, spec.end, 25, "copy", "it can be", 0.0, 1000, "0" * 64)

    def visit(_: Order) -> Visit:
        return Visit(SOURCE, info=MediaInfo(SOURCE, "mp4", 60.0, 0.0, 1_000_000, None, None, 0))

    monkeypatch.setattr(cutter, "_visit", visit)
    monkeypatch.setattr(cutter, "cut_apart", cut_apart)
    return steps


@pytest.mark.parametrize("error", [SourceNotFoundError("it is gone"), DiskFullError("no space left")])
def test_what_ends_all_work_leaves_what_was_made(
    order: Order, work: list[TldrError | None], error: TldrError
) -> None:
    work += [None, error]
    document = cut_order(order)
    assert [clip["start"] for clip in document["clips"]] == [0.0]
    assert [(e["index"], e["code"]) for e in document["errors"]] == [(1, error.code), (2, error.code)]


def test_what_ends_all_work_at_once_is_raised(order: Order, work: list[TldrError | None]) -> None:
    work += [SourceNotFoundError("it is gone")]
    with pytest.raises(SourceNotFoundError):
        cut_order(order)
