"""The tables of the product in an empty database, for tests that need no migrations."""

from __future__ import annotations

from tldr_highlight.clips import models as clips
from tldr_highlight.core import idempotency, outbox, work
from tldr_highlight.core.db import Base, Database
from tldr_highlight.core.migrate import migrate
from tldr_highlight.highlights import models as highlights
from tldr_highlight.streams import models as streams
from tldr_highlight.tenancy import models as tenancy
from tldr_highlight.usage import models as usage
from tldr_highlight.webhooks import models as webhooks

ROOMS = (idempotency, outbox, work, tenancy, usage, webhooks, streams, highlights, clips)
"""Who has tables; importing them is what makes them known."""


def tables(url: str) -> None:
    """Make every table."""
    db = Database(url)
    Base.metadata.create_all(db.engine)
    db.close()


def migrated(url: str) -> None:
    """Make every table as an installation gets them."""
    db = Database(url)
    migrate(db)
    db.close()
