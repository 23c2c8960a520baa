"""The compatible calls, as the contract has them, field by field, against a live server that cuts.

The server is our own command with one worker beside it; media come from a server on loopback.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.clips.shop import LOOPBACK, Host, film
from tests.core.servers import Server
from tests.media_maker import read
from tests.program import Program

ID = "dQw4w9WgXcQ"
ADDRESS = re.compile(r"^  address   (http://\S+)$", re.MULTILINE)

JOB = {"success", "job_id", "video_id", "status", "created_at", "total", "processed", "clip_filenames"}
FINISHED = JOB | {"completed_at", "clips", "errors", "error_count"}
CLIP = {"start", "end", "filename", "video_title", "resolution", "file_size_mb", "url"}


@dataclass
class Live:
    """A server, and who calls it without a key."""

    url: str
    media: str
    client: httpx2.Client
    files: Path

    def post(self, body: Any, **how: Any) -> httpx2.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"Content-Type": "application/json", **how}
        return self.client.post(f"{self.url}/api/create-clips", content=text.encode(), headers=headers)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.client.get(f"{self.url}{path}", headers=headers)

    def delete(self, path: str) -> httpx2.Response:
        return self.client.delete(f"{self.url}{path}")

    def created(self, clips: str, video_id: str = ID) -> dict[str, Any]:
        answer = self.post(f'{{"video_id": {json.dumps(video_id)}, "clips": {clips}}}')
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, job_id: str) -> dict[str, Any]:
        end = time.monotonic() + 60
        while True:
            answer = self.get(f"/api/check-job/{job_id}")
            assert answer.status_code == 200, answer.text
            told = answer.json()
            if told["status"] in {"finished", "failed"}:
                return told
            assert told.keys() == JOB
            assert told["status"] in {"pending", "processing"}
            assert time.monotonic() < end, told
            time.sleep(0.05)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    with ExitStack() as stack:
        host = Host({f"/{ID}.mp4": film(folder).read_bytes()})
        media = stack.enter_context(Server(host))
        env = {
            "TLDR_DATA_DIR": str(folder / "data"),
            "TLDR_ALLOW_NETWORKS": LOOPBACK,
            "TLDR_COMPAT_VIDEO_URL": f"{media.url}{{id}}.mp4",
        }
        serve = stack.enter_context(Program("serve", "--port", "0", folder=folder / "serve", env=env))
        url = serve.says(ADDRESS.pattern)[1]
        client = stack.enter_context(httpx2.Client())
        yield Live(url, media.url, client, folder / "data" / "files")


@pytest.fixture(scope="module")
def job(live: Live) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a client is told of a job with odd clips: at once, and in the end."""
    clips = (
        '[{"start": 1, "end": 2.0, "title": "ignored", "more": {"x": [1]}}, {"start": 3.50, "end": 4.25},'
        ' {"start": 5, "end": 5}, {"start": 7}, {"end": "8", "start": 7}, 9, {"start": 20, "end": 30},'
        ' {"start": -1, "end": 2}, {"clip": "mine", "end": 3}, null, [{"start": 10.0}]]'
    )
    created = live.created(clips)
    return created, live.ended(created["job_id"])


def test_a_job_is_accepted_at_once(job: tuple[dict[str, Any], dict[str, Any]]) -> None:
    created = dict(job[0])
    assert created.pop("job_id").startswith("job_")
    assert isinstance(created.pop("message"), str)
    assert created == {
        "success": True, "video_id": ID, "status": "pending", "total_clips": 11,
        "clip_filenames": [
            f"{ID}-1-2.0.mp4", f"{ID}-3.50-4.25.mp4", f"{ID}-5-5.mp4", f"{ID}-7-.mp4", f"{ID}-7-.mp4",
            f"{ID}--.mp4", f"{ID}-20-30.mp4", f"{ID}--1-2.mp4", f"{ID}--3.mp4", f"{ID}--.mp4",
            f"{ID}--.mp4",
        ],
    }  # fmt: skip


def test_a_finished_job(live: Live, job: tuple[dict[str, Any], dict[str, Any]]) -> None:
    created, told = job
    assert told.keys() == FINISHED
    assert (told["success"], told["job_id"], told["video_id"]) == (True, created["job_id"], ID)
    assert (told["status"], told["total"], told["processed"], told["error_count"]) == (
        "finished", 11, 11, 9,
    )  # fmt: skip
    assert told["clip_filenames"] == created["clip_filenames"]
    assert told["created_at"] < told["completed_at"]
    assert [clip.keys() for clip in told["clips"]] == [CLIP, CLIP]
    first, second = told["clips"]
    assert first == {
        "start": 1, "end": 2.0, "filename": f"{ID}-1-2.0.mp4", "video_title": None, "resolution": "320x180",
        "file_size_mb": first["file_size_mb"], "url": f"{live.url}/clips/{ID}-1-2.0.mp4",
    }  # fmt: skip
    assert (second["start"], second["end"]) == (3.5, 4.25)


def test_its_errors(job: tuple[dict[str, Any], dict[str, Any]]) -> None:
    _, told = job
    assert [error.keys() for error in told["errors"]] == [{"index", "error", "clip"}] * 9
    assert [error["index"] for error in told["errors"]] == list(range(2, 11))
    asked: list[Any] = [
        {"start": 5, "end": 5},
        {"start": 7},
        {"end": "8", "start": 7},
        9,
        {"start": 20, "end": 30},
    ]
    asked += [{"start": -1, "end": 2}, {"clip": "mine", "end": 3}, None, [{"start": 10.0}]]
    assert [error["clip"] for error in told["errors"]] == asked
    words = [error["error"] for error in told["errors"]]
    assert "end is missing" in words[1]
    assert "end is no number" in words[2]
    assert "start is missing" in words[3]


def test_the_clip_itself(live: Live, job: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    clip = job[1]["clips"][0]
    whole = live.client.get(clip["url"])
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert round(len(whole.content) / 1_048_576, 2) == clip["file_size_mb"]
    (tmp_path / "clip.mp4").write_bytes(whole.content)
    assert read(tmp_path / "clip.mp4").numbers == list(range(25, 50))
    part = live.get(f"/clips/{clip['filename']}", Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    assert live.get(f"/clips/{clip['filename']}", Range="bytes=999999999-").status_code == 416


def test_a_damaged_clip_is_a_broken_answer(live: Live, job: tuple[dict[str, Any], dict[str, Any]]) -> None:
    name = f"/clips/{job[1]['clips'][1]['filename']}"
    whole = live.get(name).content
    [blob] = [path for path in live.files.rglob("*@*.mp4") if path.read_bytes() == whole]
    blob.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    with pytest.raises(httpx2.RemoteProtocolError):
        live.get(name)
    assert live.get(name, Range="bytes=0-9").content == whole[:10], "of a part nobody can tell"
    blob.write_bytes(whole)
    assert live.get(name).content == whole


@pytest.mark.parametrize(
    "body",
    [
        "{}", "[]", "null", '"text"', "", "{", '{"video_id": "dQw4w9WgXcQ"}',
        '{"clips": [{"start": 1, "end": 2}]}',
        '{"video_id": "", "clips": [{"start": 1, "end": 2}]}', '{"video_id": "dQw4w9WgXcQ", "clips": []}',
        '{"video_id": null, "clips": [{"start": 1, "end": 2}]}', '{"video_id": "dQw4w9WgXcQ", "clips": null}',
        '{"video_id": "dQw4w9WgXcQ", "clips": {"start": 1, "end": 2}}',
        '{"video_id": ["dQw4w9WgXcQ"], "clips": [{"start": 1, "end": 2}]}',
        '{"video_id": "dQw4w9WgXcQ", "clips": [{"start": NaN, "end": 2}]}',
        '{"video_id": "dQw4w9WgXcQ", "clips": [{"start": 1e999, "end": 2}]}',
    ],
    ids=range(16),
)  # fmt: skip
def test_what_is_missing_or_empty(live: Live, body: str) -> None:
    answer = live.post(body)
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"success", "error"}
    assert answer.json()["success"] is False
    assert answer.json()["error"]


HOSTILE = [
    "../../etc/passwd", "..", ".", "/etc/passwd", "a/b", "a\\b", "a\u0000b", "x" * 300, "-i", "--help", "-",
    "dQw4w9WgXc\u04a8", "\u0430bc", "ab c", "ab\n", "a%2fb", "file:///etc/passwd", "ftp://x/y", "\u202egpj",
    "http://169.254.169.254/latest", "http://10.0.0.1/x.mp4", "con", "nul.mp4", "C:\\x", "~root", "$(id)",
]  # fmt: skip
NAMES = [name for name in HOSTILE if name not in {"con", "ab c"}]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_ids_are_refused(live: Live, name: str) -> None:
    answer = live.post({"video_id": name, "clips": [{"start": 1, "end": 2}]})
    if name == "con":  # an id like any other: names become no files
        assert answer.status_code == 200
        live.delete(f"/api/jobs/{answer.json()['job_id']}")
        return
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"success", "error"}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("path", ["/api/check-job/{}", "/clips/{}", "/api/jobs/{}", "/api/clips/{}"])
def test_hostile_names_lead_nowhere(live: Live, path: str, name: str) -> None:
    method = "GET" if path in {"/api/check-job/{}", "/clips/{}"} else "DELETE"
    for spelling in (quote(name, safe=""), quote(name, safe="/")):
        answer = live.client.request(method, f"{live.url}{path.format(spelling)}")
        assert answer.status_code in {400, 404, 405}, (spelling, answer.text)
        assert "root:" not in answer.text


def test_more_clips_than_a_job_takes(live: Live) -> None:
    answer = live.post({"video_id": ID, "clips": [{"start": 1, "end": 2}] * 201})
    assert (answer.status_code, answer.json().keys()) == (400, {"success", "error"})
    assert "200" in answer.json()["error"]


def test_a_job_that_was_never(live: Live) -> None:
    for answer in (live.get("/api/check-job/nobody"), live.delete("/api/jobs/nobody")):
        assert (answer.status_code, answer.json().keys()) == (404, {"success", "error"})
    for answer in (live.get("/clips/nobody.mp4"), live.delete("/api/clips/nobody.mp4")):
        assert (answer.status_code, answer.json().keys()) == (404, {"success", "error"})


def test_no_source_fails_the_job(live: Live) -> None:
    created = live.created('[{"start": 1, "end": 2}]', video_id="notthere123")
    told = live.ended(created["job_id"])
    assert told.keys() == JOB | {"error"}
    assert (told["status"], told["processed"]) == ("failed", 0)
    assert told["error"]


def test_lists_and_deleting(live: Live, job: tuple[dict[str, Any], dict[str, Any]]) -> None:
    address = f"{live.media}{ID}.mp4"
    created = live.created('[{"start": 6, "end": 7}, {"start": 6.0, "end": 7}]', address)
    told = live.ended(created["job_id"])
    one, other = created["clip_filenames"]
    stem = f"{ID}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
    assert (one, other) == (f"{stem}-6-7.mp4", f"{stem}-6.0-7.mp4")  # one file, two names
    clips = live.get("/api/clips").json()
    assert (clips["success"], clips["total"]) == (True, len(clips["clips"]))
    listed = {clip["filename"]: clip for clip in clips["clips"]}
    assert {one, other, f"{ID}-1-2.0.mp4"} <= listed.keys()
    assert listed[one].keys() == {"filename", "file_size_mb", "created_at", "url"}
    jobs = live.get("/api/jobs").json()
    assert [each["job_id"] for each in jobs["jobs"]][:1] == [created["job_id"]]
    assert jobs["jobs"][0].keys() == JOB - {"success"}

    assert live.delete(f"/api/clips/{one}").json().keys() == {"success", "message"}
    assert live.get(f"/clips/{one}").status_code == 404
    assert live.get(f"/clips/{other}").status_code == 200
    assert live.get(f"/api/check-job/{created['job_id']}").json() == told

    assert live.delete(f"/api/jobs/{created['job_id']}").json()["success"] is True
    assert live.get(f"/api/check-job/{created['job_id']}").status_code == 404
    assert live.get(f"/clips/{other}").status_code == 404
    assert live.get(f"/clips/{ID}-1-2.0.mp4").status_code == 200
    cleared = live.delete("/api/clips/clear").json()
    assert (cleared.keys(), cleared["deleted"]) == ({"success", "message", "deleted"}, 2)
    assert live.get("/api/clips").json()["clips"] == []


def test_pages_of_other_sites_change_nothing(live: Live) -> None:
    clips = {"video_id": ID, "clips": [{"start": 1, "end": 2}]}
    other = {"Sec-Fetch-Site": "cross-site"}
    assert live.post(clips, **other).status_code == 403
    assert live.post(clips, **{"Content-Type": "text/plain"}).status_code == 415
    assert live.post(clips, Host="rebound.example.com").status_code == 401
    assert live.post(clips, **{"X-API-Key": "tldr_live_wrong"}).status_code == 401
    assert live.client.get(f"{live.url}/api/v1/clip-jobs").status_code == 401


PROXIED = {
    "X-Forwarded-For": "203.0.113.7",
    "Forwarded": "for=203.0.113.7",
    "X-Real-IP": "203.0.113.7",
    "Via": "1.1 proxy",
}


@pytest.mark.parametrize("name", PROXIED)
def test_what_a_proxy_passes_on_takes_a_key(live: Live, name: str) -> None:
    assert live.get("/api/jobs").status_code == 200
    answer = live.get("/api/jobs", **{name: PROXIED[name]})
    assert (answer.status_code, answer.json().keys()) == (401, {"success", "error"})


Start = Callable[..., Program]


def test_bound_elsewhere_it_takes_a_key(program: Start) -> None:
    serve = program("serve", "--port", "0", "--host", "0.0.0.0")
    url = serve.says(ADDRESS.pattern)[1]
    answer = httpx2.get(f"{url}/api/jobs")
    assert (answer.status_code, answer.json().keys()) == (401, {"success", "error"})
