"""For receivers of webhooks: is this ours, and is it new? Standard Webhooks (standardwebhooks.com).

event = verify(request.body, request.headers, "whsec_…")      the parsed event, or SignatureProblem
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tldr_highlight.client.problems import ClientError

TOLERANCE = 300.0
"""Seconds that a message may be old, or ahead of this clock: older ones may be somebody's recording."""

MOST_SIGNATURES = 16
"""Two are sent while a secret rotates."""


class SignatureProblem(ClientError):  # noqa: N818 - as the others
    """Not a message of ours, or not a new one. Answer 400 and do nothing else."""


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> dict[str, Any]:
    """The event in a webhook's body, once it is certain whose it is.

    It may still come twice: remember `event["id"]` for a few days.

    Args:
        body: The bytes as they came, before anything has parsed them.
        headers: Of the request; their names in any case.
        secret: The endpoint's, `whsec_…`; several where one replaces another.
        tolerance: Seconds between its time and now, both ways.
        now: Unix seconds, for tests.

    Raises:
        SignatureProblem: whatever is wrong with the message.
        ValueError: a secret that is none.
    """
    keys = [_key(each) for each in ([secret] if isinstance(secret, str) else secret)]
    told = {str(name).lower(): value for name, value in headers.items()}
    id, timestamp, signatures = (_told(told, f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    _check_time(timestamp, time.time() if now is None else now, tolerance)
    signed = f"{id}.{timestamp}.".encode() + body
    expected = [hmac.digest(key, signed, "sha256") for key in keys]
    given = [_mac(each) for each in signatures.split(" ")[:MOST_SIGNATURES]]
    # all of them are compared, each in constant time
    if not sum(hmac.compare_digest(mine, theirs) for mine in expected for theirs in given):
        raise SignatureProblem("no signature fits")
    return _event(body)


def _told(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    if not isinstance(value, str) or not value.isascii() or not 0 < len(value) <= 4096:
        raise SignatureProblem(f"the header {name} is missing, or is none")
    return value


def _check_time(timestamp: str, now: float, tolerance: float) -> None:
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise SignatureProblem("the header webhook-timestamp is no time")
    if abs(now - int(timestamp)) > tolerance:
        raise SignatureProblem("the message is too old, or from the future: compare the clocks")


def _mac(signature: str) -> bytes:
    """What a signature of version 1 says; nothing of others."""
    version, _, value = signature.partition(",")
    try:
        return base64.b64decode(value, validate=True) if version == "v1" else b""
    except (binascii.Error, ValueError):
        return b""


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("a webhook's secret is whsec_ and base64, as it was shown once")
    return key


def _event(body: bytes) -> dict[str, Any]:
    try:
        event: object = json.loads(body)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise SignatureProblem("the body is no event")
    return cast("dict[str, Any]", event)
