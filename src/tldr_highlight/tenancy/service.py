"""Keys: what may happen to them."""

from __future__ import annotations

from collections.abc import Sequence

from tldr_highlight.core.db import now
from tldr_highlight.core.security import hash_token, last4, new_api_key
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import ApiKey, Organization
from tldr_highlight.tenancy.plans import PLANS, PlanName
from tldr_highlight.tenancy.schemas import KeyCreate
from tldr_highlight.web import PageQuery, paginate


def list_keys(act: Act, page: PageQuery) -> tuple[Sequence[ApiKey], str | None]:
    """The organization's keys, newest first, revoked ones included."""
    return paginate(act.session, ApiKey.of(act.organization_id), ApiKey.id, page)


def create_key(act: Act, wanted: KeyCreate) -> tuple[ApiKey, str]:
    """Make a key; the second value is the key itself, which is stored nowhere."""
    organization = act.session.get_one(Organization, act.organization_id)
    secret = new_api_key()
    scopes = wanted.scopes or PLANS[PlanName(organization.plan)].key_scopes
    key = ApiKey(
        organization_id=organization.id,
        name=wanted.name,
        hash=hash_token(secret),
        last4=last4(secret),
        scopes=sorted(scopes),
        created_by=act.caller.user_id,
        expires_at=wanted.expires_at,
    )
    act.session.add(key)
    act.session.flush()
    audit.record(act, "key.created", key.id, name=key.name, scopes=key.scopes)
    return key, secret


def revoke_key(act: Act, key_id: str) -> None:
    """End a key; ending it again changes nothing."""
    key = ApiKey.get_for(act.session, act.organization_id, key_id)
    if key.revoked_at is None:
        key.revoked_at = now()
        audit.record(act, "key.revoked", key.id, name=key.name)
