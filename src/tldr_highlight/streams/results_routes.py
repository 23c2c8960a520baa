"""What came of a stream: at which address."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated, Literal

import numpy as np
from fastapi import Query, Response

from tldr_highlight.analysis.base import Curve
from tldr_highlight.core.shapes import Id, Page, PageQuery
from tldr_highlight.errors import ConflictError, MissingExtraError, NotFoundError, QuotaError, RangeError
from tldr_highlight.highlights import service as highlights_service
from tldr_highlight.highlights.models import Reel
from tldr_highlight.highlights.routes import shown
from tldr_highlight.highlights.schemas import HighlightOut, SetId, StreamHighlightsQuery
from tldr_highlight.runtime import Look, Runtime
from tldr_highlight.storage.names import disposition
from tldr_highlight.streams import results
from tldr_highlight.streams.results_schemas import (
    ClipCreate,
    MomentOut,
    ReelCreate,
    ReelOut,
    TimelineOut,
    TimelineQuery,
    TrialOut,
    TryCreate,
)
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes
from tldr_highlight.web.sending import leading_to

found = Routes("/api/v1/streams", tag="highlights")
reels = Routes("/api/v1/reels", tag="highlights")
trials = Routes("/api/v1/dimension-sets", tag="dimension sets")

LEAST_KNOWN = 0.5
"""Share of a set's weight below which a result is degraded."""


@found.get("/{stream_id}/highlights", scope=Scope.HIGHLIGHTS_READ)
def list_stream_highlights(
    call: Call, stream_id: Id, page: Annotated[StreamHighlightsQuery, Query()]
) -> Page[HighlightOut]:
    """List a stream's highlights. As they come in it, unless said otherwise."""
    stream = results.get_stream(call, stream_id)
    rows, cursor = highlights_service.list_highlights(call, page, page.order, stream_id=stream.id)
    return Page(data=[shown(call.runtime, row) for row in rows], next_cursor=cursor)


@found.get("/{stream_id}/timeline", scope=Scope.HIGHLIGHTS_READ, errors=[ConflictError])
def get_timeline(call: Call, stream_id: Id, wanted: Annotated[TimelineQuery, Query()]) -> TimelineOut:
    """Read a stream's curves: the score, and each dimension. Of what is analysed so far."""
    curves = results.timeline(call, stream_id, smoothing=wanted.smoothing_seconds, points=wanted.resolution)
    return TimelineOut(
        start=curves.start,
        step=curves.step,
        threshold=curves.threshold,
        score=_values(curves.score),
        dimensions={name: _values(curve) for name, curve in curves.dimensions.items()},
    )


def _values(curve: Curve) -> list[float | None]:
    rounded: list[float] = np.round(curve, 4).tolist()
    return [value if math.isfinite(value) else None for value in rounded]


@found.get(
    "/{stream_id}/export",
    scope=Scope.HIGHLIGHTS_READ,
    errors=[MissingExtraError],
    media={
        "application/json": {"source": "match.mp4", "duration": 5400.0, "highlights": []},
        "text/csv": "number,title,types,score\r\n",
        "text/plain": "0:00 Start\n12:23 Crowd reaction",
        "text/vtt": "WEBVTT",
        "application/xml": '<xmeml version="4"></xmeml>',
    },
)
def export_highlights(
    call: Call,
    stream_id: Id,
    format: Annotated[
        Literal["json", "csv", "edl", "otio", "chapters", "vtt", "fcpxml"],
        Query(description="Of the file; `fcpxml` is Final Cut Pro 7's."),
    ] = "json",
) -> Response:
    """Export what was found for other programs.

    What somebody voted to drop is left out, and so are clips that were asked for, which have no score.
    """
    content, name = results.exported(call, stream_id, format)
    headers = {"Content-Disposition": disposition(name, inline=False)}
    return Response(content, headers=headers, media_type=results.MEDIA_TYPES[format])


@trials.post(
    "/{set_id}/try", scope=Scope.HIGHLIGHTS_READ, writes=False, errors=[NotFoundError, ConflictError]
)
def try_dimension_set(call: Call, set_id: SetId, body: TryCreate) -> TrialOut:
    """Try a dimension set on a stream. Its stored curves are judged anew; nothing is stored or changed."""
    trial = results.try_set(call, set_id, body)
    row = trial.judging.row
    return TrialOut(
        set_id=row.set_id if row else set_id,
        version=row.version if row else None,
        stream_id=body.stream_id,
        analysed_seconds=trial.duration,
        known_share=round(trial.known_share, 4),
        degraded=trial.known_share < LEAST_KNOWN,
        highlights=[MomentOut.model_validate(asdict(moment)) for moment in trial.moments],
    )


@found.post(
    "/{stream_id}/clips", scope=Scope.CLIPS_WRITE, status=202, creates=True, errors=[RangeError, QuotaError]
)
def request_clip(call: Call, stream_id: Id, body: ClipCreate) -> HighlightOut:
    """Cut a range of a stream. It is a highlight of origin `request`: `ready` once its clip is there."""
    highlight, _ = results.request_clip(call, stream_id, body)
    call.headers["Location"] = f"/api/v1/highlights/{highlight.id}"
    return shown(call.runtime, highlight)


@found.post(
    "/{stream_id}/reel",
    scope=Scope.CLIPS_WRITE,
    status=202,
    creates=True,
    errors=[ConflictError, QuotaError],
)
def request_reel(call: Call, stream_id: Id, body: ReelCreate) -> ReelOut:
    """Join a stream's best highlights into one file of a wanted length.

    The best that fit are taken, in order of time; the last one is trimmed around its peak. Where there is
    less to show, or it comes out otherwise, `note` says why.
    """
    reel = results.request_reel(call, stream_id, body)
    call.headers["Location"] = f"/api/v1/reels/{reel.id}"
    return _reel(call.runtime, reel)


@found.get("/{stream_id}/reels", scope=Scope.CLIPS_READ)
def list_reels(call: Call, stream_id: Id, page: Annotated[PageQuery, Query()]) -> Page[ReelOut]:
    """List a stream's reels. Newest first."""
    rows, cursor = results.list_reels(call, stream_id, page)
    return Page(data=[_reel(call.runtime, row) for row in rows], next_cursor=cursor)


@reels.get("/{reel_id}", scope=Scope.CLIPS_READ)
async def get_reel(look: Look, reel_id: Id) -> ReelOut:
    """Read one reel."""
    return _reel(look.runtime, await look.own_row(Reel, reel_id))


@reels.get("/{reel_id}/video", scope=Scope.CLIPS_READ, status=307, errors=[ConflictError])
def get_reel_video(
    call: Call,
    reel_id: Id,
    download: Annotated[bool, Query(description="Have browsers save it.")] = False,
) -> Response:
    """Get a reel's file. Leads to an address that opens it, whole or in ranges, for an hour."""
    return leading_to(results.reel_url(call, reel_id, download=download))


@reels.delete("/{reel_id}", scope=Scope.CLIPS_WRITE, status=204)
def delete_reel(call: Call, reel_id: Id) -> None:
    """Delete a reel. Its file goes, and what it took up is given back; the highlights stay."""
    results.delete_reel(call, reel_id)


def _reel(runtime: Runtime, row: Reel) -> ReelOut:
    about = {name: getattr(row, name) for name in ReelOut.model_fields if hasattr(row, name)}
    url = f"{runtime.url}/api/v1/reels/{row.id}/video" if row.key else None
    return ReelOut.model_validate(about | {"video_url": url})
