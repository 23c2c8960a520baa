"""Lines of keys against a document whose every trap is written on the line that the test expects."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.core.toml_lines import KeyPath, key_lines

TRAPS = '''\
name = "a = 1 # no comment"  # comment with k = 2
a.b . c = 1

"quoted key" = 'literal \\'
"dotted.inside" = true
"\\u0041" = """
fake = 1
[fake]
""""
after_string = """a"""
literal = \'\'\'
fake2 = 3\'\'\'
inline = { x = 1, y = { "z z" = [1, 2] }, w = "}" }
list = [
    "]",  # ]
    { deep = 1 },
    [ { deeper = 2 } ],
]
date = 1979-05-27 07:32:00
empty = {}
none = []
[table]
k = 1
  [ table . "sub.table" ] # [fake3]
  "k=" = "v"
[[array]]
one = 1
[[array]]
two = 2
[table.other]
k = 1e6'''

EXPECTED: dict[KeyPath, int] = {
    ("name",): 1,
    ("a",): 2,
    ("a", "b"): 2,
    ("a", "b", "c"): 2,
    ("quoted key",): 4,
    ("dotted.inside",): 5,
    ("A",): 6,
    ("after_string",): 10,
    ("literal",): 11,
    ("inline",): 13,
    ("inline", "x"): 13,
    ("inline", "y"): 13,
    ("inline", "y", "z z"): 13,
    ("inline", "w"): 13,
    ("list",): 14,
    ("list", "deep"): 16,
    ("list", "deeper"): 17,
    ("date",): 19,
    ("empty",): 20,
    ("none",): 21,
    ("table",): 22,
    ("table", "k"): 23,
    ("table", "sub.table"): 24,
    ("table", "sub.table", "k="): 25,
    ("array",): 26,
    ("array", "one"): 27,
    ("array", "two"): 29,
    ("table", "other"): 30,
    ("table", "other", "k"): 31,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_key_is_found_on_its_line(newline: str) -> None:
    text = TRAPS.replace("\n", newline)
    tomllib.loads(text)
    assert key_lines(text) == EXPECTED


def test_nothing_in_nothing() -> None:
    assert key_lines("") == {}
    assert key_lines("# only a comment\n\n") == {}


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)


@given(st.lists(st.tuples(texts, texts, st.integers(0, 3)), max_size=8, unique_by=lambda t: t[0]))
def test_any_quoted_key_is_found_whatever_its_value(pairs: list[tuple[str, str, int]]) -> None:
    """Keys and values of any characters, with blank lines between, quoted by the rules of TOML."""
    lines: list[str] = []
    expected: dict[KeyPath, int] = {}
    for key, value, blank in pairs:
        lines += [""] * blank
        lines.append(f"{_quoted(key)} = {_quoted(value)}")
        expected[(key,)] = len(lines)
    text = "\n".join(lines)
    assert tomllib.loads(text).keys() == {k for (k,) in expected}
    assert key_lines(text) == expected


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
