"""What workers can do: the one list of all kinds of work."""

from __future__ import annotations

from tldr_highlight.accounts import invitations, mailed
from tldr_highlight.accounts.passwords import RESET_MAIL
from tldr_highlight.clips.job import CLIP_JOB
from tldr_highlight.clips.sweep import CLIP_SWEEP
from tldr_highlight.core import idempotency, outbox, sweep
from tldr_highlight.core.outbox import MAIL
from tldr_highlight.core.sweep import sweep_of
from tldr_highlight.core.work import Kinds, kinds_of
from tldr_highlight.highlights.files import REMOVE_FILES
from tldr_highlight.pipeline.requested import CLIP, REEL
from tldr_highlight.pipeline.run import STREAM
from tldr_highlight.pipeline.tidy import TIDY
from tldr_highlight.streams.service import ADMISSION
from tldr_highlight.streams.steering import PURGE
from tldr_highlight.streams.upload_sweep import UPLOAD_SWEEP
from tldr_highlight.streams.uploads import ABORT_UPLOAD
from tldr_highlight.tenancy import logins
from tldr_highlight.webhooks import delivery
from tldr_highlight.webhooks.delivery import Courier

SWEEP = sweep_of(
    sweep.WORK,
    idempotency.OVER,
    outbox.OVER,  # after work: it looks whether that is gone
    logins.SPENT_OVER,
    logins.OVER,
    mailed.OVER,
    invitations.OVER,
    delivery.DELIVERIES_OVER,
    delivery.EVENTS_OVER,
)
"""Everything that is deleted because of its age."""


def product_kinds() -> Kinds:
    """Every kind of this product."""
    return kinds_of(
        STREAM,
        CLIP,
        REEL,
        REMOVE_FILES,
        CLIP_JOB,
        CLIP_SWEEP,
        Courier().kind(),
        MAIL,
        RESET_MAIL,
        PURGE,
        ABORT_UPLOAD,
        UPLOAD_SWEEP,
        ADMISSION,
        SWEEP,
        TIDY,
    )
