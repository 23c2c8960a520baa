"""An application on a database of its own, and organizations with keys to call it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tests.schema import migrated
from tests.services import Backend
from tldr_highlight.api.app import Application, create_app
from tldr_highlight.core.security import hash_token, last4, new_api_key
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.models import ApiKey, Organization
from tldr_highlight.tenancy.plans import PlanName
from tldr_highlight.tenancy.roles import ALL
from tldr_highlight.worker.kinds import product_kinds

NO_LIMITS = {"requests_per_minute": 1_000_000, "api_keys": 1_000_000}


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
    configured = Settings(data_dir=folder / "data", database_url=backend.database(migrated), **settings)
    with opened(configured, product_kinds()) as runtime:
        app = create_app(runtime)
        with TestClient(app, raise_server_exceptions=False) as client:
            yield World(runtime, app, client)
