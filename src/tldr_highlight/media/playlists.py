"""HLS: playlists are read, every address in them is checked, and libav gets copies with names of ours."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tldr_highlight.core.addresses import Address, parse
from tldr_highlight.core.egress import Egress
from tldr_highlight.errors import MediaError, NoStreamsError
from tldr_highlight.media.recordings import Extent, Named, Part, Recording
from tldr_highlight.media.types import Remote

MARK = b"#EXTM3U"
"""What a playlist begins with."""

WHOLE_TAGS = {"#EXT-X-VERSION", "#EXT-X-TARGETDURATION"}
"""What libav is told of a playlist as a whole; where it begins and ends is set by us."""

LASTING_TAGS = {"#EXT-X-KEY", "#EXT-X-MAP"}
"""What holds for a segment and all behind it, until another takes its place."""

SEGMENT_TAGS = {"#EXTINF", "#EXT-X-BYTERANGE"}
"""What holds for one segment."""

BREAK = "#EXT-X-DISCONTINUITY"

SEQUENCE = "#EXT-X-MEDIA-SEQUENCE"

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')


def read_playlist(egress: Egress, remote: Remote, found: str, text: bytes) -> Recording:
    """The recording of the playlist `text`, which was `found` in the end where `remote` led.

    Of several variants the one with the largest pictures is used, and of its sounds the default one.

    Raises:
        MediaError: it is live, encrypted or none.
        SourceError: it names addresses that may not be opened, or playlists that cannot be.
    """
    recording = Recording(egress, remote)
    lines, base = _lines(text), parse(found)
    if any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
        recording.parts = _master(recording, lines, base)
    else:
        recording.parts = _parts(recording, _media(recording, lines, base), None)
    return recording


def _master(recording: Recording, lines: list[str], base: Address) -> tuple[Part, ...]:
    """A playlist of playlists: the best variant and its sound."""
    variants = [
        (_attributes(line), uri)
        for line, uri in itertools.pairwise(lines)
        if line.startswith("#EXT-X-STREAM-INF:") and not uri.startswith("#")
    ]
    if not variants:
        raise MediaError(f"{recording.shown} names no variant: it is damaged")
    chosen, uri = max(variants, key=lambda v: _goodness(v[0]))
    media = [_attributes(line) for line in lines if line.startswith("#EXT-X-MEDIA:")]
    sounds = [m for m in media if m.get("TYPE") == "AUDIO" and m.get("GROUP-ID") == chosen.get("AUDIO", "")]
    sound = next((m for m in sounds if m.get("DEFAULT") == "YES"), sounds[0] if sounds else {})
    heard = _inner(recording, sound["URI"], base) if "URI" in sound else None
    return _parts(recording, _inner(recording, uri, base), heard)


def _inner(recording: Recording, uri: str, base: Address) -> list[_Stretch]:
    """A playlist that another names."""
    fetched = recording.fetch(Extent(recording.checked(uri, base)))
    lines = _lines(fetched.body)
    if any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
        raise MediaError(f"{recording.shown} names playlists of playlists: name one of them")
    return _media(recording, lines, parse(fetched.url))


# --- playlists of segments -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Stretch:
    """The segments of a playlist between two of its breaks: a playlist of its own."""

    lines: list[str]
    seconds: float = 0.0
    segments: int = 0


@dataclass(slots=True)
class _Reading:
    """How far a playlist is read."""

    whole: list[str] = field(default_factory=list[str])
    lasting: dict[str, str] = field(default_factory=dict[str, str])
    pending: list[str] = field(default_factory=list[str])  # tags of the next segment
    range_end: int = 0
    sequence: int = 0  # number of the next segment; where no key says otherwise, decryption begins with it
    stretches: list[_Stretch] = field(default_factory=list[_Stretch])


def _media(recording: Recording, lines: list[str], base: Address) -> list[_Stretch]:
    """A playlist of segments, with our names in it."""
    if lines[:1] != [MARK.decode()]:
        raise MediaError(f"{recording.shown} names something that is no playlist: it is damaged")
    if not {"#EXT-X-ENDLIST", "#EXT-X-PLAYLIST-TYPE:VOD"} & set(lines):
        raise MediaError(f"{recording.shown} is live: name a recording, whose playlist says where it ends")
    reading = _Reading()
    for line in lines:
        tag, _, value = line.partition(":")
        if not line.startswith("#"):
            _add(reading, recording.name(Named(address=recording.checked(line, base), is_segment=True)))
        elif tag in WHOLE_TAGS:
            reading.whole.append(line)
        elif tag == SEQUENCE:
            reading.sequence = _whole(value)
        elif tag in LASTING_TAGS:
            reading.lasting[tag] = _lasting(recording, line, base)
            reading.pending.append(reading.lasting[tag])
        elif tag in SEGMENT_TAGS or tag == BREAK:
            reading.pending.append(line)
    if not reading.stretches:
        raise MediaError(f"{recording.shown} names no segment, and so cannot be read: it is damaged")
    return reading.stretches


def _add(reading: _Reading, name: str) -> None:
    """Append a segment to its stretch."""
    tags = [line for line in reading.pending if line != BREAK]
    if not reading.stretches or len(tags) < len(reading.pending):
        head = [MARK.decode(), *reading.whole, f"{SEQUENCE}:{reading.sequence}"]
        lasting = [line for line in reading.lasting.values() if line not in tags]
        reading.stretches.append(_Stretch([*head, *lasting]))
    stretch = reading.stretches[-1]
    for line in tags:
        tag, _, value = line.partition(":")
        if tag == "#EXTINF":
            stretch.seconds += _seconds(value)
        elif tag == "#EXT-X-BYTERANGE":
            size, _, start = value.partition("@")
            begin = _whole(start) if start else reading.range_end
            reading.range_end = begin + _whole(size)
            line = f"{tag}:{_whole(size)}@{begin}"  # noqa: PLW2901 - what libav is told
        stretch.lines.append(line)
    stretch.lines.append(name)
    stretch.segments += 1
    reading.pending.clear()
    reading.sequence += 1


def _lasting(recording: Recording, line: str, base: Address) -> str:
    """A tag with our name for the key or map that it names."""
    attributes = _attributes(line)
    if line.startswith("#EXT-X-KEY:") and attributes.get("KEYFORMAT", "identity") != "identity":
        raise NoStreamsError(f"{recording.shown} is encrypted: name a recording without protection")
    if "URI" not in attributes:
        return line
    name = recording.name(Named(address=recording.checked(attributes["URI"], base)))
    return re.sub(r'URI="[^"]*"', f'URI="{name}"', line)


# --- what libav gets -----------------------------------------------------------------------------------


def _parts(
    recording: Recording, seen: Sequence[_Stretch], heard: Sequence[_Stretch] | None
) -> tuple[Part, ...]:
    """Parts of a recording whose sound, where it is `heard` apart, breaks where its pictures do."""
    if heard is not None and len(heard) != len(seen):
        raise MediaError(f"{recording.shown} breaks at other places in its pictures than in its sound")
    parts: list[Part] = []
    start = 0.0
    for index, stretch in enumerate(seen):
        first = first_playlist(recording, stretch.lines, heard[index].lines if heard else None)
        parts.append(Part(first, start, stretch.seconds))
        start += stretch.seconds
    return tuple(parts)


def first_playlist(recording: Recording, seen: Sequence[str], heard: Sequence[str] | None) -> str:
    """Our name of the playlist of a part that libav begins with: of its segments, or of two playlists."""
    pictures = _playlist(recording, [*seen, "#EXT-X-ENDLIST"])
    if heard is None:
        return pictures
    sound = _playlist(recording, [*heard, "#EXT-X-ENDLIST"])
    return _playlist(
        recording,
        [
            "#EXTM3U",
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="{sound}"',
            '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"',
            pictures,
        ],
    )


def _playlist(recording: Recording, lines: Sequence[str]) -> str:
    return recording.name(Named(text="\n".join(lines).encode()))


# --- words ---------------------------------------------------------------------------------------------


def _lines(text: bytes) -> list[str]:
    return [line.strip() for line in text.decode("utf-8-sig", "replace").splitlines() if line.strip()]


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in ATTRIBUTE.findall(line.partition(":")[2])}


def _goodness(variant: Mapping[str, str]) -> tuple[int, bool, int]:
    """Order of variants: large pictures, those that can be copied into clips, many bits."""
    height = variant.get("RESOLUTION", "").partition("x")[2]
    bits = variant.get("BANDWIDTH", "")
    return _whole(height), "avc" in variant.get("CODECS", "avc"), _whole(bits)


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text.strip()) else 0


def _seconds(value: str) -> float:
    """The length in an `EXTINF`; 0 where it is none."""
    found = re.match(r"[0-9.]{1,20}", value)
    try:
        seconds = float(found[0]) if found else 0.0
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
