"""One attempt: a signed body goes out, and what came back is looked at. Nothing is stored here."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tldr_highlight.core.db import now
from tldr_highlight.core.egress import Answered, Egress
from tldr_highlight.errors import (
    AddressError,
    AnswerError,
    SourceLargeError,
    SourceSlowError,
    TldrError,
    TlsError,
)
from tldr_highlight.webhooks.models import Event
from tldr_highlight.webhooks.schedules import asked_pause
from tldr_highlight.webhooks.signing import signed

CHALLENGE = "webhook.challenge"
"""What an endpoint is sent before it is verified. No event: it happened to nobody."""

ANSWER_BYTES = 16_384
"""Of an answer, what is kept."""

FAILURES: Mapping[type[TldrError], str] = {
    AddressError: "address_not_allowed",
    TlsError: "tls_failed",
    SourceSlowError: "timeout",
    AnswerError: "answer_unusable",
    SourceLargeError: "answer_unusable",
}
"""What was raised -> what an attempt is said to have failed of; all else is `no_connection`."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery that was claimed, with all that sending it takes."""

    organization_id: str
    webhook_id: str
    delivery_id: str
    number: int  # of the attempt
    event_id: str
    stream_id: str | None
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    body: bytes
    traceparent: str
    answer: str | None  # that an endpoint must give, where that is asked for
    claimed: float  # on the monotonic clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went."""

    parcel: Parcel
    at: datetime
    error: str | None  # none: it went well
    status: int | None = None  # of HTTP
    answer: str | None = None
    milliseconds: int = 0
    asked: float | None = None  # seconds that the endpoint wants to be left alone


UNSENT, INTERRUPTED = "unsent", "interrupted"
"""Failures of ours, which are not held against the endpoint: not tried; nobody knows whether it arrived."""


def send(egress: Egress, parcel: Parcel) -> Outcome:
    """Send a parcel, once."""
    at, began = now(), time.monotonic()
    headers = {
        "Content-Type": "application/json",
        "traceparent": parcel.traceparent,
        **signed(parcel.secrets, parcel.event_id, int(at.timestamp()), parcel.body),
    }

    def passed() -> int:
        return round(1000 * (time.monotonic() - began))

    try:
        answered = egress.post(parcel.url, parcel.body, headers=headers, most=ANSWER_BYTES)
    except TldrError as error:
        return Outcome(parcel, at, FAILURES.get(type(error), "no_connection"), milliseconds=passed())
    text = answered.body.decode("utf-8", "replace").replace("\0", "\ufffd")  # which no database stores
    return Outcome(
        parcel,
        at,
        _failure(answered, text, parcel.answer),
        answered.status,
        text,
        passed(),
        asked_pause(answered.headers.get("retry-after"), at),
    )


def _failure(answered: Answered, text: str, wanted: str | None) -> str | None:
    """What is wrong with an answer."""
    status = answered.status
    if status == 410:
        return "gone"
    if 300 <= status < 400:
        return "redirected"
    if not 200 <= status < 300:
        return "refused" if status < 500 else "failing"
    return "challenge_unanswered" if wanted is not None and wanted not in text else None


def body_of(event: Event) -> bytes:
    """An event as it is sent: the same bytes each time."""
    return encoded(
        id=event.id,
        type=event.type,
        sequence=event.sequence,
        created_at=event.created_at,
        organization_id=event.organization_id,
        trace_id=event.trace_id,
        data=event.data,
    )


def encoded(*, created_at: datetime, **members: Any) -> bytes:
    """The members of a body as JSON."""
    moment = created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    document = {
        "id": members["id"],
        "type": members["type"],
        "sequence": members["sequence"],
        "created_at": moment,
        "organization_id": members["organization_id"],
        "trace_id": members["trace_id"],
        "data": members["data"],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
