"""What crosses HTTP about who is calling."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from tldr_highlight.core.clients import network
from tldr_highlight.core.shapes import Id, Moment, Name, Schema
from tldr_highlight.tenancy.roles import Scope


def _future(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise ValueError("is in the past")
    return moment


def _network(text: str) -> str:
    try:
        return str(network(text))
    except ValueError:  # its words repeat what was sent
        raise ValueError("is no network: write 192.0.2.0/24, 2001:db8::/32, or one address") from None


Future = Annotated[Moment, AfterValidator(_future)]

NetworkText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=50),
    AfterValidator(_network),
]
"""`192.0.2.0/24`, `2001:db8::/32`, or one address."""

Networks = Annotated[list[NetworkText], Field(max_length=50)]
RequestsPerMinute = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]

# --- keys ----------------------------------------------------------------------------------------------


class KeyCreate(Schema):
    """A key to make."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=50)] | None = Field(
        default=None, description="What it may do; the plan's default where nothing is said."
    )
    expires_at: Future | None = None
    networks: Networks = Field(default=[], description="Where it may be used from; from anywhere if empty.")
    requests_per_minute: RequestsPerMinute | None = Field(
        default=None, description="The plan's where nothing is said."
    )


class KeyPatch(Schema):
    """What changes of a key; what is left out stays."""

    # these defaults are never looked at
    name: Name = Field(default_factory=str)
    networks: Networks = Field(default_factory=list)
    requests_per_minute: RequestsPerMinute | None = Field(default=None, description="null: the plan's.")


class KeyRotate(Schema):
    """How to replace a key."""

    overlap_seconds: Annotated[int, Field(strict=True, ge=0, le=604_800)] = Field(
        86_400, description="How long the old key is good still."
    )


class KeyOut(Schema):
    """A key, without what it is."""

    id: str
    name: str
    last4: str = Field(description="The last four characters of the key.")
    scopes: list[str]
    networks: list[str]
    requests_per_minute: int | None = Field(description="null: the plan's.")
    status: str = Field(description="`active`, `expired` or `revoked`.")
    created_at: datetime
    created_by: str | None = Field(description="The person who made it; null: a key, or the operator.")
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None = Field(description="The key that it was rotated to.")
    last_used_at: datetime | None = Field(description="Known to about 10 s.")


class KeyCreated(KeyOut):
    """A key, the one time that it is shown."""

    key: str


# --- logins --------------------------------------------------------------------------------------------


class LoginCreate(Schema):
    """Who wants to come in."""

    email: Annotated[str, StringConstraints(min_length=3, max_length=254)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    organization_id: Id | None = Field(
        default=None, description="Where to act; else the first that you joined."
    )


class RefreshToken(Schema):
    """A refresh token."""

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    organization_id: Id | None = Field(default=None, description="Where to act from now on; else as before.")


class UserOut(Schema):
    """A person."""

    id: str
    email: str
    name: str | None = Field(examples=["Ada Lovelace"])
    email_verified_at: datetime | None
    is_operator: bool
    created_at: datetime


class PlaceOut(Schema):
    """An organization, and as what one is in it."""

    id: str
    name: str
    plan: str
    status: str
    role: str | None = Field(description="null: a key, which has scopes instead.")


class LoginOut(Schema):
    """Who came in, and where."""

    user: UserOut
    organization: PlaceOut | None


class TokensOut(LoginOut):
    """What a program shows from now on."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds that the access token is good for.")
    refresh_token: str = Field(description="Good once, for 7 days: exchange it for the next.")


class SessionOut(Schema):
    """A login that goes on."""

    id: str
    kind: str = Field(description="`token` or `cookie`.")
    organization_id: str | None
    address: str | None = Field(description="Where it was begun from.")
    agent: str | None = Field(description="With what, in that program's own words.")
    created_at: datetime
    used_at: datetime = Field(description="Known to about 10 s.")
    expires_at: datetime
    current: bool = Field(False, description="The one that asks.")


class MeOut(Schema):
    """Who is calling."""

    user: UserOut | None = Field(description="null: a key is calling.")
    key: KeyOut | None = Field(description="null: a person is calling.")
    organization: PlaceOut | None = Field(description="Where this login or key acts.")
    organizations: list[PlaceOut] = Field(description="All that the person is in.")
    scopes: list[str]
