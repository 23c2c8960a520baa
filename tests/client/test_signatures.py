"""Receivers: what is ours is taken, everything else is one error. Judged by the reference library."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from tldr_highlight.client.webhooks import SignatureProblem, verify
from tldr_highlight.webhooks.signing import signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()
EVENT = {"id": "evt_1", "type": "stream.completed", "data": {"title": "ä"}}
BODY = json.dumps(EVENT).encode()
AT = 1_700_000_000


def headers(*, secrets: tuple[str, ...] = (SECRET,), at: int = AT, body: bytes = BODY) -> dict[str, str]:
    return signed(secrets, "evt_1", at, body)


@pytest.mark.parametrize("secrets", [(SECRET,), (SECRET, OTHER), (OTHER, SECRET)], ids=["one", "new", "old"])
def test_what_we_sign_is_taken(secrets: tuple[str, ...]) -> None:
    assert verify(BODY, headers(secrets=secrets), SECRET, now=AT) == EVENT


def test_what_the_reference_library_signs_is_taken() -> None:
    at = datetime.fromtimestamp(AT, UTC)
    signature = Webhook(SECRET).sign("msg_1", at, BODY.decode())
    given = {"Webhook-Id": "msg_1", "WEBHOOK-TIMESTAMP": str(AT), "webhook-signature": signature}
    assert verify(BODY, given, [OTHER, SECRET], now=AT) == EVENT


@pytest.mark.parametrize("away", [-301, 301])
def test_old_messages_and_those_from_the_future_are_refused(away: int) -> None:
    assert verify(BODY, headers(), SECRET, now=AT + away * 300 / 301)
    with pytest.raises(SignatureProblem, match="old"):
        verify(BODY, headers(), SECRET, now=AT + away)
    with pytest.raises(SignatureProblem):  # of today, but signed for another day
        verify(BODY, headers() | {"webhook-timestamp": str(AT + away)}, SECRET, now=AT + away)


def test_another_body_id_or_secret_is_refused() -> None:
    for body, told, secret in (
        (BODY + b" ", headers(), SECRET),
        (BODY, headers() | {"webhook-id": "evt_2"}, SECRET),
        (BODY, headers(), OTHER),
        (BODY, {n: v for n, v in headers().items() if n != "webhook-signature"}, SECRET),
        (
            BODY,
            headers() | {"webhook-signature": headers()["webhook-signature"].replace("v1,", "v2,")},
            SECRET,
        ),
        (BODY, headers() | {"webhook-signature": ""}, SECRET),
        (BODY, headers() | {"webhook-signature": "v1,"}, SECRET),
        (b"[]", headers(body=b"[]"), SECRET),
        (b"no", headers(body=b"no"), SECRET),
    ):
        with pytest.raises(SignatureProblem):
            verify(body, told, secret, now=AT)


HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text("v1,=AB+/ \x00\u00e4\U0001f600", max_size=60),
    st.integers(),
    st.none(),
    st.binary(max_size=40),
)


@given(
    body=st.binary(max_size=40),
    told=st.dictionaries(
        st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature", "x"]) | st.text(max_size=9),
        HOSTILE | st.just(str(AT)) | st.just(headers()["webhook-signature"]),
    ),
)
def test_hostile_headers_are_one_error(body: bytes, told: dict[str, str]) -> None:
    with pytest.raises(SignatureProblem):
        verify(body, told, SECRET, now=AT)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_?", "whsec_ä"])
def test_a_secret_that_is_none_is_the_programs_mistake(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        verify(BODY, headers(), secret, now=AT)
