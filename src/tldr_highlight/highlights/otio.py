"""Timelines for editing programs, by OpenTimelineIO. The only file that imports it, and an extra.

The source stays one medium; the timeline shows the clips one after another, each with a marker at its
peak. The Final Cut Pro 7 XML is written by OTIO's own adapter `fcp_xml` (package `otio-fcp-adapter`).
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from tldr_highlight.errors import MissingExtraError
from tldr_highlight.highlights.cuts import Cut, CutList
from tldr_highlight.highlights.timecode import frame_at


def as_otio(made: CutList) -> str:
    """The timeline as OTIO JSON.

    Raises:
        MissingExtraError: opentimelineio is not installed.
    """
    otio = _extra("opentimelineio", "OpenTimelineIO")
    return str(otio.adapters.write_to_string(_timeline(otio, made), "otio_json")) + "\n"


def as_fcp7(made: CutList) -> str:
    """The timeline as Final Cut Pro 7 XML (xmeml).

    Raises:
        MissingExtraError: opentimelineio or its adapter is not installed.
    """
    otio = _extra("opentimelineio", "Final Cut Pro 7 XML")
    _extra("otio_fcp_adapter", "Final Cut Pro 7 XML")
    text: str = otio.adapters.write_to_string(_timeline(otio, made), "fcp_xml")
    return text.rstrip() + "\n"


def _extra(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{what} takes the package {module}: pip install 'tldr-highlight[otio]'"
        ) from error


def _timeline(otio: Any, made: CutList) -> Any:
    """`otio` is the module; the result an `otio.schema.Timeline`."""
    source = made.document["source"]
    timeline = otio.schema.Timeline(_printable(Path(source).name))
    for kind, there in (("Video", made.has_video), ("Audio", made.has_audio)):
        if there:
            track = otio.schema.Track(f"{kind[0]}1", kind=kind)
            cuts = enumerate(made.cuts, start=1)
            track.extend([_clip(otio, made, n, cut, marked=not timeline.tracks) for n, cut in cuts])
            timeline.tracks.append(track)
    return timeline


def _clip(otio: Any, made: CutList, number: int, cut: Cut, *, marked: bool) -> Any:
    def at(frame: int) -> Any:
        return otio.opentime.RationalTime(frame, float(made.rate))

    def between(first: int, end: int) -> Any:
        return otio.opentime.TimeRange(at(first), at(end - first))

    h, source = cut.highlight, made.document["source"]
    last = max(c.end for c in made.cuts)
    whole = between(0, max(last, frame_at(made.document["duration"], made.rate)))
    medium = otio.schema.ExternalReference(_address(source), whole)
    medium.name = _printable(Path(source).name)
    clip = otio.schema.Clip(_printable(cut.title), medium, between(cut.first, cut.end))
    clip.metadata["tldr_highlight"] = {
        "number": number,  # of equal clips `fcp_xml` writes one, and an empty item
        "score": h["score"],
        "confidence": h["confidence"],
        "types": [_printable(t) for t in h["types"]],
        "dimensions": {_printable(n): v for n, v in h["dimensions"].items()},
        "evidence": [_printable(e["text"]) for e in h["evidence"]],
    }
    if marked:
        peak = min(max(cut.first, frame_at(h["peak"], made.rate)), cut.end - 1)
        clip.markers.append(otio.schema.Marker(f"Peak, score {h['score']:.2f}", between(peak, peak + 1)))
    return clip


def _printable(text: str) -> str:
    """Text that XML and UTF-8 can hold: no control characters, no halves of surrogate pairs."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", text)


def _address(source: str) -> str:
    """A source as an address: a local path becomes `file://`."""
    if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
        return _printable(source)
    try:
        return Path(source).absolute().as_uri()
    except UnicodeEncodeError:
        return Path(_printable(source)).absolute().as_uri()
