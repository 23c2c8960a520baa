"""`tldr-highlight submit`: a source to a server, and what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tldr_highlight.cli.extras import needs
from tldr_highlight.cli.progress import bars
from tldr_highlight.cli.remote import HERE, Key, Server, connected, failure
from tldr_highlight.errors import LeftError, NotFoundError

if TYPE_CHECKING:
    from tldr_highlight.client import Client
    from tldr_highlight.client.shapes import Highlight
    from tldr_highlight.client.streams import Stream

Tell = Callable[[str, float, float], None]

OWN_TURN = "worker"
"""The reason why every stream waits at first, for a moment."""


def submit(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="An address, or a file, which is uploaded.")
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end, and show what was found.")] = False,
    title: Annotated[str | None, typer.Option(help="For people.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset, or id of a dimension set.")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Keep what scores this or more.")
    ] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="Keep only the best N.")] = None,
    server: Server = HERE,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Submit a video to a server, and wait for its highlights if you like."""
    options = {"dimension_set": preset, "threshold": threshold, "max_highlights": most}
    given = {name: value for name, value in options.items() if value is not None}
    with ExitStack() as stack:
        stack.enter_context(needs("client"))
        client = stack.enter_context(connected(server, key))
        tell = stack.enter_context(bars(shown=not as_json))
        stream = client.streams.create(**_named(client, source, tell), title=title, options=given or None)
        if wait:
            stream = _awaited(stream, tell)
        found = list(client.highlights.of_stream(stream.id)) if wait else None
    _tell(stream, found, as_json=as_json)
    if stream.ended and stream.state != "completed":
        raise typer.Exit(_failed(stream))


def _named(client: Client, source: str, tell: Tell) -> dict[str, Any]:
    """The source as the API takes it; a file is uploaded first.

    Raises:
        NotFoundError: neither an address nor a file here.
    """
    if "://" in source:
        return {"source_url": source}
    if not Path(source).is_file():
        raise NotFoundError(f"{source} is neither an address (https://…) nor a file here")
    upload = client.uploads.create(source, on_progress=lambda sent, size: tell("upload", sent, size))
    return {"upload_id": upload.id}


def _awaited(stream: Stream, tell: Tell) -> Stream:
    told = ""

    def show(stream: Stream) -> None:
        nonlocal told
        if stream.progress.percent is not None:
            tell("analyse", stream.progress.percent, 100.0)
        waits = stream.waiting.message if stream.waiting and stream.waiting.reason != OWN_TURN else ""
        if waits and waits != told:
            sys.stderr.write(f"tldr-highlight: {stream.id} waits: {waits}\n")
        told = waits

    try:
        return stream.wait(on_progress=show)
    except KeyboardInterrupt as error:
        raise LeftError(f"the server goes on with {stream.id}; `cancel` ends it there") from error


def _tell(stream: Stream, found: list[Highlight] | None, *, as_json: bool) -> None:
    if as_json:
        document = {"stream": stream} | ({} if found is None else {"highlights": found})
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=_document) + "\n")
        return
    sys.stdout.write(f"{stream.id}  {stream.state}\n")
    from tldr_highlight.analysis.base import clock  # noqa: PLC0415 - loads numpy

    for each in found or ():
        score = "   -" if each.score is None else f"{each.score:.2f}"
        sys.stdout.write(
            f"{clock(each.start):>8}  {each.end - each.start:4.0f} s  {score}  {each.id}  {each.title}\n"
        )


def _document(value: object) -> Any:
    """What JSON has no word for: an answer's parts, and times."""
    if isinstance(value, datetime):
        return value.isoformat()
    assert is_dataclass(value)
    return {f.name: getattr(value, f.name) for f in fields(value) if f.name != "calls"}


def _failed(stream: Stream) -> int:
    """Say why, and the exit code for it; what was found before that is told all the same."""
    if stream.error is None:
        return 1
    error = failure(stream.error.code, stream.error.message)
    sys.stderr.write(f"tldr-highlight: {error}\n")
    return 1 if stream.state == "partially_completed" else error.exit_code
