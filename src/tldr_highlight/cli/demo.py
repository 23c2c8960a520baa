"""`tldr-highlight demo`: a made match with planted moments, and the main job run on it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tldr_highlight.cli.find import folder, placed, say, tell
from tldr_highlight.cli.progress import bars
from tldr_highlight.errors import TldrError

if TYPE_CHECKING:
    from tldr_highlight.highlights.document import HighlightsDoc
    from tldr_highlight.pipeline.match import Planted

TOLERANCE = 3.0
"""Seconds between a planted peak and the peak of a highlight that counts as having found it."""

LONGEST_REEL = 60.0
"""Seconds; of a short match, a third."""


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=folder, help="Folder for the match and its highlights.")
    ] = Path("demo"),
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="Length of the match.")] = 180.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Make a match with planted moments and find them: the whole job, without a video of yours."""
    from tldr_highlight.highlights.document import dumps  # noqa: PLC0415

    source, results = out / "match.mp4", out / "highlights"
    try:
        planted, document = _run(source, results, seconds)
    except TldrError as error:
        if not as_json:
            raise
        say(str(error))
        problem = {"source": str(source), "error": {"code": error.code, "message": str(error)}}
        sys.stdout.write(dumps(problem))
        raise typer.Exit(error.exit_code) from error
    if as_json:
        sys.stdout.write(dumps(placed(document, results)))
    else:
        tell(document, results)
        _compare(planted, document)
    if any(h["clip"] is None for h in document["highlights"]):
        raise typer.Exit(1)


def _run(source: Path, results: Path, seconds: float) -> tuple[list[Planted], HighlightsDoc]:
    """Make the match unless it is there, then find its highlights."""
    from tldr_highlight.analysis.dimensions import preset  # noqa: PLC0415
    from tldr_highlight.pipeline import match  # noqa: PLC0415
    from tldr_highlight.pipeline.find import FindOptions, find  # noqa: PLC0415

    options = FindOptions(dimension_set=preset("sports"), reel_seconds=min(LONGEST_REEL, seconds / 3))
    with bars() as progress:
        if match.made(source, seconds=seconds):
            planted = match.planted(match.plan_match(seconds))
        else:
            planted = match.make(source, seconds=seconds, progress=progress)
        return planted, find(source, results, options, progress, say=say)


def missed(planted: Iterable[Planted], peaks: Sequence[float]) -> list[Planted]:
    """The planted moments with no peak (in seconds) near their own."""
    return [p for p in planted if not any(abs(p.peak - peak) <= TOLERANCE for peak in peaks)]


def _compare(planted: Sequence[Planted], document: HighlightsDoc) -> None:
    """Say how many planted moments were found, and which were not."""
    from rich.console import Console  # noqa: PLC0415

    from tldr_highlight.analysis.base import clock  # noqa: PLC0415

    lost = missed(planted, [h["peak"] for h in document["highlights"]])
    names = ", ".join(f"the {p.what} at {clock(p.peak)}" for p in lost)
    found = f"{len(planted) - len(lost)} of {len(planted)} planted moments found"
    Console(highlight=False, soft_wrap=True).print(found + (f", not {names}" if lost else ""))
