"""`python -m benchmarks.detection`: make the videos, run a method over them, print how well it did."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from benchmarks.detection.labels import GENRES, NO_SOUND, Split, VideoSpec
from benchmarks.detection.make import CACHE, version
from benchmarks.detection.methods import METHODS
from benchmarks.detection.plan import dataset
from benchmarks.detection.report import as_json, dump, table
from benchmarks.detection.run import run
from benchmarks.detection.score import summarise

SEEDS = {"tune": "1-2", "report": "11-14"}


def main() -> int:
    """Parse, run, print."""
    options = _parser().parse_args()
    seeds = parse_seeds(options.seeds or SEEDS[options.split])
    made = silent if options.silent else dataset
    specs = [s for s in made(options.split, seeds, options.minutes) if _wanted(s, options.genre)]
    if not options.json:
        length = f"{options.minutes:g} min"
        print(f"split {options.split} · seeds {seeds} · {length} · {len(specs)} videos · {version()}")
    methods = list(METHODS) if options.method == "all" else options.method.split(",")
    found: dict[str, object] = {}
    for name in methods:
        started = time.perf_counter()
        outcomes = run(name, specs, options.cache, half=options.half_volume, processes=options.processes)
        scores = summarise(outcomes)
        found[name] = as_json(scores)
        if not options.json:
            print(table(name, scores) + f"\n{time.perf_counter() - started:.0f} s\n", flush=True)
        if options.dump:
            options.dump.write_text(json.dumps([dump(o) for o in outcomes], indent=1))
    if options.json:
        print(
            json.dumps(
                {"split": options.split, "seeds": seeds, "minutes": options.minutes, "methods": found},
                indent=1,
            )
        )
    return 0


def silent(split: Split, seeds: Sequence[int], minutes: float) -> list[VideoSpec]:
    """Per seed: a file without sound of every scene; what happens beside its events is all to be seen."""
    return [VideoSpec(NO_SOUND, split, seed, minutes, scene) for seed in seeds for scene in GENRES]


def _wanted(spec: VideoSpec, genre: str) -> bool:
    return not genre or spec.genre in genre.split(",")


def parse_seeds(text: str) -> list[int]:
    """ "11-14" or "1,3"."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--split", choices=get_args(Split), default="tune")
    parser.add_argument("--seeds", default="", help="11-14 or 1,3; default 1-2 to tune, 11-14 to report")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="length of a video (controls: half of it)"
    )
    parser.add_argument(
        "--genre", default="", help=f"only these, by comma: {', '.join(GENRES)}, no-sound, ..."
    )
    parser.add_argument("--silent", action="store_true", help="every scene as a file without sound instead")
    parser.add_argument("--method", default="ours", help=f"by comma, or all: {', '.join(METHODS)}")
    parser.add_argument("--half-volume", action="store_true", help="the same videos 6 dB softer")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dump", type=Path, help="write predictions and labels of every video here")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--processes", type=int, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(main())
