"""Problem details (RFC 9457): what every error looks like over HTTP."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response

from tldr_highlight.errors import TldrError


def problem(request: Request, error: TldrError) -> Response:
    """An error as a response."""
    document: dict[str, Any] = {
        "type": f"about:blank#{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": str(error),
        **error.extra,
    }
    headers = dict(getattr(request.state, "headers", {}))  # of limits
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    body = json.dumps(document, ensure_ascii=False).encode()
    return Response(body, error.status, headers, media_type="application/problem+json")
