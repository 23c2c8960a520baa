"""What the API answers with, as frozen dataclasses. Fields that a newer server adds are ignored."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

T = TypeVar("T")


def read(shape: type[T], value: Any) -> T:
    """`value`, parsed JSON, as a `shape`: a dataclass, or lists and dicts of them.

    Raises:
        ValueError: it is something else; names the place.
    """
    return cast("T", _read(shape, value, shape.__name__))


def _read(shape: Any, value: Any, place: str) -> Any:  # noqa: PLR0911 (a line for each kind)
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if shape is Any:
        return value
    if origin in (types.UnionType, typing.Union):  # of one shape and None
        return None if value is None else _read(arguments[0], value, place)
    if origin is list and isinstance(value, list):
        items = cast("list[Any]", value)
        return [_read(arguments[0], item, f"{place}[{index}]") for index, item in enumerate(items)]
    if origin is dict and isinstance(value, dict):
        return cast("dict[str, Any]", value)
    if dataclasses.is_dataclass(shape) and isinstance(value, dict):
        return _read_fields(cast("type[Any]", shape), cast("dict[str, Any]", value), place)
    if shape is datetime and isinstance(value, str):
        return datetime.fromisoformat(value)
    if shape is float and isinstance(value, int):
        return float(value)
    if isinstance(shape, type) and isinstance(value, shape):
        return value
    raise ValueError(f"{place} is a {type(value).__name__}")


def _read_fields(shape: type[Any], document: dict[str, Any], place: str) -> Any:
    required, known = _fields(shape)
    if missing := required - document.keys():
        raise ValueError(f"{place} lacks {', '.join(sorted(missing))}")
    given = known.keys() & document.keys()
    return shape(**{name: _read(known[name], document[name], f"{place}.{name}") for name in given})


@functools.cache
def _fields(shape: type[Any]) -> tuple[frozenset[str], dict[str, Any]]:
    """Names that must be there, and what each is."""
    required = (
        f.name
        for f in dataclasses.fields(shape)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    return frozenset(required), typing.get_type_hints(shape)


# --- keys ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A key, without what it is."""

    id: str
    name: str
    last4: str
    scopes: list[str]
    status: str
    """`active`, `expired` or `revoked`."""
    networks: list[str]
    requests_per_minute: int | None
    created_at: datetime
    created_by: str | None
    """The person who made it; None: a key, or the operator."""
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None
    """The key that it was rotated to."""
    last_used_at: datetime | None
    """Known to about 10 s."""


@dataclass(frozen=True)
class CreatedKey(Key):
    """A key, the one time that it is shown."""

    key: str = field(repr=False)


# --- people and organizations --------------------------------------------------------------------------


@dataclass(frozen=True)
class User:
    """A person."""

    id: str
    email: str
    email_verified_at: datetime | None
    created_at: datetime
    name: str | None = None
    is_operator: bool = False


@dataclass(frozen=True)
class Limits:
    """What an organization may have and use."""

    requests_per_minute: int
    processing_minutes: int
    concurrent_streams: int
    storage_gb: int
    retention_days: int
    cold_after_days: int | None
    delivered_gb: int
    api_calls: int
    webhook_endpoints: int
    api_keys: int
    members: int
    priority: str


@dataclass(frozen=True)
class Organization:
    """An organization."""

    id: str
    name: str
    plan: str
    status: str
    limits: Limits
    overage_cap_percent: int
    """Of the plan's amounts: where plans block that bill what goes beyond them."""
    created_at: datetime


@dataclass(frozen=True)
class Member:
    """A person's place in the organization."""

    id: str
    user_id: str
    email: str
    name: str | None
    role: str
    created_at: datetime


@dataclass(frozen=True)
class Invitation:
    """A place that is offered to an address."""

    id: str
    email: str
    role: str
    invited_by: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class AuditRecord:
    """One change: who did what to which object."""

    id: str
    actor: str
    """`usr_…`, `key_…`, `shell` or `system`."""
    action: str
    object_id: str | None
    details: dict[str, Any]
    address: str | None
    trace_id: str | None
    created_at: datetime


# --- plans ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """One limit, and what is used of it."""

    limit: str
    used: float
    allowed: float
    fits: bool


@dataclass(frozen=True)
class PlanPreview:
    """What a plan would mean for the organization."""

    plan: str
    current: str
    possible: bool
    base_fee_cents: int
    """US cents a month."""
    limits: Limits
    fits: list[Fit]


@dataclass(frozen=True)
class PlanChanged:
    """The organization on its new plan."""

    organization: Organization
    payment: str | None
    """What there is to say about payment."""


# --- highlights ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """One reason, readable by a person."""

    dimension: str
    time: float
    text: str


@dataclass(frozen=True)
class Highlight:
    """What was found, or asked for. Times are media seconds."""

    id: str
    stream_id: str
    origin: str
    """`analysis`, or `request`: somebody asked for it."""
    state: str
    """`detected`, then `ready` or `failed`: its clip can be had, or could not be made."""
    start: float
    end: float
    peak: float
    clip_start: float
    clip_end: float
    score: float | None
    """How likely a viewer keeps it, 0..1; None: not judged."""
    confidence: float | None
    types: list[str]
    title: str
    tags: list[str]
    verdict: str | None
    """`keep` or `drop`, as somebody said."""
    dimensions: dict[str, float | None]
    evidence: list[Evidence]
    clip: dict[str, Any] | None
    clip_url: str | None
    thumbnail_url: str | None
    stored_bytes: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True)
class Share:
    """A link that takes no account."""

    url: str
    expires_at: datetime


@dataclass(frozen=True)
class Timeline:
    """Curves. Value `i` of each is of the `step` media seconds from `start + i * step` on; None: unknown."""

    start: float
    step: float
    threshold: float
    score: list[float | None]
    dimensions: dict[str, list[float | None]]


@dataclass(frozen=True)
class Reel:
    """Highlights joined into one file."""

    id: str
    stream_id: str
    job_id: str
    state: str
    """`pending`, then `ready` or `failed`."""
    target_seconds: float
    tolerance: float
    seconds: float | None
    note: str | None
    """Why it is not as long as it should be."""
    highlights: list[str]
    video_url: str | None
    stored_bytes: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class DimensionSet:
    """What highlights are judged by."""

    id: str
    version: int | None
    """None: a preset."""
    name: str
    preset: bool
    threshold: float
    dimensions: dict[str, Any]
    types: dict[str, Any]
    type_names: list[str]
    created_at: datetime | None


@dataclass(frozen=True)
class Moment:
    """What would be a highlight."""

    start: float
    end: float
    peak: float
    score: float
    confidence: float
    types: list[str]
    title: str
    dimensions: dict[str, float | None]
    evidence: list[Evidence]
    clip_start: float
    clip_end: float


@dataclass(frozen=True)
class Trial:
    """What a dimension set would find in a stream."""

    set_id: str
    version: int | None
    stream_id: str
    analysed_seconds: float
    known_share: float
    degraded: bool
    highlights: list[Moment]


@dataclass(frozen=True)
class HighlightType:
    """A kind of highlight, and when one is of it."""

    id: str
    name: str
    version: int | None
    standard: bool
    when: dict[str, float]
    match: str
    priority: int
    description: str | None
    created_at: datetime | None


# --- webhooks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Webhook:
    """An endpoint, without its secret."""

    id: str
    url: str
    description: str | None
    events: list[str]
    schedule: str
    """`short`, `standard`, or seconds between tries."""
    status: str
    """`pending_verification`, `active` or `disabled`."""
    disabled_reason: str | None
    """`gone`, `failing` or `stuck`."""
    created_at: datetime
    verified_at: datetime | None
    disabled_at: datetime | None
    failures: int
    """Deliveries that were given up in a row."""
    old_secret_until: datetime | None


@dataclass(frozen=True)
class NewWebhook(Webhook):
    """An endpoint, the one time that its secret is shown."""

    secret: str = field(repr=False)


@dataclass(frozen=True)
class Attempts:
    """How attempts of some time went."""

    attempts: int
    succeeded: int
    success_rate: float | None
    p50_ms: int | None
    p95_ms: int | None


@dataclass(frozen=True)
class WebhookStats:
    """How an endpoint does."""

    last_hour: Attempts
    last_day: Attempts
    waiting: int


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one endpoint."""

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    stream_id: str | None
    sequence: int | None
    state: str
    """`waiting`, `sending`, `delivered` or `failed`."""
    attempts: int
    due_at: datetime
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Attempt:
    """One try, and what the endpoint said."""

    number: int
    created_at: datetime
    status: int | None
    error_code: str | None
    """None: it went well."""
    milliseconds: int
    answer: str | None


@dataclass(frozen=True)
class DeliveryTries(Delivery):
    """A delivery with its tries."""

    tries: list[Attempt]


# --- coming in -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CreatedWebhook:
    """An endpoint, the one time that its secret is shown."""

    id: str
    url: str
    events: list[str]
    status: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Registered:
    """A company that can begin."""

    user: User
    organization: Organization
    role: str
    api_key: CreatedKey
    webhook: CreatedWebhook | None
    next_step: str


@dataclass(frozen=True)
class Joined:
    """Somebody who is in an organization now; they log in as always."""

    user: User
    organization: Organization
    role: str


@dataclass(frozen=True)
class Place:
    """An organization, and as what one is in it."""

    id: str
    name: str
    plan: str
    status: str
    role: str | None
    """None: a key, which has scopes instead."""


@dataclass(frozen=True)
class Tokens:
    """What a login gives."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: float
    """Seconds that the access token is good for, from now on."""
    user: User
    organization: Place | None


@dataclass(frozen=True)
class LoginSession:
    """A login that goes on."""

    id: str
    kind: str
    """`token` or `cookie`."""
    organization_id: str | None
    address: str | None
    agent: str | None
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    current: bool = False
    """The one that asks."""


@dataclass(frozen=True)
class Me:
    """Who is calling."""

    user: User | None
    """None: a key is calling."""
    key: Key | None
    """None: a person is calling."""
    organization: Place | None
    """Where this login or key acts."""
    organizations: list[Place]
    """All that the person is in."""
    scopes: list[str]


@dataclass(frozen=True)
class Event:
    """Something that happened: the same words as webhooks get."""

    id: str
    type: str
    sequence: int | None
    """Within its stream, without gaps; None where it is of no stream."""
    created_at: datetime
    organization_id: str
    trace_id: str | None
    data: dict[str, Any]
