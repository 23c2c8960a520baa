"""The highlights document: what `find --json` prints and `highlights.json` holds (contract, CLI)."""

from __future__ import annotations

import json
from typing import TypedDict


class EvidenceDoc(TypedDict):
    """One reason, readable by a person."""

    dimension: str
    time: float
    text: str


class HighlightDoc(TypedDict):
    """One highlight. Times are media seconds; files are relative to the document's folder."""

    start: float
    end: float
    peak: float
    score: float
    confidence: float
    types: list[str]
    title: str
    dimensions: dict[str, float | None]
    evidence: list[EvidenceDoc]
    clip_start: float
    clip_end: float
    clip: str | None
    thumbnail: str | None


class HighlightsDoc(TypedDict):
    """Everything found in one source."""

    source: str
    duration: float
    analyzer: str
    elapsed: float
    highlights: list[HighlightDoc]
    degraded: bool
    warnings: list[str]


def dumps(document: object) -> str:
    """The document as text: stable key order, two-space indent, real characters, a final newline."""
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
