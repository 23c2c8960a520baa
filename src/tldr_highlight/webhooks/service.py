"""Endpoints: what may happen to them."""

from __future__ import annotations

from collections.abc import Sequence

from tldr_highlight.core.egress import Egress
from tldr_highlight.core.security import new_webhook_secret
from tldr_highlight.errors import AddressError, WebhookUrlError
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy import audit
from tldr_highlight.webhooks.models import Webhook


def check_url(act: Act, url: str) -> None:
    """Refuse an endpoint for what its address says; where a name leads is judged at every connection.

    Raises:
        WebhookUrlError: not https, not well-formed, or a literal address that is not public.
    """
    try:
        Egress(act.runtime.policy).check(url)
    except AddressError as error:
        raise WebhookUrlError("this address is not allowed: give an https address on the internet") from error
    if not url.lower().startswith("https:"):
        raise WebhookUrlError("events are sent over https alone")


def add_webhook(act: Act, url: str, events: Sequence[str]) -> tuple[Webhook, str]:
    """Store an endpoint, and the secret that its deliveries are signed with, which is shown once.

    It gets nothing until it is verified.

    Raises:
        WebhookUrlError: see `check_url`.
    """
    check_url(act, url)
    secret = new_webhook_secret()
    webhook = Webhook(
        organization_id=act.organization_id,
        url=url,
        events=list(events),
        secret=act.runtime.vault.seal(secret),
    )
    act.session.add(webhook)
    act.session.flush()
    audit.record(act, "webhook.created", webhook.id, events=webhook.events)
    return webhook, secret
