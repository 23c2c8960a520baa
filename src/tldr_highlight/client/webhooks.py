"""Endpoints that events are sent to, and how that went; and for those who receive them, `verify`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tldr_highlight.client.calls import Calls, at, given
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.shapes import Delivery, DeliveryTries, NewWebhook, Webhook, WebhookStats
from tldr_highlight.client.signatures import SignatureProblem, verify

__all__ = ["SignatureProblem", "Webhooks", "verify"]


class Webhooks:
    """Addresses that are told what happens."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self, *, limit: int | None = None) -> Pages[Webhook]:
        """All endpoints, newest first."""
        return self._calls.pages(Webhook, "/webhooks", limit)

    def get(self, webhook_id: str) -> Webhook:
        """One endpoint."""
        return self._calls.one(Webhook, "GET", at("webhooks", webhook_id))

    def create(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        description: str | None = None,
        schedule: str | None = None,
    ) -> NewWebhook:
        """Add an endpoint. Its `secret` is shown this one time; it is verified by a challenge, see the docs.

        Args:
            url: https.
            events: Types, or patterns such as `stream.*`; all, if not said.
            description: For people.
            schedule: `short`, `standard`, or seconds between tries: `5,60,600`.
        """
        body = given(url=url, events=events, description=description, schedule=schedule)
        return self._calls.one(NewWebhook, "POST", "/webhooks", body, creates=True)

    def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        schedule: str | None = None,
    ) -> Webhook:
        """Change an endpoint; what is not given stays. At another address it is verified again."""
        body = given(url=url, events=events, description=description, schedule=schedule)
        return self._calls.one(Webhook, "PATCH", at("webhooks", webhook_id), body)

    def delete(self, webhook_id: str) -> None:
        """Delete an endpoint, with its deliveries."""
        self._calls.do("DELETE", at("webhooks", webhook_id))

    def ask_to_verify(self, webhook_id: str) -> Webhook:
        """Send the challenge again."""
        return self._calls.one(Webhook, "POST", at("webhooks", webhook_id, "verify"))

    def test(self, webhook_id: str) -> Delivery:
        """Send a `webhook.test` to this endpoint alone."""
        return self._calls.one(Delivery, "POST", at("webhooks", webhook_id, "test"))

    def rotate_secret(self, webhook_id: str) -> NewWebhook:
        """Replace the secret: the new one is shown this one time; for 24 hours both sign."""
        return self._calls.one(NewWebhook, "POST", at("webhooks", webhook_id, "rotate-secret"), creates=True)

    def enable(self, webhook_id: str, *, resend_since: datetime | None = None) -> Webhook:
        """Enable an endpoint that was disabled, and send what it has missed since a time."""
        body = given(resend_since=resend_since)
        return self._calls.one(Webhook, "POST", at("webhooks", webhook_id, "enable"), body)

    def redeliver_missed(self, webhook_id: str, since: datetime) -> Webhook:
        """Send, once each, the events since a time that it wants and has not got."""
        return self._calls.one(Webhook, "POST", at("webhooks", webhook_id, "redeliver"), given(since=since))

    def stats(self, webhook_id: str) -> WebhookStats:
        """Success and latency of the last hour and day, and what waits."""
        return self._calls.one(WebhookStats, "GET", at("webhooks", webhook_id, "stats"))

    def deliveries(
        self,
        webhook_id: str,
        *,
        state: str | None = None,
        event_type: str | None = None,
        limit: int | None = None,
    ) -> Pages[Delivery]:
        """What goes to an endpoint, newest first.

        Args:
            webhook_id: Which.
            state: `waiting`, `sending`, `delivered` or `failed`.
            event_type: `stream.completed`, for example.
            limit: Of a page.
        """
        path = at("webhooks", webhook_id, "deliveries")
        return self._calls.pages(Delivery, path, limit, state=state, event_type=event_type)

    def delivery(self, webhook_id: str, delivery_id: str) -> DeliveryTries:
        """One delivery, with each try and what the endpoint said."""
        return self._calls.one(DeliveryTries, "GET", at("webhooks", webhook_id, "deliveries", delivery_id))

    def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Deliver once more, under the same id."""
        path = at("webhooks", webhook_id, "deliveries", delivery_id, "redeliver")
        return self._calls.one(Delivery, "POST", path)
