"""From an address to clips that play, and to somebody who hears of each: real servers, workers and video.

Embedded, and on PostgreSQL, Redis, two workers and a bucket.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from PIL import Image
from sqlalchemy.orm import InstrumentedAttribute

from tests import s3_server
from tests.core.servers import AUTHORITY, Server, parts
from tests.peers import need
from tests.program import Process, Program
from tests.services import Backend
from tests.walks.command import until
from tests.walks.films import ROAR
from tests.webhooks.shop import Receiver, receiver, verified
from tldr_highlight.client import Client
from tldr_highlight.core.db import Database
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.media.probe import probe
from tldr_highlight.streams.models import Stream
from tldr_highlight.webhooks.models import Webhook

ADDRESS = re.compile(r"^  address   (http://\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an S3 server."""
    need("moto")
    folder = tmp_path_factory.mktemp("s3")
    env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)}
    with Process([sys.executable, s3_server.__file__], cwd=folder, log=folder / "log.txt", env=env) as server:
        yield server.says(r"^http://\S+", seconds=60)[0]


def bucket(s3: str) -> dict[str, str]:
    """Settings of an installation that keeps its files in a new bucket."""
    import boto3

    names = {"aws_access_key_id": s3_server.ACCESS, "aws_secret_access_key": s3_server.SECRET}
    boto3.client("s3", endpoint_url=s3, region_name="us-east-1", **names).create_bucket(Bucket="highlights")
    return {
        "TLDR_STORAGE_URL": f"s3://highlights/here?endpoint={s3}&style=path",
        **{name.upper(): value for name, value in names.items()},
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass
class Service:
    url: str
    http: httpx2.Client
    database_url: str
    working: Callable[[], list[psutil.Process]]
    """The processes that work now."""

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
        """Wait until a stream has ended, or a column of something says `last`, or anything: in the database,
        as calls are limited."""
        db = Database(self.database_url)

        def over() -> bool:
            with db.read() as session:
                value = getattr(session.get_one(column.class_, id), column.key)
                return value is not None if last is None else value == last

        try:
            until(over, 60)
        finally:
            db.close()

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


@pytest.fixture
def service(
    program: Callable[..., Program], deployment: Backend, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Service]:
    env = {"TLDR_DATA_DIR": str(tmp_path / "data"), "TLDR_ALLOW_NETWORKS": "127.0.0.0/8"}
    env |= {"TLDR_CA_FILE": str(AUTHORITY), "TLDR_WORKER_LEASE_SECONDS": "5"}
    env |= {"TLDR_WEBHOOK_TIMEOUT_SECONDS": "2"}  # what a killed process was sending is sent again by then
    scaled = deployment.redis_url is not None
    if deployment.redis_url:
        env |= {"TLDR_DATABASE_URL": deployment.database_url, "TLDR_BROKER_URL": deployment.redis_url}
        env |= {**bucket(request.getfixturevalue("s3")), "TLDR_WORKER_THREADS": "1"}
    serve = program("serve", "--port", "0", env=env)
    url = serve.says(ADDRESS.pattern)[1]
    workers = [program("worker", env=env) for _ in range(2 if scaled else 0)]

    def working() -> list[psutil.Process]:
        pools = [pool for worker in workers for pool in psutil.Process(worker.pid).children()]
        return [place for above in pools or [psutil.Process(serve.pid)] for place in above.children()]

    with Client(url) as nobody:
        key = nobody.auth.register("ann@example.com", "seven wet otters sing", "Nordlicht").api_key.key
    with httpx2.Client(headers={"X-API-Key": key}, timeout=30) as http:
        database_url = env.get("TLDR_DATABASE_URL", f"sqlite:///{tmp_path / 'data' / 'tldr.db'}")
        yield Service(url, http, database_url, working)


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
        until(lambda: "highlight.ready" in heard(there), 60)
        killed = [process.pid for process in service.working() if process.kill() is None]
        service.ends(id)
        until(lambda: "stream.completed" in heard(there), 60)
        events = [
            event
            for event in service.get("/events?limit=100")["data"]
            if event["data"].get("stream_id") == id
        ]
        until(lambda: len(first(there)) >= len(events), 60)
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
