"""`python -m tests.walks.damage FILM FOLDER FIRST END STEP`: find the highlights of damaged copies of a film.

One line of JSON for each: its seed and how it ended. A process of its own, so that a crash or a hang is seen.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from tests.walks.command import left_over
from tests.walks.films import damaged
from tldr_highlight.errors import TldrError
from tldr_highlight.pipeline.find import find


def outcome(source: Path, out: Path) -> str:
    """Code of the error, or "completed"."""
    try:
        find(source, out)
    except TldrError as error:
        assert not out.exists(), "a refusal leaves no folder"
        return error.code
    assert not left_over(out), left_over(out)
    return "completed"


def main(film: Path, folder: Path, seeds: range) -> None:
    """Run them all."""
    data = film.read_bytes()
    source, out = folder / f"damaged{film.suffix}", folder / "out"
    for seed in seeds:
        source.write_bytes(damaged(data, seed))
        began = time.monotonic()
        line = {"seed": seed, "outcome": outcome(source, out), "seconds": time.monotonic() - began}
        print(json.dumps(line), flush=True)
        shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), range(int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
