"""`tldr-highlight cut`: a source and ranges of it in; exact clips out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tldr_highlight.cli.configured import read_settings
from tldr_highlight.cli.find import folder, say
from tldr_highlight.cli.progress import bars
from tldr_highlight.errors import NotFoundError, RangeError, UsageError

if TYPE_CHECKING:
    from tldr_highlight.clips.cutter import Order
    from tldr_highlight.clips.document import CutDoc, PlanDoc
    from tldr_highlight.highlights.ranges import NamedRange, RangeList
    from tldr_highlight.media.types import Origin, Watermark


class QualityName(StrEnum):
    """How good, and how large, what is encoded gets."""

    SOURCE = "source"
    HIGH = "high"
    MEDIUM = "medium"
    SMALL = "small"


class CornerName(StrEnum):
    """Where a watermark goes."""

    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"


def cut(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A file, or an http(s) address.")],
    ranges: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RANGE...",
            show_default=False,
            help="12:31.4-12:58, 751.5-778, or 12:31+20 (start and length).",
        ),
    ] = None,
    listed: Annotated[
        str | None,
        typer.Option(
            "--ranges",
            metavar="FILE",
            help="Also the ranges of a list: JSON, CSV, EDL, WebVTT, chapters, or one a line; - is stdin.",
        ),
    ] = None,
    audio: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Take the sound from this file or address.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", parser=folder, help="Folder for the clips.")] = Path(
        "clips"
    ),
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            show_default=False,
            help="What clips are called: text with {index}, {index:03}, {start}, {end}, {title}, {source}. "
            "\\[default: {source}-{start}-{end}]",
        ),
    ] = None,
    instant: Annotated[
        bool, typer.Option("--instant", help="Quick copies at once, each replaced by the exact clip.")
    ] = False,
    encode: Annotated[bool, typer.Option("--encode", help="Encode everything anew, copy nothing.")] = False,
    quality: Annotated[
        QualityName, typer.Option(help="Of what is encoded: as the source, high, <=720 lines, <=480 lines.")
    ] = QualityName.HIGH,
    watermark: Annotated[
        str | None, typer.Option(metavar="IMAGE|TEXT", help="Put a picture or a text on every picture.")
    ] = None,
    corner: Annotated[
        CornerName, typer.Option("--watermark-corner", help="Where.")
    ] = CornerName.BOTTOM_RIGHT,
    margin: Annotated[
        float,
        typer.Option("--watermark-margin", min=0, max=0.5, help="To the edges, in heights of the clip."),
    ] = 0.03,
    height: Annotated[
        float, typer.Option("--watermark-height", min=0.01, max=1, help="Its height, in heights of the clip.")
    ] = 0.08,
    opacity: Annotated[
        float, typer.Option("--watermark-opacity", min=0, max=1, help="0 is invisible, 1 covers.")
    ] = 0.8,
    loudness: Annotated[
        float | None,
        typer.Option(min=-60, max=-5, metavar="LUFS", help="Bring every clip to this loudness, such as -16."),
    ] = None,
    poster: Annotated[
        bool, typer.Option("--poster", help="Also a JPEG of each clip, of its peak or its middle.")
    ] = False,
    reel: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also all clips joined into this file.")
    ] = None,
    crossfade: Annotated[
        float, typer.Option(min=0, max=60, metavar="SECONDS", help="Blend from clip to clip in the reel.")
    ] = 0.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse ranges that reach past the end, instead of ending there.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, max=86_400, metavar="SECONDS", help="Longest that one clip may take.")
    ] = 300,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: VALUE'", help="Send this to SOURCE's address. May be repeated."),
    ] = None,
    audio_header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            help="Send this to --audio's address; without any, one on SOURCE's host gets SOURCE's.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be done, how and why.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Cut exact clips out of a video: copied where that is exact, encoded where it is not, all verified."""
    from tldr_highlight.clips.cutter import Order, plan_order  # noqa: PLC0415
    from tldr_highlight.clips.names import DEFAULT, Template  # noqa: PLC0415
    from tldr_highlight.core.egress import Policy  # noqa: PLC0415
    from tldr_highlight.highlights.document import dumps  # noqa: PLC0415
    from tldr_highlight.media.types import CutOptions  # noqa: PLC0415

    if instant and (encode or watermark):
        raise UsageError(f"--instant makes copies first: --{'encode' if encode else 'watermark'} cannot hold")
    if crossfade and not reel:
        raise UsageError("--crossfade blends the clips of a reel: add --reel FILE")
    origin, sound = _origins(source, audio, header or [], audio_header or [])
    order = Order(
        source=origin,
        sound=sound,
        out=out,
        ranges=_parsed(ranges or []),
        listed=_list(listed),
        name=Template.parse(DEFAULT if name is None else name),
        options=CutOptions(
            mode="encode" if encode else "auto",
            quality=quality.value,
            watermark=_watermark(watermark, corner, margin, height, opacity),
            loudness=loudness,
            clamp=not strict,
        ),
        instant=instant,
        posters=poster,
        reel=reel,
        crossfade=crossfade,
        limit=timeout,
        policy=Policy.of(read_settings()),
        keep=[Path(name) for name in (listed, watermark) if name],
    )
    document = plan_order(order) if dry_run else _cut(order)
    if as_json:
        sys.stdout.write(dumps(document))
    else:
        _tell(document, out)
    if document["errors"] or ("reel" in document and document["reel"] is None):
        raise typer.Exit(1)


def _cut(order: Order) -> CutDoc:
    from tldr_highlight.clips.cutter import cut_order  # noqa: PLC0415

    with bars() as progress:
        return cut_order(order, progress, say)


# --- asking --------------------------------------------------------------------------------------------


def _origins(
    source: str, audio: str | None, headers: Sequence[str], audio_headers: Sequence[str]
) -> tuple[Origin, Origin | None]:
    """Where picture and sound come from, each with its headers; none goes to a host it was not meant for."""
    from tldr_highlight.clips.origins import header_of, host_of, origin_of  # noqa: PLC0415

    origin = origin_of(source, dict(map(header_of, headers)))
    if isinstance(origin, Path) and headers:
        raise UsageError("--header goes to an address, but SOURCE is a file")
    if audio is None:
        if audio_headers:
            raise UsageError("--audio-header goes to the address of --audio, which is missing")
        return origin, None
    sound = origin_of(audio)
    if isinstance(sound, Path) and audio_headers:
        raise UsageError("--audio-header goes to an address, but --audio is a file")
    shared = headers if host_of(sound) == host_of(origin) and not audio_headers else audio_headers
    return origin, origin_of(audio, dict(map(header_of, shared)))


def _parsed(ranges: Sequence[str]) -> list[NamedRange]:
    """The ranges of the command line.

    Raises:
        RangeError: one that is none, with its place.
    """
    from tldr_highlight.highlights.ranges import parse_range  # noqa: PLC0415

    found: list[NamedRange] = []
    for number, text in enumerate(ranges, 1):
        try:
            found.append(parse_range(text))
        except RangeError as error:
            raise RangeError(f"range {number}: {error}") from error
    return found


def _list(name: str | None) -> RangeList | None:
    from tldr_highlight.highlights.ranges import load_list, open_list  # noqa: PLC0415

    if name is None:
        return None
    return load_list(sys.stdin.buffer, "stdin") if name == "-" else open_list(Path(name))


PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


def _watermark(
    text: str | None, corner: CornerName, margin: float, height: float, opacity: float
) -> Watermark | None:
    """A picture where a file of that name is, else a text."""
    from tldr_highlight.media.types import Watermark  # noqa: PLC0415

    if not text:
        return None
    image = Path(text) if os.path.isfile(text) else None
    if image is None and Path(text).suffix.lower() in PICTURES:
        raise NotFoundError(f"there is no picture {text} for the watermark")
    return Watermark(
        image=image,
        text=None if image else text,
        corner=corner.value,
        margin=margin,
        height=height,
        opacity=opacity,
    )


# --- telling -------------------------------------------------------------------------------------------


def _tell(document: CutDoc | PlanDoc, out: Path) -> None:
    """Print what was cut, or would be, in the order of the ranges."""
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    rows = _plan_rows(document) if "plan" in document else _clip_rows(document)
    for failure in document["errors"]:
        start, end = failure["range"]
        row = (spell(start, end), "[red]failed[/]", "", "", escape(failure["message"]))
        rows.insert(failure["index"], row)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, expand=True)
    table.add_column("range", no_wrap=True)
    table.add_column("method", no_wrap=True)
    table.add_column("frames", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("file, and why so", overflow="fold", ratio=1)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{_summary(document)} [bold]{escape(str(out))}[/]", soft_wrap=True)
    if "clips" in document and (reel := document.get("reel")):
        console.print(f"The reel is [bold]{escape(reel)}[/]", soft_wrap=True)


Row = tuple[str, str, str, str, str]


def _clip_rows(document: CutDoc) -> list[Row]:
    return [
        _row(c["start"], c["end"], c["method"], c["frames"], size_text(c["bytes"]), c["file"],
             "; ".join([c["reason"], *c.get("warnings", [])]))
        for c in document["clips"]
    ]  # fmt: skip


def _plan_rows(document: PlanDoc) -> list[Row]:
    return [
        _row(p["actual_start"], p["actual_end"], p["method"], p["frames"],
             f"~{size_text(p['expected_bytes'])}", p["file"], p["reason"])
        for p in document["plan"]
    ]  # fmt: skip


def _row(start: float, end: float, method: str, frames: int, size: str, file: str, reason: str) -> Row:
    from rich.markup import escape  # noqa: PLC0415

    what = f"{escape(Path(file).name)}\n[dim]{escape(reason)}[/]"
    return spell(start, end), method, str(frames or "-"), size, what


def _summary(document: CutDoc | PlanDoc) -> str:
    failed = f", {len(document['errors'])} failed" if document["errors"] else ""
    if "plan" in document:
        size = size_text(sum(p["expected_bytes"] for p in document["plan"]))
        seconds = sum(p["expected_seconds"] for p in document["plan"])
        return f"{_count(len(document['plan']))}{failed}, about {size}, about {seconds:.1f} s of work, into"
    size = size_text(sum(c["bytes"] for c in document["clips"]))
    return f"{_count(len(document['clips']))}{failed}, {size}, in"


def _count(clips: int) -> str:
    return f"{clips} clip{'' if clips == 1 else 's'}"


def spell(start: float, end: float) -> str:
    """A range as it is written on the command line: `12:31.4-12:58`."""
    return f"{_clock(start)}-{_clock(end)}"


def _clock(seconds: float) -> str:
    rest, thousandths = divmod(round(abs(seconds) * 1000), 1000)
    hours, minutes = rest // 3600, rest // 60 % 60
    text = f"{hours}:{minutes:02}:{rest % 60:02}" if hours else f"{minutes}:{rest % 60:02}"
    return f"{'-' if seconds < 0 else ''}{text}{f'.{thousandths:03}'.rstrip('0').rstrip('.')}"


def size_text(count: int) -> str:
    """Bytes for people: `840 kB`, `4.1 MB`."""
    if count < 1e6:
        return f"{max(1, round(count / 1e3))} kB" if count else "0"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
