"""Audit records: every change leaves one, in its own transaction."""

from __future__ import annotations

from tldr_highlight.core.telemetry import current_trace, trace_id
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy.models import AuditRecord


def record(
    act: Act,
    action: str,
    object_id: str | None = None,
    *,
    organization_id: str | None = None,
    **details: object,
) -> None:
    """Write down that `act`'s caller did `action` (`key.created`) to an object.

    Args:
        act: Who, and in which transaction.
        action: Noun and past participle.
        object_id: What it was done to.
        organization_id: Whose record it is, where that is not the caller's.
        details: What changed, fit to show to the organization; never a secret.
    """
    trace = current_trace()
    act.session.add(
        AuditRecord(
            organization_id=organization_id or act.caller.organization_id,
            actor=act.caller.actor,
            action=action,
            object_id=object_id,
            details=details,
            address=act.address,
            trace_id=trace and trace_id(trace),
        )
    )
