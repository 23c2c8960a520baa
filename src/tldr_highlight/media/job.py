"""One source's clips, made in a process of their own: what it is, and each clip with its own time limit.

    with Visit(origin) as visit:              a process opens the source, once for all that is done
        visit.info                            what it is
        plan_apart(visit, specs)
        cut_apart(visit, specs)

A clip that hangs, crashes or swells costs itself alone: its process is ended with all it left behind, and
another one goes on with the next clip.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self, TypeAlias, TypeVar

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
from tldr_highlight.media.sandbox import END, Child, ProcessLimits
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


VISIT = "tldr_highlight.media.inside:visit"
REEL = "tldr_highlight.media.inside:reel"
"""What runs in the process."""

_Shape = TypeVar("_Shape")


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """A source that a process is to open; `sound`, where it has an address of its own."""

    origin: Origin
    sound: Origin | None
    policy: Policy
    info: MediaInfo | None  # what it is, where somebody looked at it already


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """What is to be done with the source."""

    kind: Literal["plan", "cut"]
    specs: tuple[ClipSpec, ...]
    options: CutOptions
    jumped: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Reel:
    """Finished clips that a process is to join."""

    clips: tuple[Path, ...]
    path: Path
    crossfade: float
    options: CutOptions


class Visit:
    """A source opened in a process of its own, as a context manager; the process starts when it is needed.

    What is fetched of a source on a server is fetched once, unless its process dies.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        sound: Origin | None = None,
        info: MediaInfo | None = None,
        policy: Policy = ANYWHERE,
        limits: ProcessLimits = CUTTING,
        looking: float = LOOKING.seconds,
        target: str = VISIT,
    ) -> None:
        """Open `origin`, of which `info` is known if it was looked at before.

        Each item has `limits.seconds`, and looking at the source `looking` seconds.
        """
        self.limits = limits
        self.meanwhile: Callable[[], None] | None = None
        """Called again and again while the process is waited for; what it raises ends the process."""
        self._look = Look(origin, sound, policy, info)
        self._looking = looking
        self._target = target
        self._child: Child | None = None

    @classmethod
    def of(cls, info: MediaInfo, *, policy: Policy, limits: ProcessLimits, target: str) -> Self:
        """Open a source that was looked at before."""
        return cls(
            info.origin, sound=info.sound_origin, info=info, policy=policy, limits=limits, target=target
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and remove what it left; another one starts if it is needed again."""
        if self._child:
            self._child.close()
            self._child = None

    @property
    def info(self) -> MediaInfo:
        """What the source is.

        Raises:
            MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
            TldrError: what `probe` raises.
        """
        if self._look.info is None:
            self._open()
        assert self._look.info
        return self._look.info

    def items(self, task: Task, on_note: Callable[[Json], None] | None = None) -> Iterator[Json]:
        """An item for each of the task's clips; None behind the last that the process gives.

        Raises:
            MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
            TldrError: the source cannot be opened any more.
        """
        child = self._open()
        child.writes_into({path.parent for spec in task.specs for path in _files(spec)})
        wanted = pack(task)
        for _ in task.specs:
            yield self._asked(child, wanted, self.limits.seconds, on_note)
            wanted = None

    @property
    def policy(self) -> Policy:
        """What its process may reach."""
        return self._look.policy

    def given(self, wanted: Json) -> Iterator[Json]:
        """All items that the process gives for what is `wanted`, each within `limits.seconds`.

        Raises:
            MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
            TldrError: what it refused with.
        """
        child = self._open()
        while (item := self._asked(child, wanted, self.limits.seconds, None)) is not None:
            wanted = None
            yield item

    def _open(self) -> Child:
        """The process, which has opened the source."""
        if self._child is None:
            self._child = Child(self._target, pack(self._look), limits=self.limits)
            seen = self._asked(self._child, None, self._looking, None)
            if self._look.info is None:
                try:
                    info = _read(MediaInfo, seen)
                except MediaCrashError:
                    self.close()
                    raise
                info = dataclasses.replace(info, origin=self._look.origin, sound_origin=self._look.sound)
                self._look = dataclasses.replace(self._look, info=info)
        return self._child

    def _asked(
        self, child: Child, wanted: Json, seconds: float, on_note: Callable[[Json], None] | None
    ) -> Json:
        try:
            item = child.ask(wanted, seconds=seconds, on_note=on_note, meanwhile=self.meanwhile)
        except BaseException:
            self.close()  # it works no more, or must not
            raise
        return None if item is END else item


def inspect(
    origin: Origin,
    *,
    sound: Origin | None = None,
    policy: Policy = ANYWHERE,
    limits: ProcessLimits = LOOKING,
    target: str = VISIT,
) -> MediaInfo:
    """`probe` a source in a process of its own.

    Raises:
        MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
        TldrError: what `probe` raises.
    """
    looking = limits.seconds
    with Visit(origin, sound=sound, policy=policy, limits=limits, looking=looking, target=target) as visit:
        return visit.info


@contextlib.contextmanager
def _visited(
    source: Origin | MediaInfo | Visit, policy: Policy, limits: ProcessLimits, target: str
) -> Generator[Visit]:
    """A source in a process: one that runs already, or its own."""
    if isinstance(source, Visit):
        yield source
    elif isinstance(source, MediaInfo):
        with Visit.of(source, policy=policy, limits=limits, target=target) as visit:
            yield visit
    else:
        with Visit(source, policy=policy, limits=limits, target=target) as visit:
            yield visit


def plan_apart(
    source: Origin | MediaInfo | Visit,
    specs: Sequence[ClipSpec],
    *,
    options: CutOptions = DEFAULTS,
    jumped: bool = False,
    policy: Policy = ANYWHERE,
    limits: ProcessLimits = CUTTING,
    target: str = VISIT,
) -> list[ClipPlan | CutError]:
    """As `plan`, in a process of its own, which has `limits.seconds` for all of `specs`.

    A `Visit` has its own policy and limits.

    Raises:
        MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
        TldrError: the source cannot be opened any more; what `inspect` raises, where it is not looked at yet.
    """
    with _visited(source, policy, limits, target) as visit:
        items = visit.items(Task("plan", tuple(specs), options, jumped))
        return [_outcome(ClipPlan, next(items, None), spec, i) for i, spec in enumerate(specs)]


def cut_apart(
    source: Origin | MediaInfo | Visit,
    specs: Sequence[ClipSpec],
    *,
    options: CutOptions = DEFAULTS,
    jumped: bool = False,
    policy: Policy = ANYWHERE,
    limits: ProcessLimits = CUTTING,
    on_progress: Progress | None = None,
    target: str = VISIT,
) -> Iterator[ClipResult | CutError]:
    """As `cut`, in a process of its own: one outcome for each of `specs`, in their order, as they are done.

    A clip that takes longer than `limits` allow gives a `CutTimeoutError`, one that kills its process or
    takes too much memory a `CutCrashError` or `CutMemoryError`, and none of them leaves a file.
    A source that is not looked at yet is; a `Visit` has its own policy and limits.

    Raises:
        DiskFullError: no room for any of them.
        TldrError: the source cannot be opened any more; what `inspect` raises, where it is not looked at yet.
    """
    with _visited(source, policy, limits, target) as visit:
        _ = visit.info  # or a source that cannot be looked at would be its first clip's fault
        job = _Job(visit, Task("cut", tuple(specs), options, jumped), on_progress)
        while job.done < len(specs):
            try:
                yield from job.outcomes()
            except tuple(_KILLED) as death:
                visit.close()
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

    visit: Visit
    task: Task
    on_progress: Progress | None
    done: int = 0  # clips
    before: tuple[_Identity, ...] = ()  # of the current clip's files when it began
    heard: bool = False  # anything from the current process
    silent: int = 0  # processes in a row that died unheard

    def outcomes(self) -> Iterator[ClipResult | CutError]:
        """Outcomes from one process, until it has done all that is left or dies."""
        base, specs = self.done, self.task.specs[self.done :]

        def on_note(note: Json) -> None:
            self.heard = True
            index, share = _read(tuple[int, float], note)
            if self.on_progress and base + index == self.done:
                self.on_progress(self.done, min(1.0, max(0.0, share)))

        self.heard = False
        self.before = _identities(specs[0])
        items = self.visit.items(dataclasses.replace(self.task, specs=specs), on_note)
        for spec in specs:
            outcome = _outcome(ClipResult, next(items, None), spec, self.done)
            self.heard = True
            self.done += 1
            yield outcome
            if self.done < len(self.task.specs):
                self.before = _identities(self.task.specs[self.done])

    def losses(self, death: MediaError) -> Iterator[CutError]:
        """Outcomes of the clip at which a process died, and of all others once it is the source's fault."""
        current = self.task.specs[self.done]
        for path, before, after in zip(_files(current), self.before, _identities(current), strict=True):
            if before != after:
                path.unlink(missing_ok=True)  # finished, but nobody was told: nobody will ask for it
        self.silent = 0 if self.heard else self.silent + 1
        many = len(self.task.specs) - self.done if self.silent == SILENT_DEATHS else 1
        for spec in self.task.specs[self.done :][:many]:
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
    return tuple(path for path in (spec.path, spec.poster, spec.small) if path)


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
