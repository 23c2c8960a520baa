"""Scopes, and which of them a role has. A key has what it was given; a person has their role's."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Literal, cast


class Scope(StrEnum):
    """What an operation needs."""

    STREAMS_READ = "streams:read"
    STREAMS_WRITE = "streams:write"
    STREAMS_DELETE = "streams:delete"
    HIGHLIGHTS_READ = "highlights:read"
    HIGHLIGHTS_WRITE = "highlights:write"
    HIGHLIGHTS_DELETE = "highlights:delete"
    CLIPS_READ = "clips:read"
    CLIPS_WRITE = "clips:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    WEBHOOKS_DELETE = "webhooks:delete"
    USAGE_READ = "usage:read"
    ORGANIZATIONS_READ = "organizations:read"
    ORGANIZATIONS_WRITE = "organizations:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"


RoleWord = Literal["owner", "admin", "member", "viewer"]


class Role(IntEnum):
    """What a person is in an organization; more is more."""

    VIEWER = 1
    MEMBER = 2
    ADMIN = 3
    OWNER = 4

    @property
    def word(self) -> RoleWord:
        """As stored and shown."""
        return cast(RoleWord, self.name.lower())

    @classmethod
    def of(cls, word: str) -> Role:
        """What `word` gives."""
        return cls[word.upper()]


ALL = frozenset(Scope)
READ = frozenset(scope for scope in Scope if scope.endswith(":read"))
WORK = frozenset(s for s in Scope if s.split(":")[0] in {"streams", "highlights", "clips", "webhooks"})

SCOPES: dict[Role, frozenset[Scope]] = {
    Role.VIEWER: READ - {Scope.KEYS_READ},
    Role.MEMBER: READ | WORK,
    Role.ADMIN: ALL,
    Role.OWNER: ALL,
}
"""Role -> scopes of a person's login."""

STARTER_KEY = frozenset({
    Scope.STREAMS_READ, Scope.STREAMS_WRITE, Scope.HIGHLIGHTS_READ, Scope.CLIPS_READ, Scope.CLIPS_WRITE,
    Scope.WEBHOOKS_READ, Scope.USAGE_READ,
})  # fmt: skip
"""Scopes of a key that is made without naming any, on STARTER; the higher plans' have all."""
