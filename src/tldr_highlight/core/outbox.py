"""Mail that is not lost: a row in the transaction that wants it, sent by work."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol, cast

from sqlalchemy import ColumnElement, String, and_, exists, or_
from sqlalchemy.orm import Mapped, Session, mapped_column

from tldr_highlight.core.db import Base, new_id, now
from tldr_highlight.core.mail import Mailer
from tldr_highlight.core.mails import Letter, compose, letter_of, stored
from tldr_highlight.core.security import Vault
from tldr_highlight.core.sweep import Rule
from tldr_highlight.core.work import Job, Kind, Work, Workshop, clock, enqueue
from tldr_highlight.errors import NotFoundError

KEPT = timedelta(days=30)
"""How long the row of a mail is kept after it was sent: to whom it went, and when."""


class Mail(Base):
    """One mail to one person. What it says is made when it is sent, then forgotten; secrets are sealed."""

    __tablename__ = "mails"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("mail"))
    organization_id: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[str]
    recipient: Mapped[str] = mapped_column(String(254))
    context: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sealed: Mapped[str | None]  # the part of the context that is secret, until it is sent
    created_at: Mapped[datetime] = mapped_column(default=now)
    sent_at: Mapped[datetime | None]


class PostOffice(Workshop, Protocol):
    """What mail needs of the runtime."""

    vault: Vault
    mailer: Mailer


def post(session: Session, letter: Letter, to: str, *, organization_id: str | None = None) -> Mail:
    """Have a letter sent once the caller's transaction is committed.

    Args:
        session: Of `db.begin()` of an opened runtime, whose vault seals the letter's link.
        letter: What it says, see `core/mails`.
        to: A normal e-mail address.
        organization_id: Whom it is about.
    """
    vault = cast(PostOffice, session.info["runtime"]).vault
    context, secret = stored(letter)
    mail = Mail(
        organization_id=organization_id,
        kind=letter.kind,
        recipient=to,
        context=context,
        sealed=None if secret is None else vault.seal(secret),
    )
    session.add(mail)
    session.flush()
    enqueue(
        session, MAIL.name, organization_id=organization_id, object_id=mail.id, key=mail.id, priority="soon"
    )
    return mail


def send_mail(job: Job[PostOffice]) -> None:
    """Send one mail, and forget what it said.

    At least once: a process that dies between the server's "250 OK" and our commit sends the mail again.
    Nobody can exclude that; the second one has the same Message-ID, made of the row's id, by which mailboxes
    may know it.
    """
    runtime = job.runtime
    with runtime.db.read() as session:
        mail = session.get(Mail, job.object_id)
    if mail is None:
        raise NotFoundError("the mail was deleted before it was sent")
    if mail.sent_at is not None:
        return
    secret = None if mail.sealed is None else runtime.vault.open(mail.sealed)
    letter = letter_of(mail.kind, mail.context, secret)
    runtime.mailer.send(compose(letter, to=mail.recipient, id=mail.id, written_at=mail.created_at))
    with job.step() as session:
        mail = session.get_one(Mail, job.object_id)
        mail.sent_at = clock(session)
        mail.context, mail.sealed = {}, None


MAIL = Kind("mail", send_mail, tries=8, backoff_seconds=10, limit_seconds=300)
"""Eight tries take an hour: 10 s, 40 s, 160 s, 11 min, and 15 min between the last."""


def _over(at: datetime) -> ColumnElement[bool]:
    """Sent long ago; or given up as long ago, so that its work is gone, too."""
    work = exists().where(Work.kind == MAIL.name, Work.key == Mail.id)
    old = Mail.created_at < at - KEPT
    return or_(Mail.sent_at < at - KEPT, and_(Mail.sent_at.is_(None), old, ~work))


OVER = Rule(Mail, _over)
"""Mail that was sent, or cannot be any more."""
