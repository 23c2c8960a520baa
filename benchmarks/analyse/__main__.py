"""`python -m benchmarks.analyse`: how fast and how small the analysis is, beside others, on the same file.

Contestants run in turn, each as a process of its own, several times round, so that what else the machine
does hits all of them alike; figures are medians, ratios are medians over pairs. Exits with 1 where a
bound is missed, with 3 where bounds hold but a contestant was left out and --require-all was given.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.analyse.contest import (
    CACHE,
    Bound,
    Contestant,
    Run,
    bounds,
    contestants,
    faster,
    figures,
    install_peers,
    measured,
)

Results = dict[float, dict[str, list[Run]]]


def main() -> int:
    asked = _arguments()
    if asked.install_peers:
        install_peers()
    everyone = [c for c in contestants() if not asked.only or c.name in asked.only]
    here = [c for c in everyone if not c.missing]
    left_out = [c for c in everyone if c.missing]
    about = machine()
    tell(about)
    results: Results = {}
    for minutes, path in _sources(asked.minutes, asked.source):
        results[minutes] = _contest(here, path, asked.repeat)
        tell(_table(results[minutes], minutes, everyone))
    checks = bounds(results)
    tell(verdict(checks, [(c.name, c.missing) for c in left_out]))
    if asked.json:
        print(json.dumps(_document(about, results, checks, left_out), indent=2))
    if not all(check.kept for check in checks):
        return 1
    return 3 if left_out and asked.require_all else 0


def _arguments() -> argparse.Namespace:
    names = [c.name for c in contestants()]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analyse", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[10, 60], help="lengths of the made files"
    )
    parser.add_argument("--source", type=Path, nargs="+", help="files to read instead of made ones")
    parser.add_argument("--repeat", type=int, default=3, help="times round")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of: {', '.join(names)}")
    parser.add_argument(
        "--install-peers", action="store_true", help="PySceneDetect into benchmarks/cache first"
    )
    parser.add_argument("--require-all", action="store_true", help="exit with 3 when one was left out")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, the rest on stderr")
    return parser.parse_args()


def _sources(minutes: list[float], given: list[Path] | None) -> list[tuple[float, Path]]:
    """(minutes, path) of each file, shortest first; made ones are kept in the cache."""
    if given:
        return sorted((round(_duration(path) / 60, 2), path) for path in given)
    paths = [(m, CACHE / f"1080p30-{m:g}min.mp4") for m in sorted(minutes)]
    for length, path in paths:
        if not path.exists():
            tell(f"making {path.name} (kept in benchmarks/cache)")
            subprocess.run(
                [sys.executable, "-m", "benchmarks.analyse.source", str(length), str(path)], check=True
            )
    return paths


def _duration(path: Path) -> float:
    """Seconds of a given file; asked of a child, because this process stays small."""
    code = (
        "import sys, pathlib; from tldr_highlight.media.probe import probe;"
        " print(probe(pathlib.Path(sys.argv[1])).duration)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _contest(who: list[Contestant], path: Path, repeat: int) -> dict[str, list[Run]]:
    read_ahead(path)
    runs: dict[str, list[Run]] = {c.name: [] for c in who}
    for turn in range(repeat):
        for contestant in who:
            run = measured(contestant.command(path))
            runs[contestant.name].append(run)
            tell(f"  {turn + 1}/{repeat} {contestant.name}: {run.seconds:.1f} s")
    return runs


def read_ahead(path: Path) -> None:
    """Into the page cache once, so that the first contestant does not pay for the disk."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


# --- what is printed -----------------------------------------------------------------------------------


def machine() -> str:
    load = os.getloadavg()[0]
    busy = f"; BUSY, load {load:.1f}: speeds below are too low" if load > 0.5 else ""
    today = datetime.datetime.now(datetime.UTC).date()
    return f"{today}, {os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}{busy}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _table(runs: dict[str, list[Run]], minutes: float, who: list[Contestant]) -> str:
    rows = [
        "",
        f"| {minutes:g} min 1080p30 | x realtime | CPU s | peak MB | ours is x faster | looks at |",
        "|---|---|---|---|---|---|",
    ]
    for contestant in who:
        if contestant.missing:
            rows.append(f"| {contestant.name} | LEFT OUT | – | – | – | {contestant.missing} |")
            continue
        f = figures(runs[contestant.name], minutes * 60)
        ratio = f"{faster(runs['ours'], runs[contestant.name]):.1f}" if "ours" in runs else "–"
        rows.append(
            f"| {contestant.name} | {f.realtime:.1f} | {f.cpu_seconds:.1f} | {f.peak_mb:.0f}"
            f" | {ratio} | {contestant.looks_at} |"
        )
    return "\n".join([*rows, ""])


def verdict(checks: list[Bound], left_out: list[tuple[str, str]]) -> str:
    """Which bounds hold, and who was left out and why."""
    lines = [f"{'ok    ' if c.kept else 'MISSED'} {c.what}: {c.figure:.2f} ({c.rule})" for c in checks]
    lines += [f"LEFT OUT: {name}: {reason}" for name, reason in left_out]
    return "\n".join(lines)


def _document(
    about: str, results: Results, checks: list[Bound], left_out: list[Contestant]
) -> dict[str, object]:
    return {
        "machine": about,
        "files": [
            {
                "minutes": minutes,
                "contestants": {
                    name: {**figures(runs, minutes * 60)._asdict(), "runs": [r._asdict() for r in runs]}
                    for name, runs in by_name.items()
                },
            }
            for minutes, by_name in results.items()
        ],
        "bounds": [{**c._asdict(), "kept": c.kept} for c in checks],
        "left_out": [c.name for c in left_out],
    }


def tell(text: str) -> None:
    """People read stderr, programs stdout."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
