"""`tldr-highlight org`: organizations, their plans and limits, and whether they may come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tldr_highlight.cli.office import AsJson, Data, command, group, inside, lines, shell, show, table
from tldr_highlight.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from tldr_highlight.accounts.plan_change import Preview
    from tldr_highlight.tenancy.models import Organization

app = group("Organizations: make, list, plans and limits, suspend.")

Org = Annotated[str, typer.Argument(metavar="ORG", help="Its id, or its whole name.")]


@command(app, "create")
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    owner: Annotated[str, typer.Option(help="E-mail address of a person who has an account.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an organization on STARTER, owned by somebody who has an account (`user create`)."""
    with shell(data) as act:
        from tldr_highlight.accounts import people, signup  # noqa: PLC0415
        from tldr_highlight.accounts.schemas import OrganizationChange  # noqa: PLC0415

        user = people.by_address(act.session, owner)
        if user is None:
            raise NotFoundError(f"nobody has the address {owner}: `tldr-highlight user create {owner}` first")
        made = signup.found(act, OrganizationChange(name=name).name, user)
    show(as_json, _document(made), lines({"organization": made.id, "name": made.name, "plan": made.plan}))


@command(app, "list")
def list_all(data: Data = None, as_json: AsJson = False) -> None:
    """List all organizations."""
    with shell(data, writes=False) as act:
        from sqlalchemy import select  # noqa: PLC0415

        from tldr_highlight.tenancy.models import Organization  # noqa: PLC0415

        found = act.session.scalars(select(Organization).order_by(Organization.id)).all()
        rows = [(o.id, o.name, o.plan, o.status) for o in found]
        words = table(("ID", "NAME", "PLAN", "STATUS"), rows, squeeze=1) if rows else "there are none yet"
    show(as_json, {"organizations": [_document(o) for o in found]}, words)


@command(app, "plan")
def plan(
    org: Org,
    to: Annotated[
        str | None, typer.Argument(metavar="[PLAN]", help="STARTER, PROFESSIONAL or ENTERPRISE.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="LIMIT=NUMBER", help="A limit of its own; `default`: the plan's."),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what an organization may have and has; with PLAN or --set change it, at once."""
    numbers = dict(_limit(each) for each in settings or [])
    with shell(data) as act:
        from tldr_highlight.accounts import plan_change  # noqa: PLC0415
        from tldr_highlight.tenancy.plans import PlanName  # noqa: PLC0415

        there, found = inside(act, org)
        if to is not None:
            plan_change.change(there, _plan(to), numbers)
        elif numbers:
            plan_change.override(there, numbers)
        seen = plan_change.preview(there, PlanName(found.plan))
    show(as_json, _document(found) | {"usage": {f.limit: f.used for f in seen.fits}}, _words(seen))


@command(app, "suspend")
def suspend(
    org: Org,
    reason: Annotated[str | None, typer.Option(help="Its owners read it.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let none of its keys and logins in any more; its owners get a mail."""
    with shell(data) as act:
        from tldr_highlight.accounts import organization  # noqa: PLC0415
        from tldr_highlight.accounts.schemas import Suspension  # noqa: PLC0415

        there, found = inside(act, org)
        done = organization.suspend(there, found.id, Suspension(reason=reason).reason)
    show(as_json, _document(done), f"{done.name} is {done.status}")


@command(app, "activate")
def activate(org: Org, data: Data = None, as_json: AsJson = False) -> None:
    """End a suspension."""
    with shell(data) as act:
        from tldr_highlight.accounts import organization  # noqa: PLC0415

        there, found = inside(act, org)
        done = organization.activate(there, found.id)
    show(as_json, _document(done), f"{done.name} is {done.status}")


def _document(found: Organization) -> dict[str, Any]:
    from tldr_highlight.accounts.schemas import OrganizationOut  # noqa: PLC0415

    document = OrganizationOut.model_validate(found).model_dump(mode="json")
    return document | {"overrides": found.overrides}


def _words(seen: Preview) -> str:
    """The limits, what of them is used, and which are this organization's own."""
    found, used = seen.organization, {fit.limit: fit.used for fit in seen.fits}
    rows = [
        (
            limit,
            "–" if allowed is None else str(allowed),
            f"{used[limit]:g}" if limit in used else "",
            "its own" if limit in found.overrides else "",
        )
        for limit, allowed in seen.limits.as_dict().items()
    ]
    head = f"{found.name} ({found.id}) is on {found.plan}, {found.status}"
    return f"{head}\n\n{table(('LIMIT', 'ALLOWED', 'USED', ''), rows, squeeze=3)}"


def _plan(text: str) -> Any:
    from tldr_highlight.tenancy.plans import PlanName  # noqa: PLC0415

    if text.upper() not in PlanName.__members__:
        raise UsageError(f"there is no plan {text!r}: {', '.join(PlanName)}")
    return PlanName[text.upper()]


def _limit(text: str) -> tuple[str, Any]:
    """`api_keys=20` as a limit and a number; None where it is the plan's again."""
    from tldr_highlight.tenancy.plans import OVERRIDABLE, Priority  # noqa: PLC0415

    name, _, value = text.partition("=")
    if name not in OVERRIDABLE:
        raise UsageError(f"--set {text}: there is no limit {name!r}: {', '.join(sorted(OVERRIDABLE))}")
    if value == "default":
        return name, None
    if name == "priority":
        if value not in set(Priority):
            raise UsageError(f"--set {text}: {', '.join(Priority)}")
        return name, value
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise UsageError(f"--set {text}: a whole number, or `default`")
    return name, int(value)
