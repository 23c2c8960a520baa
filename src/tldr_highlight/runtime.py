"""Runtime: what a process has opened, once: settings, database, secrets, mail. Handed to whoever needs it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy.orm import Session

from tldr_highlight.core.breaker import Breakers
from tldr_highlight.core.counters import Counters
from tldr_highlight.core.db import Database, OrgOwned
from tldr_highlight.core.egress import Policy
from tldr_highlight.core.faults import Faults
from tldr_highlight.core.files import keep_private
from tldr_highlight.core.jwt import Tokens
from tldr_highlight.core.leases import Leases
from tldr_highlight.core.mail import Mailer, mailer_of
from tldr_highlight.core.passwords import Passwords
from tldr_highlight.core.security import Links, Secrets, Vault
from tldr_highlight.core.work import Kinds, ledger
from tldr_highlight.errors import ForbiddenError
from tldr_highlight.settings import Settings
from tldr_highlight.storage import store_of
from tldr_highlight.storage.base import ObjectStore

Owned = TypeVar("Owned", bound=OrgOwned)


def nobody_known() -> None:
    """Forget nobody: callers are not remembered here."""


def nobody_listens() -> None:
    """Tell nobody that something happened."""


def no_bell(job_id: str, priority: str) -> None:
    """Wake nobody: work is found by those who look for it."""


@dataclass
class Runtime:
    """Everything that is configured."""

    settings: Settings
    db: Database
    policy: Policy  # which addresses customers may name
    secrets: Secrets  # the installation's own keys
    vault: Vault  # for what is stored and secret
    mailer: Mailer
    kinds: Kinds  # of work that can be done here
    leases: Leases  # on work that is being done here
    tokens: Tokens  # of logins
    links: Links  # that are signed
    storage: ObjectStore  # where files are kept
    passwords: Passwords = field(default_factory=Passwords)
    ring: Callable[[str, str], None] = field(default=no_bell)
    """Wake a worker for a job of a priority; never blocks, never fails."""
    counters: Counters = field(default_factory=Counters)
    """For limits."""
    forget_callers: Callable[[], None] = field(default=nobody_known)
    """Somebody may do less than before; to be called after the commit. Other processes notice in a second."""

    faults: Faults = field(default_factory=Faults)
    """That tests ask for."""
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """What ends before the database is closed: threads that write to it."""
    stir: Callable[[], None] = field(default=nobody_listens)
    """Something was committed here that somebody may listen for; never blocks, never fails."""

    is_private: bool = False
    """Whether this machine alone can reach our API, as far as `serve` knows: it listens on loopback."""

    listens_at: str = "http://127.0.0.1:8000"
    """Address of our own API, as `serve` has it, its workers, and the shell on its folder; others guess."""

    @property
    def url(self) -> str:
        """Address people reach us at, for links. Never taken from a request: its `Host` is anybody's word."""
        return (self.settings.public_url or self.listens_at).rstrip("/")

    @functools.cached_property
    def breakers(self) -> Breakers:
        """Before services that fail."""
        return Breakers(self.db)

    @property
    def data_dir(self) -> Path:
        """Folder of everything this installation keeps in files."""
        return self.settings.data_dir


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is acting, as far as they may."""

    organization_id: str | None
    scopes: frozenset[str] = frozenset()
    user_id: str | None = None  # of a login
    key_id: str | None = None  # of a key
    session_id: str | None = None  # of a login
    rank: int = 0  # of a login's role; a key has none
    is_operator: bool = False
    name: str = "nobody"  # where there is neither user nor key: `shell`, `system`

    @property
    def actor(self) -> str:
        """As audit records name them."""
        return self.key_id or self.user_id or self.name


@dataclass
class Look:
    """Somebody reading a row or two, which takes no session: `await look.own_row(Model, id)`."""

    runtime: Runtime
    caller: Caller
    address: str | None = None  # it came from

    @property
    def organization_id(self) -> str:
        """The organization that is acted in."""
        if self.caller.organization_id is None:
            raise ForbiddenError("this login is in no organization")
        return self.caller.organization_id

    @property
    def user_id(self) -> str:
        """The person who is acting."""
        if self.caller.user_id is None:
            raise ForbiddenError("this takes a person's login, not a key")
        return self.caller.user_id

    async def own_row(self, model: type[Owned], id: str) -> Owned:
        """The row of this organization with this id; see `Database.row`.

        Raises:
            NotFoundError: there is none.
        """
        return await model.row_for(self.runtime.db, self.organization_id, id)

    @contextlib.contextmanager
    def transaction(self) -> Generator[Act]:
        """Somebody who reads, doing something in a write transaction of its own."""
        with self.runtime.db.begin() as session:
            yield Act(self.runtime, self.caller, self.address, session=session)


@dataclass
class Act(Look):
    """Somebody doing something, in one transaction. What services take, whichever door it came through."""

    session: Session = field(kw_only=True)

    @contextlib.contextmanager
    def writing(self) -> Generator[Self]:
        """The same, in a write transaction of its own. For what must think before it writes, outside of one.

        A hashed password takes 50 ms: on SQLite nobody else could write meanwhile.
        """
        self.session.close()  # gives back the connection it read with
        with self.runtime.db.begin() as session:
            yield replace(self, session=session)

    def acting(self, caller: Caller) -> Self:
        """The same, done by somebody else: who has just signed up."""
        return replace(self, caller=caller)


def database_url(settings: Settings) -> str:
    """Where the database is: SQLite in the data folder unless told otherwise."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{settings.data_dir.absolute() / 'tldr.db'}"


def redis_url(settings: Settings) -> str | None:
    """Where limits are counted; None: in this process."""
    return settings.broker_url.get_secret_value() if settings.broker_url else None


@contextlib.contextmanager
def opened(settings: Settings, kinds: Kinds | None = None) -> Generator[Runtime]:
    """Open everything in `settings.data_dir`, which is made when missing, and close it again.

    Functions that are handed a session find the runtime in `session.info["runtime"]`: handing work in rings,
    and cancelling it tells its kind.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    secrets = Secrets.load_or_make(settings.data_dir)
    if settings.database_url is None:
        keep_private(settings.data_dir / "tldr.db")
    with contextlib.ExitStack() as stack:
        db = Database(database_url(settings))
        stack.callback(db.close)
        counters = Counters(redis_url(settings))
        stack.callback(counters.close)
        leases = Leases(ledger(db), settings.worker_lease_seconds)
        stack.callback(leases.close)
        links = Links(secrets.link_keys)
        storage = store_of(settings, links)
        stack.callback(storage.close)
        runtime = Runtime(
            settings=settings,
            db=db,
            policy=Policy.of(settings),
            secrets=secrets,
            vault=Vault(secrets.vault_keys),
            tokens=Tokens(secrets.jwt_keys),
            links=links,
            storage=storage,
            mailer=mailer_of(settings, settings.data_dir),
            counters=counters,
            kinds=kinds or {},
            leases=leases,
            faults=Faults(settings.fault, settings.data_dir / "faults"),
        )
        stack.enter_context(runtime.closing)
        db.info["runtime"] = runtime
        yield runtime
