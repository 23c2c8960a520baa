"""Every format: what it says, and that it comes back to the very same frames."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.peers import need
from tldr_highlight.errors import MissingExtraError, OutputError, UsageError
from tldr_highlight.highlights import otio
from tldr_highlight.highlights.cuts import one_line
from tldr_highlight.highlights.document import HighlightDoc, HighlightsDoc
from tldr_highlight.highlights.exports import FORMATS, export
from tldr_highlight.highlights.ranges import NamedRange, read_chapters, read_csv, read_edl, read_vtt
from tldr_highlight.highlights.timecode import frame_at

FILM, NTSC, NTSC2 = Fraction(24_000, 1001), Fraction(30_000, 1001), Fraction(60_000, 1001)
OWN = (FILM, Fraction(24), Fraction(25), NTSC, Fraction(30), Fraction(50), NTSC2, Fraction(60))
COUNTED = {rate: rate for rate in OWN} | {
    Fraction(23.976): FILM,
    Fraction(2997, 100): NTSC,
    Fraction(59.94): NTSC2,
    Fraction(12): Fraction(24),
    Fraction(25, 2): Fraction(25),
    Fraction(15): Fraction(30),
    Fraction(120_000, 1001): NTSC2,
    Fraction(120): Fraction(60),
    Fraction(240): Fraction(60),
    Fraction(250, 11): Fraction(24),
    Fraction(29.5): Fraction(30),
    Fraction(2243, 1001): Fraction(24),
}
"""Rates of sources, and those of editing programs that their exports count in; the last three vary."""
RATES = list(COUNTED)
DAY = 86_400.0


def highlight(start: float, end: float, **changed: Any) -> HighlightDoc:
    made: dict[str, Any] = {
        "start": start + 1,
        "end": end - 1,
        "peak": (start + end) / 2,
        "score": 0.8,
        "confidence": 0.95,
        "types": ["reaction", "climactic"],
        "title": "Crowd reaction at 5:00",
        "dimensions": {"crowd_reaction": 0.91, "rarity": None},
        "evidence": [{"dimension": "crowd_reaction", "time": start, "text": "crowd noise 3.1 σ above"}],
        "clip_start": start,
        "clip_end": end,
        "clip": "clips/highlight-01.mp4",
        "thumbnail": "thumbnails/highlight-01.jpg",
    }
    return HighlightDoc(**(made | changed))


def document(*highlights: HighlightDoc, **changed: Any) -> HighlightsDoc:
    made: dict[str, Any] = {
        "source": "/videos/Über match.mp4",
        "duration": DAY,
        "analyzer": "signals",
        "elapsed": 10.0,
        "highlights": list(highlights),
        "degraded": False,
        "warnings": [],
    }
    return HighlightsDoc(**(made | changed))


def written(
    folder: Path, format: str, made: HighlightsDoc, rate: Fraction = Fraction(25), **options: Any
) -> str:
    path = folder / f"out.{format}"
    export(made, format, path, frame_rate=rate, **options)
    return path.read_bytes().decode()


def frames(ranges: Sequence[NamedRange], rate: Fraction) -> list[tuple[int, int]]:
    return [(frame_at(r.start, rate), frame_at(r.end, rate)) for r in ranges]


# --- round trips


@st.composite
def clips(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Clips anywhere in a day, in no order, touching or overlapping, from a blink to two minutes."""
    starts = draw(st.lists(st.floats(0, DAY - 121), min_size=1, max_size=6))
    return [(s, s + draw(st.floats(0.001, 120))) for s in starts]


def expected(made: list[tuple[float, float]], rate: Fraction) -> list[tuple[int, int]]:
    snapped = ((frame_at(a, rate), frame_at(b, rate)) for a, b in made)
    return sorted((a, max(a + 1, b)) for a, b in snapped)


many = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(made=clips(), rate=st.sampled_from(RATES))
@pytest.mark.parametrize("format", ["csv", "vtt"])
def test_times_come_back_as_the_same_frames(
    format: str, made: list[tuple[float, float]], rate: Fraction, tmp_path: Path
) -> None:
    text = written(tmp_path, format, document(*(highlight(*c) for c in made)), rate)
    back = {"csv": read_csv, "vtt": read_vtt}[format](text)
    assert frames(back, COUNTED[rate]) == expected(made, COUNTED[rate])
    assert {r.title for r in back} == {"Crowd reaction at 5:00"}


@many
@given(made=clips(), rate=st.sampled_from(RATES), drop=st.sampled_from([None, False]))
def test_an_edl_comes_back_as_the_same_frames(
    made: list[tuple[float, float]], rate: Fraction, drop: bool | None, tmp_path: Path
) -> None:
    made = list(dict.fromkeys(made))
    text = written(tmp_path, "edl", document(*(highlight(*c) for c in made)), rate, drop_frame=drop)
    assert frames(read_edl(text, rate), COUNTED[rate]) == list(dict.fromkeys(expected(made, COUNTED[rate])))


@many
@given(
    made=st.lists(st.tuples(st.floats(0, 60), st.floats(10, 60)), min_size=1, max_size=8),
    rate=st.sampled_from(RATES),
)
def test_chapters_with_room_around_them_come_back_as_the_clips(
    made: list[tuple[float, float]], rate: Fraction, tmp_path: Path
) -> None:
    at, clips = 0.0, list[tuple[float, float]]()
    for gap, length in made:
        clips.append((at + 12 + gap, at + 12 + gap + length))
        at = clips[-1][1]
    listed = [highlight(*clip, title=f"number {n}") for n, clip in enumerate(clips)]
    text = written(tmp_path, "chapters", document(*listed, duration=at + 12), rate)
    back = {r.title: r for r in read_chapters(text, at + 12)}
    for n, (start, end) in enumerate(clips):
        found = back[f"number {n}"]
        assert start - 1.05 < found.start <= start + 0.05
        assert end - 0.05 <= found.end < end + 1.05
    assert back.keys() == {f"number {n}" for n in range(len(clips))} | {"Start", "Then"}


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=clips(), rate=st.sampled_from(RATES))
@example(made=[(0.0, 1.0), (0.0, 1.0), (0.0, 2.0)], rate=Fraction(25))
@pytest.mark.parametrize("format", ["otio", "fcpxml"])
def test_timelines_come_back_as_the_same_frames(
    format: str, made: list[tuple[float, float]], rate: Fraction, tmp_path: Path
) -> None:
    need("otio")
    import opentimelineio

    text = written(tmp_path, format, document(*(highlight(*c) for c in made)), rate)
    adapter = {"otio": "otio_json", "fcpxml": "fcp_xml"}[format]
    timeline = opentimelineio.adapters.read_from_string(text, adapter)
    assert [t.kind for t in timeline.tracks] == ["Video", "Audio"]
    for track in timeline.tracks:
        back = [(c.source_range.start_time.value, c.source_range.duration.value) for c in track]
        assert back == [(a, b - a) for a, b in expected(made, COUNTED[rate])]
        assert track[0].source_range.start_time.rate == pytest.approx(float(COUNTED[rate]))


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{float(rate):.3f}")
def test_all_formats_tell_the_same_times(rate: Fraction, tmp_path: Path) -> None:
    """Within half a frame those of the document, as OpenTimelineIO reads them at an editor's rate."""
    need("otio")
    from opentimelineio import adapters, opentime

    made = document(highlight(83.69, 97.31), highlight(7321.123, 7350.5))
    counted = float(COUNTED[rate])
    rows = list(csv.DictReader(io.StringIO(written(tmp_path, "csv", made, rate))))
    events = [r.split()[4:6] for r in written(tmp_path, "edl", made, rate).splitlines() if " AX " in r]
    codes = [(row["timecode_in"], row["timecode_out"]) for row in rows]
    assert [tuple(event) for event in events] == codes
    told = [
        [(float(row["clip_start"]), float(row["clip_end"])) for row in rows],
        [tuple(opentime.from_timecode(c, counted).to_seconds() for c in pair) for pair in codes],
        [(r.start, r.end) for r in read_vtt(written(tmp_path, "vtt", made, rate))],
    ]
    for format, adapter in (("otio", "otio_json"), ("fcpxml", "fcp_xml")):
        track = adapters.read_from_string(written(tmp_path, format, made, rate), adapter).tracks[0]
        ranges = [clip.source_range for clip in track]
        told.append([(r.start_time.to_seconds(), r.end_time_exclusive().to_seconds()) for r in ranges])
    for times in told:
        for (start, end), clip in zip(times, made["highlights"], strict=True):
            assert (start, end) == pytest.approx(
                (clip["clip_start"], clip["clip_end"]), abs=0.5 / counted + 0.001
            )


# --- what each of them says

TWO = document(
    highlight(400.02, 430.5, title="second\nline \x1b[31m", score=0.91),
    highlight(60.0, 75.0, title="=HYPERLINK(1)", dimensions={"crowd_reaction": 0.5, "humor": 0.25}),
)


def test_json_is_the_document_in_order_of_time(tmp_path: Path) -> None:
    made = json.loads(written(tmp_path, "json", TWO))
    assert [h["clip_start"] for h in made["highlights"]] == [60.0, 400.02]
    assert made | {"highlights": []} == {**TWO, "highlights": []}


def test_csv_has_a_row_each_and_a_column_per_dimension(tmp_path: Path) -> None:
    text = written(tmp_path, "csv", TWO, NTSC)
    assert text.count("\r\n") == text.count("\n") == 3
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [r["number"] for r in rows] == ["1", "2"]
    assert [r["crowd_reaction"] for r in rows] == ["0.5", "0.91"]
    assert [r["rarity"] for r in rows] == ["", ""]  # unknown is no zero
    assert [r["humor"] for r in rows] == ["0.25", ""]
    assert rows[0]["title"] == "'=HYPERLINK(1)"
    assert rows[1]["title"] == "second line [31m"
    assert rows[0]["timecode_in"] == "00:00:59;28"
    assert rows[0]["types"] == "reaction climactic"
    assert rows[0]["evidence"] == "crowd noise 3.1 σ above"


@pytest.mark.parametrize("lead", ["=", "+", "-", "@", "\t=", "\r+", "  @", "＝", "－"])
def test_no_cell_is_a_formula(lead: str, tmp_path: Path) -> None:
    evil = f"{lead}cmd|' /C calc'!A0"
    made = highlight(
        *(1.0, 9.0),
        title=evil,
        types=[evil],
        clip=evil,
        thumbnail=evil,
        dimensions={evil: 0.5},
        evidence=[{"dimension": "x", "time": 1.0, "text": evil}],
    )
    text = written(tmp_path, "csv", document(made))
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            assert not re.match(r"[=+\-@＝＋－＠\t\r]", cell), cell
    assert read_csv(text)[0].title == one_line(evil)


def test_edl_is_cmx_3600(tmp_path: Path) -> None:
    text = written(tmp_path, "edl", TWO, NTSC)
    assert text.isascii()
    assert text.splitlines() == [
        "TITLE: Uber match.mp4",
        "FCM: DROP FRAME",
        "",
        "001  AX       AA/V  C        00:00:59;28 00:01:15;00 00:00:00;00 00:00:15;00",
        "* FROM CLIP NAME: Uber match.mp4",
        "* COMMENT: =HYPERLINK(1) (score 0.80)",
        "",
        "002  AX       AA/V  C        00:06:40;01 00:07:10;16 00:00:15;00 00:00:45;13",
        "* FROM CLIP NAME: Uber match.mp4",
        "* COMMENT: second line [31m (score 0.91)",
    ]


def test_edl_without_drop_frame_or_a_stream(tmp_path: Path) -> None:
    text = written(tmp_path, "edl", TWO, NTSC, drop_frame=False, has_video=False)
    assert "FCM: NON-DROP FRAME" in text
    assert "001  AX       AA    C        00:00:59:28 00:01:14:28 00:00:00:00 00:00:15:00" in text
    assert "001  AX       V     C " in written(tmp_path, "edl", TWO, has_audio=False)
    with pytest.raises(UsageError, match="drop-frame timecode exists at"):
        written(tmp_path, "edl", TWO, Fraction(25), drop_frame=True)


def test_names_without_a_plain_form_stay_one_ascii_line(tmp_path: Path) -> None:
    made = document(highlight(1, 9, title="漢字\u2028\ud800 ok"), source="/a/漢\n.mp4")
    text = written(tmp_path, "edl", made)
    assert text.isascii()
    assert "TITLE: ? .mp4" in text
    assert "* COMMENT: ?? ok (score 0.80)" in text


def chapters(*clips: tuple[float, float], duration: float = 600.0, folder: Path) -> list[str]:
    made = [highlight(a, b, title=f"H{i} at 1:00") for i, (a, b) in enumerate(clips, 1)]
    return written(folder, "chapters", document(*made, duration=duration)).splitlines()


def test_chapters_start_at_zero_and_are_their_clips(tmp_path: Path) -> None:
    assert chapters((60.9, 70.5), (3661, 3680), duration=7200, folder=tmp_path) == [
        "0:00 Start",
        "1:00 H1",
        "1:11 Then",
        "1:01:01 H2",
        "1:01:20 Then",
    ]
    assert chapters((4, 20), (100, 120), (125, 220), folder=tmp_path) == [
        "0:00 H1",
        "0:20 Then",
        "1:40 H2",
        "2:05 H3",
        "3:40 Then",
    ]
    assert chapters((2, 11), (37.2, 54.8), duration=60, folder=tmp_path) == [
        "0:00 H1",
        "0:11 Then",
        "0:37 H2",
    ]


def test_chapters_are_at_least_ten_seconds(tmp_path: Path) -> None:
    assert chapters((60, 64), (65, 69), (100, 110), folder=tmp_path) == [
        "0:00 Start",
        "1:00 H1, H2",
        "1:10 Then",
        "1:40 H3",
        "1:50 Then",
    ]
    assert chapters((9.2, 30), folder=tmp_path) == ["0:00 Start", "0:10 H1", "0:30 Then"]
    assert chapters((60, 70), (100, 110), (595, 600), folder=tmp_path)[-2:] == ["1:50 Then", "9:50 H3"]


def test_chapters_are_at_least_three_where_possible(tmp_path: Path) -> None:
    assert chapters((60, 70.5), folder=tmp_path) == ["0:00 Start", "1:00 H1", "1:11 Then"]
    assert chapters((0, 9), folder=tmp_path) == ["0:00 H1", "0:10 Then", "9:50 Then"]
    assert chapters((60, 597), folder=tmp_path) == ["0:00 Start", "0:50 Then", "1:00 H1"]
    assert chapters((15, 597), folder=tmp_path) == ["0:00 Start", "0:15 H1", "9:50 Then"]
    assert chapters((5, 600), folder=tmp_path) == ["0:00 H1"]
    assert chapters(folder=tmp_path) == ["0:00 Start"]
    assert chapters((1, 5), duration=8, folder=tmp_path) == ["0:00 H1"]


@many
@given(made=clips(), duration=st.floats(1, DAY))
def test_chapters_follow_the_rules(made: list[tuple[float, float]], duration: float, tmp_path: Path) -> None:
    inside = [(a, b) for a, b in made if b <= duration]
    lines = chapters(*inside, duration=duration, folder=tmp_path)
    back = read_chapters("\n".join(lines), duration + 1)
    starts = [r.start for r in back]
    for chapter in back:
        if number := re.match(r"H(\d+)", chapter.title):
            clip = inside[int(number[1]) - 1]
            assert chapter.start > clip[0] - 1.05 or chapter.start in (0, int(duration) - 10)
    assert starts[0] == 0
    assert all(b - a >= 10 for a, b in pairwise(starts))
    assert len(starts) == 1 or duration - starts[-1] >= 10 - 1e-9
    if inside and duration >= 100 and min(a for a, _ in inside) >= 10:
        first = min(inside)
        if first[1] <= duration - 30:
            assert len(starts) >= 3


def test_chapter_titles_have_no_brackets_and_no_second_time(tmp_path: Path) -> None:
    made = document(highlight(20, 30, title="<b> at 12:30:01"), highlight(90, 99, title="at 5 at 1:00"))
    assert written(tmp_path, "chapters", made).splitlines()[1::2] == ["0:20 ‹b›", "1:30 at 5"]


def test_vtt_is_valid_and_its_text_is_text(tmp_path: Path) -> None:
    evil = highlight(3600.5, 3601.75, title="a --> b\n\n<i>&amp; WEBVTT", types=["x<y"])
    text = written(tmp_path, "vtt", document(evil))
    assert text.split("\n") == [
        "WEBVTT",
        "",
        "1",
        "01:00:00.520 --> 01:00:01.760",  # 3600.5 s is no frame of 25: the nearest
        "a --&gt; b &lt;i&gt;&amp;amp; WEBVTT",
        "x&lt;y, score 0.80",
        "",
    ]
    assert read_vtt(text) == [NamedRange(3600.52, 3601.76, "a --> b <i>&amp; WEBVTT")]


def test_a_timeline_says_where_its_medium_is(tmp_path: Path) -> None:
    need("otio")
    import opentimelineio

    text = written(tmp_path, "otio", TWO, NTSC, has_audio=False)
    timeline = opentimelineio.adapters.read_from_string(text, "otio_json")
    (track,) = timeline.tracks
    clip = track[1]
    assert clip.name == "second line [31m"
    assert clip.media_reference.target_url == "file:///videos/%C3%9Cber%20match.mp4"
    assert clip.media_reference.available_range.duration.value == frame_at(DAY, NTSC)
    assert clip.metadata["tldr_highlight"]["score"] == 0.91
    assert clip.metadata["tldr_highlight"]["dimensions"] == {"crowd_reaction": 0.91, "rarity": None}
    assert [m.marked_range.start_time.value for m in clip.markers] == [frame_at(415.26, NTSC)]


@pytest.mark.parametrize(
    ("rate", "timebase", "ntsc"),
    [
        (NTSC, 30, "TRUE"),
        (Fraction(25), 25, "FALSE"),
        (Fraction(24_000, 1001), 24, "TRUE"),
        (Fraction(60), 60, "FALSE"),
        (Fraction(15), 30, "FALSE"),
        (Fraction(25, 2), 25, "FALSE"),
        (Fraction(2997, 100), 30, "TRUE"),
        (Fraction(250, 11), 24, "FALSE"),
    ],
)
def test_fcp7_xml_counts_at_a_rate_it_has(rate: Fraction, timebase: int, ntsc: str, tmp_path: Path) -> None:
    need("otio")
    root = ET.fromstring(written(tmp_path, "fcpxml", TWO, rate))
    assert root.tag == "xmeml"
    found = {(e.findtext("timebase"), e.findtext("ntsc")) for e in root.iter("rate")}
    assert found == {(str(timebase), ntsc)}
    assert [e.text for e in root.iter("pathurl")] == ["file:///videos/%C3%9Cber%20match.mp4"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_result_and_hostile_text_can_be_exported(format: str, tmp_path: Path) -> None:
    if format in ("otio", "fcpxml"):
        need("otio")
    assert written(tmp_path, format, document())
    if format != "json":  # a document with half a surrogate pair is refused before it gets here
        evil = highlight(1.0, 9.0, title="\x00\ud800\n--> ]]></clipitem>", types=["\x07"], clip=None)
        assert written(tmp_path, format, document(evil, source="https://e.org/\x01\ud800.mp4"))


@pytest.mark.parametrize("format", ["otio", "fcpxml"])
def test_a_missing_extra_is_named(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(otio.importlib, "import_module", gone)
    with pytest.raises(MissingExtraError, match=r"pip install 'tldr-highlight\[otio\]'"):
        written(tmp_path, format, TWO)
    assert list(tmp_path.iterdir()) == []


def test_formats_and_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot export 'pdf': choose from json, csv, edl"):
        written(tmp_path, "pdf", TWO)
    with pytest.raises(UsageError, match="must be above 0"):
        written(tmp_path, "csv", TWO, Fraction(0))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        export(TWO, "csv", tmp_path / "file" / "x.csv", frame_rate=Fraction(25))


def test_a_failed_export_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written(tmp_path, "csv", TWO)

    def broken(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OutputError):
        written(tmp_path, "csv", document())
    assert (tmp_path / "out.csv").read_bytes().decode() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]
