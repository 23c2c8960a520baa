"""How often a key may call, and what answers say of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from tests.services import Backend, Redis
from tests.tenancy.house import House, bearer, house
from tldr_highlight.core.counters import FALLBACKS, PAUSE
from tldr_highlight.core.db import now
from tldr_highlight.core.jwt import AccessClaims
from tldr_highlight.tenancy.models import Organization

NAMES = ("Limit", "Remaining", "Reset")


def call(api: House, headers: dict[str, str], path: str = "/api/v1/me") -> tuple[int, int, int]:
    """(status, limit, remaining) of a call."""
    began = time.time()
    answer = api.client.get(path, headers=headers)
    said = {name: int(answer.headers[f"RateLimit-{name}"]) for name in NAMES}
    older = {name: int(answer.headers[f"X-RateLimit-{name}"]) for name in NAMES}
    assert {**said, "Reset": 0} == {**older, "Reset": 0}
    assert 1 <= said["Reset"] <= 60
    assert began - 2 <= older["Reset"] - said["Reset"] <= time.time() + 2  # both are rounded
    if answer.status_code == 429:
        assert answer.json()["code"] == "rate_limited"
        assert abs(int(answer.headers["Retry-After"]) - said["Reset"]) <= 1
    return answer.status_code, said["Limit"], said["Remaining"]


def test_the_limit_is_exact(deployed: House) -> None:
    _, headers = deployed.key(deployed.organization("STARTER"), requests_per_minute=5)
    _, other = deployed.key(deployed.organization("STARTER"), requests_per_minute=5)
    seen = [call(deployed, headers) for _ in range(7)]
    assert seen == [(200, 5, 4), (200, 5, 3), (200, 5, 2), (200, 5, 1), (200, 5, 0), (429, 5, 0), (429, 5, 0)]
    assert call(deployed, other) == (200, 5, 4)


def test_the_limit_is_exact_among_fifty_at_once(deployed: House) -> None:
    _, headers = deployed.key(deployed.organization("STARTER"), requests_per_minute=30)
    barrier = threading.Barrier(50)

    def one(_: int) -> int:
        barrier.wait()
        return deployed.client.get("/api/v1/me", headers=headers).status_code

    with ThreadPoolExecutor(50) as pool:
        assert Counter(pool.map(one, range(50))) == {200: 30, 429: 20}


def test_errors_count_and_say_so(deployed: House) -> None:
    _, headers = deployed.key(deployed.organization("STARTER"), scopes=[])
    assert call(deployed, headers, "/api/v1/keys") == (403, 60, 59)
    assert call(deployed, headers, "/api/v1/auth/sessions") == (403, 60, 58)


def test_a_key_has_its_plans_limit_or_its_own(deployed: House) -> None:
    organization = deployed.organization("PROFESSIONAL")
    _, plain = deployed.key(organization)
    _, slow = deployed.key(organization, requests_per_minute=10)
    _, quick = deployed.key(organization, requests_per_minute=299)
    assert [call(deployed, key)[1] for key in (plain, slow, quick)] == [300, 10, 299]
    deployed.change(Organization, organization.id, plan="STARTER")
    deployed.a_second_later()
    assert [call(deployed, key)[1] for key in (plain, slow, quick)] == [60, 10, 60]
    deployed.change(Organization, organization.id, overrides={"requests_per_minute": 70})
    deployed.a_second_later()
    assert call(deployed, plain)[1] == 70


def test_who_is_not_known_is_limited_by_address(deployment: Backend, tmp_path: Path) -> None:
    with house(deployment, tmp_path, public_requests_per_minute=3) as api:
        body = {"refresh_token": "x"}
        answers = [api.client.post("/api/v1/auth/refresh", json=body) for _ in range(4)]
        assert [a.status_code for a in answers] == [401, 401, 401, 429]
        assert answers[0].headers["RateLimit-Remaining"] == "2"
        assert api.at("198.51.100.8").post("/api/v1/auth/refresh", json=body).status_code == 401


BAD = {
    "none": ({}, 401),
    "no key": ({"X-API-Key": "tldr_live_x"}, 401),
    "no token": ({"Authorization": "Bearer eyJx"}, 401),
    "two": ({"X-API-Key": "x", "Authorization": "Bearer x"}, 400),
}


@pytest.mark.parametrize("bad", BAD)
def test_calls_that_do_not_come_in_are_counted_by_address(
    deployment: Backend, tmp_path: Path, bad: str
) -> None:
    headers, status = BAD[bad]
    with house(deployment, tmp_path, public_requests_per_minute=3) as api:
        _, good = api.key(api.organization("STARTER"))
        seen = [call(api, headers) for _ in range(5)]
        assert seen == [(status, 3, 2), (status, 3, 1), (status, 3, 0), (429, 3, 0), (429, 3, 0)]
        assert call(api, good) == (200, 60, 59)  # from the same address
        assert api.at("198.51.100.8").get("/api/v1/me", headers=headers).status_code == status
        assert call(api, {}, "/api/v1/me")[0] == 429
        public = api.client.post("/api/v1/auth/refresh", json={"refresh_token": "x"})
        assert public.headers["RateLimit-Remaining"] == "2"


def test_a_key_from_elsewhere_uses_up_nothing_of_its_limit(deployment: Backend, tmp_path: Path) -> None:
    with house(deployment, tmp_path, public_requests_per_minute=2) as api:
        _, key = api.key(api.organization("STARTER"), networks=["198.51.100.7"])
        thief = api.at("203.0.113.9")
        answers = [thief.get("/api/v1/me", headers=key) for _ in range(3)]
        assert [a.status_code for a in answers] == [403, 403, 429]
        assert answers[0].headers["RateLimit-Limit"] == "2"
        assert call(api, key) == (200, 60, 59)


def test_who_has_to_refresh_is_told_so_whatever_neighbours_do(deployment: Backend, tmp_path: Path) -> None:
    with house(deployment, tmp_path, public_requests_per_minute=2) as api:
        user, organization = api.ann()
        at = now() - timedelta(minutes=31)
        claims = AccessClaims(user.id, "ses_1", organization.id, "owner", at, at + timedelta(minutes=30))
        expired = bearer(api.runtime.tokens.sign(claims, at))
        assert [call(api, {})[0] for _ in range(3)] == [401, 401, 429]
        answer = api.client.get("/api/v1/me", headers=expired)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
        assert answer.headers["RateLimit-Remaining"] == "0"


def test_proxies_are_seen_through(deployment: Backend, tmp_path: Path) -> None:
    with house(deployment, tmp_path, public_requests_per_minute=1, trusted_proxies="10.0.0.1") as api:
        proxy = api.at("10.0.0.1")

        def ask(client: str) -> int:
            headers = {"X-Forwarded-For": f"6.6.6.6, {client}"}
            return proxy.post(
                "/api/v1/auth/refresh", json={"refresh_token": "x"}, headers=headers
            ).status_code

        assert [ask("198.51.100.1"), ask("198.51.100.2"), ask("198.51.100.1")] == [401, 401, 429]


@pytest.mark.parametrize("how", ["kill9", "hang"])
def test_without_redis_limits_hold_and_nobody_waits(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """One of 50 asks Redis, which costs it 0.1 s; none of the others does."""
    with Redis() as redis:
        backend.redis_url = redis.url
        with house(backend, tmp_path) as api:
            _, headers = api.key(api.organization("STARTER"), requests_per_minute=40)
            assert call(api, headers) == (200, 40, 39)
            before = FALLBACKS._value.get()
            remote = api.runtime.counters._remote
            assert remote
            asks: list[bool] = []
            may_ask = remote._may_ask
            monkeypatch.setattr(remote, "_may_ask", lambda: asks.append(may_ask()) or asks[-1])
            getattr(redis, how)()
            began = time.monotonic()
            seen = Counter(call(api, headers)[0] for _ in range(50))
            assert asks[0]
            assert sum(asks) <= 1 + (time.monotonic() - began) / PAUSE
            assert seen == {200: 39, 429: 11}
            assert FALLBACKS._value.get() == before + 50
