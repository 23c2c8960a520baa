"""Highlights, dimension sets and highlight types: at which address."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from tldr_highlight.analysis.dimensions import GENERIC, STANDARD_TYPES
from tldr_highlight.core.shapes import Id, Page, PageQuery
from tldr_highlight.errors import ConflictError, DimensionSetError, InvalidError
from tldr_highlight.highlights import dimension_sets, service, sharing
from tldr_highlight.highlights.dimension_sets import Judging
from tldr_highlight.highlights.models import Highlight, HighlightType
from tldr_highlight.highlights.schemas import (
    DimensionOut,
    DimensionSetOut,
    DimensionSetWrite,
    HighlightOut,
    HighlightPatch,
    HighlightsQuery,
    RuleOut,
    SetId,
    ShareCreate,
    ShareOut,
    TypeCreate,
    TypeId,
    TypeOut,
    TypePatch,
)
from tldr_highlight.runtime import Look, Runtime
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes
from tldr_highlight.web.sending import leading_to

highlights = Routes("/api/v1/highlights", tag="highlights")
sets = Routes("/api/v1/dimension-sets", tag="dimension sets")
types = Routes("/api/v1/highlight-types", tag="dimension sets")

# --- highlights ----------------------------------------------------------------------------------------


@highlights.get("", scope=Scope.HIGHLIGHTS_READ, errors=[InvalidError])
def list_highlights(call: Call, page: Annotated[HighlightsQuery, Query()]) -> Page[HighlightOut]:
    """List highlights. Of all streams, newest first unless said otherwise."""
    rows, cursor = service.list_highlights(call, page, page.order, stream_id=page.stream_id)
    return Page(data=[shown(call.runtime, row) for row in rows], next_cursor=cursor)


@highlights.get("/{highlight_id}", scope=Scope.HIGHLIGHTS_READ)
async def get_highlight(look: Look, highlight_id: Id) -> HighlightOut:
    """Read one highlight."""
    return shown(look.runtime, await look.own_row(Highlight, highlight_id))


@highlights.patch("/{highlight_id}", scope=Scope.HIGHLIGHTS_WRITE)
def change_highlight(call: Call, highlight_id: Id, body: HighlightPatch) -> HighlightOut:
    """Change a highlight's title or tags, or say whether it is worth keeping."""
    return shown(call.runtime, service.change_highlight(call, highlight_id, body))


@highlights.delete("/{highlight_id}", scope=Scope.HIGHLIGHTS_DELETE, status=204)
def delete_highlight(call: Call, highlight_id: Id) -> None:
    """Delete a highlight. Its files go with it, and what they took up is given back."""
    service.delete_highlight(call, highlight_id)


@highlights.get("/{highlight_id}/clip", scope=Scope.HIGHLIGHTS_READ, status=307, errors=[ConflictError])
def get_highlight_clip(
    call: Call,
    highlight_id: Id,
    download: Annotated[bool, Query(description="Have browsers save it.")] = False,
) -> Response:
    """Get a highlight's clip. Leads to an address that opens the file, whole or in ranges, for an hour."""
    highlight = service.get_highlight(call, highlight_id)
    return leading_to(service.clip_url(call.runtime, highlight, download=download))


@highlights.get("/{highlight_id}/thumbnail", scope=Scope.HIGHLIGHTS_READ, status=307, errors=[ConflictError])
def get_highlight_thumbnail(
    call: Call,
    highlight_id: Id,
    size: Annotated[Literal["large", "small"], Query(description="JPEG, or 320 wide in WebP.")] = "large",
) -> Response:
    """Get the picture of a highlight's peak. Leads to an address that opens the file for an hour."""
    highlight = service.get_highlight(call, highlight_id)
    return leading_to(service.thumbnail_url(call.runtime, highlight, small=size == "small"))


@highlights.post(
    "/{highlight_id}/share", scope=Scope.HIGHLIGHTS_WRITE, status=201, creates=True, errors=[ConflictError]
)
def share_highlight(call: Call, highlight_id: Id, body: ShareCreate) -> ShareOut:
    """Make a link to a highlight's clip. Whoever has it may watch, without account, until it expires."""
    url, until = sharing.share(call, highlight_id, body.expires_in)
    return ShareOut(url=url, expires_at=until)


@highlights.delete("/{highlight_id}/share", scope=Scope.HIGHLIGHTS_WRITE, status=204)
def unshare_highlight(call: Call, highlight_id: Id) -> None:
    """Take back all links to a highlight's clip. They lead nowhere from now on."""
    sharing.unshare(call, highlight_id)


def shared_router() -> APIRouter:
    """Where links without account lead to."""
    router = APIRouter(include_in_schema=False)

    @router.get("/shared/{highlight_id}")
    def open_shared(request: Request, highlight_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        runtime: Runtime = request.app.state.runtime
        url = sharing.shared_url(runtime, highlight_id, request.query_params)
        answer = leading_to(url)
        answer.headers["X-Robots-Tag"] = "noindex"
        return answer

    return router


def shown(runtime: Runtime, row: Highlight) -> HighlightOut:
    """A highlight as it crosses HTTP."""
    base = f"{runtime.url}/api/v1/highlights/{row.id}"
    about = {name: getattr(row, name) for name in HighlightOut.model_fields if hasattr(row, name)}
    return HighlightOut.model_validate(
        about
        | {
            "clip": row.clip or None,
            "clip_url": f"{base}/clip" if row.clip_key else None,
            "thumbnail_url": f"{base}/thumbnail" if row.thumbnail_key else None,
        }
    )


# --- dimension sets ------------------------------------------------------------------------------------


@sets.get("", scope=Scope.HIGHLIGHTS_READ)
def list_dimension_sets(call: Call, page: Annotated[PageQuery, Query()]) -> Page[DimensionSetOut]:
    """List dimension sets. Ours, the presets, whose id is their name; then your own, newest first."""
    found, cursor = dimension_sets.list_sets(call, page)
    return Page(data=[_set(each) for each in found], next_cursor=cursor)


@sets.post(
    "", scope=Scope.HIGHLIGHTS_WRITE, status=201, creates=True, errors=[DimensionSetError, ConflictError]
)
def create_dimension_set(call: Call, body: DimensionSetWrite) -> DimensionSetOut:
    """Make a dimension set. Streams name it as `dimension_set` in their options."""
    row = dimension_sets.create_set(call, body)
    return _set(_judging(call, row.set_id))


@sets.get("/{set_id}", scope=Scope.HIGHLIGHTS_READ)
def get_dimension_set(
    call: Call,
    set_id: SetId,
    version: Annotated[
        int | None, Query(ge=1, le=1_000_000, description="An older one, as streams remember it.")
    ] = None,
) -> DimensionSetOut:
    """Read one dimension set, or a preset by its name."""
    return _set(_judging(call, set_id, version))


@sets.patch("/{set_id}", scope=Scope.HIGHLIGHTS_WRITE, errors=[DimensionSetError, ConflictError])
def change_dimension_set(call: Call, set_id: SetId, body: DimensionSetWrite) -> DimensionSetOut:
    """Change a dimension set. That makes its next version: streams keep the one they were judged by."""
    dimension_sets.change_set(call, set_id, body)
    return _set(_judging(call, set_id))


@sets.delete("/{set_id}", scope=Scope.HIGHLIGHTS_WRITE, status=204, errors=[ConflictError])
def delete_dimension_set(call: Call, set_id: SetId) -> None:
    """Delete a dimension set. Streams keep what they know of it."""
    dimension_sets.delete_set(call, set_id)


def _judging(call: Call, set_id: str, version: int | None = None) -> Judging:
    return dimension_sets.judging(call.session, call.organization_id, set_id, version)


def _set(judging: Judging) -> DimensionSetOut:
    found, row = judging.dimension_set, judging.row
    own = judging.own
    return DimensionSetOut(
        id=row.set_id if row else found.name,
        version=row.version if row else None,
        name=found.name,
        preset=row is None,
        threshold=found.threshold,
        dimensions={
            d.name: DimensionOut(weight=d.weight, description=d.description) for d in found.dimensions
        },
        types={name: RuleOut(**rule) for name, rule in own.items()},
        type_names=[*(rule.type for rule in found.types), GENERIC],
        created_at=row.created_at if row else None,
    )


# --- types ---------------------------------------------------------------------------------------------


@types.get("", scope=Scope.HIGHLIGHTS_READ)
def list_highlight_types(call: Call, page: Annotated[PageQuery, Query()]) -> Page[TypeOut]:
    """List highlight types. Ours, whose id is their name; then your own, newest first."""
    names, rest = dimension_sets.ours_first(tuple(_STANDARD), page)
    rows, cursor = dimension_sets.list_types(call, rest) if rest else ((), names[-1])
    return Page(data=[*(_STANDARD[name] for name in names), *map(_type, rows)], next_cursor=cursor)


@types.post(
    "", scope=Scope.HIGHLIGHTS_WRITE, status=201, creates=True, errors=[DimensionSetError, ConflictError]
)
def create_highlight_type(call: Call, body: TypeCreate) -> TypeOut:
    """Make a highlight type. It joins every dimension set that has its dimensions, presets too.

    One of the name of ours takes its place.
    """
    return _type(dimension_sets.create_type(call, body))


@types.get("/{type_id}", scope=Scope.HIGHLIGHTS_READ)
def get_highlight_type(call: Call, type_id: TypeId) -> TypeOut:
    """Read one highlight type, or one of ours by its name."""
    return _STANDARD.get(type_id) or _type(dimension_sets.get_type(call, type_id))


@types.patch("/{type_id}", scope=Scope.HIGHLIGHTS_WRITE, errors=[DimensionSetError, ConflictError])
def change_highlight_type(call: Call, type_id: TypeId, body: TypePatch) -> TypeOut:
    """Change when a highlight is of a type. Those that are of it stay so.

    That makes its next version: streams are judged by the one they were submitted with.
    """
    return _type(dimension_sets.change_type(call, type_id, body))


@types.delete("/{type_id}", scope=Scope.HIGHLIGHTS_WRITE, status=204, errors=[ConflictError])
def delete_highlight_type(call: Call, type_id: TypeId) -> None:
    """Delete a highlight type. Highlights that are of it stay so; streams keep what they know of it."""
    dimension_sets.delete_type(call, type_id)


def _type(row: HighlightType) -> TypeOut:
    return TypeOut(
        id=row.id,
        name=row.name,
        version=row.version,
        standard=False,
        description=row.description,
        created_at=row.created_at,
        **row.rule,
    )


_STANDARD = {
    rule.type: TypeOut(
        id=rule.type,
        name=rule.type,
        version=None,
        standard=True,
        when=dict(rule.when),
        match=rule.match,
        priority=rule.priority,
        description=None,
        created_at=None,
    )
    for rule in STANDARD_TYPES
}
"""Ours, in order of priority. `generic` has no rule, and is not among them."""
