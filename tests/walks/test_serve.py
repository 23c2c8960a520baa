"""A team moves in: `tldr-highlight serve` from an empty folder on, used by its client, killed in the middle.

On SQLite alone, and on PostgreSQL and Redis with a worker of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.program import Program
from tests.services import Backend, stopped_between_transactions
from tests.walks.command import until
from tldr_highlight.client import Client, Conflict, Forbidden, Unauthorized
from tldr_highlight.core.db import Database
from tldr_highlight.webhooks.models import Event

ANN, BOB, CLEO = "ann@example.com", "bob@example.com", "cleo@example.com"
PASSWORD = "seven wet otters sing"
ADDRESS = re.compile(r"^  address   (http://\S+)$", re.MULTILINE)

OVERLAP = 3
"""Seconds that a rotated key works on."""


@dataclass
class Installation:
    """A server, with a worker where it does not bring its own, on one data folder."""

    data: Path
    database_url: str
    serve: Program
    worker: Program | None
    lives: int = 1
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = self._address()

    def _address(self) -> str:
        """What it printed when it was ready, in this life."""
        self.serve.until(lambda: len(ADDRESS.findall(self.serve.output)) == self.lives, "said its address")
        return ADDRESS.findall(self.serve.output)[-1]

    def stop_working(self) -> None:
        """Requests are answered, and what waits goes on waiting."""
        working = self.worker.family() if self.worker else self.serve.family()[1:]
        until(lambda: stopped_between_transactions(working, self.database_url), 30)

    def fall_and_rise(self) -> None:
        """The power fails; somebody starts everything again."""
        for process in filter(None, (self.serve, self.worker)):
            process.kill()
        for process in filter(None, (self.serve, self.worker)):
            process.start()
        self.lives += 1
        self.url = self._address()

    def mail(self, to: str, subject: str) -> EmailMessage:
        """Wait for a mail; each was sent once."""
        self.serve.until(lambda: self.mails(to, subject), f"sent {subject!r} to {to}")
        [mail] = self.mails(to, subject)
        return mail

    def mails(self, to: str, subject: str) -> list[EmailMessage]:
        files = (self.data / "mail").glob("[!.]*.eml")  # those with a dot are being written
        mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
        return [mail for mail in mails if mail["To"] == to and re.search(subject, mail["Subject"])]

    def events(self) -> list[str]:
        """Types of all events."""
        db = Database(self.database_url)
        try:
            with db.read() as session:
                return list(session.scalars(select(Event.type).order_by(Event.id)))
        finally:
            db.close()


@pytest.fixture
def team(program: Callable[..., Program], deployment: Backend, tmp_path: Path) -> Installation:
    data = tmp_path / "data"
    env = {"TLDR_DATA_DIR": str(data)}
    if deployment.redis_url:
        env |= {"TLDR_DATABASE_URL": deployment.database_url, "TLDR_BROKER_URL": deployment.redis_url}
    serve = program("serve", "--port", "0", env=env)
    serve.says(ADDRESS.pattern)
    worker = program("worker", env=env) if deployment.redis_url else None
    database_url = deployment.database_url if deployment.redis_url else f"sqlite:///{data / 'tldr.db'}"
    return Installation(data, database_url, serve, worker)


def token_in(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body
    found = re.search(r"#token=([\w-]+)", body.get_content())
    assert found, body.get_content()
    return found[1]


def works(url: str, key: str) -> bool:
    """Whether a key is let in, in both of its headers."""
    answers = let_in(url, key)
    assert len(answers) == 1, "the headers disagree"
    return answers.pop()


def let_in(url: str, key: str) -> set[bool]:
    """What its two headers say, one after the other: of a key that ends just now, both things."""
    answers: set[bool] = set()
    for client in (Client(url, key), Client(url, token=key)):
        try:
            client.me()
            answers.add(True)
        except Unauthorized:
            answers.add(False)
        finally:
            client.close()
    return answers


def test_a_team_moves_in(team: Installation) -> None:
    assert f"docs      {team.url}/docs\n" in team.serve.output
    assert f"curl {team.url}/api/v1/auth/register" in team.serve.output
    assert team.serve.answers(f"{team.url}/docs") == 200

    # one call makes a person, an organization and a key; the mail confirms the address
    with Client(team.url) as nobody:
        began = nobody.auth.register(ANN, PASSWORD, "Nordlicht Sports")
        first = began.api_key
        assert (began.role, began.organization.plan) == ("owner", "STARTER")
        assert works(team.url, first.key)
        user = nobody.auth.verify_email(token_in(team.mail(ANN, "Confirm")))
        assert user.email_verified_at is not None

    with Client.login(team.url, ANN, PASSWORD) as ann:
        _rotate(team, ann, first.id, first.key)
        _invite(team, ann)
        keys = _grow(team, ann)

        # a mail is promised while nobody works, and the power fails
        team.stop_working()
        ann.organization.invite(CLEO, "admin")
        before = list(ann.organization.audit())
    assert team.mails(CLEO, "") == []
    team.fall_and_rise()

    # all that was said holds
    token = token_in(team.mail(CLEO, "Invitation"))
    with Client.login(team.url, ANN, PASSWORD) as ann:
        assert ann.organization.get().plan == "PROFESSIONAL"
        assert [member.email for member in ann.organization.members()] == [BOB, ANN]
        after = list(ann.organization.audit())
        assert after[-len(before) :] == before
        assert [key.id for key in ann.keys.list() if key.status == "active"] == keys
        assert ann.auth.accept_invitation(token, PASSWORD).role == "admin"
    assert not works(team.url, first.key)
    assert team.serve.terminate() == 0


def _rotate(team: Installation, ann: Client, key_id: str, secret: str) -> None:
    """The old key works until the overlap is over, the new one until it is revoked."""
    began = time.monotonic()
    second = ann.keys.rotate(key_id, overlap_seconds=OVERLAP)
    assert works(team.url, secret)
    assert works(team.url, second.key)
    until(lambda: let_in(team.url, secret) == {False}, OVERLAP + 2)
    assert time.monotonic() - began >= OVERLAP
    assert ann.keys.get(key_id).replaced_by == second.id

    ann.keys.revoke(second.id)
    until(lambda: let_in(team.url, second.key) == {False}, 1)
    assert {key.status for key in ann.keys.list()} == {"expired", "revoked"}


def _invite(team: Installation, ann: Client) -> None:
    """Somebody comes in, and may do what their role may."""
    ann.organization.invite(BOB, "viewer")
    with Client(team.url) as nobody:
        joined = nobody.auth.accept_invitation(token_in(team.mail(BOB, "Invitation")), PASSWORD, name="Bob")
    assert (joined.role, joined.organization.name) == ("viewer", "Nordlicht Sports")
    with Client.login(team.url, BOB, PASSWORD) as bob:
        assert bob.organization.get().name == "Nordlicht Sports"
        with pytest.raises(Forbidden) as caught:
            bob.keys.create("mine")
        assert caught.value.extra["required_scope"] == "keys:write"


def _grow(team: Installation, ann: Client) -> list[str]:
    """A larger plan holds at once; the way back is shut while more is used. Ids of the keys, latest first."""
    preview = ann.organization.preview_plan("PROFESSIONAL")
    assert (preview.current, preview.possible) == ("STARTER", True)
    changed = ann.organization.change_plan("PROFESSIONAL").organization
    assert (changed.plan, changed.limits.api_keys) == ("PROFESSIONAL", 10)
    keys = [ann.keys.create(f"worker {n}").id for n in range(3)]  # STARTER has two

    refused = [fit.limit for fit in ann.organization.preview_plan("STARTER").fits if not fit.fits]
    assert refused == ["api_keys"]
    with pytest.raises(Conflict) as caught:
        ann.organization.change_plan("STARTER")
    assert caught.value.code == "plan_does_not_fit"

    [record] = ann.organization.audit(action="organization.plan_changed")
    assert record.details == {"before": "STARTER", "now": "PROFESSIONAL"}
    assert team.events() == ["plan.changed"]
    team.mail(ANN, "Professional plan")
    return keys[::-1]
