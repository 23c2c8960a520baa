"""What processes tell each other: shapes there and back, and nothing that is not one."""

from __future__ import annotations

import json
import math
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

import pytest

from tldr_highlight import errors
from tldr_highlight.core.egress import Policy
from tldr_highlight.core.wire import LENGTH, Inbox, Refusal, message, pack, received, unpack


@dataclass(frozen=True)
class Inner:
    word: Literal["one", "two"]
    number: float


@dataclass(frozen=True)
class Outer:
    path: Path
    fraction: Fraction
    inner: Inner | None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (1, "a")
    words: Mapping[str, str] = field(default_factory=dict)
    more: dict[str, float] = field(default_factory=dict)
    flag: bool = False
    either: Path | Inner = Path()


ONE = Inner("one", 1.5)
SHAPES = [
    Outer(Path("a"), Fraction(30000, 1001), None),
    Outer(
        Path("caf\udce9"), Fraction(-1, 3), ONE, (ONE, ONE), (-3, "é\n"), {"crf": "20"}, {"a": 1.0}, True, ONE
    ),
    Inner("two", math.inf),
    Policy(),
    Policy((ip_network("10.1.0.0/16"), ip_network("fd00::/8")), Path("ca.pem"), tries=1),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_come_back(shape: Any) -> None:
    assert unpack(type(shape), json.loads(json.dumps(pack(shape)))) == shape


def test_no_number_comes_back() -> None:
    assert math.isnan(unpack(Inner, json.loads(json.dumps(pack(Inner("one", math.nan))))).number)


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes"):
        pack({"a": b"raw"})


GOOD = pack(SHAPES[1])
WRONG: dict[str, Any] = {
    "no dictionary": [],
    "a field less": {k: v for k, v in GOOD.items() if k != "flag"},
    "a field more": GOOD | {"more": 1},
    "a number for a text": GOOD | {"path": 3},
    "a flag for a number": GOOD | {"pair": [True, "a"]},
    "a number for a flag": GOOD | {"flag": 1},
    "too long": GOOD | {"pair": [1, "a", "b"]},
    "no such word": GOOD | {"inner": {"word": "three", "number": 1}},
    "nothing": GOOD | {"many": None},
    "wrong inside": GOOD | {"words": {"a": 1}},
    "by zero": GOOD | {"fraction": "1/0"},
    "a fraction to count long at": GOOD | {"fraction": "1e999999999"},
    "a fraction without end": GOOD | {"fraction": "1" * 5000 + "/3"},
    "a number without end": GOOD | {"inner": {"word": "one", "number": 10**400}},
    "no network": pack(Policy()) | {"allow_networks": ["everything"]},
    "neither": GOOD | {"either": 5},
}


@pytest.mark.parametrize("case", WRONG)
def test_other_shapes_are_refused(case: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(Policy if case == "no network" else Outer, WRONG[case])


def classes(base: type[errors.TldrError] = errors.TldrError) -> list[type[errors.TldrError]]:
    """All of `errors`; some modules have kinds of their own, which cross no wire."""
    own = [child for child in base.__subclasses__() if child.__module__ == errors.__name__]
    return [base, *(c for child in own for c in classes(child))]


@pytest.mark.parametrize("kind", classes())
def test_errors_come_back_as_the_same_class(kind: type[errors.TldrError]) -> None:
    error = kind("what was wrong")
    if isinstance(error, errors.CutError):
        error.index = 3
    again = unpack(Refusal, json.loads(json.dumps(pack(Refusal.of(error))))).error()
    assert type(again) is kind
    assert str(again) == "what was wrong"
    assert getattr(again, "index", None) == getattr(error, "index", None)


def test_an_error_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="no error of ours"):
        Refusal("os_system", "rm -rf").error()


def test_a_message_without_end_is_shortened() -> None:
    assert len(str(Refusal.of(errors.CutError("x" * 10_000)).error())) == 2000


# --- messages ------------------------------------------------------------------------------------------


def test_messages_come_byte_by_byte() -> None:
    inbox = Inbox(100)
    told = []
    for byte in message({"a": 1}) + message([2]):
        inbox.add(bytes([byte]))
        if (item := inbox.next()) is not None:
            told.append(item)
    assert told == [{"a": 1}, [2]]


@pytest.mark.parametrize(
    "raw",
    [
        LENGTH.pack(101) + b" " * 101,
        LENGTH.pack(2**32 - 1),
        LENGTH.pack(4) + b"{]{]",
        LENGTH.pack(2) + b"\xff\xff",
        LENGTH.pack(9) + b"1" * 9 + LENGTH.pack(80) + b"[" * 80,
        LENGTH.pack(len(pickle.dumps([1]))) + pickle.dumps([1]),
    ],
    ids=["long", "very long", "no JSON", "no text", "second", "a pickle"],
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    inbox = Inbox(100)
    inbox.add(raw)
    with pytest.raises(ValueError, match=r"."):
        list(iter(inbox.next, None))


def test_deep_nesting_is_refused() -> None:
    inbox = Inbox(1_000_000)
    inbox.add(LENGTH.pack(900_000) + b"[" * 900_000)
    with pytest.raises(ValueError, match="too deeply"):
        inbox.next()


def test_messages_come_through_a_socket_until_it_closes() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(message(1) + message("two" * 30_000) + b"\0\0")
        assert list(received(theirs.recv, 100_000)) == [1, "two" * 30_000]
