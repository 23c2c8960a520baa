"""W7: what we sign, the reference library takes; and not a byte of it changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from tldr_highlight.core.security import new_webhook_secret
from tldr_highlight.webhooks.signing import challenge, signed

BODY = '{"title":"Tor! ⚽","n":1.50}'.encode()


def test_the_reference_library_takes_it() -> None:
    secret, other = new_webhook_secret(), new_webhook_secret()
    headers = signed([secret], "evt_1", int(time.time()), BODY)
    assert Verifier(secret).verify(BODY, headers) == {"title": "Tor! ⚽", "n": 1.5}
    for wrong in (
        lambda: Verifier(other).verify(BODY, headers),
        lambda: Verifier(secret).verify(BODY + b" ", headers),
        lambda: Verifier(secret).verify(BODY, headers | {"webhook-id": "evt_2"}),
        lambda: Verifier(secret).verify(BODY, headers | {"webhook-timestamp": str(int(time.time()) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            wrong()


def test_both_secrets_sign_while_one_replaces_the_other() -> None:
    new, old = new_webhook_secret(), new_webhook_secret()
    headers = signed([new, old], "evt_1", int(time.time()), BODY)
    for secret in (new, old):
        Verifier(secret).verify(BODY, headers)


def test_the_plain_header_is_what_the_page_says() -> None:
    secret = new_webhook_secret()
    headers = signed([secret], "evt_1", 1_700_000_000, BODY)
    key = base64.b64decode(secret.partition("_")[2])
    mac = hmac.new(key, b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert headers["X-TLDR-Signature"] == f"t=1700000000,sha256={mac}"


def test_challenges_differ_and_cannot_be_known() -> None:
    one, other = new_webhook_secret(), new_webhook_secret()
    assert len({challenge(s, id) for s in (one, other) for id in ("evt_1", "evt_2")}) == 4
