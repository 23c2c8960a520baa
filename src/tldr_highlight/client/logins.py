"""Logins that stay fresh."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from tldr_highlight.client.problems import ConnectionProblem, Unavailable
from tldr_highlight.client.shapes import Tokens

EARLY = 60.0
"""Seconds before its end that an access token is exchanged; of 1800. Calls may be slow."""


class Login:
    """Credentials of a person: an access token that is exchanged before it ends, by one thread at a time."""

    def __init__(self, refresh: Callable[[str], Tokens], tokens: Tokens) -> None:
        self._refresh = refresh
        self._lock = threading.Lock()
        self._take(tokens)

    @property
    def refresh_token(self) -> str:
        """The one that is next. Whoever uses it elsewhere ends this login."""
        with self._lock:
            return self._tokens.refresh_token

    def headers(self) -> dict[str, str]:
        """What to send, exchanged first where it is about to end."""
        with self._lock:
            left = self._ends_at - time.monotonic()
            if left < EARLY:
                self._exchange_while(left)
            return self._headers()

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Exchange what was refused, unless another thread was quicker."""
        with self._lock:
            if refused == self._headers():
                self._take(self._refresh(self._tokens.refresh_token))
            return True

    def _exchange_while(self, left: float) -> None:
        try:
            self._take(self._refresh(self._tokens.refresh_token))
        except (ConnectionProblem, Unavailable):
            if left <= 0:
                raise  # else the old one still does

    def _take(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._ends_at = time.monotonic() + tokens.expires_in

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens.access_token}"}
