"""What crosses HTTP about who is calling."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Name, Schema


class KeyCreate(Schema):
    """A key to make."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=50)] | None = Field(
        None, description="What it may do; the plan's default where nothing is said."
    )
    expires_at: AwareDatetime | None = None


class KeyOut(Schema):
    """A key, without what it is."""

    id: str
    name: str
    last4: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyCreated(KeyOut):
    """A key, the one time that it is shown."""

    key: str
