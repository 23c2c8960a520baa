"""DASH: a static manifest (ISO/IEC 23009-1) becomes playlists of segments with names of ours, as HLS's do.

The wheel's libav has no demuxer for DASH; its HLS demuxer reads the same segments. All of the standard that
names segments is read: templates by number or time, timelines, lists, and files with an index; addresses and
parameters are inherited as it says. Of the pictures the largest are used, and of the sounds the main one.

Periods whose headers agree are one part of the recording: what their clocks differ by is added to the times
in their segments. Where headers differ, another part begins.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from tldr_highlight.core.addresses import Address, parse
from tldr_highlight.core.egress import Egress
from tldr_highlight.errors import MediaError, NoStreamsError
from tldr_highlight.media import boxes
from tldr_highlight.media.playlists import MARK, first_playlist
from tldr_highlight.media.recordings import Extent, Named, Part, Recording, Shift
from tldr_highlight.media.types import Remote

Kind: TypeAlias = Literal["video", "audio"]

MOST_DEEP = 32
"""Elements inside each other: the standard's lie eight deep."""

MOST_ELEMENTS = 400_000

MOST_SEGMENTS = 100_000
"""Of pictures and sound each: a week of six seconds. A few bytes of a manifest can ask for billions."""

MOST_PERIODS = 1_000

INDEX_BYTES = 65_536
"""At the start of a file in which its index is looked for, where the manifest does not say its place."""


def is_manifest(head: bytes) -> bool:
    """Whether a file that begins so is a DASH manifest."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"<") and re.search(rb"<(\w+:)?MPD[\s/>]", text) is not None


def read_manifest(egress: Egress, remote: Remote, found: str, text: bytes) -> Recording:
    """The recording of the manifest `text`, which was `found` in the end where `remote` led.

    Raises:
        MediaError: it is live, damaged, or asks for what is not read here.
        NoStreamsError: it is encrypted, or has neither pictures nor sound in MP4.
        SourceError: it names addresses that may not be opened, or headers that cannot be.
    """
    recording = Recording(egress, remote)
    try:
        root = _tree(text)
        if root.tag != "MPD":
            raise MediaError("it is no manifest")
        if root.get("type", "static") != "static":
            raise MediaError("it is live: name a recording, whose manifest is static")
        periods = [_read_period(recording, period, parse(found)) for period in _periods(root)]
        recording.parts = tuple(_parts(recording, [period for period in periods if period.tracks]))
    except MediaError as error:
        raise type(error)(f"{recording.shown}: {error}") from error
    return recording


# --- XML -----------------------------------------------------------------------------------------------


class _Builder(TreeBuilder):
    """Builds a tree without namespaces; what can swell or leads elsewhere is refused before it is read."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._count = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Entities come with a document type, and no manifest needs one."""
        raise MediaError("its XML declares a document type, which no manifest needs")

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._depth += 1
        self._count += 1
        if self._depth > MOST_DEEP or self._count > MOST_ELEMENTS:
            raise MediaError("its XML is deeper or larger than any manifest's")
        return super().start(tag.rpartition("}")[2], attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag.rpartition("}")[2])


def _tree(text: bytes) -> Element:
    parser = XMLParser(target=_Builder())  # noqa: S314 - what makes XML dangerous is refused by the builder
    try:
        parser.feed(text)
        return parser.close()
    except (ParseError, ValueError) as error:
        raise MediaError(f"its XML is damaged ({error})") from error


_NUMBER = re.compile(r"[0-9]{1,18}")


def _whole(element: Element | None, name: str, otherwise: int) -> int:
    """An attribute that is a whole number.

    Raises:
        MediaError: it is none.
    """
    text = None if element is None else element.get(name)
    if text is None:
        return otherwise
    if not _NUMBER.fullmatch(text.strip()):
        raise MediaError(f"{name} is no number: it is damaged")
    return int(text)


_DURATION = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9}(?:\.\d{1,12})?)S)?)?")


def _duration(element: Element, name: str) -> Fraction | None:
    """Seconds of an attribute such as `PT1H2M3.5S`."""
    text = element.get(name)
    if text is None:
        return None
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise MediaError(f"{name} is no length of time: it is damaged")
    days, hours, minutes, seconds = (Fraction(part or 0) for part in found.groups())
    return days * 86_400 + hours * 3600 + minutes * 60 + seconds


def _bytes(text: str | None) -> tuple[int | None, int | None]:
    """First byte of a range such as `0-999` and the one behind its last; twice None: the whole file."""
    if text is None:
        return None, None
    found = re.fullmatch(r"\s*(\d{1,18})-(\d{1,18})\s*", text)
    if found is None or int(found[1]) > int(found[2]):
        raise MediaError("a range of bytes makes no sense: it is damaged")
    return int(found[1]), int(found[2]) + 1


# --- periods -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """A period, and when it is shown, in seconds."""

    path: tuple[Element, ...]  # the manifest, and the period
    start: Fraction
    seconds: Fraction | None  # None: as long as its segments


def _periods(root: Element) -> list[_Span]:
    """The periods in order."""
    elements = root.findall("Period")
    if not 0 < len(elements) <= MOST_PERIODS:
        raise MediaError(f"it has {len(elements)} periods; between 1 and {MOST_PERIODS} are read")
    starts: list[Fraction] = []
    start: Fraction | None = Fraction(0)
    for period in elements:
        own = _duration(period, "start")
        start = start if own is None else own
        if start is None:
            raise MediaError("a period does not say when it begins: it is damaged")
        starts.append(start)
        length = _duration(period, "duration")
        start = None if length is None else start + length
    total = _duration(root, "mediaPresentationDuration")
    ends = [*starts[1:], total if start is None else start]
    return [
        _Span((root, period), begin, _length(period, begin, end))
        for period, begin, end in zip(elements, starts, ends, strict=True)
    ]


def _length(period: Element, start: Fraction, end: Fraction | None) -> Fraction | None:
    own = _duration(period, "duration")
    return own if own is not None else None if end is None else max(Fraction(0), end - start)


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment, and when it is shown, in seconds of the recording."""

    extent: Extent
    start: Fraction
    seconds: Fraction
    may_lack: bool = False


@dataclass(frozen=True, slots=True)
class _Track:
    """Pictures or sound of a period."""

    header: Extent | None  # None: each segment has its own
    segments: Sequence[_Segment]
    shift: Fraction  # seconds that make the recording's times of those in the segments


@dataclass(frozen=True, slots=True)
class _Period:
    start: Fraction
    tracks: Mapping[Kind, _Track]


def _read_period(recording: Recording, span: _Span, base: Address) -> _Period:
    if any(name.endswith("}href") for element in span.path[1].iter() for name in element.keys()):  # noqa: SIM118
        raise MediaError("it is put together from several manifests, which is not read")
    tracks: dict[Kind, _Track] = {}
    for kind in _KINDS:
        chosen = _chosen(span, kind)
        if chosen and (track := _track(recording, chosen, span, base)).segments:
            tracks[kind] = track
    return _Period(span.start, tracks)


_KINDS: tuple[Kind, ...] = ("video", "audio")


# --- choosing ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Representation:
    """One encoding of pictures or sound: its element, and those it lies in and inherits from."""

    path: tuple[Element, ...]  # the manifest, period, adaptation set, representation

    def get(self, name: str) -> str:
        """An attribute, of the innermost element that has it."""
        return next((e.get(name, "") for e in reversed(self.path) if name in e.keys()), "")  # noqa: SIM118

    def has(self, tag: str) -> bool:
        """Whether such an element is in the set or the representation."""
        return any(e.find(tag) is not None for e in self.path[2:])

    @property
    def roles(self) -> set[str]:
        return {role.get("value", "") for role in self.path[2].findall("Role")}


def _chosen(span: _Span, kind: Kind) -> _Representation | None:
    """The best pictures or sound of a period; None where it has none.

    Raises:
        NoStreamsError: all there are are encrypted, or in nothing that is read.
    """
    ours = [r for r in _representations(span) if _kind(r) == kind and not r.has("EssentialProperty")]
    readable = [r for r in ours if r.get("mimeType").endswith(("/mp4", "/webm"))]
    plain = [r for r in readable if not r.has("ContentProtection")]
    if ours and not readable:
        raise NoStreamsError(f"its {kind} is {ours[0].get('mimeType')[:40]}, which is not read: name MP4")
    if readable and not plain:
        raise NoStreamsError("is encrypted: name a recording without protection")
    return max(plain, key=_goodness, default=None)


def _representations(span: _Span) -> Iterator[_Representation]:
    for group in span.path[1].findall("AdaptationSet"):
        for element in group.findall("Representation"):
            yield _Representation((*span.path, group, element))


def _kind(representation: _Representation) -> str:
    return representation.get("contentType") or representation.get("mimeType").partition("/")[0]


def _goodness(representation: _Representation) -> tuple[int, bool, bool, bool, int]:
    """Order of encodings: large pictures, the main sound, what can be copied into clips, many bits."""
    codecs = representation.get("codecs")
    return (
        _size(representation.get("height")),
        not representation.roles or "main" in representation.roles,
        representation.get("mimeType").endswith("/mp4"),
        codecs.startswith(("avc", "mp4a")),
        _size(representation.get("bandwidth")),
    )


def _size(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0


# --- segments ------------------------------------------------------------------------------------------


def _track(recording: Recording, chosen: _Representation, span: _Span, base: Address) -> _Track:
    """The segments of one encoding."""
    for element in chosen.path:
        if (uri := (element.findtext("BaseURL") or "").strip()) or element.find("BaseURL") is not None:
            base = recording.checked(uri, base)
    for tag, read in (("SegmentTemplate", _templated), ("SegmentList", _listed)):
        levels = [found for e in reversed(chosen.path[1:]) if (found := e.find(tag)) is not None]
        if levels:
            return _limited(read(_Reading(recording, chosen, _Information(levels), span, base)), span)
    levels = [found for e in reversed(chosen.path[1:]) if (found := e.find("SegmentBase")) is not None]
    return _indexed(_Reading(recording, chosen, _Information(levels), span, base))


@dataclass(frozen=True, slots=True)
class _Information:
    """What is said about segments, innermost element first: each inherits from those around it."""

    levels: Sequence[Element]

    def element(self, tag: str) -> Element | None:
        return next((found for e in self.levels if (found := e.find(tag)) is not None), None)

    def get(self, name: str) -> str | None:
        return next((e.get(name) for e in self.levels if name in e.keys()), None)  # noqa: SIM118

    def whole(self, name: str, otherwise: int) -> int:
        return _whole(next((e for e in self.levels if name in e.keys()), None), name, otherwise)  # noqa: SIM118

    @property
    def scale(self) -> int:
        """Ticks in a second."""
        return self.whole("timescale", 1) or 1

    @property
    def offset(self) -> int:
        """The tick in the segments at which the period begins."""
        return self.whole("presentationTimeOffset", 0)


@dataclass(frozen=True, slots=True)
class _Reading:
    """All that is needed to tell the segments of an encoding."""

    recording: Recording
    chosen: _Representation
    told: _Information
    span: _Span
    base: Address

    @property
    def shift(self) -> Fraction:
        """Seconds that make the recording's times of those in the segments."""
        return self.span.start - Fraction(self.told.offset, self.told.scale)

    def extent(self, uri: str, span: str | None = None) -> Extent:
        return Extent(self.recording.checked(uri, self.base) if uri else self.base, *_bytes(span))

    def segment(self, extent: Extent, time: int, ticks: int, *, may_lack: bool = False) -> _Segment:
        """A segment whose first picture or sample has the tick `time`."""
        scale = self.told.scale
        return _Segment(extent, Fraction(time, scale) + self.shift, Fraction(ticks, scale), may_lack)


@dataclass(frozen=True, slots=True)
class _Time:
    """Which segment, and which ticks it is told to hold."""

    number: int
    time: int
    ticks: int
    is_guess: bool = False  # the last one that a length of time leaves room for


def _times(reading: _Reading, count: int | None = None) -> Iterator[_Time]:
    """The segments of a timeline, or as many of one length as the period or `count` has room for."""
    told, span = reading.told, reading.span
    first = told.whole("startNumber", 1)
    timeline = told.element("SegmentTimeline")
    if timeline is not None:
        until = None if span.seconds is None else told.offset + math.ceil(span.seconds * told.scale)
        for index, (time, ticks) in enumerate(_timeline(timeline, until)):
            yield _Time(first + index, time, ticks)
        return
    ticks = told.whole("duration", 0)
    if count is None:
        if not ticks or span.seconds is None:
            raise MediaError("it does not say how many segments there are: it is damaged")
        count = math.ceil(span.seconds * told.scale / ticks)
        last = told.whole("endNumber", first + count - 1)
        count = min(count, last - first + 1)
    for index in range(count):
        yield _Time(first + index, told.offset + index * ticks, ticks, is_guess=index == count - 1)


def _timeline(timeline: Element, until: int | None) -> Iterator[tuple[int, int]]:
    """First tick and ticks of each segment; the last entry may go on `until` a tick."""
    entries = timeline.findall("S")
    following = [*(e.get("t") for e in entries[1:]), None]
    time = 0
    for entry, then in zip(entries, following, strict=True):
        time, ticks = _whole(entry, "t", time), _whole(entry, "d", 0)
        if not ticks or _whole(entry, "k", 1) != 1:
            raise MediaError("its timeline makes no sense: it is damaged")
        if entry.get("r", "0").strip().startswith("-"):
            end = int(then) if then and _NUMBER.fullmatch(then) else until
            if end is None:
                raise MediaError("its timeline goes on without an end: it is damaged")
            count = max(1, -(-(end - time) // ticks))
        else:
            count = 1 + _whole(entry, "r", 0)
        for _ in range(count):
            yield time, ticks
            time += ticks


def _limited(track: _Track, span: _Span) -> _Track:
    """Without the segments that lie before the period or behind it; the last one reaches to its end."""
    segments = [s for s in track.segments if s.start + s.seconds > span.start]
    if span.seconds is not None:
        end = span.start + span.seconds
        segments = [s for s in segments if s.start < end]
        segments[-1:] = [replace(s, seconds=max(s.seconds, end - s.start)) for s in segments[-1:]]
    return replace(track, segments=segments)


# templates


_FIELD = re.compile(r"\$(?:(RepresentationID|Number|Time|Bandwidth)(?:%0([0-9]{1,2})d)?)?\$")


def _filled(template: str, values: Mapping[str, str | int]) -> str:
    """A template with its fields filled in, such as `$RepresentationID$/$Number%05d$.m4s`.

    Raises:
        MediaError: a field that has no value here.
    """

    def value(found: re.Match[str]) -> str:
        name, digits = found[1], int(found[2] or 0)
        if name is None:
            return "$"
        if name not in values:
            raise MediaError("a template asks for what it cannot have: it is damaged")
        return str(values[name]).zfill(digits)

    filled = _FIELD.sub(value, template)
    if "$" in _FIELD.sub("", template):
        raise MediaError("a template has fields that are not read")
    return filled


def _templated(reading: _Reading) -> _Track:
    told = reading.told
    own = {"RepresentationID": reading.chosen.get("id"), "Bandwidth": reading.chosen.get("bandwidth")}
    media = told.get("media")
    if not media:
        raise MediaError("a template names no segments: it is damaged")
    segments = [
        reading.segment(
            reading.extent(_filled(media, own | {"Number": at.number, "Time": at.time})),
            at.time, at.ticks, may_lack=at.is_guess,
        )
        for at in _bounded(_times(reading))
    ]  # fmt: skip
    header = told.get("initialization")
    return _Track(
        reading.extent(_filled(header, own)) if header else _initialization(reading), segments, reading.shift
    )


def _bounded(times: Iterator[_Time]) -> list[_Time]:
    found = list(itertools.islice(times, MOST_SEGMENTS + 1))
    if len(found) > MOST_SEGMENTS:
        raise MediaError(f"it asks for more than {MOST_SEGMENTS} segments")
    return found


def _initialization(reading: _Reading) -> Extent | None:
    """The header that an element names."""
    element = reading.told.element("Initialization")
    if element is None:
        return None
    return reading.extent(element.get("sourceURL", ""), element.get("range"))


# lists, and files with an index


def _listed(reading: _Reading) -> _Track:
    elements = next(filter(None, (e.findall("SegmentURL") for e in reading.told.levels)), list[Element]())
    times = _bounded(_times(reading, len(elements)))
    segments = [
        reading.segment(reading.extent(e.get("media", ""), e.get("mediaRange")), at.time, at.ticks)
        for e, at in zip(elements, times, strict=False)
    ]
    return _Track(_initialization(reading), segments, reading.shift)


def _indexed(reading: _Reading) -> _Track:
    """The segments of a file, by the index it holds."""
    recording, told = reading.recording, reading.told
    start, end = _bytes(told.get("indexRange"))
    if start is None:
        head = recording.fetch(Extent(reading.base, 0, INDEX_BYTES)).body
        start, end = boxes.index_place(head) or (None, None)
    if start is None or end is None:
        raise MediaError("a file of it has no index of its segments, without which none can be found")
    found = boxes.index(recording.fetch(Extent(reading.base, start, end)).body, start)
    segments = [
        _Segment(Extent(reading.base, s.start, s.end), s.time + reading.shift, s.seconds)
        for s in found[: MOST_SEGMENTS + 1]
    ]
    return _Track(_initialization(reading) or Extent(reading.base, 0, start), segments, reading.shift)


# --- parts ---------------------------------------------------------------------------------------------


def _parts(recording: Recording, periods: Sequence[_Period]) -> Iterator[Part]:
    """Periods that can stand in one file, joined; each group of them is a part."""
    if not periods:
        raise NoStreamsError("holds neither picture nor sound: name another recording")
    origin = periods[0].start
    keys = [_key(recording, period) if len(periods) > 1 else None for period in periods]
    for _, group in itertools.groupby(zip(keys, periods, strict=True), lambda pair: pair[0]):
        joined = [period for _, period in group]
        least = min(track.shift for period in joined for track in period.tracks.values())
        lines = {
            kind: _lines(recording, [period.tracks[kind] for period in joined], least)
            for kind in _KINDS
            if kind in joined[0].tracks
        }
        seen, *heard = lines.values()
        first = first_playlist(recording, seen, heard[0] if heard else None)
        end = max(s.start + s.seconds for p in joined for t in p.tracks.values() for s in t.segments[-1:])
        yield Part(first, float(joined[0].start - origin), float(end - joined[0].start))


def _key(recording: Recording, period: _Period) -> object:
    """What is the same of periods that can stand in one file."""
    return [
        (kind, boxes.parameters(recording.fetch(track.header).body) if track.header else period.start)
        for kind, track in period.tracks.items()
    ]


def _lines(recording: Recording, tracks: Sequence[_Track], least: Fraction) -> list[str]:
    """A playlist of the segments of several periods, whose times count from the one that is `least` off."""
    shifts = {
        id(t): Shift(t.shift - least, t.header) if t.header and t.shift > least else None for t in tracks
    }
    segments = [(s, shifts[id(t)]) for t in tracks for s in t.segments]
    starts = [s.start for s, _ in segments]
    lengths = [b - a for a, b in itertools.pairwise(starts)] + [segments[-1][0].seconds]
    lines = [MARK.decode(), "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{math.ceil(max(lengths))}"]
    if header := tracks[0].header:
        lines.append(f'#EXT-X-MAP:URI="{recording.name(Named(address=header.address))}"{_map_range(header)}')
    for (segment, shift), length in zip(segments, lengths, strict=True):
        lines.append(f"#EXTINF:{max(0.0, float(length)):.6f},")
        extent = segment.extent
        if extent.start is not None and extent.end is not None:
            lines.append(f"#EXT-X-BYTERANGE:{extent.end - extent.start}@{extent.start}")
        named = Named(address=extent.address, is_segment=True, may_lack=segment.may_lack, shift=shift)
        lines.append(recording.name(named))
    return lines


def _map_range(header: Extent) -> str:
    if header.start is None or header.end is None:
        return ""
    return f',BYTERANGE="{header.end - header.start}@{header.start}"'
