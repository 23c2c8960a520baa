"""`tldr-highlight listen`: what happens, live in the terminal, and passed on to a program on this machine."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import ipaddress
import json
import secrets as chance
import sys
import time
from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer

from tldr_highlight.cli.extras import needs
from tldr_highlight.cli.remote import HERE, Key, Server, connected
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.errors import SourceError, UsageError
from tldr_highlight.webhooks.signing import signed

if TYPE_CHECKING:
    from tldr_highlight.client.shapes import Event

WHEREVER = Policy(
    allow_networks=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")),
    wall_seconds=15.0,
    read_timeout=15.0,
)
"""Where the one who types wants it; with webhooks' own time limit."""

SHOWN = 160
"""Characters of an event's data on its line."""


def listen(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Pass each event on to http://127.0.0.1:PORT/, signed."),
    ] = None,
    forward_to: Annotated[
        str | None, typer.Option("--forward-to", metavar="URL", help="Pass each event on to there, signed.")
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Types, or patterns as `stream.*`; repeat it."),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="EVENT", help="Begin behind this event, not now.")
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(envvar="TLDR_WEBHOOK_SECRET", metavar="whsec_…", help="Sign with this; else a new one."),
    ] = None,
    server: Server = HERE,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
) -> None:
    """Show what happens in an organization as it happens, and pass it on to a program here."""
    url = _target(port, forward_to)
    secret = secret or f"whsec_{base64.b64encode(chance.token_bytes(24)).decode()}"
    with needs("client"), contextlib.suppress(KeyboardInterrupt), connected(server, key) as client:
        client.me()  # a wrong key is told at once
        _say(f"Listening to {server}; Ctrl-C ends it.")
        if url is not None:
            _say(f"Passing on to {url}, signed with {secret}")
        with Egress(WHEREVER) as egress:
            for event in client.events.follow(after=after, types=types):
                came_of_it = None if url is None else _passed_on(egress, url, event, secret)
                _tell(_body(event).decode() if as_json else _line(event, came_of_it))
                if as_json and came_of_it is not None:
                    _say(f"{event.id} {came_of_it}")


def _target(port: int | None, url: str | None) -> str | None:
    """Where events are passed on to.

    Raises:
        UsageError: twice named, or no http address.
    """
    if port is not None and url is not None:
        raise UsageError("--port and --forward-to say the same thing: give one of them")
    if port is not None:
        return f"http://127.0.0.1:{port}/"
    if url is not None and not url.startswith(("http://", "https://")):
        raise UsageError("--forward-to is an address: http://127.0.0.1:8787/hooks")
    return url


def _passed_on(egress: Egress, url: str, event: Event, secret: str) -> str:
    """Pass an event on as a webhook would: what came of it, in a few words."""
    body = _body(event)
    headers = signed([secret], event.id, int(time.time()), body)
    try:
        answer = egress.post(url, body, headers={**headers, "Content-Type": "application/json"}, most=1024)
    except SourceError as error:
        return f"not passed on: {error}"
    return f"passed on: {answer.status}"


def _body(event: Event) -> bytes:
    """An event as webhooks send it."""
    moment = event.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    document = {**dataclasses.asdict(event), "created_at": moment}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _line(event: Event, came_of_it: str | None) -> str:
    """An event for people. Titles come from others: nothing in them may steer a terminal."""
    number = "" if event.sequence is None else f"#{event.sequence}"
    data = json.dumps(event.data, ensure_ascii=False)
    shown = data if len(data) <= SHOWN else f"{data[:SHOWN]}…"
    when = event.created_at.astimezone().strftime("%H:%M:%S")
    text = f"{when}  {event.type:<26} {number:<5} {shown}" + (f"  {came_of_it}" if came_of_it else "")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
