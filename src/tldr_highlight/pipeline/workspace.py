"""The output folder of one run: held against others, resumable after an interruption, tidy after success."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from tldr_highlight import __version__
from tldr_highlight.analysis.signals import Signals
from tldr_highlight.core.files import held, output_errors, replacing, write_text
from tldr_highlight.errors import UsageError
from tldr_highlight.media.types import ClipResult, ClipSpec
from tldr_highlight.pipeline.report import IDENTITY

NAME = ".tldr-highlight"
DOCUMENT = "highlights.json"
PAGE = "report.html"
FOLDERS = ("clips", "thumbnails")
NUMBERED = re.compile(r"highlight-\d{2,}\.(mp4|jpg|webp)")


@dataclass(slots=True)
class Workspace:
    """Where results go and where a run keeps what it would need again."""

    out: Path
    identity: list[str]  # what the source is known by
    fingerprint: str  # of the source and of all that decides the curves
    earlier: set[Path] = field(default_factory=set[Path])  # files that earlier runs made
    resumed: list[str] = field(default_factory=list[str])  # what was taken over, for people

    @property
    def _work(self) -> Path:
        return self.out / NAME

    # curves

    def save_curves(self, signals: Signals) -> None:
        """Keep the curves measured so far."""
        with replacing(self._work / "curves.npz") as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, fingerprint=np.array(self.fingerprint), **dict(signals.curves))

    def load_curves(self) -> Signals | None:
        """The curves of an interrupted run on the same source, if there are any."""
        path = self._work / "curves.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                if str(stored["fingerprint"]) != self.fingerprint:
                    return None
                return Signals(0, {n: stored[n] for n in stored.files if n != "fingerprint"})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    # clips

    def finished(self, spec: ClipSpec, recipe: str) -> bool:
        """Whether an interrupted run made just this clip, and it is still as it was left."""
        entry = self._clips().get(spec.path.name)
        if entry is None or entry["key"] != self._key(spec, recipe):
            return False
        return spec.path.is_file() and _sha256(spec.path) == entry["sha256"]

    def remember(self, result: ClipResult, recipe: str) -> None:
        """Note a finished clip."""
        clips = self._clips()
        clips[result.spec.path.name] = {
            "key": self._key(result.spec, recipe),
            "sha256": result.sha256,
            "warnings": result.warnings,
        }
        write_text(self._work / "clips.json", json.dumps(clips, indent=1))

    def warnings(self, spec: ClipSpec) -> list[str]:
        """What is not quite as asked for in a finished clip, whichever run made it."""
        return self._clips().get(spec.path.name, {}).get("warnings", [])

    def _key(self, spec: ClipSpec, recipe: str) -> str:
        return f"{self.fingerprint} {spec.start!r} {spec.end!r} {recipe}"

    def _clips(self) -> dict[str, dict[str, Any]]:
        try:
            return json.loads((self._work / "clips.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}

    def piece(self, number: int) -> Path:
        """Where a clip goes that only the reel needs."""
        return self._work / f"piece-{number}.mp4"

    # the end

    def forget_others(self, keep: set[Path]) -> None:
        """Remove earlier runs' clips, thumbnails and reel that this one has no use for."""
        for path in self.earlier - keep:
            path.unlink(missing_ok=True)
        for folder in FOLDERS:
            with contextlib.suppress(OSError):
                (self.out / folder).rmdir()

    def done(self) -> None:
        """Nothing left to resume."""
        shutil.rmtree(self._work, ignore_errors=True)


@contextlib.contextmanager
def opened(out: Path, source: Path, decides: Mapping[str, object]) -> Generator[Workspace]:
    """Hold `out` for a run on `source`. A folder that did not exist and stayed empty is taken away again.

    `decides` names what besides the source's bytes decides the curves.

    Raises:
        OutputBusyError: another run holds the folder.
        UsageError: it holds the highlights of another source, the source itself or other files under the
            names of results, which nobody asked us to lose.
        OutputError: it cannot be written.
    """
    identity = _identity(source)
    with output_errors(out):
        missing = [p for p in (out, *out.parents) if not p.exists()]
        _refuse_others(out, source, identity)
        _refuse_strangers(out, source)
        earlier = _made_before(out)
        (out / NAME).mkdir(parents=True, exist_ok=True)
    with held(out / NAME):
        try:
            yield Workspace(out, identity, _fingerprint(source, decides), earlier)
        finally:
            _tidy(out, missing)


def _refuse_others(out: Path, source: Path, identity: list[str]) -> None:
    """A folder holds one source's highlights: known by its page, or by its name where there is none."""
    held_source = _source_of(out)
    if held_source is None:
        return
    known = _identity_in(out / PAGE)
    same = bool(known.intersection(identity)) if known else Path(held_source).name == source.name
    if not same:
        raise UsageError(
            f"{out} holds the highlights of another file, {held_source}:"
            " choose another --out, or remove that folder"
        )


def _identity_in(page: Path) -> set[str]:
    """What the source of a page is known by; nothing where there is no page, or it tells nothing."""
    try:
        with page.open(encoding="utf-8") as file:
            found = IDENTITY.search(file.read(4096))  # it stands in the head, and pages have megabytes
    except (OSError, ValueError):
        return set()
    return set(found[1].split()) if found else set()


def _source_of(out: Path) -> str | None:
    """Whose highlights a folder holds, as its document tells."""
    source = _document(out).get("source")
    return None if source is None else str(source)


def _document(out: Path) -> dict[str, Any]:
    """The document in a folder, if a run left one there."""
    try:
        document = json.loads((out / DOCUMENT).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", document) if isinstance(document, dict) else {}


def _refuse_strangers(out: Path, source: Path) -> None:
    """A run replaces what has its results' names: only what runs have made, and never what it reads."""
    there = _results(out)
    if any(p.samefile(source) for p in there):
        raise UsageError(f"{source} lies where its own results would go: choose another --out")
    if there and _source_of(out) is None and not (out / NAME).is_dir():
        raise UsageError(f"{there[0]} is there already, and no run of find made it: choose another --out")


def _results(out: Path) -> list[Path]:
    """Files under the names of results."""
    there = [p for p in (*out.glob("highlights.*"), out / PAGE, out / "reel.mp4") if p.is_file()]
    return there + _all_numbered(out)


def _made_before(out: Path) -> set[Path]:
    """Clips, thumbnails and reel of earlier runs: what the document names; all, where one was interrupted."""
    there = {p for p in (out / "reel.mp4", *_all_numbered(out)) if p.is_file()}
    if (out / NAME / "clips.json").is_file():
        return there
    try:
        highlights = _document(out)["highlights"]
        names = [h[kind] for h in highlights for kind in ("clip", "thumbnail") if h[kind]]
        named = {(out / name).with_suffix("") for name in names}  # a thumbnail is two files
    except (KeyError, TypeError):
        return there  # a run's, or it would have been refused
    return {p for p in there if p.with_suffix("") in named or (named and p.name == "reel.mp4")}


def _all_numbered(out: Path) -> list[Path]:
    return [p for folder in FOLDERS for p in _numbered(out / folder)]


def is_result(path: Path) -> bool:
    """Whether a run made this file that looks like a source: a reel or a clip."""
    clip = path.parent.name == "clips" and NUMBERED.fullmatch(path.name)
    if not clip and path.name != "reel.mp4":
        return False
    return _source_of(path.parent.parent if clip else path.parent) is not None


def _numbered(folder: Path) -> list[Path]:
    """Files under the names of clips and thumbnails."""
    return sorted(p for p in folder.glob("highlight-*") if NUMBERED.fullmatch(p.name))


def _tidy(out: Path, missing: list[Path]) -> None:
    work = out / NAME
    with contextlib.suppress(OSError):
        left = _source_of(out) is None and _results(out)  # the next run is to know them for a run's
        if not left and {p.name for p in work.iterdir()} <= {"lock"}:
            shutil.rmtree(work)
    for folder in (out / "clips", out / "thumbnails", *missing):
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if empty


SAMPLES, SAMPLE_BYTES = 16, 65_536
"""What of a file tells it from others: its length, and a megabyte from all over it. An hour has gigabytes."""


def _identity(source: Path) -> list[str]:
    """What a source is known by: its content, wherever it lies, and its place, whatever is there by now.

    A name would not do: from another folder a relative one means another file. Places are hashed: pages are
    shared.
    """
    content = hashlib.sha256()
    with source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        content.update(str(size).encode())
        for i in range(SAMPLES):
            file.seek(max(0, size - SAMPLE_BYTES) * i // (SAMPLES - 1))
            content.update(file.read(SAMPLE_BYTES))
    place = hashlib.sha256(os.fsencode(source.resolve()))
    return [content.hexdigest()[:32], place.hexdigest()[:32]]


def _fingerprint(source: Path, decides: Mapping[str, object]) -> str:
    stat = source.stat()
    parts = [__version__, str(source.resolve()), stat.st_size, stat.st_mtime_ns, *sorted(decides.items())]
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
