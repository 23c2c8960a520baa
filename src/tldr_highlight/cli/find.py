"""`tldr-highlight find`: files, globs and folders in; a folder of highlights each out."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tldr_highlight.cli.configured import read_settings
from tldr_highlight.cli.failures import ours
from tldr_highlight.cli.progress import bars
from tldr_highlight.errors import NotFoundError, TldrError, UsageError

if TYPE_CHECKING:
    from tldr_highlight.highlights.document import HighlightsDoc
    from tldr_highlight.pipeline.find import FindOptions

MEDIA = {
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mj2", ".psp", ".ismv", ".mkv", ".mk3d", ".webm",
    ".ts", ".mts", ".m2t", ".m2ts", ".flv", ".avi", ".divx", ".wmv", ".asf", ".mpg", ".mpeg", ".m1v", ".m2v",
    ".vob", ".mxf", ".nut", ".ivf", ".dv", ".rm", ".rmvb", ".ogv", ".ogm",
    ".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".mpa", ".m2a", ".m4a", ".m4b", ".isma", ".aac",
    ".adts", ".wav", ".w64", ".flac", ".aif", ".aiff", ".aifc", ".afc", ".caf", ".ac3", ".eac3", ".ec3",
    ".amr", ".ape", ".wv", ".tta", ".au", ".ra", ".wma", ".mka",
}  # fmt: skip
"""What a folder is searched for. A file named on the command line may be called anything."""


def folder(text: str) -> Path:
    """A folder for results. None at all is a slip, as of an unset variable, and not the current folder."""
    if not text:
        raise typer.BadParameter("it is empty: name a folder, . for this one")
    return Path(text)


FORMATS = ("json", "csv", "edl", "chapters", "vtt", "otio", "fcpxml")


class AnalyzerName(StrEnum):
    """Who judges."""

    AUTO = "auto"
    SIGNALS = "signals"


class Preset(StrEnum):
    """What the source is about: sets the weights, never the measuring."""

    GENERAL = "general"
    GAMING = "gaming"
    SPORTS = "sports"
    EDUCATION = "education"
    PODCAST = "podcast"
    CORPORATE = "corporate"


class Motion(StrEnum):
    """How many pictures are decoded."""

    AUTO = "auto"
    KEYS = "keys"
    EXACT = "exact"


def find(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, globs or folders.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=folder,
            help="Folder for the results; with several sources, one folder each inside it. "
            "\\[default: highlights/<name of the source>]",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[Preset | None, typer.Option(help="What it is about.", show_default="general")] = None,
    dimensions: Annotated[
        Path | None, typer.Option(help="Your own dimension set (TOML) instead of a preset.")
    ] = None,
    analyzer: Annotated[AnalyzerName | None, typer.Option(help="Who judges.", show_default="auto")] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="Keep only the best N.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Keep what scores this or more.", show_default="the set's"),
    ] = None,
    reel: Annotated[
        float | None,
        typer.Option(min=1.0, max=7200.0, metavar="SECONDS", help="Also one reel of this length."),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT", help=f"Also write: {', '.join(FORMATS)}. Repeat it or use commas."),
    ] = None,
    motion: Annotated[
        Motion, typer.Option(help="Pictures to decode: key pictures, all of them, or what is cheap.")
    ] = Motion.AUTO,
    clips: Annotated[bool, typer.Option(help="Cut clips and thumbnails.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Find the highlights of videos and write clips, thumbnails, a report and highlights.json."""
    from tldr_highlight.highlights.document import dumps  # noqa: PLC0415

    if "" in sources:
        raise UsageError("one SOURCE is empty: name a file or a folder, . for this one")
    options = _options(preset, dimensions, analyzer, most, threshold, reel, export, motion, clips=clips)
    names = expand(sources)
    results: list[object] = []
    failed: list[TldrError] = []
    for name, target in zip(names, outputs(names, out), strict=True):
        try:
            document = _one(source_file(name), target, options)
        except Exception as raised:  # also what nobody foresaw of one source costs the others nothing
            if not as_json and len(names) == 1:
                raise
            error = ours(raised)
            sys.stderr.write(f"tldr-highlight: {error}\n")
            failed.append(error)
            results.append(_failure(name, error))
        else:
            if not as_json:
                tell(document, target)
            results.append(placed(document, target))
    if as_json:
        sys.stdout.write(dumps(results[0] if len(results) == 1 else {"results": results}))
    if failed:
        raise typer.Exit(failed[0].exit_code if len(names) == 1 else 1)
    if any(h["clip"] is None for r in results for h in r["highlights"]) and clips:  # pyright: ignore
        raise typer.Exit(1)


def _failure(source: str, error: TldrError) -> dict[str, object]:
    """What `--json` says of a source that could not be used."""
    from tldr_highlight.clips.origins import label  # noqa: PLC0415

    return {"source": label(source), "error": {"code": error.code, "message": str(error)}}


def expand(sources: Sequence[str]) -> list[str]:
    """Every file meant, in order, none twice, however it is spelled."""
    names: dict[str, str] = {}
    for source in sources:
        for name in _meant(source) or [source]:
            names.setdefault(os.path.realpath(name), name)
    return list(names.values())


def _meant(source: str) -> list[str]:
    """The files that a folder or glob means, without what runs of ours made of them."""
    from tldr_highlight.pipeline.workspace import is_result  # noqa: PLC0415 - loads numpy

    found: list[Path] = []
    if os.path.isdir(source):
        with contextlib.suppress(OSError):
            found = [p for p in Path(source).iterdir() if _is_media(p)]
    elif glob.has_magic(source) and not os.path.exists(source):
        found = [p for p in map(Path, glob.glob(source, recursive=True)) if p.is_file()]
    return [os.fspath(p) for p in sorted(found) if not is_result(p)]


def source_file(name: str) -> Path:
    """The file that a source names.

    Raises:
        UsageError: an address, or stdin.
        NotFoundError: a folder or glob without any file that is meant.
    """
    from tldr_highlight.clips.origins import label  # noqa: PLC0415

    if os.path.isdir(name):
        raise NotFoundError(
            f"no media in the folder {name}: nothing there ends in .mp4, .mkv, .mp3 ... but what find made"
        )
    if not os.path.exists(name):
        if "://" in name:
            raise UsageError(
                f"find reads files, and {label(name)} is an address:"
                " `submit` has a server find its highlights, `cut` cuts ranges of it"
            )
        if name == "-":
            raise UsageError("find reads files, not standard input: it has to look at them twice")
        if glob.has_magic(name):
            raise NotFoundError(f"nothing matches {name}")
    return Path(name)


def _is_media(path: Path) -> bool:
    """Whether a file in a folder is meant; as with globs, hidden ones are not: macOS leaves `._film.mp4`."""
    return path.suffix.lower() in MEDIA and not path.name.startswith(".") and path.is_file()


def outputs(names: Sequence[str], out: Path | None) -> list[Path]:
    """A folder for each source: `out` itself for a single one, else `out/<stem>`, made unique."""
    if out is not None and len(names) == 1:
        return [out]
    base = out or Path("highlights")
    taken: set[str] = set()
    targets: list[Path] = []
    for source in names:
        stem = Path(source).stem.encode("utf-8", "replace").decode().strip().strip(".") or "source"
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        targets.append(base / name)
    return targets


def _options(
    preset: Preset | None,
    dimensions: Path | None,
    analyzer: AnalyzerName | None,
    most: int | None,
    threshold: float | None,
    reel: float | None,
    export: list[str] | None,
    motion: Motion,
    *,
    clips: bool,
) -> FindOptions:
    from tldr_highlight.analysis import dimensions as sets  # noqa: PLC0415
    from tldr_highlight.analysis.moments import MomentOptions  # noqa: PLC0415
    from tldr_highlight.media.read import Sampling  # noqa: PLC0415
    from tldr_highlight.pipeline.find import FindOptions  # noqa: PLC0415

    if reel is not None and not clips:
        raise UsageError("a reel is made of clips: leave out --no-clips or --reel")
    if preset and dimensions:
        raise UsageError(
            "a dimension set of your own takes the place of a preset: leave out --preset or --dimensions"
        )
    AnalyzerName(analyzer or read_settings().analyzer)
    sampling = {Motion.AUTO: None, Motion.KEYS: Sampling.KEYS, Motion.EXACT: Sampling.ALL}[motion]
    return FindOptions(
        dimension_set=sets.load(dimensions) if dimensions else sets.preset(preset or Preset.GENERAL),
        moments=MomentOptions(threshold=threshold, max_highlights=most),
        sampling=sampling,
        clips=clips,
        reel_seconds=reel,
        exports=_formats(export or []),
    )


def _formats(asked: Sequence[str]) -> tuple[str, ...]:
    names = [name.strip().lower() for entry in asked for name in entry.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            raise UsageError(f"cannot export {name!r}: choose from {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(names))


def _one(path: Path, out: Path, options: FindOptions) -> HighlightsDoc:
    from tldr_highlight.pipeline.find import find as run  # noqa: PLC0415

    with bars() as progress:
        return run(path, out, options, progress, say=say)


def say(message: str) -> None:
    """A message beside the result: on stderr."""
    sys.stderr.write(f"tldr-highlight: {message}\n")


def placed(document: HighlightsDoc, out: Path) -> HighlightsDoc:
    """The document with file names a program can open from where it is: `out` in front."""
    for highlight in document["highlights"]:
        for key in ("clip", "thumbnail"):
            name = highlight[key]
            highlight[key] = os.fspath(out / name) if name else None
    return document


def tell(document: HighlightsDoc, out: Path) -> None:
    """Print what was found as a table, and where the report is."""
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from tldr_highlight.analysis.base import clock  # noqa: PLC0415
    from tldr_highlight.media.types import printable  # noqa: PLC0415
    from tldr_highlight.pipeline.common import UNJUDGED  # noqa: PLC0415

    console = Console(highlight=False)
    found = document["highlights"]
    speed = document["duration"] / max(document["elapsed"], 1e-3)
    console.print(
        f"[bold]{len(found)} highlight{'' if len(found) == 1 else 's'}[/] in {clock(document['duration'])}"
        f" of {escape(printable(Path(document['source']).name))} ({speed:.0f}x realtime)"
    )
    if found:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, expand=True)
        table.add_column("time", justify="right", no_wrap=True, min_width=7)
        table.add_column("length", justify="right", no_wrap=True, min_width=6, style="dim")
        table.add_column("score", justify="right", no_wrap=True, min_width=5)
        table.add_column("what", no_wrap=True, min_width=11)
        table.add_column("why", no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        for h in found:
            why = h["evidence"][0]["text"] if h["evidence"] else ""
            table.add_row(clock(h["start"]), f"{h['end'] - h['start']:.0f} s", f"{h['score']:.2f}",
                          h["types"][0] if h["types"] else "-", escape(why))  # fmt: skip
        console.print(table)
    elif UNJUDGED.isdisjoint(document["warnings"]):
        console.print("Nothing stood out enough; the report says more.")
    for warning in document["warnings"]:
        Console(stderr=True, highlight=False).print(f"[yellow]note:[/] {escape(warning)}")
    console.print(f"[bold]{escape(printable(str(out / 'report.html')))}[/]", soft_wrap=True)
