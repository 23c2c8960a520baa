"""The report: one HTML page that shows what was found, opens from disk and asks no network.

`report.html` beside this file is the page with `{{holes}}`; everything that depends on the document is
made here, so that the page also reads and prints without its script. Styles and script are allowed by
their hashes alone: nothing a file name or a title smuggles in could ever run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np

from tldr_highlight import __version__
from tldr_highlight.analysis.base import STEP, Analysis, Curve, clock
from tldr_highlight.analysis.dimensions import DimensionSet
from tldr_highlight.analysis.rolling import mean
from tldr_highlight.analysis.scoring import score
from tldr_highlight.highlights.document import HighlightDoc, HighlightsDoc
from tldr_highlight.pipeline.common import UNJUDGED

SMOOTHING = 5.0
"""Seconds over which shown curves are averaged (contract); the score stays as fine as peaks are placed."""

MOST_POINTS = 2000
"""Points per curve, two for each bucket: what a wide screen can show, for 12 hours as for one."""

REEL = "reel.mp4"

COLOURS = (
    "action_intensity",
    "crowd_reaction",
    "speech_excitement",
    "humor",
    "scene_energy",
    "emotional_peak",
)
"""Dimensions with a colour of their own, in the order of the page's `--c0`, `--c1` ...; others share two."""


@dataclass(frozen=True, slots=True)
class ReportCurves:
    """What the timeline shows. Value `i` of each curve covers media time `[start + i * step, + step)`."""

    step: float  # seconds
    curves: Mapping[str, Curve]  # dimension -> 0..1, NaN where unknown
    score: Curve  # 0..1: odds that a viewer keeps a moment around each step
    threshold: float
    start: float = 0.0  # media seconds
    misses: tuple[tuple[float, float], ...] | None = None  # (media seconds, score); None: read off the curve

    @classmethod
    def of(
        cls, analysis: Analysis, threshold: float, dimension_set: DimensionSet | None = None
    ) -> ReportCurves:
        """The curves of an analysis, dimensions smoothed.

        With the dimension set, near misses are the events that it scored too low.
        """
        curves = {name: mean(curve, SMOOTHING, least=0.1) for name, curve in analysis.dimensions.items()}
        odds = 0.5 * (1.0 + np.tanh(0.5 * analysis.worth))  # the logistic function, without overflow
        judged = np.isfinite([*analysis.dimensions.values()]).any(axis=0)
        odds = np.where(judged, odds, np.nan)
        misses = None
        if dimension_set:
            scored = ((e.peak, score(e, dimension_set)) for e in analysis.events)
            misses = tuple(sorted((m for m in scored if m[1] < threshold), key=lambda m: (-m[1], m[0])))
        return cls(STEP, curves, odds, threshold, analysis.first * STEP, misses)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A curve as drawn: lowest and highest value per bucket in thousandths, -1 where unknown."""

    low: list[int]
    high: list[int]
    seconds: float  # one bucket


def envelope(curve: Curve, step: float, most: int = MOST_POINTS) -> Envelope:
    """Shrink a curve to at most `most` values without losing a single peak."""
    size = 1 if len(curve) <= most else math.ceil(len(curve) / (most // 2))
    padded = np.pad(curve, (0, -len(curve) % size), constant_values=np.nan).reshape(-1, size)
    low, high = (_thousandths(pick.reduce(padded, axis=1)) for pick in (np.fmin, np.fmax))
    return Envelope(low, high, size * step)


def _thousandths(values: Curve) -> list[int]:
    known = np.isfinite(values)
    return (
        np.where(known, np.clip(np.where(known, values, 0.0), 0, 1) * 1000, -1).round().astype(int).tolist()
    )


def near_misses(curves: ReportCurves, most: int = 3, apart: float = 20.0) -> list[tuple[float, float]]:
    """`(media seconds, score)` of the strongest that fell short, best first, `apart` seconds apart."""
    if curves.misses is not None:
        return list(curves.misses[:most])
    odds = np.where(np.isfinite(curves.score) & (curves.score < curves.threshold), curves.score, -1.0)
    found: list[tuple[float, float]] = []
    for i in np.argsort(-odds, kind="stable").tolist():
        at = curves.start + (i + 0.5) * curves.step
        if len(found) == most or odds[i] < 0.05:
            break
        if all(abs(at - other) >= apart for other, _ in found):
            found.append((at, float(odds[i])))
    return found


def render(document: HighlightsDoc, curves: ReportCurves, folder: Path, identity: Sequence[str] = ()) -> str:
    """The page for `document`, to be written into `folder`, where its clips and thumbnails already are.

    It carries, out of sight, what the source is known by when the next run finds this folder.
    """
    return _Page(document, curves, folder).text(identity)


IDENTITY = re.compile(r'<meta name="source" content="([^"]*)">')
"""Where a page carries what its source is known by, with spaces between."""


# --- text ----------------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    """Text without control characters and without halves of surrogate pairs, which no UTF-8 file can hold."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def _e(text: str) -> str:
    """Text as HTML, safe in elements and in quoted attributes."""
    return escape(_clean(text), quote=True)


def _human(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _count(number: int, one: str) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 59.95 else clock(round(seconds))


def _json(value: object) -> str:
    """JSON that cannot end the script element it stands in, nor break a line of it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _fill(template: str, parts: Mapping[str, str]) -> str:
    """Put `parts` into the template's holes, once: a hole's name inside a part stays text."""
    return re.sub(r"\{\{(\w+)\}\}", lambda hole: parts[hole[1]], template)


# --- page ----------------------------------------------------------------------------------------------


class _Page:
    """One report while it is written."""

    def __init__(self, document: HighlightsDoc, curves: ReportCurves, folder: Path) -> None:
        self._document = document
        self._highlights = document["highlights"]
        self._curves = curves
        self._folder = folder
        self._duration = max(document["duration"], curves.start + len(curves.score) * curves.step, 1e-3)
        self._places: list[str] = []  # style rules that put things where they belong on the timeline
        self._lanes = {n: envelope(c, curves.step) for n, c in curves.curves.items() if np.isfinite(c).any()}
        self._score = envelope(curves.score, curves.step)

    def text(self, identity: Sequence[str]) -> str:
        template = resources.files("tldr_highlight.pipeline").joinpath("report.html").read_text("utf-8")
        name = Path(self._document["source"]).name or self._document["source"]
        parts = {
            "version": __version__,
            "identity": _e(" ".join(identity)),
            "title": _e(f"Highlights of {name}"),
            "name": _e(name),
            "summary": self._summary(),
            "facts": self._facts(),
            "notes": self._notes(),
            "stage": self._stage(),
            "timeline": self._timeline(),
            "empty": "" if self._highlights else self._empty(),
            "highlights": self._cards() if self._highlights else "",
            "threshold": f"{self._curves.threshold:.2f}",
            "data": _json(self._data()),
        }
        template = template.replace("{{places}}", "\n".join(self._places))
        style, script = _inside(template, "style"), _inside(template, "script")
        return _fill(template, parts | {"policy": _policy(style, script)})

    # head of the page

    def _summary(self) -> str:
        count, whole = len(self._highlights), clock(self._document["duration"])
        if not count and self._unjudged:
            return f"Nothing in {whole} could be judged."
        if not count:
            return f"Nothing in {whole} stood out enough to be called a highlight."
        shown = sum(h["clip_end"] - h["clip_start"] for h in self._highlights)
        return f"{_count(count, 'highlight')} in {whole}, {_length(shown)} worth watching."

    @property
    def _unjudged(self) -> bool:
        return not UNJUDGED.isdisjoint(self._document["warnings"])

    def _facts(self) -> str:
        document = self._document
        speed = document["duration"] / document["elapsed"] if document["elapsed"] > 0 else 0.0
        facts = [
            ("Length", clock(document["duration"])),
            ("Done in", _length(document["elapsed"])),
            ("Speed", f"{speed:.0f}× realtime" if speed >= 10 else f"{speed:.1f}× realtime"),
            ("Analyzer", document["analyzer"]),
        ]
        return "".join(f"<div><dt>{_e(k)}</dt><dd>{_e(v)}</dd></div>" for k, v in facts)

    def _notes(self) -> str:
        if not (self._document["warnings"] or self._document["degraded"]):
            return ""
        degraded = self._document["degraded"]
        heading = "Judged with less than usual" if degraded else "Worth knowing"
        items = "".join(f"<li>{_e(w)}</li>" for w in self._document["warnings"])
        kind = " degraded" if degraded else ""
        return f'<aside class="notes{kind}" aria-label="Notes"><h2>{heading}</h2><ul>{items}</ul></aside>'

    def _stage(self) -> str:
        if not any(h["clip"] for h in self._highlights):
            return ""
        reel = ""
        if (self._folder / REEL).is_file():
            reel = f'<button type="button" id="reel" class="quiet" data-src="{REEL}">Watch the reel</button>'
        return _STAGE.replace("{{reel}}", reel)

    # timeline

    def _timeline(self) -> str:
        ticks, marks = self._ticks(), self._marks()
        lanes = [self._score_lane()]
        lanes += [self._lane(name, shape) for name, shape in self._lanes.items()]
        unknown = self._unknown()
        hint = (
            f'<p class="hint">Not judged by {_e(self._document["analyzer"])}: {_e(unknown)}.</p>'
            if unknown
            else ""
        )
        return (
            f'<div class="lanes" id="lanes">{marks}{"".join(lanes)}'
            f'<div class="over" aria-hidden="true">{self._bands()}<i id="cross"></i><i id="head"></i></div>'
            f'<div class="ticks" aria-hidden="true">{ticks}</div></div>{hint}'
        )

    def _unknown(self) -> str:
        names = dict.fromkeys([*self._curves.curves, *(n for h in self._highlights for n in h["dimensions"])])
        judged = {n for h in self._highlights for n, v in h["dimensions"].items() if v is not None}
        return ", ".join(_human(n).lower() for n in names if n not in self._lanes and n not in judged)

    def _percent(self, seconds: float) -> str:
        share = min(max(seconds / self._duration, 0.0), 1.0) * 100
        return f"{share:.3f}%"

    def _ticks(self) -> str:
        choices = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000)
        step = next((c for c in choices if self._duration / c <= 8), 86400)
        out: list[str] = []
        for i in range(int(self._duration // step) + 1):
            if i and self._duration - i * step < 0.03 * self._duration:
                break  # the label would leave the page
            self._places.append(f"#t{i}{{left:{self._percent(i * step)}}}")
            out.append(f'<span id="t{i}">{clock(i * step)}</span>')
        return "".join(out)

    def _marks(self) -> str:
        """One numbered link per highlight, above its peak: what keyboards and screen readers use."""
        out: list[str] = []
        for i, h in enumerate(self._highlights):
            self._places.append(f"#p{i}{{left:{self._percent(h['peak'])}}}")
            label = _e(f"Highlight {i + 1}, {clock(h['peak'])}: {h['title']}")
            out.append(f'<a class="pin" id="p{i}" href="#h{i}" data-i="{i}" aria-label="{label}">{i + 1}</a>')
        for i, (at, odds) in enumerate(self._misses()):
            self._places.append(f"#m{i}{{left:{self._percent(at)}}}")
            out.append(f'<span class="miss" id="m{i}" title="{odds:.2f} at {clock(at)}"></span>')
        return f'<nav class="pins" aria-label="Highlights on the timeline">{"".join(out)}</nav>'

    def _misses(self) -> list[tuple[float, float]]:
        return [] if self._highlights else near_misses(self._curves)

    def _bands(self) -> str:
        out: list[str] = []
        for i, h in enumerate(self._highlights):
            start, end = h["start"], max(h["end"], h["start"])
            width = self._percent(end - start)
            self._places.append(f"#b{i}{{left:{self._percent(start)};width:{width}}}")
            out.append(f'<b class="band" id="b{i}"></b>')
        return "".join(out)

    def _score_lane(self) -> str:
        dots: list[str] = []
        for i, h in enumerate(self._highlights):
            top = f"{100 - 100 * min(max(h['score'], 0.0), 1.0):.1f}%"
            self._places.append(f"#d{i}{{left:{self._percent(h['peak'])};top:{top}}}")
            dots.append(f'<i class="dot" id="d{i}"></i>')
        level = f"{100 * min(max(self._curves.threshold, 0.0), 1.0):.1f}%"
        self._places.append(f"#level{{bottom:{level}}}")
        line = f'<i id="level"><em><span>keep from </span>{self._curves.threshold:.2f}</em></i>'
        over = f"{line}{''.join(dots)}"
        return self._row("Score", "lane score", "score", self._score, over)

    def _lane(self, name: str, shape: Envelope) -> str:
        return self._row(_human(name), f"lane {_colour(name)}", name, shape, "")

    def _row(self, label: str, kind: str, key: str, shape: Envelope, over: str) -> str:
        best = max(shape.high, default=-1)
        value = f"{best / 1000:.2f}" if best >= 0 else "–"
        return (
            f'<div class="{kind}"><span class="name">{_e(label)}</span>'
            f'<div class="plot">{self._drawing(label, shape, value)}{over}</div>'
            f'<span class="value" data-key="{_e(key)}" data-best="{value}">{value}</span></div>'
        )

    def _drawing(self, label: str, shape: Envelope, best: str) -> str:
        width = self._duration / shape.seconds
        first = self._curves.start / shape.seconds
        areas = [_area(shape.high, first)]
        if shape.low != shape.high:
            areas.append(_area(shape.low, first))
        paths = "".join(f'<path class="area" d="{d}"/>' for d in areas)
        text = _e(f"{label} over time; highest value {best}")
        return (
            f'<svg viewBox="0 0 {width:.3f} 1000" preserveAspectRatio="none" role="img" aria-label="{text}">'
            f'{paths}<path class="line" d="{_line(shape.high, first)}"/></svg>'
        )

    # highlights

    def _cards(self) -> str:
        cards = "".join(self._card(i, h) for i, h in enumerate(self._highlights))
        order = (
            '<div class="order" role="group" aria-label="Order" id="order" hidden>'
            '<button type="button" data-by="time" aria-pressed="true">By time</button>'
            '<button type="button" data-by="score" aria-pressed="false">Best first</button></div>'
        )
        count = _count(len(self._highlights), "highlight")
        return (
            f'<section id="highlights"><div class="heading"><h2>{count}</h2>{order}</div>'
            f'<div class="cards" id="cards">{cards}</div></section>'
        )

    def _card(self, index: int, h: HighlightDoc) -> str:
        types = "".join(f"<li>{_e(_human(t))}</li>" for t in h["types"])
        span = f"{clock(h['start'])} – {clock(h['end'])}"
        meta = f"peak at {clock(h['peak'])} · confidence {h['confidence']:.2f}"
        return (
            f'<article class="card" id="h{index}" data-i="{index}" data-score="{h["score"]:.4f}">'
            f'{self._thumbnail(index, h)}<div class="body">'
            f'<div class="top"><h3><bdi>{_e(h["title"])}</bdi></h3>{_score(h["score"])}</div>'
            f'<p class="meta"><span class="span">{span}</span> · {meta}</p>'
            f'<ul class="chips" aria-label="Types">{types}</ul><div class="why">{_evidence(h)}'
            f"<details><summary>Dimensions</summary>{_bars(h['dimensions'])}</details></div></div></article>"
        )

    def _thumbnail(self, index: int, h: HighlightDoc) -> str:
        picture = _embedded(self._folder, h["thumbnail"])
        image = f'<img src="{picture}" alt="" width="320" height="180">' if picture else _WAVE
        length = f'<span class="length">{_length(h["clip_end"] - h["clip_start"])}</span>'
        number = f'<span class="number">{index + 1}</span>'
        if h["clip"] is None:
            return f'<div class="thumb">{image}{number}<span class="length">no clip</span></div>'
        label = _e(f"Play highlight {index + 1}: {h['title']}")
        link = f'class="thumb" href="{_e(_link(h["clip"]))}" data-play="{index}" aria-label="{label}"'
        return f"<a {link}>{image}{number}{length}{_PLAY}</a>"

    def _empty(self) -> str:
        document, misses = self._document, self._misses()
        judged = ", ".join(_human(n).lower() for n in self._lanes)
        looked = f"All {clock(document['duration'])} were looked at."
        if not judged:
            looked += f" There was nothing that the {document['analyzer']} analyzer could judge."
            return self._nothing(looked, "")
        looked += (
            f" The {document['analyzer']} analyzer judged {judged}."
            f" A moment is kept when its score reaches {self._curves.threshold:.2f}; none did."
        )
        near = '<p class="near">There were no near misses either: it is an even recording.</p>'
        if misses:
            items = "".join(
                f"<li>{_score(s)}<span>at {clock(at)}</span>{self._at(at)}</li>" for at, s in misses
            )
            lower = max(0.01, math.floor(misses[-1][1] * 100 - 1) / 100)
            near = (
                f'<h3>The strongest that fell short</h3><ol class="misses">{items}</ol>'
                '<p class="near">To see them as clips, run again with '
                f"<code>--threshold {lower:.2f}</code></p>"
            )
        return self._nothing(looked, near)

    def _nothing(self, looked: str, near: str) -> str:
        result = "" if self._unjudged else ", and that is the result"
        return (
            f'<section id="highlights" class="empty"><h2>Nothing to show{result}</h2>'
            f"<p>{_e(looked)}</p>{near}</section>"
        )

    def _at(self, seconds: float) -> str:
        """The two strongest dimensions around a time, in words."""
        middle = int((seconds - self._curves.start) / self._curves.step)
        around = slice(max(0, middle - 4), middle + 5)
        values = {
            n: c[around][np.isfinite(c[around])].max(initial=0.0) for n, c in self._curves.curves.items()
        }
        best = sorted(values.items(), key=lambda item: -item[1])[:2]
        words = ", ".join(f"{_human(n).lower()} {v:.2f}" for n, v in best if v >= 0.1)
        return f"<small>{_e(words)}</small>" if words else ""

    # what the script needs

    def _data(self) -> dict[str, object]:
        return {
            "duration": round(self._duration, 3),
            "start": self._curves.start,
            "curves": {
                _clean(n): {"s": s.seconds, "v": s.high}
                for n, s in {**self._lanes, "score": self._score}.items()
            },
            "highlights": [
                {
                    "from": h["clip_start"],
                    "to": h["clip_end"],
                    "start": h["start"],
                    "end": h["end"],
                    "title": _clean(h["title"]),
                    "clip": _link(h["clip"]) if h["clip"] else None,
                    "poster": _link(h["thumbnail"]) if h["thumbnail"] else None,
                }
                for h in self._highlights
            ],
        }


# --- pieces --------------------------------------------------------------------------------------------

_STAGE = """<section class="stage" id="stage" aria-label="Player" hidden>
<div class="screen"><video id="video" controls playsinline preload="metadata"></video></div>
<div class="now"><p class="count" id="count" aria-live="polite"></p>
<h2 id="now"></h2><p class="meta" id="when"></p>
<div class="keys"><button type="button" id="previous" aria-label="Previous highlight">←</button>
<button type="button" id="play" class="main">Play</button>
<button type="button" id="next" aria-label="Next highlight">→</button>{{reel}}</div>
<div id="why"></div></div></section>"""

_PLAY = (
    '<svg class="go" viewBox="0 0 48 48" aria-hidden="true">'
    '<circle cx="24" cy="24" r="24"/><path d="M19 15l15 9-15 9z"/></svg>'
)

_LOUD = (6, 14, 9, 24, 38, 20, 30, 46, 26, 34, 16, 40, 22, 10, 28, 12, 6, 4)
_WAVE = (
    '<svg class="wave" viewBox="0 0 320 180" aria-hidden="true">'
    f'<path d="{"".join(f"M{92 + 8 * i} {90 - h}v{2 * h}" for i, h in enumerate(_LOUD))}"/></svg>'
)
"""What stands in for a picture where there is none."""


def _inside(page: str, element: str) -> str:
    """The text of the only attribute-free `<style>` or `<script>` of the template."""
    (text,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return text


def _policy(style: str, script: str) -> str:
    """A content security policy that allows these two texts, pictures in the page, and files beside it."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'; "
        "img-src data: 'self' file:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )


def _link(name: str) -> str:
    """A path relative to the page, as an address."""
    try:
        return quote(name, errors="surrogateescape")
    except UnicodeEncodeError:
        return quote(_clean(name))


def _embedded(folder: Path, thumbnail: str | None) -> str | None:
    """The small WebP beside a thumbnail as a `data:` address, else the thumbnail's own; None without one."""
    if thumbnail is None:
        return None
    small = (folder / thumbnail).with_suffix(".webp")
    try:
        if not small.resolve().is_relative_to(folder.resolve()):
            return None
        return f"data:image/webp;base64,{base64.b64encode(small.read_bytes()).decode()}"
    except (OSError, ValueError):  # gone, or a name that no file can have
        return _e(_link(thumbnail))


def _colour(name: str) -> str:
    return f"c{COLOURS.index(name)}" if name in COLOURS else f"c{len(COLOURS) + sum(map(ord, name)) % 2}"


def _score(score: float) -> str:
    title = "How likely a viewer would keep this moment, from 0 to 1"
    return f'<span class="points" title="{title}"><small>score</small>{score:.2f}</span>'


def _evidence(h: HighlightDoc) -> str:
    if not h["evidence"]:
        return ""
    lines = (f'<li class="{_colour(e["dimension"])}">{_e(e["text"])}</li>' for e in h["evidence"])
    return f'<ul class="evidence" aria-label="Evidence">{"".join(lines)}</ul>'


def _bars(values: Mapping[str, float | None]) -> str:
    """Known dimensions, strongest first, then the unknown ones, said as such."""
    known = sorted(((n, v) for n, v in values.items() if v is not None), key=lambda item: -item[1])
    bars = "".join(_bar(n, v) for n, v in known)
    unknown = ", ".join(_human(n).lower() for n, v in values.items() if v is None)
    rest = f'<li class="unknown">Unknown: {_e(unknown)}</li>' if unknown else ""
    return f'<ul class="bars">{bars}{rest}</ul>'


def _bar(name: str, value: float) -> str:
    drawn = (
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * value:.1f}" height="1"/></svg>'
    )
    return f'<li class="{_colour(name)}"><span>{_e(_human(name))}</span>{drawn}<b>{value:.2f}</b></li>'


def _runs(values: Sequence[int]) -> Iterable[tuple[int, list[int]]]:
    """Stretches of known values, each with its first index."""
    run: list[int] = []
    for i, value in enumerate([*values, -1]):
        if value >= 0:
            run.append(value)
        elif run:
            yield i - len(run), run
            run = []


def _relative(run: Sequence[int]) -> str:
    """From one value to the next, as relative lines; y grows downwards."""
    downs = (a - b for a, b in pairwise(run))
    return "l" + " ".join(f"1{d}" if d < 0 else f"1 {d}" for d in downs) if len(run) > 1 else ""


def _line(values: Sequence[int], first: float) -> str:
    return "".join(
        f"M{first + i + 0.5:g} {1000 - run[0]}{_relative(run) or 'h.01'}" for i, run in _runs(values)
    )


def _area(values: Sequence[int], first: float) -> str:
    """Filled down to the ground, half a bucket out on both sides."""
    return "".join(
        f"M{first + i:g} 1000V{1000 - run[0]}h.5{_relative(run)}h.5V1000z" for i, run in _runs(values)
    )
