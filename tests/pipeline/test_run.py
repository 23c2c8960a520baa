"""A stream's job: from a source to highlights that can be watched, whatever comes between."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import media_maker
from tests.media_maker import make
from tests.pipeline.office import ORGANIZATION, Office
from tests.schema import tables
from tests.services import Backend
from tests.walks.films import ROAR, SMALL, film
from tldr_highlight.media.probe import probe
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker.kinds import product_kinds


@pytest.fixture(scope="module")
def match(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four seconds with a roar at the twelfth."""
    return film(tmp_path_factory.mktemp("films") / "match.mp4")


@pytest.fixture
def office(backend: Backend, tmp_path: Path) -> Iterator[Office]:
    settings = Settings(
        data_dir=tmp_path / "data", database_url=backend.database(tables), allow_local_paths="/"
    )
    with opened(settings, product_kinds()) as runtime:
        office = Office(runtime)
        office.found()
        yield office


def test_a_stream_becomes_highlights(office: Office, match: Path, tmp_path: Path) -> None:
    office.submit(match)
    office.work()
    stream = office.stream()
    assert (stream.state, stream.error_code, stream.degraded) == ("completed", None, False)
    assert stream.duration == pytest.approx(24.0, abs=0.2)
    assert stream.analysed_seconds == stream.duration
    [highlight] = office.highlights()
    assert highlight.state == "ready"
    assert highlight.start - 1 < ROAR < highlight.end + 1
    clip = tmp_path / "clip.mp4"
    office.runtime.storage.get(highlight.clip_key or "", clip)
    assert probe(clip).duration == pytest.approx(highlight.clip_end - highlight.clip_start, abs=0.2)
    types = [e.type for e in office.events()]
    assert [t for t in types if t != "stream.progress"] == [
        "stream.started",
        "highlight.detected",
        "highlight.ready",
        "stream.completed",
    ]
    assert [e.sequence for e in office.events()] == [*range(1, len(types) + 1)]
    kept = list(office.runtime.storage.list(ORGANIZATION))
    usage = office.usage()
    assert usage.pop(f"{highlight.id}/stored") == sum(file.bytes for file in kept)
    assert sum(usage.values()) == pytest.approx(1000 * stream.duration, abs=len(usage))
    assert len(kept) == 3
    assert list((office.runtime.data_dir / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("seconds", "gain", "said"),
    [
        (6.0, 1.0, "too short to judge"),
        (6.0, None, "too short to judge"),
        (24.0, 0.0, "the sound is silent"),
    ],
)
def test_what_could_not_be_judged_is_told(
    seconds: float,
    gain: float | None,
    said: str,
    office: Office,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = media_maker.sound
    recipe = replace(SMALL, seconds=seconds, audio=None if gain is None else SMALL.audio)
    monkeypatch.setattr(media_maker, "sound", lambda *about: (gain or 0) * noise(*about))
    office.submit(make(tmp_path / "film.mp4", recipe))
    office.work()
    stream = office.stream()
    assert (stream.state, stream.degraded, office.highlights()) == ("completed", True, [])
    assert [w for w in stream.warnings if said in w] == [*stream.warnings]
    [completed] = [e for e in office.events() if e.type == "stream.completed"]
    assert completed.data["degraded"] is True


def test_shorter_segments_change_nothing_but_their_number(office: Office, match: Path) -> None:
    for seconds in (30.0, 10.0):
        office.submit(match, f"str_{seconds:g}", segment_seconds=seconds)
    office.work()
    long, short = (len([k for k in office.usage() if f"str_{n}/segment" in k]) for n in (30, 10))
    assert short > long
    a, b = (
        [(h.start, h.end, h.score, h.clip["sha256"]) for h in office.highlights(id)]
        for id in ("str_30", "str_10")
    )
    assert a == b != []


def test_a_worker_loads_no_decoder() -> None:
    modules = "sys, tldr_highlight.worker.child, tldr_highlight.worker.kinds"
    loaded = f"import {modules}; print({{'av', 'PIL'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
