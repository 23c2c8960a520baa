"""Exact clips: the pictures of a range, each at its own time, and the sound to the sample.

Times snap to the source's pictures: a clip begins with the first picture at or after its start and ends
where the first picture at or after its end would have begun. Where a picture stays on the screen for
long (slides, a still at the end while sound goes on), the clip cuts it at the very time instead.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from av.error import FFmpegError
from av.video.frame import VideoFrame

from tldr_highlight.core.files import replacing
from tldr_highlight.errors import CutError, RangeError, SourceError
from tldr_highlight.media.encode import Writer
from tldr_highlight.media.frames import Picture, Source, slack
from tldr_highlight.media.parts import Parts
from tldr_highlight.media.picture import add_poster
from tldr_highlight.media.plan import (
    HELD,
    MOST_FAILURES,
    REORDERED,
    NotCopyableError,
    check_range,
    chosen,
    lost_range,
    reason_of,
)
from tldr_highlight.media.quality import sound_forced
from tldr_highlight.media.smart import copy_range
from tldr_highlight.media.sound import EncodedSound, Progress, SoundNotCopyableError
from tldr_highlight.media.types import (
    DEFAULTS,
    ClipResult,
    ClipSpec,
    CutMethod,
    CutOptions,
    MediaInfo,
    range_text,
)
from tldr_highlight.media.verify import Expected, picture_size, verify


def cut(
    info: MediaInfo,
    specs: Sequence[ClipSpec],
    *,
    options: CutOptions = DEFAULTS,
    jumped: bool = False,
    on_progress: Callable[[int, float], None] | None = None,
) -> Iterator[ClipResult | CutError]:
    """Cut clips out of one source: one outcome for each of `specs`, in their order.

    A range that cannot be cut gives a `CutError` (`RangeError` where it is to blame itself) whose `index` is
    the place in `specs`; the others go on. `jumped` says that the source's timestamps leap, see `Source`.
    `on_progress` gets a spec's index and the share of it that is done, 0..1.

    Raises:
        DiskFullError, OutputError: clips cannot be written at all.
        TldrError: the source cannot be opened any more, or its server failed for three ranges in a row.
    """
    failures = 0  # of the source, in a row
    with Parts(info, jumped=jumped) as parts:
        for index, spec in enumerate(specs):

            def tell(seconds: float, index: int = index, spec: ClipSpec = spec) -> None:
                if on_progress:
                    on_progress(index, min(1.0, seconds / (spec.end - spec.start)))

            try:
                outcome = _attempt(parts, spec, options, tell)
                failures = 0
            except SourceError as error:
                failures += 1
                if failures == MOST_FAILURES:
                    raise
                parts.close()
                outcome = lost_range(spec, error)
            if isinstance(outcome, CutError):
                outcome.index = index
            yield outcome


def _attempt(parts: Parts, spec: ClipSpec, options: CutOptions, tell: Progress) -> ClipResult | CutError:
    try:
        check_range(parts.info, spec.start, spec.end, options)
        source = parts.of(spec.start, spec.end)
        source.expect(spec.start, spec.end)
        try:
            return _copied(source, spec, options, tell)
        except NotCopyableError as reason:
            if options.mode == "instant":
                raise
            return _encoded(source, spec, options, tell, str(reason))
    except CutError as error:
        return error


def _copied(source: Source, spec: ClipSpec, options: CutOptions, tell: Progress) -> ClipResult:
    """Cut a clip by copying what can be copied.

    Raises:
        NotCopyableError: it has to be encoded; also where what was copied did not turn out right.
    """
    found = chosen(source, spec, options)
    _not_onto_itself(source, spec)
    start, end = (t * float(source.picture_tick) - source.info.start_time for t in (found.first, found.end))

    def write(draft: Path, *, copy_sound: bool) -> Written:
        expected = copy_range(source, found, draft, options, tell, copy_sound=copy_sound)
        source.check_unchanged()
        return Written(start, end, expected)

    method = "smart" if found.encoded else "copy"
    try:
        try:
            return finished(
                spec,
                method,
                reason_of(found),
                partial(write, copy_sound=sound_forced(options, source.info) is None),
            )
        except SoundNotCopyableError:
            return finished(spec, method, reason_of(found), partial(write, copy_sound=False))
    except NotCopyableError:
        raise
    except CutError as error:
        raise NotCopyableError(f"copying went wrong: {error}") from error


def _not_onto_itself(source: Source, spec: ClipSpec) -> None:
    if any(spec.path.exists() and spec.path.samefile(path) for path in source.files):
        raise CutError(f"{spec.path.name} is the source itself: choose another name")


def finished(spec: ClipSpec, method: CutMethod, reason: str, write: Callable[[Path], Written]) -> ClipResult:
    """Have a clip written, verify it, and only then let it appear.

    Raises:
        CutError: an encoder refused, or what was written is not right.
        DiskFullError, OutputError: it cannot be written.
    """
    with replacing(spec.path) as draft:
        try:
            written = write(draft)
        except FFmpegError as error:
            if isinstance(error, OSError):
                raise  # the disk's, and so for `replacing` to translate
            raise CutError(f"the encoder gave up: {error.strerror}") from error
        gc.collect()  # PyAV's containers and streams hold each other: 80 MB of 1080p until somebody looks
        offset = verify(draft, written.expected)
        gc.collect()
        with draft.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = draft.stat().st_size
        width, height = picture_size(draft)
    result = ClipResult(
        spec=spec,
        actual_start=written.start,
        actual_end=written.end,
        frames=sum(pts >= 0 for pts in written.expected.pts),  # an instant copy hides those before
        method=method,
        reason=reason,
        sync_ms=1000 * offset,
        bytes=size,
        sha256=digest,
        warnings=written.expected.warnings,
        width=width,
        height=height,
    )
    add_poster(result)
    return result


def _encoded(source: Source, spec: ClipSpec, options: CutOptions, tell: Progress, reason: str) -> ClipResult:
    """Cut a clip by encoding all of it.

    Raises:
        RangeError: it holds nothing.
    """
    _not_onto_itself(source, spec)
    lost = 0

    def write(draft: Path) -> Written:
        nonlocal lost
        written = _write(source, spec, options, tell, draft)
        source.check_unchanged()
        lost = _lost(source, spec.start, written)
        return written

    result = finished(spec, "encode", reason, write)
    if not lost:
        return result
    many = "1 damaged picture is" if lost == 1 else f"{lost} damaged pictures are"
    return replace(result, warnings=(*result.warnings, f"{many} left out"))


MOST_LOST = 0.6
"""Share of a range's pictures that may be damaged before what is left is no clip of it any more."""


def _lost(source: Source, start: float, written: Written) -> int:
    """How many pictures of a range could not be decoded, by the packets that the source has for them.

    Raises:
        CutError: most of them.
    """
    if source.info.video is None or source.jumped:
        return 0
    grace = slack(float(source.picture_tick))
    there: set[int] = set()
    behind = 0
    for placed in source.picture_packets(start):
        behind = behind + 1 if placed.at >= written.end - grace else 0
        if behind >= REORDERED or placed.packet.pts is None:
            break
        if not behind and placed.at >= start - grace:
            there.add(placed.packet.pts)
    lost = max(0, len(there) - len(written.expected.pts))
    if lost > MOST_LOST * len(there):
        raise CutError(f"{lost} of the {len(there)} pictures of {range_text(start, written.end)} are damaged")
    return lost


# --- writing -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: media seconds of its start and end, and what the file must hold."""

    start: float
    end: float
    expected: Expected


def _write(source: Source, spec: ClipSpec, options: CutOptions, tell: Progress, draft: Path) -> Written:
    tick = source.picture_tick if source.info.video else Fraction(1, 90_000)
    write = _write_pictures if source.info.video else _write_sound
    with Writer(draft, source.info, options, tick) as writer:
        start, length = write(source, writer, (spec.start, spec.end), tell)
        ticks = round(length / writer.tick)
        writer.finish(ticks)
    sound = writer.sound
    expected = Expected(
        writer.tick, writer.pts, ticks, sound.rate, sound.samples, sound.heard.windows(),
        warnings=sound.warnings,
    )  # fmt: skip
    return Written(start, start + float(length), expected)


def _write_pictures(
    source: Source, writer: Writer, wanted: tuple[float, float], tell: Progress
) -> tuple[float, Fraction]:
    """Write a range; return its true start and its length in seconds."""
    tick = source.picture_tick
    first = shown = None
    sound = EncodedSound(source, writer.sound)
    for shown in _selected(source.pictures(wanted[0]), *wanted, source.info):
        if first is None:
            first = shown
            sound.begin(shown.at, wanted[1])
        since = (shown.since - first.since) * tick
        writer.picture(shown.frame, round(since / writer.tick))
        sound.fill(since)
        tell(float(since))
    if first is None or shown is None:
        raise RangeError(f"{range_text(*wanted)} holds no picture")
    length = (shown.until - first.since) * tick
    if shown.last:
        length = max(length, sound.rest(length, Fraction(wanted[1] - first.at)))
    if first.held and length < HELD:
        raise RangeError(
            f"{range_text(*wanted)} lies behind the last picture, which is at {first.real_at:.3f} s"
        )
    sound.fill(length)
    tell(float(length))
    return first.at, length


def _write_sound(
    source: Source, writer: Writer, wanted: tuple[float, float], tell: Progress
) -> tuple[float, Fraction]:
    """As `_write_pictures`, of a source without pictures."""
    sound = EncodedSound(source, writer.sound)
    start = sound.begin(*wanted)
    length = sound.rest(Fraction(0), Fraction(wanted[1] - start), tell)
    if not length:
        raise RangeError(f"{range_text(*wanted)} lies behind the end of the sound")
    return start, length


# --- choosing pictures ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shown:
    """A picture of a clip, and from when to when it is shown there, in ticks of the source."""

    frame: VideoFrame
    since: int
    until: int
    at: float  # media seconds of `since`
    real_at: float  # media seconds of the picture itself
    last: bool  # no picture follows in the source

    @property
    def held(self) -> bool:
        """Whether it was on the screen before the clip began."""
        return self.real_at < self.at


def _selected(pictures: Iterator[Picture], start: float, end: float, info: MediaInfo) -> Iterator[_Shown]:
    """The pictures that begin in `[start, end)`, and one that was there before and stays for long."""
    for picture, following in _with_next(pictures):
        tick = picture.tick
        if not picture.before(end):
            return
        until = following.ticks if following else picture.ticks + _duration(picture, info)
        until_at = following.at if following else picture.at + _duration(picture, info) * tick
        at, since = picture.at, picture.ticks
        if picture.before(start):
            if following and until_at - start < HELD:
                continue
            at, since = start, picture.ticks + round((start - picture.at) / tick)
        if until_at - end >= HELD:
            until = picture.ticks + round((end - picture.at) / tick)
        yield _Shown(picture.frame, since, max(until, since), at, picture.at, following is None)


def _with_next(pictures: Iterator[Picture]) -> Iterator[tuple[Picture, Picture | None]]:
    ahead = next(pictures, None)
    while ahead is not None:
        picture, ahead = ahead, next(pictures, None)
        yield picture, ahead


def _duration(picture: Picture, info: MediaInfo) -> int:
    """Ticks that a picture with nothing behind it is shown."""
    assert info.video
    return picture.duration or max(1, round(1 / (float(info.video.frame_rate) * picture.tick)))
