"""Keys: what may happen to them.

A key belongs to the organization, not to whoever made it. Whoever makes or changes one with a key gets
nothing stronger than that key: no other scopes, networks or limits, and no longer life.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from tldr_highlight.core.clients import networks
from tldr_highlight.core.db import after_commit, now
from tldr_highlight.core.security import hash_token, last4, new_api_key
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.errors import ConflictError, ForbiddenError, InvalidError, PlanLimitError, ScopeError
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.logins import calling_key, require_lasting
from tldr_highlight.tenancy.models import ApiKey, Organization
from tldr_highlight.tenancy.plans import PLANS, PlanName
from tldr_highlight.tenancy.schemas import KeyCreate, KeyPatch


def list_keys(act: Act, page: PageQuery) -> tuple[Sequence[ApiKey], str | None]:
    """The organization's keys, newest first, revoked ones included."""
    return paginate(act.session, ApiKey.of(act.organization_id), ApiKey.id, page)


def create_key(act: Act, wanted: KeyCreate) -> tuple[ApiKey, str]:
    """Make a key; the second value is the key itself, which is stored nowhere.

    Raises:
        PlanLimitError: the plan allows no more keys.
        ScopeError, ForbiddenError: it would be stronger than who makes it, or could do nothing.
        InvalidError: more requests per minute than the plan has.
    """
    organization = _locked_organization(act)
    allowed = organization.limits.api_keys
    if count_keys(act.session, organization.id) >= allowed:
        words = f"the plan allows {allowed} keys: revoke one, or take a larger plan"
        raise PlanLimitError(words, limit="api_keys", allowed=allowed)
    bounds = _bounds(act)
    _check_limit(organization, wanted.requests_per_minute)
    key, secret = _new_key(
        organization,
        name=wanted.name,
        scopes=wanted.scopes or _default_scopes(organization, bounds),
        networks=wanted.networks or bounds.networks,
        requests_per_minute=wanted.requests_per_minute or bounds.requests_per_minute,
        expires_at=wanted.expires_at or bounds.expires_at,
        created_by=act.caller.user_id,
    )
    _check_bounds(bounds, key)
    act.session.add(key)
    act.session.flush()
    audit.record(act, "key.created", key.id, name=key.name, scopes=key.scopes)
    return key, secret


def change_key(act: Act, key_id: str, wanted: KeyPatch) -> ApiKey:
    """Give a key another name, other networks or another limit.

    Raises:
        ForbiddenError: it would be stronger than the key that changes it.
        InvalidError: more requests per minute than the plan has.
    """
    organization = _locked_organization(act)
    key = ApiKey.get_for(act.session, organization.id, key_id, lock=True)
    bounds = _bounds(act)
    changes = wanted.model_dump(exclude_unset=True)
    _check_limit(organization, changes.get("requests_per_minute"))
    for name, value in changes.items():
        setattr(key, name, value)
    _check_bounds(bounds, key)
    audit.record(act, "key.changed", key.id, **changes)
    after_commit(act.session, act.runtime.forget_callers)
    return key


def rotate_key(act: Act, key_id: str, overlap_seconds: int) -> tuple[ApiKey, str]:
    """Make a successor of a key, which is good for a while longer; the second value is the new key itself.

    A predecessor that is in its own overlap ends now: of one key there are two at most, so that rotating
    does not count against the plan.

    Raises:
        ConflictError: it is revoked, expired, or has a successor.
        ScopeError, ForbiddenError: it can do more than who rotates it.
    """
    organization = _locked_organization(act)
    old = ApiKey.get_for(act.session, organization.id, key_id, lock=True)
    if old.status != "active" or old.replaced_by is not None:
        raise ConflictError("only an active key that has no successor can be rotated")
    new, secret = _new_key(
        organization,
        name=old.name,
        scopes=old.scopes,
        networks=old.networks,
        requests_per_minute=old.requests_per_minute,
        expires_at=old.expires_at,
        created_by=act.caller.user_id,
    )
    _check_bounds(_bounds(act), new)
    act.session.add(new)
    act.session.flush()
    for before in act.session.scalars(_active(organization.id).where(ApiKey.replaced_by == old.id)):
        before.expires_at = now()
    old.replaced_by = new.id
    until = old.expires_at = _sooner(old.expires_at, now() + timedelta(seconds=overlap_seconds))
    audit.record(act, "key.rotated", old.id, replaced_by=new.id, until=until.isoformat())
    after_commit(act.session, act.runtime.forget_callers)
    return new, secret


def revoke_key(act: Act, key_id: str) -> None:
    """End a key; ending it again changes nothing."""
    key = ApiKey.get_for(act.session, act.organization_id, key_id, lock=True)
    if key.revoked_at is None:
        key.revoked_at = now()
        audit.record(act, "key.revoked", key.id, name=key.name)
        after_commit(act.session, act.runtime.forget_callers)


def count_keys(session: Session, organization_id: str) -> int:
    """Keys that count against the plan: the active ones, of which a key and its active successor are one.

    Revoking the successor leaves the predecessor its overlap, as programs may have nothing else yet; then it
    is the one that counts. However often somebody rotates and revokes, two at most work for each that counts.
    """
    successor = aliased(ApiKey)
    replaced = exists().where(successor.id == ApiKey.replaced_by, *_is_active(successor))
    mine = _active(organization_id).where(~replaced).subquery()
    return session.scalar(select(func.count()).select_from(mine)) or 0


def _active(organization_id: str) -> Select[ApiKey]:
    return ApiKey.of(organization_id).where(*_is_active(ApiKey))


def _is_active(key: type[ApiKey]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return key.revoked_at.is_(None), or_(key.expires_at.is_(None), key.expires_at > now())


def _locked_organization(act: Act) -> Organization:
    """Whoever makes keys waits here for each other: else two would both be the last that is allowed.

    Whoever ends all keys and logins, or changes roles, waits, or is waited for, too: none is made by one that
    has ended, or with more than its maker has still.
    """
    organization = act.session.get_one(Organization, act.organization_id, with_for_update=True)
    require_lasting(act)
    return organization


def _new_key(organization: Organization, *, scopes: Iterable[str], **about: object) -> tuple[ApiKey, str]:
    secret = new_api_key()
    key = ApiKey(
        organization_id=organization.id,
        hash=hash_token(secret),
        last4=last4(secret),
        scopes=sorted(set(scopes)),
        **about,
    )
    return key, secret


def _check_limit(organization: Organization, wanted: int | None) -> None:
    plans = organization.limits.requests_per_minute
    if wanted is not None and wanted > plans:
        raise InvalidError(f"requests_per_minute: the plan has {plans}, which is the most a key can have")


@dataclass(frozen=True)
class Bounds:
    """What a key may be at most, by who makes or changes it. Taken before: a key may be changing itself."""

    scopes: frozenset[str]
    networks: list[str] = field(default_factory=list[str])
    requests_per_minute: int | None = None  # None: whatever the plan has
    expires_at: datetime | None = None


def _bounds(act: Act) -> Bounds:
    maker = calling_key(act)
    if maker is None:
        return Bounds(act.caller.scopes)
    return Bounds(act.caller.scopes, maker.networks, maker.requests_per_minute, maker.expires_at)


def _default_scopes(organization: Organization, bounds: Bounds) -> frozenset[str]:
    """What a key gets that names no scopes: the plan's, of which its maker has some at least."""
    plans = PLANS[PlanName(organization.plan)].key_scopes
    if plans.isdisjoint(bounds.scopes):
        words = "you have none of the scopes that keys get here: name those that it is to have"
        raise ScopeError(words, required_scope=min(plans))
    return plans & bounds.scopes


def _check_bounds(bounds: Bounds, key: ApiKey) -> None:
    """Refuse a key that could do more than who makes or changes it."""
    beyond = sorted(set(key.scopes) - bounds.scopes)
    if beyond:
        raise ScopeError(f"it would have scopes that you lack: {', '.join(beyond)}", required_scope=beyond[0])
    most = bounds.requests_per_minute
    checks = {
        "live longer": bounds.expires_at is not None
        and (key.expires_at is None or key.expires_at > bounds.expires_at),
        "be good from other addresses": not _inside(key.networks, bounds.networks),
        "call more often": most is not None
        and (key.requests_per_minute is None or key.requests_per_minute > most),
    }
    reasons = [reason for reason, stronger in checks.items() if stronger]
    if reasons:
        raise ForbiddenError(f"it would {' and '.join(reasons)} than the key that asks for it")


def _inside(inner: list[str], outer: list[str]) -> bool:
    """Whether all addresses of `inner` are in `outer`; an empty list is all addresses there are."""
    if not outer:
        return True
    bounds = networks(outer)
    return bool(inner) and all(
        any(net.version == bound.version and net.subnet_of(bound) for bound in bounds)  # pyright: ignore[reportArgumentType]
        for net in networks(inner)
    )


def _sooner(moment: datetime | None, other: datetime) -> datetime:
    return other if moment is None else min(moment, other)
