"""What crosses HTTP about endpoints and what was sent to them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from tldr_highlight.core.shapes import NAME_PATTERN, Id, Moment, PageQuery, Schema
from tldr_highlight.errors import InvalidError
from tldr_highlight.webhooks.catalogue import EventType
from tldr_highlight.webhooks.events import PATTERN, wanted
from tldr_highlight.webhooks.schedules import SCHEDULE_PATTERN, pauses_of


def _each_has_a_type(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        if not any(wanted([pattern], type.value) for type in EventType):
            raise ValueError("one of them is no type of event that there is, nor a pattern of some")
    return patterns


def _has_pauses(schedule: str) -> str:
    try:
        pauses_of(schedule)
    except InvalidError as error:
        raise ValueError(str(error)) from None
    return schedule


Patterns = Annotated[
    list[Annotated[str, StringConstraints(pattern=PATTERN, max_length=100)]],
    Field(min_length=1, max_length=50, description="Types of events, or patterns: `stream.*`, `*`."),
    AfterValidator(_each_has_a_type),
]
"""What an endpoint subscribes to; a name that no event has is a typing error."""

Url = Annotated[
    str,
    Field(min_length=1, max_length=2048, description="https, on the public internet."),
]

Description = Annotated[str, StringConstraints(max_length=200, pattern=NAME_PATTERN)]

Schedule = Annotated[
    str,
    StringConstraints(pattern=SCHEDULE_PATTERN, max_length=119),
    AfterValidator(_has_pauses),
    Field(
        description="When a delivery that failed is tried again. `short`: after 10 s, 1 min and 6 min; "
        "`standard`: nine times in 75 hours; or up to 20 pauses in seconds: `5,60,600`.",
        examples=["short"],
    ),
]


class WebhookStatus(StrEnum):
    """Whether an endpoint gets events."""

    PENDING = "pending_verification"
    ACTIVE = "active"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """How far a delivery has come."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookCreate(Schema):
    """An endpoint to add."""

    url: Url
    events: Patterns = Field(default_factory=lambda: ["*"])
    description: Description | None = Field(default=None, examples=["Production"])
    schedule: Schedule | None = Field(
        default=None, description="The installation's where nothing is said.", examples=["short"]
    )


class WebhookPatch(Schema):
    """What changes of an endpoint; what is left out stays."""

    # these defaults are never looked at
    url: Url = Field(default_factory=str)
    events: Patterns = Field(default_factory=list)
    description: Description | None = Field(default=None, examples=["Production"])
    schedule: Schedule = Field(default="short")


class MissedSince(Schema):
    """From when on to send what an endpoint has not got."""

    since: Moment = Field(description="Events are kept for 30 days, unless the operator says otherwise.")


class WebhookEnable(Schema):
    """How to begin again."""

    resend_since: Moment | None = Field(
        default=None, description="Also send what it has missed since then: each event once."
    )


class WebhookOut(Schema):
    """An endpoint, without its secret."""

    id: str
    url: str
    description: str | None = Field(examples=["Production"])
    events: list[str]
    schedule: str = Field(examples=["short"])
    status: WebhookStatus = Field(examples=["active"])
    disabled_reason: str | None = Field(
        description="`gone`: it answered 410; `failing`: too many deliveries in a row were given up; "
        "`stuck`: a mistake of ours.",
        examples=[None],
    )
    created_at: datetime
    verified_at: datetime | None
    disabled_at: datetime | None = Field(examples=[None])
    failures: int = Field(description="Deliveries that were given up in a row.", examples=[0])
    old_secret_until: datetime | None = Field(
        description="So long the secret before signs, too.", examples=[None]
    )


class WebhookMade(WebhookOut):
    """An endpoint, the one time that its secret is shown."""

    secret: str


class SpanStats(Schema):
    """How attempts of some time went."""

    attempts: int = Field(description="The latest 10,000 at most.", examples=[120])
    succeeded: int = Field(examples=[118])
    success_rate: float | None = Field(description="0 to 1; null: no attempts.", examples=[0.983])
    p50_ms: int | None = Field(description="Half of those that succeeded took no longer.", examples=[84])
    p95_ms: int | None = Field(description="Of those that succeeded, 95 % took no longer.", examples=[310])


class WebhookStats(Schema):
    """How an endpoint does."""

    last_hour: SpanStats
    last_day: SpanStats
    waiting: int = Field(description="Deliveries that are not over.", examples=[0])


class DeliveryOut(Schema):
    """One event on its way to one endpoint."""

    id: str
    webhook_id: Id
    event_id: str
    event_type: str = Field(examples=["stream.completed"])
    stream_id: str | None = Field(examples=["str_01kb8mz3s5e6v7w8x9y0a1b2c3"])
    sequence: int | None = Field(examples=[7])
    state: DeliveryState = Field(examples=["delivered"])
    attempts: int = Field(examples=[1])
    due_at: datetime = Field(description="When it is tried next, while it is `waiting`.")
    created_at: datetime
    ended_at: datetime | None


class AttemptOut(Schema):
    """One try, and what the endpoint said."""

    number: int = Field(examples=[1])
    created_at: datetime
    status: int | None = Field(description="Of HTTP; null: no answer.", examples=[200])
    error_code: str | None = Field(description="Why it does not count; null: it does.", examples=[None])
    milliseconds: int = Field(examples=[84])
    answer: str | None = Field(description="The first 16 KiB.", examples=["ok"])


class DeliveryWithAttempts(DeliveryOut):
    """A delivery with its tries."""

    tries: list[AttemptOut]


class DeliveryQuery(PageQuery):
    """Which deliveries."""

    state: DeliveryState | None = None
    event_type: EventType | None = None
