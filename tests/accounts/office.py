"""The product on a new database, with its API, as people and companies use it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

from fastapi.testclient import TestClient

from tests.schema import tables
from tests.services import Backend
from tldr_highlight.api.app import create_app
from tldr_highlight.core.passwords import Passwords
from tldr_highlight.core.work import run_one
from tldr_highlight.runtime import Act, Caller, Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.roles import ALL, Role
from tldr_highlight.worker.kinds import product_kinds

PASSWORD = "seven wet otters sing"
BASE = "http://127.0.0.1:8000"


@dataclass
class Office:
    """An installation in a test."""

    runtime: Runtime
    client: TestClient
    read: int = field(default=0)  # mails

    def call(self, method: str, path: str, body: Any = None, *, who: dict[str, str] | None = None) -> Any:
        """The answer; `path` below /api/v1."""
        return self.client.request(method, f"/api/v1{path}", json=body, headers=who or {})

    def register(self, email: str = "ann@example.com", **more: Any) -> dict[str, Any]:
        """A company, made by registering."""
        body = {"email": email, "password": PASSWORD, "company_name": "Nordlicht Sports", **more}
        answer = self.call("POST", "/auth/register", body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def confirmed(self, email: str = "ann@example.com") -> dict[str, str]:
        """A company whose owner's address is confirmed: the owner's login."""
        self.register(email)
        token = token_in(self.mails()[-1])
        assert self.call("POST", "/auth/verify-email", {"token": token}).status_code == 200
        return self.login(email)

    def joined(self, owner: dict[str, str], email: str, role: str = "member") -> dict[str, str]:
        """Somebody who was invited and came: their login."""
        answer = self.call("POST", "/organization/invitations", {"email": email, "role": role}, who=owner)
        assert answer.status_code == 201, answer.text
        token = token_in(self.mails()[-1])
        answer = self.call("POST", "/auth/accept-invitation", {"token": token, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return self.login(email)

    def login(self, email: str) -> dict[str, str]:
        """Headers of somebody who is logged in."""
        answer = self.call("POST", "/auth/login", {"email": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def mails(self) -> list[EmailMessage]:
        """What went out since the last look, in order, after all work is done."""
        while run_one(self.runtime, owner="test"):
            pass
        files = sorted((self.runtime.data_dir / "mail").glob("*.eml"), key=lambda p: p.name)
        new, self.read = files[self.read :], len(files)
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in new]

    def act(self, organization_id: str | None = None) -> contextlib.AbstractContextManager[Act]:
        """The shell, doing something in a transaction."""
        return acting(self.runtime, organization_id)

    def at_once(self, calls: Sequence[Any]) -> list[Any]:
        """Answers to calls that are made at the same time."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(lambda call: call(), calls))

    @contextlib.contextmanager
    def meanwhile(self, call: Callable[[], Any]) -> Generator[None]:
        """`call` is made once in the block, as soon as a password was hashed or found right."""
        passwords, calls = self.runtime.passwords, [call]

        def then(answer: Any) -> Any:
            if answer and calls:
                calls.pop()()
            return answer

        class Interrupted:
            def hash(self, password: str) -> str:
                return then(passwords.hash(password))

            def verify(self, hashed: str | None, password: str) -> bool:
                return then(passwords.verify(hashed, password))

            def needs_rehash(self, hashed: str) -> bool:
                return passwords.needs_rehash(hashed)

        self.runtime.passwords = cast(Passwords, Interrupted())
        try:
            yield
        finally:
            self.runtime.passwords = passwords
        assert not calls, "no password was hashed"

    def rows(self, query: Any) -> list[Any]:
        """What is stored."""
        with self.runtime.db.read() as session:
            return list(session.scalars(query))


@contextlib.contextmanager
def acting(runtime: Runtime, organization_id: str | None) -> Generator[Act]:
    with runtime.db.begin() as session:
        shell = Caller(organization_id, ALL, rank=Role.OWNER, is_operator=True, name="shell")
        yield Act(runtime, shell, session=session)


@contextlib.contextmanager
def office(backend: Backend, folder: Path, **settings: Any) -> Generator[Office]:
    """An installation that ends with the block."""
    many = {"public_requests_per_minute": 10_000, "registrations_per_hour": 1_000}
    where = {"data_dir": folder / "data", "database_url": backend.database(tables)}
    chosen = Settings(_env_file=None, **{**where, **many, **settings})
    with (
        opened(chosen, product_kinds()) as runtime,
        TestClient(create_app(runtime), base_url=BASE) as client,
    ):
        yield Office(runtime, client)


def token_in(mail: EmailMessage) -> str:
    """The token in a mail's link."""
    found = re.search(r"#token=([\w-]+)", plain_text(mail))
    assert found, plain_text(mail)
    return found[1]


def plain_text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body
    return body.get_content()
