"""The organization: its people, its plan, what happened in it."""

from __future__ import annotations

from tldr_highlight.client.calls import Calls
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.shapes import (
    AuditRecord,
    Invitation,
    Member,
    Organization,
)


class OrganizationCalls(Calls):
    """The organization that the key or login acts in."""

    def get(self) -> Organization:
        """What it is."""
        return self._one(Organization, "GET", "/organization")

    def update(self, *, name: str) -> Organization:
        """Call it something else."""
        return self._one(Organization, "PATCH", "/organization", {"name": name})

    def members(self, *, limit: int | None = None) -> Pages[Member]:
        """Who is in it."""
        return self._pages(Member, "/organization/members", limit)

    def invite(self, email: str, role: str) -> Invitation:
        """Offer a place as `viewer`, `member`, `admin` or `owner`, by mail."""
        body = {"email": email, "role": role}
        return self._one(Invitation, "POST", "/organization/invitations", body, creates=True)

    def invitations(self, *, limit: int | None = None) -> Pages[Invitation]:
        """What is offered and not accepted."""
        return self._pages(Invitation, "/organization/invitations", limit)

    def withdraw(self, invitation_id: str) -> None:
        """Take an offered place back."""
        self._do("DELETE", f"/organization/invitations/{invitation_id}")

    def change_role(self, member_id: str, role: str) -> Member:
        """Give a member another role."""
        return self._one(Member, "PATCH", f"/organization/members/{member_id}", {"role": role})

    def remove(self, member_id: str) -> None:
        """End a membership; one's own: leave."""
        self._do("DELETE", f"/organization/members/{member_id}")

    def audit(
        self,
        *,
        action: str | None = None,
        actor: str | None = None,
        object_id: str | None = None,
        limit: int | None = None,
    ) -> Pages[AuditRecord]:
        """What happened, newest first."""
        filters = {"action": action, "actor": actor, "object_id": object_id}
        return self._pages(AuditRecord, "/organization/audit", limit, **filters)
