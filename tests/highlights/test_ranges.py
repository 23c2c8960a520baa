"""Lists of ranges as other programs and people write them. Our own come back in `test_exports`."""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.highlights.test_exports import DAY, NTSC, TWO, frames
from tldr_highlight.errors import NotFoundError, RangeError, UsageError
from tldr_highlight.highlights import ranges
from tldr_highlight.highlights.exports import export
from tldr_highlight.highlights.ranges import (
    NamedRange,
    read_chapters,
    read_csv,
    read_edl,
    read_ranges,
    read_vtt,
)


def test_an_edl_of_another_program() -> None:
    text = """TITLE: Untitled
FCM: NON-DROP FRAME

000001  MYREEL   V     C        01:00:00:00 01:00:02:00 00:00:00:00 00:00:02:00
* FROM CLIP NAME: A.mov
000001  MYREEL   A     C        01:00:00:00 01:00:02:00 00:00:00:00 00:00:02:00
002  BL       V     C        00:00:00:00 00:00:00:00 00:00:02:00 00:00:02:00
002  AX       B     D    030 01:00:10:12 01:00:12:00 00:00:02:00 00:00:03:13
* COMMENT: the one
M2   AX       050.0                01:00:10:12
"""
    assert read_edl(text, Fraction(25)) == [
        NamedRange(3600.0, 3602.0, "A.mov"),
        NamedRange(3610.48, 3612.0, "the one"),
    ]
    drop = "FCM: DROP FRAME\n001  AX V C 00:01:00:02 00:01:00:03 00:00:00:00 00:00:00:01"
    assert frames(read_edl(drop, NTSC), NTSC) == [(1800, 1801)]
    with pytest.raises(RangeError, match="line 2: 00:01:00:99 has frame 99"):
        read_edl("\n001  AX V C 00:01:00:99 00:01:00:03 00:00:00:00 00:00:00:01", Fraction(25))


@pytest.mark.parametrize(
    "text",
    [
        "start,end\n12.5,1:02.25\n",
        "end;start;title\n1:02,25;12,5;\n",
        "12.5,62.25\n",
        "12,5;0:01:02,25\n",
        "Title\tIn\tOut\n\t12.5\t00:01:02.25",
        '\ufeff"clip_start","start","clip_end","end"\r\n\r\n12.5,99,62.25,100\r\n',
        "12.5,62.25,\n\n",
    ],
)
def test_tables_of_others(text: str) -> None:
    assert read_csv(text) == [NamedRange(12.5, 62.25, "")]


def test_titles_of_tables() -> None:
    assert read_csv("10,20,foo; bar") == [NamedRange(10, 20, "foo; bar")]
    assert read_csv("start,end,title\n1,2,'=x\n3,4,'tis\n") == [
        NamedRange(1, 2, "=x"),
        NamedRange(3, 4, "'tis"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("start,end\n5,4", "line 2: the range ends at 4 s, not after its start at 5 s"),
        ("start,end\n5,soon", "line 2: 'soon' is no time; write 751.5 or 12:31.5"),
        ("start,end\n-5,1", "line 2: '-5' is no time"),
        ("start,end\n\n5", "line 3: there is no start and end in '5'"),
        ("nonsense", "line 1: there is no start and end in 'nonsense'"),
        ("1,nan", "line 1: 'nan' is no time"),
        (f"1,{'9' * 400}", "is no time"),
    ],
)
def test_rows_that_are_no_range_are_named(text: str, words: str) -> None:
    with pytest.raises(RangeError, match=re.escape(words)):
        read_csv(text)


def test_what_is_no_table() -> None:
    assert read_csv("") == []
    with pytest.raises(UsageError, match="this is no CSV"):
        read_csv("1,2," + "x" * 200_000)


def test_vtt_of_others() -> None:
    text = (
        "\ufeffWEBVTT - title\r\nX: y\r\n\r\nNOTE\r\nwords\r\n\r\n"
        "00:01.000 --> 00:02.500 align:start\r\n<v Bob>Hi &lt;there&gt;\r\n\r\nid\r\n"
        "1:00:00.000 --> 1:00:01.000\r\n"
    )
    assert read_vtt(text) == [NamedRange(1.0, 2.5, "Hi <there>"), NamedRange(3600.0, 3601.0, "")]
    with pytest.raises(UsageError, match="its first line is not WEBVTT"):
        read_vtt("1\n00:01.000 --> 00:02.000\n")
    with pytest.raises(RangeError, match="line 3: '' is no time"):
        read_vtt("WEBVTT\n\n00:01.000 -->")


def test_chapters_of_others() -> None:
    text = "My video!\n\n0:00 Intro\n(1:05) - Second – part\n[1:02:03] Third\nSee 4:00 not a chapter\n"
    assert read_chapters(text, 4000) == [
        NamedRange(0, 65, "Intro"),
        NamedRange(65, 3723, "Second – part"),
        NamedRange(3723, 4000, "Third"),
    ]
    with pytest.raises(RangeError, match="line 2: the range ends at 10 s"):
        read_chapters("0:00 a\n0:20 b\n0:10 c", 100)


def test_a_list_is_read_by_the_kind_of_its_file(tmp_path: Path) -> None:
    for format, name in (("csv", "a.csv"), ("edl", "a.EDL"), ("vtt", "a.vtt"), ("chapters", "a.txt")):
        export(TWO, format, tmp_path / name, frame_rate=Fraction(25))
        back = read_ranges(tmp_path / name, frame_rate=Fraction(25), duration=DAY)
        assert back[-1].start == pytest.approx(400, abs=0.05)
    with pytest.raises(NotFoundError, match="no list of ranges at"):
        read_ranges(tmp_path / "none.csv", frame_rate=Fraction(25), duration=1)
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe1")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_ranges(tmp_path / "bad.csv", frame_rate=Fraction(25), duration=1)


def test_a_huge_list_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "LARGEST_LIST", 3)
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(UsageError, match="is larger than"):
        read_ranges(tmp_path / "a.csv", frame_rate=Fraction(25), duration=1)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    def chapters_of(words: str) -> list[NamedRange]:
        return read_chapters(words, 100.0)

    def edl_of(words: str) -> list[NamedRange]:
        return read_edl(words, NTSC)

    for read in (read_csv, read_vtt, chapters_of, edl_of):
        with contextlib.suppress(RangeError, UsageError):
            assert all(r.end > r.start for r in read(text))
