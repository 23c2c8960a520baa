"""From an address to clips that play, and to somebody who hears of each: real servers, workers and video.

Embedded, and on PostgreSQL, Redis, two workers and a bucket.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from tests.core.servers import AUTHORITY, Server, parts
from tests.program import Program, programs
from tests.s3_server import bucket
from tests.walks.command import until
from tests.walks.films import ROAR
from tests.webhooks.shop import Receiver, receiver, verified
from tldr_highlight.client import Client
from tldr_highlight.core.db import Database
from tldr_highlight.core.work import Work
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.media.probe import probe
from tldr_highlight.streams.models import Segment, Stream
from tldr_highlight.usage.models import UsageRecord
from tldr_highlight.webhooks.models import Webhook

ADDRESS = re.compile(r"^  address   (http://\S+)$", re.MULTILINE)

NUMBERS = itertools.count()


@dataclass
class Service:
    program: Callable[..., Program]
    env: dict[str, str]
    db: Database
    workers: int  # beside the server; none: it works itself
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30))
    running: list[Program] = field(default_factory=list[Program])  # the server first
    url: str = ""

    def start(self) -> None:
        serve = self.program("serve", "--port", "0", env=self.env)
        self.url = serve.says(ADDRESS.pattern)[1]
        self.running = [serve, *(self.program("worker", env=self.env) for _ in range(self.workers))]

    def stop(self) -> list[int]:
        """Tell all to end: how they did."""
        return [each.terminate() for each in self.running]

    def working(self) -> list[psutil.Process]:
        """The processes that work now."""
        parents = [psutil.Process(each.pid) for each in self.running[1:] or self.running]
        pools = [pool for parent in parents for pool in parent.children()] if self.workers else parents
        return [place for above in pools for place in above.children()]

    def rows(self, query: Any) -> list[Any]:
        """Of the database, as calls are limited."""
        with self.db.read() as session:
            return list(session.scalars(query))

    def hears(self, url: str, *events: str) -> str:
        """Have a receiver hear of events, once it is verified: the secret of its signatures."""
        account = self.http.post(
            f"{self.url}/api/v1/auth/register",
            json={
                "email": "bob@example.com",
                "password": "seven wet otters sing",
                "company_name": "Südlicht",
                "webhook": {"url": url, "events": events},
            },
        ).json()
        self.http.headers["X-API-Key"] = account["api_key"]["key"]
        self.ends(account["webhook"]["id"], Webhook.status, "active")
        return account["webhook"]["secret"]

    def ends(self, id: str, column: InstrumentedAttribute[Any] = Stream.ended_at, last: Any = None) -> None:
        """Wait until a stream has ended, or a column of something says `last`, or anything."""
        query = select(column).where(column.class_.id == id)
        until(lambda: self.rows(query)[0] is not None if last is None else self.rows(query)[0] == last)

    def get(self, path: str) -> Any:
        answer = self.http.get(f"{self.url}/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.http.post(f"{self.url}/api/v1{path}", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def file(self, path: str, to: Path) -> Path:
        """A file that a call leads to."""
        leads = self.http.get(f"{self.url}/api/v1{path}", follow_redirects=False)
        assert leads.status_code == 307, leads.text
        answer = httpx2.get(httpx2.URL(self.url).join(leads.headers["location"]))
        assert answer.status_code == 200, answer.text
        to.write_bytes(answer.content)
        return to


@pytest.fixture(scope="module", params=["embedded", "scaled"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all that follows: its processes compute for 14 s until they work, scaled."""
    folder = tmp_path_factory.mktemp(request.param)
    data = folder / "data"
    env = {"TLDR_DATA_DIR": str(data), "TLDR_ALLOW_NETWORKS": "127.0.0.0/8", "TLDR_CA_FILE": str(AUTHORITY)}
    env |= {"TLDR_WORKER_LEASE_SECONDS": "5", "TLDR_DATABASE_URL": f"sqlite:///{data / 'tldr.db'}"}
    env |= {"TLDR_WEBHOOK_TIMEOUT_SECONDS": "2"}  # what a killed process was sending is sent again by then
    with ExitStack() as stack:
        if request.param == "scaled":
            postgres, redis = request.getfixturevalue("postgres"), request.getfixturevalue("redis")
            redis.flush()
            env |= {"TLDR_DATABASE_URL": stack.enter_context(postgres.databases())()}
            env |= {"TLDR_BROKER_URL": redis.url, "TLDR_WORKER_THREADS": "1"}
            env |= bucket(request.getfixturevalue("s3_server"))
        db = stack.enter_context(closing(Database(env["TLDR_DATABASE_URL"])))
        program = stack.enter_context(programs(folder))
        service = Service(program, env, db, workers=2 if request.param == "scaled" else 0)
        stack.enter_context(service.http)
        service.start()
        yield service


@pytest.fixture
def service(running: Service) -> Service:
    """As an organization of the test's own sees it."""
    with Client(running.url) as nobody:
        email = f"ann-{next(NUMBERS)}@example.com"
        key = nobody.auth.register(email, "seven wet otters sing", "Nordlicht").api_key.key
    running.http.headers["X-API-Key"] = key
    return running


def test_an_address_becomes_clips_that_play(service: Service, film: Path, tmp_path: Path) -> None:
    with Server(parts(film.read_bytes(), 'ETag: "1"')) as source:
        answer = service.http.post(
            f"{service.url}/api/v1/streams", json={"source_url": f"{source.url}film.mp4", "title": "Final"}
        )
        assert answer.status_code == 202, answer.text
        id = answer.json()["id"]
        service.ends(id)
        asked = service.post(f"/streams/{id}/clips", {"start": 2.0, "end": 5.0})
        reel = service.post(f"/streams/{id}/reel", {"target_seconds": 4.0})
        service.ends(asked["id"], Highlight.ready_at)
        service.ends(reel["id"], Reel.ended_at)
    stream = service.get(f"/streams/{id}")
    assert (stream["state"], stream["error"], stream["progress"]["percent"]) == ("completed", None, 100.0)
    assert stream["media"]["video_codec"] == "h264"

    [highlight, range] = service.get(f"/streams/{id}/highlights?order=newest")["data"][::-1]
    assert (range["origin"], range["state"]) == ("request", "ready")
    cut = probe(service.file(f"/highlights/{asked['id']}/clip", tmp_path / "asked.mp4"))
    assert cut.duration == pytest.approx(3.0, abs=0.2)
    joined = probe(service.file(f"/reels/{reel['id']}/video", tmp_path / "reel.mp4"))
    assert joined.duration == pytest.approx(4.0, abs=0.2)
    assert max(v for v in service.get(f"/streams/{id}/timeline")["score"] if v) >= 0.5

    assert highlight["state"] == "ready"
    assert highlight["start"] - 1 < ROAR < highlight["end"] + 1
    clip = probe(service.file(f"/highlights/{highlight['id']}/clip", tmp_path / "clip.mp4"))
    assert clip.video is not None
    assert clip.audio is not None
    assert clip.duration == pytest.approx(highlight["clip_end"] - highlight["clip_start"], abs=0.2)
    for size, form in (("large", "JPEG"), ("small", "WEBP")):
        picture = service.file(f"/highlights/{highlight['id']}/thumbnail?size={size}", tmp_path / size)
        with Image.open(picture) as image:
            assert image.format == form


def test_a_receiver_hears_of_everything_once_whoever_is_killed(service: Service, three: Path) -> None:
    with Server(parts(three.read_bytes(), 'ETag: "1"')) as source, receiver() as there:
        there.secret = service.hears(there.url, "stream.*", "highlight.*")
        id = service.post("/streams", {"source_url": f"{source.url}three.mp4"})["id"]
        until(lambda: "highlight.ready" in heard(there))
        killed = [process.pid for process in service.working() if process.kill() is None]
        service.ends(id)
        until(lambda: "stream.completed" in heard(there))
        events = [
            event
            for event in service.get("/events?limit=100")["data"]
            if event["data"].get("stream_id") == id
        ]
        until(lambda: len(first(there)) >= len(events))
    assert killed
    assert service.get(f"/streams/{id}")["state"] == "completed"
    highlights = [h["id"] for h in service.get(f"/streams/{id}/highlights?limit=100")["data"]]
    assert len(highlights) == 3

    told = first(there)
    assert [event["sequence"] for event in told] == list(range(1, len(told) + 1))
    assert {event["id"] for event in told} == {event["id"] for event in events}
    assert (told[0]["type"], told[-1]["type"]) == ("stream.started", "stream.completed")
    of = {name: [e["data"]["highlight_id"] for e in told if e["type"] == name] for name in HIGHLIGHT}
    assert of == dict.fromkeys(HIGHLIGHT, sorted(highlights))


def test_told_to_stop_in_the_middle_it_goes_on_from_there(service: Service, half_hour: Path) -> None:
    """R12: all end well, within 30 s, and nothing that was measured is measured or charged again."""
    with Server(parts(half_hour.read_bytes(), 'ETag: "1"')) as source:
        id = service.post("/streams", {"source_url": f"{source.url}half_hour.mkv"})["id"]
        segments = select(Segment.ordinal).where(Segment.stream_id == id)
        until(lambda: service.rows(segments))
        assert service.stop() == [0] * len(service.running)
        kept = service.rows(segments)
        [state] = service.rows(select(Work.state).where(Work.object_id == id))
        assert state == "waiting"
        service.start()
        service.ends(id)
    stream = service.get(f"/streams/{id}")
    assert (stream["state"], stream["error"]) == ("completed", None)
    every = service.rows(segments.order_by(Segment.ordinal))
    assert every == list(range(len(every)))
    assert 0 < len(kept) < len(every)
    charged = select(UsageRecord.amount).where(
        UsageRecord.metric == "processing_ms", UsageRecord.object_id == id
    )
    assert sum(service.rows(charged)) == pytest.approx(1000 * stream["duration"], abs=len(every))


HIGHLIGHT = ("highlight.detected", "highlight.ready")


def heard(there: Receiver) -> set[str]:
    return {event["type"] for event in there.events()}


def first(there: Receiver) -> list[dict[str, Any]]:
    """What came, each verified, where it first came."""
    events: dict[str, dict[str, Any]] = {}
    for request in there.got:
        event = verified(request, there.secret)
        assert events.setdefault(event["id"], event) == event
    return list(events.values())
