"""Access tokens: JWTs as RFC 9068 has them (`at+jwt`), and nothing but those that this installation signed.

PyJWT makes and verifies the signature. What it would let through is refused here: text as `exp`, any `kid`,
another type of token, duplicated names, megabytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import jwt
from jwt.api_jws import PyJWS
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tldr_highlight.core.security import key_bytes
from tldr_highlight.errors import TokenError, TokenExpiredError

LARGEST = 4096
"""Characters of a token that are looked at; ours have about 370."""

LEEWAY = timedelta(seconds=5)
"""How far the clocks of two of our machines may be apart. An end has none: it is said by who ends it."""

_ALGORITHM = "HS256"
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")
_LAST_SECOND = 253_402_300_799  # of the year 9999, where datetime ends


@dataclass(frozen=True)
class AccessClaims:
    """Who is calling, since when and until when. Times are UTC, whole seconds once they were in a token."""

    user_id: str
    session_id: str
    organization_id: str | None
    role: str
    issued_at: datetime
    expires_at: datetime


_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_Seconds = Annotated[int, Field(ge=0, le=_LAST_SECOND)]


class _Payload(BaseModel):
    """What is signed: these names, all of them, no others."""

    # strict: no text, float or bool in place of a number
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    iss: Literal["tldr-highlight"]
    aud: Literal["tldr-highlight-api"]
    sub: _Id
    sid: _Id
    org: _Id | None
    role: _Id
    iat: _Seconds
    exp: _Seconds


class Tokens:
    """Signs and reads access tokens."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys` as `core.security.new_key` makes them: the first signs, all verify."""
        self._jws = PyJWS(algorithms=[_ALGORITHM])
        # A header of ours has no freedom: algorithm, type and key name are known. So a token's header is
        # compared, not read, and nothing in it can choose an algorithm, a key or an extension.
        self._by_header = {self._sign(b"", k).partition(".")[0]: k for k in map(_Key, keys)}
        self._first = _Key(keys[0])

    def sign(self, claims: AccessClaims, now: datetime) -> str:
        """A token that `read` takes from `now` until the claims expire.

        Raises:
            ValueError: claims that `read` would refuse.
        """
        if not claims.issued_at - LEEWAY <= now < claims.expires_at:
            raise ValueError("claims that are over, or begin in the future, are not signed")
        payload = _Payload(
            iss="tldr-highlight",
            aud="tldr-highlight-api",
            sub=claims.user_id,
            sid=claims.session_id,
            org=claims.organization_id,
            role=claims.role,
            iat=int(claims.issued_at.timestamp()),
            exp=int(claims.expires_at.timestamp()),
        )
        return self._sign(payload.model_dump_json().encode(), self._first)

    def read(self, token: str, now: datetime) -> AccessClaims:
        """Who the token is for.

        Raises:
            TokenExpiredError: it was good until a while ago.
            TokenError: it is anything else than what `sign` made with one of the keys.
        """
        payload = self._verified(token)
        claims = AccessClaims(
            user_id=payload.sub,
            session_id=payload.sid,
            organization_id=payload.org,
            role=payload.role,
            issued_at=datetime.fromtimestamp(payload.iat, UTC),
            expires_at=datetime.fromtimestamp(payload.exp, UTC),
        )
        if claims.issued_at > now + LEEWAY or claims.expires_at <= claims.issued_at:
            raise _refused()
        if claims.expires_at <= now:
            raise TokenExpiredError("the access token has expired: refresh it, or log in again")
        return claims

    def _verified(self, token: str) -> _Payload:
        """The payload of a token whose signature is right."""
        shape = _SHAPE.fullmatch(token) if len(token) <= LARGEST else None
        key = self._by_header.get(shape[1]) if shape else None
        if key is None:
            raise _refused()
        try:
            signed: bytes = self._jws.decode(token, key.jwk, algorithms=[_ALGORITHM])
            text = signed.decode("utf-8")  # given bytes, json would take UTF-16 as well
            return _Payload.model_validate(json.loads(text, object_pairs_hook=_unique))
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _refused() from error

    def _sign(self, payload: bytes, key: _Key) -> str:
        return self._jws.encode(payload, key.jwk, headers={"typ": "at+jwt", "kid": key.name})


class _Key:
    """A key as PyJWT takes it, and its public name: of a hash, which tells nothing of 256 bits of chance."""

    def __init__(self, key: str) -> None:
        raw = key_bytes(key)
        self.name = hashlib.sha256(b"kid:" + raw).hexdigest()[:16]
        k = base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
        self.jwk = jwt.PyJWK({"kty": "oct", "k": k, "alg": _ALGORITHM})


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose names all differ: two readers may take different ones of two."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _refused() -> TokenError:
    """One message whatever is wrong: who probes learns nothing."""
    return TokenError("the access token is not valid: log in again")
