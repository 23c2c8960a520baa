"""Endpoints over HTTP: what can be asked, what is refused, and what the answers say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.accounts.office import Office, office
from tests.services import Backend, SQLite
from tldr_highlight.core.db import now
from tldr_highlight.core.egress import Policy
from tldr_highlight.tenancy.models import AuditRecord
from tldr_highlight.webhooks import service
from tldr_highlight.webhooks.models import Attempt, Delivery, Webhook

URL = "https://hooks.example.com/x"


@pytest.fixture
def home(sqlite: SQLite, tmp_path: Path) -> Iterator[Office]:
    with sqlite.databases(tmp_path) as new, office(Backend("sqlite", new), tmp_path) as opened:
        yield opened


@pytest.fixture
def ann(home: Office) -> dict[str, str]:
    return home.confirmed()


def make(home: Office, who: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = home.call("POST", "/webhooks", {"url": URL, **more}, who=who)
    assert answer.status_code == 201, answer.text
    return answer.json()


def set_to(home: Office, id: str, **values: Any) -> None:
    with home.runtime.db.begin() as session:
        row = session.get_one(Webhook, id)
        for name, value in values.items():
            setattr(row, name, value)


def test_an_endpoint_is_made_shown_changed_and_deleted(home: Office, ann: dict[str, str]) -> None:
    made = make(home, ann, events=["stream.*"], description="Production", schedule="5,60")
    assert made["secret"].startswith("whsec_")
    assert (made["status"], made["schedule"], made["events"]) == (
        "pending_verification",
        "5,60",
        ["stream.*"],
    )
    path = f"/webhooks/{made['id']}"
    shown = home.call("GET", path, who=ann).json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    changed = home.call("PATCH", path, {"events": ["*"], "description": None}, who=ann).json()
    assert changed == shown | {"events": ["*"], "description": None}
    assert home.call("GET", "/webhooks", who=ann).json()["data"] == [changed]
    assert home.call("DELETE", path, who=ann).status_code == 204
    assert home.call("GET", path, who=ann).status_code == 404
    assert home.call("GET", "/webhooks", who=ann).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "http://hooks.example.com/"}, "webhook_url_not_allowed"),
        ({"url": "https://127.0.0.1/"}, "webhook_url_not_allowed"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "webhook_url_not_allowed"),
        ({"url": "https://169.254.169.254/"}, "webhook_url_not_allowed"),
        ({"url": "https://localhost/"}, "webhook_url_not_allowed"),
        ({"url": "https://ann@LocalHost.:8443/x"}, "webhook_url_not_allowed"),
        ({"url": "https://a.localhost/"}, "webhook_url_not_allowed"),
        ({"url": "https://printer.local/"}, "webhook_url_not_allowed"),
        ({"url": "https://metadata.google.internal/"}, "webhook_url_not_allowed"),
        ({"url": URL, "events": ["stream.complete"]}, "validation_failed"),
        ({"url": URL, "events": []}, "validation_failed"),
        ({"url": URL, "schedule": "often"}, "validation_failed"),
        ({"url": URL, "schedule": "0"}, "validation_failed"),
        ({"url": URL, "secret": "whsec_mine"}, "validation_failed"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused(
    home: Office, ann: dict[str, str], body: dict[str, Any], code: str
) -> None:
    """W9: when it is saved, and when it is changed."""
    refused = home.call("POST", "/webhooks", body, who=ann)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert home.rows(select(Webhook)) == []
    made = make(home, ann)
    refused = home.call("PATCH", f"/webhooks/{made['id']}", body, who=ann)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert home.rows(select(Webhook.url)) == [URL]


@pytest.mark.parametrize("host", ["localhost.example.com", "mylocalhost", "local", "internal.example.com"])
def test_names_that_only_look_private_are_judged_when_they_are_called(
    home: Office, ann: dict[str, str], host: str
) -> None:
    assert home.call("POST", "/webhooks", {"url": f"https://{host}/"}, who=ann).status_code == 201


def test_where_the_operator_opened_networks_their_names_can_be_saved(
    home: Office, ann: dict[str, str]
) -> None:
    home.runtime.policy = Policy(allow_networks=(ip_network("127.0.0.0/8"),))
    assert home.call("POST", "/webhooks", {"url": "https://localhost/"}, who=ann).status_code == 201


def test_the_plans_number_of_endpoints_is_kept_by_many_at_once(home: Office, ann: dict[str, str]) -> None:
    calls = [lambda: home.call("POST", "/webhooks", {"url": URL}, who=ann)] * 6
    answers = home.at_once(calls)
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409, 409]
    problem = next(answer.json() for answer in answers if answer.status_code == 409)
    assert (problem["code"], problem["limit"], problem["allowed"]) == (
        "plan_limit_reached",
        "webhook_endpoints",
        2,
    )


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ("pending_verification", {"verify"}),
        ("active", {"test", "redeliver", "deliveries/{delivery}/redeliver"}),
        ("disabled", {"enable"}),
    ],
)
def test_what_may_happen_to_an_endpoint_depends_on_how_it_is(
    home: Office, ann: dict[str, str], status: str, allowed: set[str]
) -> None:
    id = make(home, ann)["id"]
    home.mails()
    bodies: dict[str, Any] = {
        "verify": None,
        "test": None,
        "redeliver": {"since": "2026-01-01T00:00:00Z"},
        "enable": {},
        "deliveries/{delivery}/redeliver": None,
    }
    good: set[str] = set()
    for path, body in bodies.items():
        set_to(home, id, status=status, verified_at=None if status == "pending_verification" else now())
        [delivery, *_] = home.rows(select(Delivery.id))
        answer = home.call("POST", f"/webhooks/{id}/{path.format(delivery=delivery)}", body, who=ann)
        assert answer.status_code in {200, 202, 409}, answer.text
        good |= {path} if answer.status_code < 300 else set()
    assert good == allowed


def test_a_delivery_tells_its_tries_and_is_found_by_state(home: Office, ann: dict[str, str]) -> None:
    made, other = make(home, ann), make(home, ann)
    set_to(home, made["id"], status="active")
    sent = home.call("POST", f"/webhooks/{made['id']}/test", who=ann).json()
    with home.act() as act:
        delivery = act.session.get_one(Delivery, sent["id"])
        delivery.state, delivery.attempts = "failed", 1
        about = {
            "webhook_id": made["id"],
            "number": 1,
            "status": 500,
            "error_code": "failing",
            "answer": "no",
        }
        act.session.add(
            Attempt(
                organization_id=delivery.organization_id, delivery_id=delivery.id, milliseconds=7, **about
            )
        )
    path = f"/webhooks/{made['id']}/deliveries"
    found = home.call("GET", f"{path}?state=failed&event_type=webhook.test", who=ann).json()["data"]
    assert [row["id"] for row in found] == [sent["id"]]
    assert home.call("GET", f"{path}?state=delivered", who=ann).json()["data"] == []
    shown = home.call("GET", f"{path}/{sent['id']}", who=ann).json()
    [one] = shown.pop("tries")
    assert shown == found[0]
    assert (one["number"], one["status"], one["error_code"], one["answer"]) == (1, 500, "failing", "no")
    assert home.call("GET", f"/webhooks/{other['id']}/deliveries/{sent['id']}", who=ann).status_code == 404


def test_statistics_are_of_the_last_hour_and_day(home: Office, ann: dict[str, str]) -> None:
    id = make(home, ann)["id"]
    [delivery] = home.rows(select(Delivery))
    with home.act() as act:
        for number in range(1, 101):  # 1 to 100 ms, of which each tenth failed; half of them yesterday
            at = now() - (timedelta(hours=3) if number > 50 else timedelta(minutes=1))
            act.session.add(
                Attempt(
                    organization_id=delivery.organization_id, delivery_id=delivery.id, webhook_id=id,
                    number=number, milliseconds=number, created_at=at,
                    error_code="failing" if number % 10 == 0 else None,
                )
            )  # fmt: skip
    stats = home.call("GET", f"/webhooks/{id}/stats", who=ann).json()
    # 45 that went well, of 1..50 without the tens: the 23rd is 25, the 43rd is 47
    assert stats["last_hour"] == {
        "attempts": 50, "succeeded": 45, "success_rate": 0.9, "p50_ms": 25, "p95_ms": 47,
    }  # fmt: skip
    # 90 of 1..100: the 45th is 49, the 86th is 95
    assert stats["last_day"] == {
        "attempts": 100, "succeeded": 90, "success_rate": 0.9, "p50_ms": 49, "p95_ms": 95,
    }  # fmt: skip
    assert stats["waiting"] == 1


def test_one_that_moved_while_it_was_disabled_is_verified_when_it_is_enabled(
    home: Office, ann: dict[str, str]
) -> None:
    id = make(home, ann)["id"]
    set_to(home, id, status="disabled", verified_at=now())
    answer = home.call("PATCH", f"/webhooks/{id}", {"url": "https://hooks.example.com/y"}, who=ann)
    assert answer.json()["status"] == "disabled"
    answer = home.call("POST", f"/webhooks/{id}/enable", {}, who=ann)
    assert answer.json()["status"] == "pending_verification"


def test_a_key_that_ends_meanwhile_leaves_no_endpoint_behind(home: Office, ann: dict[str, str]) -> None:
    key = home.call("POST", "/keys", {"name": "k", "scopes": ["webhooks:write"]}, who=ann).json()
    who = {"X-API-Key": key["key"]}
    made = home.call("POST", "/webhooks", {"url": URL}, who=who)
    assert made.status_code == 201
    assert home.call("DELETE", f"/webhooks/{made.json()['id']}", who=who).json()["code"] == "scope_missing"
    assert home.call("GET", "/webhooks", who=who).json()["code"] == "scope_missing"
    actors = home.rows(select(AuditRecord.actor).where(AuditRecord.action == "webhook.created"))
    assert actors == [key["id"]]


def test_a_rotation_is_answered_again_with_the_same_secret(home: Office, ann: dict[str, str]) -> None:
    id = make(home, ann)["id"]
    headers = ann | {"Idempotency-Key": "one"}
    first, again = (home.call("POST", f"/webhooks/{id}/rotate-secret", who=headers).json() for _ in range(2))
    assert first == again
    [row] = home.rows(select(Webhook))
    assert home.runtime.vault.open(row.secret) == first["secret"]
    assert row.old_secret is not None
    assert row.old_secret_until - now() <= service.OVERLAP
