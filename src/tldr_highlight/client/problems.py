"""What can go wrong between a program and the API, as exceptions.

    Problem                    any answer that is an error: status, code, detail, trace_id, errors
    ├── Invalid                400, 413, 415, 422: the request; `errors` says which fields and why
    ├── Unauthorized           401: no key or token, or one that is not valid
    ├── Forbidden              403: known, and not allowed
    ├── NotFound               404
    ├── Conflict               409: not as things stand
    ├── RateLimited            429: too often; `retry_after` says when again
    ├── Unavailable            502, 503, 504: away for the moment
    └── Unreadable             an answer that is not the API's: another server, another version
    ConnectionProblem          no answer at all
    SignatureProblem           a webhook that is not theirs, or not new (`signatures.py`)

`code` is stable and listed in docs/errors.md; texts are for people. Neither holds keys, tokens or bodies.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

import httpx2


class ClientError(Exception):
    """Base of what the client raises."""


class ConnectionProblem(ClientError):  # noqa: N818 (RFC 9457's word)
    """No answer: nobody there, too slow, or cut off. Whether the call took effect is not known."""


class Problem(ClientError):  # noqa: N818 (RFC 9457's word)
    """An answer that is an error (RFC 9457)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        trace_id: str | None = None,
        errors: tuple[dict[str, Any], ...] = (),
        retry_after: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}" + (f" (trace {trace_id})" if trace_id else ""))
        self.status = status
        self.code = code
        self.detail = detail
        self.trace_id = trace_id
        self.errors = errors
        """Of a 422: each mistake with `loc` (its place), `code` and `message`."""
        self.retry_after = retry_after
        """Seconds after which another try makes sense; None where nobody said."""
        self.extra = extra or {}
        """Further members of the document: `required_scope`, what a plan does not fit …"""


class Invalid(Problem):
    """The request is wrong."""


class Unauthorized(Problem):
    """Nobody they know."""


class Forbidden(Problem):
    """Known, and not allowed."""


class NotFound(Problem):
    """No such object, or somebody else's."""


class Conflict(Problem):
    """Right in itself, but not as things stand."""


class RateLimited(Problem):
    """Too often."""


class Unavailable(Problem):
    """The server, or what it needs, is away for the moment."""


class Unreadable(Problem):
    """Not an answer of this API."""


CLASSES: dict[int, type[Problem]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}

KNOWN = frozenset({"type", "title", "status", "code", "detail", "trace_id", "errors"})


def problem_of(response: httpx2.Response) -> Problem:
    """What an answer of 300 or more says. One that is no problem document comes from a proxy: `http_502`."""
    status = response.status_code
    document = _document(response)
    errors = document.get("errors")
    return CLASSES.get(status, Problem)(
        status,
        str(document.get("code") or f"http_{status}"),
        str(document.get("detail") or document.get("title") or _phrase(response)),
        trace_id=document.get("trace_id") or response.headers.get("x-trace-id"),
        errors=tuple(cast("list[dict[str, Any]]", errors)) if isinstance(errors, list) else (),
        retry_after=retry_after(response),
        extra={name: value for name, value in document.items() if name not in KNOWN},
    )


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds to wait before the next try; the API gives no dates."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _document(response: httpx2.Response) -> dict[str, Any]:
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        document: object = response.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def _phrase(response: httpx2.Response) -> str:
    if response.is_redirect:
        return "this address redirects elsewhere, and the client does not follow: use the other one"
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return "an unknown status"
