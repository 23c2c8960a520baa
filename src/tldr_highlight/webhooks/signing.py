"""How receivers know that a body is ours: two headers over the exact bytes, and a challenge.

`webhook-signature` is Standard Webhooks' (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`, in
base64. `X-TLDR-Signature` is the plainer `t=…,sha256=…`: HMAC-SHA256 over `timestamp.body`, in hexadecimal.
The key of both is what `whsec_` is followed by, out of base64.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence


def signed(secrets: Sequence[str], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that go with a body.

    Args:
        secrets: `whsec_…`; two of them while one replaces the other.
        id: Of the event: the same however often it is sent.
        timestamp: When this is sent, in Unix seconds.
        body: The bytes that are sent.
    """
    keys = [_key(secret) for secret in secrets]
    standard = [hmac.digest(key, f"{id}.{timestamp}.".encode() + body, "sha256") for key in keys]
    plain = [hmac.digest(key, f"{timestamp}.".encode() + body, "sha256").hex() for key in keys]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(mac).decode('ascii')}" for mac in standard),
        "X-TLDR-Signature": ",".join([f"t={timestamp}", *(f"sha256={mac}" for mac in plain)]),
    }


def challenge(secret: str, id: str) -> str:
    """What an endpoint must send back to be verified: nobody can know it who was not asked."""
    return hmac.digest(_key(secret), f"challenge.{id}".encode(), "sha256").hex()


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))
