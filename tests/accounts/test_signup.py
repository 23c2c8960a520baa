"""Registering: one call, one company, one mail; of many at once, one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.accounts.office import PASSWORD, Office, office, plain_text, token_in
from tests.services import Backend
from tldr_highlight.core.db import now
from tldr_highlight.core.outbox import Mail
from tldr_highlight.tenancy.models import ApiKey, AuditRecord, MailedToken, Member, Organization, User
from tldr_highlight.tenancy.roles import STARTER_KEY
from tldr_highlight.usage.models import UsageTotal
from tldr_highlight.webhooks.models import Webhook

BODY: dict[str, Any] = {
    "email": "ann@example.com",
    "password": PASSWORD,
    "company_name": "Nordlicht Sports",
}


def test_registering_makes_all_that_a_company_needs(home: Office) -> None:
    hook = {"url": "https://hooks.example.com/x", "events": ["stream.*", "plan.changed"]}
    made = home.register("Ann@Example.COM ".strip(), name="Ann", webhook=hook)

    assert made["user"]["email"] == "Ann@example.com"
    assert made["user"]["email_verified_at"] is None
    assert made["organization"]["plan"] == "STARTER"
    assert made["organization"]["limits"]["api_keys"] == 2
    assert made["role"] == "owner"
    assert set(made["api_key"]["scopes"]) == set(STARTER_KEY)
    assert made["webhook"]["status"] == "pending_verification"

    organization_id = made["organization"]["id"]
    [member] = home.rows(Member.of(organization_id))
    assert (member.user_id, member.role) == (made["user"]["id"], "owner")
    totals = home.rows(UsageTotal.of(organization_id))
    assert {(t.month, t.amount) for t in totals} == {(f"{now():%Y-%m}", 0)}
    assert {t.metric for t in totals} == {"processing_ms", "stored_bytes", "delivered_bytes", "api_calls"}
    actions = [r.action for r in home.rows(select(AuditRecord).order_by(AuditRecord.id))]
    made_here = ["organization.created", "key.created", "webhook.created", "user.registered"]
    assert Counter(actions) == Counter(made_here)
    assert {r.actor for r in home.rows(select(AuditRecord))} == {made["user"]["id"]}


def test_the_key_works_at_once(home: Office) -> None:
    made = home.register()
    who = {"X-API-Key": made["api_key"]["key"]}
    assert home.call("GET", "/organization", who=who).status_code == 403  # STARTER's scopes lack it
    assert home.call("GET", "/keys", who=who).json()["code"] == "scope_missing"


def test_secrets_are_stored_as_hashes_or_sealed(home: Office) -> None:
    made = home.register(webhook={"url": "https://hooks.example.com/x"})
    [user] = home.rows(select(User))
    [key] = home.rows(select(ApiKey))
    [webhook] = home.rows(select(Webhook))
    [mail] = home.rows(select(Mail))
    [token] = home.rows(select(MailedToken))
    sent = token_in(home.mails()[-1])
    for row in (user, key, webhook, mail, token):
        stored = str({c.name: getattr(row, c.name) for c in row.__table__.columns})
        for secret in (PASSWORD, made["api_key"]["key"], made["webhook"]["secret"], sent):
            assert secret not in stored
    assert home.runtime.vault.open(webhook.secret) == made["webhook"]["secret"]
    assert user.password_hash.startswith("$argon2id$")


def test_the_mail_confirms_the_address_once(home: Office) -> None:
    home.register()
    [mail] = home.mails()
    assert mail["To"] == "ann@example.com"
    assert "http://127.0.0.1:8000/verify-email#token=" in plain_text(mail)
    token = token_in(mail)
    answers = home.at_once([lambda: home.call("POST", "/auth/verify-email", {"token": token})] * 6)
    assert Counter(a.status_code for a in answers) == {200: 1, 400: 5}
    assert {a.json()["code"] for a in answers if a.status_code == 400} == {"link_invalid"}
    [user] = home.rows(select(User))
    assert user.email_verified_at is not None


def test_of_many_who_register_one_address_one_wins(home: Office) -> None:
    spellings = ["ann@example.com", "ANN@example.com", "Ann@EXAMPLE.com"]

    def register(email: str) -> Any:
        return home.call("POST", "/auth/register", {**BODY, "email": email})

    answers = home.at_once([lambda e=e: register(e) for e in spellings * 4])
    assert Counter(a.status_code for a in answers) == {201: 1, 409: 11}
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"email_taken"}
    assert len(home.rows(select(Organization))) == len(home.rows(select(ApiKey))) == 1
    assert len(home.mails()) == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"email": "ann"}, 422, "email_invalid"),
        ({"email": "ann@localhost"}, 422, "email_invalid"),
        ({"password": "short"}, 422, "password_refused"),
        ({"password": "password1"}, 422, "password_refused"),
        ({"password": "my nordlicht sports"}, 422, "password_refused"),
        ({"webhook": {"url": "http://hooks.example.com/x"}}, 422, "webhook_url_not_allowed"),
        ({"webhook": {"url": "https://127.0.0.1/x"}}, 422, "webhook_url_not_allowed"),
        ({"webhook": {"url": "https://[::ffff:10.0.0.1]/x"}}, 422, "webhook_url_not_allowed"),
        ({"webhook": {"url": "https://2130706433/x"}}, 422, "webhook_url_not_allowed"),
        ({"webhook": {"url": "nothing"}}, 422, "webhook_url_not_allowed"),
        ({"webhook": {"url": "https://a.example", "events": ["no.such"]}}, 422, None),
        ({"webhook": {"url": "https://a.example", "events": []}}, 422, None),
        ({"plan": "ENTERPRISE"}, 422, None),
        ({"company_name": "  "}, 422, None),
    ],
)
def test_what_cannot_be_taken_leaves_nothing(
    quick: Office, change: dict[str, Any], status: int, code: str | None
) -> None:
    answer = quick.call("POST", "/auth/register", {**BODY, **change})
    assert answer.status_code == status, answer.text
    if code is not None:
        assert answer.json()["code"] == code
    assert quick.rows(select(User)) == quick.rows(select(Organization)) == quick.rows(select(Mail)) == []


def test_closed_installations_take_nobody(backend: Backend, tmp_path: Path) -> None:
    with office(backend, tmp_path, registration="closed") as home:
        answer = home.call("POST", "/auth/register", BODY)
        assert (answer.status_code, answer.json()["code"]) == (403, "registration_closed")
        assert home.rows(select(User)) == []


def test_accounts_from_one_address_are_bounded(backend: Backend, tmp_path: Path) -> None:
    with office(backend, tmp_path, registrations_per_hour=2) as home:
        emails = [f"p{i}@example.com" for i in range(6)]
        answers = home.at_once(
            [lambda e=e: home.call("POST", "/auth/register", {**BODY, "email": e}) for e in emails]
        )
        assert Counter(a.status_code for a in answers) == {201: 2, 429: 4}
        assert all(int(a.headers["retry-after"]) > 3000 for a in answers if a.status_code == 429)
        assert len(home.rows(select(User))) == 2


def test_who_tries_which_addresses_are_known_is_bounded_too(quick: Office) -> None:
    most = quick.runtime.settings.registrations_per_hour = 3
    quick.register()
    codes = [quick.call("POST", "/auth/register", BODY).json()["code"] for _ in range(most)]
    assert codes == ["email_taken", "email_taken", "limited"]


def test_a_failure_in_the_middle_leaves_nothing(home: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    from tldr_highlight.accounts import signup
    from tldr_highlight.errors import BusyError

    def fail(*_: object) -> None:
        raise BusyError("in the middle")

    monkeypatch.setattr(signup.emails, "send_verification", fail)
    assert home.call("POST", "/auth/register", BODY).status_code == 503
    monkeypatch.undo()
    assert home.rows(select(User)) == home.rows(select(Organization)) == []
    home.register()


def test_the_writers_place_is_free_while_a_password_is_hashed(quick: Office) -> None:
    """On SQLite there is one writer: hashing takes 50 ms, which nobody must wait for."""
    inner, seen = quick.runtime.passwords.hash, []

    def hash_and_look(password: str) -> str:
        place = quick.runtime.db._writing
        if free := place.acquire(blocking=False):
            place.release()
        seen.append(free)
        return inner(password)

    quick.runtime.passwords.hash = hash_and_look
    who = quick.confirmed()
    quick.joined(who, "bea@example.org")
    change = {"current_password": PASSWORD, "password": "nine dry badgers whistle"}
    assert quick.call("POST", "/auth/change-password", change, who=who).status_code == 204
    quick.call("POST", "/auth/forgot-password", {"email": "ann@example.com"})
    reset = {"token": token_in(quick.mails()[-1]), "password": PASSWORD}
    assert quick.call("POST", "/auth/reset-password", reset).status_code == 200
    assert seen == [True] * 4
