"""The database: one transaction per request or task step, on SQLite or PostgreSQL.

    with db.begin() as session:      # one write transaction: commits when the block ends
        session.add(row)
        after_commit(session, ring)  # runs once the transaction is durable, never if it is not

    with db.read() as session:       # plain reads, each its own snapshot
        Key.get_for(session, organization_id, id)

Rows of an organization derive from `OrgOwned` and are reached by `of` and `get_for`, which take it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    JSON,
    Connection,
    DateTime,
    Dialect,
    Engine,
    ForeignKey,
    MetaData,
    Select,
    String,
    any_,
    bindparam,
    create_engine,
    event,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, class_mapper, mapped_column
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

from tldr_highlight.core.together import Together
from tldr_highlight.errors import DatabaseError, NotFoundError

if TYPE_CHECKING:
    from tldr_highlight.core.pulse import Pulse

T = TypeVar("T")

BUSY_SECONDS = 30
"""How long SQLite waits for another process's transaction; ours last milliseconds."""

CONNECT_SECONDS = 2
"""How long a connection may take, and the pool may be empty: then the answer is 503, not a hang."""

ROW_SECONDS = 2.0
"""How long PostgreSQL may take for a row by its id, for which it needs 0.0001."""

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as the numbers do


def new_id(prefix: str) -> str:
    """`prefix_` and 26 characters: 48 bits of milliseconds, 80 of chance; sorts by time."""
    return _id(prefix, time.time_ns() // 1_000_000, secrets.randbits(80))


def first_id(prefix: str, moment: datetime) -> str:
    """What sorts before every id that is made from `moment` on, and after those from before."""
    return _id(prefix, max(0, int(moment.timestamp() * 1000)), 0)


def id_after(prefix: str, when: datetime) -> str:
    """Above every id that was made until then, and below every one that is made later: for ranges by time."""
    return _id(prefix, max(0, int(when.timestamp() * 1000) + 1), 0)


def _id(prefix: str, milliseconds: int, chance: int) -> str:
    number = milliseconds << 80 | chance
    return f"{prefix}_" + "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A moment, stored in UTC with microseconds. Times without a zone are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse what has no zone; SQLite stores text, so that all of it must be in one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON document; None is SQL's NULL. PostgreSQL can search it and index it, and orders its members anew."""

OrderedJson = JSON(none_as_null=True)
"""A JSON document whose members stay in the order they were written in, for what people write and read."""


class Base(DeclarativeBase):
    """Base of everything that is stored."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        datetime: UtcTime,
        dict[str, Any]: Json,
        list[str]: Json,
        str: String(),
    }


class OrgOwned:
    """A row that belongs to an organization. Its only ways in take the organization."""

    id: Mapped[str]
    organization_id: Mapped[str] = mapped_column(
        ForeignKey("organizations.id", ondelete="CASCADE"), index=True
    )

    @classmethod
    def of(cls, organization_id: str) -> Select[Self]:
        """A select of this organization's rows."""
        return select(cls).where(cls.organization_id == organization_id)

    @classmethod
    def get_for(cls, session: Session, organization_id: str, id: str, *, lock: bool = False) -> Self:
        """This organization's row; another's is not found, like one that never was.

        Args:
            session: A session; of `begin()` where `lock` is asked for.
            organization_id: Whose it must be.
            id: Its id.
            lock: Keep other transactions from changing it until this one ends.

        Raises:
            NotFoundError: there is none.
        """
        query = cls.of(organization_id).where(cls.id == id)
        row = session.scalar(query.with_for_update() if lock else query)
        if row is None:
            raise NotFoundError("there is no such object in this organization")
        return row

    @classmethod
    async def row_for(cls, db: Database, organization_id: str, id: str) -> Self:
        """As `get_for`, from an event loop and without a session; see `Database.row`.

        Raises:
            NotFoundError: there is none.
        """
        row = await db.row(cls, id)
        if row is None or row.organization_id != organization_id:
            raise NotFoundError("there is no such object in this organization")
        return row


def before_commit(session: Session, call: Callable[[], None]) -> None:
    """Run `call` as the transaction's last act, with all locks that it has."""
    session.info.setdefault("before_commit", []).append(call)


def insert(session: Session, model: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say `on_conflict_do_…`, as both databases have it and SQLAlchemy's own has not."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(model)
    return postgresql.insert(model)


def after_commit(session: Session, call: Callable[[], None]) -> None:
    """Run `call` once the transaction is committed; calls run in order, and must not raise."""
    session.info.setdefault("after_commit", []).append(call)


class Database:
    """An open database. Safe to share between threads; not across a fork.

    Args:
        url: `sqlite:///path` or `postgresql://…`.
        pool_size: Connections for writing kept at most; as many as threads use it at once. Readers keep as
            many as ever read at once.
    """

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        parsed = make_url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        arguments: dict[str, Any] = (
            {"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False}
            if self.is_sqlite
            else {"connect_timeout": CONNECT_SECONDS}
        )
        self.engine: Engine = create_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS if self.is_sqlite else CONNECT_SECONDS,
            pool_pre_ping=False,
            connect_args=arguments,
        )
        self._reader: Engine = create_engine(
            parsed, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
        )
        self._pulse: Pulse | None = None
        self._idle: list[Connection] = []  # readers' connections between two reads
        self._lookups: dict[type[Any], _Lookup[Any]] = {}
        self._driver_error: type[Exception] = self._reader.dialect.loaded_dbapi.OperationalError
        if self.is_sqlite:
            event.listen(self._reader, "connect", _set_up_sqlite)
            event.listen(self._reader, "connect", _forbid_writing)
            event.listen(self.engine, "connect", _set_up_sqlite)
            event.listen(self.engine, "begin", _begin_immediate)
        else:
            self._watch()
        self.info: dict[str, Any] = {}
        """What `info` of each write transaction begins with, for functions that get its session alone."""
        # SQLite takes one writer at a time and lets others poll for it: between threads of ours a lock is
        # fairer and wakes at once.
        self._writing = threading.Lock() if self.is_sqlite else contextlib.nullcontext()

    def answer_requests(self) -> None:
        """From now on, give up a PostgreSQL that hangs: callers wait for us. Workers can wait for it."""
        if self._pulse is not None:
            self._pulse.watching = True

    def _watch(self) -> None:
        from tldr_highlight.core.pulse import Pulse  # noqa: PLC0415 - the driver is an extra

        self._pulse = pulse = Pulse()

        def connect(dialect: object, record: object, given: Any, named: Any) -> Any:
            return pulse.connect(*given, **named)

        for engine in (self.engine, self._reader):
            event.listen(engine, "do_connect", connect)

    @contextlib.contextmanager
    def begin(self) -> Generator[Session]:
        """One write transaction.

        Raises:
            DatabaseError: the database does not answer.
        """
        session = Session(self.engine, expire_on_commit=False, autoflush=True, info=dict(self.info))
        with _database_errors(), self._writing, session, session.begin():
            yield session
            for call in session.info.pop("before_commit", ()):
                call()
        for call in session.info.pop("after_commit", ()):
            call()

    @contextlib.contextmanager
    def read(self) -> Generator[Session]:
        """Plain reads: every statement sees what is committed when it starts.

        On SQLite nothing can be written. On PostgreSQL it could: to forbid it there takes a round trip for
        each read, or as many connections again. All tests run on both, so that SQLite finds it.

        Raises:
            DatabaseError: the database does not answer.
        """
        with (
            _database_errors(),
            self._for_reading() as bind,
            Session(bind, expire_on_commit=False, autoflush=False) as session,
        ):
            yield session

    async def row(self, model: type[T], id: str) -> T | None:
        """The row with this id, from an event loop. It is there to be read, and belongs to no session.

        SQLite answers at once. PostgreSQL is asked by a thread, once for all who ask at the same time.

        Raises:
            DatabaseError: the database does not answer.
        """
        lookup: _Lookup[T] | None = self._lookups.get(model)
        if lookup is None:
            lookup = self._lookups[model] = _Lookup(model, self._reader.dialect, self._fetched)
        if self.is_sqlite:
            return lookup.one(id)
        try:
            async with asyncio.timeout(ROW_SECONDS):
                return await lookup.together.ask(id)
        except TimeoutError:
            raise DatabaseError("the database does not answer", retry_after=2) from None

    def _fetched(self, statement: str, parameters: Any) -> tuple[Any, list[Any]]:
        """What the driver answers, columns and rows: half of what it takes to ask through SQLAlchemy."""
        with _database_errors(), self._for_reading() as connection:
            driver: Any = connection.connection.driver_connection
            try:
                cursor = driver.execute(statement, parameters)
                return cursor.description, cursor.fetchall()
            except self._driver_error as error:
                connection.invalidate()
                raise DatabaseError("the database does not answer", retry_after=2) from error

    @contextlib.contextmanager
    def _for_reading(self) -> Generator[Connection]:
        """A connection that reads, each statement by itself.

        It goes from reader to reader as it is: a pool looks after it at each turn, which costs half of a read
        on SQLite, and on PostgreSQL more than the read.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._reader.connect()
        try:
            yield connection
        except (DBAPIError, DatabaseError) as error:
            away = connection.invalidated or (isinstance(error, DBAPIError) and error.connection_invalidated)
            connection.close()
            if away:  # the server was away: for the others, too
                self._close_idle()
            raise
        finally:
            if not connection.closed:
                self._idle.append(connection)

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def close(self) -> None:
        """Close every connection."""
        for lookup in self._lookups.values():
            lookup.together.close()
        self._close_idle()
        self.engine.dispose()


class _Lookup(Generic[T]):
    """How a driver is asked for rows by their ids: what SQLAlchemy would say and do, found out once."""

    def __init__(
        self, model: type[T], dialect: Dialect, fetched: Callable[[str, Any], tuple[Any, list[Any]]]
    ) -> None:
        mapper = class_mapper(model)
        table, columns = mapper.local_table, mapper.local_table.columns
        ids: Any = any_(bindparam("id", type_=ARRAY(String)))
        query = select(table).where(columns["id"] == (bindparam("id") if dialect.name == "sqlite" else ids))
        self._statement = str(query.compile(dialect=dialect))
        self._dialect = dialect
        self._types = [column.type.dialect_impl(dialect) for column in columns]
        self._processors: list[Any] = []
        self._names = [mapper.get_property_by_column(column).key for column in columns]
        self._new: Callable[[], T] = mapper.class_manager.new_instance
        self._fetched = fetched
        self.together = Together(self.many, f"rows of {table}")

    def one(self, id: str) -> T | None:
        """The row with this id."""
        return next(self._rows((id,)), None)

    def many(self, ids: Sequence[str]) -> Sequence[T | None]:
        """The rows with these ids, in their order."""
        rows = {cast("Any", row).id: row for row in self._rows({"id": list(set(ids))})}
        return [rows.get(id) for id in ids]

    def _rows(self, parameters: Any) -> Iterator[T]:
        described, found = self._fetched(self._statement, parameters)
        if not self._processors:  # some depend on what the driver makes of a column
            kinds = zip(self._types, described, strict=True)
            self._processors = [type.result_processor(self._dialect, column[1]) for type, column in kinds]
        for values in found:
            row = self._new()
            columns = zip(self._names, self._processors, values, strict=True)
            row.__dict__.update({n: v if process is None else process(v) for n, process, v in columns})
            yield row


def _set_up_sqlite(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    busy = f"busy_timeout={BUSY_SECONDS * 1000}"
    for pragma in (busy, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _forbid_writing(connection: Any, record: object) -> None:
    connection.execute("PRAGMA query_only=ON")


def _begin_immediate(connection: Any) -> None:
    """Take the writer's place at once: a read that becomes a write fails where others wrote meanwhile."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def _database_errors() -> Generator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise DatabaseError("the database does not answer", retry_after=2) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseError("the connection to the database was lost", retry_after=2) from error
        raise
