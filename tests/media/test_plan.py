"""What is copied and what is encoded, and that the plan is what is then done."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.media.conftest import Made, Maker
from tests.media_maker import Recipe, join_bytes, make
from tldr_highlight.errors import CutError, RangeError
from tldr_highlight.media.cut import cut
from tldr_highlight.media.frames import Source
from tldr_highlight.media.plan import copyable, plan
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipPlan, ClipResult, ClipSpec, CutOptions, Watermark

OPEN_GOP = (("x264-params", "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3:b-adapt=0"),)


def plan_of(made: Made, start: float, end: float, **options: Any) -> ClipPlan:
    outcome = plan(made.info, [ClipSpec(start, end, Path("x.mp4"))], options=CutOptions(**options))[0]
    assert isinstance(outcome, ClipPlan), outcome
    return outcome


# GOPs of 12 pictures at 25 a second, closed: key pictures at 0, .48, .96, 1.44 ...
@pytest.mark.parametrize(
    ("start", "end", "bframes", "method", "encoded"),
    [
        (0.48, 1.44, 2, "copy", 0),  # from key to key
        (0.48, 1.48, 2, "copy", 0),  # and a key picture alone at the end
        (0.44, 1.44, 2, "smart", 1),  # a picture before the first key
        (0.52, 1.44, 2, "smart", 11),  # a picture behind a key: the rest of its GOP
        (0.48, 1.44, 0, "copy", 0),
        (0.48, 1.40, 0, "copy", 0),  # without reordering every place is clean
        (0.52, 0.92, 2, "encode", 10),  # inside one GOP
        (0.0, 99.0, 2, "copy", 0),  # everything
    ],
)
def test_methods(start: float, end: float, bframes: int, method: str, encoded: int, media: Maker) -> None:
    found = plan_of(media("mp4", bframes=bframes), start, end)
    assert (found.method, found.encoded_frames) == (method, encoded), found.reason


@pytest.mark.parametrize("end", [0.96 + n / 25 for n in range(1, 12)])
def test_only_a_few_pictures_are_encoded_at_the_end(end: float, media: Maker) -> None:
    found = plan_of(media("mp4", bframes=3), 0.48, end)
    assert found.encoded_frames <= 3
    assert found.end == pytest.approx(end)


@pytest.mark.parametrize(
    ("suffix", "recipe", "options", "reason"),
    [
        ("mp4", {}, {"mode": "encode"}, "asked for"),
        ("mp4", {}, {"quality": "small"}, "small"),
        ("mp4", {}, {"max_height": 100}, "100 lines"),
        ("mp4", {}, {"watermark": Watermark(text="x")}, "watermark"),
        ("mp4", {"codec": "libx265", "bframes": 3}, {}, "hevc"),
        ("mp4", {"pix_fmt": "yuv420p10le"}, {}, "yuv420p10le"),
        ("mp4", {"pix_fmt": "yuv444p"}, {}, "yuv444p"),
        ("mp4", {"gop": 250}, {}, "no key picture"),
        ("mp4", {"options": (("x264-params", "interlaced=1"),)}, {}, "interlaced"),
        ("mp4", {"codec": None}, {}, "no pictures"),
    ],
)
def test_reasons(
    suffix: str, recipe: dict[str, Any], options: dict[str, Any], reason: str, media: Maker
) -> None:
    found = plan_of(media(suffix, **recipe), 1.0, 2.0, **options)
    assert found.method == "encode"
    assert reason in found.reason


def test_key_pictures_that_others_reach_over_are_no_borders(media: Maker) -> None:
    made = media("ts", options=OPEN_GOP, start=10.0)
    assert plan_of(made, 0.5, 3.0).method == "encode"  # one IDR picture only, the first
    whole = plan_of(made, 0.0, 3.0)
    assert whole.method in {"copy", "smart"}


def test_parameters_that_change_inside_forbid_copying(tmp_path: Path) -> None:
    parts = [
        make(tmp_path / "a.ts", Recipe(seconds=2.0, audio=None)),
        make(
            tmp_path / "b.ts",
            Recipe(seconds=2.0, start=2.0, audio=None, bframes=0, options=(("level", "5.1"),)),
        ),
    ]
    info = probe(join_bytes(tmp_path / "both.ts", parts))
    spec = ClipSpec(0.3, 3.5, tmp_path / "clip.mp4")
    (result,) = cut(info, [spec])
    assert isinstance(result, ClipResult)
    assert result.method == "encode"
    assert "parameter" in result.reason


@pytest.mark.parametrize(("start", "end"), [(0.3, 2.7), (0.48, 1.92), (0.0, 0.2), (1.0, 99.0)])
def test_what_is_planned_is_what_is_done(start: float, end: float, media: Maker, tmp_path: Path) -> None:
    made = media("mp4")
    planned = plan_of(made, start, end)
    (result,) = cut(made.info, [ClipSpec(start, end, tmp_path / "clip.mp4")])
    assert isinstance(result, ClipResult)
    assert (planned.method, planned.reason) == (result.method, result.reason)
    assert planned.start == pytest.approx(result.actual_start)
    assert planned.end == pytest.approx(result.actual_end)
    assert planned.frames == result.frames
    assert 0.3 < planned.expected_bytes / result.bytes < 3


def test_bad_ranges_are_told_beside_good_ones(media: Maker) -> None:
    made = media("mp4")
    ranges = [(2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (0.0, 1.0), (50.0, 60.0)]
    plans = plan(made.info, [ClipSpec(a, b, Path("x.mp4")) for a, b in ranges])
    assert [type(p) for p in plans] == [RangeError, RangeError, RangeError, ClipPlan, RangeError]
    assert [p.index for p in plans if isinstance(p, CutError)] == [0, 1, 2, 4]


def test_reaching_behind_the_end_can_be_refused(media: Maker) -> None:
    made = media("mp4")
    specs = [ClipSpec(0.0, 99.0, Path("x.mp4")), ClipSpec(0.0, made.info.duration, Path("x.mp4"))]
    strict = plan(made.info, specs, options=CutOptions(clamp=False))
    assert isinstance(strict[0], RangeError)
    assert isinstance(strict[1], ClipPlan)


def test_only_the_ends_are_looked_at(media: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    made = media("mp4", seconds=40.0)
    looked: list[float] = []
    whole = Source.picture_packets

    def counted(self: Source, start: float) -> Any:
        for packet in whole(self, start):
            looked.append(packet.at)
            yield packet

    monkeypatch.setattr(Source, "picture_packets", counted)
    with Source(made.info) as source:
        found = copyable(source, 1.1, 38.9, CutOptions())
    assert found.encoded
    assert len(looked) < 100
    assert not [at for at in looked if 5 < at < 35]


def test_a_clip_in_a_still_is_encoded(media: Maker) -> None:
    slides = tuple(Fraction(n) for n in range(6))
    made = media("mp4", times=slides, gop=1, bframes=0)
    assert "stays for long" in plan_of(made, 1.3, 3.0).reason
    assert "stays for long" in plan_of(made, 1.0, 3.3).reason
    assert plan_of(made, 1.0, 3.0).method == "copy"


def test_shapes_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CutOptions().mode = "encode"  # type: ignore[misc]
