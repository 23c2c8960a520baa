"""The main job, as a person does it: files in, a folder of highlights each out."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path

from tests.media_maker import spoil
from tests.walks import films
from tests.walks.command import find, left_over, look, run, stored, tree


def test_a_film_becomes_a_folder_of_highlights(tmp_path: Path, match: Path) -> None:
    reel = 33  # two clips and 0.8 s: of the third 2 s are shown, and one of the two is shorter for that
    arguments = ("--out", "out", "--reel", reel, "--export", "csv,edl,chapters,vtt", "--json")
    done = run("find", match, *arguments, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    document = done.document
    assert list(document) == [
        "source", "duration", "analyzer", "elapsed", "highlights", "degraded", "warnings",
    ]  # fmt: skip
    found = document["highlights"]
    assert all(min(abs(h["peak"] - at) for at in range(20, 160, 20)) < 3 for h in found)
    assert len(found) == 7
    for highlight in found:
        clip = look(tmp_path / highlight["clip"])
        assert clip.codecs == ("h264", "aac")
        assert abs(clip.seconds - (highlight["clip_end"] - highlight["clip_start"])) < 0.25
        assert highlight["clip_start"] <= highlight["start"] <= highlight["peak"] <= highlight["end"]
        assert (tmp_path / highlight["thumbnail"]).read_bytes()[:3] == b"\xff\xd8\xff"
        assert highlight["evidence"]
    clips = [(h["clip_start"], h["clip_end"]) for h in found]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(clips))
    assert abs(look(tmp_path / "out" / "reel.mp4").seconds - reel) < 0.25
    names = {p for p in tree(tmp_path / "out") if "/" not in p}
    assert names == {
        "clips", "thumbnails", "reel.mp4", "report.html", "highlights.json", "highlights.csv",
        "highlights.edl", "highlights.chapters.txt", "highlights.vtt",
    }  # fmt: skip
    assert left_over(tmp_path) == []


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, tiny: Path) -> None:
    """Twice into one folder, and once into another."""
    for out in ("one", "one", "two"):
        assert find(tiny, "--out", out, cwd=tmp_path).code == 0
    texts = [(tmp_path / out / "highlights.json").read_text("utf-8").splitlines() for out in ("one", "two")]
    first, second = ([line for line in lines if '"elapsed"' not in line] for lines in texts)
    assert first == second
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    for clip in (tmp_path / "one" / "clips").iterdir():
        assert look(clip) == look(tmp_path / "two" / "clips" / clip.name)


def test_a_second_run_replaces_the_first(tmp_path: Path, match: Path) -> None:
    assert find(match, "--out", "out", "--reel", "5", "--export", "csv", cwd=tmp_path).code == 0
    assert find(match, "--out", "out", "--max", "2", cwd=tmp_path).code == 0
    assert len((tmp_path / "out" / "highlights.csv").read_text("utf-8").splitlines()) == 1 + 2
    assert len(stored(tmp_path / "out")["highlights"]) == 2
    assert {p for p in tree(tmp_path / "out") if p.startswith("clips/")} == {
        "clips/highlight-01.mp4",
        "clips/highlight-02.mp4",
    }
    assert not (tmp_path / "out" / "reel.mp4").exists()


def test_what_the_document_no_longer_names_goes_and_files_of_yours_stay(tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "out"
    assert find(tiny, "--out", "out", "--reel", "5", cwd=tmp_path).code == 0
    assert len(tree(out)) == 8
    mine = {"clips/mine.mp4", "clips/highlight-07.mp4", "thumbnails/highlight-01.png", "reel.txt"}
    for name in mine:
        (out / name).write_text("mine")
    assert find(tiny, "--out", "out", "--no-clips", cwd=tmp_path).code == 0
    assert len(stored(out)["highlights"]) == 1
    assert tree(out) == mine | {"clips", "thumbnails", "report.html", "highlights.json"}
    (out / "reel.mp4").write_text("mine")
    assert find(tiny, "--out", "out", "--no-clips", cwd=tmp_path).code == 0
    assert all((out / name).read_text() == "mine" for name in (*mine, "reel.mp4"))


def test_several_sources_of_which_some_fail(tmp_path: Path, tiny: Path) -> None:
    """Globs, folders and files, with and without media; the same name twice; nothing twice.

    What is good is kept and listed.
    """
    (tmp_path / "season").mkdir()
    (tmp_path / "cup").mkdir()
    for name in ("season/day1.mp4", "cup/day1.mp4"):
        shutil.copy(tiny, tmp_path / name)
    (tmp_path / "season" / "day2.mp4").write_text("not yet")
    (tmp_path / "season" / "notes.txt").write_text("not media")
    (tmp_path / "empty").mkdir()
    away = "https://host/day3.mp4?key=SECRET"
    sources = ["season", "cup/*.mp4", tmp_path / "cup" / "day1.mp4", "gone.mp4", "*.xyz", "empty", away]
    done = find(*sources, "--out", "out", "--json", cwd=tmp_path)
    assert done.code == 1
    results = done.document["results"]
    ends = {r["source"]: r["error"]["code"] if "error" in r else len(r["highlights"]) for r in results}
    assert ends == {
        "season/day1.mp4": 1,
        "season/day2.mp4": "not_media",
        "cup/day1.mp4": 1,
        "gone.mp4": "not_found",
        "*.xyz": "not_found",
        "empty": "not_found",
        "https://host/day3.mp4?...": "usage",
    }
    assert done.err.count("tldr-highlight: ") == 5
    assert "'day2.mp4' is text" in done.err
    assert "'gone.mp4' does not exist" in done.err
    assert "`submit` has a server find its highlights" in done.err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"day1", "day1-2"}
    assert left_over(tmp_path) == ["empty"]
    plain = find(*sources, "--out", "out", "--no-clips", cwd=tmp_path)
    assert plain.code == 1
    assert plain.out.count("1 highlight in 0:16 of day1.mp4") == 2


def test_nothing_found_is_an_honest_empty_result(tmp_path: Path) -> None:
    films.film(tmp_path / "calm.mp4", ())
    done = find("calm.mp4", "--reel", "10", cwd=tmp_path)
    assert done.code == 0
    assert "0 highlights in 0:24 of calm.mp4" in done.out
    assert "no reel: there is no moment to show in it" in done.err
    out = tmp_path / "highlights" / "calm"
    assert tree(out) == {"highlights.json", "report.html"}
    assert json.loads((out / "highlights.json").read_text("utf-8"))["highlights"] == []


def test_pictures_that_a_clip_lacks_are_told(tmp_path: Path) -> None:
    films.film(tmp_path / "film.webm", codec="libvpx-vp9", audio="libopus")
    spoil(tmp_path / "film.webm", "video", slice(121, 124))
    assert find("film.webm", cwd=tmp_path).code == 0
    document = stored(tmp_path / "highlights" / "film")
    [told] = [w for w in document["warnings"] if "damaged picture" in w]
    assert re.fullmatch(r"the clip 0:\d\d-0:\d\d: \d+ damaged pictures are left out", told)
