"""`demo`: what it prints, what it leaves, how it ends. One run is real; the others have a made-up find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tldr_highlight.cli.demo import missed
from tldr_highlight.cli.main import app
from tldr_highlight.errors import DiskFullError
from tldr_highlight.highlights.document import HighlightsDoc
from tldr_highlight.pipeline import find as story
from tldr_highlight.pipeline import match
from tldr_highlight.pipeline.match import Planted, plan_match, planted


class Stage:
    """Stands in for making and finding: says what was asked, finds what it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.peaks: list[float] = [m.peak + 2.9 for m in planted(plan_match())]
        self.clip: str | None = "clips/highlight-01.mp4"
        self.error: BaseException | None = None

    def make(self, path: Path, *, seconds: float, progress: object) -> list[Planted]:
        self.asked.append(f"make {path} {seconds:g}")
        return planted(plan_match(seconds))

    def find(
        self, source: Path, out: Path, options: story.FindOptions, *rest: Any, say: Any
    ) -> HighlightsDoc:
        self.asked.append(f"find {source} {out} {options.dimension_set.name} {options.reel_seconds:g}")
        if self.error:
            raise self.error
        highlights: list[Any] = [
            {"start": p - 2, "end": p + 2, "peak": p, "score": 0.9, "confidence": 0.9, "types": ["score"],
             "title": "", "dimensions": {}, "evidence": [{"dimension": "x", "time": p, "text": "a roar"}],
             "clip_start": p - 5, "clip_end": p + 5, "clip": self.clip, "thumbnail": None}
            for p in self.peaks
        ]  # fmt: skip
        return {"source": str(source), "duration": 180.0, "analyzer": "signals", "elapsed": 2.0,
                "highlights": highlights, "degraded": False, "warnings": []}  # fmt: skip


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    stage = Stage()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(match, "make", stage.make)
    monkeypatch.setattr(story, "find", stage.find)
    return stage


def test_it_makes_a_match_finds_its_moments_and_says_so(stage: Stage) -> None:
    result = CliRunner().invoke(app, ["demo"])
    assert (result.exit_code, stage.asked) == (
        0,
        ["make demo/match.mp4 180", "find demo/match.mp4 demo/highlights sports 60"],
    )
    assert "5 highlights in 3:00 of match.mp4" in result.stdout
    assert "a roar" in result.stdout
    assert "demo/highlights/report.html" in result.stdout
    assert "5 of 5 planted moments found\n" in result.stdout


def test_what_was_not_found_is_named(stage: Stage) -> None:
    lost = planted(plan_match())[1]
    stage.peaks[1] = lost.peak + 3.1
    result = CliRunner().invoke(app, ["demo"])
    assert f"4 of 5 planted moments found, not the {lost.what} at 0:{int(lost.peak)}" in result.stdout


def test_peaks_within_three_seconds_count() -> None:
    moment = Planted(10, 12, 14, "goal")
    assert not missed([moment], [9.0])
    assert not missed([moment], [1.0, 15.0])
    assert missed([moment], [8.9, 15.1]) == [moment]


def test_json_is_the_document_and_nothing_else(stage: Stage) -> None:
    result = CliRunner().invoke(app, ["demo", "--json", "--out", "here", "--seconds", "90"])
    document = json.loads(result.stdout)
    assert list(document)[:3] == ["source", "duration", "analyzer"]
    assert document["highlights"][0]["clip"] == "here/highlights/clips/highlight-01.mp4"
    assert stage.asked[1].endswith("sports 30")


def test_an_error_is_told_as_find_tells_it(stage: Stage) -> None:
    stage.error = DiskFullError("no space left")
    plain = CliRunner().invoke(app, ["demo"])
    assert plain.exception is stage.error  # `run` prints it and exits with its code
    told = CliRunner().invoke(app, ["demo", "--json"])
    assert told.exit_code == 1
    assert json.loads(told.stdout)["error"] == {"code": "disk_full", "message": "no space left"}
    assert told.stderr == "tldr-highlight: no space left\n"


def test_a_clip_that_failed_fails_the_run(stage: Stage) -> None:
    stage.clip = None
    assert CliRunner().invoke(app, ["demo"]).exit_code == 1


def test_ctrl_c_is_130(stage: Stage) -> None:
    stage.error = KeyboardInterrupt()
    assert CliRunner().invoke(app, ["demo"]).exit_code == 130


def test_a_file_of_somebody_else_stays(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "match.mp4").write_bytes(b"my holidays")
    result = CliRunner().invoke(app, ["demo", "--out", ".", "--json"])
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (2, "usage")
    assert not stage.asked


def test_a_match_that_is_there_is_used_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(path: Path, *, seconds: float) -> bool:
        return (path, seconds) == (Path("demo/match.mp4"), 180)

    monkeypatch.setattr(match, "made", made)
    assert "5 of 5" in CliRunner().invoke(app, ["demo"]).stdout
    assert stage.asked == ["find demo/match.mp4 demo/highlights sports 60"]


def test_a_real_run_of_the_shortest_match_finds_its_goal(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["demo", "--out", str(tmp_path), "--seconds", f"{match.SHORTEST:g}"], catch_exceptions=False
    )
    assert "1 of 1 planted moments found" in result.stdout
    results = tmp_path / "highlights"
    for path in ("report.html", "reel.mp4", "highlights.json", "clips/highlight-01.mp4"):
        assert (results / path).stat().st_size > 500
    assert match.made(tmp_path / "match.mp4", seconds=match.SHORTEST)
