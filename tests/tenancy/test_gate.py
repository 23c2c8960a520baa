"""Who comes in, and who does not."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from tests.services import Backend
from tests.tenancy.house import HOME, House, bearer, house
from tests.walks.command import until
from tldr_highlight.api import app
from tldr_highlight.core.db import Database, now
from tldr_highlight.core.jwt import AccessClaims
from tldr_highlight.core.security import new_api_key, new_token
from tldr_highlight.tenancy.models import ApiKey, LoginSession, Member, Organization, User


def status(api: House, headers: dict[str, str], path: str = "/api/v1/keys") -> tuple[int, str | None]:
    answer = api.client.get(path, headers=headers)
    return answer.status_code, answer.json().get("code")


class Statements:
    """How often the database was asked, and told."""

    def __init__(self, api: House) -> None:
        self.count = self.writes = 0
        db = api.runtime.db
        for engine in (db.engine, db._reader):
            event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.count += 1
        self.writes += not statement.startswith(("SELECT", "BEGIN", "PRAGMA"))


def test_a_key_comes_in_by_either_header(api: House) -> None:
    _, headers = api.key(api.organization())
    assert status(api, headers) == (200, None)
    assert status(api, bearer(headers["X-API-Key"])) == (200, None)
    assert status(api, {"Authorization": f"bearer  {headers['X-API-Key']}"}) == (200, None)


HOSTILE = {
    "none": ({}, 401),
    "empty": ({"X-API-Key": ""}, 401),
    "bearer of nothing": ({"Authorization": "Bearer "}, 401),
    "basic": ({"Authorization": "Basic YTpi"}, 401),
    "a word": ({"X-API-Key": "secret"}, 401),
    "never made": ({"X-API-Key": new_api_key()}, 401),
    "a refresh token": (bearer(new_token("tldr_refresh_")), 401),
    "a cookie's": (bearer(new_token("tldr_web_")), 401),
    "long": ({"X-API-Key": "tldr_live_" + "a" * 8000}, 401),
    "two kinds": ({"X-API-Key": new_api_key(), "Authorization": "Bearer x"}, 400),
    "latin letters": ({"X-API-Key": b"tldr_live_\xe9"}, 401),
    "jwt of nothing": (bearer("eyJhbGciOiJub25lIn0.e30."), 401),
    "jwt, long": (bearer("eyJ" + "a" * 8000), 401),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_credentials_are_refused(api: House, name: str) -> None:
    headers, expected = HOSTILE[name]
    answer = api.client.get("/api/v1/keys", headers=headers)
    assert answer.status_code == expected, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_twice_the_same_header_is_refused(api: House) -> None:
    _, headers = api.key(api.organization())
    twice = [("X-API-Key", headers["X-API-Key"]), ("X-API-Key", headers["X-API-Key"])]
    assert api.client.get("/api/v1/keys", headers=twice).status_code == 400


def test_typing_errors_do_not_reach_the_database(api: House) -> None:
    _, headers = api.key(api.organization())
    asked = Statements(api)
    for wrong in (headers["X-API-Key"][:-1] + "_", headers["X-API-Key"] + "x", "tldr_live_" + "0" * 36):
        assert status(api, {"X-API-Key": wrong}) == (401, "unauthorized")
    assert asked.count == 0


def test_who_is_known_needs_no_database_for_a_second(api: House) -> None:
    _, headers = api.key(api.organization(), scopes=[])
    api.app.state.gate._recent._clock = lambda: 100.0  # a busy machine may take a second for this
    status(api, headers)
    asked = Statements(api)
    assert status(api, headers) == (403, "scope_missing")
    assert asked.count == 0
    api.a_second_later()
    assert status(api, headers) == (403, "scope_missing")
    assert asked.count == 1


def test_a_key_made_right_after_it_was_tried_comes_in(api: House) -> None:
    """Nobody is remembered as unknown."""
    organization = api.organization()
    key, headers = api.key(organization, revoked_at=now())
    assert status(api, headers) == (401, "unauthorized")
    api.change(ApiKey, key.id, revoked_at=None)
    assert status(api, headers) == (200, None)


def test_revoking_ends_at_once_here_and_within_a_second_elsewhere(api: House) -> None:
    organization = api.organization()
    key, headers = api.key(organization)
    _, admin = api.key(organization)
    assert status(api, headers) == (200, None)
    assert api.client.delete(f"/api/v1/keys/{key.id}", headers=admin).status_code == 204
    assert status(api, headers) == (401, "unauthorized")

    other, headers = api.key(organization)
    assert status(api, headers) == (200, None)
    api.change(ApiKey, other.id, revoked_at=now())  # by another process
    api.a_second_later()
    assert status(api, headers) == (401, "unauthorized")


def test_a_key_that_was_looked_up_while_it_was_revoked_is_not_remembered(api: House) -> None:
    key, headers = api.key(api.organization())
    recent = api.app.state.gate._recent
    learn = recent.learn

    def slow(digest: str, ask):  # the database has answered; before that is remembered, the key is revoked
        def asked():
            known = ask()
            api.change(ApiKey, key.id, revoked_at=now())
            api.runtime.forget_callers()
            return known

        return learn(digest, asked)

    recent.learn = slow
    assert status(api, headers) == (200, None)
    recent.learn = learn
    assert status(api, headers) == (401, "unauthorized")


def test_an_expired_key_is_over_on_the_second(api: House) -> None:
    key, headers = api.key(api.organization(), expires_at=now() + timedelta(hours=1))
    assert status(api, headers) == (200, None)
    api.change(ApiKey, key.id, expires_at=now() - timedelta(microseconds=1))
    api.a_second_later()
    assert status(api, headers) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("networks", "address", "comes_in"),
    [
        ([], HOME, True),
        (["198.51.100.0/24"], HOME, True),
        (["198.51.100.7/32", "2001:db8::/32"], HOME, True),
        (["198.51.100.8/32"], HOME, False),
        (["2001:db8::/32"], "2001:db8::9", True),
        (["2001:db8::/32"], "2001:db9::9", False),
        (["198.51.100.7/32"], "::ffff:198.51.100.7", True),
        (["0.0.0.0/0"], "::1", False),
    ],
)
def test_a_key_is_bound_to_its_networks(
    api: House, networks: list[str], address: str, comes_in: bool
) -> None:
    _, headers = api.key(api.organization(), networks=networks)
    for _again in range(2):  # looked up, and remembered
        answer = api.at(address).get("/api/v1/keys", headers=headers)
        assert answer.status_code == (200 if comes_in else 403)
        assert comes_in or answer.json()["code"] == "key_address_not_allowed"


def test_a_suspended_organization_is_told_so(api: House) -> None:
    user, organization = api.ann()
    _, headers = api.key(organization)
    token = api.log_in()["access_token"]
    api.change(Organization, organization.id, status="suspended")
    api.a_second_later()
    assert status(api, headers) == (403, "organization_suspended")
    assert status(api, headers, "/api/v1/me") == (403, "organization_suspended")
    assert status(api, bearer(token)) == (403, "organization_suspended")
    # what is a person's own goes on: they may belong to others, too
    assert status(api, bearer(token), "/api/v1/auth/sessions") == (200, None)
    answer = api.client.post("/api/v1/auth/login", json={"email": user.email, "password": "wrong password"})
    assert answer.json()["code"] == "login_failed"


def test_roles_change_within_a_second(api: House) -> None:
    user, organization = api.ann("owner")
    token = api.log_in()["access_token"]
    assert status(api, bearer(token)) == (200, None)
    with api.runtime.db.begin() as session:
        member = session.scalars(Member.of(organization.id)).one()
        member.role = "viewer"
    api.a_second_later()
    assert status(api, bearer(token)) == (403, "scope_missing")
    with api.runtime.db.begin() as session:
        session.delete(session.scalars(Member.of(organization.id)).one())
    api.a_second_later()
    assert status(api, bearer(token), "/api/v1/keys") == (403, "scope_missing")
    assert api.client.get("/api/v1/me", headers=bearer(token)).json()["organization"] is None
    api.change(User, user.id, disabled_at=now())
    api.a_second_later()
    assert status(api, bearer(token), "/api/v1/me")[0] == 401


def test_a_token_is_good_for_its_own_login_only(api: House) -> None:
    """Signed by us, and about somebody else's login: as it would be after a mistake of ours."""
    api.ann()
    bob = api.user("bob@example.com")
    mine = api.log_in()["access_token"]
    body = mine.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    at = now()
    forged = api.runtime.tokens.sign(
        AccessClaims(bob.id, claims["sid"], claims["org"], "owner", at, at + timedelta(minutes=5)), at
    )
    assert api.me(mine) == 200
    assert api.me(forged) == 401
    ended = api.runtime.tokens.sign(
        AccessClaims(claims["sub"], "ses_none", claims["org"], "owner", at, at + timedelta(minutes=5)), at
    )
    assert api.me(ended) == 401


def test_a_key_is_no_person(api: House) -> None:
    _, headers = api.key(api.organization())
    assert status(api, headers, "/api/v1/auth/sessions") == (403, "role_missing")
    answer = api.client.get("/api/v1/me", headers=headers).json()
    assert answer["user"] is None
    assert answer["key"]["last4"] == headers["X-API-Key"][-4:]
    assert headers["X-API-Key"] not in json.dumps(answer)


def session_id(api: House) -> str:
    with api.runtime.db.read() as session:
        return session.query(LoginSession).one().id


def test_last_use_is_written_once_in_a_while(api: House) -> None:
    key, headers = api.key(api.organization())
    api.ann()
    token = api.log_in()["access_token"]
    uses = api.app.state.gate._uses
    uses._due = float("inf")
    told, began = Statements(api), now()
    for _ in range(20):
        status(api, headers)
        api.me(token)
    assert told.writes == 0
    uses._due = 0.0  # the 10 s are over
    for _ in range(2):
        uses.store_if_due()
    assert told.writes == 2  # one for all keys, one for all logins
    assert api.stored(LoginSession, session_id(api)).used_at > began
    used = api.stored(ApiKey, key.id).last_used_at
    assert abs((now() - used).total_seconds()) < 60
    login = api.stored(LoginSession, session_id(api))
    # and never backwards, whatever another server still has in hand
    uses._pending = {key.id: used - timedelta(hours=1), login.id: login.used_at - timedelta(hours=1)}
    uses.store()
    assert api.stored(ApiKey, key.id).last_used_at == used
    assert api.stored(LoginSession, login.id).used_at == login.used_at


def test_what_was_used_is_stored_though_nobody_calls_again(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "EVERY_SECONDS", 0.01)
    with house(backend, tmp_path) as api:
        key, headers = api.key(api.organization())
        status(api, headers)
        api.app.state.gate._uses._due = 0.0  # 10 s later
        until(lambda: api.stored(ApiKey, key.id).last_used_at is not None, 30)


def test_what_was_used_is_stored_at_the_end(backend: Backend, tmp_path: Path) -> None:
    with house(backend, tmp_path) as api:
        key, headers = api.key(api.organization())
        status(api, headers)
        url = api.runtime.settings.database_url
    assert url
    db = Database(url.get_secret_value())
    with db.read() as session:
        assert session.get_one(ApiKey, key.id).last_used_at is not None
    db.close()
