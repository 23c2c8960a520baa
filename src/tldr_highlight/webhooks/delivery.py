"""Events on their way: the work of one endpoint, and the threads of a process that send for all of them.

    Courier().kind()        the work; one row for each endpoint

A run claims what is due for its endpoint, hands it to threads that send, and ends: it waits for answers only
while there is more to send and the endpoint is quick. So endpoints that hang, however many, keep neither
other endpoints nor mails waiting. What came back is stored by a thread of its own, some of it at once. A
claim is in the row: whatever a process takes along when it dies is due again `lost_after` later.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, func, or_
from sqlalchemy.orm import Session

from tldr_highlight.core.db import first_id, now
from tldr_highlight.core.egress import Egress
from tldr_highlight.core.sweep import Rule
from tldr_highlight.core.telemetry import logger, new_trace, trace_id
from tldr_highlight.core.work import Job, Kind, LaterError, Work, clock, raised_by
from tldr_highlight.errors import DatabaseError, NotFoundError, TldrError
from tldr_highlight.runtime import Runtime
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.ownership import require_own
from tldr_highlight.webhooks.events import DELIVER, deliver, wanted
from tldr_highlight.webhooks.models import Attempt, Delivery, Event, Webhook
from tldr_highlight.webhooks.outcomes import disable, give_up, store
from tldr_highlight.webhooks.sending import (
    CHALLENGE,
    INTERRUPTED,
    UNSENT,
    Outcome,
    Parcel,
    body_of,
    encoded,
    send,
)
from tldr_highlight.webhooks.signing import challenge

log = logger(__name__)

SENDERS = 256
"""Threads of a process that send at most; each is there once it was needed, and takes 50 kB."""

SENDERS_OF_UNPROVEN = SENDERS * 3 // 4
"""Of them, for endpoints that did not just answer well: the others always find one."""

CHAINS = 8
"""Rows that a claim is sent in, at the same time. Those of earlier ones may be on their way: see `WINDOW`."""

WINDOW = 64
"""Deliveries of an endpoint on their way at most; one at first, twice as many after all went well."""

SLICE_SECONDS = 2.0
"""For one endpoint's backlog, before others have their turn."""

PATIENCE_SECONDS = 0.25
"""For an endpoint with more to send to answer some of it; else its turn is over until it does."""

LOOK_SECONDS = 10.0
"""For an endpoint with more to send, whose answers poke it: in case nothing of it was on its way."""

SLOW_MILLISECONDS = 1000
"""An answer after that is none to send more at once for."""

MISSED = 500
"""Events that are looked at in one transaction for an endpoint that missed some."""

OUTCOMES = 100
"""Outcomes in one transaction; 10 ms on SQLite."""

CLOSE_SECONDS = 3.0
"""For what is on its way when the process ends."""


def start_within(settings: Settings) -> float:
    """Seconds after its claim, 5, in which an attempt is begun, or else not."""
    return settings.webhook_timeout_seconds / 3


def lost_after(settings: Settings) -> timedelta:
    """From a claim until its process must have died, 25 s: begun late, answered late, and stored late."""
    return timedelta(seconds=2 * start_within(settings) + settings.webhook_timeout_seconds)


class Courier:
    """What sends in one process: made before a fork, its threads begin with its first run."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._desk: _Desk | None = None

    def kind(self) -> Kind:
        """The work of endpoints. It fails of mistakes of ours alone, and then goes on trying."""
        return Kind(DELIVER, self.run, on_end=_stuck, tries=1_000_000, limit_seconds=120)

    def run(self, job: Job[Runtime]) -> None:
        """Send what is due for an endpoint; goes on when more is.

        Raises:
            LaterError: it goes on later. NotFoundError: the endpoint is gone, or another organization's.
        """
        require_own(job, Webhook)
        desk = self._open(job.runtime)
        ends = time.monotonic() + SLICE_SECONDS
        while True:
            claimed = _claim(job, desk.room(_object(job)))
            desk.take(claimed.parcels)
            if claimed.missed:
                _add_missed(job)
            elif not claimed.more:
                raise LaterError(claimed.wait)
            if time.monotonic() > ends:
                raise LaterError(0.0)
            job.ask()
            if not claimed.missed and not desk.moved(_object(job)):
                raise LaterError(min(claimed.wait, LOOK_SECONDS))

    def _open(self, runtime: Runtime) -> _Desk:
        with self._starting:
            if self._desk is None or self._desk.runtime is not runtime:
                self._desk = _Desk(runtime)
                runtime.closing.callback(self._desk.close)
            return self._desk


def _object(job: Job[Runtime]) -> str:
    assert job.object_id
    return job.object_id


# --- claiming ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Claimed:
    parcels: Sequence[Parcel]
    missed: bool  # it missed events that are not among its deliveries yet
    more: bool  # is due, and was left where it is
    wait: float  # seconds until the next is due


def _claim(job: Job[Runtime], room: int) -> _Claimed:
    """Take what is due: `room` at most are on their way then, one of each stream."""
    with job.step() as session:
        assert job.organization_id
        webhook = Webhook.get_for(session, job.organization_id, _object(job))
        at = clock(session)
        mine = _open_deliveries(webhook)
        if mine is None:
            return _Claimed([], missed=False, more=False, wait=math.inf)
        sending = session.execute(
            mine.where(Delivery.state == "sending", Delivery.due_at > at).with_only_columns(
                Delivery.stream_id
            )
        )
        busy = [stream_id for (stream_id,) in sending]
        rows = _due(session, mine, at, set(filter(None, busy)), max(0, room - len(busy)))
        parcels = _packed(session, job.runtime, webhook, rows, at)
        if any(row.attempts == 1 for row in rows):
            job.save(session, checkpoint={"delivery": max(row.id for row in rows if row.attempts == 1)})
        session.flush()
        more = session.scalar(
            mine.with_only_columns(Delivery.id)
            .where(Delivery.state == "waiting", Delivery.due_at <= at)
            .limit(1)
        )
        due = mine.with_only_columns(func.min(Delivery.due_at)).where(Delivery.due_at > at)
        following = session.scalar(due)
        missed = webhook.status == "active" and webhook.missed_after is not None
    wait = math.inf if following is None else (following - at).total_seconds()
    return _Claimed(parcels, missed, more is not None, wait)


def _open_deliveries(webhook: Webhook) -> Select[Delivery] | None:
    """Those that have not ended and may be sent: to an endpoint that is not verified, the challenge alone."""
    mine = Delivery.of(webhook.organization_id).where(
        Delivery.webhook_id == webhook.id, Delivery.state.in_(("waiting", "sending"))
    )
    if webhook.status == "active":
        return mine
    if webhook.status == "pending_verification":
        return mine.where(Delivery.event_type == CHALLENGE)
    return None


def _due(
    session: Session, mine: Select[Delivery], at: datetime, busy: set[str], room: int
) -> Sequence[Delivery]:
    if not room:
        return []
    free = mine.where(or_(Delivery.stream_id.is_(None), Delivery.stream_id.not_in(busy))) if busy else mine
    query = (
        free.where(Delivery.due_at <= at)
        .order_by(Delivery.due_at, Delivery.sequence, Delivery.event_id)
        .limit(room)
    )
    return session.scalars(query.with_for_update(skip_locked=True)).all()


def _packed(
    session: Session, runtime: Runtime, webhook: Webhook, rows: Sequence[Delivery], at: datetime
) -> list[Parcel]:
    """Mark rows as on their way, and pack them. Those whose event is not kept any more have failed."""
    if not rows:
        return []
    query = Event.of(webhook.organization_id).where(Event.id.in_([row.event_id for row in rows]))
    events = {event.id: event for event in session.scalars(query)}
    secrets = _secrets(runtime, webhook, at)
    parcels: list[Parcel] = []
    for row in rows:
        if row.state == "sending":
            _note_lost(session, row, at)
        event = events.get(row.event_id)
        asked = challenge(secrets[0], row.event_id) if row.event_type == CHALLENGE else None
        if event is None and asked is None:
            row.state, row.ended_at = "failed", at
            continue
        row.state, row.due_at = "sending", at + lost_after(runtime.settings)
        row.attempts += 1
        body = body_of(event) if event else _challenge_body(row, webhook, asked)
        parcels.append(
            Parcel(
                organization_id=row.organization_id,
                webhook_id=row.webhook_id,
                delivery_id=row.id,
                number=row.attempts,
                event_id=row.event_id,
                stream_id=row.stream_id,
                url=webhook.url,
                secrets=secrets,
                body=body,
                traceparent=_traceparent(event),
                answer=asked,
                claimed=time.monotonic(),
            )
        )
    return parcels


def _traceparent(event: Event | None) -> str:
    """A new span of the trace that the event happened in."""
    trace = new_trace()
    return (
        trace if event is None or event.trace_id is None else trace.replace(trace_id(trace), event.trace_id)
    )


def _secrets(runtime: Runtime, webhook: Webhook, at: datetime) -> tuple[str, ...]:
    """The secret, and the one before while that is good still."""
    sealed = [webhook.secret]
    if (
        webhook.old_secret is not None
        and webhook.old_secret_until is not None
        and webhook.old_secret_until > at
    ):
        sealed.append(webhook.old_secret)
    return tuple(runtime.vault.open(secret) for secret in sealed)


def _challenge_body(row: Delivery, webhook: Webhook, asked: str | None) -> bytes:
    return encoded(
        id=row.event_id,
        type=CHALLENGE,
        sequence=None,
        created_at=row.created_at,
        organization_id=row.organization_id,
        trace_id=None,
        data={"webhook_id": webhook.id, "challenge": asked},
    )


def _note_lost(session: Session, row: Delivery, at: datetime) -> None:
    """The process that sent it died: nobody knows whether it arrived."""
    session.add(
        Attempt(
            organization_id=row.organization_id,
            delivery_id=row.id,
            webhook_id=row.webhook_id,
            number=row.attempts,
            error_code=INTERRUPTED,
            milliseconds=0,
            created_at=at,
        )
    )


def _add_missed(job: Job[Runtime]) -> None:
    """Have some of what an endpoint missed delivered to it; a later run goes on.

    Not in a step of the job: whoever stores outcomes locks endpoints first and their work last.
    """
    with job.runtime.db.begin() as session:
        assert job.organization_id
        webhook = Webhook.get_for(session, job.organization_id, _object(job), lock=True)
        if webhook.status != "active" or webhook.missed_after is None:
            return
        later = and_(Event.id > webhook.missed_after, Event.id <= (webhook.missed_until or ""))
        query = Event.of(webhook.organization_id).where(later).order_by(Event.id).limit(MISSED)
        events = session.scalars(query).all()
        _deliver_again(session, webhook, [e for e in events if wanted(webhook.events, e.type)])
        webhook.missed_after = events[-1].id if len(events) == MISSED else None


def _deliver_again(session: Session, webhook: Webhook, events: Sequence[Event]) -> None:
    query = Delivery.of(webhook.organization_id).where(
        Delivery.webhook_id == webhook.id, Delivery.event_id.in_([event.id for event in events])
    )
    known = {delivery.event_id: delivery for delivery in session.scalars(query)}
    at = clock(session)
    for event in events:
        delivery = known.get(event.id)
        if delivery is not None and delivery.state == "failed":
            again(delivery, at)
        elif delivery is None and event.type not in NEVER_MISSED:
            deliver(session, event, webhook)


NEVER_MISSED = {"webhook.test"}
"""Events that are for one endpoint alone."""


def again(delivery: Delivery, at: datetime) -> None:
    """Have a delivery tried once more, as if it were new."""
    delivery.state, delivery.due_at, delivery.failures, delivery.ended_at = "waiting", at, 0, None


# --- sending -------------------------------------------------------------------------------------------


class _Desk:
    """The threads of a process: many that send, one that stores. Safe to use from several threads."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        seconds = runtime.settings.webhook_timeout_seconds
        policy = replace(
            runtime.policy,
            connect_timeout=seconds / 3,
            read_timeout=seconds,
            wall_seconds=seconds,
            idle=SENDERS,
        )
        self._egress = Egress(policy)
        self._start_within = start_within(runtime.settings)
        self._chains: queue.SimpleQueue[Sequence[Parcel] | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._on_the_way = Counter[str]()  # endpoint -> deliveries of it that are not stored yet
        self._windows: dict[str, int] = {}  # endpoint -> how many it may have; one unless it is here
        self._senders = 0  # threads …
        self._busy = 0  # … and chains that wait for one or have one
        self._closing = threading.Event()
        self._recorder = threading.Thread(target=self._record_forever, name="webhook-recorder", daemon=True)
        self._recorder.start()

    def room(self, webhook_id: str) -> int:
        """How many deliveries an endpoint may have on their way now."""
        with self._changed:
            window = self._windows.get(webhook_id, 1)
            senders = SENDERS if window > 1 else SENDERS_OF_UNPROVEN
            return 0 if self._closing.is_set() or self._busy >= senders else window

    def take(self, parcels: Sequence[Parcel]) -> None:
        """Send them; those of one stream one after another."""
        chains = _chains(parcels)
        with self._changed:
            self._on_the_way.update(parcel.webhook_id for parcel in parcels)
            self._busy += len(chains)
            missing = max(0, min(SENDERS, self._busy) - self._senders)
            self._senders += missing
        for chain in chains:
            self._chains.put(chain)
        for _ in range(missing):
            threading.Thread(target=self._send_forever, name="webhook-sender", daemon=True).start()

    def moved(self, webhook_id: str) -> bool:
        """Wait until half of what an endpoint has is stored; False: nothing was, within `PATIENCE_SECONDS`.

        An endpoint that did not just answer well is not waited for.
        """
        with self._changed:
            before = self._on_the_way[webhook_id]
            if not before or webhook_id not in self._windows:
                return False

            def is_half() -> bool:
                return self._on_the_way[webhook_id] <= before // 2

            return self._changed.wait_for(is_half, PATIENCE_SECONDS) or self._on_the_way[webhook_id] < before

    def close(self) -> None:
        """Give what is on its way a while; then it is as if its attempts had been cut off."""
        end = time.monotonic() + CLOSE_SECONDS
        self._closing.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._on_the_way.total(), CLOSE_SECONDS)
        self._egress.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._on_the_way.total(), 1.0)
            senders = self._senders
        self._outcomes.put(None)
        for _ in range(senders):
            self._chains.put(None)
        self._recorder.join(max(1.0, end - time.monotonic()))

    def _send_forever(self) -> None:
        while (chain := self._chains.get()) is not None:
            is_well = True
            for parcel in chain:
                outcome = self._sent(parcel) if is_well else Outcome(parcel, now(), UNSENT)
                is_well = outcome.error is None and outcome.milliseconds <= SLOW_MILLISECONDS
                self._outcomes.put(outcome)
            with self._changed:
                self._busy -= 1

    def _sent(self, parcel: Parcel) -> Outcome:
        """Send a parcel, unless it is too late for that."""
        if self._closing.is_set() or time.monotonic() > parcel.claimed + self._start_within:
            return Outcome(parcel, now(), UNSENT)
        outcome = send(self._egress, parcel)
        if outcome.status is None and self._closing.is_set():
            return replace(outcome, error=INTERRUPTED)
        return outcome

    def _record_forever(self) -> None:
        while (first := self._outcomes.get()) is not None:
            outcomes = [first, *self._at_hand()]
            self._record(outcomes)
            with self._changed:
                self._learn(outcomes)
                self._on_the_way.subtract(outcome.parcel.webhook_id for outcome in outcomes)
                self._on_the_way += Counter()  # without those that have none
                self._changed.notify_all()

    def _at_hand(self) -> Iterable[Outcome]:
        """What came in while the last was stored."""
        for _ in range(OUTCOMES - 1):
            try:
                outcome = self._outcomes.get_nowait()
            except queue.Empty:
                return
            if outcome is None:
                self._outcomes.put(None)  # the end, after this
                return
            yield outcome

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes. A mistake of ours costs the delivery that it is about, and no other."""

        def stored() -> None:
            with self.runtime.db.begin() as session:
                store(session, self.runtime, outcomes)

        failure = self._insisted(stored, len(outcomes))
        if failure is not None and len(outcomes) > 1:
            for outcome in outcomes:
                self._record([outcome])
        elif failure is not None:
            self._give_up(outcomes[0], failure)

    def _give_up(self, outcome: Outcome, failure: BaseException) -> None:
        """End a delivery of which nobody can be told how it went: it would be sent again for ever."""

        def given_up() -> None:
            with self.runtime.db.begin() as session:
                give_up(session, outcome)

        delivery = outcome.parcel.delivery_id
        log.error("how a delivery went cannot be written down", exc_info=failure, delivery=delivery)
        if (another := self._insisted(given_up, 1)) is not None:
            log.error("nor that it is given up", exc_info=another, delivery=delivery)

    def _insisted(self, call: Callable[[], None], count: int) -> BaseException | None:
        """Call until the database answers, or the process ends; what else it raises is returned."""
        while isinstance(failure := raised_by(call), DatabaseError):
            self.runtime.leases.missed()
            log.warning("deliveries are not written down yet", reason=str(failure), count=count)
            if self._closing.wait(1.0):
                return None
        return failure

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        """Let those who answer well have more at once, and those who do not, one."""
        by_webhook: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            by_webhook[outcome.parcel.webhook_id].append(outcome)
        for webhook_id, some in by_webhook.items():
            if any(outcome.error or outcome.milliseconds > SLOW_MILLISECONDS for outcome in some):
                self._windows.pop(webhook_id, None)
            else:
                self._windows[webhook_id] = min(WINDOW, 2 * self._windows.get(webhook_id, 1))


def _chains(parcels: Sequence[Parcel]) -> list[list[Parcel]]:
    """At most `CHAINS` rows of parcels, each to be sent in order; a stream is whole in one of them."""
    streams: dict[str, list[Parcel]] = defaultdict(list)
    for parcel in parcels:
        streams[parcel.stream_id or parcel.delivery_id].append(parcel)
    chains: list[list[Parcel]] = [[] for _ in range(min(CHAINS, len(streams)))]
    for chain, stream in zip(itertools.cycle(chains), streams.values(), strict=False):
        chain.extend(stream)
    return chains


# --- ends ----------------------------------------------------------------------------------------------


def _stuck(session: Session, runtime: Runtime, work: Work, error: TldrError | None) -> None:
    """An endpoint whose work has failed for good gets nothing any more: then it is disabled, and says so."""
    assert work.organization_id
    if error is None or isinstance(error, NotFoundError):  # it was deleted amid the run, or is another's
        return
    mine = Webhook.of(work.organization_id).where(Webhook.id == work.object_id)
    webhook = session.scalar(mine.with_for_update(key_share=True))
    if webhook is not None and webhook.status != "disabled":
        disable(session, runtime, webhook, "stuck", f"a mistake of ours ({error.code})", failures=1)


def _kept(runtime: Runtime) -> timedelta:
    return timedelta(days=runtime.settings.events_kept_days)


# by ids, which begin with the time: an index that there is anyway
DELIVERIES_OVER = Rule(Delivery, lambda at: Delivery.id < first_id("dlv", at), kept=_kept)
"""Deliveries that are not shown any more; their attempts go with them."""

EVENTS_OVER = Rule(Event, lambda at: Event.id < first_id("evt", at), kept=_kept)
"""Events that are not shown any more."""
