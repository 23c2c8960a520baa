"""Files that customers send: whole in one call, or piece by piece, going on where it broke (tus 1.0).

A file goes straight into the store, and is held against its hash at its end. Its row says how much is safe:
that is stored when a call ends, however it ends. Who writes holds the row for a minute and a half at a time,
so that two never write at once, and a process that dies holds up nobody for longer.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tldr_highlight.core.db import new_id, now
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.core.work import Job, Kind, enqueue
from tldr_highlight.errors import (
    BodyGoneError,
    BodyLimitError,
    BodySlowError,
    ConflictError,
    LimitError,
    NotFoundError,
    ObjectMismatchError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StorageRefusedError,
    TldrError,
    UnavailableError,
    UploadBusyError,
    UploadOffsetError,
)
from tldr_highlight.highlights.files import remove_later
from tldr_highlight.runtime import Act, Look, Runtime
from tldr_highlight.storage.base import Stored, Writer
from tldr_highlight.streams.models import Stream, Upload
from tldr_highlight.tenancy import alerts, audit
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage import ledger, quotas
from tldr_highlight.usage.quotas import Metric

if TYPE_CHECKING:
    from tldr_highlight.web.incoming import Incoming

MOST_BYTES = 64 * 1024**3
"""Of a file: eight hours at 19 Mbit/s. Buckets take 78 GiB that come as a stream."""

MOST_RECEIVING = 50
"""Unfinished uploads of an organization."""

STEP = 64 * 1024**2
"""Bytes for which room is set aside at a time, where nobody says how many there will be; and after which the
disk is looked at again."""

HOLD_SECONDS, RENEW_SECONDS = 90.0, 15.0
"""How long a row is held, and after which that is renewed. A sender may be silent for 30 s."""

UNFINISHED, UNUSED = timedelta(days=1), timedelta(days=3)
"""How long an upload waits for its next piece, and then for a stream."""

INTERRUPTED = (
    BodyGoneError,
    BodySlowError,
    BodyLimitError,
    UploadOffsetError,
    UnavailableError,
    StorageError,
)
"""What ends a call, but not an upload that can go on."""

OVER = (StorageFullError, StorageRefusedError, ObjectMismatchError)
"""Errors of the store that end the upload, too."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What is said of a file before it comes."""

    bytes: int | None = None
    filename: str | None = None
    content_type: str = "application/octet-stream"
    sha256: str | None = None


# --- receiving -----------------------------------------------------------------------------------------


def receive(look: Look, announced: Announced, body: Incoming) -> Upload:
    """Take a whole file. If that fails nothing of it stays: nobody was told its id.

    Raises:
        QuotaError, StorageFullError: there is no room for it. BodyLimitError: it is larger than may be.
        ObjectMismatchError: it has not the hash that was announced. LimitError: too many are unfinished.
        StorageError: the store does not answer.
    """
    upload = begin(look, announced)
    with alerts.telling(look.runtime.db), _held(look, upload.id, 0, goes_on=False) as hand:
        hand.take(body)
        hand.finish()
    return hand.upload


def begin(look: Look, announced: Announced) -> Upload:
    """Make room for a file that is to come.

    Raises:
        QuotaError, StorageFullError, BodyLimitError, LimitError: see `receive`.
    """
    expected = STEP if announced.bytes is None else announced.bytes
    if expected > MOST_BYTES:
        raise BodyLimitError(f"files have {MOST_BYTES} bytes at most")
    with alerts.telling(look.runtime.db):
        require_disk(look.runtime, min(expected, STEP))
    require_disk(look.runtime, expected)  # one that is too large for what there is, is no shortage
    id = new_id("upl")
    upload = Upload(
        id=id,
        organization_id=look.organization_id,
        filename=announced.filename,
        content_type=announced.content_type,
        bytes=announced.bytes,
        sha256=announced.sha256,
        key=f"{look.organization_id}/{id}/file",
        expires_at=now() + UNFINISHED,
    )
    with alerts.telling(look.runtime.db):  # first: a row without a writer would keep its room for a day
        writer = look.runtime.storage.writer(
            upload.key, content_type=upload.content_type, download_name=upload.filename
        )
    upload.token = look.runtime.vault.seal(writer.token)
    with contextlib.closing(writer), contextlib.ExitStack() as stack:
        stack.callback(_give_up, writer)
        with look.transaction() as act:
            organization = Organization.locked(act.session, act.organization_id)
            _reserve(act.session, organization, upload, expected)
            act.session.add(upload)
            audit.record(act, "upload.begun", id, filename=upload.filename, bytes=upload.bytes)
        stack.pop_all()
    return upload


def begin_with(look: Look, announced: Announced, body: Incoming) -> Upload:
    """Make room for a file and take its first bytes. Where those are refused nothing stays: nobody was told
    its id. Where the connection broke they do: whoever asks for the list goes on.

    Raises:
        QuotaError, StorageFullError, BodyLimitError, LimitError: see `receive`.
        ObjectMismatchError, StorageError: see `send_on`.
    """
    if announced.bytes is not None and body.length is not None and body.length > announced.bytes:
        raise BodyLimitError(f"{announced.bytes} bytes may come, not {body.length}")
    upload = begin(look, announced)
    try:
        return send_on(look, upload.id, 0, body)
    except (BodyGoneError, BodySlowError):
        raise
    except TldrError:
        _forget(look, upload.id, None)
        raise


def send_on(look: Look, upload_id: str, offset: int, body: Incoming) -> Upload:
    """Take the next bytes of a file, and finish it when they are the last.

    Raises:
        NotFoundError: there is no such upload. ConflictError: it is finished.
        UploadBusyError: another call is at it. UploadOffsetError: these are not the next bytes.
        BodyLimitError: more came than was announced; what is right stays.
        StorageError: the store does not answer; what is safe stays.
        ObjectMismatchError, StorageFullError, StorageRefusedError, QuotaError: nothing stays.
    """
    with alerts.telling(look.runtime.db), _held(look, upload_id, offset) as hand:
        hand.take(body)
        if hand.is_whole:
            hand.finish()
    return hand.upload


def _give_up(writer: Writer) -> None:
    """Have the store forget what came; what it does not hear of now its own sweep finds."""
    with contextlib.suppress(StorageError):
        writer.abort()


class _Hand:
    """One call that writes an upload."""

    def __init__(self, look: Look, upload: Upload, writer: Writer, holder: str) -> None:
        self._look, self._writer, self._holder = look, writer, holder
        self.upload = upload
        """As its row was when we last wrote it."""
        self._renewed = time.monotonic()
        self._reserved = upload.reserved
        self._over = False  # the store has it whole; its row may not say so yet
        self._room_until = writer.offset + STEP  # then the disk is looked at

    @property
    def offset(self) -> int:
        """How much is there."""
        return self._writer.offset

    @property
    def is_whole(self) -> bool:
        """Whether all that was announced is there."""
        return self._writer.offset == self.upload.bytes

    def take(self, body: Incoming) -> None:
        """Write what comes."""
        most = MOST_BYTES if self.upload.bytes is None else self.upload.bytes
        if body.length is not None and self._writer.offset + body.length > most:
            raise BodyLimitError(f"{most - self._writer.offset} bytes may come, not {body.length}")
        for data in iter(body.read, b""):
            reached = self._writer.offset + len(data)
            if reached > most:
                raise BodyLimitError(f"more than the {most} bytes came that may")
            self._renew(reached)
            self._writer.write(data)

    def _renew(self, reached: int) -> None:
        """See now and then whether to go on: that the row is ours still, and that there is room."""
        if reached > self._room_until:
            require_disk(self._look.runtime, STEP)
            self._room_until = reached + STEP
        if reached > self._reserved:
            self._reserve_more(reached)
        self._stay()

    def _stay(self) -> None:
        """Go on holding the row."""
        if time.monotonic() - self._renewed > RENEW_SECONDS:
            self._hold()

    def _reserve_more(self, reached: int) -> None:
        with self._look.runtime.db.begin() as session:
            organization = Organization.locked(session, self.upload.organization_id)
            upload = self._mine(session)
            _reserve(session, organization, upload, reached + STEP)
            self._reserved = upload.reserved

    def _hold(self) -> None:
        with self._look.runtime.db.begin() as session:
            self._mine(session).held_until = now() + timedelta(seconds=HOLD_SECONDS)
        self._renewed = time.monotonic()

    @contextlib.contextmanager
    def _holding(self) -> Generator[None]:
        """Hold the row for as long as something takes: 64 GiB are read again for their hash in minutes."""
        self._hold()
        over = threading.Event()

        def renew() -> None:
            while not over.wait(RENEW_SECONDS):
                with contextlib.suppress(NotFoundError, UploadBusyError, UnavailableError):
                    self._hold()

        thread = threading.Thread(target=renew, name="hold", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _mine(self, session: Session) -> Upload:
        return _mine(session, self._look, self.upload.id, self._holder)

    def let_go(self) -> None:
        """Make safe what came, and let others go on, also where the store fails."""
        self._stay()  # what another call has made safe meanwhile must not be written over
        offset = self.upload.offset
        try:
            if not self._over:
                self._writer.suspend()
            offset = self._writer.offset
        finally:
            self.upload = _let_go(self._look, self.upload.id, self._holder, offset)

    def finish(self) -> None:
        """Make it a file that streams can be made of."""
        with self._holding():
            stored = self._writer.finish(sha256=self.upload.sha256)
        self._over = True
        self.upload = _finished(self._look, self.upload.id, stored)

    def abort(self) -> None:
        """Forget it, unless it is another call's by now."""
        if _forget(self._look, self.upload.id, self._holder):
            _give_up(self._writer)


@contextlib.contextmanager
def _held(look: Look, upload_id: str, offset: int, *, goes_on: bool = True) -> Generator[_Hand]:
    """Hold an upload while it is written. What is wrong with it ends it; what interrupts keeps what came,
    where another call can go on."""
    runtime, holder = look.runtime, new_id("hand")
    with runtime.db.begin() as session:
        upload = Upload.get_for(session, look.organization_id, upload_id, lock=True)
        _check_open(upload, offset)
        upload.holder, upload.held_until = holder, now() + timedelta(seconds=HOLD_SECONDS)
    try:
        writer = _resumed(look, upload)
    except StorageError:
        (_let_go if goes_on else _forget)(look, upload_id, holder)
        raise
    hand = _Hand(look, upload, writer, holder)
    with contextlib.closing(writer), contextlib.ExitStack() as stack:
        stack.callback(hand.abort)
        try:
            if hand.offset != offset:  # a call before died with more in the store than its row says
                raise UploadOffsetError(f"the next byte is {hand.offset}", offset=hand.offset)
            yield hand
        except OVER:
            raise
        except INTERRUPTED:
            if goes_on:
                stack.pop_all()
                with contextlib.suppress(NotFoundError, UploadBusyError, StorageError):
                    hand.let_go()
            raise
        stack.pop_all()
        if hand.upload.state == "receiving":
            hand.let_go()


def _check_open(upload: Upload, offset: int) -> None:
    if upload.state != "receiving":
        raise ConflictError("this upload is finished")
    if upload.held_until is not None and upload.held_until > now():
        raise UploadBusyError("another call is sending to this upload", retry_after=2)
    if offset != upload.offset:
        raise UploadOffsetError(f"the next byte is {upload.offset}", offset=upload.offset)


def _resumed(look: Look, upload: Upload) -> Writer:
    assert upload.token is not None
    try:
        return look.runtime.storage.resume(look.runtime.vault.open(upload.token))
    except ObjectNotFoundError:
        if look.runtime.storage.exists(upload.key):  # a process died when it had finished it
            _finished(look, upload.id, look.runtime.storage.stat(upload.key))
            raise ConflictError("this upload is finished") from None
        _forget(look, upload.id, upload.holder)
        raise NotFoundError("what came of this upload is lost: begin again") from None


def _let_go(look: Look, upload_id: str, holder: str, offset: int | None = None) -> Upload:
    """Let others go on with what we hold; of it `offset` bytes are safe.

    Raises:
        NotFoundError, UploadBusyError: we hold it no more.
    """
    with look.runtime.db.begin() as session:
        upload = _mine(session, look, upload_id, holder)
        upload.offset = upload.offset if offset is None else offset
        upload.holder = upload.held_until = None
        upload.expires_at = now() + UNFINISHED
    return upload


def _mine(session: Session, look: Look, upload_id: str, holder: str) -> Upload:
    """The row, locked.

    Raises:
        NotFoundError: it is deleted. UploadBusyError: we were away for so long that it is not ours now.
    """
    upload = Upload.get_for(session, look.organization_id, upload_id, lock=True)
    if upload.holder != holder:
        raise UploadBusyError("this upload was taken over by another call", retry_after=2)
    return upload


def _finished(look: Look, upload_id: str, stored: Stored) -> Upload:
    """Store that a file is there, and count it."""
    try:
        return _counted(look, upload_id, stored)
    except NotFoundError:  # deleted meanwhile
        look.runtime.storage.delete(stored.key)
        raise


def _counted(look: Look, upload_id: str, stored: Stored) -> Upload:
    with look.transaction() as act:
        Organization.locked(act.session, act.organization_id)
        upload = Upload.get_for(act.session, act.organization_id, upload_id, lock=True)
        upload.state, upload.token, upload.holder, upload.held_until = "ready", None, None, None
        upload.bytes = upload.offset = stored.bytes
        upload.reserved = 0
        upload.sha256 = stored.sha256
        upload.ended_at = now()
        upload.expires_at = now() + UNUSED
        ledger.record(
            act.session, act.organization_id, Metric.STORED_BYTES, stored.bytes,
            key=f"{upload.id}/stored", object_id=upload.id,
        )  # fmt: skip
        if stored.bytes >= STEP:
            alerts.recovered(act.session, alerts.STORING)
        audit.record(act, "upload.finished", upload.id, bytes=stored.bytes, sha256=stored.sha256)
    return upload


# --- room ----------------------------------------------------------------------------------------------


def require_disk(runtime: Runtime, more: int) -> None:
    """Refuse what would leave less on the disk than the operator wants to be left.

    Raises:
        StorageFullError: it would.
    """
    free = runtime.storage.free()
    if free is not None and free - more < runtime.settings.disk_reserve_mb * 1_000_000:
        raise StorageFullError("there is no room for uploads at the moment", retry_after=60)


def require_room(session: Session, organization_id: str, wanted: int, *, upload_id: str = "") -> None:
    """Refuse what the plan has no room for, beside what is stored and what other uploads have set aside.

    Exact, as nobody else stores anything until the transaction ends.

    Raises:
        QuotaError: it has none.
    """
    ledger.hold(session, organization_id, Metric.STORED_BYTES)
    aside = select(func.coalesce(func.sum(Upload.reserved), 0)).where(
        Upload.organization_id == organization_id, Upload.state == "receiving", Upload.id != upload_id
    )
    more = int(session.execute(aside).scalar_one()) + wanted
    quotas.require(session, session.get_one(Organization, organization_id), Metric.STORED_BYTES, more)


def _reserve(session: Session, organization: Organization, upload: Upload, wanted: int) -> None:
    """Set room aside for an upload; the organization is locked by the caller.

    Raises:
        QuotaError: its plan has no more. LimitError: too many are unfinished.
    """
    query = select(func.count()).where(
        Upload.organization_id == organization.id, Upload.state == "receiving", Upload.id != upload.id
    )
    if session.execute(query).scalar_one() >= MOST_RECEIVING:
        raise LimitError(f"{MOST_RECEIVING} uploads are unfinished: finish or delete some", retry_after=60)
    require_room(session, organization.id, wanted, upload_id=upload.id)
    upload.reserved = wanted


# --- reading, deleting ---------------------------------------------------------------------------------


def get(act: Act, upload_id: str) -> Upload:
    """One upload."""
    return Upload.get_for(act.session, act.organization_id, upload_id)


def list_uploads(act: Act, page: PageQuery) -> tuple[Sequence[Upload], str | None]:
    """All uploads, newest first."""
    return paginate(act.session, Upload.of(act.organization_id), Upload.id, page)


def remove(act: Act, upload_id: str) -> None:
    """Delete an upload, finished or not.

    Raises:
        ConflictError: a stream is made of it.
    """
    upload = Upload.get_for(act.session, act.organization_id, upload_id, lock=True)
    if act.session.scalar(Stream.of(act.organization_id).where(Stream.upload_id == upload.id).limit(1)):
        raise ConflictError("a stream is made of this upload: delete that, and the upload goes with it")
    drop(act.session, upload)
    audit.record(act, "upload.deleted", upload.id, filename=upload.filename, bytes=upload.offset)


def drop(session: Session, upload: Upload) -> None:
    """Delete the row; what is stored goes once that is committed, so that no lock waits for the store."""
    if upload.state == "ready":
        ledger.record(
            session, upload.organization_id, Metric.STORED_BYTES, -upload.offset,
            key=f"{upload.id}/deleted", object_id=upload.id,
        )  # fmt: skip
        remove_later(session, upload.organization_id, [upload.key])
    else:
        about = {"token": upload.token, "key": upload.key}
        enqueue(
            session, ABORT_UPLOAD.name, organization_id=upload.organization_id, payload=about, priority="soon"
        )
    session.delete(upload)


def _abort(job: Job[Runtime]) -> None:
    """Have the store forget an upload that was never finished."""
    storage = job.runtime.storage
    with contextlib.suppress(ObjectNotFoundError):
        storage.resume(job.runtime.vault.open(job.payload["token"])).abort()
    storage.delete(job.payload["key"])  # a process may have died when it had finished it


ABORT_UPLOAD = Kind("abort_upload", _abort, tries=10)
"""Ten tries, as with other files that go."""


def _forget(look: Look, upload_id: str, holder: str | None) -> bool:
    """Nothing of an upload that failed stays, if we hold it still; whether we do."""
    with look.runtime.db.begin() as session:
        mine = Upload.of(look.organization_id).where(
            Upload.id == upload_id, Upload.state == "receiving", Upload.holder == holder
        )
        upload = session.scalar(mine.with_for_update())
        if upload is not None:
            drop(session, upload)
    return upload is not None
