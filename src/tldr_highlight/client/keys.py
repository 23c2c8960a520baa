"""Keys of the organization."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from tldr_highlight.client.calls import Calls, at, given
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.shapes import CreatedKey, Key


class Keys:
    """Programs' ways in."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self, *, limit: int | None = None) -> Pages[Key]:
        """All keys, newest first, revoked ones included."""
        return self._calls.pages(Key, "/keys", limit)

    def get(self, key_id: str) -> Key:
        """One key."""
        return self._calls.one(Key, "GET", at("keys", key_id))

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] | None = None,
        expires_at: datetime | None = None,
        networks: Sequence[str] | None = None,
        requests_per_minute: int | None = None,
    ) -> CreatedKey:
        """Make a key. Its `key` is shown this one time.

        Args:
            name: For people.
            scopes: What it may do; the plan's default where nothing is said.
            expires_at: With a time zone.
            networks: Addresses it may come from: `192.0.2.0/24`.
            requests_per_minute: Its own limit, below the plan's.
        """
        body = given(
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            networks=networks,
            requests_per_minute=requests_per_minute,
        )
        return self._calls.one(CreatedKey, "POST", "/keys", body, creates=True)

    def update(
        self,
        key_id: str,
        *,
        name: str | None = None,
        networks: Sequence[str] | None = None,
        requests_per_minute: int | Literal["plan"] | None = None,
    ) -> Key:
        """Change a key; what is not given stays.

        Args:
            key_id: Which.
            name: For people.
            networks: Addresses it may come from; `[]`: any.
            requests_per_minute: Its own limit; `"plan"`: the plan's.
        """
        body = given(name=name, networks=networks, requests_per_minute=requests_per_minute)
        if requests_per_minute == "plan":
            body["requests_per_minute"] = None
        return self._calls.one(Key, "PATCH", at("keys", key_id), body)

    def rotate(self, key_id: str, *, overlap_seconds: int | None = None) -> CreatedKey:
        """Make the key that follows; the old one works for `overlap_seconds` more (a day, if not said)."""
        body = given(overlap_seconds=overlap_seconds)
        return self._calls.one(CreatedKey, "POST", at("keys", key_id, "rotate"), body, creates=True)

    def revoke(self, key_id: str) -> None:
        """End a key, within a second. Ending it again changes nothing."""
        self._calls.do("DELETE", at("keys", key_id))
