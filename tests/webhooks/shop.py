"""An installation that sends: its endpoints, real receivers over HTTPS, and threads that work."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from standardwebhooks import Webhook as Verifier

from tests.core.servers import AUTHORITY, Peer, Request, Server
from tests.schema import tables
from tests.services import Backend, Fill
from tldr_highlight.core.db import now
from tldr_highlight.core.work import LIGHT, run_one
from tldr_highlight.runtime import Act, Caller, Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.models import Member, Organization, User
from tldr_highlight.tenancy.roles import ALL, Role
from tldr_highlight.webhooks import service
from tldr_highlight.webhooks.catalogue import StreamCancelled
from tldr_highlight.webhooks.events import emit
from tldr_highlight.webhooks.models import Attempt, Delivery, Event, Webhook
from tldr_highlight.webhooks.schemas import WebhookCreate
from tldr_highlight.worker.embedded import LIGHT_THREADS
from tldr_highlight.worker.kinds import product_kinds

PATIENCE = 30.0
"""Seconds until a test gives up; not what anything should take."""

ORG = "org_1"

Answering = Callable[["Receiver", Request, Peer], object]


def until(condition: Callable[[], Any], what: str = "it happens") -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.01)
    return found


@dataclass
class Receiver:
    """Somebody's endpoint: keeps what comes in, in order, and answers as it is told to."""

    answering: Answering = field(default=lambda receiver, request, peer: peer.reply("200 OK", b"thanks"))
    answers_challenges: bool = True
    secret: str = ""
    got: list[Request] = field(default_factory=list)  # all but challenges
    challenges: list[Request] = field(default_factory=list)
    at: list[float] = field(default_factory=list)  # when they came
    server: Server = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server = Server(self._answer, tls=True)

    @property
    def url(self) -> str:
        return f"{self.server.url}hooks"

    def events(self) -> list[dict[str, Any]]:
        """The bodies that came, in order."""
        return [json.loads(request.body) for request in self.got]

    def _answer(self, request: Request, peer: Peer) -> object:
        body = json.loads(request.body)
        if body["type"] == "webhook.challenge":
            self.challenges.append(request)
            peer.reply("200 OK", body["data"]["challenge"].encode() if self.answers_challenges else b"")
            return None
        with self._lock:
            self.got.append(request)
            self.at.append(time.monotonic())
        return self.answering(self, request, peer)


def verified(request: Request, secret: str) -> dict[str, Any]:
    """The body, if the reference library of Standard Webhooks takes the signature."""
    return Verifier(secret).verify(request.body, request.headers)


@dataclass
class Shop:
    runtime: Runtime

    @contextlib.contextmanager
    def act(self, organization_id: str = ORG) -> Iterator[Act]:
        with self.runtime.db.begin() as session:
            caller = Caller(organization_id, ALL, rank=Role.OWNER, name="shell")
            yield Act(self.runtime, caller, session=session)

    def endpoint(
        self, receiver: Receiver, *events: str, schedule: Any = None, organization_id: str = ORG
    ) -> str:
        """An endpoint that is not verified yet: its id."""
        wanted = WebhookCreate(url=receiver.url, events=list(events or ("*",)), schedule=schedule)
        with self.act(organization_id) as act:
            webhook, receiver.secret = service.create_webhook(act, wanted)
            return webhook.id

    def verified(self, receiver: Receiver, *events: str, **more: Any) -> str:
        """One that is, once the threads work."""
        id = self.endpoint(receiver, *events, **more)
        until(lambda: self.webhook(id).status == "active", "it is verified")
        return id

    def tell(self, stream: str | None = None, *, count: int = 1, organization_id: str = ORG) -> list[str]:
        """Events, each in a transaction of its own: their ids."""
        ids: list[str] = []
        for number in range(count):
            with self.runtime.db.begin() as session:
                payload = StreamCancelled(stream_id=stream or "str_none", highlights=number)
                ids.append(emit(session, organization_id, payload, stream_id=stream).id)
        return ids

    def webhook(self, id: str) -> Webhook:
        with self.runtime.db.read() as session:
            return session.get_one(Webhook, id)

    def rows(self, query: Any) -> list[Any]:
        with self.runtime.db.read() as session:
            return list(session.scalars(query))

    def deliveries(self, webhook_id: str) -> list[Delivery]:
        """Of events, in order; challenges left out."""
        query = select(Delivery).where(
            Delivery.webhook_id == webhook_id, Delivery.event_type != "webhook.challenge"
        )
        return self.rows(query.order_by(Delivery.id))

    def attempts(self, webhook_id: str) -> list[Attempt]:
        mine = [delivery.id for delivery in self.deliveries(webhook_id)]
        return self.rows(select(Attempt).where(Attempt.delivery_id.in_(mine)).order_by(Attempt.id))

    def events(self) -> list[Event]:
        return self.rows(select(Event).order_by(Event.id))

    def settled(self, webhook_id: str) -> bool:
        """Whether nothing is on its way or due soon."""
        return all(delivery.state in {"delivered", "failed"} for delivery in self.deliveries(webhook_id))

    def set(self, model: Any, id: str, **values: Any) -> None:
        with self.runtime.db.begin() as session:
            row = session.get_one(model, id)
            for name, value in values.items():
                setattr(row, name, value)

    @contextlib.contextmanager
    def working(self, threads: int = LIGHT_THREADS) -> Iterator[None]:
        """Threads that work as a worker's light lane does."""
        over, rung = threading.Event(), threading.Condition()

        def ring(id: str, priority: str) -> None:
            with rung:
                rung.notify()

        def work(name: str) -> None:
            while not over.is_set():
                if not run_one(self.runtime, owner=name, priorities=LIGHT, suspects=None):
                    with rung:
                        rung.wait(0.05)

        self.runtime.ring = ring
        team = [threading.Thread(target=work, args=(f"light{n}",)) for n in range(threads)]
        for thread in team:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in team:
                thread.join(PATIENCE)


@contextlib.contextmanager
def shop_on(backend: Backend, folder: Path, *, fill: Fill = tables, **settings: Any) -> Iterator[Shop]:
    """An installation with one organization and its owner."""
    chosen: dict[str, Any] = {
        "data_dir": folder / "data",
        "database_url": backend.database(fill),
        "allow_networks": "127.0.0.0/8",
        "ca_file": AUTHORITY,
        "webhook_timeout_seconds": 10.0,
        **settings,
    }
    with opened(Settings(_env_file=None, **chosen), product_kinds()) as runtime:
        with runtime.db.begin() as session:
            for organization_id in (ORG, "org_2"):
                limits = {"webhook_endpoints": 1000}
                session.add(Organization(id=organization_id, name=organization_id, overrides=limits))
            session.add(
                User(
                    id="usr_1",
                    email="ann@example.com",
                    email_key="ann@example.com",
                    password_hash="x",
                    email_verified_at=now(),
                )
            )
            session.flush()
            session.add(Member(organization_id=ORG, user_id="usr_1", role="owner"))
        yield Shop(runtime)


@contextlib.contextmanager
def receiver(answering: Answering | None = None) -> Iterator[Receiver]:
    made = Receiver() if answering is None else Receiver(answering)
    with made.server:
        yield made
