"""People who are disabled: out within a second, and not back in."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from tests.accounts.office import PASSWORD, Office, acting
from tests.services import Backend
from tests.tenancy.house import house
from tests.walks.command import until
from tldr_highlight.accounts import people
from tldr_highlight.tenancy.models import AuditRecord, LoginSession


def operator(home: Office) -> dict[str, str]:
    home.register("op@example.com")
    with home.act() as act:
        user = people.by_address(act.session, "op@example.com")
        assert user
        user.is_operator = True
    return home.login("op@example.com")


def test_a_disabled_person_is_out_and_stays_out(home: Office) -> None:
    made = home.register()
    key = {"X-API-Key": made["api_key"]["key"]}
    ann, op = home.login("ann@example.com"), operator(home)
    body = {"email": "ann@example.com", "password": PASSWORD}
    tokens = home.call("POST", "/auth/login", body).json()
    id = home.call("GET", "/me", who=ann).json()["user"]["id"]
    path = f"/admin/users/{id}"

    assert home.call("POST", f"{path}/disable", who=ann).status_code == 403
    done = home.call("POST", f"{path}/disable", who=op)
    assert (done.status_code, done.json()["disabled_at"] is not None) == (200, True)
    assert home.call("POST", f"{path}/disable", who=op).json() == done.json()  # again: nothing
    assert home.call("GET", "/me", who=ann).status_code == 401
    answer = home.call("POST", "/auth/refresh", {"refresh_token": tokens["refresh_token"]})
    assert answer.status_code == 401
    refused = home.call("POST", "/auth/login", body)
    assert (refused.status_code, refused.json()["code"]) == (401, "login_failed")
    assert home.call("GET", "/me", who=key).status_code == 200  # the organization's

    assert home.call("POST", f"{path}/enable", who=op).json()["disabled_at"] is None
    assert home.call("GET", "/me", who=ann).status_code == 401  # what ended stays so
    assert home.call("GET", "/me", who=home.login("ann@example.com")).status_code == 200
    theirs = AuditRecord.organization_id == made["organization"]["id"]
    actions = [r.action for r in home.rows(select(AuditRecord).where(theirs))]
    assert actions.count("user.disabled") == actions.count("user.enabled") == 1
    ended = home.rows(
        select(LoginSession).where(LoginSession.user_id == id, LoginSession.ended_at.is_not(None))
    )
    assert {login.ended_because for login in ended} == {"disabled"}


def test_nobody_disables_themselves_or_who_is_not_there(home: Office) -> None:
    op = operator(home)
    id = home.call("GET", "/me", who=op).json()["user"]["id"]
    assert home.call("POST", f"/admin/users/{id}/disable", who=op).json()["code"] == "conflict"
    assert home.call("GET", "/me", who=op).status_code == 200
    for what in ("disable", "enable"):
        assert home.call("POST", f"/admin/users/usr_0/{what}", who=op).status_code == 404


def test_what_the_shell_disables_a_server_knows_within_a_second(backend: Backend, tmp_path: Path) -> None:
    with house(backend, tmp_path) as api:
        user, _ = api.ann()
        token = api.log_in()["access_token"]
        assert api.me(token) == 200
        forget, api.runtime.forget_callers = api.runtime.forget_callers, lambda: None  # another process
        with acting(api.runtime, None) as act:
            people.disable(act, user.id)
        api.runtime.forget_callers = forget
        until(lambda: api.me(token) == 401, 1.5)
