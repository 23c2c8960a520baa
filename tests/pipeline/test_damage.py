"""D1: a stored file of which one bit has turned is read by nobody as if it were what was stored."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tests.pipeline.office import ORGANIZATION, Office
from tests.s3_server import bucket
from tests.schema import tables
from tests.services import SQLite
from tests.storage.conftest import damage
from tests.walks.films import film
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.runtime import Act, Caller, opened
from tldr_highlight.settings import Settings
from tldr_highlight.streams import results
from tldr_highlight.streams.models import Upload
from tldr_highlight.streams.results_schemas import ClipCreate, ReelCreate
from tldr_highlight.streams.sources import Source
from tldr_highlight.worker.kinds import product_kinds

UPLOAD = f"{ORGANIZATION}/uploads/upl_1"


@pytest.fixture(params=["local", "s3"])
def office(
    request: pytest.FixtureRequest, sqlite: SQLite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    """An installation with a film that was uploaded, on each store."""
    kept = bucket(request.getfixturevalue("s3_server")) if request.param == "s3" else {}
    for name, value in kept.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    source = film(tmp_path / "match.mp4", (8,), seconds=16.0, size=(64, 36), fps=Fraction(5), rate=8000)
    with sqlite.databases(tmp_path) as new:
        settings = Settings(
            data_dir=tmp_path / "data", database_url=new(tables), storage_url=kept.get("TLDR_STORAGE_URL")
        )
        with opened(settings, product_kinds()) as runtime:
            office = Office(runtime)
            office.found()
            stored = runtime.storage.put(UPLOAD, source, content_type="video/mp4")
            with runtime.db.begin() as session:
                session.add(
                    Upload(
                        id="upl_1", organization_id=ORGANIZATION, state="ready", key=UPLOAD,
                        sha256=stored.sha256,
                    )
                )  # fmt: skip
            office.submit(Source(upload_id="upl_1"))
            yield office


def test_nothing_is_made_of_a_damaged_file(office: Office) -> None:
    """Neither a reel of a clip, nor a clip or highlights of an upload; the sound ones are made."""
    store = office.runtime.storage
    office.work()
    [highlight] = office.highlights()
    assert (office.stream().state, highlight.state) == ("completed", "ready")

    damage(store, highlight.clip_key or "")
    damage(store, UPLOAD)
    office.submit(Source(upload_id="upl_1"), "str_again")
    with office.runtime.db.begin() as session:
        act = Act(office.runtime, Caller(ORGANIZATION, name="test"), session=session)
        clip = results.request_clip(act, "str_1", ClipCreate(start=1.0, end=3.0))[0]
        reel = results.request_reel(act, "str_1", ReelCreate(target_seconds=3.0))
    kept = {file.key for file in store.list()}
    office.work()

    again = office.stream("str_again")
    assert (again.state, again.error_code) == ("failed", "object_damaged")
    with office.runtime.db.read() as session:
        for row in (session.get_one(Highlight, clip.id), session.get_one(Reel, reel.id)):
            assert (row.state, row.error_code) == ("failed", "object_damaged")
    assert list(office.highlights("str_again")) == []
    assert {file.key for file in store.list()} == kept, "something was stored"
    assert list((office.runtime.data_dir / "scratch").iterdir()) == []
