"""The scorer is what every figure rests on; one short video shows that files and labels agree."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.detection.labels import (
    CONTROL,
    NO_SOUND,
    Distractor,
    Event,
    LabelledVideo,
    Prediction,
    VideoSpec,
)
from benchmarks.detection.make import halved, make
from benchmarks.detection.methods import loudness
from benchmarks.detection.plan import GAP, dataset, make_plan
from benchmarks.detection.report import as_json, dump, table
from benchmarks.detection.score import judge, score, spearman

EVENTS = (
    Event("goal", "strong", 100.0, 102.0, 103.0, 104.0, 108.0),
    Event("near miss", "weak", 200.0, 201.0, 201.5, 202.0, 204.0),
)


def video(
    events: tuple[Event, ...] = EVENTS, distractors: tuple[Distractor, ...] = (), genre: str = "sports"
) -> LabelledVideo:
    return LabelledVideo(Path("x.mp4"), VideoSpec(genre, "tune", 1), 600.0, events, distractors, {})


def exact(events: tuple[Event, ...] = EVENTS) -> list[Prediction]:
    return [Prediction(e.start, e.peak, e.end, 1.0 - k / 10) for k, e in enumerate(events)]


def test_perfect_predictions_get_full_marks() -> None:
    figures = score([exact()], [video()]).overall
    assert (figures.precision, figures.recall, figures.f1, figures.f1_overlap) == (1, 1, 1, 1)
    assert (figures.average_precision, figures.hit_at_1) == (1, 1)
    assert (figures.border_error, figures.false_per_hour) == (0, 0)


def test_no_predictions_get_none() -> None:
    figures = score([[]], [video()]).overall
    assert (figures.recall, figures.f1, figures.average_precision, figures.hit_at_1) == (0, 0, 0, 0)
    assert math.isnan(figures.precision)


def test_nothing_found_where_nothing_happens_is_no_error() -> None:
    scores = score([[], exact()], [video((), genre=CONTROL), video()])
    assert scores.control_false_per_hour == 0
    assert scores.overall.f1 == 1
    assert scores.mean_ap == 1


def test_false_alarms_on_controls_count_per_hour_and_stay_out_of_the_rest() -> None:
    scores = score([exact()[:1], exact()], [video((), genre=CONTROL), video()])
    assert scores.control_false_per_hour == pytest.approx(6)
    assert scores.overall.false_per_hour == 0


def test_a_second_prediction_of_one_event_is_a_false_alarm() -> None:
    first = exact()[0]
    figures = score([[first, replace(first, score=0.5)]], [video(EVENTS[:1])]).overall
    assert (figures.precision, figures.recall) == (0.5, 1)


@pytest.mark.parametrize(("peak", "hit"), [(99.1, True), (98.9, False), (106.9, True), (107.1, False)])
def test_a_peak_may_lie_three_seconds_off_the_core(peak: float, hit: bool) -> None:
    figures = score([[Prediction(100, peak, 108, 1)]], [video(EVENTS[:1])]).overall
    assert figures.recall == hit


@pytest.mark.parametrize(("end", "hit"), [(103.0, True), (102.0, False)])
def test_overlap_is_judged_by_itself(end: float, hit: bool) -> None:
    """The event lasts 8 s: 3 s of it are .375, 2 s are .25."""
    figures = score([[Prediction(100, 400, end, 1)]], [video(EVENTS[:1])]).overall
    assert figures.f1 == 0
    assert figures.f1_overlap == hit


def test_the_best_scored_prediction_is_matched_first() -> None:
    worse, better = Prediction(100, 103, 108, 0.2), Prediction(99, 104.5, 109, 0.9)
    outcome = judge([worse, better], video(EVENTS[:1]))
    assert outcome.pairs == {1: 0}


def test_average_precision_by_hand() -> None:
    """Hit, miss, hit of two events: precision 1 up to recall .5, then 2/3."""
    miss = Prediction(300, 301, 302, 0.95)
    figures = score([[exact()[0], miss, exact()[1]]], [video()]).overall
    assert figures.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert figures.hit_at_1 == 1


def test_ranking_runs_over_all_videos_of_a_genre() -> None:
    bad = Prediction(300, 301, 302, 2.0)
    scores = score([[bad], exact()], [video(), video()])
    assert scores.genres["sports"].average_precision == pytest.approx(2 / 3 * 0.5)


def test_border_error_is_the_mean_of_both_ends() -> None:
    first = exact()[0]
    figures = score([[replace(first, start=first.start - 1, end=first.end + 3)]], [video(EVENTS[:1])]).overall
    assert figures.border_error == 2


def test_distractors_are_taken_by_unmatched_peaks_only() -> None:
    near, far = Distractor("jingle", 300, 302), Distractor("rain", 400, 420)
    at_event = Distractor("cough", 103, 104)
    outcome = judge([*exact(), Prediction(303, 303.9, 305, 0.1)], video(distractors=(near, far, at_event)))
    assert outcome.taken == {0}
    later = [*exact(), Prediction(303, 304.1, 305, 0.1)]
    assert score([later], [video(distractors=(near,))]).overall.distractors_taken == 0


def test_scores_in_the_order_of_strength() -> None:
    events = (*EVENTS, Event("goal", "medium", 300, 301, 302, 303, 305))
    ordered = [replace(p, score=s) for p, s in zip(exact(events), (3.0, 1.0, 2.0), strict=True)]
    assert score([ordered], [video(events)]).overall.order == pytest.approx(1)


def test_spearman_shares_ties() -> None:
    assert spearman([1, 2, 2, 3], [10, 20, 20, 30]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_recall_by_strength_and_kind() -> None:
    scores = score([exact()[:1]], [video()])
    assert scores.recall_by_strength == {"weak": (0, 1), "strong": (1, 1)}
    assert scores.recall_by_kind == {"goal": (1, 1), "near miss": (0, 1)}


def test_report_shows_every_row_and_json_has_no_nan() -> None:
    scores = score([exact(), []], [video(), video((), genre=CONTROL)])
    text = table("ours", scores)
    assert "sports" in text
    assert "control" in text
    assert max(map(len, text.splitlines())) <= 120
    assert "nan" not in str(as_json(scores)).lower()
    assert dump(judge(exact(), video()))["events"][0]["found"] is True


def test_datasets_are_the_same_every_time_and_splits_differ() -> None:
    assert dataset("tune", [1, 2]) == dataset("tune", [1, 2])
    tune, report = dataset("tune", [1]), dataset("report", [1])
    assert not {s.name for s in tune} & {s.name for s in report}
    assert {s.genre for s in tune} >= {"sports", "gaming", "talk", "lecture", "walking", CONTROL}


def test_plans_repeat_and_events_keep_their_distance() -> None:
    spec = VideoSpec("talk", "tune", 5, 2.0)
    first, second = make_plan(spec), make_plan(spec)
    assert [h.span for h in first.happenings] == [h.span for h in second.happenings]
    events = [h.event for h in first.happenings if h.event]
    assert events
    assert all(b.start - a.end >= 0.9 * GAP for a, b in pairwise(events))
    for e in events:
        assert e.start <= e.core_start <= e.peak <= e.core_end <= e.end


def test_a_short_video_is_what_its_label_says(tmp_path: Path) -> None:
    spec = VideoSpec("lecture", "tune", 3, 1 / 3)
    made = make(spec, tmp_path)
    assert make(spec, tmp_path) == made  # from the cache
    with av.open(str(made.path)) as container:
        assert container.duration == pytest.approx(20 * av.time_base, rel=0.02)
        assert container.streams.video[0].frames == 300
    quieter = halved(made)
    difference = loudness(made.path) - loudness(quieter.path)
    assert float(np.median(difference)) == pytest.approx(6.0, abs=0.3)


def test_a_file_without_sound_has_none(tmp_path: Path) -> None:
    made = make(VideoSpec(NO_SOUND, "tune", 3, 0.1, "gaming"), tmp_path)
    assert not len(loudness(made.path))
