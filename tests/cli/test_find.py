"""What `find` tells people."""

from __future__ import annotations

from pathlib import Path

import pytest

from tldr_highlight.cli.find import tell
from tldr_highlight.highlights.document import HighlightsDoc


def test_no_name_gives_orders_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    document: HighlightsDoc = {
        "source": "red\x1b[31m\nfilm.mp4", "duration": 60.0, "analyzer": "signals", "elapsed": 1.0,
        "highlights": [], "degraded": False, "warnings": [],
    }  # fmt: skip
    tell(document, Path("highlights/red\x1b[31m\nfilm"))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [line.split()[-1] for line in out.splitlines()] == [
        "realtime)", "more.", r"highlights/red\x1b[31m\nfilm/report.html",
    ]  # fmt: skip
    assert r"of red\x1b[31m\nfilm.mp4 (60x" in out
