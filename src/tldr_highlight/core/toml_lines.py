"""Where every key of a TOML document stands, which `tomllib` does not tell.

Only for text that `tomllib` has accepted: this walks, it does not check.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str, ...]

_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'  # a multi-line string may end in up to two quotes of its own
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")  # numbers, booleans, dates (a date may hold a space)
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line (from 1) on which each key and each table first appears, by its full path.

    `[a.b]` and `a.b = 1` both give `("a",)` and `("a", "b")`. All tables of an array share one path.
    """
    return _Walk(text).document()


class _Walk:
    """Recursive descent over valid TOML."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._ends = [m.start() for m in re.finditer("\n", self._text)]
        self._lines: dict[KeyPath, int] = {}

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_GAP)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                brackets = 2 if self._text.startswith("[[", self._at) else 1
                self._at += brackets
                table = self._key(())
                self._at += brackets
            else:
                self._pair(table)
            self._skip(_GAP)
        return self._lines

    def _pair(self, table: KeyPath) -> None:
        path = self._key(table)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _key(self, table: KeyPath) -> KeyPath:
        """A dotted key and the space around it; notes each of its parts."""
        path = table
        while True:
            self._skip(_SPACE)
            line = bisect.bisect_left(self._ends, self._at) + 1
            path = (*path, self._name())
            self._lines.setdefault(path, line)
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return path
            self._at += 1

    def _name(self) -> str:
        if self._text[self._at] not in "\"'":
            return self._take(_BARE_KEY)
        quoted = self._take(_STRING)
        return str(tomllib.loads(f"name = {quoted}")["name"])

    def _value(self, path: KeyPath) -> None:
        opening = self._text[self._at]
        if opening in "\"'":
            self._take(_STRING)
        elif opening in "[{":
            self._at += 1
            self._skip(_GAP)
            while self._text[self._at] not in "]}":
                if opening == "{":
                    self._pair(path)
                else:
                    self._value(path)
                self._skip(_GAP)
                if self._text[self._at] == ",":
                    self._at += 1
                    self._skip(_GAP)
            self._at += 1
        else:
            self._take(_BARE_VALUE)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "only for text that tomllib accepts"
        self._at = match.end()
        return match.group()
