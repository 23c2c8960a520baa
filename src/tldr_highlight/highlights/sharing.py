"""Links that whoever has them may watch a highlight's clip with, without account, until a time.

A link names the highlight and is signed with a salt in its row: a new one, or none, ends all links at once.
What a link led to while it worked is an address of the file, which nobody can take back: it opens that for
an hour, and not for longer than the link.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import select

from tldr_highlight.core.db import now
from tldr_highlight.errors import NotFoundError
from tldr_highlight.highlights.models import Highlight
from tldr_highlight.highlights.service import LINK, clip_url
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Organization


def share(act: Act, highlight_id: str, seconds: int) -> tuple[str, datetime]:
    """A link, and until when it works; `unshare` takes all of a highlight's back.

    Raises:
        ConflictError: it has no clip.
    """
    highlight = Highlight.get_for(act.session, act.organization_id, highlight_id, lock=True)
    clip_url(act.runtime, highlight)
    salt = highlight.share_salt = highlight.share_salt or secrets.token_hex(8)
    until = now().replace(microsecond=0) + timedelta(seconds=seconds)
    query = act.runtime.links.sign(_signed(highlight.id, salt), int(until.timestamp()))
    audit.record(act, "highlight.shared", highlight.id, until=until.isoformat())
    return f"{act.runtime.url}/shared/{highlight.id}?{query}", until


def unshare(act: Act, highlight_id: str) -> None:
    """End all links of a highlight, at once; who has just followed one may watch for an hour."""
    highlight = Highlight.get_for(act.session, act.organization_id, highlight_id, lock=True)
    if highlight.share_salt is not None:
        highlight.share_salt = None
        audit.record(act, "highlight.unshared", highlight.id)


def shared_url(runtime: Runtime, highlight_id: str, query: Mapping[str, str]) -> str:
    """Where a link leads to: an address of the clip that opens it for an hour, or for the link's rest.

    Raises:
        NotFoundError: nowhere: it is over, was taken back, is none of ours, its clip is gone, or its
            organization may do nothing at present.
    """
    with runtime.db.read() as session:
        highlight = session.scalar(select(Highlight).where(Highlight.id == highlight_id))
        if highlight is None or highlight.share_salt is None or highlight.clip_key is None:
            raise NotFoundError("this link does not work any more")
        owner = session.get_one(Organization, highlight.organization_id)
    if owner.status != "active":
        raise NotFoundError("this link does not work any more")
    at = now()
    if not runtime.links.check(_signed(highlight.id, highlight.share_salt), query, at):
        raise NotFoundError("this link does not work any more")
    rest = timedelta(seconds=int(query["expires"]) - int(at.timestamp()))  # one at least, as it is not over
    return runtime.storage.url(highlight.clip_key, expires=min(LINK, rest))


def _signed(highlight_id: str, salt: str) -> str:
    return f"/shared/{highlight_id}/{salt}"
