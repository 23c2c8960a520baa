"""Our command with chores instead of the product's work: `python -m tests.worker.beside worker --no-beat`.

`TLDR_TEST_CHORES` names others.
"""

from __future__ import annotations

import functools
import os

from tests.worker.chores import CHORES
from tldr_highlight.cli.main import run
from tldr_highlight.worker import scaled

if __name__ == "__main__":
    scaled.work = functools.partial(scaled.work, kinds=os.environ.get("TLDR_TEST_CHORES", CHORES))
    run()
