"""The API on a database of its own, and people and keys in it, made without going through it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tests.schema import tables
from tests.services import Backend
from tldr_highlight.api.app import create_app
from tldr_highlight.core.mailboxes import address_key
from tldr_highlight.core.passwords import Passwords
from tldr_highlight.core.security import hash_token, last4, new_api_key
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.models import ApiKey, AuditRecord, Member, Organization, User
from tldr_highlight.tenancy.roles import ALL

PASSWORD = "three otters in a rowing boat"
WRONG = "three otters in a sailing boat"
HOME = "198.51.100.7"
"""Where clients call from unless they say otherwise."""


@functools.cache
def hashed() -> str:
    return Passwords().hash(PASSWORD)


class House:
    """An API, and what is in it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.app = create_app(runtime)
        self.client = self.at(HOME)

    def at(self, address: str, **options: Any) -> TestClient:
        """A client that calls from an address, in the event loop of the first: `client`."""
        made = TestClient(self.app, client=(address, 50_000), **options)
        if hasattr(self, "client"):
            made.portal = self.client.portal
        return made

    def organization(self, plan: str = "ENTERPRISE", **overrides: Any) -> Organization:
        organization = Organization(name="Otters", plan=plan, overrides=overrides)
        return self.add(organization)

    def user(self, email: str = "ann@example.com", **about: Any) -> User:
        return self.add(User(email=email, email_key=address_key(email), password_hash=hashed(), **about))

    def member(self, user: User, organization: Organization, role: str = "owner") -> Member:
        return self.add(Member(user_id=user.id, organization_id=organization.id, role=role))

    def key(self, organization: Organization, **about: Any) -> tuple[ApiKey, dict[str, str]]:
        """A key, and the headers that show it."""
        secret = new_api_key()
        key = ApiKey(
            organization_id=organization.id,
            hash=hash_token(secret),
            last4=last4(secret),
            **{"name": "test", "scopes": sorted(ALL), **about},
        )
        return self.add(key), {"X-API-Key": secret}

    def ann(self, role: str = "owner", plan: str = "ENTERPRISE") -> tuple[User, Organization]:
        """A person in an organization."""
        user, organization = self.user(), self.organization(plan)
        self.member(user, organization, role)
        return user, organization

    def log_in(self, email: str = "ann@example.com", password: str = PASSWORD, **more: Any) -> dict[str, Any]:
        answer = self.client.post("/api/v1/auth/login", json={"email": email, "password": password, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def me(self, token: str) -> int:
        """The status of asking who one is."""
        return self.client.get("/api/v1/me", headers=bearer(token)).status_code

    def add(self, row: Any) -> Any:
        with self.runtime.db.begin() as session:
            session.add(row)
        return row

    def change(self, model: Any, id: str, **values: Any) -> None:
        """What another process might do: nothing of ours hears of it."""
        with self.runtime.db.begin() as session:
            for name, value in values.items():
                setattr(session.get_one(model, id), name, value)

    def stored(self, model: Any, id: str) -> Any:
        with self.runtime.db.read() as session:
            return session.get_one(model, id)

    def audit(self) -> list[tuple[str, str]]:
        """(actor, action) of all records, oldest first."""
        with self.runtime.db.read() as session:
            records = session.query(AuditRecord).order_by(AuditRecord.id).all()
        return [(r.actor, r.action) for r in records]

    def a_second_later(self) -> None:
        """What is remembered for a second is over."""
        gate = self.app.state.gate
        gate._recent._known = {d: (known, 0.0) for d, (known, _) in gate._recent._known.items()}


@contextmanager
def house(backend: Backend, folder: Path, **settings: Any) -> Iterator[House]:
    """An API on a backend's new database."""
    wanted = {
        "data_dir": folder / "data",
        "database_url": backend.database(tables),
        "broker_url": backend.redis_url,
        "public_requests_per_minute": 10_000,
    }
    with opened(Settings(_env_file=None, **{**wanted, **settings})) as runtime:
        found = House(runtime)
        with found.client:
            yield found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def said(answer: Any) -> dict[str, Any]:
    """What an answer says, but for what each has of its own."""
    return {name: value for name, value in answer.json().items() if name != "trace_id"}
