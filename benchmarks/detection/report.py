"""The report: a table for people, JSON for machines."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from benchmarks.detection.labels import CONTROL, GENRES, NO_PICTURE, NO_SOUND
from benchmarks.detection.score import Figures, Outcome, Scores

_COLUMNS = (
    "videos",
    "events",
    "made",
    "prec",
    "rec",
    "F1@3s",
    "F1@IoU",
    "AP",
    "hit@1",
    "border",
    "false/h",
    "taken",
    "order",
)


def table(method: str, scores: Scores) -> str:
    """Per genre, per strength and per kind."""
    lines = [f"{method:<11}" + "".join(f"{c:>8}" for c in _COLUMNS)]
    rows = [*GENRES, NO_SOUND, NO_PICTURE, CONTROL]
    lines += [_row(name, scores.genres[name]) for name in rows if name in scores.genres]
    lines.append(_row("all*", scores.overall))
    lines.append(
        f"mAP (mean over rows) {_number(scores.mean_ap)} · false alarms per hour on controls "
        f"{_number(scores.control_false_per_hour, 1)} · *controls left out"
    )
    lines.append("recall by strength: " + _shares(scores.recall_by_strength))
    lines += _wrapped("recall by kind: ", scores.recall_by_kind)
    lines += _wrapped("distractors taken: ", {k: v for k, v in scores.taken_by_kind.items() if v[0] > 0})
    return "\n".join(lines)


def _row(name: str, f: Figures) -> str:
    counts = f"{f.videos:>8}{f.events:>8}{f.predictions:>8}"
    shares = (f.precision, f.recall, f.f1, f.f1_overlap, f.average_precision, f.hit_at_1)
    rest = f"{_number(f.border_error, 1):>8}{_number(f.false_per_hour, 1):>8}"
    return (
        f"{name:<11}{counts}"
        + "".join(f"{_number(s):>8}" for s in shares)
        + rest
        + (f"{_number(f.distractors_taken):>8}{_number(f.order):>8}")
    )


def _number(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _shares(shares: dict[str, tuple[float, int]]) -> str:
    return " · ".join(f"{name} {_number(share)} of {count}" for name, (share, count) in shares.items())


def _wrapped(head: str, shares: dict[str, tuple[float, int]], width: int = 108) -> list[str]:
    lines, line = [], head
    for name, (share, count) in sorted(shares.items(), key=lambda x: (-x[1][0], x[0])):
        item = f"{name} {_number(share)}/{count}"
        if len(line) + len(item) + 3 > width:
            lines.append(line)
            line = "    "
        line += item + " · "
    return [*lines, line.rstrip(" ·")]


def as_json(scores: Scores) -> dict[str, Any]:
    """All figures; NaN as null."""
    return _clean(asdict(scores))


def dump(outcome: Outcome) -> dict[str, Any]:
    """One video, with what was matched to what, for error analysis."""
    video = outcome.video
    predictions = [asdict(p) | {"event": outcome.pairs.get(i)} for i, p in enumerate(outcome.predictions)]
    matched = set(outcome.pairs.values())
    return _clean(
        {
            "path": str(video.path),
            "spec": asdict(video.spec),
            "rendering": video.rendering,
            "duration": video.duration,
            "predictions": predictions,
            "events": [asdict(e) | {"found": j in matched} for j, e in enumerate(video.events)],
            "distractors": [
                asdict(d) | {"taken": k in outcome.taken} for k, d in enumerate(video.distractors)
            ],
        }
    )


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
