"""What is exported: the clips of a document in frames, and text that fits on a line."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from tldr_highlight.highlights.document import HighlightDoc, HighlightsDoc
from tldr_highlight.highlights.timecode import frame_at


@dataclass(frozen=True, slots=True)
class Cut:
    """One highlight's clip in frames."""

    first: int
    end: int  # the first frame that is not in it
    title: str  # one line
    highlight: HighlightDoc


@dataclass(frozen=True, slots=True)
class CutList:
    """What every format is written from."""

    document: HighlightsDoc
    cuts: tuple[Cut, ...]  # in order of time
    rate: Fraction  # frames per second: the editing rate
    drop: bool  # drop-frame timecode
    has_video: bool
    has_audio: bool


def cut_of(highlight: HighlightDoc, rate: Fraction) -> Cut:
    """A highlight's clip, snapped to frames, at least one long."""
    first = frame_at(highlight["clip_start"], rate)
    end = max(first + 1, frame_at(highlight["clip_end"], rate))
    return Cut(first, end, one_line(highlight["title"]) or "Highlight", highlight)


def one_line(text: str, longest: int = 200) -> str:
    """Text on one line: control characters, line breaks and broken surrogates become spaces."""
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


FORMULA = "=+-@＝＋－＠"
"""What a spreadsheet takes for a formula at the start of a cell, fullwidth forms included."""
