"""Highlights: what may happen to them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, exists, func, literal, tuple_
from sqlalchemy import cast as as_type
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute

from tldr_highlight.core.db import UtcTime
from tldr_highlight.core.shapes import ID_PATTERN
from tldr_highlight.errors import ConflictError, InvalidError, RequestError
from tldr_highlight.highlights.files import remove_later
from tldr_highlight.highlights.models import Highlight
from tldr_highlight.highlights.schemas import HighlightPatch, HighlightsFilter, Order
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.tenancy import audit
from tldr_highlight.usage import ledger
from tldr_highlight.usage.quotas import Metric

LINK = timedelta(hours=1)
"""How long an address of a file opens it: a player that pauses for longer asks for another."""

# --- lists ---------------------------------------------------------------------------------------------


def list_highlights(
    act: Act, page: HighlightsFilter, order: Order, *, stream_id: str | None = None
) -> tuple[Sequence[Highlight], str | None]:
    """One page of the organization's highlights that pass the filters, and the cursor of the next.

    Pages are asked for by what the last row says (keyset): what is added or deleted meanwhile shifts nothing.

    Raises:
        InvalidError: an order that takes a stream, without one.
    """
    mine = Highlight.of(act.organization_id)
    query = mine.with_only_columns(Highlight.id).where(*_filters(act, page))
    if order == "score":
        query = query.where(Highlight.score.is_not(None))  # where null comes differs between databases
    if stream_id is not None:
        query = query.where(Highlight.stream_id == stream_id)
    if order == "time" and stream_id is None:
        raise InvalidError("query.order: by time in the stream takes a stream_id")
    columns, falling = _ORDERS[order]
    if page.cursor is not None:
        here, there = tuple_(*columns), tuple_(*_place(page.cursor, columns))
        query = query.where(here < there if falling else here > there)
    ordered = [c.desc() if falling else c for c in columns]
    found = query.order_by(*ordered).limit(page.limit + 1)  # in an index; then these rows, which are large
    rows = act.session.scalars(mine.where(Highlight.id.in_(found)).order_by(*ordered)).all()
    if len(rows) <= page.limit:
        return rows, None
    last = rows[page.limit - 1]
    return rows[: page.limit], _cursor([getattr(last, column.key) for column in columns])


_ORDERS: dict[str, tuple[tuple[InstrumentedAttribute[Any], ...], bool]] = {
    "newest": ((Highlight.created_at, Highlight.id), True),
    "score": ((Highlight.score, Highlight.id), True),
    "time": ((Highlight.start, Highlight.id), False),
}
"""Order -> the columns of its index, and whether they fall. The last one is unique."""


def _filters(act: Act, page: HighlightsFilter) -> list[ColumnElement[bool]]:
    found = [
        condition(value)
        for name, condition in _CONDITIONS.items()
        if (value := getattr(page, name)) is not None
    ]
    found += [_has(act, Highlight.types, page.type)] if page.type is not None else []
    found += [_has(act, Highlight.tags, page.tag)] if page.tag is not None else []
    return found


_CONDITIONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "min_score": lambda value: Highlight.score >= value,
    "max_score": lambda value: Highlight.score <= value,
    "verdict": lambda value: Highlight.verdict == value,
    "state": lambda value: Highlight.state == value,
    "origin": lambda value: Highlight.origin == value,
    "created_after": lambda value: Highlight.created_at >= value,
    "created_before": lambda value: Highlight.created_at < value,
}
"""Filter -> what it asks of a highlight."""


def _has(act: Act, column: InstrumentedAttribute[list[str]], word: str) -> ColumnElement[bool]:
    """Whether a list of words has one."""
    if act.runtime.db.is_sqlite:  # few have the text, and of them some have it at the end of another word
        words = func.json_each(column).table_valued("value")
        likely = func.instr(as_type(column, Text), json.dumps(word)) > 0
        return and_(likely, exists().where(words.c.value == word))
    return as_type(column, JSONB).contains([word])


def _cursor(values: list[Any]) -> str:
    said = json.dumps(values, default=datetime.isoformat)
    return base64.urlsafe_b64encode(said.encode()).decode("ascii")


def _place(cursor: str, columns: Sequence[InstrumentedAttribute[Any]]) -> list[ColumnElement[Any]]:
    """What the last row said.

    Raises:
        RequestError: it is none of our cursors, or one of another order.
    """
    shapes = [datetime if isinstance(c.type, UtcTime) else c.type.python_type for c in columns]
    try:
        found: list[Any] = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        if shapes[0] is datetime:
            found = [datetime.fromisoformat(found[0]).astimezone(UTC), *found[1:]]
        if [type(value) for value in found] != shapes or not re.fullmatch(ID_PATTERN, found[-1]):
            raise TypeError
    except (ValueError, TypeError, LookupError, OverflowError):
        raise RequestError(
            "query.cursor: it is of another list: take the `next_cursor` of the page before"
        ) from None
    return [literal(value, column.type) for value, column in zip(found, columns, strict=True)]


# --- one of them ---------------------------------------------------------------------------------------


def get_highlight(act: Act, highlight_id: str) -> Highlight:
    """One of the organization's highlights."""
    return Highlight.get_for(act.session, act.organization_id, highlight_id)


def change_highlight(act: Act, highlight_id: str, wanted: HighlightPatch) -> Highlight:
    """Give a highlight another title or other tags, or say what one thinks of it."""
    highlight = Highlight.get_for(act.session, act.organization_id, highlight_id, lock=True)
    asked = wanted.model_dump(exclude_unset=True)
    changes = {name: value for name, value in asked.items() if getattr(highlight, name) != value}
    for name, value in changes.items():
        setattr(highlight, name, value)
    if changes:
        audit.record(act, "highlight.changed", highlight.id, **changes)
    return highlight


def delete_highlight(act: Act, highlight_id: str) -> None:
    """Delete a highlight with its files; what they took up is given back."""
    highlight = Highlight.get_for(act.session, act.organization_id, highlight_id, lock=True)
    keys = highlight.clip_key, highlight.thumbnail_key, highlight.thumbnail_small_key
    remove_later(act.session, act.organization_id, keys)
    give_back(act, highlight.id, highlight.stream_id, highlight.stored_bytes)
    act.session.delete(highlight)
    audit.record(act, "highlight.deleted", highlight.id, stream=highlight.stream_id, title=highlight.title)


def give_back(act: Act, id: str, stream_id: str, stored_bytes: int) -> None:
    """Take off the bill what an object's files took up."""
    if stored_bytes:
        ledger.record(
            act.session,
            act.organization_id,
            Metric.STORED_BYTES,
            -stored_bytes,
            key=f"{id}/deleted",
            object_id=stream_id,
        )


# --- its files -----------------------------------------------------------------------------------------


def clip_url(runtime: Runtime, highlight: Highlight, *, download: bool = False) -> str:
    """An address that opens the clip for an hour; with `download` browsers save it.

    Raises:
        ConflictError: it is not there yet, or could not be made.
    """
    if highlight.state == "failed":
        raise ConflictError(f"its clip could not be made: {highlight.error_message}")
    if highlight.clip_key is None:
        raise ConflictError(
            "its clip is being cut: `highlight.ready` or `highlight.failed` tells what comes of it",
            retry_after=5,
        )
    name = f"{highlight.title}.mp4" if download else None
    return runtime.storage.url(highlight.clip_key, expires=LINK, download_name=name)


def thumbnail_url(runtime: Runtime, highlight: Highlight, *, small: bool = False) -> str:
    """An address that opens the picture of its peak for an hour.

    Raises:
        ConflictError: there is none: its clip is not there, or is sound alone.
    """
    key = highlight.thumbnail_small_key if small else highlight.thumbnail_key
    if key is None:
        raise ConflictError("it has no thumbnail: its clip is not there, or is sound alone")
    return runtime.storage.url(key, expires=LINK)
