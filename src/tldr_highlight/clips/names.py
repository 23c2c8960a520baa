"""Names of clips: a template filled in, made safe for any file system, each given once."""

from __future__ import annotations

import os
import re
import string
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tldr_highlight.errors import UsageError
from tldr_highlight.highlights.cuts import one_line

FIELDS = ("index", "start", "end", "title", "source")
"""What a template may hold; nothing else of Python's format strings works, so none of its traps does."""

DEFAULT = "{source}-{start}-{end}"

LONGEST = 200
"""Bytes of a file's name; file systems allow 255, and temporary names are longer than the final ones."""

LONGEST_FIELD = 100
"""Bytes of a title or a source's name inside it, so that what tells clips apart is not what is cut off."""


@dataclass(frozen=True, slots=True)
class Template:
    """How clips are called: text with fields, such as `{source}-{index:03}`."""

    parts: tuple[tuple[str, str | None, int], ...]  # text, the field behind it, its least number of digits

    @classmethod
    def usual(cls) -> Template:
        """The one without `--name`."""
        return cls.parse(DEFAULT)

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Raises:
            UsageError: braces that do not match, an unknown field, a path instead of a name.
        """
        try:
            parsed = list(string.Formatter().parse(text.removesuffix(".mp4")))
        except ValueError as error:
            raise _wrong(text, f"{error}; write {{{{ or }}}} for a brace itself") from error
        parts: list[tuple[str, str | None, int]] = []
        for literal, field, width, conversion in parsed:
            if "/" in literal or "\\" in literal:
                raise _wrong(text, "it is a name, no path; --out says the folder")
            if field is not None and (field not in FIELDS or conversion):
                known = ", ".join(f"{{{name}}}" for name in FIELDS)
                raise _wrong(text, f"there is no {{{field}}}; choose from {known} and {{index:03}}")
            if width and not (field == "index" and re.fullmatch(r"0[1-9]", width)):
                raise _wrong(
                    text, f"{{{field}:{width}}} is none of ours; {{index:03}} is, for numbers like 007"
                )
            parts.append((literal, field, int(width or "0")))
        if not parts:
            raise _wrong(text, f"it is empty; the usual one is {DEFAULT}")
        return cls(tuple(parts))

    def name(self, *, index: int, start: float, end: float, title: str, source: str) -> str:
        """The name of the clip `index` (from 1) of `[start, end)` seconds, safe, without its end."""
        values = {
            "start": clock(start),
            "end": clock(end),
            "title": shortened(safe(title), LONGEST_FIELD),
            "source": shortened(safe(source), LONGEST_FIELD),
        }
        text = "".join(
            literal + (f"{index:0{digits}}" if field == "index" else values[field] if field else "")
            for literal, field, digits in self.parts
        )
        return safe(text)


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(f"cannot name clips {one_line(text, 60)!r}: {one_line(why, 160)}")


def clock(seconds: float) -> str:
    """`00-12-31.400`: sorts like time, and holds nothing that file systems mind."""
    milliseconds = round(max(0.0, seconds) * 1000)
    rest, thousandths = divmod(milliseconds, 1000)
    return f"{rest // 3600:02}-{rest // 60 % 60:02}-{rest % 60:02}.{thousandths:03}"


RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|COM\d|LPT\d)(?:\..*)?", re.IGNORECASE)
"""Names that mean devices on Windows, whatever stands behind their dot."""


def safe(text: str) -> str:
    """Text as the stem of a file's name on any system; empty when nothing of it can stay.

    No separators, control characters or what Windows forbids; no dot, dash or space at the start (hidden
    files, options of commands); no dot or space at the end.
    """
    plain = unicodedata.normalize("NFC", one_line(text, 10_000))
    kept = "".join(
        "-" if c in '/\\:*?"<>|' else c for c in plain if unicodedata.category(c) != "Cf" or c == ZWJ
    )
    stem = kept.lstrip(".- ").rstrip(". ")
    return f"{stem}_" if RESERVED.fullmatch(stem) else stem


ZWJ = "\N{ZERO WIDTH JOINER}"
"""Holds emoji together; all other invisible characters could make a name look like another."""


def shortened(text: str, longest: int) -> str:
    """As many characters as fit into `longest` bytes of UTF-8."""
    return text.encode()[:longest].decode(errors="ignore").rstrip(f". {ZWJ}")


def paths(names: Iterable[str], out: Path, keep: Collection[Path] = ()) -> list[Path]:
    """A path in `out` for every name, none twice, whatever the case.

    None of them is one of the files in `keep` or a folder; other files that are there will be replaced.
    """
    given: set[str] = set()
    last: dict[str, int] = {}  # number given to each name: a thousand alike take a thousand steps
    out_paths: list[Path] = []
    for name in names:
        wanted = name or "clip"
        number = last.get(wanted, 0) + 1
        while (path := _numbered(out, wanted, number)).name.casefold() in given or _in_use(path, keep):
            number += 1
        last[wanted] = number
        given.add(path.name.casefold())
        out_paths.append(path)
    return out_paths


def _numbered(out: Path, name: str, number: int) -> Path:
    mark = f"-{number}.mp4" if number > 1 else ".mp4"
    return out / (shortened(name, LONGEST - len(mark)) + mark)


def _in_use(path: Path, keep: Collection[Path]) -> bool:
    """Whether a clip, or its poster, would take the place of a folder or of a file to keep."""
    return any(
        file.is_dir() or any(is_same(file, other) for other in keep)
        for file in (path, path.with_suffix(POSTER))
    )


def is_same(file: Path, other: Path) -> bool:
    """Whether both names mean one file, there or not."""
    there = os.path.exists(other)  # a text that might be a name may be too long for one: no error here
    return os.path.abspath(file) == os.path.abspath(other) or (
        there and file.exists() and file.samefile(other)
    )


POSTER = ".jpg"
"""End of the name of a clip's poster; the rest is the clip's."""
