"""Says at the very end of a run what was left out because a peer is missing (see `peers.py`)."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Generator

import pytest
from hypothesis import settings

# no deadline: a machine that is busy for a moment is no finding
settings.register_profile("house", settings.default, deadline=None, print_blob=True)
settings.load_profile("house")

MARK = "LEFT OUT: "


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    yield
    reasons = Counter(
        report.longrepr[2].partition(MARK)[2]
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple) and MARK in report.longrepr[2]
    )
    if reasons:
        terminalreporter.section("LEFT OUT", sep="!", red=True, bold=True)
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count} test{'s' if count > 1 else ''} not run: {reason}", red=True)


def pytest_collection_finish() -> None:
    """Keep what was loaded out of collections of garbage: a clip asks for two, 0.2 s each of such a heap."""
    gc.collect()
    gc.freeze()
