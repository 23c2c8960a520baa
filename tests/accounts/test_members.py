"""Members and invitations: nobody rises above who lifts them, and somebody always owns the place."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.accounts.office import PASSWORD, Office, token_in
from tldr_highlight.core.db import now
from tldr_highlight.tenancy import callers
from tldr_highlight.tenancy.models import AuditRecord, Invitation, LoginSession, Member, Organization, User

ROLES = ["owner", "admin", "member", "viewer"]


def roomy(home: Office, members: int = 20) -> None:
    with home.runtime.db.begin() as session:
        session.execute(update(Organization).values(overrides={"members": members}))


def members(home: Office, who: dict[str, str]) -> dict[str, dict[str, Any]]:
    """By e-mail address."""
    return {m["email"]: m for m in home.call("GET", "/organization/members", who=who).json()["data"]}


def invite(home: Office, who: dict[str, str], email: str, role: str = "member") -> Any:
    return home.call("POST", "/organization/invitations", {"email": email, "role": role}, who=who)


def accept(home: Office, token: str, password: str = PASSWORD) -> Any:
    return home.call("POST", "/auth/accept-invitation", {"token": token, "password": password})


def owners(home: Office) -> int:
    return len(home.rows(select(Member).where(Member.role == "owner")))


# --- invitations ---------------------------------------------------------------------------------------


def test_somebody_new_is_invited_and_comes(home: Office) -> None:
    who = home.confirmed()
    assert invite(home, who, "bea@example.org", "admin").status_code == 201
    [mail] = home.mails()
    assert mail["To"] == "bea@example.org"
    token = token_in(mail)
    assert (
        home.call("GET", "/organization/invitations", who=who).json()["data"][0]["email"] == "bea@example.org"
    )
    answers = home.at_once([lambda: accept(home, token)] * 4)
    assert Counter(a.status_code for a in answers) == {200: 1, 400: 3}
    [user] = home.rows(select(User).where(User.email == "bea@example.org"))
    assert user.email_verified_at is not None
    assert members(home, who)["bea@example.org"]["role"] == "admin"
    assert home.call("GET", "/organization/invitations", who=who).json()["data"] == []


def test_somebody_known_comes_with_their_password(home: Office) -> None:
    home.register("bea@example.org")
    who = home.confirmed()
    home.mails()
    invite(home, who, "BEA@example.org")
    token = token_in(home.mails()[-1])
    assert accept(home, token, "another password").json()["code"] == "password_wrong"
    assert accept(home, token).status_code == 200
    assert len(home.rows(select(User))) == 2
    assert len(home.rows(select(Member))) == 3


def test_who_registers_the_invited_address_meanwhile_gets_no_place(home: Office) -> None:
    """Somebody without the mailbox slips in between the look at the account and the new one's first row."""
    who = home.confirmed()
    invite(home, who, "bea@example.org")
    token = token_in(home.mails()[-1])
    with home.meanwhile(lambda: home.register("bea@example.org", password="attackers own phrase")):
        answer = accept(home, token)
    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert "bea@example.org" not in members(home, who)
    [attacker] = home.rows(select(User).where(User.email == "bea@example.org"))
    assert attacker.email_verified_at is None
    assert accept(home, token).json()["code"] == "password_wrong"  # the link is good still, for who has both


@pytest.mark.parametrize(
    "change", [{"password_hash": "another"}, {"email_key": "x@y.example"}, {"disabled": 1}]
)
def test_an_account_that_changes_meanwhile_does_not_join(home: Office, change: dict[str, Any]) -> None:
    home.register("bea@example.org")
    who = home.confirmed()
    home.mails()
    invite(home, who, "bea@example.org")
    token = token_in(home.mails()[-1])
    values = {"disabled_at": now()} if "disabled" in change else change

    def lose() -> None:
        with home.runtime.db.begin() as session:
            session.execute(update(User).where(User.email == "bea@example.org").values(values))

    with home.meanwhile(lose):
        assert accept(home, token).json()["code"] == "password_wrong"
    assert "bea@example.org" not in members(home, who)


def test_inviting_does_not_tell_who_has_an_account(quick: Office) -> None:
    quick.register("bea@example.org")
    who = quick.confirmed()
    known, unknown = (invite(quick, who, e) for e in ("bea@example.org", "xyz@example.org"))
    assert known.status_code == unknown.status_code == 201
    assert known.json().keys() == unknown.json().keys()
    assert {
        k: v for k, v in known.json().items() if k not in {"id", "email", "created_at", "expires_at"}
    } == {k: v for k, v in unknown.json().items() if k not in {"id", "email", "created_at", "expires_at"}}


def test_unconfirmed_people_write_to_nobody(quick: Office) -> None:
    quick.register()
    quick.mails()
    who = quick.login("ann@example.com")
    assert invite(quick, who, "bea@example.org").json()["code"] == "email_unverified"
    assert quick.mails() == []


def test_open_invitations_count(home: Office) -> None:
    """STARTER has room for three; at the same time, too."""
    who = home.confirmed()
    answers = home.at_once([lambda i=i: invite(home, who, f"p{i}@example.org") for i in range(8)])
    assert Counter(a.status_code for a in answers) == {201: 2, 409: 6}
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"plan_limit_reached"}
    first = home.call("GET", "/organization/invitations", who=who).json()["data"][0]
    assert home.call("DELETE", f"/organization/invitations/{first['id']}", who=who).status_code == 204
    assert invite(home, who, "last@example.org").status_code == 201


def test_who_comes_after_the_plan_shrank_stays_out(quick: Office) -> None:
    who = quick.confirmed()
    invite(quick, who, "bea@example.org")
    token = token_in(quick.mails()[-1])
    roomy(quick, 1)
    assert accept(quick, token).json()["code"] == "plan_limit_reached"
    assert len(quick.rows(select(User))) == 1
    roomy(quick)
    assert accept(quick, token).status_code == 200


def test_an_invitation_ends(home: Office) -> None:
    who = home.confirmed()
    invite(home, who, "bea@example.org")
    token = token_in(home.mails()[-1])
    with home.runtime.db.begin() as session:
        session.execute(update(Invitation).values(expires_at=now() - timedelta(seconds=1)))
    assert accept(home, token).json()["code"] == "link_invalid"
    assert home.call("GET", "/organization/invitations", who=who).json()["data"] == []


def test_a_new_invitation_replaces_the_older_after_a_minute(quick: Office) -> None:
    who = quick.confirmed()
    invite(quick, who, "bea@example.org")
    older = token_in(quick.mails()[-1])
    assert invite(quick, who, "bea@example.org").status_code == 429
    with quick.runtime.db.begin() as session:
        session.execute(update(Invitation).values(created_at=now() - timedelta(minutes=2)))
    assert invite(quick, who, "Bea@example.org", "viewer").status_code == 201
    assert accept(quick, older).json()["code"] == "link_invalid"
    assert accept(quick, token_in(quick.mails()[-1])).json()["role"] == "viewer"


def test_invitations_a_day_are_bounded(quick: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    from tldr_highlight.accounts import invitations

    monkeypatch.setattr(invitations, "A_DAY", 3)
    who = quick.confirmed()
    roomy(quick)
    answers = [invite(quick, who, f"p{i}@example.org").status_code for i in range(5)]
    assert answers == [201, 201, 201, 429, 429]


def test_members_are_not_invited(quick: Office) -> None:
    who = quick.confirmed()
    assert invite(quick, who, "ann@EXAMPLE.com").json()["code"] == "conflict"


def test_nobody_joins_a_suspended_organization(quick: Office) -> None:
    who = quick.confirmed()
    invite(quick, who, "bea@example.org")
    token = token_in(quick.mails()[-1])
    with quick.runtime.db.begin() as session:
        session.execute(update(Organization).values(status="suspended"))
    assert accept(quick, token).json()["code"] == "organization_suspended"


def lose(home: Office, owner: dict[str, str], admin: dict[str, str], way: str) -> None:
    """Bea's place, in one of the ways there are."""
    place = f"/organization/members/{members(home, owner)['bea@example.org']['id']}"
    if way == "remove":
        answer = home.call("DELETE", place, who=owner)
    elif way == "leave":
        answer = home.call("POST", "/organization/leave", who=admin)
    else:
        answer = home.call("PATCH", place, {"role": way}, who=owner)
    assert answer.status_code in {200, 204}, answer.text


@pytest.mark.parametrize("way", ["remove", "leave", "member"])
def test_invitations_end_with_their_senders_place(home: Office, way: str) -> None:
    owner = home.confirmed()
    roomy(home)
    admin = home.joined(owner, "bea@example.org", "admin")
    invite(home, owner, "cid@example.org")
    good = token_in(home.mails()[-1])
    invite(home, admin, "sock@example.org", "admin")
    bad = token_in(home.mails()[-1])
    lose(home, owner, admin, way)
    assert accept(home, bad).json()["code"] == "link_invalid"
    left = home.call("GET", "/organization/invitations", who=owner).json()["data"]
    assert [i["email"] for i in left] == ["cid@example.org"]
    assert [
        r.details["email"] for r in home.rows(select(AuditRecord)) if r.action == "invitation.revoked"
    ] == ["sock@example.org"]
    assert accept(home, good).status_code == 200


def test_an_owner_who_becomes_admin_offers_no_owners_place(quick: Office) -> None:
    owner = quick.confirmed()
    roomy(quick)
    other = quick.joined(owner, "bea@example.org", "owner")
    for i, role in enumerate(("owner", "admin")):
        invite(quick, other, f"p{i}@example.org", role)
    lose(quick, owner, other, "admin")
    left = quick.call("GET", "/organization/invitations", who=owner).json()["data"]
    assert [i["role"] for i in left] == ["admin"]


@pytest.mark.parametrize("how", ["removed", "demoted", "disabled"])
def test_an_invitation_that_outlived_its_senders_place_opens_nothing(home: Office, how: str) -> None:
    """It was being written when they lost it: nothing took it back."""
    owner = home.confirmed()
    roomy(home)
    admin = home.joined(owner, "bea@example.org", "admin")
    invite(home, admin, "sock@example.org", "admin")
    token = token_in(home.mails()[-1])
    with home.runtime.db.begin() as session:
        bea = session.scalars(select(User).where(User.email == "bea@example.org")).one()
        place = session.scalars(select(Member).where(Member.user_id == bea.id)).one()
        if how == "removed":
            session.delete(place)
        elif how == "demoted":
            place.role = "member"
        else:
            bea.disabled_at = now()
    assert accept(home, token).json()["code"] == "link_invalid"
    assert len(home.rows(select(User).where(User.email == "sock@example.org"))) == 0


# --- roles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("actor", ROLES)
def test_who_may_give_which_role(quick: Office, actor: str, role: str) -> None:
    """Owners anything; admins all but owner; others nothing."""
    owner = quick.confirmed()
    roomy(quick)
    who = owner if actor == "owner" else quick.joined(owner, "act@example.org", actor)
    quick.joined(owner, "bea@example.org")
    member = members(quick, owner)["bea@example.org"]["id"]
    allowed = actor == "owner" or (actor == "admin" and role != "owner")
    answer = quick.call("PATCH", f"/organization/members/{member}", {"role": role}, who=who)
    assert answer.status_code == (200 if allowed else 403), answer.text
    assert invite(quick, who, "cid@example.org", role).status_code == (201 if allowed else 403)


def test_admins_leave_owners_alone(quick: Office) -> None:
    owner = quick.confirmed()
    roomy(quick)
    admin = quick.joined(owner, "bea@example.org", "admin")
    quick.joined(owner, "cid@example.org", "owner")
    for email in ("ann@example.com", "cid@example.org"):
        member = members(quick, owner)[email]["id"]
        change = quick.call("PATCH", f"/organization/members/{member}", {"role": "viewer"}, who=admin)
        assert change.json()["code"] == "role_missing"
        remove = quick.call("DELETE", f"/organization/members/{member}", who=admin)
        assert remove.json()["code"] == "role_missing"


def test_the_last_owner_stays(home: Office) -> None:
    owner = home.confirmed()
    me = members(home, owner)["ann@example.com"]["id"]
    tries = (
        home.call("PATCH", f"/organization/members/{me}", {"role": "admin"}, who=owner),
        home.call("DELETE", f"/organization/members/{me}", who=owner),
        home.call("POST", "/organization/leave", who=owner),
    )
    assert [(t.status_code, t.json()["code"]) for t in tries] == [(409, "last_owner")] * 3
    home.joined(owner, "bea@example.org", "owner")
    assert home.call("POST", "/organization/leave", who=owner).status_code == 204
    assert owners(home) == 1


@pytest.mark.parametrize("way", ["demote", "remove", "leave"])
def test_of_owners_who_go_at_once_one_stays(home: Office, way: str) -> None:
    owner = home.confirmed()
    roomy(home)
    everybody = [owner, *(home.joined(owner, f"o{i}@example.org", "owner") for i in range(3))]
    ids = [m["id"] for m in members(home, owner).values()][::-1]

    def go(i: int) -> Any:
        if way == "leave":
            return home.call("POST", "/organization/leave", who=everybody[i])
        if way == "remove":
            return home.call("DELETE", f"/organization/members/{ids[i]}", who=everybody[i])
        return home.call("PATCH", f"/organization/members/{ids[i]}", {"role": "viewer"}, who=everybody[i])

    answers = home.at_once([lambda i=i: go(i) for i in range(4)])
    assert owners(home) == 1
    assert Counter(a.status_code // 100 for a in answers) == {2: 3, 4: 1}


@pytest.mark.parametrize("how", ["removed", "demoted"])
def test_who_is_still_remembered_does_nothing_lasting(
    home: Office, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server took their place, and this one has not looked again yet."""
    monkeypatch.setattr(callers, "REMEMBERED_SECONDS", 3600.0)
    owner = home.confirmed()
    roomy(home)
    bea = home.joined(owner, "bea@example.org", "admin")
    home.joined(owner, "cid@example.org")
    cid = members(home, owner)["cid@example.org"]["id"]
    key = home.call("POST", "/keys", {"name": "Good"}, who=owner).json()["id"]
    assert home.call("GET", "/organization", who=bea).status_code == 200
    before = home.rows(select(AuditRecord.id))
    with home.runtime.db.begin() as session:
        place = session.scalars(select(Member).where(Member.role == "admin")).one()
        if how == "removed":
            session.delete(place)
        else:
            place.role = "viewer"
    for method, path, body in (
        ("POST", "/keys", {"name": "Bad", "scopes": ["keys:write"]}),
        ("PATCH", f"/keys/{key}", {"name": "Worse"}),
        ("POST", f"/keys/{key}/rotate", {}),
        ("PATCH", f"/organization/members/{cid}", {"role": "admin"}),
        ("DELETE", f"/organization/members/{cid}", None),
        ("POST", "/organization/invitations", {"email": "sock@example.org", "role": "admin"}),
        ("POST", "/organization/plan", {"plan": "ENTERPRISE"}),
        ("POST", "/webhooks", {"url": "https://example.org/hook", "events": ["*"]}),
    ):
        answer = home.call(method, path, body, who=bea)
        assert (answer.status_code, answer.json()["code"]) == (403, "role_missing"), (path, answer.text)
    assert home.rows(select(AuditRecord.id)) == before


def test_another_role_holds_at_once(quick: Office) -> None:
    owner = quick.confirmed()
    bea = quick.joined(owner, "bea@example.org", "admin")
    member = members(quick, owner)["bea@example.org"]["id"]
    assert quick.call("GET", "/organization/audit", who=bea).status_code == 200
    quick.call("PATCH", f"/organization/members/{member}", {"role": "member"}, who=owner)
    assert quick.call("GET", "/organization/audit", who=bea).status_code == 403


def test_who_is_removed_is_logged_out_here(home: Office) -> None:
    owner = home.confirmed()
    bea = home.joined(owner, "bea@example.org")
    member = members(home, owner)["bea@example.org"]["id"]
    assert home.call("GET", "/organization", who=bea).status_code == 200
    assert home.call("DELETE", f"/organization/members/{member}", who=owner).status_code == 204
    assert home.call("GET", "/organization", who=bea).status_code in {401, 403}
    assert [s.ended_because for s in home.rows(select(LoginSession)) if s.ended_at] == ["removed"]
    assert [r.action for r in home.rows(select(AuditRecord))].count("member.removed") == 1


def test_another_organizations_members_are_not_found(quick: Office) -> None:
    ann = quick.confirmed()
    bea = quick.confirmed("bea@example.org")
    invite(quick, bea, "cid@example.org")
    theirs = members(quick, bea)["bea@example.org"]["id"]
    [invitation] = quick.rows(select(Invitation))
    for call in (
        ("PATCH", f"/organization/members/{theirs}", {"role": "viewer"}),
        ("DELETE", f"/organization/members/{theirs}", None),
        ("DELETE", f"/organization/invitations/{invitation.id}", None),
    ):
        assert quick.call(*call, who=ann).json()["code"] == "not_found"
