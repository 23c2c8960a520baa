"""Work that survives: a row is the truth, a bell only wakes somebody.

    work = enqueue(session, "mail", key=mail.id)          # in the transaction that wants it
    while run_one(runtime, owner=name):                   # in a worker: claims, runs and ends a due row
        ...

`run_one` is the only way work gets done. A kind of work is a function that takes a `Job`:

    def run(job: Job[Runtime]) -> None:
        for part in parts_after(job.checkpoint):
            job.ask()                                     # cancelled, stopping, somebody else's by now?
            result = hard_work(part)                      # files first, under names that follow from the part
            with job.step() as session:                   # one transaction; refused when the lease is lost
                session.add(result)
                job.save(session, checkpoint={"part": part.number})

What it raises decides what becomes of the row: see `verdict`.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from sqlalchemy import ColumnElement, Index, Row, UniqueConstraint, and_, case, func, select, tuple_, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from tldr_highlight.core.db import Base, Database, after_commit, insert, new_id, now
from tldr_highlight.core.leases import Lease, Leases, Ledger
from tldr_highlight.core.telemetry import child_of, current_trace, logger, message_of, new_trace, tracing
from tldr_highlight.errors import (
    ConflictError,
    DatabaseError,
    Fate,
    InternalError,
    NotFoundError,
    PoisonError,
    TldrError,
)

log = logger(__name__)

BONUS = {
    "low": timedelta(0), "normal": timedelta(minutes=2), "high": timedelta(minutes=10), "soon": timedelta(0),
}  # fmt: skip
"""Head start of a priority: low work waits behind what comes within 10 minutes after it, and never longer."""

HEAVY, LIGHT = ("high", "normal", "low"), ("soon",)
"""Two lanes, with workers of their own: what keeps a core busy for minutes, and what mostly waits for others
(mails, deliveries) and must not wait for the former."""

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When held work runs: once somebody releases it."""

POISON = 3
"""Processes that a row may take along without getting further."""

JITTER = 0.2
"""Delays vary by a fifth, so that what failed together does not come back together."""

WAITS = (30.0, 15 * 60.0)
"""Seconds that work waits for a resource, the first time and at most; doubled each time."""

LONGEST_DELAY = 24 * 3600.0
"""Seconds; whatever a server asks for."""

DATABASE_PAUSE = 1.0
"""Seconds between two tries to store an end while the database is away."""

LONGEST_MESSAGE = 2000
"""Characters of an error that are stored."""


class Work(Base):
    """One unit of work. `state`: waiting → running → done | failed | cancelled; a retry goes back to waiting.

    Running work has a lease: until `lease_until` it is `owner`'s, and every write of its carries `fence`,
    which grows with each claim. `sort_at` is the time it could first run minus its priority's bonus. The
    three counts are of what happened since its checkpoint last changed: who gets further may fail again.
    """

    __tablename__ = "work"
    __table_args__ = (
        UniqueConstraint("kind", "key"),
        Index("ix_work_state_sort_at", "state", "sort_at"),
        Index("ix_work_state_lease_until", "state", "lease_until"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("job"))
    kind: Mapped[str]
    organization_id: Mapped[str | None] = mapped_column(index=True)
    object_id: Mapped[str | None] = mapped_column(index=True)  # what it is about
    key: Mapped[str | None]  # of one kind and key there is one row
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(default="waiting")
    priority: Mapped[str] = mapped_column(default="normal")  # low | normal | high | soon: which queue rings
    run_at: Mapped[datetime] = mapped_column(default=now)
    sort_at: Mapped[datetime] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0)  # that ended in an error which counts
    waits: Mapped[int] = mapped_column(default=0)  # for a resource
    crashes: Mapped[int] = mapped_column(default=0)  # that took their process along
    poked: Mapped[bool] = mapped_column(default=False)  # since it was claimed
    owner: Mapped[str | None]
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    cancel_asked: Mapped[bool] = mapped_column(default=False)
    checkpoint: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error_code: Mapped[str | None]  # of the last try; why it waits, or failed
    error_message: Mapped[str | None]
    traceparent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Kind:
    """What is to be done for rows of one kind, and how patiently."""

    name: str
    run: Callable[[Job[Any]], None]
    on_end: Callable[[Session, Any, Work, TldrError | None], None] | None = None
    """Called with (session, runtime, work, error) in the transaction that stores how it ended.

    `work.state` is done, failed (of the error) or cancelled.
    """

    tries: int = 3  # that fail without getting further; then the row has failed
    backoff_seconds: float = 5.0  # after the first; four times as long after each other, 15 minutes at most
    limit_seconds: float | None = 3600.0  # on the wall clock; whoever exceeds it ends its process
    every_seconds: float | None = None
    """Periodic: one row for ever, which waits this long after each end, be it good or bad."""


Kinds: TypeAlias = Mapping[str, Kind]
"""What a process can do, by name. Rows of other kinds are left to others."""


def kinds_of(*kinds: Kind) -> Kinds:
    """A registry."""
    return {kind.name: kind for kind in kinds}


class Workshop(Protocol):
    """What work needs of the runtime."""

    db: Database
    kinds: Kinds
    leases: Leases
    ring: Callable[[str, str], None]


AnyWorkshop = TypeVar("AnyWorkshop", bound=Workshop)


class Interruption(BaseException):
    """Ends a job in the middle. No `Exception`: who handles errors of one clip must not take it for one."""


class CancelledError(Interruption):
    """Somebody wants it to stop for good."""


class StoppingError(Interruption):
    """It is to go on later, from its checkpoint, in another process."""


class LaterError(Interruption):
    """Nothing failed, and there is more to do: in `seconds`, or once somebody pokes it; at once if it was.

    With an `error` it waits for the end of what others failed of: that is told, and its own tries and waits
    stay what they were.
    """

    def __init__(self, seconds: float, error: TldrError | None = None) -> None:
        super().__init__()
        self.seconds = seconds
        self.error = error


class LeaseLostError(Interruption):
    """It is somebody else's by now, or over. Nothing can be written any more."""


def clock(session: Session) -> datetime:
    """The database's time: leases are promises between hosts, whose clocks differ. SQLite is one host."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    return session.execute(select(func.clock_timestamp())).scalar_one()


# --- handing in ----------------------------------------------------------------------------------------


def enqueue(
    session: Session,
    kind: str,
    *,
    id: str | None = None,
    organization_id: str | None = None,
    object_id: str | None = None,
    key: str | None = None,
    payload: dict[str, Any] | None = None,
    run_at: datetime | None = None,
    priority: str = "normal",
) -> Work:
    """Hand in work as part of the caller's transaction; a worker is rung once that is committed.

    Of one kind and `key` there is one row: where there is one already, in whatever state, it is returned as
    it is. `run_at` is now unless given; `NEVER` holds it until `release`. The row remembers its trace.
    """
    at = clock(session)
    run_at = run_at or at
    adding = (
        insert(session, Work)
        .values(
            id=id or new_id("job"), kind=kind, organization_id=organization_id, object_id=object_id, key=key,
            payload=payload or {}, run_at=run_at, sort_at=run_at - BONUS[priority], priority=priority,
            traceparent=current_trace() or new_trace(),
        )
        .on_conflict_do_nothing(index_elements=[Work.kind, Work.key])
        .returning(Work)
    )  # fmt: skip
    added = session.scalar(adding)
    if added is None:
        return session.scalars(select(Work).where(Work.kind == kind, Work.key == key)).one()
    if run_at <= at:
        _ring_after(session, added)
    return added


def get(session: Session, id: str, *, lock: bool = False) -> Work:
    """A row; with `lock` nobody else changes it until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    query = select(Work).where(Work.id == id)
    work = session.scalar(query.with_for_update() if lock else query)
    if work is None:
        raise NotFoundError("there is no such job")
    return work


def cancel(session: Session, id: str, *, at_once: bool = False) -> Work:
    """Stop work for good: at once while it waits, within seconds while it runs; ended work stays as it is.

    With `at_once` what runs is over, too, when this commits: whoever works on it can store nothing any more.
    """
    work = get(session, id, lock=True)
    if work.state == "waiting" or (work.state == "running" and at_once):
        runtime = cast(Workshop, session.info["runtime"])
        kind = runtime.kinds[work.kind]
        _store(session, runtime, work, kind.on_end, Ending("cancelled"))
    elif work.state == "running":
        work.cancel_asked = True
    return work


def retry(session: Session, id: str, *, hold: bool = False) -> Work:
    """Let failed or cancelled work go on from its checkpoint, with all its tries; waiting work waits no more.

    With `hold` it goes on once somebody releases it.

    Raises:
        ConflictError: it is running, or done.
    """
    work = get(session, id, lock=True)
    if work.state in {"running", "done"}:
        raise ConflictError(f"the job is {work.state}: there is nothing to try again")
    if work.state != "waiting":
        work.attempts = work.waits = work.crashes = 0
        work.cancel_asked = False
        work.state, work.ended_at = "waiting", None
    if hold:
        work.run_at = NEVER
    else:
        work.run_at = clock(session)
        _ring_after(session, work)
    return work


def release(session: Session, id: str) -> None:
    """Let held work begin, in the place that it has by when it was handed in. Others are left as they are."""
    held = and_(Work.id == id, Work.state == "waiting", Work.run_at == NEVER)
    work = session.scalar(select(Work).where(held).with_for_update())
    if work is not None:
        work.run_at = clock(session)
        work.sort_at = work.created_at - BONUS[work.priority]
        _ring_after(session, work)


def poke(session: Session, kind: str, key: str) -> None:
    """Let work that ends with `LaterError` look again, now or right after it ends.

    The row stays locked until the caller's transaction ends: so a run that is about to end waits for what the
    caller stores, or sees that it was poked.
    """
    work = session.scalar(select(Work).where(Work.kind == kind, Work.key == key).with_for_update())
    if work is not None and work.state == "running":
        work.poked = True
    elif work is not None and work.state == "waiting":
        work.run_at = clock(session)
        work.sort_at = work.run_at - BONUS[work.priority]
        _ring_after(session, work)


def _ring_after(session: Session, work: Work) -> None:
    runtime = cast(Workshop | None, session.info.get("runtime"))
    if runtime is not None:
        id, priority = work.id, work.priority
        after_commit(session, lambda: runtime.ring(id, priority))


def start_periodic(runtime: Workshop) -> None:
    """See to it that each periodic kind has its row; workers do so when they start."""
    with runtime.db.begin() as session:
        for kind in runtime.kinds.values():
            if kind.every_seconds is not None:
                enqueue(session, kind.name, key="periodic", priority="soon")


# --- leases --------------------------------------------------------------------------------------------


def ledger(db: Database) -> Ledger:
    """The leases in `db`, for `Leases`."""

    def renew(leases: Iterable[Lease], seconds: float) -> None:
        leases = list(leases)
        with db.begin() as session:
            # Rows locked by a step of their own job are alive; waiting for one would hold up the others.
            mine = select(Work.id).where(_held(leases)).with_for_update(skip_locked=True)
            until = clock(session) + timedelta(seconds=seconds)
            _update(session, Work.id.in_(mine.scalar_subquery()), lease_until=until)
            known = {row[0]: row for row in session.execute(_KNOWN.where(Work.id.in_(_ids(leases))))}
        for lease in leases:
            _, fence, state, cancel_asked = known.get(lease.work_id, (None, None, None, None))
            lease.lost = (fence, state) != (lease.fence, "running")
            lease.cancel_asked = bool(cancel_asked)

    def give_back(leases: Iterable[Lease], to_blame: Iterable[Lease]) -> None:
        with db.begin() as session:
            for some, crashes in ((leases, 0), (to_blame, 1)):
                free = select(Work.id).where(_held(some)).with_for_update(skip_locked=True)
                which = Work.id.in_(free.scalar_subquery())
                _update(session, which, **_FREE, crashes=Work.crashes + crashes)

    return Ledger(renew, give_back)


_KNOWN = select(Work.id, Work.fence, Work.state, Work.cancel_asked)
_FREE: dict[str, Any] = {"state": "waiting", "owner": None, "lease_until": None}


def _ids(leases: Iterable[Lease]) -> list[str]:
    return [lease.work_id for lease in leases]


def _held(leases: Iterable[Lease]) -> ColumnElement[bool]:
    """Rows that are still held by these leases: a fence is given to a row once."""
    pairs = [(lease.work_id, lease.fence) for lease in leases]
    return and_(tuple_(Work.id, Work.fence).in_(pairs), Work.state == "running")


def _update(session: Session, which: ColumnElement[bool], **values: Any) -> None:
    session.execute(update(Work).where(which).values(values).execution_options(synchronize_session=False))


def void_leases(session: Session, owner_prefix: str) -> int:
    """Take back what dead processes held, whose owners begin so; say how much. Each row crashed once more."""
    # Not LIKE, whose idea of equal letters differs between databases.
    theirs = and_(func.substr(Work.owner, 1, len(owner_prefix)) == owner_prefix, Work.state == "running")
    voiding = update(Work).where(theirs).values(_FREE | {"crashes": Work.crashes + 1}).returning(Work.id)
    return len(session.scalars(voiding.execution_options(synchronize_session=False)).all())


# --- claiming ------------------------------------------------------------------------------------------


def due(
    runtime: Workshop,
    *,
    suspects: bool | None = None,
    limit: int = 100,
    priorities: Iterable[str] | None = None,
) -> list[Row[str, str]]:
    """(id, priority) of what could be claimed now, `limit` of each sort; the others as in `run_one`."""
    ours = Work.kind.in_(runtime.kinds)
    if priorities is not None:
        ours = and_(ours, Work.priority.in_(priorities))
    with runtime.db.read() as session:
        return [
            row
            for which in _due(runtime, clock(session), suspects)
            for row in session.execute(
                select(Work.id, Work.priority).where(which, ours).order_by(Work.sort_at).limit(limit)
            )
        ]


def _due(runtime: Workshop, at: datetime, suspects: bool | None) -> Iterator[ColumnElement[bool]]:
    """Which rows may be claimed, one condition for each sort, so that an index serves each."""
    if suspects is not False and runtime.leases.may_judge:
        yield and_(Work.state == "running", Work.lease_until < at)
    waiting = and_(Work.state == "waiting", Work.run_at <= at)
    if suspects is None:
        yield waiting
    else:
        yield and_(waiting, Work.crashes > 0 if suspects else Work.crashes == 0)


def _claim(
    runtime: Workshop, owner: str, id: str | None, suspects: bool | None, priorities: Iterable[str] | None
) -> Work | None:
    """Take the first due row, in one statement: whoever selects first and updates then takes others' too."""
    with runtime.db.begin() as session:
        at = clock(session)
        for which in _due(runtime, at, suspects):
            first = select(Work.id).where(which, Work.kind.in_(runtime.kinds))
            if id is not None:
                first = first.where(Work.id == id)
            if priorities is not None:
                first = first.where(Work.priority.in_(priorities))
            first = first.order_by(Work.sort_at).limit(1).with_for_update(skip_locked=True)
            claiming = (
                update(Work)
                .where(Work.id == first.scalar_subquery())
                .values(
                    state="running",
                    poked=False,
                    owner=owner,
                    fence=Work.fence + 1,
                    lease_until=at + timedelta(seconds=runtime.leases.seconds),
                    crashes=case((Work.state == "running", Work.crashes + 1), else_=Work.crashes),
                    started_at=func.coalesce(Work.started_at, at),
                )
                .returning(Work)
            )
            work = session.scalar(claiming.execution_options(synchronize_session=False))
            if work is not None:
                return work
    return None


# --- running -------------------------------------------------------------------------------------------


class Job(Generic[AnyWorkshop]):
    """A row that is being worked on, as its kind's function sees it. For one thread."""

    def __init__(self, runtime: AnyWorkshop, work: Work, lease: Lease) -> None:
        self.runtime = runtime
        self.id = work.id
        self.kind = work.kind
        self.organization_id = work.organization_id
        self.object_id = work.object_id
        self.payload = work.payload
        self.checkpoint = work.checkpoint
        """What was last saved; empty at first."""
        self.attempt = work.attempts + 1
        self.crashes = work.crashes
        self.fence = work.fence
        self._lease = lease
        self._work = work  # in the session of the current step

    def ask(self) -> None:
        """Ask whether to go on; costs nothing, so ask often.

        Raises:
            CancelledError: it was cancelled.
            StoppingError: the process is to end, or the job must move to another.
            LeaseLostError: somebody else does it.
        """
        if self._lease.lost:
            raise LeaseLostError
        if self._lease.cancel_asked:
            raise CancelledError
        if self._lease.cleared or self.runtime.leases.stopping.is_set():
            raise StoppingError

    @contextlib.contextmanager
    def step(self) -> Generator[Session]:
        """One transaction of this job: what is written in it is written under our lease, or not at all.

        Raises:
            LeaseLostError: it is not ours any more.
            DatabaseError: the database does not answer.
        """
        with self.runtime.db.begin() as session:
            self._work = self.fenced(session)
            yield session

    def save(
        self,
        session: Session,
        *,
        checkpoint: dict[str, Any] | None = None,
        progress: dict[str, Any] | None = None,
        further: bool = True,
    ) -> None:
        """Store how far it has come, in a step, together with what it vouches for.

        A checkpoint that differs from the last is taken as proof of getting further, unless `further` says
        that it is none: failures before it do not count any more. So leave clocks and counts of tries out.
        """
        if progress is not None:
            self._work.progress = progress
        if checkpoint is None or checkpoint == self._work.checkpoint:
            return
        self._work.checkpoint = checkpoint
        suspect = further and self._lease.suspect and self._work.crashes > 0
        if further:
            self._work.attempts = self._work.waits = self._work.crashes = 0
        after_commit(session, lambda: self._advanced(checkpoint, suspect))

    def _advanced(self, checkpoint: dict[str, Any], suspect: bool) -> None:
        self.checkpoint = checkpoint
        self._lease.cleared |= suspect

    def fenced(self, session: Session) -> Work:
        """The row, ours and locked until the transaction ends: nobody can claim it in between."""
        mine = and_(_held([self._lease]), Work.owner == self._lease.owner)
        work = session.scalar(select(Work).where(mine).with_for_update())
        if work is None:
            raise LeaseLostError
        self._lease.cancel_asked |= work.cancel_asked  # sooner than the next renewal tells
        return work


def run_one(
    runtime: Workshop,
    *,
    owner: str,
    id: str | None = None,
    suspects: bool | None = False,
    priorities: Iterable[str] | None = None,
) -> bool:
    """Claim one due row and run it until it ends or waits again. False: there was none.

    Args:
        runtime: What is configured; `runtime.leases` renews the lease meanwhile.
        owner: Who claims it; begins with what names the process, for `void_leases`.
        id: Only this row.
        suspects: False leaves out what may have killed a process, or may have died with one; True takes
        nothing
            else (for a process that runs one job at a time); None takes both.
        priorities: Only these.

    Raises:
        DatabaseError: the database does not answer, so that nothing was claimed.
    """
    try:
        work = _claim(runtime, owner, id, suspects, priorities)
    except DatabaseError:
        runtime.leases.missed()
        raise
    if work is None:
        return False
    kind = runtime.kinds[work.kind]
    ends = None if kind.limit_seconds is None else time.monotonic() + kind.limit_seconds
    lease = Lease(work.id, owner, work.fence, ends, suspect=suspects is True)
    about = {"job": work.id, "kind": work.kind, "organization": work.organization_id, "fence": work.fence}
    with tracing(child_of(work.traceparent), **about), runtime.leases.held(lease):
        job = Job(runtime, work, lease)
        raised = raised_by(lambda: _run(kind, job, work))
        _conclude(kind, job, raised)
    return True


def _run(kind: Kind, job: Job[Any], work: Work) -> None:
    if work.crashes >= POISON:
        raise PoisonError(f"it ended the process that worked on it {work.crashes} times")
    if work.cancel_asked:
        raise CancelledError
    kind.run(job)


def raised_by(call: Callable[[], None]) -> BaseException | None:
    """What `call` raises, as a value: for what has to go on after a mistake of ours."""
    try:
        call()
    except (Exception, Interruption) as error:  # noqa: BLE001 - the one place where failures become fates
        return error
    return None


def _conclude(kind: Kind, job: Job[Any], raised: BaseException | None) -> None:
    """Store the end of a run, for as long as that takes, unless the lease is lost or the process is to end.

    When the kind's `on_end` fails, the job has failed of that; when it fails again, it is left out.
    """
    on_end = kind.on_end
    while True:
        failure = raised_by(lambda: _store_end(kind, job, raised, on_end))  # noqa: B023 - called at once
        if failure is None:
            return
        if isinstance(failure, LeaseLostError):
            log.warning("the lease was lost: what this job did since its last step is not stored")
            return
        if isinstance(failure, DatabaseError):
            job.runtime.leases.missed()
            if job.runtime.leases.stopping.wait(DATABASE_PAUSE):
                return
        elif raised is None:
            raised = failure
        else:
            log.error("the end could not be told", exc_info=failure)
            on_end = None


def _store_end(kind: Kind, job: Job[Any], raised: BaseException | None, on_end: OnEnd) -> None:
    if isinstance(raised, LeaseLostError):
        raise raised
    with job.step() as session:
        work = job.fenced(session)
        ending = verdict(kind, work.attempts, work.waits, raised)
        if ending.state == "waiting" and work.cancel_asked:
            ending = Ending("cancelled")  # now: its next turn may be 15 minutes away
        if raised is not None and isinstance(ending.error, InternalError):
            log.error("work failed of a mistake of ours", exc_info=raised)
        _store(session, job.runtime, work, on_end, ending)
    paused = ending.later or (work.state == "waiting" and work.error_code is None)  # with each event, say
    tell = log.debug if paused else log.info
    said = {} if ending.error is None else {"reason": ending.error.code, "error": str(ending.error)}
    tell(f"work is {work.state}", **said, attempts=work.attempts, run_at=work.run_at)


OnEnd: TypeAlias = Callable[[Session, Any, Work, TldrError | None], None] | None


# --- what becomes of it --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """How a run ended: the row's next state and, where it waits, for how many seconds."""

    state: str
    error: TldrError | None = None
    delay: float = 0.0
    attempts: int = 0  # to be added
    waits: int = 0
    later: bool = False  # by its own wish


def verdict(kind: Kind, attempts: int, waits: int, raised: BaseException | None) -> Ending:
    """What becomes of work that raised this, after so many tries and waits without getting further.

    - transient: again, after 5 s, 20 s, … or when the error says; failed when the tries are used up
    - resource: again, after 30 s, 1 min, … 15 min, for as long as it takes
    - permanent: failed
    - what nobody foresaw: a mistake of ours, transient
    - the database was away: again at once, which costs no try
    - `LaterError`: again when it says, with all its tries; or, with an error, with those it had
    """
    if raised is None:
        ending = Ending("done")
    elif isinstance(raised, LaterError):
        anew = {} if raised.error else {"attempts": -attempts, "waits": -waits}
        ending = Ending("waiting", raised.error, raised.seconds, **anew, later=True)
    elif isinstance(raised, CancelledError):
        ending = Ending("cancelled")
    elif isinstance(raised, Interruption):
        ending = Ending("waiting")
    elif isinstance(raised, DatabaseError):
        ending = Ending("waiting", raised, _spread(raised.retry_after or DATABASE_PAUSE))
    else:
        ending = _fate(kind, attempts, waits, raised if isinstance(raised, TldrError) else _unforeseen())
    if kind.every_seconds is not None and ending.state in {"done", "failed"}:
        return Ending("waiting", ending.error, _spread(kind.every_seconds), attempts=-attempts, waits=-waits)
    return ending


def _unforeseen() -> TldrError:
    return InternalError("something went wrong on our side")


def _fate(kind: Kind, attempts: int, waits: int, error: TldrError) -> Ending:
    if error.fate is Fate.RESOURCE:
        return Ending("waiting", error, _delay(error, WAITS[0] * 2 ** min(waits, 10)), waits=1)
    if error.fate is Fate.TRANSIENT and attempts + 1 < kind.tries:
        return Ending("waiting", error, _delay(error, kind.backoff_seconds * 4**attempts), attempts=1)
    return Ending("failed", error, attempts=1)


def _delay(error: TldrError, seconds: float) -> float:
    if error.retry_after is not None:  # not before: others were told the same moment
        return min(error.retry_after, LONGEST_DELAY) * (1 + secrets.SystemRandom().uniform(0, JITTER))
    return _spread(min(seconds, WAITS[1]))


def _spread(seconds: float) -> float:
    return seconds * (1 + secrets.SystemRandom().uniform(-JITTER, JITTER))


def _store(session: Session, runtime: Workshop, work: Work, on_end: OnEnd, ending: Ending) -> None:
    at = clock(session)
    work.state = ending.state
    work.owner = work.lease_until = None
    work.attempts += ending.attempts
    work.waits += ending.waits
    work.error_code = ending.error.code if ending.error else None
    work.error_message = message_of(ending.error)[:LONGEST_MESSAGE] if ending.error else None
    if ending.state == "waiting":
        work.run_at = NEVER if ending.delay == math.inf else at + timedelta(seconds=ending.delay)
        if ending.later:
            work.run_at = at if work.poked else work.run_at
            work.sort_at = work.run_at - BONUS[work.priority]  # or claims would walk past all who wait
        if work.run_at <= at:
            _ring_after(session, work)
        return
    work.ended_at = at
    session.flush()
    if on_end is not None:
        on_end(session, runtime, work, ending.error)
