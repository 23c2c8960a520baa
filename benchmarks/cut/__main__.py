"""`python -m benchmarks.cut`: how fast, how small and how exact clips are, beside others.

Contestants cut the same ranges in turn, so that what else the machine does hits all of them alike; figures
are medians, ratios are medians over pairs. Exits with 1 where a bound is missed, with 3 where bounds hold
but a contestant was left out and --require-all was given.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.analyse.__main__ import machine, read_ahead, tell, verdict
from benchmarks.analyse.contest import CACHE, Bound, Run, measured
from benchmarks.cut.contest import (
    APART,
    COPY,
    DELAY,
    GOPS,
    LENGTHS,
    MBITS,
    NOT_JUDGED,
    WARM,
    Cell,
    Clip,
    Contestant,
    Found,
    Line,
    Moved,
    Verdict,
    Worker,
    bounds,
    contestants,
    install_peers,
    judged,
    starts,
)

Runs = dict[Cell, dict[str, list[Run]]]
Verdicts = dict[Cell, dict[str, list[Verdict]]]
Remote = dict[tuple[int, bool], dict[str, list[Moved]]]


def main() -> int:
    asked = _arguments()
    if asked.install_peers:
        install_peers()
    about = machine()
    tell(about)
    runs: Runs = {}
    verdicts: Verdicts = {}
    with Worker() as worker, _scratch() as folder:
        everyone = [c for c in contestants(worker) if not asked.only or c.name in asked.only]
        here = [c for c in everyone if not c.missing]
        for cell in _cells(asked):
            _contest(cell, here, folder, asked.starts, runs, verdicts)
            tell(_table(cell, everyone, runs[cell], verdicts[cell]))
        remote = _over_http(asked, here, folder) if asked.http else {}
        found = _find(max(asked.minutes), folder) if asked.find else None
    left_out = [c for c in everyone if c.missing]
    checks = bounds(runs, verdicts, remote, found)
    tell(verdict(checks, [(c.name, c.missing) for c in left_out]))
    if asked.json:
        print(json.dumps(_document(about, runs, verdicts, remote, found, checks, left_out), indent=2))
    if not all(check.kept for check in checks):
        return 1
    return 3 if left_out and asked.require_all else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cut", description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 60], help="lengths of the sources")
    parser.add_argument("--gop", type=int, nargs="+", choices=GOPS, default=GOPS, help="their GOPs, seconds")
    parser.add_argument("--length", type=int, nargs="+", default=LENGTHS, help="of the clips, seconds")
    parser.add_argument("--starts", type=int, default=5, help="how many of the starts; 5 at most")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contestants; ours are always needed")
    parser.add_argument("--no-http", dest="http", action="store_false", help="not over HTTP")
    parser.add_argument("--no-find", dest="find", action="store_false", help="not `find` as a whole")
    parser.add_argument("--install-peers", action="store_true", help="smartcut into benchmarks/cache first")
    parser.add_argument("--require-all", action="store_true", help="exit with 3 when one was left out")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, the rest on stderr")
    return parser.parse_args()


def _cells(asked: argparse.Namespace) -> Iterator[Cell]:
    for minutes in sorted(asked.minutes):
        for gop in asked.gop:
            for length in asked.length:
                yield Cell(gop, minutes, length)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for clips."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="clips-") as folder:
        yield Path(folder)


def _source(name: str, minutes: float, *options: str) -> Path:
    """A made file, kept in the cache, and in the page cache now."""
    path = CACHE / f"{name}-{minutes:g}min.mp4"
    if not path.exists():
        tell(f"making {path.name} (kept in benchmarks/cache)")
        command = [sys.executable, "-m", "benchmarks.analyse.source", f"{minutes:g}", str(path), *options]
        subprocess.run(command, check=True)
    read_ahead(path)
    return path


def _of(gop: int, minutes: float) -> Path:
    return _source("1080p30" if gop == 2 else f"1080p30-g{gop}", minutes, "--gop", str(gop))


# --- running -------------------------------------------------------------------------------------------


def _contest(
    cell: Cell, who: Sequence[Contestant], folder: Path, most: int, runs: Runs, verdicts: Verdicts
) -> None:
    source = _of(cell.gop, cell.minutes)
    places = starts(cell.minutes, cell.length, most)
    runs[cell] = {c.name: [] for c in who}
    verdicts[cell] = {c.name: [] for c in who if c.name not in NOT_JUDGED}
    _warm_up(who, Clip(str(source), places[0], places[0] + 1, folder / "warm.mp4"))
    for turn, start in enumerate(places):
        for contestant in who:
            clip = Clip(str(source), start, round(start + cell.length, 3), folder / "clip.mp4")
            clip.out.unlink(missing_ok=True)
            run = contestant.run(clip)
            runs[cell][contestant.name].append(run)
            tell(f"  {cell}: {turn + 1}/{len(places)} {contestant.name}: {run.seconds:.2f} s")
            if contestant.name in verdicts[cell] and (
                cell.length < 60 or contestant.name == WARM or not turn
            ):
                verdicts[cell][contestant.name].append(judged(clip, source))


def _warm_up(who: Sequence[Contestant], clip: Clip) -> None:
    """Modules loaded, pages of programs read: nobody pays for being first."""
    for contestant in who:
        contestant.run(clip)
    clip.out.unlink()


def _over_http(asked: argparse.Namespace, who: Sequence[Contestant], folder: Path) -> Remote:
    """Clips of the longest source with short GOPs, from a server."""
    minutes = max(asked.minutes)
    source = _of(2, minutes)
    found: Remote = {}
    for slow in (False, True):
        with Line(CACHE, slow=slow) as line:
            for length in asked.length:
                by_name = found[length, slow] = {c.name: [] for c in who if c.name in {WARM, COPY}}
                for start in starts(minutes, length, asked.starts):
                    for contestant in (c for c in who if c.name in by_name):
                        clip = Clip(source.name, start, round(start + length, 3), folder / "clip.mp4")
                        clip.out.unlink(missing_ok=True)
                        by_name[contestant.name].append(line.moved(contestant, clip))
                tell(_http_table(length, by_name, slow=slow))
    return found


def _find(minutes: float, folder: Path) -> Found:
    source = _source("cheers", minutes, "--cheers")
    out = folder / "found"
    command = [sys.executable, "-m", "benchmarks.cut.find", str(source), str(out)]
    report = folder / "found.json"
    run = measured([*command, str(report)])
    document = json.loads(report.read_text("utf-8"))
    shutil.rmtree(out)
    found = Found(run, minutes * 60 / run.seconds, document["clips"], document["seconds"])
    tell(
        f"find, {minutes:g} min: {found.realtime:.0f} x realtime, {found.clips} clips"
        f" of {found.seconds:.0f} s together, {run.cpu_seconds:.0f} CPU s, {run.peak_mb:.0f} MB"
    )
    return found


# --- what is printed -----------------------------------------------------------------------------------


def _table(
    cell: Cell, who: Sequence[Contestant], runs: dict[str, list[Run]], verdicts: dict[str, list[Verdict]]
) -> str:
    rows = [
        "",
        f"| {cell} | s | CPU s | peak MB | ours is x faster | pictures off | first off | sound off | dB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for contestant in who:
        if contestant.missing:
            rows.append(f"| {contestant.name} | LEFT OUT | – | – | – | – | – | – | {contestant.missing} |")
            continue
        mine = runs[contestant.name]
        ratio = statistics.median(b.seconds / a.seconds for a, b in zip(runs[WARM], mine, strict=True))
        unseen = contestant.name == APART  # what its process used is told to nobody
        cells = [
            f"{statistics.median(r.seconds for r in mine):.2f}",
            "–" if unseen else f"{statistics.median(r.cpu_seconds for r in mine):.2f}",
            "–" if unseen else f"{max(r.peak_mb for r in mine):.0f}",
            f"{ratio:.1f}",
            *_faults(verdicts.get(contestant.name, [])),
        ]
        rows.append(f"| {contestant.name} | {' | '.join(cells)} |")
    return "\n".join([*rows, ""])


def _faults(verdicts: Sequence[Verdict]) -> list[str]:
    """The worst of each kind."""
    if not verdicts:
        return ["–"] * 4

    def worst(values: list[int | None]) -> str:
        return "lost" if None in values else f"{max((v for v in values if v is not None), key=abs):d}"

    return [
        worst([v.frames_off for v in verdicts]),
        worst([v.first_off for v in verdicts]),
        worst([v.lag for v in verdicts]),
        f"{min(v.worst_db for v in verdicts):.1f}",
    ]


def _http_table(length: int, by_name: dict[str, list[Moved]], *, slow: bool) -> str:
    link = f"{1000 * DELAY:.0f} ms, {MBITS:.0f} Mbit/s" if slow else "loopback"
    rows = ["", f"| HTTP, {link}, {length} s | s | bytes moved / clip | requests |", "|---|---|---|---|"]
    for name, moved in by_name.items():
        rows.append(
            f"| {name} | {statistics.median(m.run.seconds for m in moved):.2f}"
            f" | {statistics.median(m.share for m in moved):.2f}"
            f" | {statistics.median(m.requests for m in moved):.0f} |"
        )
    return "\n".join([*rows, ""])


def _document(
    about: str, runs: Runs, verdicts: Verdicts, remote: Remote, found: Found | None,
    checks: list[Bound], left_out: list[Contestant],
) -> dict[str, object]:  # fmt: skip
    return {
        "machine": about,
        "cells": [
            {
                **cell._asdict(),
                "runs": {name: [r._asdict() for r in mine] for name, mine in by_name.items()},
                "verdicts": {name: [v._asdict() for v in mine] for name, mine in verdicts[cell].items()},
            }
            for cell, by_name in runs.items()
        ],
        "http": [
            {
                "length": length,
                "slow": slow,
                "clips": {
                    name: [{**m.run._asdict(), "share": m.share, "requests": m.requests} for m in moved]
                    for name, moved in by_name.items()
                },
            }
            for (length, slow), by_name in remote.items()
        ],
        "find": {**found._asdict(), "run": found.run._asdict()} if found else None,
        "bounds": [{**c._asdict(), "kept": c.kept} for c in checks],
        "left_out": [c.name for c in left_out],
    }


if __name__ == "__main__":
    sys.exit(main())
