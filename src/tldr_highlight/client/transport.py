"""Calls: sent, tried again where that is safe, and answered or raised."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import random
import re
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import httpx2

from tldr_highlight.client.problems import ConnectionProblem, Problem, Unreadable, problem_of, retry_after

FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0
"""Seconds before the first retry, doubled for each one after; a random half to all of it is waited, so that
programs which failed together do not come back together."""

PATIENCE = 60.0
"""Seconds that a server may ask us to wait; more is the caller's decision. Limits are per minute."""

LEADS = 307
"""The answer is a file, which is elsewhere."""

AWAY = frozenset({502, 503, 504})
"""The call may or may not have taken effect."""

SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""Methods that may be sent twice (RFC 9110, 9.2.2)."""


class Credentials(Protocol):
    """Who is calling."""

    def headers(self) -> dict[str, str]:
        """What to send with the next call."""
        ...

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Whether there is something better to send than what was refused with 401."""
        ...


class Header:
    """A key, or a token: the same one always."""

    def __init__(self, name: str = "", value: str = "") -> None:
        self._headers = {name: value} if value else {}

    def headers(self) -> dict[str, str]:
        """What to send."""
        return self._headers

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Nothing better."""
        return False


class Transport:
    """One server. Safe to use from several threads."""

    def __init__(self, base_url: str, credentials: Credentials, *, timeout: float, retries: int) -> None:
        self.base_url = _checked(base_url)
        self.credentials = credentials
        self.retries = retries
        self._http = httpx2.Client(
            base_url=self.base_url,
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 5.0)),
            headers={"Accept": "application/json", "User-Agent": f"tldr-highlight-client/{_version()}"},
        )

    def with_credentials(self, credentials: Credentials) -> Self:
        """The same server and connections, for another caller."""
        other = copy.copy(self)
        other.credentials = credentials
        return other

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        creates: bool = False,
        once: bool = False,
        raw: bool = False,
        headers: Mapping[str, str] | None = None,
        leads: bool = False,
    ) -> Any:
        """Call an operation: its parsed answer, None where there is none.

        Args:
            method: Of HTTP.
            path: Below `/api/v1`.
            body: Sent as JSON.
            query: Parameters; those that are None are left out.
            creates: Send an `Idempotency-Key`, the same with every try, so that all tries create one object.
            once: Never send it again once it may have arrived, whatever the method.
            raw: The answer is a file: its bytes, whatever they are.
            headers: Further ones.
            leads: It leads to a file: the address.

        Raises:
            Problem: the answer is an error.
            ConnectionProblem: no answer.
        """
        headers = {**(headers or {}), **({"Idempotency-Key": str(uuid.uuid4())} if creates else {})}
        repeatable = not once and (creates or method in SAFE)
        request = _Request(method, f"/api/v1{path}", body, _stripped(query), headers)
        response = self._settled(request, repeatable=repeatable, leads=leads)
        if response is None:
            return None
        if leads:
            return str(response.url.join(response.headers["location"]))
        return response.content if raw else _parsed(response)

    def send(self, path: str, body: Iterator[bytes], headers: Mapping[str, str]) -> None:
        """Send a file's bytes, once, by PATCH: who goes on after a failure asks first from where.

        Raises:
            Problem: the answer is an error.
            ConnectionProblem: no answer.
        """
        request = _Request("PATCH", f"/api/v1{path}", None, {}, headers)
        try:
            response = self._http.request(
                request.method, request.path, content=body, headers={**headers, **self.credentials.headers()}
            )
        except httpx2.TransportError as error:
            raise ConnectionProblem(_words(request, error)) from error
        if not response.is_success:
            raise problem_of(response)

    @contextlib.contextmanager
    def stream(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Generator[Iterator[bytes]]:
        """The body of an answer, as it comes.

        Raises:
            Problem: the answer is an error.
            ConnectionProblem: no answer, or none any more.
        """
        request = _Request("GET", f"/api/v1{path}", None, _stripped(query), headers)
        try:
            with self._answering(request) as response:
                if not response.is_success:
                    response.read()
                    raise problem_of(response)
                yield response.iter_bytes()
        except httpx2.TransportError as error:
            raise ConnectionProblem(_words(request, error)) from error

    @contextlib.contextmanager
    def _answering(self, request: _Request) -> Generator[httpx2.Response]:
        sent = self.credentials.headers()
        with self._asked(request, sent) as response:
            if response.status_code != 401 or not self.credentials.renew(sent):
                yield response
                return
        with self._asked(request, self.credentials.headers()) as response:
            yield response

    def _asked(
        self, request: _Request, credentials: Mapping[str, str]
    ) -> contextlib.AbstractContextManager[httpx2.Response]:
        headers = {**request.headers, **credentials, "Accept": "text/event-stream"}
        return self._http.stream("GET", request.path, params=request.query, headers=headers)

    def save(self, url: str, file: Path) -> None:
        """Copy what an address opens into a file, which is there whole or not at all. Without credentials.

        Raises:
            Problem: the answer is an error, or another file than was stored (`object_damaged`).
            ConnectionProblem: none, or not all of it.
        """
        draft = file.with_name(f".{file.name}.part")
        try:
            with self._http.stream("GET", url) as response:
                if not response.is_success:
                    response.read()
                    raise problem_of(response)
                got = hashlib.sha256()
                with draft.open("wb") as out:
                    for data in response.iter_bytes():
                        out.write(data)
                        got.update(data)
            if got.hexdigest() != (_hash_of(response) or got.hexdigest()):
                text = "the file is not what was stored: its hash does not fit"
                raise Problem(response.status_code, "object_damaged", text)
            draft.replace(file)
        except httpx2.TransportError as error:
            raise ConnectionProblem(f"the file did not come whole ({type(error).__name__})") from error
        finally:
            draft.unlink(missing_ok=True)

    def _settled(self, request: _Request, *, repeatable: bool, leads: bool) -> httpx2.Response | None:
        unsure = False  # whether an earlier try may have taken effect
        wait = FIRST_WAIT
        for left in range(self.retries, -1, -1):
            pause = wait * random.uniform(0.5, 1)  # noqa: S311
            try:
                sent = self.credentials.headers()
                response = self._send(request, sent)
                if response.status_code == 401 and self.credentials.renew(sent):
                    response = self._send(request, self.credentials.headers())
            except httpx2.TransportError as error:
                arrived = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
                if not left or (arrived and not repeatable):
                    raise ConnectionProblem(_words(request, error)) from error
                unsure |= arrived
            else:
                if response.is_success or (leads and response.status_code == LEADS):
                    return response
                if unsure and request.method == "DELETE" and response.status_code == 404:
                    return None  # the try before did it
                asked = retry_after(response) or 0.0
                if not left or not _passes(response, repeatable=repeatable) or asked > PATIENCE:
                    raise problem_of(response)
                unsure |= response.status_code in AWAY
                pause = max(pause, asked)
            time.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT)
        raise AssertionError("the last try returns or raises")

    def _send(self, request: _Request, credentials: Mapping[str, str]) -> httpx2.Response:
        return self._http.request(
            request.method,
            request.path,
            json=request.body,
            params=request.query,
            headers={**request.headers, **credentials},
        )


@dataclass(frozen=True)
class _Request:
    """What is sent with every try."""

    method: str
    path: str
    body: object
    query: Mapping[str, Any]
    headers: Mapping[str, str]


def _passes(response: httpx2.Response, *, repeatable: bool) -> bool:
    """Whether the same call may go well later."""
    code = problem_of(response).code
    if response.status_code == 429 or code == "busy":
        return True  # it was turned away at the door
    if code == "idempotency_in_progress":
        return True  # our own try before is still at it
    return repeatable and response.status_code in AWAY


def _parsed(response: httpx2.Response) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        text = "this is not JSON; is that the API's address?"
        raise Unreadable(response.status_code, "answer_unreadable", text) from error


def _stripped(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _hash_of(response: httpx2.Response) -> str | None:
    """SHA-256 of a stored file, if its server says so: ours as ETag, buckets in what we keep beside it."""
    said = response.headers.get("x-amz-meta-sha256") or response.headers.get("etag", "").strip('"')
    return said if re.fullmatch(r"[0-9a-f]{64}", said) else None


def _words(request: _Request, error: httpx2.TransportError) -> str:
    # the path alone: queries may hold tokens
    kind = "took too long" if isinstance(error, httpx2.TimeoutException) else "could not be reached"
    told = "" if isinstance(error, httpx2.LocalProtocolError) else str(error)  # that repeats headers
    return f"{request.method} {request.path}: the server {kind} ({told or type(error).__name__})"


def _checked(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url is the server's address: https://highlights.example.com")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("base_url is an address alone: no user, no query")
    return base_url.rstrip("/").removesuffix("/api/v1")


def _version() -> str:
    try:
        return metadata.version("tldr-highlight")
    except metadata.PackageNotFoundError:  # copied into another program
        return "0"
