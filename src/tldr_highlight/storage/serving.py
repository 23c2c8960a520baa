"""What an HTTP server answers to a request for a stored file: RFC 9110, in one function without a server.

answer = answer_of(stored, "GET", {"range": "bytes=0-1023"})
answer.status, answer.headers                    206, {"Content-Range": "bytes 0-1023/5000", ...}
store.open(stored.key, answer.start, answer.end) what goes after them; nothing where they are equal
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from tldr_highlight.storage.base import Stored
from tldr_highlight.storage.names import disposition, is_shown

_RANGE = re.compile(r"(\d*)-(\d*)", re.ASCII)
_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers, and which bytes follow them: from `start` to before `end`."""

    status: int
    headers: dict[str, str]
    start: int = 0
    end: int = 0


def answer_of(
    stored: Stored, method: str, headers: Mapping[str, str], *, download_name: str | None = None
) -> Answer:
    """The answer to GET or HEAD; `headers` are the request's, names in lower case.

    Several ranges that can be had are answered with the whole, as a server may (RFC 9110, 14.2): players ask
    for one. Files never change without changing their ETag, which is why dates are not sent and not heeded.
    """
    fixed = _headers(stored, download_name)
    if not _matches(stored, headers):
        return Answer(HTTPStatus.PRECONDITION_FAILED, fixed | {"Content-Length": "0"})
    if _is_known(stored, headers):
        return Answer(HTTPStatus.NOT_MODIFIED, fixed)
    ranges = _ranges(stored, headers) if method == "GET" else None  # HEAD has no ranges (14.2)
    if ranges == []:
        unsatisfied = {"Content-Range": f"bytes */{stored.bytes}", "Content-Length": "0"}
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, fixed | unsatisfied)
    if ranges is None or len(ranges) > 1:
        whole = fixed | {"Content-Length": str(stored.bytes)}
        return Answer(HTTPStatus.OK, whole, 0, stored.bytes if method == "GET" else 0)
    start, end = ranges[0]
    part = {"Content-Range": f"bytes {start}-{end - 1}/{stored.bytes}", "Content-Length": str(end - start)}
    return Answer(HTTPStatus.PARTIAL_CONTENT, fixed | part, start, end)


def etag(stored: Stored) -> str:
    """A strong one: equal only for equal bytes."""
    return f'"{stored.sha256}"'


def _headers(stored: Stored, download_name: str | None) -> dict[str, str]:
    about = stored.about
    shown = download_name is None and is_shown(about.content_type)
    return {
        "Content-Type": about.content_type,
        "Content-Disposition": disposition(download_name or about.download_name, inline=shown),
        "Accept-Ranges": "bytes",
        "ETag": etag(stored),
        "Cache-Control": about.cache_control or "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",  # whatever it is, it runs nothing
    }


# --- conditions (RFC 9110, 13) -------------------------------------------------------------------------


def _matches(stored: Stored, headers: Mapping[str, str]) -> bool:
    """If-Match: strong comparison."""
    wanted = headers.get("if-match")
    return wanted is None or wanted.strip() == "*" or ("", etag(stored)) in _tags(wanted)


def _is_known(stored: Stored, headers: Mapping[str, str]) -> bool:
    """If-None-Match: weak comparison."""
    known = headers.get("if-none-match")
    return known is not None and (known.strip() == "*" or etag(stored) in {tag for _, tag in _tags(known)})


def _tags(text: str) -> list[tuple[str, str]]:
    return _TAG.findall(text)


# --- ranges (RFC 9110, 14) -----------------------------------------------------------------------------


def _ranges(stored: Stored, headers: Mapping[str, str]) -> list[tuple[int, int]] | None:
    """The ranges that can be had, ends excluded; None where the whole is to be sent.

    A header that is not understood, or for another version (If-Range), is as none at all; so is any of an
    empty file, of which no range can be named.
    """
    unit, equals, specs = headers.get("range", "").partition("=")
    if not equals or unit.strip().lower() != "bytes" or not stored.bytes:
        return None
    if "if-range" in headers and headers["if-range"].strip() != etag(stored):
        return None
    asked = [s.strip() for s in specs.split(",") if s.strip()]  # empty elements of lists are nothing (5.6.1)
    found = [_range(spec, stored.bytes) for spec in asked]
    if not found or None in found:
        return None
    return [r for r in found if r is not None and r[0] < r[1]]


def _range(spec: str, size: int) -> tuple[int, int] | None:
    """One of them, end excluded; empty where it cannot be had, None where it is no range."""
    found = _RANGE.fullmatch(spec)
    if not found or spec == "-" or len(spec) > 40:  # 40: int() of a million digits takes a second
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size
