"""JSON as RFC 8259 has it, and no more: what a body may hold that PostgreSQL, JavaScript and we agree on.

Python's own reader takes NaN and Infinity, makes infinity of 1e400, keeps the last of two equal names, and
lets lone surrogates and NUL into texts, which no database stores. All of these are refused here.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn, Self, cast

from tldr_highlight.errors import RequestError

DEEPEST = 32
"""Arrays and objects within each other; what people send has 6 at most."""

LARGEST = 2**63 - 1
"""Of integers: what databases hold."""


class Number(float):
    """A number that knows how it was written: `10.50`."""

    text: str

    def __new__(cls, text: str) -> Self:
        """The number that `text` is."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def parse(body: bytes, *, as_written: bool = False) -> Any:
    """The value of a document; with `as_written`, its numbers are `Number`s.

    Raises:
        RequestError: it is none, or holds what is named above. The message never repeats what was sent.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 (byte {error.start})") from None
    try:
        value = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite_number if as_written else _finite,
            parse_int=_bounded_number if as_written else _bounded,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error.msg} (character {error.pos})") from None
    except RecursionError:
        raise _too_deep() from None
    _check(value, texts="\\u" in text)
    return value


def _no_constant(name: str) -> NoReturn:
    raise RequestError(f"the body is not JSON: {name} is no number of it")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise RequestError("the body holds a number too large for a double")
    return number


def _bounded(digits: str) -> int:
    # long ones are not even read: Python takes quadratic time, and refuses 4300 digits with another error
    if len(digits) > 20 or not -LARGEST - 1 <= (number := int(digits)) <= LARGEST:
        raise RequestError("the body holds an integer of more than 63 bits")
    return number


def _finite_number(digits: str) -> Number:
    _finite(digits)
    return Number(digits)


def _bounded_number(digits: str) -> Number:
    _bounded(digits)
    return Number(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestError("the body holds an object with the same name twice")
    return found


def _check(value: Any, *, texts: bool) -> None:
    """Refuse what is too deep and, where `\\u` made letters, those that are none. Without recursion."""
    level = [value]
    depth = 0
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                if texts:
                    inner.extend(cast(dict[str, Any], each))
                inner.extend(cast(dict[str, Any], each).values())
            elif isinstance(each, list):
                inner.extend(cast(list[Any], each))
            elif texts and isinstance(each, str):
                _check_text(each)
        nested = any(isinstance(each, (dict, list)) for each in level)
        depth += nested
        if depth > DEEPEST:
            raise _too_deep()
        level = inner


def _check_text(text: str) -> None:
    if "\0" in text:
        raise RequestError("the body holds a text with a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError("the body holds a text with half a surrogate pair") from None


def _too_deep() -> RequestError:
    return RequestError(f"the body nests deeper than {DEEPEST} levels")
