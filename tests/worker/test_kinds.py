"""Rows that nobody needs any more go, those that somebody needs stay, on both databases, by one work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.accounts.office import PASSWORD, Office, office
from tests.services import Backend, Postgres
from tldr_highlight.accounts import invitations, mailed
from tldr_highlight.core import idempotency, outbox
from tldr_highlight.core.db import new_id, now
from tldr_highlight.core.idempotency import Reservation
from tldr_highlight.core.outbox import Mail
from tldr_highlight.core.sweep import BATCH
from tldr_highlight.core.work import Work, enqueue, retry, run_one
from tldr_highlight.tenancy import logins
from tldr_highlight.tenancy.models import AuditRecord, Invitation, LoginSession, MailedToken, SpentToken, User

MINUTE = timedelta(minutes=1)


@pytest.fixture
def home(backend: Backend, tmp_path: Path) -> Iterator[Office]:
    with office(backend, tmp_path) as opened:
        yield opened


def sweep(home: Office) -> None:
    """Have it done now, whenever it is due."""
    with home.runtime.db.begin() as session:
        work = enqueue(session, "sweep", key="periodic", priority="low")
        retry(session, work.id)
    assert run_one(home.runtime, owner="test", id=work.id)
    [work] = home.rows(select(Work).where(Work.kind == "sweep"))
    assert (work.state, work.error_code) == ("waiting", None)


def add(home: Office, *rows: Any) -> None:
    with home.runtime.db.begin() as session:
        for row in rows:
            session.add(row)
            session.flush()


def user_id(home: Office) -> str:
    home.register()
    return home.rows(select(User.id))[0]


def ids(home: Office, column: Any) -> set[str]:
    return set(home.rows(select(column)))


def login(id: str, user: str, *, expires: datetime, ended: datetime | None = None) -> LoginSession:
    return LoginSession(
        id=id, user_id=user, kind="token", token_hash=new_id("h"), expires_at=expires, ended_at=ended
    )


def test_logins_and_what_they_spent(home: Office) -> None:
    user, at = user_id(home), now()
    later, ago = at + timedelta(days=1), at - logins.KEPT
    add(
        home,
        login("ses_on", user, expires=later),
        login("ses_expired", user, expires=at - MINUTE),
        login("ses_ended", user, expires=later, ended=at - MINUTE),
        login("ses_long_expired", user, expires=ago - MINUTE),
        login("ses_long_ended", user, expires=later, ended=ago - MINUTE),
        SpentToken(token_hash="on", session_id="ses_on", spent_at=at - timedelta(days=89)),
        *(SpentToken(token_hash=f"{n}", session_id="ses_ended") for n in range(BATCH + 1)),
        SpentToken(token_hash="expired", session_id="ses_expired"),
        SpentToken(token_hash="long", session_id="ses_long_ended"),
    )
    sweep(home)
    assert ids(home, LoginSession.id) == {"ses_on", "ses_expired", "ses_ended"}
    assert ids(home, SpentToken.token_hash) == {"on"}


def test_a_token_spent_at_the_very_start_ends_an_old_login_still(home: Office) -> None:
    home.register()
    answer = home.call("POST", "/auth/login", {"email": "ann@example.com", "password": PASSWORD}).json()
    first = answer["refresh_token"]
    for days in (6, 6, 6):  # refreshed in time, and swept each time
        with home.runtime.db.begin() as session:
            for row in session.scalars(select(LoginSession)):
                row.created_at -= timedelta(days=days)
                row.used_at -= timedelta(days=days)
                row.expires_at -= timedelta(days=days)
            for spent in session.scalars(select(SpentToken)):
                spent.spent_at -= timedelta(days=days)
        sweep(home)
        answer = home.call("POST", "/auth/refresh", {"refresh_token": answer["refresh_token"]}).json()
    assert home.call("POST", "/auth/refresh", {"refresh_token": first}).status_code == 401
    assert home.call("POST", "/auth/refresh", {"refresh_token": answer["refresh_token"]}).status_code == 401
    assert home.rows(select(AuditRecord.id).where(AuditRecord.action == "login.reused_token"))


def test_mailed_tokens(home: Office) -> None:
    user, at = user_id(home), now()
    about = {"user_id": user, "purpose": "reset", "email": "ann@example.com"}
    add(
        home,
        MailedToken(token_hash="open", expires_at=at + MINUTE, **about),
        MailedToken(token_hash="used", expires_at=at + MINUTE, used_at=at, **about),
        MailedToken(token_hash="expired", expires_at=at - MINUTE, **about),
    )
    sweep(home)
    verification = home.rows(select(MailedToken.token_hash).where(MailedToken.purpose == "verify"))
    assert ids(home, MailedToken.token_hash) == {"open", *verification}
    assert len(verification) == 1
    assert mailed.LIFETIME[mailed.Purpose.VERIFY] > mailed.PAUSE  # no pause is forgotten with a token


def test_invitations(home: Office) -> None:
    organization, at = home.register()["organization"]["id"], now()
    ago, later = at - invitations.KEPT, at + timedelta(days=1)
    times: dict[str, tuple[datetime, datetime | None]] = {
        "inv_open": (later, None),
        "inv_expired": (ago + MINUTE, None),
        "inv_taken": (later, at - MINUTE),
        "inv_long_expired": (ago - MINUTE, None),
        "inv_long_taken": (later, ago - MINUTE),
    }
    for id, (expires_at, accepted_at) in times.items():
        add(
            home,
            Invitation(
                id=id, organization_id=organization, email="bob@example.com", email_key="bob@example.com",
                role="member", token_hash=id, invited_by="usr_x", expires_at=expires_at,
                accepted_at=accepted_at,
            ),
        )  # fmt: skip
    sweep(home)
    assert ids(home, Invitation.id) == {"inv_open", "inv_expired", "inv_taken"}


def test_reservations(home: Office) -> None:
    old = now() - idempotency.KEPT - MINUTE
    held = {"fresh": (now(), now()), "answered": (old, old), "abandoned": (old, old)}
    held["taken over"] = (old, now() + MINUTE)  # somebody works on it this moment
    for key, (created_at, held_until) in held.items():
        status = 201 if key == "answered" else None
        about = {"owner": "org_a", "operation": "x", "fingerprint": "f", "holder": "h", "status": status}
        add(home, Reservation(key=key, created_at=created_at, held_until=held_until, **about))
    sweep(home)
    assert ids(home, Reservation.key) == {"fresh", "taken over"}


def test_what_a_mail_said_is_forgotten_once_it_is_sent(home: Office) -> None:
    home.register()
    [waiting] = home.rows(select(Mail))
    assert waiting.context
    assert len(home.mails()) == 1
    [sent] = home.rows(select(Mail))
    assert (sent.context, sent.sealed, sent.recipient) == ({}, None, "ann@example.com")


def test_rows_of_mails(home: Office) -> None:
    at = now()
    ago = at - outbox.KEPT - MINUTE
    times: dict[str, tuple[datetime, datetime | None]] = {
        "mail_sent": (ago, at - MINUTE),
        "mail_sent_long_ago": (ago, ago),
        "mail_waiting": (ago, None),  # its server has been away for a month
        "mail_given_up": (ago, None),
        "mail_new": (at, None),
    }
    for id, (created_at, sent_at) in times.items():
        add(home, Mail(id=id, kind="x", recipient="a@example.com", created_at=created_at, sent_at=sent_at))
    with home.runtime.db.begin() as session:
        for id in ("mail_waiting", "mail_given_up"):
            enqueue(session, "mail", key=id, object_id=id, run_at=at + timedelta(days=1))
        ended = {"state": "failed", "ended_at": ago}
        session.execute(update(Work).where(Work.key == "mail_given_up").values(ended))
    sweep(home)
    assert ids(home, Mail.id) == {"mail_sent", "mail_waiting", "mail_new"}


def test_what_somebody_holds_is_left_alone(postgres: Postgres, tmp_path: Path) -> None:
    """Nobody waits for them, and what becomes needed meanwhile stays. SQLite has one writer at a time."""
    with postgres.databases() as new, office(Backend("postgres", new), tmp_path) as home:
        _sweeps_around(home)


def _sweeps_around(home: Office) -> None:
    old = now() - idempotency.KEPT - MINUTE
    for key in ("held", "free"):
        about = {"owner": "org_a", "operation": "x", "fingerprint": "f", "holder": "h"}
        add(home, Reservation(key=key, created_at=old, held_until=old, **about))
    with home.runtime.db.begin() as session:
        session.execute(
            update(Reservation).where(Reservation.key == "held").values(held_until=now() + MINUTE)
        )
        sweep(home)
    assert ids(home, Reservation.key) == {"held"}
    sweep(home)
    assert home.rows(select(func.count()).select_from(Reservation)) == [1]
