"""Keys: made, bounded, changed, rotated, revoked."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tests.tenancy.house import House, bearer, said
from tldr_highlight.core.db import now
from tldr_highlight.core.security import hash_token
from tldr_highlight.tenancy.models import ApiKey
from tldr_highlight.tenancy.roles import ALL, STARTER_KEY

KEYS = "/api/v1/keys"


def create(api: House, headers: dict[str, str], **wanted: Any) -> Any:
    return api.client.post(KEYS, headers=headers, json={"name": "new", **wanted})


def rotate(api: House, headers: dict[str, str], id: str, **wanted: Any) -> Any:
    return api.client.post(f"{KEYS}/{id}/rotate", headers=headers, json=wanted)


def uses(api: House, secret: str) -> int:
    return api.client.get("/api/v1/me", headers={"X-API-Key": secret}).status_code


def ids(api: House, headers: dict[str, str]) -> list[str]:
    return [key["id"] for key in api.client.get(KEYS, headers=headers).json()["data"]]


def test_a_key_is_shown_once(api: House) -> None:
    user, _organization = api.ann()
    headers = bearer(api.log_in()["access_token"])
    soon = (now() + timedelta(days=1)).isoformat()
    made = create(
        api, headers, scopes=["usage:read"], expires_at=soon, requests_per_minute=7,
        networks=["198.51.100.9/24", "::1", "::ffff:192.0.2.9/120"],
    )  # fmt: skip
    assert made.status_code == 201, made.text
    key = made.json()
    secret = key.pop("key")
    assert uses(api, secret) == 200
    assert key["networks"] == ["198.51.100.0/24", "::1/128", "192.0.2.0/24"]
    assert key["created_by"] == user.id
    assert key["status"] == "active"
    assert key["last4"] == secret[-4:]
    read = api.client.get(f"{KEYS}/{key['id']}", headers=headers)
    assert {**read.json(), "last_used_at": None} == {**key, "last_used_at": None}
    listed = api.client.get(KEYS, headers=headers)
    for text in (read.text, listed.text):
        assert secret not in text
        assert hash_token(secret) not in text
    assert (user.id, "key.created") in api.audit()


WRONG: dict[str, dict[str, Any]] = {
    "past": {"expires_at": "2020-01-01T00:00:00Z"},
    "no zone": {"expires_at": "2099-01-01T00:00:00"},
    "no network": {"networks": ["example.com"]},
    "too long a network": {"networks": ["1.2.3.0/33"]},
    "too many networks": {"networks": [f"10.0.{i}.0/24" for i in range(51)]},
    "no scope": {"scopes": []},
    "unknown scope": {"scopes": ["streams:own"]},
    "never": {"requests_per_minute": 0},
    "more than the plan": {"requests_per_minute": 1001},
    "no name": {"name": " "},
    "unknown": {"hash": "x"},
    "read-only": {"last_used_at": None},
}


def test_keys_that_cannot_be(api: House) -> None:
    _, headers = api.key(api.organization())
    for name, wanted in WRONG.items():
        answer = create(api, headers, **wanted)
        assert answer.status_code == 422, (name, answer.text)
    assert create(api, headers, requests_per_minute=1000, scopes=["usage:read"]).status_code == 201


def test_without_scopes_it_gets_the_plans(api: House) -> None:
    _, headers = api.key(api.organization("STARTER"))
    assert set(create(api, headers).json()["scopes"]) == set(STARTER_KEY)
    _, headers = api.key(api.organization())
    assert set(create(api, headers).json()["scopes"]) == set(ALL)
    _, headers = api.key(api.organization(), scopes=["keys:write", "usage:read"])
    assert set(create(api, headers).json()["scopes"]) == {"keys:write", "usage:read"}


def test_a_key_can_do_something_and_no_thing_twice(api: House) -> None:
    _, headers = api.key(api.organization("STARTER"), scopes=["keys:write"])
    answer = create(api, headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    answer = create(api, headers, scopes=["keys:write", "keys:write"])
    assert answer.json()["scopes"] == ["keys:write"]


def test_a_key_makes_nothing_stronger_than_itself(api: House) -> None:
    organization = api.organization()
    ends = now() + timedelta(days=10)
    weak, headers = api.key(
        organization,
        scopes=["keys:read", "keys:write", "usage:read"],
        networks=["198.51.100.0/24"],
        requests_per_minute=100,
        expires_at=ends,
    )
    strong, _ = api.key(organization)
    fine = {"scopes": ["usage:read"]}
    refused = {
        "scope": {"scopes": ["streams:read"]},
        "life": {**fine, "expires_at": (ends + timedelta(seconds=1)).isoformat()},
        "other networks": {**fine, "networks": ["203.0.113.0/24"]},
        "wider networks": {**fine, "networks": ["198.51.100.0/23"]},
        "one of two": {**fine, "networks": ["198.51.100.7", "2001:db8::/32"]},
        "limit": {**fine, "requests_per_minute": 101},
    }
    for name, wanted in refused.items():
        answer = create(api, headers, **wanted)
        assert answer.status_code == 403, (name, answer.text)
    made = create(api, headers, **fine).json()
    assert made["networks"] == weak.networks
    assert made["requests_per_minute"] == 100
    assert made["expires_at"] == ends.isoformat().replace("+00:00", "Z")
    made = create(api, headers, **fine, networks=["198.51.100.7"], requests_per_minute=5).json()
    assert made["networks"] == ["198.51.100.7/32"]

    # nor does it make itself, or another, stronger
    for id, change in (
        (weak.id, {"networks": []}),
        (weak.id, {"requests_per_minute": None}),
        (weak.id, {"requests_per_minute": 101}),
        (strong.id, {"name": "mine"}),
    ):
        answer = api.client.patch(f"{KEYS}/{id}", headers=headers, json=change)
        assert answer.status_code == 403, answer.text
    assert rotate(api, headers, strong.id).status_code == 403
    assert api.stored(ApiKey, weak.id).networks == ["198.51.100.0/24"]
    assert api.stored(ApiKey, strong.id).replaced_by is None


def test_a_person_makes_keys_up_to_their_role(api: House) -> None:
    api.ann("member")
    headers = bearer(api.log_in()["access_token"])
    assert create(api, headers).json()["required_scope"] == "keys:write"


def test_changing_holds_at_once(api: House) -> None:
    organization = api.organization()
    _, admin = api.key(organization)
    key, headers = api.key(organization)
    assert api.client.get(KEYS, headers=headers).status_code == 200
    url = f"{KEYS}/{key.id}"
    changed = api.client.patch(url, headers=admin, json={"networks": ["203.0.113.1"], "name": " b "})
    assert changed.json()["name"] == "b"
    assert api.client.get(KEYS, headers=headers).json()["code"] == "key_address_not_allowed"
    changed = api.client.patch(url, headers=admin, json={"networks": [], "requests_per_minute": 1000})
    assert changed.json()["name"] == "b"
    assert api.client.get(KEYS, headers=headers).status_code == 200
    for wrong in (
        {"requests_per_minute": 1001},
        {"name": None},
        {"networks": None},
        {"scopes": ["keys:read"]},
    ):
        assert api.client.patch(url, headers=admin, json=wrong).status_code == 422, wrong
    assert [a for _, a in api.audit()] == ["key.changed"] * 2


def test_the_plans_number_of_keys_is_exact(api: House) -> None:
    organization = api.organization("ENTERPRISE", api_keys=12)
    _, headers = api.key(organization)
    api.key(organization, revoked_at=now())
    api.key(organization, expires_at=now() - timedelta(seconds=1))
    barrier = threading.Barrier(50)

    def one(_: int) -> int:
        barrier.wait()
        return create(api, headers, scopes=["usage:read"]).status_code

    with ThreadPoolExecutor(50) as pool:
        assert Counter(pool.map(one, range(50))) == {201: 11, 409: 39}
    answer = create(api, headers)
    assert answer.json()["code"] == "plan_limit_reached"
    assert answer.json()["allowed"] == 12
    gone = next(id for id in ids(api, headers) if api.stored(ApiKey, id).status == "active")
    assert api.client.delete(f"{KEYS}/{gone}", headers=headers).status_code == 204
    assert create(api, headers, scopes=["usage:read"]).status_code == 201


def test_rotating_with_an_overlap(api: House) -> None:
    organization = api.organization("STARTER")  # two keys
    _, admin = api.key(organization)
    key, headers = api.key(
        organization, name="ci", scopes=["usage:read"], networks=["198.51.100.0/24"], requests_per_minute=9
    )
    answer = rotate(api, admin, key.id)
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert (new["name"], new["scopes"], new["networks"], new["requests_per_minute"]) == (
        "ci", ["usage:read"], ["198.51.100.0/24"], 9,
    )  # fmt: skip
    old = api.stored(ApiKey, key.id)
    assert old.replaced_by == new["id"]
    assert abs(old.expires_at - now() - timedelta(days=1)) < timedelta(minutes=1)
    assert uses(api, new["key"]) == uses(api, headers["X-API-Key"]) == 200
    assert rotate(api, admin, key.id).status_code == 409  # it has a successor

    newest = rotate(api, admin, new["id"], overlap_seconds=0).json()
    assert uses(api, new["key"]) == 401
    assert uses(api, headers["X-API-Key"]) == 401  # two of one key at most
    assert uses(api, newest["key"]) == 200
    for seconds in (-1, 604_801, 1.5, "x", None):
        assert rotate(api, admin, newest["id"], overlap_seconds=seconds).status_code == 422


def test_rotating_and_revoking_makes_no_more_keys_than_the_plan_has(api: House) -> None:
    api.ann(plan="STARTER")  # two keys
    headers = bearer(api.log_in()["access_token"])
    alive: list[str] = []
    made = None
    for _ in range(4):
        made = create(api, headers, scopes=["usage:read"])
        if made.status_code == 201:
            new = rotate(api, headers, made.json()["id"], overlap_seconds=604_800).json()
            assert api.client.delete(f"{KEYS}/{new['id']}", headers=headers).status_code == 204
            alive.append(made.json()["key"])
    assert made is not None
    assert made.json()["code"] == "plan_limit_reached"
    assert [uses(api, secret) for secret in alive] == [200, 200]  # their overlap goes on
    preview = api.client.get("/api/v1/organization/plan/preview?plan=STARTER", headers=headers).json()
    assert next(fit for fit in preview["fits"] if fit["limit"] == "api_keys")["used"] == 2


def test_a_key_and_its_successor_count_once_everywhere(api: House) -> None:
    api.ann(plan="STARTER")
    headers = bearer(api.log_in()["access_token"])
    for _ in range(2):
        key = create(api, headers, scopes=["usage:read"]).json()
        assert rotate(api, headers, key["id"]).status_code == 201
    preview = api.client.get("/api/v1/organization/plan/preview?plan=STARTER", headers=headers).json()
    fit = next(fit for fit in preview["fits"] if fit["limit"] == "api_keys")
    assert (fit["used"], fit["fits"]) == (2, True)  # four work
    assert create(api, headers).status_code == 409


def test_rotating_does_not_make_it_live_longer(api: House) -> None:
    organization = api.organization()
    _, admin = api.key(organization)
    soon = now() + timedelta(hours=1)
    key, _ = api.key(organization, expires_at=soon)
    new = rotate(api, admin, key.id, overlap_seconds=604_800).json()
    assert api.stored(ApiKey, key.id).expires_at == soon
    assert api.stored(ApiKey, new["id"]).expires_at == soon


@pytest.mark.parametrize("state", [{"revoked_at": now()}, {"expires_at": now() - timedelta(seconds=1)}])
def test_what_is_over_is_not_rotated(api: House, state: dict[str, Any]) -> None:
    organization = api.organization()
    _, admin = api.key(organization)
    key, _ = api.key(organization, **state)
    assert rotate(api, admin, key.id).status_code == 409


def test_twenty_rotations_at_once_make_one_successor(api: House) -> None:
    organization = api.organization()
    _, admin = api.key(organization)
    key, _ = api.key(organization)
    with ThreadPoolExecutor(20) as pool:
        seen = Counter(pool.map(lambda _: rotate(api, admin, key.id).status_code, range(20)))
    assert seen == {201: 1, 409: 19}


def test_revoking_twice_is_once(api: House) -> None:
    organization = api.organization()
    admin, headers = api.key(organization)
    key, _ = api.key(organization)
    for _ in range(2):
        assert api.client.delete(f"{KEYS}/{key.id}", headers=headers).status_code == 204
    assert api.audit() == [(admin.id, "key.revoked")]
    statuses = {k["id"]: k["status"] for k in api.client.get(KEYS, headers=headers).json()["data"]}
    assert statuses == {key.id: "revoked", admin.id: "active"}


def test_keys_of_others_are_not_found(api: House) -> None:
    _, headers = api.key(api.organization())
    theirs, _ = api.key(api.organization())
    for method, path, body in (
        ("GET", "", None), ("PATCH", "", {"name": "mine"}), ("POST", "/rotate", {}), ("DELETE", "", None)
    ):  # fmt: skip
        bodies = [
            said(api.client.request(method, f"{KEYS}/{id}{path}", headers=headers, json=body))
            for id in (theirs.id, "key_0")
        ]
        assert bodies[0] == bodies[1]
        assert bodies[0]["status"] == 404
