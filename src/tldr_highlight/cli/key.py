"""`tldr-highlight key`: keys of organizations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from tldr_highlight.cli.office import AsJson, Data, command, group, inside, lines, shell, show, table
from tldr_highlight.cli.org import Org
from tldr_highlight.errors import NotFoundError, UsageError

app = group("Keys: make, list, revoke.")


@command(app, "create")
def create(
    org: Org,
    name: Annotated[str, typer.Option(help="What it is called.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do; repeat it. Else the plan's.")
    ] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], metavar="DATE", help="Last until, in UTC: 2027-01-31."
        ),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it this one time."""
    with shell(data) as act:
        from tldr_highlight.tenancy import service  # noqa: PLC0415
        from tldr_highlight.tenancy.schemas import KeyCreate, KeyOut  # noqa: PLC0415

        until = expires and expires.replace(tzinfo=UTC)
        if until is not None and until <= datetime.now(UTC):
            raise UsageError(f"--expires {until:%Y-%m-%d %H:%M} is over")
        there, _ = inside(act, org)
        wanted = KeyCreate.model_validate({"name": name, "scopes": scope or None, "expires_at": until})
        key, secret = service.create_key(there, wanted)
        words = lines({"key": secret, "id": key.id, "name": key.name, "scopes": " ".join(key.scopes)})
        document = KeyOut.model_validate(key).model_dump(mode="json") | {"key": secret}
    show(as_json, document, f"{words}\n\nKeep it: it is not shown again.")


@command(app, "list")
def list_all(org: Org, data: Data = None, as_json: AsJson = False) -> None:
    """List an organization's keys."""
    with shell(data, writes=False) as act:
        from tldr_highlight.tenancy.models import ApiKey  # noqa: PLC0415
        from tldr_highlight.tenancy.schemas import KeyOut  # noqa: PLC0415

        there, found = inside(act, org)
        keys = there.session.scalars(ApiKey.of(found.id).order_by(ApiKey.id)).all()
        rows = [(k.id, k.name, f"…{k.last4}", _state(k.revoked_at, k.expires_at)) for k in keys]
        words = table(("ID", "NAME", "KEY", "STATE"), rows, squeeze=1) if rows else "there are none yet"
        documents = [KeyOut.model_validate(key).model_dump(mode="json") for key in keys]
    show(as_json, {"keys": documents}, words)


@command(app, "revoke")
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """End a key; within a second nobody comes in with it."""
    with shell(data) as act:
        from tldr_highlight.tenancy import service  # noqa: PLC0415
        from tldr_highlight.tenancy.models import ApiKey  # noqa: PLC0415

        row = act.session.get(ApiKey, key)  # whose it is, the shell need not say
        if row is None:
            raise NotFoundError(
                f"there is no key {key}: `tldr-highlight key list ORG` shows an organization's"
            )
        there, _ = inside(act, row.organization_id)
        service.revoke_key(there, row.id)
    show(as_json, {"id": row.id, "revoked_at": str(row.revoked_at)}, f"{row.name} (…{row.last4}) is revoked")


def _state(revoked_at: datetime | None, expires_at: datetime | None) -> str:
    if revoked_at is not None:
        return "revoked"
    if expires_at is None:
        return "active"
    return "expired" if expires_at <= datetime.now(UTC) else f"until {expires_at:%Y-%m-%d}"
