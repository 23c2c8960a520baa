"""What crosses HTTP, without HTTP: the base of all shapes, ids and names, and lists page by page.

Of pydantic alone, so that who works but does not serve need not load a web framework (18 MB, 0.3 s).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

T = TypeVar("T")


class Schema(BaseModel):
    """Base of what crosses HTTP. Fields that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, allow_inf_nan=False)


ID_PATTERN = r"^[a-z]{2,8}_[0-9a-z]{1,40}$"
NAME_PATTERN = r"^[^\x00-\x1f\x7f\u2028\u2029]*$"
CURSOR_PATTERN = r"^[A-Za-z0-9_=-]+$"

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""`prefix_` and a sortable unique id."""

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of what is not seen but changes how the rest is: U+202E turns a line around."""

JOINERS = "\u200c\u200d"
"""Of that kind, but spelling: Persian and the scripts of India need them, and families among the emoji."""

BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols, says Unicode, that show nothing."""


def _legible(name: str) -> str:
    if any(unicodedata.category(letter) in HIDDEN and letter not in JOINERS for letter in name):
        raise PydanticCustomError("name_hidden", "A name has no characters that cannot be seen")
    # marks (M) and joiners (C) need a letter to stand on
    if not any(unicodedata.category(letter)[0] not in "CMZ" and letter not in BLANK for letter in name):
        raise PydanticCustomError("name_blank", "A name has something to be seen")
    return name


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=NAME_PATTERN),
    AfterValidator(_legible),
]
"""What people call a thing; one line that can be seen as it is."""


def _written(moment: object) -> object:
    """Pydantic takes seconds since 1970, too."""
    if isinstance(moment, datetime) or (isinstance(moment, str) and moment[4:5] == "-"):
        return moment
    raise PydanticCustomError("datetime_form", "is no time: write 2026-11-25T10:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is before the year 1 or after 9999 in UTC") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]
"""RFC 3339 with a zone, of any; in UTC from here on."""

Cursor = Annotated[str, StringConstraints(max_length=200, pattern=CURSOR_PATTERN)]


class Page(Schema, Generic[T]):
    """A part of a list; `next_cursor` asks for what follows, null at the end."""

    data: list[T]
    next_cursor: str | None = None


class PageQuery(Schema):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=100, description="Objects at most.")] = 50
    cursor: Annotated[Cursor | None, Field(description="`next_cursor` of the page before.")] = None


def paginate(
    session: Session, query: Select[T], column: InstrumentedAttribute[str], page: PageQuery
) -> tuple[Sequence[T], str | None]:
    """The rows of one page, newest first by a sortable id, and the cursor of the next."""
    if page.cursor is not None:
        query = query.where(column < page.cursor)
    rows = session.scalars(query.order_by(column.desc()).limit(page.limit + 1)).all()  # pyright: ignore[reportArgumentType]
    if len(rows) <= page.limit:
        return rows, None
    return rows[: page.limit], getattr(rows[page.limit - 1], column.key)
