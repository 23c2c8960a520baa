"""What was found, what it is judged by, and what is made of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from tldr_highlight.client.calls import Calls, at, given
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.shapes import (
    DimensionSet,
    Highlight,
    HighlightType,
    Reel,
    Share,
    Timeline,
    Trial,
)

Path = str | os.PathLike[str]
Order = Literal["newest", "score", "time"]


class Highlights:
    """Highlights of all streams, and what belongs to a stream's."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(
        self,
        *,
        stream_id: str | None = None,
        min_score: float | None = None,
        max_score: float | None = None,
        type: str | None = None,
        tag: str | None = None,
        verdict: Literal["keep", "drop"] | None = None,
        state: Literal["detected", "ready", "failed"] | None = None,
        origin: Literal["analysis", "request"] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        order: Order | None = None,
        limit: int | None = None,
    ) -> Pages[Highlight]:
        """Those that pass all filters: newest first, or best first (`score`), or as they come (`time`)."""
        filters = given(
            stream_id=stream_id, min_score=min_score, max_score=max_score, type=type, tag=tag,
            verdict=verdict, state=state, origin=origin, created_after=created_after,
            created_before=created_before, order=order,
        )  # fmt: skip
        return self._calls.pages(Highlight, "/highlights", limit, **filters)

    def of_stream(
        self,
        stream_id: str,
        *,
        min_score: float | None = None,
        max_score: float | None = None,
        type: str | None = None,
        tag: str | None = None,
        verdict: Literal["keep", "drop"] | None = None,
        state: Literal["detected", "ready", "failed"] | None = None,
        origin: Literal["analysis", "request"] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        order: Order | None = None,
        limit: int | None = None,
    ) -> Pages[Highlight]:
        """Those of one stream, as they come in it unless said otherwise."""
        filters = given(
            min_score=min_score, max_score=max_score, type=type, tag=tag, verdict=verdict, state=state,
            origin=origin, created_after=created_after, created_before=created_before, order=order,
        )  # fmt: skip
        return self._calls.pages(Highlight, at("streams", stream_id, "highlights"), limit, **filters)

    def get(self, highlight_id: str) -> Highlight:
        """One highlight."""
        return self._calls.one(Highlight, "GET", at("highlights", highlight_id))

    def update(
        self,
        highlight_id: str,
        *,
        title: str | None = None,
        tags: Sequence[str] | None = None,
        verdict: Literal["keep", "drop", "none"] | None = None,
    ) -> Highlight:
        """Change a highlight; what is not given stays. `verdict="none"` takes back what was said."""
        body = given(title=title, tags=tags, verdict=verdict)
        if verdict == "none":
            body["verdict"] = None
        return self._calls.one(Highlight, "PATCH", at("highlights", highlight_id), body)

    def delete(self, highlight_id: str) -> None:
        """Delete a highlight with its files."""
        self._calls.do("DELETE", at("highlights", highlight_id))

    def clip_url(self, highlight_id: str, *, download: bool | None = None) -> str:
        """An address that opens the clip for an hour, and takes no key. With `download` browsers save it."""
        return self._calls.link(at("highlights", highlight_id, "clip"), download=download)

    def thumbnail_url(self, highlight_id: str, *, size: Literal["large", "small"] | None = None) -> str:
        """An address that opens the picture of its peak for an hour: JPEG, or 320 wide in WebP."""
        return self._calls.link(at("highlights", highlight_id, "thumbnail"), size=size)

    def save(self, highlight_id: str, file: Path, *, download: bool | None = None) -> None:
        """Copy the clip into a file, which is there whole or not at all."""
        self._calls.save(at("highlights", highlight_id, "clip"), file, download=download)

    def share(self, highlight_id: str, *, expires_in: int | None = None) -> Share:
        """A link that whoever has it may watch with, for `expires_in` seconds (a week, if not said)."""
        body = given(expires_in=expires_in)
        return self._calls.one(Share, "POST", at("highlights", highlight_id, "share"), body, creates=True)

    def unshare(self, highlight_id: str) -> None:
        """Take back all links of a highlight."""
        self._calls.do("DELETE", at("highlights", highlight_id, "share"))

    def timeline(
        self, stream_id: str, *, smoothing_seconds: float | None = None, resolution: int | None = None
    ) -> Timeline:
        """A stream's curves, of what is analysed so far."""
        query = given(smoothing_seconds=smoothing_seconds, resolution=resolution)
        return self._calls.one(Timeline, "GET", at("streams", stream_id, "timeline"), query=query)

    def export(
        self,
        stream_id: str,
        format: Literal["json", "csv", "edl", "otio", "chapters", "vtt", "fcpxml"] | None = None,
    ) -> bytes:
        """What was found in a stream as a file of another program; JSON, if not said."""
        path = at("streams", stream_id, "export")
        return self._calls.do("GET", path, query=given(format=format), raw=True)

    def cut(
        self,
        stream_id: str,
        start: float,
        end: float,
        *,
        title: str | None = None,
        tags: Sequence[str] | None = None,
        quality: Literal["source", "high", "medium", "small"] | None = None,
    ) -> Highlight:
        """Have a range of a stream cut, in media seconds; the highlight is `ready` once its clip is there."""
        body = given(start=start, end=end, title=title, tags=tags, quality=quality)
        return self._calls.one(Highlight, "POST", at("streams", stream_id, "clips"), body, creates=True)


class Reels:
    """Highlights of a stream, joined into one file."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(self, stream_id: str, target_seconds: float, *, tolerance: float | None = None) -> Reel:
        """Have the best highlights joined to `target_seconds`; `note` says why if it is not."""
        body = given(target_seconds=target_seconds, tolerance=tolerance)
        return self._calls.one(Reel, "POST", at("streams", stream_id, "reel"), body, creates=True)

    def list(self, stream_id: str, *, limit: int | None = None) -> Pages[Reel]:
        """A stream's reels, newest first."""
        return self._calls.pages(Reel, at("streams", stream_id, "reels"), limit)

    def get(self, reel_id: str) -> Reel:
        """One reel."""
        return self._calls.one(Reel, "GET", at("reels", reel_id))

    def video_url(self, reel_id: str, *, download: bool | None = None) -> str:
        """An address that opens the file for an hour, and takes no key. With `download` browsers save it."""
        return self._calls.link(at("reels", reel_id, "video"), download=download)

    def save(self, reel_id: str, file: Path, *, download: bool | None = None) -> None:
        """Copy it into a file, which is there whole or not at all."""
        self._calls.save(at("reels", reel_id, "video"), file, download=download)

    def delete(self, reel_id: str) -> None:
        """Delete a reel with its file; the highlights stay."""
        self._calls.do("DELETE", at("reels", reel_id))


class DimensionSets:
    """What highlights are judged by."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self, *, limit: int | None = None) -> Pages[DimensionSet]:
        """The presets, whose id is their name; then your own, newest first."""
        return self._calls.pages(DimensionSet, "/dimension-sets", limit)

    def get(self, set_id: str, *, version: int | None = None) -> DimensionSet:
        """One set, or an older version of it."""
        path = at("dimension-sets", set_id)
        return self._calls.one(DimensionSet, "GET", path, query=given(version=version))

    def create(
        self,
        *,
        name: str | None = None,
        base: str | None = None,
        threshold: float | None = None,
        dimensions: Mapping[str, Any] | None = None,
        types: Mapping[str, Any] | None = None,
    ) -> DimensionSet:
        """Make a set.

        Args:
            name: For people.
            base: A preset to start from.
            threshold: 0..1: score from which on a moment is kept.
            dimensions: `{"crowd_reaction": {"weight": 3.0}}`.
            types: `{"goal": {"when": {"crowd_reaction": 0.6}}}`.
        """
        body = given(name=name, base=base, threshold=threshold, dimensions=dimensions, types=types)
        return self._calls.one(DimensionSet, "POST", "/dimension-sets", body, creates=True)

    def update(
        self,
        set_id: str,
        *,
        name: str | None = None,
        base: str | None = None,
        threshold: float | None = None,
        dimensions: Mapping[str, Any] | None = None,
        types: Mapping[str, Any] | None = None,
    ) -> DimensionSet:
        """Make the next version of a set; what is not given stays, and streams keep the version they have."""
        body = given(name=name, base=base, threshold=threshold, dimensions=dimensions, types=types)
        return self._calls.one(DimensionSet, "PATCH", at("dimension-sets", set_id), body)

    def delete(self, set_id: str) -> None:
        """Delete a set; streams keep what they know of it."""
        self._calls.do("DELETE", at("dimension-sets", set_id))

    def try_on(self, set_id: str, stream_id: str, *, as_submitted: bool = False) -> Trial:
        """What a set would find in a stream, without analysing it again; nothing is stored.

        By the latest set and types; `as_submitted`: by what the stream remembers of its own set, again.
        """
        body = given(stream_id=stream_id, as_submitted=as_submitted)
        return self._calls.one(Trial, "POST", at("dimension-sets", set_id, "try"), body)


class HighlightTypes:
    """Kinds of highlights."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self, *, limit: int | None = None) -> Pages[HighlightType]:
        """The standard ones, whose id is their name; then your own, newest first."""
        return self._calls.pages(HighlightType, "/highlight-types", limit)

    def get(self, type_id: str) -> HighlightType:
        """One type."""
        return self._calls.one(HighlightType, "GET", at("highlight-types", type_id))

    def create(
        self,
        name: str,
        when: Mapping[str, float],
        *,
        match: Literal["all", "any"] | None = None,
        priority: int | None = None,
        description: str | None = None,
    ) -> HighlightType:
        """Make a type, which joins every dimension set that has its dimensions: `{"crowd_reaction": 0.6}`."""
        body = given(name=name, when=when, match=match, priority=priority, description=description)
        return self._calls.one(HighlightType, "POST", "/highlight-types", body, creates=True)

    def update(
        self,
        type_id: str,
        *,
        when: Mapping[str, float] | None = None,
        match: Literal["all", "any"] | None = None,
        priority: int | None = None,
        description: str | None = None,
    ) -> HighlightType:
        """Make the next version of a type; what is not given stays, and streams keep the one they have."""
        body = given(when=when, match=match, priority=priority, description=description)
        return self._calls.one(HighlightType, "PATCH", at("highlight-types", type_id), body)

    def delete(self, type_id: str) -> None:
        """Delete a type; highlights that are of it stay so, and streams keep what they know of it."""
        self._calls.do("DELETE", at("highlight-types", type_id))
