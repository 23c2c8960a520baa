"""Keys: at which address."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from tldr_highlight.tenancy import service
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.tenancy.schemas import KeyCreate, KeyCreated, KeyOut
from tldr_highlight.web import Call, Id, Page, PageQuery, Routes

keys = Routes("/api/v1/keys", tag="keys")


@keys.get("", scope=Scope.KEYS_READ)
def list_keys(call: Call, page: Annotated[PageQuery, Query()]) -> Page[KeyOut]:
    """List keys. Newest first; the keys themselves are not shown again."""
    rows, cursor = service.list_keys(call, page)
    return Page(data=[KeyOut.model_validate(row) for row in rows], next_cursor=cursor)


@keys.post("", scope=Scope.KEYS_WRITE, status=201, creates=True)
def create_key(call: Call, body: KeyCreate) -> KeyCreated:
    """Make a key. The answer is the only place where it is shown."""
    key, secret = service.create_key(call, body)
    return KeyCreated(**KeyOut.model_validate(key).model_dump(), key=secret)


@keys.delete("/{key_id}", scope=Scope.KEYS_WRITE, status=204)
def revoke_key(call: Call, key_id: Id) -> None:
    """Revoke a key. It stops working within a second."""
    service.revoke_key(call, key_id)
