"""The organization: named, suspended by operators, and everything in it written down."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from tests.accounts.office import Office, plain_text
from tldr_highlight.core.telemetry import new_trace, trace_id, tracing
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import AuditRecord, Organization, User


def test_it_can_be_renamed(home: Office) -> None:
    who = home.confirmed()
    answer = home.call("PATCH", "/organization", {"name": "Südlicht"}, who=who)
    assert answer.json()["name"] == "Südlicht"
    [record] = home.rows(select(AuditRecord).where(AuditRecord.action == "organization.renamed"))
    assert record.details == {"before": "Nordlicht Sports", "now": "Südlicht"}


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": "x", "plan": "ENTERPRISE"}])
def test_what_is_no_name_is_refused(quick: Office, body: dict[str, Any]) -> None:
    assert quick.call("PATCH", "/organization", body, who=quick.confirmed()).status_code == 422


def operator(home: Office) -> dict[str, str]:
    who = home.confirmed("op@example.net")
    with home.runtime.db.begin() as session:
        session.execute(update(User).where(User.email == "op@example.net").values(is_operator=True))
    return who


def test_operators_suspend_and_activate(home: Office) -> None:
    who, op = home.confirmed(), operator(home)
    made = home.call("GET", "/organization", who=who).json()
    home.mails()
    path = f"/admin/organizations/{made['id']}"
    assert home.call("POST", f"{path}/suspend", {"reason": "unpaid"}, who=who).status_code == 403
    assert home.call("POST", f"{path}/suspend", {"reason": "unpaid"}, who=op).json()["status"] == "suspended"
    assert home.call("POST", f"{path}/suspend", {}, who=op).status_code == 200  # again: nothing
    assert home.call("GET", "/organization", who=who).json()["code"] == "organization_suspended"
    [mail] = home.mails()
    assert (mail["To"], "unpaid" in plain_text(mail)) == ("ann@example.com", True)
    assert home.call("POST", f"{path}/activate", who=op).json()["status"] == "active"
    assert home.call("GET", "/organization", who=who).status_code == 200
    actions = [r.action for r in home.rows(AuditRecordsOf(made["id"]))]
    assert actions.count("organization.suspended") == actions.count("organization.activated") == 1
    assert home.call("POST", "/admin/organizations/org_0/suspend", {}, who=op).status_code == 404


def AuditRecordsOf(organization_id: str) -> Any:  # noqa: N802
    return select(AuditRecord).where(AuditRecord.organization_id == organization_id)


def test_the_audit_log_is_read_page_by_page(home: Office) -> None:
    who = home.confirmed()
    home.confirmed("other@example.org")
    for i in range(5):
        home.call("PATCH", "/organization", {"name": f"name {i}"}, who=who)
    seen: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = home.call("GET", f"/organization/audit?limit=3{cursor}", who=who).json()
        assert len(page["data"]) <= 3
        seen += page["data"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [r["details"]["now"] for r in seen if r["action"] == "organization.renamed"] == [
        f"name {i}" for i in (4, 3, 2, 1, 0)
    ]
    assert (
        len({r["id"] for r in seen}) == len(seen) == 10
    )  # and registered, created, key, confirmed, logged in
    [user] = home.rows(select(User).where(User.email == "ann@example.com"))
    for query, count in (
        ("action=organization.renamed", 5),
        (f"actor={user.id}", 10),
        ("actor=shell", 0),
        (f"object_id={user.id}", 2),  # registered, confirmed
        ("action=no", 0),
    ):
        page = home.call("GET", f"/organization/audit?{query}", who=who).json()
        assert len(page["data"]) == count, query
    assert home.call("GET", "/organization/audit?colour=red", who=who).status_code == 422


def test_the_audit_log_is_for_admins(quick: Office) -> None:
    who = quick.joined(quick.confirmed(), "bea@example.org", "member")
    assert quick.call("GET", "/organization/audit", who=who).json()["code"] == "role_missing"


def test_records_carry_the_trace(quick: Office) -> None:
    quick.register()
    [row] = quick.rows(select(Organization))
    trace = new_trace()
    with tracing(trace), quick.act(row.id) as act:
        audit.record(act, "key.created")
    assert quick.rows(AuditRecordsOf(row.id))[-1].trace_id == trace_id(trace)
