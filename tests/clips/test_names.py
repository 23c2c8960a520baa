"""What clips are called."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.clips.names import DEFAULT, LONGEST, Template, clock, paths, safe
from tldr_highlight.errors import UsageError


def name(template: str, **changes: object) -> str:
    fields: dict[str, object] = {"index": 7, "start": 751.4, "end": 778, "title": "Goal!", "source": "match"}
    return Template.parse(template).name(**fields | changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (DEFAULT, "match-00-12-31.400-00-12-58.000"),
        ("{index}", "7"),
        ("{index:03}-{title}", "007-Goal!"),
        ("{title}.mp4", "Goal!"),
        ("{{{index}}}", "{7}"),
        ("just this", "just this"),
        ("..-{index}", "7"),
        ("{index}. ", "7"),
        ("con{index}", "con7"),
        ("nul", "nul_"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    assert name(template) == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "it is empty"),
        (".mp4", "it is empty"),
        ("{x}", "there is no {x}; choose from {index}, {start}, {end}, {title}, {source} and {index:03}"),
        ("{}", "there is no {}"),
        ("{index.__class__}", "there is no {index.__class__}"),
        ("{title[0]}", "there is no {title[0]}"),
        ("{index!r}", "there is no {index}"),
        ("{index:{index}}", "is none of ours"),
        ("{index:999999999}", "is none of ours"),
        ("{title:>99999999}", "is none of ours"),
        ("{", "write {{ or }} for a brace itself"),
        ("a}", "write {{ or }} for a brace itself"),
        ("../{index}", "it is a name, no path; --out says the folder"),
        ("a\\{index}", "it is a name, no path"),
    ],
)
def test_templates_that_are_none(template: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        Template.parse(template)


def test_times_in_names() -> None:
    assert [clock(t) for t in (0, 0.0004, 59.9996, 3723.04, 360000, -5)] == [
        "00-00-00.000", "00-00-00.000", "00-01-00.000", "01-02-03.040", "100-00-00.000", "00-00-00.000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("two\nlines\0\t.", "two lines"),
        ("--out", "out"),
        (" .hidden", "hidden"),
        ('it\'s "the" <match>: 100%?', "it's -the- -match-- 100%-"),
        ("gøål 🎉⚽", "gøål 🎉⚽"),
        ("👨‍👩‍👧", "👨‍👩‍👧"),
        ("txt\u202egpj", "txtgpj"),
        ("a\u0308", "ä"),
        (os.fsdecode(b"caf\xe9"), "caf"),
        ("COM1.tar", "COM1.tar_"),
        ("comma", "comma"),
        ("...", ""),
        ("", ""),
    ],
)
def test_names_are_safe(text: str, expected: str) -> None:
    assert safe(text) == expected


@given(st.text(), st.text(), st.floats(0, 1e9))
def test_any_title_and_source_give_a_name_that_stays_in_its_folder(
    tmp_path_factory: pytest.TempPathFactory, title: str, source: str, start: float
) -> None:
    stem = name("{title}-{source}-{start}", title=title, source=source, start=start)
    out = tmp_path_factory.getbasetemp()
    (path,) = paths([stem], out)
    assert path.parent == out
    assert path.suffix == ".mp4"
    assert len(path.name.encode()) <= LONGEST
    assert path.name[0] not in "-. "
    assert not re.search(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u202a-\u202e]', path.name)
    assert not path.exists()  # and the file system takes it


def test_what_tells_clips_apart_is_not_cut_off() -> None:
    long = name(DEFAULT, source="é" * 300)
    assert long == "é" * 50 + "-00-12-31.400-00-12-58.000"
    (path,) = paths(["x" * 1000], Path("out"))
    assert path.name == "x" * (LONGEST - 4) + ".mp4"


def test_every_name_is_given_once() -> None:
    assert [p.name for p in paths(["a", "A", "a", "a-2", "", "", "x" * 1000, "x" * 1000], Path("out"))] == [
        "a.mp4", "A-2.mp4", "a-3.mp4", "a-2-2.mp4", "clip.mp4", "clip-2.mp4",
        "x" * 196 + ".mp4", "x" * 194 + "-2.mp4",
    ]  # fmt: skip
    assert len({p.name for p in paths(["same"] * 1000, Path("out"))}) == 1000


def test_the_source_and_folders_are_never_in_the_way(tmp_path: Path) -> None:
    source = tmp_path / "match.mp4"
    source.write_bytes(b"film")
    (tmp_path / "other.mp4").mkdir()
    (tmp_path / "old.mp4").write_bytes(b"clip of yesterday")
    found = paths(["match", "other", "old"], tmp_path, [source, tmp_path / "gone"])
    assert [p.name for p in found] == ["match-2.mp4", "other-2.mp4", "old.mp4"]
    assert paths(["reel"], tmp_path, [tmp_path / "x" / ".." / "reel.mp4"]) == [tmp_path / "reel-2.mp4"]
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "logo.jpg").symlink_to(source)  # where a poster would go
    assert paths(["logo"], tmp_path, [source]) == [tmp_path / "logo-2.mp4"]
    assert paths(["link"], tmp_path, [source]) == [tmp_path / "link-2.mp4"]
