"""The organization: its people, its plan, what happened in it."""

from __future__ import annotations

from tldr_highlight.client.calls import Calls, at
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.shapes import (
    AuditRecord,
    Invitation,
    Member,
    Organization,
    PlanChanged,
    PlanPreview,
)


class OrganizationCalls:
    """The organization that the key or login acts in."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def get(self) -> Organization:
        """What it is, and what it may have and use."""
        return self._calls.one(Organization, "GET", "/organization")

    def update(self, *, name: str) -> Organization:
        """Call it something else."""
        return self._calls.one(Organization, "PATCH", "/organization", {"name": name})

    # --- people ---

    def members(self, *, limit: int | None = None) -> Pages[Member]:
        """Who is in it."""
        return self._calls.pages(Member, "/organization/members", limit)

    def change_role(self, member_id: str, role: str) -> Member:
        """Make a member `viewer`, `member`, `admin` or `owner`."""
        return self._calls.one(Member, "PATCH", at("organization", "members", member_id), {"role": role})

    def remove(self, member_id: str) -> None:
        """Remove a member. Keys that they made go on working."""
        self._calls.do("DELETE", at("organization", "members", member_id))

    def leave(self) -> None:
        """Leave. The only owner cannot."""
        self._calls.do("POST", "/organization/leave")

    def invite(self, email: str, role: str = "member") -> Invitation:
        """Offer a place, by mail. Tells nothing about whether the address has an account."""
        body = {"email": email, "role": role}
        return self._calls.one(Invitation, "POST", "/organization/invitations", body, creates=True)

    def invitations(self, *, limit: int | None = None) -> Pages[Invitation]:
        """What is offered and can be accepted."""
        return self._calls.pages(Invitation, "/organization/invitations", limit)

    def revoke_invitation(self, invitation_id: str) -> None:
        """Take an offered place back."""
        self._calls.do("DELETE", at("organization", "invitations", invitation_id))

    # --- the plan ---

    def preview_plan(self, plan: str) -> PlanPreview:
        """What `STARTER`, `PROFESSIONAL` or `ENTERPRISE` would mean: limit by limit, what of it is used."""
        return self._calls.one(PlanPreview, "GET", "/organization/plan/preview", query={"plan": plan})

    def change_plan(self, plan: str) -> PlanChanged:
        """Change the plan. Its limits hold at once.

        Raises:
            Conflict: more is used than it allows; `extra` lists what.
        """
        return self._calls.one(PlanChanged, "POST", "/organization/plan", {"plan": plan})

    def set_overage_cap(self, percent: int) -> Organization:
        """Set how much of the plan's amounts may be used, where more is billed: 100 to 1000 percent."""
        return self._calls.one(Organization, "POST", "/organization/overage-cap", {"percent": percent})

    # --- what happened ---

    def audit(
        self,
        *,
        action: str | None = None,
        actor: str | None = None,
        object_id: str | None = None,
        limit: int | None = None,
    ) -> Pages[AuditRecord]:
        """What was done, latest first: by action (`key.created`), by whom, to what, where asked for."""
        filters = {"action": action, "actor": actor, "object_id": object_id}
        return self._calls.pages(AuditRecord, "/organization/audit", limit, **filters)
