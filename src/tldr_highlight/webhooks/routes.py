"""Endpoints and deliveries: at which address."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from tldr_highlight.core.shapes import Id, Page, PageQuery
from tldr_highlight.errors import ConflictError, PlanLimitError, WebhookUrlError
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes
from tldr_highlight.webhooks import service
from tldr_highlight.webhooks.models import Webhook
from tldr_highlight.webhooks.schemas import (
    AttemptOut,
    DeliveryOut,
    DeliveryQuery,
    DeliveryWithAttempts,
    MissedSince,
    WebhookCreate,
    WebhookEnable,
    WebhookMade,
    WebhookOut,
    WebhookPatch,
    WebhookStats,
)

webhooks = Routes("/api/v1/webhooks", tag="webhooks")


@webhooks.get("", scope=Scope.WEBHOOKS_READ)
def list_webhooks(call: Call, page: Annotated[PageQuery, Query()]) -> Page[WebhookOut]:
    """List endpoints. Newest first."""
    rows, cursor = service.list_webhooks(call, page)
    return Page(data=[_shown(row) for row in rows], next_cursor=cursor)


@webhooks.post(
    "", scope=Scope.WEBHOOKS_WRITE, status=201, creates=True, errors=[PlanLimitError, WebhookUrlError]
)
def create_webhook(call: Call, body: WebhookCreate) -> WebhookMade:
    """Add an endpoint. The answer is the only place where its secret is shown.

    A challenge is sent to it at once: once it has sent that back, it is `active`. Before that it gets nothing
    else.
    """
    return _made(*service.create_webhook(call, body))


@webhooks.get("/{webhook_id}", scope=Scope.WEBHOOKS_READ)
def get_webhook(call: Call, webhook_id: Id) -> WebhookOut:
    """Read one endpoint."""
    return _shown(service.get_webhook(call, webhook_id))


@webhooks.patch("/{webhook_id}", scope=Scope.WEBHOOKS_WRITE, errors=[WebhookUrlError])
def change_webhook(call: Call, webhook_id: Id, body: WebhookPatch) -> WebhookOut:
    """Change an endpoint. With another address it is verified again; then it gets what happened since."""
    return _shown(service.change_webhook(call, webhook_id, body))


@webhooks.delete("/{webhook_id}", scope=Scope.WEBHOOKS_DELETE, status=204)
def delete_webhook(call: Call, webhook_id: Id) -> None:
    """Delete an endpoint, with its deliveries. What is on its way arrives still."""
    service.delete_webhook(call, webhook_id)


@webhooks.post("/{webhook_id}/verify", scope=Scope.WEBHOOKS_WRITE, errors=[ConflictError])
def verify_webhook(call: Call, webhook_id: Id) -> WebhookOut:
    """Send the challenge again. For an endpoint that did not answer it."""
    return _shown(service.verify_webhook(call, webhook_id))


@webhooks.post("/{webhook_id}/test", scope=Scope.WEBHOOKS_WRITE, status=202, errors=[ConflictError])
def send_test_event(call: Call, webhook_id: Id) -> DeliveryOut:
    """Send a test. A `webhook.test` goes to this endpoint alone, whatever it subscribes to."""
    return DeliveryOut.model_validate(service.send_test(call, webhook_id))


@webhooks.post("/{webhook_id}/rotate-secret", scope=Scope.WEBHOOKS_WRITE, creates=True)
def rotate_webhook_secret(call: Call, webhook_id: Id) -> WebhookMade:
    """Replace the secret. The new one is shown once; for 24 hours both sign."""
    return _made(*service.rotate_secret(call, webhook_id))


@webhooks.post("/{webhook_id}/enable", scope=Scope.WEBHOOKS_WRITE, errors=[ConflictError])
def enable_webhook(call: Call, webhook_id: Id, body: WebhookEnable) -> WebhookOut:
    """Enable an endpoint that was disabled. If wanted, it gets what it missed."""
    return _shown(service.enable_webhook(call, webhook_id, body.resend_since))


@webhooks.post("/{webhook_id}/redeliver", scope=Scope.WEBHOOKS_WRITE, status=202, errors=[ConflictError])
def redeliver_missed(call: Call, webhook_id: Id, body: MissedSince) -> WebhookOut:
    """Send what was missed. Each event since then that it wants and has not got, those given up included."""
    return _shown(service.resend_missed(call, webhook_id, body.since))


@webhooks.get("/{webhook_id}/stats", scope=Scope.WEBHOOKS_READ)
def get_webhook_stats(call: Call, webhook_id: Id) -> WebhookStats:
    """Read how an endpoint does. Success and latency of the last hour and day, and what waits for it."""
    return WebhookStats.model_validate(service.stats_of(call, webhook_id))


@webhooks.get("/{webhook_id}/deliveries", scope=Scope.WEBHOOKS_READ)
def list_deliveries(call: Call, webhook_id: Id, page: Annotated[DeliveryQuery, Query()]) -> Page[DeliveryOut]:
    """List deliveries to an endpoint. Newest first."""
    rows, cursor = service.list_deliveries(call, webhook_id, page)
    return Page(data=[DeliveryOut.model_validate(row) for row in rows], next_cursor=cursor)


@webhooks.get("/{webhook_id}/deliveries/{delivery_id}", scope=Scope.WEBHOOKS_READ)
def get_delivery(call: Call, webhook_id: Id, delivery_id: Id) -> DeliveryWithAttempts:
    """Read one delivery. With each try, and what the endpoint said."""
    row, attempts = service.get_delivery(call, webhook_id, delivery_id)
    tries = [AttemptOut.model_validate(attempt) for attempt in attempts]
    return DeliveryWithAttempts(**DeliveryOut.model_validate(row).model_dump(), tries=tries)


@webhooks.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    scope=Scope.WEBHOOKS_WRITE,
    status=202,
    errors=[ConflictError],
)
def redeliver(call: Call, webhook_id: Id, delivery_id: Id) -> DeliveryOut:
    """Deliver once more. The same event under the same id, however it went before."""
    return DeliveryOut.model_validate(service.redeliver(call, webhook_id, delivery_id))


def _shown(webhook: Webhook) -> WebhookOut:
    return WebhookOut.model_validate(webhook)


def _made(webhook: Webhook, secret: str) -> WebhookMade:
    return WebhookMade(**_shown(webhook).model_dump(), secret=secret)
