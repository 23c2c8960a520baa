"""Plans: what does not fit is said and refused; what fits holds at once, and everybody is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.accounts.office import Office, office, plain_text
from tests.services import Backend
from tldr_highlight.accounts import plan_change
from tldr_highlight.core.db import now
from tldr_highlight.errors import PlanFitError
from tldr_highlight.tenancy.models import ApiKey, AuditRecord, Organization
from tldr_highlight.usage.models import UsageTotal
from tldr_highlight.webhooks.models import Event


def change(home: Office, who: dict[str, str], plan: str) -> Any:
    return home.call("POST", "/organization/plan", {"plan": plan}, who=who)


def preview(home: Office, who: dict[str, str], plan: str) -> Any:
    return home.call("GET", f"/organization/plan/preview?plan={plan}", who=who).json()


def use(home: Office, metric: str, amount: int, month: str | None = None) -> None:
    with home.runtime.db.begin() as session:
        values = {"amount": amount} | ({"month": month} if month else {})
        session.execute(update(UsageTotal).where(UsageTotal.metric == metric).values(values))


def test_a_larger_plan_holds_at_once(home: Office) -> None:
    who = home.confirmed()
    home.joined(who, "bea@example.org", "viewer")
    home.mails()
    answer = change(home, who, "PROFESSIONAL").json()
    assert answer["organization"]["plan"] == "PROFESSIONAL"
    assert answer["organization"]["limits"]["members"] == 10
    assert "nothing is charged" in answer["payment"]
    [mail] = home.mails()  # viewers are not told
    assert mail["To"] == "ann@example.com"
    assert "Professional" in plain_text(mail)
    [event] = home.rows(select(Event))
    assert (event.type, event.data["old_plan"], event.data["new_plan"]) == (
        "plan.changed", "STARTER", "PROFESSIONAL",
    )  # fmt: skip
    [record] = home.rows(select(AuditRecord).where(AuditRecord.action == "organization.plan_changed"))
    assert record.details == {"before": "STARTER", "now": "PROFESSIONAL"}


def test_a_smaller_plan_is_refused_while_more_is_used(home: Office) -> None:
    who = home.confirmed()
    change(home, who, "ENTERPRISE")
    [row] = home.rows(select(Organization))
    with home.runtime.db.begin() as session:
        session.add_all(
            ApiKey(organization_id=row.id, name=f"k{i}", hash=str(i), last4="xxxx", scopes=[])
            for i in range(3)
        )
    use(home, "stored_bytes", 10_000_000_001)
    use(home, "processing_ms", 1_000 * 60_000)
    seen = preview(home, who, "STARTER")
    assert not seen["possible"]
    wrong = {f["limit"]: (f["used"], f["allowed"]) for f in seen["fits"] if not f["fits"]}
    assert wrong == {"api_keys": (4, 2), "storage_gb": (10.000000001, 10)}
    answer = change(home, who, "STARTER")
    assert (answer.status_code, answer.json()["code"]) == (409, "plan_does_not_fit")
    assert {f["limit"] for f in answer.json()["does_not_fit"]} == {"api_keys", "storage_gb"}
    with home.runtime.db.begin() as session:
        session.execute(update(ApiKey).where(ApiKey.last4 == "xxxx").values(revoked_at=now()))
    use(home, "stored_bytes", 10_000_000_000)
    assert preview(home, who, "STARTER")["possible"]
    assert change(home, who, "STARTER").status_code == 200


def test_amounts_of_other_months_do_not_count_but_what_is_stored_does(quick: Office) -> None:
    who = quick.confirmed()
    use(quick, "processing_ms", 9_999 * 60_000, "2025-01")
    use(quick, "stored_bytes", 5 * 10**9, "2025-01")
    used = {f["limit"]: f["used"] for f in preview(quick, who, "STARTER")["fits"]}
    assert used["processing_minutes"] == 0
    assert used["storage_gb"] == 5


@pytest.mark.parametrize(("role", "allowed"), [("admin", True), ("member", False), ("viewer", False)])
def test_who_may_change_the_plan(quick: Office, role: str, allowed: bool) -> None:
    who = quick.joined(quick.confirmed(), "bea@example.org", role)
    assert change(quick, who, "PROFESSIONAL").status_code == (200 if allowed else 403)
    assert preview(quick, who, "PROFESSIONAL")["current"] == ("PROFESSIONAL" if allowed else "STARTER")


def test_keys_and_unconfirmed_people_may_not(quick: Office) -> None:
    made = quick.register()
    assert change(quick, {"X-API-Key": made["api_key"]["key"]}, "ENTERPRISE").status_code == 403
    who = quick.login("ann@example.com")
    assert change(quick, who, "ENTERPRISE").json()["code"] == "email_unverified"


def test_the_same_plan_is_no_change(home: Office) -> None:
    who = home.confirmed()
    answers = home.at_once([lambda: change(home, who, "PROFESSIONAL")] * 5)
    assert Counter(a.status_code for a in answers) == {200: 1, 409: 4}
    assert len(home.rows(select(Event))) == 1


def test_operators_can_keep_dearer_plans_to_themselves(backend: Backend, tmp_path: Path) -> None:
    with office(backend, tmp_path, upgrades="operator") as home:
        who = home.confirmed()
        assert change(home, who, "PROFESSIONAL").json()["code"] == "forbidden"
        [row] = home.rows(select(Organization))
        with home.act(row.id) as act:
            plan_change.change(act, plan_change.PlanName.PROFESSIONAL)
        assert change(home, who, "STARTER").status_code == 200


def test_an_organizations_own_numbers_go_before_the_plans(home: Office) -> None:
    who = home.confirmed()
    [row] = home.rows(select(Organization))
    with home.act(row.id) as act:
        plan_change.override(act, {"api_keys": 20, "members": 1})
    limits = home.call("GET", "/organization", who=who).json()["limits"]
    assert (limits["api_keys"], limits["members"], limits["storage_gb"]) == (20, 1, 10)
    change(home, who, "PROFESSIONAL")
    assert home.call("GET", "/organization", who=who).json()["limits"]["members"] == 1
    with pytest.raises(PlanFitError), home.act(row.id) as act:
        plan_change.override(act, {"api_keys": 0})
    with home.act(row.id) as act:
        plan_change.override(act, {"api_keys": None, "members": None})
    [row] = home.rows(select(Organization))
    assert row.overrides == {}


def test_owners_and_admins_set_the_cap_of_overage(home: Office) -> None:
    who = home.confirmed()
    assert home.call("GET", "/organization", who=who).json()["overage_cap_percent"] == 200
    admin = home.joined(who, "bea@example.org", "admin")
    member = home.joined(who, "cy@example.org", "member")
    answer = home.call("POST", "/organization/overage-cap", {"percent": 150}, who=admin)
    assert answer.json()["overage_cap_percent"] == 150
    assert home.call("POST", "/organization/overage-cap", {"percent": 150}, who=who).status_code == 200
    assert home.call("POST", "/organization/overage-cap", {"percent": 1000}, who=member).status_code == 403
    for wrong in (99, 1001, 150.5):
        assert home.call("POST", "/organization/overage-cap", {"percent": wrong}, who=who).status_code == 422
    assert home.call("GET", "/organization", who=who).json()["overage_cap_percent"] == 150
    [record] = home.rows(select(AuditRecord).where(AuditRecord.action == "organization.overage_cap_set"))
    assert record.details == {"before": 200, "now": 150}


def test_a_key_does_not_set_the_cap(quick: Office) -> None:
    """It would spend money."""
    who = quick.confirmed()
    change(quick, who, "PROFESSIONAL")
    made = quick.call("POST", "/keys", {"name": "all"}, who=who).json()["key"]
    answer = quick.call("POST", "/organization/overage-cap", {"percent": 300}, who={"X-API-Key": made})
    assert answer.status_code == 403
