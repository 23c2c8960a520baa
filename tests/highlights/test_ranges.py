"""Lists of ranges as other programs and people write them. Our own come back in `test_exports`."""

from __future__ import annotations

import contextlib
import io
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
    load_list,
    parse_range,
    read_chapters,
    read_csv,
    read_edl,
    read_json,
    read_lines,
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


def test_ranges_that_run_backwards_are_for_the_cutter_to_refuse_alone() -> None:
    assert read_csv("start,end\n5,4\n6,7") == [NamedRange(5, 4), NamedRange(6, 7)]
    assert read_chapters("0:00 a\n0:20 b\n0:10 c", 9)[1:] == [NamedRange(20, 10, "b"), NamedRange(10, 9, "c")]
    assert read_vtt("WEBVTT\n\n00:02.000 --> 00:01.000\nback") == [NamedRange(2, 1, "back")]
    assert read_json("[[2, 1], [-3, 4]]") == [NamedRange(2, 1), NamedRange(-3, 4)]


def test_a_list_is_read_by_the_kind_of_its_file(tmp_path: Path) -> None:
    for format, name in (("csv", "a.csv"), ("edl", "a.EDL"), ("vtt", "a.vtt"), ("chapters", "a.txt")):
        export(TWO, format, tmp_path / name, frame_rate=Fraction(25))
        back = read_ranges(tmp_path / name, frame_rate=Fraction(25), duration=DAY)
        assert 400 in [pytest.approx(found.start, abs=0.05) for found in back]
    with pytest.raises(NotFoundError, match="no list of ranges at"):
        read_ranges(tmp_path / "none.csv", frame_rate=Fraction(25), duration=1)
    for name, words in ((".", "Is a directory"), ("a" * 300, "File name too long"), ("a\0", "null byte")):
        with pytest.raises(UsageError, match=f"is no list of ranges: .*{words}"):
            read_ranges(Path(name), frame_rate=Fraction(25), duration=1)
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
    for read in (parse_range, read_csv, read_vtt, read_json, read_lines):
        with contextlib.suppress(RangeError, UsageError):
            read(text)
    with contextlib.suppress(RangeError, UsageError):
        load_list(io.BytesIO(text.encode("utf-8", "replace")), "-").ranges(frame_rate=NTSC, duration=100)


# --- written by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("12:31.4-12:58", 751.4, 778),
        ("12:31,4-12:58", 751.4, 778),
        ("1:02:03-1:02:33", 3723, 3753),
        ("75-80.5", 75, 80.5),
        ("75.-80", 75, 80),
        ("12:31+20", 751, 771),
        ("1:00+1:02.5", 60, 122.5),
        (" 12:31 – 12:58 ", 751, 778),
        ("90:00-91:00", 5400, 5460),
        ("0-0.04", 0, 0.04),
        ("-5-10", -5, 10),
        ("10-5", 10, 5),
        ("7+0", 7, 7),
        ("0-999999999999", 0, 999999999999),
    ],
)
def test_ranges_on_the_command_line(text: str, start: float, end: float) -> None:
    found = parse_range(text)
    assert (found.start, found.end, found.title) == (pytest.approx(start), pytest.approx(end), "")


@pytest.mark.parametrize(
    "text",
    ["", "12:31", "12:31-", "-", "+20", "nan-5", "5-inf", "5-1e3", "a.mp4", "1:2:3:4-5", "5--3", "1-2-3",
     "12:31.4.5-12:58", "١-٢" * 20, "9" * 100 + "-1", "5-6\n7", "1 2-3"],
)  # fmt: skip
def test_what_is_no_range_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(RangeError, match=r"write 12:31\.4-12:58, 751\.5-778 or 12:31\+20|is no time"):
        parse_range(text)


def test_a_range_a_line() -> None:
    text = "# the best\n12:31-12:58 The goal\n\n75+5.5\n"
    assert read_lines(text) == [NamedRange(751, 778, "The goal"), NamedRange(75, 80.5)]
    with pytest.raises(RangeError, match=r"line 2: 'soon' is no range"):
        read_lines("1-2\nsoon")


# --- JSON ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[[12.5, 62.25]]",
        '[{"start": 12.5, "end": 62.25}]',
        '[{"start": "12.5", "end": "1:02,25"}]',
        '{"clips": [{"start": 12.5, "end": 62.25, "extra": null}], "video_id": "x"}',
        '{"highlights": [{"start": 20, "end": 30, "clip_start": 12.5, "clip_end": 62.25}]}',
        '{"source": "a.mp4", "plan": [{"start": 12.5, "end": 62.25}]}',
        "\ufeff\n[[12.5,62.25]]",
    ],
)
def test_json_of_others(text: str) -> None:
    assert read_json(text) == [NamedRange(12.5, 62.25)]


def test_titles_and_names_of_json() -> None:
    one, two = (
        '{"start": 1, "end": 2, "title": "a\\ud800\\nb", "name": "one"}',
        '{"start": 1, "end": 2, "title": null}',
    )
    text = f"[{one}, {two}]"
    assert read_json(text) == [NamedRange(1, 2, "a b", "one"), NamedRange(1, 2)]
    assert read_json('[{"start": 1, "end": 4, "peak": 2.5}]') == [NamedRange(1, 4, peak=2.5)]
    assert read_json("[]") == []


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("[[1, 2], [NaN, 3]]", RangeError, "entry 2: NaN is no time; write seconds"),
        ("[[1, Infinity]]", RangeError, "entry 1: Infinity is no time"),
        ("[[1, 1e400]]", RangeError, "entry 1: Infinity is no time"),
        (f"[[1, {10**400}]]", RangeError, "entry 1: 1000000000"),
        ("[[1, 1e308]]", RangeError, "entry 1: 1e+308 is no time"),
        ("[[1, true]]", RangeError, "entry 1: true is no time"),
        ("[[1, null]]", RangeError, "entry 1: null is no time"),
        ('[["1", "soon"]]', RangeError, "entry 1: 'soon' is no time"),
        ("[[1, [2]]]", RangeError, "entry 1: [2] is no time"),
        ("[[1, 2, 3]]", RangeError, "entry 1: there is no start and end in [1, 2, 3]"),
        ('[{"start": 1}]', RangeError, 'entry 1: there is no start and end in {"start": 1}'),
        ("[7]", RangeError, "entry 1: there is no start and end in 7"),
        ("7", UsageError, "holds no list of ranges"),
        ('{"results": []}', UsageError, "holds no list of ranges"),
        ("[[1, 2]", UsageError, "this is no JSON"),
        ("[" * 100_000, UsageError, "this is no JSON"),
        (f"[[1, {'9' * 5000}]]", UsageError, "this is no JSON"),
    ],
)  # fmt: skip
def test_entries_that_are_no_range_are_named(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        read_json(text)


# --- by content ----------------------------------------------------------------------------------------

BY_CONTENT = {
    "json": '[\n  {"start": 10, "end": 20}\n]',
    "json of one line": "[[10,20]]",
    "document": '{"highlights": [{"clip_start": 10, "clip_end": 20}]}',
    "csv": "start,end\n10,20\n",
    "csv without heading": "0:10;0:20",
    "tabs": "0:10\t0:20\tTitle",
    "lines": "0:10-0:20",
    "lines with titles": "0:10+10 Title\n# 5 best\n",
    "edl": "TITLE: X\n001  AX V C 00:00:10:00 00:00:20:00 00:00:00:00 00:00:10:00",
    "vtt": "WEBVTT\n\n00:10.000 --> 00:20.000\nTitle",
    "chapters": "0:10 Intro",
    "chapters in brackets": "[0:10] Intro",
    "chapters in prose": "My video, 1-2 of it\n\n0:10 - 5 ways",
}


@pytest.mark.parametrize("kind", BY_CONTENT)
@pytest.mark.parametrize("before", ["", "\ufeff", "\n\n"])
def test_a_list_without_a_name_is_read_by_its_content(kind: str, before: str) -> None:
    if kind == "vtt" and before == "\n\n":
        return  # WebVTT begins with its first line
    found = load_list(io.BytesIO((before + BY_CONTENT[kind]).encode()), "-")
    assert [(r.start, r.end) for r in found.ranges(frame_rate=Fraction(25), duration=20)] == [(10, 20)]
