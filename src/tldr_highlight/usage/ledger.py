"""The ledger: what was consumed is written down once, with what consumed it, and summed up by month."""

from __future__ import annotations

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.orm import Session

from tldr_highlight.core.db import insert, new_id, now
from tldr_highlight.usage import notices
from tldr_highlight.usage.models import UsageRecord, UsageTotal
from tldr_highlight.usage.quotas import Metric, month_of


def record(
    session: Session,
    organization_id: str,
    metric: Metric,
    amount: int,
    *,
    key: str,
    object_id: str | None = None,
) -> bool:
    """Write down what was consumed, in the transaction that makes it so; False: that was done before.

    Args:
        session: Of that transaction.
        organization_id: Who pays.
        metric: Of what.
        amount: In the metric's unit; negative for what is stored no more.
        key: Follows from what was consumed (`str_1/segment/7`): of one key there is one record.
        object_id: The stream, clip job or upload it was consumed for.
    """
    adding = (
        insert(session, UsageRecord)
        .values(
            id=new_id("urec"), organization_id=organization_id, key=key, metric=metric.value, amount=amount,
            object_id=object_id, created_at=now(),
        )
        .on_conflict_do_nothing(index_elements=["organization_id", "key"])
        .returning(UsageRecord.id)
    )  # fmt: skip
    if session.execute(adding).scalar_one_or_none() is None:
        return False
    _add(session, organization_id, metric, amount)
    return True


def hold(session: Session, organization_id: str, metric: Metric) -> None:
    """Let nobody else add to what was used this month until the transaction ends: what it reads stays so.

    All that the organization stores or processes waits meanwhile. So lock whatever else a transaction changes
    (work, stream, job, file, organization) before this; only what is told comes later.
    """
    _add(session, organization_id, metric, 0)  # its row may not be there yet


def _add(session: Session, organization_id: str, metric: Metric, amount: int) -> None:
    month = month_of(now())
    begin = amount if metric is not Metric.STORED_BYTES else amount + _stored_before(organization_id, month)
    adding = (
        insert(session, UsageTotal)
        .values(
            id=new_id("use"), organization_id=organization_id, month=month, metric=metric.value, amount=begin
        )
        .on_conflict_do_update(
            index_elements=["organization_id", "month", "metric"],
            set_={"amount": UsageTotal.amount + amount},
        )
        .returning(UsageTotal)
    )
    total = session.scalars(adding, execution_options={"populate_existing": True}).one()
    if amount > 0:
        notices.tell(session, total)


def _stored_before(organization_id: str, month: str) -> ScalarSelect[int]:
    """What was stored when a month began: it does not start from nothing, as what is used month by month."""
    last = (
        UsageTotal.of(organization_id)
        .where(UsageTotal.metric == Metric.STORED_BYTES, UsageTotal.month < month)
        .order_by(UsageTotal.month.desc())
        .limit(1)
        .with_only_columns(UsageTotal.amount)
    )
    return select(func.coalesce(last.scalar_subquery(), 0)).scalar_subquery()
