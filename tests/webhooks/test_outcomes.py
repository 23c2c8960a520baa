"""What becomes of deliveries by how their attempts went, stored in one batch."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from tests.webhooks.shop import ORG, Shop, receiver
from tldr_highlight.core.db import now
from tldr_highlight.webhooks.models import Delivery
from tldr_highlight.webhooks.outcomes import store
from tldr_highlight.webhooks.sending import Outcome, Parcel


@pytest.mark.parametrize("order", [1, -1], ids=["late first", "late last"])
def test_a_late_outcome_of_an_attempt_taken_for_lost_replaces_none(quick: Shop, order: int) -> None:
    with receiver() as there, quick.working():
        id = quick.verified(there)
    [event_id] = quick.tell()
    [delivery] = quick.deliveries(id)
    quick.set(Delivery, delivery.id, state="sending", attempts=2, due_at=now() + timedelta(hours=1))

    def outcome(number: int, error: str | None) -> Outcome:
        parcel = Parcel(
            organization_id=ORG, webhook_id=id, delivery_id=delivery.id, number=number, event_id=event_id,
            stream_id=None, url=there.url, secrets=(), body=b"", traceparent="", answer=None,
            claimed=time.monotonic(),
        )  # fmt: skip
        return Outcome(parcel, now(), error, 500 if error else 200)

    with quick.runtime.db.begin() as session:
        store(session, quick.runtime, [outcome(1, "failing"), outcome(2, None)][::order])
    assert [row.state for row in quick.deliveries(id)] == ["delivered"]
    assert [(row.number, row.error_code) for row in quick.attempts(id)] == [(2, None)]
