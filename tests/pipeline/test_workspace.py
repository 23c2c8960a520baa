"""The output folder: resumable, never another source's, tidy."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tldr_highlight.analysis.signals import PICTURE_CURVES, SOUND_CURVES, Signals
from tldr_highlight.errors import OutputBusyError, OutputError, UsageError
from tldr_highlight.media.types import ClipResult, ClipSpec
from tldr_highlight.pipeline.workspace import NAME, opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "match.mp4"
    path.write_bytes(b"not really")
    return path


def curves(n: int = 5) -> Signals:
    return Signals(0, {name: np.arange(float(n)) for name in SOUND_CURVES + PICTURE_CURVES})


def test_curves_are_found_again_for_the_same_source_only(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    with opened(out, source, {"a": 1}) as work:
        work.save_curves(curves())
    with opened(out, source, {"a": 1}) as work:
        found = work.load_curves()
        assert found is not None
        np.testing.assert_array_equal(found.curves["low"], curves().curves["low"])
    with opened(out, source, {"a": 2}) as work:
        assert work.load_curves() is None
    source.write_bytes(b"something else")
    with opened(out, source, {"a": 1}) as work:
        assert work.load_curves() is None


def test_damaged_checkpoints_are_measured_again(tmp_path: Path, source: Path) -> None:
    with opened(tmp_path / "out", source, {}) as work:
        work.save_curves(curves())
        (work.out / NAME / "curves.npz").write_bytes(b"PK\x03\x04 broken")
        (work.out / NAME / "clips.json").write_text("{")
        assert work.load_curves() is None
        assert not work.finished(ClipSpec(0, 1, work.out / "clips" / "highlight-01.mp4"), "r")


def test_a_finished_clip_is_known_by_range_recipe_and_content(tmp_path: Path, source: Path) -> None:
    with opened(tmp_path / "out", source, {}) as work:
        spec = ClipSpec(1.0, 2.0, work.out / "clips" / "highlight-01.mp4")
        spec.path.parent.mkdir()
        spec.path.write_bytes(b"clip")
        digest = "a3d23aab9e4f13e21fcfdb0cd9b1b1d8c1a5b7bd4a01ca9e2f5b1c6d2f3a4b5c"
        result = ClipResult(spec, 1.0, 2.0, 25, "encode", "asked for", 0.0, 4, digest)
        work.remember(result, "crf 20")
        assert not work.finished(spec, "crf 20"), "the content is not what was remembered"
        import hashlib

        digest = hashlib.sha256(b"clip").hexdigest()
        result = replace(result, sha256=digest, warnings=("2 damaged pictures are left out",))
        assert work.warnings(spec) == []
        work.remember(result, "crf 20")
        assert work.finished(spec, "crf 20")
        assert work.warnings(spec) == ["2 damaged pictures are left out"]
        assert not work.finished(spec, "crf 30")
        assert not work.finished(ClipSpec(1.0, 2.5, spec.path), "crf 20")


def test_an_empty_new_folder_is_taken_away_again(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "a" / "b"
    with pytest.raises(ValueError, match="stop"), opened(out, source, {}):
        raise ValueError("stop")
    assert not (tmp_path / "a").exists()


def test_what_can_be_resumed_stays(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"

    def interrupted() -> None:
        with opened(out, source, {}) as work:
            work.save_curves(curves())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (out / NAME / "curves.npz").exists()


def finished(out: Path, source: Path) -> None:
    """What a run leaves, as far as the next one looks at it."""
    with opened(out, source, {}) as work:
        (out / "highlights.json").write_text(json.dumps({"source": source.name}))
        (out / "report.html").write_text(f'<meta name="source" content="{" ".join(work.identity)}">')


def test_another_source_of_the_same_name_is_refused(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where both are named from their own folders, and differ in their middle alone."""
    out, content = tmp_path / "out", bytes(3_000_000)
    for folder, within in (("one", b"\0"), ("two", b"\1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "final.mp4").write_bytes(content + within * 500_000 + content)
    monkeypatch.chdir(tmp_path / "one")
    finished(out, Path("final.mp4"))
    monkeypatch.chdir(tmp_path / "two")
    for other in (Path("final.mp4"), source):
        with (
            pytest.raises(UsageError, match=r"holds the highlights of another file, final\.mp4"),
            opened(out, other, {}),
        ):
            pass
    assert not (out / NAME).exists()


def test_the_same_source_is_known_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is spelled, wherever it lies by now; and in its place, whatever became of it."""
    out = tmp_path / "out"
    finished(out, source)
    monkeypatch.chdir(tmp_path)
    moved = tmp_path / "archive" / "renamed.mp4"
    moved.parent.mkdir()
    moved.write_bytes(source.read_bytes())
    for spelled in (Path(source.name), Path("archive") / ".." / source.name, moved):
        with opened(out, spelled, {}):
            pass
    source.write_bytes(b"recorded anew")
    with opened(out, source, {}):
        pass
    (out / "report.html").unlink()
    with opened(out, source, {}):
        pass
    with pytest.raises(UsageError, match="another file"), opened(out, moved, {}):
        pass


def test_a_name_that_no_folder_can_have(tmp_path: Path, source: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"), opened(tmp_path / ("x" * 300), source, {}):
        pass


@pytest.mark.parametrize("name", ["reel.mp4", "report.html", "highlights.csv", "clips/highlight-07.mp4"])
def test_files_that_no_run_made_are_not_replaced(name: str, tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    mine = out / name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(UsageError, match="no run of find made it"), opened(out, source, {}):
        pass
    assert mine.read_bytes() == b"mine"
    assert not (out / NAME).exists()
    mine.rename(tmp_path / "mine")
    finished(out, source)
    mine.parent.mkdir(exist_ok=True)
    (tmp_path / "mine").rename(mine)
    with opened(out, source, {}):
        pass  # a run made them


def test_what_a_failed_run_left_is_a_runs(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"

    def failed() -> None:
        with opened(out, source, {}) as work:
            (work.out / "clips").mkdir()
            (work.out / "clips" / "highlight-01.mp4").write_bytes(b"clip")
            raise OutputError("no space left for the note that it is finished")

    with pytest.raises(OutputError):
        failed()
    with opened(out, source, {}) as work:
        work.forget_others(set())
    assert not out.exists() or not any(out.iterdir())


@pytest.mark.parametrize("name", ["reel.mp4", "thumbnails/highlight-01.jpg"])
def test_a_source_in_the_place_of_a_result_is_refused(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(b"not really")
    for document in (None, {"source": str(source)}):
        if document:
            (tmp_path / "highlights.json").write_text(json.dumps(document))
        with pytest.raises(UsageError, match="choose another --out"), opened(tmp_path, source, {}):
            pass
    assert source.read_bytes() == b"not really"


def test_two_runs_on_one_folder(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    with opened(out, source, {}) as work:
        work.save_curves(curves())
        with pytest.raises(OutputBusyError), opened(out, source, {}):
            pass
        assert work.load_curves() is not None


def test_a_file_where_the_folder_should_be(tmp_path: Path, source: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"), opened(source, source, {}):
        pass


def test_files_of_an_earlier_run_go(tmp_path: Path, source: Path) -> None:
    with opened(tmp_path / "out", source, {}) as work:
        clips = work.out / "clips"
        clips.mkdir()
        for name in ("highlight-01.mp4", "highlight-02.mp4", "highlight-x.mp4", "mine.mp4"):
            (clips / name).write_text("")
    with opened(tmp_path / "out", source, {}) as work:
        work.forget_others({clips / "highlight-01.mp4"})
        kept = sorted(p.name for p in clips.iterdir())
        assert kept == ["highlight-01.mp4", "highlight-x.mp4", "mine.mp4"]
