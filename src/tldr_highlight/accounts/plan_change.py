"""Plans: what would not fit into another, the change, which holds at once, and the cap of what is billed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from tldr_highlight.accounts import payment, people
from tldr_highlight.core.db import after_commit, now
from tldr_highlight.core.mails import LIMITS, Limit, LimitChange, PlanChanged
from tldr_highlight.core.outbox import post
from tldr_highlight.errors import ConflictError, PlanFitError
from tldr_highlight.runtime import Act
from tldr_highlight.streams.service import admit
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.logins import require_lasting
from tldr_highlight.tenancy.models import Member, Organization, User
from tldr_highlight.tenancy.plans import PLANS, Limits, PlanName, limits_of
from tldr_highlight.tenancy.roles import Role
from tldr_highlight.usage import quotas
from tldr_highlight.usage.quotas import Fit
from tldr_highlight.webhooks import catalogue
from tldr_highlight.webhooks.events import emit


@dataclass(frozen=True)
class Preview:
    """What a plan would mean for an organization."""

    organization: Organization
    plan: PlanName
    limits: Limits  # with the organization's own numbers
    fits: list[Fit]

    @property
    def possible(self) -> bool:
        """Whether everything fits."""
        return all(fit.fits for fit in self.fits)


def preview(act: Act, plan: PlanName) -> Preview:
    """What `plan` would mean; numbers an operator set for this organization stay."""
    organization = act.session.get_one(Organization, act.organization_id)
    return _preview(act, organization, plan, organization.overrides)


def change(
    act: Act, plan: PlanName, numbers: Mapping[str, Any] | None = None
) -> tuple[Organization, str | None]:
    """Move the organization to `plan`; also what there is to say about payment.

    Its limits hold at once. Owners and admins get a mail, webhooks an event. `numbers` are limits that an
    operator sets with it (`override`): what is used has to fit into both together.

    Raises:
        UnverifiedError: the caller's own address is not confirmed.
        ConflictError: it is on this plan. PlanFitError: more is used than the plan allows.
        ForbiddenError: a dearer plan, which only the operator gives here.
    """
    people.require_verified(act)
    organization = Organization.locked(act.session, act.organization_id)
    require_lasting(act)
    if organization.plan == plan:
        raise ConflictError(f"the organization is on {plan} already")
    overrides = _overrides(organization, numbers or {})
    _require_fit(_preview(act, organization, plan, overrides))
    said = payment.collect(act, PLANS[PlanName(organization.plan)], PLANS[plan])
    before, limits = organization.plan, organization.limits
    organization.plan = plan.value
    if numbers:
        _set_limits(act, organization, overrides)
    after_commit(act.session, act.runtime.forget_callers)  # with them, how often they may call
    audit.record(act, "organization.plan_changed", organization.id, before=before, now=plan.value)
    admit(act.session, organization.id)
    _tell(act, organization, before, limits)
    return organization, said


def override(act: Act, numbers: Mapping[str, Any]) -> Organization:
    """Set single limits of this organization, or give them back to its plan (None). For operators.

    Raises:
        PlanFitError: more is used than that.
    """
    organization = Organization.locked(act.session, act.organization_id)
    overrides = _overrides(organization, numbers)
    _require_fit(_preview(act, organization, PlanName(organization.plan), overrides))
    _set_limits(act, organization, overrides)
    act.session.flush()
    admit(act.session, organization.id)
    after_commit(act.session, act.runtime.forget_callers)
    return organization


def set_cap(act: Act, percent: int) -> Organization:
    """Set how much of a plan's amounts may be used where more than it is billed; it holds at once.

    Raises:
        UnverifiedError: the caller's own address is not confirmed.
    """
    people.require_verified(act)
    organization = Organization.locked(act.session, act.organization_id)
    require_lasting(act)
    before = organization.overage_cap_percent
    if percent != before:
        audit.record(act, "organization.overage_cap_set", organization.id, before=before, now=percent)
        organization.overage_cap_percent = percent
    return organization


def _overrides(organization: Organization, numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in {**organization.overrides, **numbers}.items() if v is not None}


def _set_limits(act: Act, organization: Organization, overrides: dict[str, Any]) -> None:
    before = organization.overrides
    audit.record(act, "organization.limits_set", organization.id, before=before, now=overrides)
    organization.overrides = overrides


def _preview(act: Act, organization: Organization, plan: PlanName, overrides: Mapping[str, Any]) -> Preview:
    limits = limits_of(plan, overrides)
    return Preview(organization, plan, limits, quotas.fits_of(act.session, organization.id, limits))


def _require_fit(wanted: Preview) -> None:
    too_much = [fit for fit in wanted.fits if not fit.fits]
    if too_much:
        words = "; ".join(f"{LIMITS[_name(f.limit)]}: {f.used:g} of {f.allowed:g}" for f in too_much)
        listed = [{"limit": f.limit, "used": f.used, "allowed": f.allowed} for f in too_much]
        raise PlanFitError(f"{wanted.plan} is too small for what is used: {words}", does_not_fit=listed)


def _tell(act: Act, organization: Organization, before: str, limits: Limits) -> None:
    old, new = limits.as_dict(), organization.limits.as_dict()
    user_id = act.caller.user_id
    letter = PlanChanged(
        organization=organization.name,
        old_plan=before,
        new_plan=organization.plan,
        changed_at=now(),
        changed_by=act.session.get_one(User, user_id).email if user_id else "An operator",
        changes=tuple(
            LimitChange(limit=limit, before=old[limit], after=new[limit])
            for limit in LIMITS
            if old[limit] != new[limit]
        ),
        link=f"{act.runtime.url}/docs",
    )
    for user in Member.people(act.session, organization.id, Role.OWNER, Role.ADMIN):
        post(act.session, letter, user.email, organization_id=organization.id)
    changed = catalogue.PlanChanged(old_plan=before, new_plan=organization.plan, limits=new)
    emit(act.session, organization.id, changed)


def _name(limit: str) -> Limit:
    return cast(Limit, limit)
