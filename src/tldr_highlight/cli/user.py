"""`tldr-highlight user`: people."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

import typer

from tldr_highlight.cli.office import AsJson, Data, command, group, lines, shell, show
from tldr_highlight.errors import UsageError

app = group("People: make accounts, also for operators.")


@app.callback()
def user() -> None:
    """People: make accounts, also for operators."""


@command(app, "create")
def create(
    email: Annotated[str, typer.Argument(help="E-mail address; taken as confirmed.")],
    name: Annotated[str | None, typer.Option(help="The person's name.")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="May suspend organizations.")] = False,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read it from stdin; else one is made and printed."),
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an account. Passwords are never given as arguments: others on this machine could read them."""
    given = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    if given == "":
        raise UsageError("--password-stdin: there was nothing on stdin")
    password = given or secrets.token_urlsafe(15)
    with shell(data, writes=False) as act:
        from tldr_highlight.accounts import signup  # noqa: PLC0415
        from tldr_highlight.accounts.schemas import Person  # noqa: PLC0415
        from tldr_highlight.tenancy.schemas import UserOut  # noqa: PLC0415

        name = Person(name=name).name
        made = signup.create_user(act, email, password, name=name, operator=operator)
        shown = {} if given else {"password": password}
        document = UserOut.model_validate(made).model_dump(mode="json") | {"is_operator": operator} | shown
        facts = {"user": made.id, "email": made.email, **shown}
    show(as_json, document, lines(facts) + ("" if given else "\n\nKeep it: it is not shown again."))
