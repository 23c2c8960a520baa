"""What becomes known of a stream, each fact in the transaction that makes it one: rows, events, use."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from tldr_highlight.analysis.base import Moment
from tldr_highlight.core.db import now
from tldr_highlight.core.telemetry import message_of
from tldr_highlight.errors import QuotaError, TldrError
from tldr_highlight.highlights.models import Highlight, highlight_id
from tldr_highlight.media.types import ClipResult
from tldr_highlight.storage.base import ObjectStore, Stored
from tldr_highlight.streams import uploads
from tldr_highlight.streams.models import Stream
from tldr_highlight.tenancy import alerts
from tldr_highlight.usage import ledger
from tldr_highlight.usage.quotas import Metric
from tldr_highlight.webhooks.catalogue import HighlightDetected, HighlightFailed, HighlightReady
from tldr_highlight.webhooks.events import emit

FOREVER = "private, max-age=31536000, immutable"
"""A clip never changes: what is made anew has the same bytes, or another name."""


def detected(session: Session, stream: Stream, moment: Moment) -> Highlight:
    """Publish a moment: its highlight and its event."""
    stream.highlight_count += 1
    highlight = Highlight(
        id=highlight_id(stream.id, stream.highlight_count),
        organization_id=stream.organization_id,
        stream_id=stream.id,
        ordinal=stream.highlight_count,
        start=moment.start,
        end=moment.end,
        peak=moment.peak,
        score=moment.score,
        confidence=moment.confidence,
        types=list(moment.types),
        title=moment.title,
        dimensions=dict(moment.dimensions),
        evidence=[asdict(each) for each in moment.evidence],
        clip_start=moment.clip_start,
        clip_end=moment.clip_end,
        state="detected",
    )
    session.add(highlight)
    emit(session, stream.organization_id, HighlightDetected(**facts(highlight)), stream_id=stream.id)
    return highlight


def facts(highlight: Highlight) -> dict[str, Any]:
    """What every event about a highlight says."""
    return {
        "highlight_id": highlight.id,
        "stream_id": highlight.stream_id,
        "start": highlight.start,
        "end": highlight.end,
        "peak": highlight.peak,
        "score": highlight.score,
        "confidence": highlight.confidence,
        "types": highlight.types,
        "title": highlight.title,
        "clip_start": highlight.clip_start,
        "clip_end": highlight.clip_end,
    }


@dataclass(frozen=True, slots=True)
class Files:
    """A highlight's finished clip, and where it is in the store."""

    result: ClipResult
    clip: Stored
    pictures: Sequence[Stored]  # the large one and the small one; none where there is only sound

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(file.bytes for file in self)

    def __iter__(self) -> Iterator[Stored]:
        return iter((self.clip, *self.pictures))


@contextlib.contextmanager
def kept(store: ObjectStore, files: Iterable[Stored]) -> Generator[None]:
    """Remove stored files again where the plan turns out to have no room for them."""
    try:
        yield
    except QuotaError:
        remove(store, files)
        raise


def remove(store: ObjectStore, files: Iterable[Stored]) -> None:
    """Nobody wants them."""
    for file in files:
        store.delete(file.key)


def key_of(highlight: Highlight, end: str) -> str:
    """Where a file of a highlight's is kept: follows from the stream and the ordinal."""
    return f"{highlight.organization_id}/{highlight.stream_id}/{highlight.id}.{end}"


def size_of(result: ClipResult) -> int:
    """Bytes of a finished clip and its pictures, as they will be stored."""
    pictures = (path for path in (result.spec.poster, result.spec.small) if path is not None)
    return result.bytes + sum(path.stat().st_size for path in pictures if path.exists())


def stored(store: ObjectStore, highlight: Highlight, result: ClipResult) -> Files:
    """Put a finished clip and its pictures into the store, the clip last.

    Raises:
        StorageError: not now, or not without the operator.
    """
    made: list[Stored] = []
    for path, end, kind in (
        (result.spec.poster, "jpg", "image/jpeg"),
        (result.spec.small, "webp", "image/webp"),
    ):
        if path is not None and path.exists():
            made.append(_put(store, highlight, path, end, kind))
    clip = _put(store, highlight, result.spec.path, "mp4", "video/mp4", sha256=result.sha256)
    return Files(result, clip, made)


def _put(
    store: ObjectStore, highlight: Highlight, path: Path, end: str, kind: str, *, sha256: str | None = None
) -> Stored:
    return store.put(
        key_of(highlight, end),
        path,
        content_type=kind,
        cache_control=FOREVER,
        download_name=f"{highlight.title}.{end}",
        sha256=sha256,
    )


def ready(session: Session, highlight: Highlight, files: Files) -> None:
    """A highlight's clip can be had from now on; what it takes up is on the bill.

    Raises:
        QuotaError: the plan has no room for it.
    """
    uploads.require_room(session, highlight.organization_id, files.bytes)
    result = files.result
    pictures = [picture.key for picture in files.pictures]
    highlight.state = "ready"
    highlight.ready_at = now()
    highlight.clip_key = files.clip.key
    highlight.thumbnail_key, highlight.thumbnail_small_key = pictures or (None, None)
    highlight.stored_bytes = files.bytes
    highlight.error_code = highlight.error_message = None
    highlight.clip = {
        "start": result.actual_start,
        "end": result.actual_end,
        "method": result.method,
        "reason": result.reason,
        "frames": result.frames,
        "sync_ms": round(result.sync_ms, 3),
        "bytes": result.bytes,
        "sha256": result.sha256,
        "warnings": list(result.warnings),
    }
    ledger.record(
        session,
        highlight.organization_id,
        Metric.STORED_BYTES,
        files.bytes,
        key=f"{highlight.id}/stored",
        object_id=highlight.stream_id,
    )
    event = HighlightReady(
        **facts(highlight),
        clip_bytes=result.bytes,
        clip_sha256=result.sha256,
        has_thumbnail=bool(pictures),
    )
    emit(session, highlight.organization_id, event, stream_id=highlight.stream_id)
    alerts.recovered(session, alerts.STORING)


def failed(session: Session, highlight: Highlight, error: TldrError) -> None:
    """A highlight without a clip; the others go on."""
    code, message = error.code, message_of(error)
    highlight.state, highlight.error_code, highlight.error_message = "failed", code, message
    event = HighlightFailed(**facts(highlight), error_code=code, error_message=message)
    emit(session, highlight.organization_id, event, stream_id=highlight.stream_id)
