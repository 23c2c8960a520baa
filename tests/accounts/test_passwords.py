"""Passwords and addresses: changed by who may, by links that work once and not for long."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.accounts.office import PASSWORD, Office, plain_text, token_in
from tldr_highlight.core.db import now
from tldr_highlight.core.outbox import Mail
from tldr_highlight.core.work import Work
from tldr_highlight.tenancy import callers
from tldr_highlight.tenancy.models import (
    ApiKey,
    AuditRecord,
    Invitation,
    LoginSession,
    MailedToken,
    Member,
    Organization,
    User,
)
from tldr_highlight.webhooks.models import Webhook

NEW = "nine dry badgers whistle"


def knows(home: Office, password: str, email: str = "ann@example.com") -> bool:
    [user] = home.rows(select(User).where(User.email == email))
    return home.runtime.passwords.verify(user.password_hash, password)


def forgot(home: Office, email: str = "ann@example.com") -> Any:
    return home.call("POST", "/auth/forgot-password", {"email": email})


def reset(home: Office, token: str, password: str = NEW) -> Any:
    return home.call("POST", "/auth/reset-password", {"token": token, "password": password})


def age_tokens(home: Office, by: timedelta) -> None:
    with home.runtime.db.begin() as session:
        for token in session.scalars(select(MailedToken)):
            token.created_at -= by
            token.expires_at -= by


def live(home: Office) -> list[LoginSession]:
    return home.rows(select(LoginSession).where(LoginSession.ended_at.is_(None)))


# --- forgotten -----------------------------------------------------------------------------------------


def test_a_forgotten_password_is_set_anew(home: Office) -> None:
    home.confirmed()
    home.login("ann@example.com")
    assert forgot(home).status_code == 202
    [mail] = home.mails()
    assert "http://127.0.0.1:8000/reset-password#token=" in plain_text(mail)
    assert reset(home, token_in(mail)).status_code == 200
    assert knows(home, NEW)
    assert not knows(home, PASSWORD)
    assert live(home) == []
    assert {s.ended_because for s in home.rows(select(LoginSession))} == {"password"}
    [told] = home.mails()
    assert "password" in told["Subject"].lower()


def test_a_reset_link_works_once(home: Office) -> None:
    home.confirmed()
    forgot(home)
    token = token_in(home.mails()[-1])
    answers = home.at_once([lambda: reset(home, token)] * 5)
    assert Counter(a.status_code for a in answers) == {200: 1, 400: 4}
    assert {a.json()["code"] for a in answers if a.status_code == 400} == {"link_invalid"}


def test_a_refused_password_does_not_use_the_link_up(quick: Office) -> None:
    quick.confirmed()
    forgot(quick)
    token = token_in(quick.mails()[-1])
    assert reset(quick, token, "password1").json()["code"] == "password_refused"
    assert reset(quick, token).status_code == 200


def again(home: Office) -> list[str]:
    """Somebody asks a minute later: the tokens that go out."""
    age_tokens(home, timedelta(minutes=1, seconds=1))
    with home.runtime.db.begin() as session:  # of another minute: another row
        session.execute(update(Work).where(Work.kind == "reset_mail").values(key=Work.id))
    forgot(home)
    return [token_in(mail) for mail in home.mails()]


def test_who_asks_again_leaves_older_links_alone(home: Office) -> None:
    """Anybody can ask, every minute: the owner's link works all the same, and ends the others."""
    home.confirmed()
    forgot(home)
    [owners] = [token_in(mail) for mail in home.mails()]
    others = again(home) + again(home)
    assert len(others) == 2
    assert reset(home, owners).status_code == 200
    for other in others:
        assert reset(home, other, "ten loud geese march").json()["code"] == "link_invalid"
    assert knows(home, NEW)


def test_of_links_out_of_one_hour_one_is_used(home: Office) -> None:
    home.confirmed()
    forgot(home)
    tokens = [token_in(home.mails()[-1]), *again(home), *again(home)]
    answers = home.at_once([lambda t=t: reset(home, t) for t in tokens])
    assert Counter(a.status_code for a in answers) == {200: 1, 400: 2}


def test_who_asks_every_minute_has_five_links_sent_an_hour(home: Office) -> None:
    home.confirmed()
    forgot(home)
    sent = [len(home.mails()), *(len(again(home)) for _ in range(6))]
    assert sent == [1, 1, 1, 1, 1, 0, 0]
    age_tokens(home, timedelta(minutes=54))  # the first is over
    assert len(again(home)) == 1


def test_links_are_soon_over(home: Office) -> None:
    home.confirmed()
    forgot(home)
    token = token_in(home.mails()[-1])
    age_tokens(home, timedelta(minutes=59))
    with home.runtime.db.read() as session:
        from tldr_highlight.accounts import mailed

        assert mailed.peek(session, token, mailed.Purpose.RESET).email == "ann@example.com"
    age_tokens(home, timedelta(minutes=2))
    assert reset(home, token).json()["code"] == "link_invalid"


@pytest.mark.parametrize("path", ["/auth/reset-password", "/auth/confirm-email", "/auth/accept-invitation"])
def test_links_of_one_purpose_do_not_serve_another(quick: Office, path: str) -> None:
    quick.register()
    token = token_in(quick.mails()[-1])
    body = {"token": token} if "email" in path else {"token": token, "password": NEW}
    assert quick.call("POST", path, body).json()["code"] == "link_invalid"
    assert quick.call("POST", "/auth/verify-email", {"token": token}).status_code == 200


def test_forgetting_does_not_tell_who_has_an_account(home: Office) -> None:
    """Known and unknown take the same way: the same answer, the same rows; who is written to shows later."""
    home.confirmed()
    home.mails()

    def shape(email: str) -> tuple[Any, ...]:
        known = {w.id for w in home.rows(select(Work))}
        mails = len(home.rows(select(Mail)))
        answer = forgot(home, email)
        made = [w for w in home.rows(select(Work)) if w.id not in known]
        counted = {"date", "traceparent", "x-trace-id"}  # differ between any two calls
        headers = {k: v for k, v in answer.headers.items() if k not in counted and "ratelimit" not in k}
        return (
            answer.status_code,
            answer.text,
            headers,
            [w.kind for w in made],
            len(home.rows(select(Mail))) - mails,
        )

    known, unknown = shape("ann@example.com"), shape("nobody@example.com")
    assert known == unknown
    assert known[3:] == (["reset_mail"], 0)
    assert [m["To"] for m in home.mails()] == ["ann@example.com"]


def test_mailboxes_are_not_flooded(home: Office) -> None:
    home.confirmed()
    for answer in home.at_once([lambda: forgot(home)] * 8):
        assert answer.status_code == 202
    assert len(home.mails()) == 1


def test_disabled_people_get_no_link(quick: Office) -> None:
    quick.confirmed()
    forgot(quick)
    token = token_in(quick.mails()[-1])
    with quick.runtime.db.begin() as session:
        session.execute(update(User).values(disabled_at=now()))
        session.execute(update(Work).values(key=Work.id))
        session.execute(update(MailedToken).values(created_at=now() - timedelta(minutes=5)))
    forgot(quick)
    assert quick.mails() == []
    assert reset(quick, token).json()["code"] == "link_invalid"


def test_who_signed_up_with_anothers_address_loses_it_with_the_key(home: Office) -> None:
    made = home.register()
    home.mails()
    forgot(home)
    reset(home, token_in(home.mails()[-1]))
    [key] = home.rows(select(ApiKey))
    assert key.revoked_at is not None
    answer = home.call("GET", "/keys", who={"X-API-Key": made["api_key"]["key"]})
    assert answer.status_code == 401


HOOK = {"webhook": {"url": "https://example.com/hooks"}}


def squat(home: Office) -> list[str]:
    """Somebody registers another's address, and makes a key with a key: the keys."""
    first = home.register(**HOOK)["api_key"]
    with home.runtime.db.begin() as session:
        session.execute(update(Organization).values(overrides={"api_keys": 9}))
    who = home.login("ann@example.com")
    rights = {"scopes": ["keys:read", "keys:write", "organizations:read"]}
    mine = home.call("POST", "/keys", {"name": "mine", **rights}, who=who).json()["key"]
    more = home.call("POST", "/keys", {"name": "more", **rights}, who={"X-API-Key": mine}).json()["key"]
    home.mails()
    return [first["key"], mine, more]


def test_nothing_of_who_signed_up_with_anothers_address_survives(home: Office) -> None:
    keys = squat(home)
    ask(home, home.login("ann@example.com"), "squatter@example.org")
    door = token_in(home.mails()[-1])
    [organization] = home.rows(select(Organization))
    with home.runtime.db.begin() as session:  # as the shell does
        session.add(
            Invitation(
                organization_id=organization.id,
                email="sock@example.org",
                email_key="sock@example.org",
                role="owner",
                token_hash="0",
                invited_by="shell",
                expires_at=now() + timedelta(days=1),
            )
        )
    forgot(home)
    assert reset(home, token_in(home.mails()[-1])).status_code == 200
    for key in keys:
        assert home.call("GET", "/keys", who={"X-API-Key": key}).status_code == 401
    assert live(home) == home.rows(select(Webhook)) == home.rows(select(Invitation)) == []
    assert home.call("POST", "/auth/confirm-email", {"token": door}).json()["code"] == "link_invalid"
    ended = Counter(r.action for r in home.rows(select(AuditRecord)) if r.details.get("because") == "address")
    assert ended == {"key.revoked": 3, "webhook.deleted": 1, "invitation.revoked": 1}
    assert {r.organization_id for r in home.rows(select(AuditRecord))} >= {organization.id}


@pytest.mark.parametrize("by", ["key", "login"])
def test_a_key_that_has_ended_makes_no_other(home: Office, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process callers are remembered for a second: who tries all the time is let in."""
    monkeypatch.setattr(callers, "REMEMBERED_SECONDS", 60)
    key = squat(home)[1]
    who = home.login("ann@example.com") if by == "login" else {"X-API-Key": key}
    forgot(home)
    token = token_in(home.mails()[-1])
    assert home.call("GET", "/keys", who=who).status_code == 200
    monkeypatch.setattr(home.runtime, "forget_callers", lambda: None)
    assert reset(home, token).status_code == 200
    assert home.call("GET", "/organization", who=who).status_code == 200  # it is remembered
    assert home.call("POST", "/keys", {"name": "again"}, who=who).status_code == 401
    keys = home.rows(select(ApiKey))
    assert all(k.revoked_at for k in keys), [k.name for k in keys]


def test_what_others_own_stays_theirs(quick: Office) -> None:
    """The operator put somebody who had confirmed nothing into a company that has another owner."""
    made = quick.register("bea@example.org", **HOOK)
    theirs = made["organization"]["id"]
    squat(quick)
    with quick.runtime.db.begin() as session:
        ann = session.scalars(select(User).where(User.email == "ann@example.com")).one()
        session.add(Member(organization_id=theirs, user_id=ann.id, role="owner"))
    forgot(quick)
    assert reset(quick, token_in(quick.mails()[-1])).status_code == 200
    assert quick.call("GET", "/me", who={"X-API-Key": made["api_key"]["key"]}).status_code == 200
    assert [w.organization_id for w in quick.rows(select(Webhook))] == [theirs]


def test_who_had_confirmed_keeps_keys_and_webhooks(quick: Office) -> None:
    keys = squat(quick)
    with quick.runtime.db.begin() as session:
        session.execute(update(User).values(email_verified_at=now()))
    forgot(quick)
    reset(quick, token_in(quick.mails()[-1]))
    assert [quick.call("GET", "/me", who={"X-API-Key": key}).status_code for key in keys] == [200] * 3
    assert len(quick.rows(select(Webhook))) == 1


def test_links_lead_to_ourselves_whatever_host_is_asked_for(quick: Office) -> None:
    quick.confirmed()
    who = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    quick.call("POST", "/auth/forgot-password", {"email": "ann@example.com"}, who=who)
    [mail] = quick.mails()
    assert "evil" not in mail.as_string()


# --- changed -------------------------------------------------------------------------------------------


def change(home: Office, who: dict[str, str], current: str = PASSWORD, password: str = NEW) -> Any:
    body = {"current_password": current, "password": password}
    return home.call("POST", "/auth/change-password", body, who=who)


def test_changing_the_password_ends_all_logins(home: Office) -> None:
    who = home.confirmed()
    other = home.login("ann@example.com")
    assert change(home, who).status_code == 204
    assert knows(home, NEW)
    assert home.call("GET", "/organization", who=who).status_code == 401
    assert home.call("GET", "/organization", who=other).status_code == 401
    assert "user.password_changed" in [r.action for r in home.rows(select(AuditRecord))]


def test_changing_the_password_takes_the_current_one(quick: Office) -> None:
    who = quick.confirmed()
    assert change(quick, who, current="something else").json()["code"] == "password_wrong"
    assert change(quick, who, password="ann").json()["code"] == "password_refused"
    assert change(quick, who, password="ann rides a bicycle").status_code == 204  # `ann`: too short to tell


def test_who_holds_a_stolen_login_guesses_no_quicker(quick: Office) -> None:
    who = quick.confirmed()
    answers = [change(quick, who, current=f"guess number {i}").status_code for i in range(8)]
    assert answers[0] == 403
    assert answers[-1] == 429
    assert knows(quick, PASSWORD)


def test_changing_the_password_voids_reset_links(quick: Office) -> None:
    who = quick.confirmed()
    forgot(quick)
    token = token_in(quick.mails()[-1])
    change(quick, who)
    assert reset(quick, token, "ten loud geese march").json()["code"] == "link_invalid"


@pytest.mark.parametrize(
    "password", ["nordlichtsports", "annberg1 annberg1", "x" * 600, ["canary"], "password1"]
)
def test_what_could_be_a_password_is_not_repeated(quick: Office, password: Any) -> None:
    body = {"email": "annberg1@example.com", "password": password, "company_name": "NordlichtSports"}
    answer = quick.call("POST", "/auth/register", body)
    assert answer.status_code == 422
    said = answer.text.casefold()
    assert not any(part in said for part in ("nordlicht", "annberg", "canary", "xxx", "password1"))


@pytest.mark.parametrize("path", ["change-password", "change-email"])
def test_a_password_that_is_replaced_meanwhile_opens_nothing(home: Office, path: str) -> None:
    """The owner resets it while who stole it acts: the owner's stays, and no link goes out."""
    who = home.confirmed()
    forgot(home)
    token = token_in(home.mails()[-1])
    with home.meanwhile(lambda: reset(home, token)):
        answer = (
            change(home, who, password="thiefs fresh sentence")
            if "w" in path
            else ask(home, who, "t@example.org")
        )
    assert (answer.status_code, answer.json()["code"]) == (403, "password_wrong")
    assert knows(home, NEW)
    assert [m["To"] for m in home.mails()] == ["ann@example.com"]  # who is told of the reset
    assert home.rows(select(MailedToken).where(MailedToken.purpose == "change")) == []


def ask(home: Office, who: dict[str, str], email: str, password: str = PASSWORD) -> Any:
    return home.call("POST", "/auth/change-email", {"email": email, "password": password}, who=who)


def test_an_address_changes_once_the_new_one_is_confirmed(home: Office) -> None:
    who = home.confirmed()
    assert ask(home, who, "berg@example.org", "wrong").json()["code"] == "password_wrong"
    assert ask(home, who, "berg@example.org").status_code == 202
    [mail] = home.mails()
    assert mail["To"] == "berg@example.org"
    [user] = home.rows(select(User))
    assert user.email == "ann@example.com"
    assert home.call("POST", "/auth/confirm-email", {"token": token_in(mail)}).status_code == 200
    [user] = home.rows(select(User))
    assert (user.email, user.email_key) == ("berg@example.org", "berg@example.org")
    [told] = home.mails()
    assert told["To"] == "ann@example.com"


@pytest.mark.parametrize("first", ["free@example.com", "bea@example.com"])
def test_asking_for_anothers_address_tells_nothing(home: Office, first: str) -> None:
    """Not by the answer, not by the audit log, and not by whether one's own next mail comes."""
    who = home.confirmed()
    home.register("bea@example.com")
    home.mails()
    answers = [ask(home, who, first), ask(home, who, "mine@example.com")]
    assert answers[0].json()["message"].startswith("If this address is free")
    assert [a.status_code for a in answers] == [202, 429]
    assert [m["To"] for m in home.mails()] == (["free@example.com"] if "free" in first else [])
    found = home.call("GET", "/organization/audit?action=user.email_change_asked", who=who).json()["data"]
    assert [record["details"] for record in found] == [{}, {}]
    age_tokens(home, timedelta(minutes=2))
    ask(home, who, "mine@example.com")
    assert [m["To"] for m in home.mails()] == ["mine@example.com"]


def test_who_mistyped_the_new_address_takes_its_link_back_at_once(home: Office) -> None:
    """The next mail waits for its minute; the first one's link does not."""
    who = home.confirmed()
    ask(home, who, "strangr@example.org")
    wrong = token_in(home.mails()[-1])
    answer = ask(home, who, "stranger@example.org")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert home.call("POST", "/auth/confirm-email", {"token": wrong}).json()["code"] == "link_invalid"
    assert ask(home, who, "stranger@example.org").status_code == 429
    assert home.mails() == []
    age_tokens(home, timedelta(minutes=2))
    assert ask(home, who, "stranger@example.org").status_code == 202
    right = token_in(home.mails()[-1])
    assert ask(home, who, "stranger@example.org").status_code == 429  # asked twice: that link stays good
    assert home.call("POST", "/auth/confirm-email", {"token": right}).status_code == 200


@pytest.mark.parametrize("way", ["reset", "change"])
def test_another_password_voids_a_change_of_the_address(home: Office, way: str) -> None:
    """Else who knew the old one has the account after all: the address is where passwords are reset."""
    who = home.confirmed()
    ask(home, who, "thief@example.org")
    token = token_in(home.mails()[-1])
    if way == "reset":
        forgot(home)
        assert reset(home, token_in(home.mails()[-1])).status_code == 200
    else:
        assert change(home, who).status_code == 204
    assert home.call("POST", "/auth/confirm-email", {"token": token}).json()["code"] == "link_invalid"
    assert [u.email for u in home.rows(select(User))] == ["ann@example.com"]


def test_an_address_that_was_taken_meanwhile_stays_theirs(home: Office) -> None:
    who = home.confirmed()
    ask(home, who, "bea@example.com")
    token = token_in(home.mails()[-1])
    home.register("bea@example.com")
    assert home.call("POST", "/auth/confirm-email", {"token": token}).json()["code"] == "email_taken"
    assert {u.email for u in home.rows(select(User))} == {"ann@example.com", "bea@example.com"}


def test_two_who_take_one_address_at_once(home: Office) -> None:
    tokens: list[str] = []
    for email in ("ann@example.com", "bea@example.com"):
        who = home.confirmed(email)
        ask(home, who, "new@example.com")
        tokens.append(token_in(home.mails()[-1]))
    answers = home.at_once(
        [lambda t=t: home.call("POST", "/auth/confirm-email", {"token": t}) for t in tokens]
    )
    assert Counter(a.status_code for a in answers) == {200: 1, 409: 1}


def test_a_verification_can_be_sent_again_after_a_minute(home: Office) -> None:
    home.register()
    older = token_in(home.mails()[-1])
    who = home.login("ann@example.com")
    answer = home.call("POST", "/auth/resend-verification", who=who)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    age_tokens(home, timedelta(minutes=2))
    assert home.call("POST", "/auth/resend-verification", who=who).status_code == 202
    newer = token_in(home.mails()[-1])
    assert home.call("POST", "/auth/verify-email", {"token": older}).json()["code"] == "link_invalid"
    assert home.call("POST", "/auth/verify-email", {"token": newer}).status_code == 200
    assert home.call("POST", "/auth/resend-verification", who=who).json()["code"] == "conflict"
