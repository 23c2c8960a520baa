"""An access token is what this installation signed, to the letter; all else is refused with one error."""

import base64
import hashlib
import hmac
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.core.jwt import LARGEST, AccessClaims, Tokens
from tldr_highlight.core.security import key_bytes
from tldr_highlight.errors import AuthError, TokenError, TokenExpiredError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
THEN = int(NOW.timestamp())
KEY, OTHER = (base64.urlsafe_b64encode(bytes([i]) * 32).decode() for i in (1, 2))  # seeds say the same again
TOKENS = Tokens([KEY])
KID = hashlib.sha256(b"kid:" + key_bytes(KEY)).hexdigest()[:16]
HALF_HOUR = timedelta(minutes=30)
CLAIMS = AccessClaims("usr_1", "ses_1", "org_1", "admin", NOW, NOW + HALF_HOUR)
HEADER = {"alg": "HS256", "kid": KID, "typ": "at+jwt"}
PAYLOAD: dict[str, Any] = {
    "iss": "tldr-highlight", "aud": "tldr-highlight-api", "sub": "usr_1", "sid": "ses_1", "org": "org_1",
    "role": "admin", "iat": THEN, "exp": THEN + 1800,
}  # fmt: skip


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def text(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def forged(header: object = HEADER, payload: object = PAYLOAD, key: bytes | None = None) -> str:
    """A token rightly signed with the real key, by hand: whoever made it knows everything but our rules."""
    signed = f"{b64(text(header))}.{b64(text(payload))}"
    return f"{signed}.{b64(hmac.digest(key or key_bytes(KEY), signed.encode(), 'sha256'))}"


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in PAYLOAD.items() if k != name}


def refused(token: str) -> None:
    with pytest.raises(TokenError) as caught:
        TOKENS.read(token, NOW)
    assert type(caught.value) is TokenError, token[:200]
    assert str(caught.value) == "the access token is not valid: log in again"


# --- what is good --------------------------------------------------------------------------------------


@pytest.mark.parametrize("organization", ["org_1", None])
def test_what_is_signed_is_read(organization: str | None) -> None:
    claims = AccessClaims("usr_1", "ses_1", organization, "operator", NOW, NOW + HALF_HOUR)
    assert TOKENS.read(TOKENS.sign(claims, NOW), NOW) == claims


def test_the_hand_made_token_is_the_real_one() -> None:
    """So that whatever the table below changes is what gets it refused."""
    assert forged() == TOKENS.sign(CLAIMS, NOW)
    assert TOKENS.read(forged(), NOW) == CLAIMS


def test_another_program_verifies_it_too() -> None:
    token = TOKENS.sign(CLAIMS, NOW)
    options: Any = {"verify_exp": False, "verify_iat": False}
    read = jwt.decode(token, key_bytes(KEY), ["HS256"], audience="tldr-highlight-api", options=options)
    assert read == PAYLOAD
    assert jwt.get_unverified_header(token) == HEADER


def test_times_are_whole_seconds_of_utc() -> None:
    east = timezone(timedelta(hours=9))
    start = NOW.astimezone(east) + timedelta(milliseconds=700)
    read = TOKENS.read(TOKENS.sign(AccessClaims("u", "s", None, "r", start, start + HALF_HOUR), start), start)
    assert (read.issued_at, read.expires_at) == (NOW, NOW + HALF_HOUR)
    assert read.issued_at.tzinfo is UTC


def test_it_ends_on_the_second() -> None:
    token = TOKENS.sign(CLAIMS, NOW)
    end = NOW + HALF_HOUR
    assert TOKENS.read(token, end - timedelta(microseconds=1)) == CLAIMS
    with pytest.raises(TokenExpiredError, match="refresh"):
        TOKENS.read(token, end)


def test_clocks_may_be_five_seconds_apart() -> None:
    token = TOKENS.sign(CLAIMS, NOW)
    assert TOKENS.read(token, NOW - timedelta(seconds=5)) == CLAIMS
    with pytest.raises(TokenError):
        TOKENS.read(token, NOW - timedelta(seconds=5.001))


def test_keys_rotate() -> None:
    old, both, new = Tokens([KEY]), Tokens([OTHER, KEY]), Tokens([OTHER])
    assert both.read(old.sign(CLAIMS, NOW), NOW) == CLAIMS
    assert new.read(both.sign(CLAIMS, NOW), NOW) == CLAIMS
    with pytest.raises(TokenError):
        new.read(old.sign(CLAIMS, NOW), NOW)


def test_a_token_does_not_show_its_key() -> None:
    assert KEY[:8] not in TOKENS.sign(CLAIMS, NOW)
    assert KEY[:8] not in repr(TOKENS)


@pytest.mark.parametrize("error", [TokenError, TokenExpiredError])
def test_refusals_answer_401(error: type[TokenError]) -> None:
    assert issubclass(error, AuthError)
    assert (error.status, error.exit_code) == (401, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": ""},
        {"user_id": "a b"},
        {"user_id": "a\n"},
        {"role": "x" * 65},
        {"organization_id": ""},
        {"issued_at": NOW + timedelta(minutes=1)},
        {"expires_at": NOW},
    ],
)
def test_what_would_be_refused_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not signed|validation error"):
        TOKENS.sign(AccessClaims(**{**vars(CLAIMS), **change}), NOW)


def test_short_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(["c2VjcmV0"])


# --- what is not (A4) ----------------------------------------------------------------------------------

PRIVATE = rsa.generate_private_key(65537, 2048)
PUBLIC = PRIVATE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
GOOD = forged()
HEAD, BODY, SIGNATURE = GOOD.split(".")
DEEP = b"[" * 1400 + b"]" * 1400

HOSTILE: dict[str, str] = {
    # no token
    "empty": "",
    "dots": "..",
    "one part": HEAD,
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{SIGNATURE}",
    "five parts, encrypted": f"{HEAD}.{BODY}.{SIGNATURE}.{BODY}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "no payload": f"{HEAD}..{SIGNATURE}",
    "no header": f".{BODY}.{SIGNATURE}",
    "unicode": "é" * 100,
    "unicode digits": GOOD.replace("1", "١"),
    "lone surrogate": f"{HEAD}.\ud800.{SIGNATURE}",
    "null": GOOD + "\0",
    "space": " " + GOOD,
    "line end": GOOD + "\n",
    "scheme": "Bearer " + GOOD,
    "padded": GOOD + "=",
    "padded twice": GOOD + "==",
    "plain base64": f"{HEAD}.{BODY}.{SIGNATURE[:-2]}+/",
    "json": json.dumps(PAYLOAD),
    "json serialization": json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}),
    "ten megabytes": "a" * 10_000_000,
    "ten megabytes of dots": "." * 10_000_000,
    "huge and signed": forged(payload=PAYLOAD | {"sub": "x" * 10_000_000}),
    "just too large": forged(payload=text(PAYLOAD) + b" " * LARGEST),
    # the header
    "none": f"{b64(text(HEADER | {'alg': 'none'}))}.{BODY}.",
    "None": f"{b64(text(HEADER | {'alg': 'None'}))}.{BODY}.{SIGNATURE}",
    "alg none, rightly signed": forged(HEADER | {"alg": "none"}),
    "no alg": forged({"kid": KID, "typ": "at+jwt"}),
    "alg in lower case": forged(HEADER | {"alg": "hs256"}),
    "alg a list": forged(HEADER | {"alg": ["HS256"]}),
    "alg null": forged(HEADER | {"alg": None}),
    "HS512": jwt.encode(PAYLOAD, key_bytes(KEY) * 2, "HS512", HEADER | {"alg": "HS512"}),
    "RS256": jwt.encode(PAYLOAD, PRIVATE, "RS256", HEADER | {"alg": "RS256"}),
    "RS256, said to be HS256": forged(key=PUBLIC),
    "no kid": forged({"alg": "HS256", "typ": "at+jwt"}),
    "unknown kid": forged(HEADER | {"kid": "0" * 16}),
    "kid a path": forged(HEADER | {"kid": "../../dev/null"}),
    "kid a list": forged(HEADER | {"kid": [KID]}),
    "kid twice": forged(f'{{"alg":"HS256","kid":"x","kid":"{KID}","typ":"at+jwt"}}'.encode()),
    "alg twice": forged(f'{{"alg":"none","alg":"HS256","kid":"{KID}","typ":"at+jwt"}}'.encode()),
    "another typ": forged(HEADER | {"typ": "JWT"}),
    "no typ": forged({"alg": "HS256", "kid": KID}),
    "crit": forged(HEADER | {"crit": ["exp"]}),
    "b64 false": forged(HEADER | {"b64": False, "crit": ["b64"]}),
    "jwk": forged(HEADER | {"jwk": {"kty": "oct", "k": b64(b"x" * 32)}}, key=b"x" * 32),
    "jku": forged(HEADER | {"jku": "http://127.0.0.1/keys"}),
    "header a list": forged([HEADER]),
    "header deep": forged(DEEP),
    "header no utf-8": forged(b"\xff\xfe"),
    # the signature
    "another key": forged(key=b"x" * 32),
    "no key": forged(key=b"\0"),
    "signature of another": f"{HEAD}.{b64(text(PAYLOAD | {'sub': 'usr_2'}))}.{SIGNATURE}",
    "signature too short": GOOD[:-1],
    "signature too long": GOOD + "A",
    # the payload, rightly signed
    "payload a list": forged(payload=[PAYLOAD]),
    "payload text": forged(payload="usr_1"),
    "payload null": forged(payload=None),
    "payload a number": forged(payload=7),
    "payload empty": forged(payload={}),
    "payload no json": forged(payload=b"{"),
    "payload no utf-8": forged(payload=b'{"sub":"\xff"}'),
    "payload utf-16": forged(payload=json.dumps(PAYLOAD).encode("utf-16")),
    "payload with a mark": forged(payload=b"\xef\xbb\xbf" + text(PAYLOAD)),
    "payload deep": forged(payload=DEEP),
    "payload and more": forged(payload=text(PAYLOAD) + b"{}"),
    "exp twice": forged(payload=text(PAYLOAD)[:-1] + f',"exp":{THEN + 9999}}}'.encode()),
    "sub twice": forged(payload=b'{"sub":"usr_2",' + text(PAYLOAD)[1:]),
    "a name twice inside": forged(payload=text(PAYLOAD)[:-1] + b',"x":{"a":1,"a":2}}'),
    "an unknown name": forged(payload=PAYLOAD | {"admin": True}),
    "nbf": forged(payload=PAYLOAD | {"nbf": THEN}),
}  # fmt: skip

WRONG: dict[str, list[object]] = {
    "iss": ["", "tldr-highlight ", "TLDR-HIGHLIGHT", "https://evil.example", ["tldr-highlight"], None, 1],
    "aud": ["", "tldr-highlight", ["tldr-highlight-api"], ["tldr-highlight-api", "x"], {}, None, 1],
    "sub": ["", " ", "a b", "usr_1\n", "usr_é", "x" * 65, "../..", 1, 1.5, True, None, ["usr_1"], {"a": 1}],
    "sid": ["", "ses 1", "ses_1\0", 0, False, None, [], {}],
    "org": ["", "org 1", 1, False, [], {}, ["org_1"]],
    "role": ["", "admin owner", 1, True, None, ["admin"], {"admin": 1}],
    "iat": [
        str(THEN), float(THEN), THEN + 0.5, THEN + 6, THEN + 10**6, THEN + 1800, 10**11, -1, 2**63, 10**400,
        2**64, True, False, None, [THEN], {}, "", "now", float("nan"), float("inf"), "2026-03-01T12:00:00Z",
    ],
    "exp": [
        str(THEN + 1800), float(THEN + 1800), THEN + 1800.5, -1, -(10**400), 253_402_300_800, 2**63, 10**400,
        2**64, True, False, None, [THEN + 1800], {}, "", "never", float("nan"), float("inf"), -float("inf"),
        1e300,
    ],
}  # fmt: skip

HOSTILE |= {f"without {name}": forged(payload=without(name)) for name in PAYLOAD}
HOSTILE |= {
    f"{name} = {str(value)[:30]!r} ({type(value).__name__})": forged(payload=PAYLOAD | {name: value})
    for name, values in WRONG.items()
    for value in values
}


@pytest.mark.parametrize(
    "token", HOSTILE.values(), ids=[k.encode("ascii", "replace").decode() for k in HOSTILE]
)
def test_hostile_tokens_are_refused(token: str) -> None:
    refused(token)


def test_only_a_right_signature_tells_that_it_is_over() -> None:
    over = PAYLOAD | {"iat": THEN - 3600, "exp": THEN - 1800}
    with pytest.raises(TokenExpiredError):
        TOKENS.read(forged(payload=over), NOW)
    refused(forged(payload=over, key=b"x" * 32))
    refused(forged(payload=over | {"sub": 1}))
    refused(forged(payload=over | {"exp": THEN - 3600}))  # over before it began


def test_every_flipped_bit_is_noticed() -> None:
    for place in range(len(GOOD)):
        for bit in range(7):
            wrong = bytearray(GOOD.encode())
            wrong[place] ^= 1 << bit
            refused(wrong.decode("ascii"))


def test_every_other_letter_at_the_end_is_noticed() -> None:
    """The last of 43 letters carries 4 bits of the signature and 2 of nothing: one spelling is right."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = []
    for letter in letters:
        try:
            TOKENS.read(GOOD[:-1] + letter, NOW)
            accepted.append(letter)
        except TokenError:
            pass
    assert accepted == [GOOD[-1]]


MUTATIONS: list[Callable[[random.Random, str], str]] = [
    lambda r, t: t[: (i := r.randrange(len(t)))] + t[i + 1 :],
    lambda r, t: t[: (i := r.randrange(len(t)))] + r.choice("._-=+/ \n\0é\U0001f98aA") + t[i:],
    lambda r, t: t[: r.randrange(len(t))],
    lambda r, t: t[r.randrange(1, len(t)) :],
    lambda r, t: t[: (i := r.randrange(len(t)))] + t[r.randrange(len(t)) :][:9] + t[i + 9 :],
    lambda r, t: ".".join(r.sample(t.split("."), 3)),
]


@pytest.mark.parametrize("seed", range(3))
def test_mutated_tokens_are_refused(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1000):
        token = GOOD
        for _ in range(chance.randint(1, 3)):
            token = chance.choice(MUTATIONS)(chance, token) or "."
            if token.count(".") != 2 or len(token) < 20:
                break
        if token != GOOD:
            refused(token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(st.characters(), max_size=300))
def test_any_text_is_refused(token: str) -> None:
    refused(token)
    refused(f"{HEAD}.{token}.{SIGNATURE}")


@given(JSON)
def test_any_signed_json_is_refused(payload: object) -> None:
    refused(forged(payload=payload))


@given(st.binary(max_size=300))
def test_any_signed_bytes_are_refused(payload: bytes) -> None:
    refused(forged(payload=payload))


@given(st.sampled_from(sorted(PAYLOAD)), JSON)
def test_any_other_value_is_refused_or_read_as_it_is(name: str, value: object) -> None:
    """A claim with any JSON in its place never gives another exception, and never claims of another type."""
    try:
        claims = TOKENS.read(forged(payload=PAYLOAD | {name: value}), NOW)
    except TokenError:
        return
    assert isinstance(claims.user_id, str)
    assert isinstance(claims.organization_id, str | None)
    assert claims.issued_at <= NOW + timedelta(seconds=5) < claims.expires_at + timedelta(seconds=5)


@given(JSON)
def test_any_header_but_ours_is_refused(header: object) -> None:
    refused(forged(header))
    if isinstance(header, dict) and header:
        refused(forged(HEADER | header))
