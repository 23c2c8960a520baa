"""`find` as a whole: `python -m benchmarks.cut.find SOURCE OUT REPORT` finds and cuts ten clips of 30 s.

What `tldr-highlight find --max 10` does, but for the context that clips get: cheering is short, and they
are to last half a minute. REPORT tells how many clips there are and how long they are together.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tldr_highlight.analysis.moments import MomentOptions
from tldr_highlight.pipeline.find import FindOptions, find

CONTEXT = 12.0
"""Seconds before and behind 7 s of cheering."""


def main(source: Path, out: Path, report: Path) -> None:
    moments = MomentOptions(max_highlights=10, context_before=CONTEXT, context_after=CONTEXT)
    document = find(source, out, FindOptions(moments=moments))
    found = [h for h in document["highlights"] if h["clip"]]
    seconds = sum(h["clip_end"] - h["clip_start"] for h in found)
    report.write_text(json.dumps({"clips": len(found), "seconds": seconds}), "utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
