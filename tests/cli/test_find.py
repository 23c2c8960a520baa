"""What `find` tells people."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path

import pytest
from av.format import ContainerFormat

from tests.walks.command import here
from tldr_highlight.cli.find import MEDIA, expand, tell
from tldr_highlight.highlights.document import HighlightsDoc
from tldr_highlight.media.probe import CONTAINERS
from tldr_highlight.pipeline import find as pipeline
from tldr_highlight.pipeline.common import TOO_SHORT


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
    document["warnings"] = [TOO_SHORT]
    tell(document, Path("highlights"))
    assert "stood out" not in capsys.readouterr().out, "it was not judged"


def test_a_folder_is_its_media_but_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.MKV", "a.mp4", "._a.mp4", ".cut.mp4", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.mp4").mkdir()
    assert expand([str(tmp_path)]) == [str(tmp_path / "a.mp4"), str(tmp_path / "b.MKV")]


NO_SOURCES = {"avif", "heic", "heif", "mks", "apl", "ism", "dif", "mac"}
"""Pictures, subtitles, lists, and ends that mean other things elsewhere."""


def test_what_can_be_read_is_found_in_folders() -> None:
    """By the ends of names that libav itself gives the containers which `probe` opens."""
    ends = set[str]()
    for name, mode in itertools.product(CONTAINERS, "rw"):
        try:
            ends |= ContainerFormat(name, mode).extensions
        except ValueError:
            continue  # only read, or only written
    assert ends - NO_SOURCES <= {end.removeprefix(".") for end in MEDIA}


def test_no_file_is_meant_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "link.wav").symlink_to("a.wav")
    monkeypatch.chdir(tmp_path)
    spelled = ["a.wav", f"../{tmp_path.name}/a.wav", str(tmp_path / "a.wav"), "*.wav", ".", "link.wav"]
    assert expand(spelled) == ["a.wav"]


def test_what_means_no_file_is_left_to_fail_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    sources = ["zz*", "empty", "http://example.com/a.mp4?b=*", "x" * 300, "a.wav"]
    assert expand(sources) == sources


def test_what_a_run_made_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["film.mp4", "reel.mp4", "clips/highlight-01.mp4", "clips/mine.mp4"]
    (tmp_path / "clips").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert expand(["."]) == ["film.mp4", "reel.mp4"]
    (tmp_path / "highlights.json").write_text(json.dumps({"source": "film.mp4"}))
    assert expand(["."]) == ["film.mp4"]
    assert expand(["**/*.mp4"]) == ["clips/mine.mp4", "film.mp4"]
    assert expand(["reel.mp4"]) == ["reel.mp4"], "it may be named"


def test_what_nobody_foresaw_costs_its_source_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unforeseen(source: Path, *_: object, **__: object) -> None:
        raise ValueError(f"{source.name} \u2265 16383")

    monkeypatch.setattr(pipeline, "find", unforeseen)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = here("find", "a.mp4", "b.mp4", "--json", cwd=tmp_path)
    assert done.code == 1
    assert [r["source"] for r in done.document["results"]] == ["a.mp4", "b.mp4"]
    assert {r["error"]["code"] for r in done.document["results"]} == {"internal"}
    told = done.document["results"][0]["error"]["message"]
    assert told.startswith("a mistake of ours (ValueError: a.mp4 \u2265 16383); please report it, ")
    logs = [path for path in tmp_path.iterdir() if str(path) in told]
    assert "in unforeseen" in logs[0].read_text("utf-8")
    for arguments in ([], ["--json"]):
        alone = here("find", "a.mp4", *arguments, cwd=tmp_path)
        assert alone.code == 1
        assert alone.err.startswith("tldr-highlight: a mistake of ours (ValueError: a.mp4")
        assert not arguments or alone.document["error"]["code"] == "internal"
