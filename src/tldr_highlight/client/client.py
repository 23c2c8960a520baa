"""The client: one server, one caller."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tldr_highlight.client.auth import Auth
from tldr_highlight.client.calls import Calls
from tldr_highlight.client.clip_jobs import ClipJobs
from tldr_highlight.client.events import Events
from tldr_highlight.client.highlights import DimensionSets, Highlights, HighlightTypes, Reels
from tldr_highlight.client.keys import Keys
from tldr_highlight.client.logins import Login
from tldr_highlight.client.organization import OrganizationCalls
from tldr_highlight.client.shapes import Me, Tokens
from tldr_highlight.client.streams import Batches, Streams
from tldr_highlight.client.transport import Header, Transport
from tldr_highlight.client.uploads import Uploads
from tldr_highlight.client.webhooks import Webhooks

TIMEOUT = 30.0
"""Seconds that a server may be silent."""

RETRIES = 3


class Client:
    """Calls the API of one server with a key, with a login, or as nobody.

    Safe to use from several threads. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        token: str | None = None,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
    ) -> None:
        """Nothing is sent yet.

        Args:
            base_url: The server's address, without `/api/v1`.
            api_key: Sent as `X-API-Key`.
            token: An access token, sent as it is; `Client.login` gives a client that keeps its own fresh.
            timeout: Seconds that the server may be silent.
            retries: Further tries of a call after a lost connection, 429, 502, 503 and 504, with growing
                pauses; never where that could do something twice.

        Raises:
            ValueError: `base_url` is no address, or the key cannot be one.
        """
        if api_key is not None and token is not None:
            raise ValueError("a key or a token, not both")
        credentials = Header("X-API-Key", _sendable(api_key)) if api_key else Header()
        if token is not None:
            credentials = Header("Authorization", f"Bearer {_sendable(token)}")
        self._open(Transport(base_url, credentials, timeout=timeout, retries=retries))

    @classmethod
    def login(
        cls,
        base_url: str,
        email: str,
        password: str,
        *,
        organization_id: str | None = None,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
    ) -> Self:
        """A client for a person, which exchanges its tokens before they end; the password is not kept.

        Raises:
            Unauthorized: no such account, or another password; nothing tells which.
        """
        nobody = cls(base_url, timeout=timeout, retries=retries)
        try:
            tokens = nobody.auth.login(email, password, organization_id=organization_id)
        except BaseException:
            nobody.close()
            raise
        return nobody._as(tokens)

    def me(self) -> Me:
        """Who is calling, where they act, and what they may do there."""
        return self._calls.one(Me, "GET", "/me")

    def close(self) -> None:
        """Close connections. A login stays; `auth.logout()` ends it."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._transport.base_url!r})"

    def _as(self, tokens: Tokens) -> Self:
        refresh = Auth(Calls(self._transport.with_credentials(Header()))).refresh
        self._open(self._transport.with_credentials(Login(refresh, tokens)))
        return self

    def _open(self, transport: Transport) -> None:
        self._transport = transport
        self._calls = calls = Calls(transport)
        self.auth = Auth(calls)
        self.keys = Keys(calls)
        self.organization = OrganizationCalls(calls)
        self.uploads = Uploads(calls)
        self.streams = Streams(calls)
        self.batches = Batches(calls)
        self.clip_jobs = ClipJobs(calls)
        self.webhooks = Webhooks(calls)
        self.events = Events(calls)
        self.highlights = Highlights(calls)
        self.reels = Reels(calls)
        self.dimension_sets = DimensionSets(calls)
        self.highlight_types = HighlightTypes(calls)


def _sendable(secret: str) -> str:
    """A key without what came with it out of a file. What no header can have is refused here, where nobody
    repeats it."""
    secret = secret.strip()
    if not (secret.isascii() and secret.isprintable()):
        raise ValueError("the key holds characters that no key has")
    return secret
