"""Problem details (RFC 9457): what every error looks like over HTTP."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response

from tldr_highlight.accounts.schemas import MAILED_PATTERN
from tldr_highlight.core.shapes import CURSOR_PATTERN, ID_PATTERN, NAME_PATTERN
from tldr_highlight.core.telemetry import current_trace, trace_id
from tldr_highlight.errors import InvalidError, TldrError
from tldr_highlight.highlights.schemas import SET_PATTERN
from tldr_highlight.streams.following import PROGRESS_ID
from tldr_highlight.streams.schemas import WORD_PATTERN
from tldr_highlight.webhooks.events import PATTERN as EVENT_PATTERN
from tldr_highlight.webhooks.schedules import SCHEDULE_PATTERN

MEDIA_TYPE = "application/problem+json"

TYPES = "/docs/errors#"
"""What `type` begins with: the page that explains each code, on this server."""

MOST_ERRORS = 50
"""Mistakes that are listed of one request."""

LONGEST_NAME = 64
"""Characters of a field's name that are repeated: unknown ones are the caller's own words."""


PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""RFC 9110's, where Python 3.11 and 3.12 have those of before."""


def phrase(status: int) -> str:
    """A status in words."""
    return PHRASES.get(status) or HTTPStatus(status).phrase


def document(error: TldrError) -> dict[str, Any]:
    """An error as a problem document."""
    trace = current_trace()
    return {
        "type": TYPES + error.code,
        "title": phrase(error.status),
        "status": error.status,
        "code": error.code,
        "detail": error.told,
        **error.extra,
        "trace_id": None if trace is None else trace_id(trace),
    }


def encoded(error: TldrError) -> bytes:
    """The document's bytes."""
    return json.dumps(document(error), ensure_ascii=False, default=str).encode(errors="replace")


def plain(error: TldrError) -> bytes:
    """An error as the clip service's clients know it."""
    return json.dumps({"success": False, "error": error.told}, ensure_ascii=False).encode(errors="replace")


def plain_status(status: int) -> int:
    """The clip service has 400 for all that is asked wrongly."""
    return 400 if status == 422 else status


def headers(error: TldrError) -> dict[str, str]:
    """Headers that go with an error."""
    found: dict[str, str] = {}
    if error.retry_after is not None:
        found["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.status == 401:
        found["WWW-Authenticate"] = "Bearer"
    return found


def problem(request: Request, error: TldrError) -> Response:
    """An error as a response; of the compatible calls, as their clients know it."""
    if getattr(request.state, "compatible", False):
        return Response(
            plain(error), plain_status(error.status), headers(error), media_type="application/json"
        )
    return Response(encoded(error), error.status, headers(error), media_type=MEDIA_TYPE)


FORMS: Mapping[str, str] = {
    ID_PATTERN: "is no id: take those that our answers have, as they are",
    NAME_PATTERN: "has to be one line, without control characters",
    CURSOR_PATTERN: "is no cursor: take the `next_cursor` of the page before",
    MAILED_PATTERN: "is no token out of one of our mails: copy it whole",
    SET_PATTERN: "is no id, and not the name of one of ours: take those that our answers have",
    WORD_PATTERN: "is one word of small letters, such as youtube",
    PROGRESS_ID: "is no id of an event of progress: take what the last one had",
    SCHEDULE_PATTERN: "is no schedule: write `short`, `standard`, or seconds with commas: 5,60,600",
    EVENT_PATTERN: "is no type of event and no pattern: write stream.completed, stream.* or *",
}
"""Pattern of a field -> what to say where it does not match, for people who do not read patterns."""


def words(error: Mapping[str, Any]) -> str:
    """What one of Pydantic's errors means, to follow the name of its field."""
    if error["type"] == "string_pattern_mismatch":
        return FORMS[error["ctx"]["pattern"]]
    return error["msg"].removeprefix("Value error, ")  # what we raise, introduced by Pydantic


def invalid(errors: Sequence[Mapping[str, Any]]) -> InvalidError:
    """What Pydantic found, without the input it found it in: that may be a password."""
    listed = [
        {"loc": [_name(part) for part in error["loc"]], "code": error["type"], "message": words(error)}
        for error in errors[:MOST_ERRORS]
    ]
    where = ".".join(str(part) for part in listed[0]["loc"])
    return InvalidError(f"{where}: {listed[0]['message']}", errors=listed)


def _name(part: str | int) -> str | int:
    return part if isinstance(part, int) else part[:LONGEST_NAME]
