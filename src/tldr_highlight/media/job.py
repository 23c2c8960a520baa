"""One source's clips, made in a process of their own: what it is, and each clip with its own time limit.

A clip that hangs, crashes or swells costs itself alone: its process is ended with all it left behind, and
another one goes on with the next clip.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from tldr_highlight.core.egress import Policy
from tldr_highlight.core.wire import Json, Refusal, pack, unpack
from tldr_highlight.errors import (
    CutCrashError,
    CutError,
    CutMemoryError,
    CutTimeoutError,
    DiskFullError,
    MediaCrashError,
    MediaError,
    MediaMemoryError,
    MediaTimeoutError,
    OutputError,
)
from tldr_highlight.media import sandbox
from tldr_highlight.media.sandbox import ProcessLimits
from tldr_highlight.media.types import (
    DEFAULTS,
    ClipPlan,
    ClipResult,
    ClipSpec,
    CutOptions,
    MediaInfo,
    Origin,
)

LOOKING = ProcessLimits(seconds=120.0)
"""For a look at a source, whose own patience is a minute."""

ANYWHERE = Policy()
"""Every public address."""

CUTTING = ProcessLimits(seconds=300.0)
"""For one clip; the first one's includes opening the source."""

SILENT_DEATHS = 3
"""Processes in a row that ended before any picture was cut: then the source is to blame, and the rest of
its clips is given up. A thousand ranges would cost three days otherwise."""

Progress = Callable[[int, float], None]
"""Called with a spec's index and the share of it that is done, 0..1."""

_KILLED: dict[type[MediaError], type[CutError]] = {
    MediaTimeoutError: CutTimeoutError,
    MediaCrashError: CutCrashError,
    MediaMemoryError: CutMemoryError,
}


LOOK = "tldr_highlight.media.inside:look"
PLANS = "tldr_highlight.media.inside:plans"
CLIPS = "tldr_highlight.media.inside:clips"
REEL = "tldr_highlight.media.inside:reel"
"""What runs in the process."""

_Shape = TypeVar("_Shape")


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """A source that a process is to look at; `sound`, where it has an address of its own."""

    origin: Origin
    sound: Origin | None
    policy: Policy


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """Clips that a process is to make."""

    info: MediaInfo
    specs: tuple[ClipSpec, ...]
    options: CutOptions
    jumped: bool
    policy: Policy  # of the source's address


@dataclasses.dataclass(frozen=True, slots=True)
class Reel:
    """Finished clips that a process is to join."""

    clips: tuple[Path, ...]
    path: Path
    crossfade: float
    options: CutOptions


def inspect(
    origin: Origin,
    *,
    sound: Origin | None = None,
    policy: Policy = ANYWHERE,
    limits: ProcessLimits = LOOKING,
    target: str = LOOK,
) -> MediaInfo:
    """`probe` a source in a process of its own.

    Raises:
        MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
        TldrError: what `probe` raises.
    """
    with contextlib.closing(sandbox.run(target, pack(Look(origin, sound, policy)), limits=limits)) as items:
        seen = _read(MediaInfo, next(items, None))
    return dataclasses.replace(seen, origin=origin, sound_origin=sound)


def plan_apart(
    source: Origin | MediaInfo,
    specs: Sequence[ClipSpec],
    *,
    options: CutOptions = DEFAULTS,
    jumped: bool = False,
    policy: Policy = ANYWHERE,
    limits: ProcessLimits = CUTTING,
    target: str = PLANS,
) -> list[ClipPlan | CutError]:
    """As `plan`, in a process of its own, which has `limits.seconds` for all of `specs`.

    Raises:
        MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
        TldrError: the source cannot be opened any more; what `inspect` raises, where it is not looked at yet.
    """
    info = source if isinstance(source, MediaInfo) else inspect(source, policy=policy, limits=limits)
    work = Work(info, tuple(specs), options, jumped, policy)
    with contextlib.closing(sandbox.run(target, pack(work), limits=limits)) as items:
        return [_outcome(ClipPlan, next(items, None), spec, i) for i, spec in enumerate(work.specs)]


def cut_apart(
    source: Origin | MediaInfo,
    specs: Sequence[ClipSpec],
    *,
    options: CutOptions = DEFAULTS,
    jumped: bool = False,
    policy: Policy = ANYWHERE,
    limits: ProcessLimits = CUTTING,
    on_progress: Progress | None = None,
    target: str = CLIPS,
) -> Iterator[ClipResult | CutError]:
    """As `cut`, in a process of its own: one outcome for each of `specs`, in their order, as they are done.

    A clip that takes longer than `limits` allow gives a `CutTimeoutError`, one that kills its process or
    takes too much memory a `CutCrashError` or `CutMemoryError`, and none of them leaves a file.
    A source that is not looked at yet is.

    Raises:
        DiskFullError: no room for any of them.
        TldrError: the source cannot be opened any more; what `inspect` raises, where it is not looked at yet.
    """
    info = source if isinstance(source, MediaInfo) else inspect(source, policy=policy, limits=limits)
    job = _Job(Work(info, tuple(specs), options, jumped, policy), limits, target, on_progress)
    while job.done < len(specs):
        try:
            yield from job.outcomes()
        except tuple(_KILLED) as death:
            yield from job.losses(death)
        except DiskFullError:
            raise
        except OutputError as refusal:
            yield job.refused(refusal)


def join_apart(
    clips: Sequence[Path],
    path: Path,
    *,
    crossfade: float = 0.0,
    options: CutOptions = DEFAULTS,
    limits: ProcessLimits = CUTTING,
    on_progress: Callable[[float], None] | None = None,
    target: str = REEL,
) -> ClipResult:
    """As `join`, in a process of its own: copied clips are still as hostile as their source.

    Raises:
        MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
        TldrError: what `join` raises.
    """

    def on_note(note: Json) -> None:
        if on_progress:
            on_progress(min(1.0, max(0.0, _read(float, note))))

    order = pack(Reel(tuple(clips), path, crossfade, options))
    items = sandbox.run(target, order, limits=limits, on_note=on_note, drafts_in={path.parent})
    with contextlib.closing(items):
        return _read(ClipResult, next(items, None))


@dataclasses.dataclass(slots=True)
class _Job:
    """Clips, and how far they are."""

    work: Work
    limits: ProcessLimits
    target: str
    on_progress: Progress | None
    done: int = 0  # clips
    before: tuple[_Identity, ...] = ()  # of the current clip's files when it began
    heard: bool = False  # anything from the current process
    silent: int = 0  # processes in a row that died unheard

    def outcomes(self) -> Iterator[ClipResult | CutError]:
        """Outcomes from one process, until it has done all that is left or dies."""
        base, specs = self.done, self.work.specs[self.done :]

        def on_note(note: Json) -> None:
            self.heard = True
            index, share = _read(tuple[int, float], note)
            if self.on_progress and base + index == self.done:
                self.on_progress(self.done, min(1.0, max(0.0, share)))

        self.heard = False
        self.before = _identities(specs[0])
        items = sandbox.run(
            self.target,
            pack(dataclasses.replace(self.work, specs=specs)),
            limits=self.limits,
            on_note=on_note,
            drafts_in={path.parent for spec in specs for path in _files(spec)},
        )
        with contextlib.closing(items):
            for spec in specs:
                outcome = _outcome(ClipResult, next(items, None), spec, self.done)
                self.heard = True
                self.done += 1
                yield outcome
                if self.done < len(self.work.specs):
                    self.before = _identities(self.work.specs[self.done])

    def losses(self, death: MediaError) -> Iterator[CutError]:
        """Outcomes of the clip at which a process died, and of all others once it is the source's fault."""
        current = self.work.specs[self.done]
        for path, before, after in zip(_files(current), self.before, _identities(current), strict=True):
            if before != after:
                path.unlink(missing_ok=True)  # finished, but nobody was told: nobody will ask for it
        self.silent = 0 if self.heard else self.silent + 1
        many = len(self.work.specs) - self.done if self.silent == SILENT_DEATHS else 1
        for spec in self.work.specs[self.done :][:many]:
            error = _KILLED[type(death)](f"range {spec.start:.10g}-{spec.end:.10g} s: {death}")
            error.__cause__ = death  # has its last words
            error.index = self.done
            self.done += 1
            yield error

    def refused(self, error: OutputError) -> CutError:
        """The outcome of a clip whose file cannot be written: the others may go elsewhere."""
        outcome = CutError(str(error))
        outcome.index = self.done
        self.done += 1
        return outcome


_Outcome = TypeVar("_Outcome", ClipPlan, ClipResult)


def _outcome(shape: type[_Outcome], item: Json, spec: ClipSpec, index: int) -> _Outcome | CutError:
    if not isinstance(item, dict) or "code" not in item:
        return dataclasses.replace(_read(shape, item), spec=spec)
    error = _read(Refusal, item).error()
    if not isinstance(error, CutError):
        raise MediaCrashError(f"its process gave an error of no clip: {error}")
    error.index = index
    return error


_Identity: TypeAlias = tuple[int, int] | None
"""What tells a file from another one that takes its name: inode, time of the last change in ns."""


def _files(spec: ClipSpec) -> tuple[Path, ...]:
    return (spec.path, spec.poster) if spec.poster else (spec.path,)


def _identities(spec: ClipSpec) -> tuple[_Identity, ...]:
    return tuple(map(_identity, _files(spec)))


def _identity(path: Path) -> _Identity:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns


def _read(shape: type[_Shape], item: Json) -> _Shape:
    """What a child sent, if it is of this shape."""
    try:
        return unpack(shape, item)
    except ValueError as error:
        raise MediaCrashError(f"its process gave what was not asked for: {error}") from error
