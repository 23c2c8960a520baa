"""How the command ends when somebody interrupts it; loads nothing, as that may be at once."""

from __future__ import annotations

import sys
from typing import NoReturn

INTERRUPTED = 130


def interrupted() -> NoReturn:
    """Say that it was, and how to go on; then end."""
    sys.stderr.write("tldr-highlight: interrupted; what is done is kept: run the same command again\n")
    sys.exit(INTERRUPTED)
