"""The plans: one table. An organization may carry overrides of single numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from tldr_highlight.tenancy.roles import ALL, STARTER_KEY, Scope


class PlanName(StrEnum):
    """What a plan is called; the order is from small to large."""

    STARTER = "STARTER"
    PROFESSIONAL = "PROFESSIONAL"
    ENTERPRISE = "ENTERPRISE"


class Priority(StrEnum):
    """Whose work is taken first."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True)
class Limits:
    """What an organization may have and use."""

    requests_per_minute: int  # of each key
    processing_minutes: int  # a month
    concurrent_streams: int
    storage_gb: int
    retention_days: int
    cold_after_days: int | None  # None: no cold tier
    delivered_gb: int  # a month
    api_calls: int  # a month
    webhook_endpoints: int
    api_keys: int
    members: int
    priority: Priority

    def overridden(self, overrides: Mapping[str, Any]) -> Limits:
        """These limits, with an organization's own numbers."""
        return replace(self, **overrides) if overrides else self

    def as_dict(self) -> dict[str, Any]:
        """Name -> number."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """One column of the table."""

    name: PlanName
    limits: Limits
    base_fee: int  # US cents a month
    blocks_at_quota: bool  # else the use above it is billed, up to the organization's cap
    key_scopes: frozenset[Scope]  # of a key that is made without naming any


PLANS: dict[PlanName, Plan] = {
    plan.name: plan
    for plan in (
        Plan(
            PlanName.STARTER,
            Limits(60, 1_000, 1, 10, 30, None, 50, 100_000, 2, 2, 3, Priority.LOW),
            base_fee=0,
            blocks_at_quota=True,
            key_scopes=STARTER_KEY,
        ),
        Plan(
            PlanName.PROFESSIONAL,
            Limits(300, 10_000, 5, 100, 90, 30, 500, 1_000_000, 10, 10, 10, Priority.NORMAL),
            base_fee=99_00,
            blocks_at_quota=False,
            key_scopes=ALL,
        ),
        Plan(
            PlanName.ENTERPRISE,
            Limits(1_000, 100_000, 20, 1_000, 365, 60, 5_000, 10_000_000, 50, 50, 100, Priority.HIGH),
            base_fee=999_00,
            blocks_at_quota=False,
            key_scopes=ALL,
        ),
    )
}

OVERAGE_CAP = 200
"""Percent of a plan's amounts that may be used where more than it is billed, unless the organization says."""

HIGHEST_CAP = 1000
"""Beyond ten times of a plan there are other plans, and limits that operators set."""

OVERRIDABLE = frozenset(field.name for field in fields(Limits))
"""What an operator may set for one organization."""


def limits_of(plan: str, overrides: Mapping[str, Any]) -> Limits:
    """What an organization on `plan` may have and use."""
    return PLANS[PlanName(plan)].limits.overridden(overrides)
