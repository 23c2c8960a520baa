"""What `find` tells people."""

from __future__ import annotations

from pathlib import Path

import pytest

from tldr_highlight.cli.find import expand, tell
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


def test_a_folder_is_its_media_but_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.MKV", "a.mp4", "._a.mp4", ".cut.mp4", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.mp4").mkdir()
    assert [p.name for p in expand([str(tmp_path)])] == ["a.mp4", "b.MKV"]
