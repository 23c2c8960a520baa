"""Shapes and errors as JSON and back, and messages on a socket: what processes of ours tell each other.

JSON and nothing else, checked against the shape that is expected: whoever was subverted by a hostile file
must not be able to hand the other side anything that runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import struct
import types
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tldr_highlight.errors import CutError, TldrError

Json: TypeAlias = Any
"""What `json` reads and writes; NaN and infinity are numbers here."""

AnyShape = TypeVar("AnyShape")

LENGTH = struct.Struct(">I")
"""In front of each message: its bytes."""


# --- shapes --------------------------------------------------------------------------------------------


def pack(value: object) -> Json:
    """A shape as JSON: dataclasses of dataclasses, numbers, texts, paths, fractions, networks, tuples, dicts.

    Raises:
        TypeError: something else is in it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path | IPv4Network | IPv6Network):
        return str(value)
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: pack(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [pack(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, Mapping):
        return {str(key): pack(item) for key, item in cast("Mapping[object, object]", value).items()}
    raise TypeError(f"{type(value).__name__} has no form on the wire")


def unpack(shape: type[AnyShape], data: Json) -> AnyShape:
    """Read `shape` from what `pack` made of it.

    Raises:
        ValueError: it is not of this shape.
    """
    return _unpacked(shape, data)


def _unpacked(shape: Any, data: Json) -> Any:
    if shape is Any:
        return data
    if shape in _PLAIN:
        return _plain(shape, data)
    if dataclasses.is_dataclass(shape):
        hints = _hints(cast("type", shape))
        if not isinstance(data, dict) or data.keys() != hints.keys():
            raise ValueError(f"no {shape}")
        fields = cast("dict[str, Json]", data)
        return cast("type", shape)(**{name: _unpacked(hint, fields[name]) for name, hint in hints.items()})
    return _composed(get_origin(shape), get_args(shape), data)


_FRACTION = re.compile(r"(-?[0-9]{1,40})/([1-9][0-9]{0,39})")

_PLAIN = {bool, int, float, str, Path, Fraction, IPv4Network, IPv6Network, types.NoneType}


def _plain(shape: type, data: Json) -> Any:
    if shape is float and type(data) is int and abs(data) < 2**53:
        return float(data)
    if shape in {Path, IPv4Network, IPv6Network} and type(data) is str:
        return shape(data)
    if shape is Fraction and type(data) is str and (parts := _FRACTION.fullmatch(data)):
        return Fraction(int(parts[1]), int(parts[2]))
    if type(data) is not shape:
        raise ValueError(f"{type(data).__name__} instead of {shape.__name__}")
    return data


def _composed(origin: Any, inner: tuple[Any, ...], data: Json) -> Any:
    """What consists of others: `X | None`, `Literal`, `tuple[X, ...]`, `dict[str, X]`."""
    if origin in {Union, types.UnionType}:
        for choice in inner:
            with contextlib.suppress(ValueError):
                return _unpacked(choice, data)
    elif origin is Literal and isinstance(data, str) and data in inner:
        return data
    elif origin is tuple and isinstance(data, list):
        items = cast("list[Json]", data)
        each = inner[:1] * len(items) if inner[1:] == (...,) else inner
        return tuple(_unpacked(hint, item) for hint, item in zip(each, items, strict=True))
    elif origin in {dict, Mapping} and isinstance(data, dict):
        pairs = cast("dict[str, Json]", data)
        return {key: _unpacked(inner[1], item) for key, item in pairs.items()}
    raise ValueError(f"{type(data).__name__} does not fit")


@functools.cache
def _hints(shape: type) -> dict[str, Any]:
    return get_type_hints(shape)


# --- errors --------------------------------------------------------------------------------------------

LONGEST_WORDS = 2000
"""Characters of an error's message."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """An error of ours on the wire."""

    code: str
    message: str
    index: int | None = None

    @classmethod
    def of(cls, error: TldrError) -> Refusal:
        """The form of `error`."""
        index = error.index if isinstance(error, CutError) else None
        return cls(error.code, str(error)[:LONGEST_WORDS], index)

    def error(self) -> TldrError:
        """The error again, of the class that has this code.

        Raises:
            ValueError: none has.
        """
        kind = next((c for c in _classes(TldrError) if c.code == self.code), None)
        if kind is None:
            raise ValueError("no error of ours")
        error = kind(self.message[:LONGEST_WORDS])
        if isinstance(error, CutError):
            error.index = self.index
        return error


def _classes(base: type[TldrError]) -> Iterator[type[TldrError]]:
    yield base
    for child in base.__subclasses__():
        yield from _classes(child)


# --- messages ------------------------------------------------------------------------------------------


def message(data: Json) -> bytes:
    """A message as it is sent: its length, then its JSON."""
    text = json.dumps(data).encode()
    return LENGTH.pack(len(text)) + text


class Inbox:
    """Takes bytes as they come, gives messages once they are whole."""

    def __init__(self, most: int) -> None:
        """Take messages of at most `most` bytes."""
        self._most = most
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        """Take what came."""
        self._bytes += data

    def next(self) -> Json | None:
        """The next message, which is not null; None while it is not whole.

        Raises:
            ValueError: too long, or no JSON.
        """
        if len(self._bytes) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._bytes)
        if length > self._most:
            raise ValueError(f"a message of {length} bytes")
        end = LENGTH.size + length
        if len(self._bytes) < end:
            return None
        text = bytes(self._bytes[LENGTH.size : end])
        del self._bytes[:end]
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("a message nested too deeply") from error


def received(read: Callable[[int], bytes], most: int) -> Iterator[Json]:
    """Messages from what `read` gives, at most so many bytes at once, until that is nothing."""
    inbox = Inbox(most)
    while data := read(65536):
        inbox.add(data)
        while (item := inbox.next()) is not None:
            yield item
