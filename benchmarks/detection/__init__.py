"""How good detection is, as a number: labelled long videos from seeds, a scorer, baselines, a report.

    python -m benchmarks.detection                        # ours, on the split to tune on
    python -m benchmarks.detection --split report         # other seeds, kinds, voices and rooms
    python -m benchmarks.detection --method all           # ours and the baselines

As functions: `dataset` gives specs, `make` a file and its labels, `score` the figures.
"""

from benchmarks.detection.labels import Distractor, Event, LabelledVideo, Prediction, VideoSpec
from benchmarks.detection.make import make
from benchmarks.detection.plan import dataset
from benchmarks.detection.score import Scores, score

__all__ = [
    "Distractor",
    "Event",
    "LabelledVideo",
    "Prediction",
    "Scores",
    "VideoSpec",
    "dataset",
    "make",
    "score",
]
