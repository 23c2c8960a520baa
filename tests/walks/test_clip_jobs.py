"""The clip service's clients move in: three videos at once, a worker that dies in the middle, clean-up.

On SQLite alone, and on PostgreSQL and Redis with two Celery processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from tests.clips.shop import LOOPBACK, Host, film
from tests.core.servers import Server
from tests.media_maker import read
from tests.program import Program
from tests.services import Backend
from tests.walks.command import until
from tests.walks.test_serve import ADDRESS, Installation
from tldr_highlight.clips.models import ClipFile, ClipJob
from tldr_highlight.core.db import Database, now
from tldr_highlight.usage.models import UsageRecord

IDS = ("nothing__00", "first____01", "second___02")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    data = film(tmp_path).read_bytes()
    return Host({f"/{id}.mp4": data for id in IDS[1:]})


@pytest.fixture
def media(host: Host) -> Iterator[Server]:
    with Server(host) as server:
        yield server


@pytest.fixture
def service(
    program: Callable[..., Program], deployment: Backend, tmp_path: Path, media: Server
) -> Installation:
    data = tmp_path / "data"
    env = {
        "TLDR_DATA_DIR": str(data),
        "TLDR_ALLOW_NETWORKS": LOOPBACK,
        "TLDR_COMPAT_VIDEO_URL": f"{media.url}{{id}}.mp4",
        "TLDR_FAULT": "job-clip-cut:2",  # a worker dies with its second clip, before that is stored
        "TLDR_WORKER_LEASE_SECONDS": "2",
    }
    if deployment.redis_url:
        env |= {"TLDR_DATABASE_URL": deployment.database_url, "TLDR_BROKER_URL": deployment.redis_url}
    serve = program("serve", "--port", "0", env=env)
    serve.says(ADDRESS.pattern)
    worker = program("worker", env=env) if deployment.redis_url else None
    database_url = deployment.database_url if deployment.redis_url else f"sqlite:///{data / 'tldr.db'}"
    return Installation(data, database_url, serve, worker)


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """One for all calls: to make one takes 25 ms of a core, most of them for TLS."""
    with httpx2.Client() as client:
        yield client


def create(http: httpx2.Client, url: str, video_id: str, *ranges: tuple[float, float]) -> str:
    clips = [{"start": start, "end": end} for start, end in ranges]
    answer = http.post(f"{url}/api/create-clips", json={"video_id": video_id, "clips": clips})
    assert answer.status_code == 200, answer.text
    return answer.json()["job_id"]


def check(http: httpx2.Client, url: str, job_id: str) -> dict[str, Any]:
    return http.get(f"{url}/api/check-job/{job_id}").json()


def ended(http: httpx2.Client, url: str, *job_ids: str) -> list[dict[str, Any]]:
    def told() -> list[dict[str, Any]] | None:
        answers = [check(http, url, id) for id in job_ids]
        return answers if all(a["status"] in {"finished", "failed"} for a in answers) else None

    until(told)
    return [check(http, url, id) for id in job_ids]


def ready(service: Installation, job_id: str) -> list[int]:
    """Clips of a job that workers said were ready, each time they did."""
    output = (service.worker or service.serve).output
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [line["clip"] for line in lines if line["event"] == "clip is ready" and line["job"] == job_id]


def test_clip_jobs(service: Installation, http: httpx2.Client, tmp_path: Path) -> None:
    url = service.url
    # a worker is killed in the middle of clip 2 of 3: three results, none stored twice
    killed = create(http, url, IDS[1], (1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
    [told] = ended(http, url, killed)
    assert (service.data / "faults" / "job-clip-cut").exists()
    assert (told["status"], told["processed"], told["error_count"]) == ("finished", 3, 0)
    assert ready(service, killed) == [0, 1, 2]
    for index, clip in enumerate(told["clips"]):
        path = tmp_path / clip["filename"]
        path.write_bytes(http.get(clip["url"]).content)
        assert read(path).numbers == list(range(25 + 50 * index, 50 + 50 * index))

    # three videos with two clips each at once, the first of which is not there
    jobs = [create(http, url, id, (1.0, 2.0), (7.0, 8.0)) for id in IDS]
    failed, *others = ended(http, url, *jobs)
    assert failed["status"] == "failed"
    for each in others:
        assert (each["status"], len(each["clips"]), each["errors"]) == ("finished", 2, [])
    assert ready(service, jobs[1]) == [1]  # the other is there already

    # the power fails; ten minutes later nothing of it is left
    db = Database(service.database_url)
    try:
        with db.read() as session:
            files = session.scalars(select(ClipFile)).all()
            stored = select(UsageRecord.amount).where(UsageRecord.metric == "stored_bytes")
            used = session.scalars(stored).all()
        assert len(files) == 6
        assert sorted(used) == sorted(file.bytes for file in files)
        for process in filter(None, (service.serve, service.worker)):
            process.kill()
        with db.begin() as session:
            session.execute(update(ClipJob).values(delete_at=now()))
        for process in filter(None, (service.serve, service.worker)):
            process.start()
        service.lives += 1
        url = service._address()
        until(lambda: all(http.get(f"{url}/api/check-job/{id}").status_code == 404 for id in jobs))

        def gone() -> bool:
            with db.read() as session:
                return session.scalar(select(ClipFile)) is None

        until(gone)
        left = [path.name for path in (service.data / "files").rglob("*") if path.is_file()]
        assert left == [".lock"]
    finally:
        db.close()
