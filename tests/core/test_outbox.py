"""Mail is a row in the transaction that wants it; its link is sealed until it is sent, and then gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from sqlalchemy import select, text

from tests.schema import tables
from tests.services import Backend
from tldr_highlight.core import work
from tldr_highlight.core.mail import Message
from tldr_highlight.core.mails import EmailChanged, VerifyEmail
from tldr_highlight.core.outbox import MAIL, Mail, post
from tldr_highlight.core.work import Work, kinds_of, run_one
from tldr_highlight.errors import MailError, MailRefusedError, MailSetupError
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings

LINK = "https://example.com/verify?t=t0ps3cret"
LETTER = VerifyEmail(organization="Ann's", link=LINK, valid_for=timedelta(hours=24))


@pytest.fixture
def runtime(backend: Backend, tmp_path: Path) -> Iterator[Runtime]:
    settings = Settings(data_dir=tmp_path, database_url=backend.database(tables))
    with opened(settings, kinds_of(MAIL)) as runtime:
        yield runtime


class Mailers:
    """A mailer that fails so often, and remembers what it was to send."""

    def __init__(self, *errors: Exception) -> None:
        self.sent: list[Message] = []
        self._errors = list(errors)

    def send(self, message: Message) -> None:
        self.sent.append(message)
        if self._errors:
            raise self._errors.pop(0)


def posted(runtime: Runtime) -> str:
    with runtime.db.begin() as session:
        return post(session, LETTER, "ann@example.com").id


def rows(runtime: Runtime) -> tuple[Mail, Work]:
    with runtime.db.read() as session:
        return session.scalars(select(Mail)).one(), session.scalars(select(Work)).one()


def test_it_is_sent_once_and_its_secret_forgotten(runtime: Runtime, tmp_path: Path) -> None:
    id = posted(runtime)
    mail, job = rows(runtime)
    assert (job.kind, job.key, job.object_id, job.state) == ("mail", id, id, "waiting")
    assert mail.sealed
    assert "t0ps3cret" not in f"{mail.sealed}{mail.context}{job.payload}"
    assert run_one(runtime, owner="a")
    assert not run_one(runtime, owner="a", suspects=None)
    (file,) = (tmp_path / "mail").glob("*.eml")
    sent = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert sent["To"] == "ann@example.com"
    assert id in sent["Message-ID"]
    body = sent.get_body(("plain",))
    assert body
    assert LINK in body.get_content()
    mail, job = rows(runtime)
    assert (mail.sealed, job.state) == (None, "done")
    assert mail.sent_at


def test_no_secret_is_in_the_database(runtime: Runtime) -> None:
    posted(runtime)
    with runtime.db.read() as session:
        for table in ("mails", "work"):
            assert "t0ps3cret" not in str(session.execute(text(f"SELECT * FROM {table}")).all())


def test_who_rolls_back_sends_nothing(runtime: Runtime) -> None:
    with contextlib.suppress(ZeroDivisionError), runtime.db.begin() as session:
        post(session, LETTER, "ann@example.com")
        _ = 1 / 0
    assert not run_one(runtime, owner="a")
    with runtime.db.read() as session:
        assert session.scalars(select(Mail)).all() == []


def test_a_letter_without_a_link_has_nothing_sealed(runtime: Runtime) -> None:
    with runtime.db.begin() as session:
        letter = EmailChanged(new_address="new@example.com", changed_at=work.clock(session))
        assert post(session, letter, "ann@example.com", organization_id="org_1").sealed is None
    runtime.mailer = mailer = Mailers()
    assert run_one(runtime, owner="a")
    assert "new@example.com" in mailer.sent[0].text
    assert rows(runtime)[1].organization_id == "org_1"


ENDS = [
    (MailError("not now"), "waiting", "mail_unsent", 1),
    (MailRefusedError("nobody there"), "failed", "mail_refused", 1),
    (MailSetupError("wrong password"), "waiting", "mail_setup", 0),
]


@pytest.mark.parametrize(("error", "state", "code", "attempts"), ENDS)
def test_what_a_server_says_decides(
    runtime: Runtime, error: MailError, state: str, code: str, attempts: int
) -> None:
    runtime.mailer = Mailers(error)
    posted(runtime)
    assert run_one(runtime, owner="a")
    mail, job = rows(runtime)
    assert (job.state, job.error_code, job.attempts, mail.sent_at) == (state, code, attempts, None)


def test_a_second_try_is_the_same_mail(runtime: Runtime) -> None:
    """As after a crash between the server's OK and our commit: what comes twice can be known for that."""
    runtime.mailer = mailer = Mailers(MailError("not now"))
    posted(runtime)
    run_one(runtime, owner="a")
    with runtime.db.begin() as session:
        work.retry(session, rows(runtime)[1].id)
    run_one(runtime, owner="a")
    assert len(mailer.sent) == 2
    assert mailer.sent[0] == mailer.sent[1]


def test_what_was_sent_is_not_sent_again(runtime: Runtime) -> None:
    runtime.mailer = mailer = Mailers()
    posted(runtime)
    run_one(runtime, owner="a")
    with runtime.db.begin() as session:
        session.scalars(select(Work)).one().state = "waiting"
    assert run_one(runtime, owner="a")
    assert len(mailer.sent) == 1
    assert rows(runtime)[1].state == "done"
