"""The one seam where money will be asked for. No payment provider can be set yet."""

from __future__ import annotations

from tldr_highlight.errors import ForbiddenError
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy.plans import Plan


def collect(act: Act, before: Plan, plan: Plan) -> str | None:
    """See to it that `plan` will be paid for; what the customer should know about that, if anything.

    Called in the transaction that changes the plan, before it does.

    Raises:
        ForbiddenError: a dearer plan, which only the operator gives here.
    """
    if plan.base_fee <= before.base_fee:
        return None
    if act.runtime.settings.upgrades == "operator" and not act.caller.is_operator:
        raise ForbiddenError("larger plans are given by the people who run this installation: ask them")
    return "no payment provider is set on this installation: nothing is charged"
