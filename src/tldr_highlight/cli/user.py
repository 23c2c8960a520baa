"""`tldr-highlight user`: people."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tldr_highlight.cli.office import AsJson, Data, command, group, lines, shell, show, table
from tldr_highlight.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from tldr_highlight.runtime import Act
    from tldr_highlight.tenancy.models import User

app = group("People: make accounts, also for operators; list, disable, enable.")

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail address of their account.")]


@command(app, "create")
def create(
    email: Annotated[str, typer.Argument(help="E-mail address; taken as confirmed.")],
    name: Annotated[str | None, typer.Option(help="The person's name.")] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="May suspend organizations and disable people.")
    ] = False,
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


@command(app, "list")
def list_all(data: Data = None, as_json: AsJson = False) -> None:
    """List everybody who has an account."""
    with shell(data, writes=False) as act:
        from sqlalchemy import select  # noqa: PLC0415

        from tldr_highlight.tenancy.models import User  # noqa: PLC0415

        found = act.session.scalars(select(User).order_by(User.id)).all()
        rows = [(u.id, u.email, "operator" if u.is_operator else "", _state(u)) for u in found]
        words = table(("ID", "EMAIL", "", "STATE"), rows, squeeze=1) if rows else "there is nobody yet"
        people = [_document(user) for user in found]
    show(as_json, {"users": people}, words)


@command(app, "disable")
def disable(email: Email, data: Data = None, as_json: AsJson = False) -> None:
    """End all logins of a person, and let none begin. Keys that they made go on working."""
    with shell(data) as act:
        from tldr_highlight.accounts import people  # noqa: PLC0415

        user = people.disable(act, _named(act, email).id)
    show(as_json, _document(user), f"{user.email} is {_state(user)}")


@command(app, "enable")
def enable(email: Email, data: Data = None, as_json: AsJson = False) -> None:
    """Let a person log in again."""
    with shell(data) as act:
        from tldr_highlight.accounts import people  # noqa: PLC0415

        user = people.enable(act, _named(act, email).id)
    show(as_json, _document(user), f"{user.email} is {_state(user)}")


def _named(act: Act, email: str) -> User:
    from tldr_highlight.accounts import people  # noqa: PLC0415

    user = people.by_address(act.session, email)
    if user is None:
        raise NotFoundError(f"nobody has the address {email}: `tldr-highlight user list` shows all")
    return user


def _state(user: User) -> str:
    return "active" if user.disabled_at is None else "disabled"


def _document(user: User) -> dict[str, Any]:
    from tldr_highlight.accounts.schemas import AccountOut  # noqa: PLC0415

    return AccountOut.model_validate(user).model_dump(mode="json")
