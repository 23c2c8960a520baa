"""What workers can do: the one list of all kinds of work."""

from __future__ import annotations

from tldr_highlight.accounts.passwords import RESET_MAIL
from tldr_highlight.core import idempotency
from tldr_highlight.core.outbox import MAIL
from tldr_highlight.core.sweep import SWEEP
from tldr_highlight.core.work import Kinds, kinds_of


def product_kinds() -> Kinds:
    """Every kind of this product."""
    return kinds_of(MAIL, RESET_MAIL, SWEEP, idempotency.SWEEP)
