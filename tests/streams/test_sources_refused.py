"""S2: what an address says by itself is refused at submit, in the same words whatever the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.services import Backend, SQLite
from tests.streams.house import URL, House, house_on
from tldr_highlight.core.db import new_id
from tldr_highlight.streams.models import Upload

PRIVATE = [
    "http://127.0.0.1/", "http://127.0.0.1:8000/x", "http://127.1/", "http://127.0.1/", "http://2130706433/",
    "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://017700000001/", "http://0/",
    "http://0.0.0.0/", "http://127.0.0.1./", "http://１２７.0.0.1/", "http://127。0。0。1/", "http://10.0.0.7/",
    "http://172.16.3.4/", "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/", "http://168.63.129.16/", "http://192.0.0.192/", "http://224.0.0.1/",
    "http://255.255.255.255/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/", "http://[fd00:ec2::254]/", "http://[fc00::1]/", "http://[ff02::1]/",
    "http://[2001:db8::1]/", "http://user:pw@127.0.0.1/", "http://[0:0:0:0:0:ffff:10.0.0.1]/",
]  # fmt: skip
NO_ADDRESSES = [
    "file:///etc/passwd", "ftp://example.com/x", "gopher://example.com/", "data:video/mp4;base64,AAAA",
    "concat:http://a|http://b", "//example.com/x", "example.com/x", "http://", "http:///x", "http://a b/",
    "http://example.com:0/", "http://example.com:99999/", "http://[::1", "http://exa\\mple.com/",
    "javascript:x", "http://a..b/",
]  # fmt: skip
LIVE = [
    "rtmp://a.example/app/key",
    "RTSP://127.0.0.1/",
    "srt://a.example:9000",
    "udp://239.0.0.1:1234",
    "rtp://a",
]


@pytest.fixture(scope="module")
def house(sqlite: SQLite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("refused")
    (folder / "open").mkdir()
    (folder / "open" / "link").symlink_to("/etc")
    is_open = {"allow_local_paths": str(folder / "open")}
    with sqlite.databases(folder) as new, house_on(Backend("sqlite", new), folder, **is_open) as made:
        yield made
        assert made.call("GET", "/streams").json()["data"] == []  # of what was refused nothing is left


def refused(house: House, **wanted: Any) -> dict[str, Any]:
    answer = house.call("POST", "/streams", wanted)
    assert answer.status_code in {404, 409, 422}, answer.text
    return answer.json()


@pytest.mark.parametrize("url", [*PRIVATE, *NO_ADDRESSES])
def test_addresses_that_are_not_allowed_are_all_alike(house: House, url: str) -> None:
    told = [
        refused(house, source_url=url),
        refused(house, video_url=URL, audio_url=url),
        house.call("POST", "/batches", {"sources": [{"url": url}]}).json()["refused"][0],
    ]
    assert {each["code"] for each in told} == {"source_url_not_allowed"}
    words = {each.get("detail") or each.get("message") for each in told}
    assert words == {refused(house, url="http://10.0.0.1/")["detail"]}


@pytest.mark.parametrize("url", LIVE)
def test_live_streams_are_known_and_not_taken_yet(house: House, url: str) -> None:
    assert refused(house, url=url)["code"] == "source_protocol_unsupported"


PATHS = [
    "/etc/passwd", "open/x.mp4", "../../etc/passwd", "", "/nowhere", "{open}/link/passwd", "{open}/../x",
    "{open}2/x",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_paths_outside_the_open_folders_are_all_alike(house: House, path: str) -> None:
    folder = house.world.runtime.settings.allow_local_paths
    told = refused(house, path=path.replace("{open}", str(folder)))
    assert told["code"] == ("source_path_not_allowed" if path else "validation_failed")
    if path:
        assert told["detail"] == refused(house, path="/x")["detail"]


def test_an_upload_has_to_be_there_and_ours_and_finished(house: House) -> None:
    other = house.world.organization()
    with house.world.runtime.db.begin() as session:
        uploads = [Upload(organization_id=id, key="k") for id in (house.id, other)]
        uploads[1].state = "ready"
        session.add_all(uploads)
        session.flush()
        unfinished, foreign = (upload.id for upload in uploads)
    assert refused(house, upload_id=unfinished)["code"] == "conflict"
    answers = [refused(house, upload_id=id) for id in (foreign, new_id("upl"))]
    assert [a["code"] for a in answers] == ["not_found"] * 2
    assert answers[0]["detail"] == answers[1]["detail"]


WRONG = [
    {}, {"source_url": URL, "upload_id": "upl_1"}, {"source_url": URL, "url": URL}, {"video_url": URL},
    {"audio_url": URL}, {"source_url": URL, "audio_url": URL}, {"path": "/x", "headers": {"A": "b"}},
    {"source_url": URL, "colour": "red"}, {"source_url": URL, "headers": {"Host": "x"}},
    {"source_url": URL, "headers": {"A": "b\r\nc: d"}}, {"source_url": URL, "title": "a\nb"},
]  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {"segment_seconds": 9.9}, {"segment_seconds": 30.1}, {"threshold": 1.1}, {"threshold": -0.1},
    {"smoothing_seconds": 61}, {"min_clip_seconds": 4.9}, {"max_clip_seconds": 121}, {"max_highlights": 0},
    {"quality": "best"}, {"analyzer": "oracle"}, {"dimension_set": "Sports!"}, {"unknown": 1},
    {"min_clip_seconds": 30, "max_clip_seconds": 20}, {"max_clip_seconds": 10},
    {"watermark": {"text": ""}}, {"watermark": {"text": "x", "image": "/etc/passwd"}}, {"reel_seconds": 0},
]  # fmt: skip


@pytest.mark.parametrize("body", [*WRONG, *({"url": URL, "processing_options": o} for o in OPTIONS)], ids=str)
def test_what_nobody_knows_or_is_out_of_bounds_is_refused(house: House, body: dict[str, Any]) -> None:
    assert refused(house, **body)["code"] in {"validation_failed", "usage"}


def test_a_dimension_set_has_to_be_there(house: House) -> None:
    for name in ("badminton", new_id("dset")):
        assert refused(house, url=URL, processing_options={"dimension_set": name})["code"] == "not_found"
