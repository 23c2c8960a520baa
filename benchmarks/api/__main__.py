"""`python -m benchmarks.api`: how fast the API answers beside a bare FastAPI route, and where its time goes.

One authenticated read of one small object, over 32 connections; servers and callers share the machine. Each
round asks every server in turn, every second round backwards, so that what else the machine does hits all of
them alike. Figures are medians over rounds, with the least and the most; shares are medians over pairs.
Exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.analyse.__main__ import machine, tell, verdict
from benchmarks.api.contest import (
    BARE,
    BESIDE,
    CONNECTIONS,
    EMBEDDED,
    LOGINS,
    PACE,
    SCALED,
    Beside,
    Figures,
    Server,
    bare,
    bounds,
    first_answer,
    logins_beside,
    ours,
    round_of,
    rungs,
    share,
)
from tests.peers import missing

Rounds = dict[str, list[Figures]]


def main() -> int:
    asked = _arguments()
    seconds, rounds, starts = (1.0, 2, 1) if asked.quick else (asked.seconds, asked.rounds, 5)
    about = machine()
    tell(about)
    left_out = _left_out()
    with tempfile.TemporaryDirectory(prefix="tldr-api-") as scratch:
        folder = Path(scratch)
        results, ladders, beside, ended = _measure(folder, rounds, seconds, left_out)
        began = [first_answer(ended) for _ in range(starts)]
        tell(f"start to first answer on an existing data folder: {_spread(began, '.2f')} s\n")
    checks = bounds(results, beside, began)
    tell(verdict(checks, left_out))
    if asked.json:
        print(json.dumps(_document(about, results, ladders, beside, began), indent=2))
    return 0 if all(check.kept for check in checks) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of each server in each round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="two rounds of a second: to see that it works")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, the rest on stderr")
    return parser.parse_args()


def _left_out() -> list[tuple[str, str]]:
    reasons = [missing("postgres"), missing("redis")]
    return [(SCALED, reason) for reason in reasons if reason][:1]


def _measure(
    folder: Path, count: int, seconds: float, left_out: list[tuple[str, str]]
) -> tuple[Rounds, dict[str, Rounds], dict[str, Beside], Server]:
    """All figures of servers that run; the last value is the embedded one, which has ended."""
    with ExitStack() as stack:
        others = stack.enter_context(bare(folder))
        mine = [stack.enter_context(ours(n, folder)) for n in (EMBEDDED, SCALED) if n not in dict(left_out)]
        results = _contest([*others, *mine], count, seconds)
        tell(_table([*others, *mine], results))
        ladders: dict[str, Rounds] = {}
        for server in mine:
            rows = [others[0], *stack.enter_context(rungs(server, folder))]
            ladders[server.name] = _contest(rows, max(2, count // 2), seconds / 2)
            tell(_ladder(server.name, rows, ladders[server.name]))
        beside = {server.name: logins_beside(server, 6 if seconds > 1 else 2) for server in mine}
        for name, felt in beside.items():
            tell(_felt(name, felt))
        return results, ladders, beside, mine[0]


def _contest(who: Sequence[Server], count: int, seconds: float) -> Rounds:
    results: Rounds = {server.name: [] for server in who}
    for turn in range(count):
        for server in who if turn % 2 == 0 else reversed(who):
            figures = round_of(server, seconds)
            results[server.name].append(figures)
            tell(f"  {turn + 1}/{count} {server.name}: {figures.measured.per_second:.0f}/s")
    return results


# --- what is printed -----------------------------------------------------------------------------------


def _table(who: Sequence[Server], results: Rounds) -> str:
    rows = [
        "",
        f"| {CONNECTIONS} connections | requests/s | of bare | p50 ms | p99 ms | CPU µs each | does |",
        "|---|---|---|---|---|---|---|",
    ]
    for server in who:
        runs = results[server.name]
        cells = [
            _spread([r.measured.per_second for r in runs], ".0f"),
            f"{share(results, server.name):.2f}",
            f"{statistics.median(r.measured.p50 for r in runs):.1f}",
            f"{statistics.median(r.measured.p99 for r in runs):.1f}",
            f"{statistics.median(r.cpu_us for r in runs):.0f}",
            server.does,
        ]
        rows.append(f"| {server.name} | {' | '.join(cells)} |")
    return "\n".join([*rows, ""])


def _ladder(name: str, who: Sequence[Server], results: Rounds) -> str:
    rows = ["", f"| where the time goes, {name} | CPU µs each | more than the one above |", "|---|---|---|"]
    before = 0.0
    for server in who:
        used = statistics.median(r.cpu_us for r in results[server.name])
        rows.append(f"| {server.name} | {used:.0f} | {used - before:+.0f} |")
        before = used
    return "\n".join([*rows, ""])


def _felt(name: str, felt: Beside) -> str:
    alone, during, logins = felt.alone, felt.during, felt.logins
    return (
        f"{LOGINS} logins at once, {name}: {logins.statuses}, the last after {logins.worst / 1000:.1f} s."
        f" Reads at {BESIDE / PACE:.0f} a second, {felt.overlap:.0%} of the time beside them:"
        f" p50 {alone.p50:.1f} -> {during.p50:.1f} ms, p95 {alone.p95:.1f} -> {during.p95:.1f} ms;"
        f" memory +{felt.grown:.0f} MB.\n"
    )


def _spread(values: Sequence[float], form: str) -> str:
    median, least, most = (format(v, form) for v in (statistics.median(values), min(values), max(values)))
    return median if least == most else f"{median} ({least} .. {most})"


def _document(
    about: str, results: Rounds, ladders: dict[str, Rounds], beside: dict[str, Beside], starts: list[float]
) -> dict[str, object]:
    def plain(rounds: Rounds) -> dict[str, object]:
        return {
            name: [{**r.measured._asdict(), "cpu_us": r.cpu_us} for r in runs]
            for name, runs in rounds.items()
        }

    return {
        "machine": about,
        "bare": BARE,
        "rounds": plain(results),
        "ladders": {name: plain(ladder) for name, ladder in ladders.items()},
        "logins": {
            name: {
                "alone": felt.alone._asdict(),
                "during": felt.during._asdict(),
                "logins": felt.logins._asdict(),
                "overlap": felt.overlap,
                "grown_mb": felt.grown,
            }
            for name, felt in beside.items()
        },
        "first_answer_seconds": starts,
    }


if __name__ == "__main__":
    sys.exit(main())
