"""Dimension sets and highlight types of an organization: what may happen to them, and which one counts.

A set is never changed: a change makes its next version, and streams remember the version they are judged by.
Presets are sets whose id is their name, which nobody changes. The organization's own types join every set
that it uses, presets included; they are changed in place, so streams keep a copy of those they are judged by.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from tldr_highlight.analysis.dimensions import (
    PRESETS,
    STANDARD_TYPES,
    DimensionSet,
    TypeRule,
    read_rule,
    read_set,
    with_types,
)
from tldr_highlight.core.db import new_id, now
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.errors import ConflictError, NotFoundError
from tldr_highlight.highlights.models import DimensionSetVersion, HighlightType
from tldr_highlight.highlights.schemas import DimensionSetWrite, TypeCreate, TypePatch
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Organization

USUAL = "general"
"""The preset that counts where nobody says anything."""

STANDARD_NAMES = frozenset(rule.type for rule in STANDARD_TYPES)

MOST = 100
"""Sets, and types, of an organization: each type is looked at for each highlight."""


TypeCopy: TypeAlias = dict[str, Any]
"""A type of the organization as streams remember it: `id`, `name`, `version` and `rule`."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What highlights are judged by, and where that is stored."""

    dimension_set: DimensionSet  # with the organization's types
    row: DimensionSetVersion | None  # none: a preset
    types: list[TypeCopy]  # those of the organization that are in it

    @property
    def own(self) -> dict[str, dict[str, Any]]:
        """The types of this set alone, by name."""
        return self.row.document["types"] if self.row else {}


def judging(
    session: Session,
    organization_id: str,
    set_id: str,
    version: int | None = None,
    types: Sequence[TypeCopy] | None = None,
) -> Judging:
    """A set of the organization, or a preset by its name, as it judges.

    Args:
        session: Any.
        organization_id: Whose sets there are.
        set_id: Of one of them, or a preset's name.
        version: One that is remembered, which may be of a set that was deleted since; None: the latest.
        types: The organization's, as they are remembered; None: as they are.

    Raises:
        NotFoundError: there is none.
    """
    if types is None:
        types = types_of(session, organization_id)
    if set_id in PRESETS:
        return _judging(set_id, types)
    return _judging(_version(session, organization_id, set_id, version), types)


def _judging(which: DimensionSetVersion | str, types: Sequence[TypeCopy]) -> Judging:
    """A version of a set, or a preset by its name, with those of these types that join it."""
    row = None if isinstance(which, str) else which
    alone = PRESETS[which] if isinstance(which, str) else read_set(which.document)
    rules = [read_rule(each["name"], each["rule"]) for each in types]
    whole = with_types(alone, rules)
    joined = [each for each, rule in zip(types, rules, strict=True) if rule in whole.types]
    return Judging(whole, row, joined)


def _version(
    session: Session, organization_id: str, set_id: str, version: int | None = None
) -> DimensionSetVersion:
    which = _latest(organization_id)
    if version is not None:
        which = DimensionSetVersion.of(organization_id).where(DimensionSetVersion.version == version)
    row = session.scalar(which.where(DimensionSetVersion.set_id == set_id))
    if row is None:
        raise NotFoundError("there is no such object in this organization")
    return row


def _latest(organization_id: str) -> Select[DimensionSetVersion]:
    model = DimensionSetVersion
    return model.of(organization_id).where(model.is_latest, model.deleted_at.is_(None))


def ours_first(names: Sequence[str], page: PageQuery) -> tuple[Sequence[str], PageQuery | None]:
    """The part of a page that ours fill, which come before the organization's own, and what is left of it.

    The cursor behind one of ours is its name. None is left where ours fill the page.
    """
    if page.cursor is not None and page.cursor not in names:
        return (), page
    begin = 0 if page.cursor is None else names.index(page.cursor) + 1
    first = names[begin : begin + page.limit]
    left = page.limit - len(first)
    return first, PageQuery(limit=left) if left else None


# --- sets ----------------------------------------------------------------------------------------------


def list_sets(act: Act, page: PageQuery) -> tuple[list[Judging], str | None]:
    """The presets, then the latest versions of the organization's own sets, newest set first."""
    types = types_of(act.session, act.organization_id)
    names, rest = ours_first(tuple(PRESETS), page)
    rows, cursor = (), names[-1] if names else None
    if rest is not None:
        rows, cursor = paginate(act.session, _latest(act.organization_id), DimensionSetVersion.set_id, rest)
    return [_judging(each, types) for each in (*names, *rows)], cursor


def create_set(act: Act, wanted: DimensionSetWrite) -> DimensionSetVersion:
    """Make a set.

    Raises:
        DimensionSetError: it cannot be used; says which field and why.
        ConflictError: there are too many.
    """
    Organization.locked(act.session, act.organization_id)
    _room(act, _latest(act.organization_id), "dimension sets")
    document = _document(wanted.model_dump(exclude_unset=True, exclude_none=True))
    row = DimensionSetVersion(
        organization_id=act.organization_id,
        set_id=new_id("dset"),
        version=1,
        name=document["name"],
        document=document,
    )
    act.session.add(row)
    act.session.flush()
    audit.record(act, "dimension_set.created", row.set_id, name=row.name)
    return row


def change_set(act: Act, set_id: str, wanted: DimensionSetWrite) -> DimensionSetVersion:
    """Make the next version of a set; what is not given stays. What changes nothing makes none.

    Raises:
        DimensionSetError: it could not be used any more; says which field and why.
        ConflictError: it is a preset.
    """
    _not_ours(set_id, PRESETS, "a preset: make a set of your own with it as `base`")
    Organization.locked(act.session, act.organization_id)
    before = _version(act.session, act.organization_id, set_id)
    changes = wanted.model_dump(exclude_unset=True, exclude_none=True)
    kept = {n: v for n, v in before.document.items() if n != "dimensions" or "base" not in changes}
    document = _document({**kept, **changes})
    if _as_written(document) == _as_written(before.document):
        return before
    before.is_latest = False
    row = DimensionSetVersion(
        organization_id=act.organization_id,
        set_id=set_id,
        version=before.version + 1,
        name=document["name"],
        document=document,
    )
    act.session.add(row)
    act.session.flush()
    audit.record(act, "dimension_set.changed", set_id, version=row.version)
    return row


def delete_set(act: Act, set_id: str) -> None:
    """Delete a set. Streams that were judged by it keep what they know of it.

    Raises:
        ConflictError: it is a preset.
    """
    _not_ours(set_id, PRESETS, "a preset, which is always there")
    Organization.locked(act.session, act.organization_id)
    row = _version(act.session, act.organization_id, set_id)
    row.deleted_at = now()
    audit.record(act, "dimension_set.deleted", set_id, name=row.name)


def _document(wanted: dict[str, Any]) -> dict[str, Any]:
    """What is stored: complete, so that a preset of the next release changes no set that began with it."""
    found = read_set(wanted)
    own = [rule for rule in found.types if rule not in STANDARD_TYPES]
    return {
        "name": found.name,
        "threshold": found.threshold,
        "dimensions": {d.name: {"weight": d.weight, "description": d.description} for d in found.dimensions},
        "types": {rule.type: rule_document(rule) for rule in own},
    }


# --- types ---------------------------------------------------------------------------------------------


def types_of(session: Session, organization_id: str) -> list[TypeCopy]:
    """The organization's own types, by name."""
    rows = session.scalars(HighlightType.of(organization_id).order_by(HighlightType.name))
    return [{"id": row.id, "name": row.name, "version": row.version, "rule": row.rule} for row in rows]


def rule_document(rule: TypeRule) -> dict[str, Any]:
    """A rule without its name: `when`, `match`, `priority`."""
    return {name: value for name, value in asdict(rule).items() if name != "type"}


def list_types(act: Act, page: PageQuery) -> tuple[Sequence[HighlightType], str | None]:
    """The organization's own types, newest first."""
    return paginate(act.session, HighlightType.of(act.organization_id), HighlightType.id, page)


def get_type(act: Act, type_id: str) -> HighlightType:
    """One of them."""
    return HighlightType.get_for(act.session, act.organization_id, type_id)


def create_type(act: Act, wanted: TypeCreate) -> HighlightType:
    """Make a type, which joins every set that has its dimensions.

    Raises:
        DimensionSetError: its rule cannot be used; says which field and why.
        ConflictError: there is one of this name, or there are too many.
    """
    Organization.locked(act.session, act.organization_id)
    rule = read_rule(wanted.name, wanted.rule())
    mine = HighlightType.of(act.organization_id)
    _room(act, mine, "highlight types")
    if act.session.scalar(mine.where(HighlightType.name == rule.type)) is not None:
        raise ConflictError(f"there is a type {rule.type} already: change that, or choose another name")
    row = HighlightType(
        organization_id=act.organization_id,
        name=rule.type,
        rule=rule_document(rule),
        description=wanted.description,
    )
    act.session.add(row)
    act.session.flush()
    audit.record(act, "highlight_type.created", row.id, name=row.name)
    return row


def change_type(act: Act, type_id: str, wanted: TypePatch) -> HighlightType:
    """Make the next version of a type: highlights that have it keep it, and streams the version they have.

    What changes nothing makes none.

    Raises:
        DimensionSetError: the rule could not be used any more; says which field and why.
        ConflictError: it is one of ours.
    """
    _not_ours(type_id, STANDARD_NAMES, "one of ours: make one of this name, which takes its place")
    row = HighlightType.get_for(act.session, act.organization_id, type_id, lock=True)
    changes = wanted.model_dump(exclude_unset=True)
    description = changes.pop("description", row.description)
    rule = rule_document(read_rule(row.name, {**row.rule, **changes}))
    if (_as_written(rule), description) == (_as_written(row.rule), row.description):
        return row
    row.rule, row.description, row.version = rule, description, row.version + 1
    audit.record(act, "highlight_type.changed", row.id, name=row.name, version=row.version)
    return row


def delete_type(act: Act, type_id: str) -> None:
    """Delete a type; highlights that have it keep it, and streams that are judged by it are so to their end.

    Raises:
        ConflictError: it is one of ours.
    """
    _not_ours(type_id, STANDARD_NAMES, "one of ours: make one of this name, which takes its place")
    row = HighlightType.get_for(act.session, act.organization_id, type_id, lock=True)
    act.session.delete(row)
    audit.record(act, "highlight_type.deleted", row.id, name=row.name)


def _as_written(document: dict[str, Any]) -> str:
    """What tells two documents apart: also the order of their members, which is the customer's."""
    return json.dumps(document)


def _room(act: Act, query: Select[Any], what: str) -> None:
    count = act.session.scalar(select(func.count()).select_from(query.subquery())) or 0
    if count >= MOST:
        raise ConflictError(f"there are {count} {what}, as many as there may be: delete one")


def _not_ours(id: str, ours: Container[str], why: str) -> None:
    if id in ours:
        raise ConflictError(f"{id} is {why}")
