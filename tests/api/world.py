"""An application on a database of its own, and organizations with keys to call it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tests.schema import migrated
from tests.services import Backend
from tldr_highlight.api.app import Application, create_app
from tldr_highlight.core.db import new_id, now
from tldr_highlight.core.mailboxes import address_key
from tldr_highlight.core.passwords import Passwords
from tldr_highlight.core.security import hash_token, last4, new_api_key
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.models import ApiKey, Member, Organization, User
from tldr_highlight.tenancy.plans import PlanName
from tldr_highlight.tenancy.roles import ALL
from tldr_highlight.worker.kinds import product_kinds

NO_LIMITS = {"requests_per_minute": 1_000_000, "api_keys": 1_000_000}


PASSWORD = "three otters in a rowing boat"


@functools.cache
def hashed() -> str:
    return Passwords().hash(PASSWORD)


@dataclass
class World:
    """The application, its runtime, and a client of it."""

    runtime: Runtime
    app: Application
    client: TestClient

    def organization(self, name: str = "Acme") -> str:
        """A new organization's id."""
        with self.runtime.db.begin() as session:
            row = Organization(name=name, plan=PlanName.ENTERPRISE, overrides=NO_LIMITS)
            session.add(row)
            session.flush()
            return row.id

    def key(self, organization_id: str, *scopes: str) -> dict[str, str]:
        """Headers with a new key of the organization; with every scope unless some are named."""
        secret = new_api_key()
        with self.runtime.db.begin() as session:
            row = ApiKey(
                organization_id=organization_id, name="test", hash=hash_token(secret), last4=last4(secret),
                scopes=sorted(scopes or ALL),
            )  # fmt: skip
            session.add(row)
        return {"X-API-Key": secret}

    def person(self, organization_id: str, role: str = "owner", *, operator: bool = False) -> dict[str, str]:
        """Headers with the login of a new person in the organization."""
        email = f"{new_id('x')}@example.com"
        with self.runtime.db.begin() as session:
            user = User(
                email=email, email_key=address_key(email), password_hash=hashed(), is_operator=operator
            )
            user.email_verified_at = now()
            session.add(user)
            session.flush()
            session.add(Member(organization_id=organization_id, user_id=user.id, role=role))
        answer = self.client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def caller(self, *scopes: str) -> dict[str, str]:
        """Headers with a key of a new organization."""
        return self.key(self.organization(), *scopes)

    @property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return self.app.openapi()


@contextmanager
def world_on(backend: Backend, folder: Path, **settings: Any) -> Iterator[World]:
    """A world on a migrated database."""
    wanted = {"public_requests_per_minute": 1_000_000, **settings}
    configured = Settings(
        _env_file=None, data_dir=folder / "data", database_url=backend.database(migrated), **wanted
    )
    with opened(configured, product_kinds()) as runtime:
        app = create_app(runtime)
        with TestClient(app, raise_server_exceptions=False) as client:
            yield World(runtime, app, client)
