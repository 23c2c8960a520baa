"""Resolvers against real servers on loopback: recorded shapes, and what a hostile one may answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.core.servers import Peer, Request, Server, parts
from tests.schema import tables
from tests.services import SQLite
from tldr_highlight.errors import (
    AddressError,
    BreakerError,
    Fate,
    NoResolverError,
    NotFoundError,
    PathError,
    ResolverError,
    ResolverRefusedError,
    SourceDeniedError,
    SourceNotFoundError,
    TldrError,
)
from tldr_highlight.media.types import Remote
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.streams.resolvers import Resolved, renewed, resolve, vidfly
from tldr_highlight.streams.sources import Source

PAGE = Source(url="https://www.youtube.com/watch?v=abc&t=5s")
VIDEO = "https://cdn.example.com/v.mp4?sig=1"
AUDIO = "https://cdn.example.com/a.m4a?sig=2"

Open = Callable[..., Runtime]


@pytest.fixture
def database_url(sqlite: SQLite, tmp_path: Path) -> Iterator[str]:
    with sqlite.databases(tmp_path) as new:
        yield new(tables)


@pytest.fixture
def runtime_of(database_url: str, tmp_path: Path) -> Iterator[Open]:
    """Opens a runtime with the settings that a test wants."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def new(**wanted: Any) -> Runtime:
            given: dict[str, Any] = {"data_dir": tmp_path / "data", "database_url": database_url} | wanted
            return stack.enter_context(opened(Settings(_env_file=None, **given)))

        yield new


def asked(runtime: Runtime, source: Source, folder: Path) -> Resolved:
    return resolve(runtime, source, organization_id="org_1", scratch=folder)


def item(kind: str, ext: str, height: int = 0, label: str = "", url: str = VIDEO) -> dict[str, Any]:
    return {"type": kind, "ext": ext, "height": height, "label": label, "url": url}


def answer_of(*items: Any, code: Any = 0, title: Any = "A match") -> bytes:
    data = {"title": title, "cover": "https://i.example.com/c.jpg", "duration": 60, "items": list(items)}
    return json.dumps({"code": code, "data": data}).encode()


GOOD = answer_of(item("video", "mp4", 720), item("audio", "m4a", label="128kbps", url=AUDIO))


def saying(body: bytes, status: str = "200 OK") -> Callable[[Request, Peer], None]:
    return lambda request, peer: peer.reply(status, body, "Content-Type: application/json")


# --- vidfly --------------------------------------------------------------------------------------------


def test_vidfly_is_asked_as_it_was_recorded(runtime_of: Open, tmp_path: Path) -> None:
    with Server(saying(GOOD)) as server:
        found = asked(runtime_of(vidfly_url=server.url), PAGE, tmp_path)
        (request,) = server.requests
    assert found == Resolved(Remote(VIDEO), Remote(AUDIO), "A match", "vidfly")
    parts = urlsplit(request.target)
    assert parts.path == "/api/media/youtube/download"
    assert parse_qs(parts.query) == {"url": [PAGE.url]}
    assert (request.headers["x-app-name"], request.headers["x-app-version"]) == ("vidfly-web", "1.0.0")


CHOICES: dict[str, tuple[list[dict[str, Any]], tuple[str, str | None] | None]] = {
    "the tallest mp4": (
        [
            item("video", "mp4", 360, url="a"),
            item("video", "mp4", 1080, url="b"),
            item("video", "webm", 2160),
        ],
        ("b", None),
    ),
    "m4a before opus": (
        [
            item("video", "mp4", 480, url="v"),
            item("audio", "opus", label="160kbps", url="o"),
            item("audio", "m4a", label="48kbps", url="low"),
            item("audio", "m4a", label="128kbps", url="high"),
        ],
        ("v", "high"),
    ),
    "else opus": (
        [item("video", "mp4", 480, url="v"), item("audio", "opus", label="70kbps", url="o")],
        ("v", "o"),
    ),
    "separate before taller with sound": (
        [item("video_with_audio", "mp4", 1080, url="w"), item("video", "mp4", 480, url="v")],
        ("v", None),
    ),
    "with sound where there is nothing else": (
        [item("video_with_audio", "mp4", 360, url="w"), item("audio", "m4a", url="s")],
        ("w", None),
    ),
    "nothing below 360 lines": ([item("video", "mp4", 240)], None),
    "nothing at all": ([], None),
}


@pytest.mark.parametrize("name", CHOICES)
def test_vidflys_choice(name: str) -> None:
    items, expected = CHOICES[name]
    _, read = vidfly._read(json.loads(answer_of(*items)))
    if expected is None:
        with pytest.raises(ResolverRefusedError):
            vidfly.choice(read)
    else:
        video, audio = vidfly.choice(read)
        assert (video.url, audio and audio.url) == expected


PRIVATE = [
    "http://127.0.0.1/v.mp4",
    "http://169.254.169.254/v",
    "http://[::1]/v",
    "http://2130706433/v",
    "file:///etc/passwd",
]
HOSTILE: dict[str, tuple[bytes, str, type[TldrError]]] = {
    "no json": (b"<html>", "200 OK", ResolverError),
    "no object": (b"[]", "200 OK", ResolverError),
    "no code": (b'{"data": {"items": []}}', "200 OK", ResolverError),
    "a code that is none": (answer_of(item("video", "mp4", 720), code="0"), "200 OK", ResolverError),
    "false is no zero": (answer_of(item("video", "mp4", 720), code=False), "200 OK", ResolverError),
    "no data": (b'{"code": 0, "data": null}', "200 OK", ResolverError),
    "items of no shape": (answer_of(1, None, [], {"type": 1}, {"url": "x"}), "200 OK", ResolverRefusedError),
    "items that are none": (b'{"code": 0, "data": {"items": {"a": 1}}}', "200 OK", ResolverError),
    "deep": (b'{"code": 0, "data": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "200 OK", ResolverError),
    "another code": (answer_of(code=1002), "200 OK", ResolverRefusedError),
    "its own failure": (answer_of(code=500), "200 OK", ResolverError),
    "10 MB": (answer_of(*[item("video", "mp4", 720)] * 150, title="x" * 10_000_000), "200 OK", ResolverError),
    "a redirect": (b"", "302 Found\r\nLocation: http://127.0.0.1:1/", ResolverError),
    "an error of http": (b"", "503 Service Unavailable", ResolverError),
    "not found": (b"", "404 Not Found", ResolverError),
    **{
        f"private: {url}": (answer_of(item("video", "mp4", 720, url=url)), "200 OK", ResolverRefusedError)
        for url in PRIVATE
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_vidfly_may_answer(name: str, runtime_of: Open, tmp_path: Path) -> None:
    body, status, expected = HOSTILE[name]
    with Server(saying(body, status)) as server:
        with pytest.raises(ResolverError) as refused:
            asked(runtime_of(vidfly_url=server.url, resolvers="vidfly"), PAGE, tmp_path)
        assert str(server.port) not in str(refused.value)  # where the operator's service is
    assert type(refused.value) is expected


def test_a_private_address_among_good_ones_is_left_out(runtime_of: Open, tmp_path: Path) -> None:
    body = answer_of(item("video", "mp4", 2160, url="http://10.0.0.1/v"), item("video", "mp4", 360))
    with Server(saying(body)) as server:
        found = asked(runtime_of(vidfly_url=server.url), PAGE, tmp_path)
    assert found.origin == Remote(VIDEO)


def test_a_title_is_one_line(runtime_of: Open, tmp_path: Path) -> None:
    with Server(saying(answer_of(item("video", "mp4", 360), title="a\x00b\n\u202ec " + "x" * 500))) as server:
        found = asked(runtime_of(vidfly_url=server.url), PAGE, tmp_path)
    assert found.title is not None
    assert found.title.startswith("a b c x")
    assert len(found.title) == 200


def test_a_stalled_vidfly_is_given_up_and_then_left_alone(
    runtime_of: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vidfly, "SECONDS", 0.2)

    def stall(request: Request, peer: Peer) -> bool:
        peer.over.wait(30)
        return False

    with Server(stall) as server:
        runtime = runtime_of(vidfly_url=server.url, resolvers="vidfly")
        for _ in range(10):
            with pytest.raises(ResolverError, match="source_too_slow"):
                asked(runtime, PAGE, tmp_path)
        with pytest.raises(BreakerError) as refused:
            asked(runtime, PAGE, tmp_path)
        assert len(server.requests) == 10
    assert 0 < (refused.value.retry_after or 0) <= 30


def test_pages_that_do_not_exist_do_not_open_the_breaker(runtime_of: Open, tmp_path: Path) -> None:
    with Server(saying(answer_of(code=1002))) as server:
        runtime = runtime_of(vidfly_url=server.url, resolvers="vidfly")
        for _ in range(12):
            with pytest.raises(ResolverRefusedError):
                asked(runtime, PAGE, tmp_path)


# --- which of them -------------------------------------------------------------------------------------


class Fixed:
    """A resolver that always does the same."""

    def __init__(self, does: Resolved | TldrError) -> None:
        self.does = does
        self.asked = 0

    def takes(self, runtime: Runtime, source: Source) -> bool:
        return True

    def resolve(self, runtime: Runtime, source: Source) -> Resolved:
        self.asked += 1
        if isinstance(self.does, TldrError):
            raise self.does
        return self.does


FOUND = Resolved(Remote(VIDEO), resolver="second")
AWAY, NONE, REST = (
    ResolverError("away"),
    ResolverRefusedError("private"),
    BreakerError("rests", retry_after=9),
)
ORDERS: dict[str, tuple[Resolved | TldrError, Resolved | TldrError, Resolved | TldrError]] = {
    "the first has it": (FOUND, AWAY, FOUND),
    "the first fails": (AWAY, FOUND, FOUND),
    "the first refuses": (NONE, FOUND, FOUND),
    "the first rests": (REST, FOUND, FOUND),
    "one failed: try again": (NONE, AWAY, AWAY),
    "one rests: wait": (REST, NONE, REST),
    "both refuse: what the first said": (NONE, AddressError("no"), NONE),
}


@pytest.mark.parametrize("name", ORDERS)
def test_the_next_is_asked_and_what_helps_is_told(
    name: str, runtime_of: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, expected = ORDERS[name]
    resolvers = {"vidfly": Fixed(second), "ytdlp": Fixed(first)}
    monkeypatch.setattr("tldr_highlight.streams.resolvers.RESOLVERS", resolvers)
    runtime = runtime_of(resolvers="ytdlp, vidfly")
    if isinstance(expected, Resolved):
        assert asked(runtime, PAGE, tmp_path) is expected
    else:
        with pytest.raises(type(expected)) as told:
            asked(runtime, PAGE, tmp_path)
        assert told.value is expected


def test_a_page_without_anybody_to_resolve_it_says_so(runtime_of: Open, tmp_path: Path) -> None:
    with pytest.raises(NoResolverError, match="web page"):
        asked(runtime_of(resolvers="vidfly"), PAGE, tmp_path)


def test_unknown_resolvers_are_no_setting() -> None:
    with pytest.raises(ValueError, match="vidfly,ytdlp"):
        Settings(_env_file=None, resolvers="vidfly,other")


def test_an_address_that_expired_is_asked_for_anew() -> None:
    with pytest.raises(ResolverError) as expired, renewed(Resolved(Remote(VIDEO), resolver="ytdlp")):
        raise SourceDeniedError("403")
    assert expired.value.fate is Fate.TRANSIENT
    with pytest.raises(SourceDeniedError), renewed(Resolved(Remote(VIDEO))):
        raise SourceDeniedError("403")


# --- media itself --------------------------------------------------------------------------------------


def test_media_itself_is_taken_as_it_is_with_its_version(runtime_of: Open, tmp_path: Path) -> None:
    files = parts(b"\x00\x00\x00\x18ftypmp42" * 100, 'ETag: "one"', "Content-Type: video/mp4")
    with Server(files) as server:
        runtime = runtime_of(allow_networks="127.0.0.0/8")
        source = Source(url=server.url + "x.mp4", headers={"X-Token": "t"})
        assert asked(runtime, source, tmp_path) == Resolved(
            Remote(server.url + "x.mp4", {"X-Token": "t"}), version='"one":1200'
        )
        assert server.requests[0].headers["x-token"] == "t"
        assert server.requests[0].headers["range"] == "bytes=0-511"


def test_media_that_is_said_to_be_a_page_is_no_page(runtime_of: Open, tmp_path: Path) -> None:
    with Server(parts(b"\x00\x00\x00\x18ftypmp42" * 100, 'ETag: W/"1"', "Content-Type: text/html")) as server:
        found = asked(runtime_of(allow_networks="127.0.0.0/8"), Source(url=server.url), tmp_path)
        assert found == Resolved(Remote(server.url))


def test_what_the_server_says_is_said_at_once(runtime_of: Open, tmp_path: Path) -> None:
    with Server(lambda request, peer: peer.reply("404 Not Found")) as server:
        with pytest.raises(SourceNotFoundError):
            asked(runtime_of(allow_networks="127.0.0.0/8"), Source(url=server.url), tmp_path)
        with pytest.raises(AddressError):
            asked(runtime_of(), Source(url=server.url), tmp_path)
        assert server.connections == 1


def test_a_pair_and_other_protocols_are_not_looked_at(runtime_of: Open, tmp_path: Path) -> None:
    runtime = runtime_of()
    pair = Source(url=VIDEO, audio_url=AUDIO)
    assert asked(runtime, pair, tmp_path) == Resolved(Remote(VIDEO), Remote(AUDIO))
    headers = {"Authorization": "Bearer S3CRET", "x-key": "S3CRET", "user-agent": "ours"}
    for sound, kept in (
        ("https://cdn.example.com:443/a.m4a", headers),
        ("https://cdn.example.org/a.m4a", {"user-agent": "ours"}),
        ("https://cdn.example.com:8443/a.m4a", {"user-agent": "ours"}),
        ("http://cdn.example.com/a.m4a", {"user-agent": "ours"}),
    ):
        found = asked(runtime, Source(url=VIDEO, audio_url=sound, headers=headers), tmp_path)
        assert found == Resolved(Remote(VIDEO, headers), Remote(sound, kept))
    rtmp = Source(url="rtmp://live.example.com/app")
    assert asked(runtime, rtmp, tmp_path) == Resolved(Remote("rtmp://live.example.com/app"))


# --- folders -------------------------------------------------------------------------------------------


def test_files_in_the_operators_folders_alone(runtime_of: Open, tmp_path: Path) -> None:
    folder, other = tmp_path / "open", tmp_path / "closed"
    for each in (folder, other):
        each.mkdir()
        (each / "a.mp4").write_bytes(b"x")
    (folder / "link.mp4").symlink_to(other / "a.mp4")
    os.mkfifo(folder / "pipe.mp4")
    runtime = runtime_of(allow_local_paths=str(folder))
    found = asked(runtime, Source(path=str(folder / "a.mp4")), tmp_path)
    assert (found.origin, found.resolver) == (folder / "a.mp4", "path")
    before = found.version
    (folder / "a.mp4").write_bytes(b"xy")
    assert asked(runtime, Source(path=str(folder / "a.mp4")), tmp_path).version != before
    for name in ("link.mp4", "../closed/a.mp4", "../closed/none.mp4", "a\0.mp4"):
        with pytest.raises(PathError):
            asked(runtime, Source(path=f"{folder}/{name}"), tmp_path)
    for name in ("none.mp4", "pipe.mp4", "."):
        with pytest.raises(NotFoundError):
            asked(runtime, Source(path=f"{folder}/{name}"), tmp_path)
    with pytest.raises(PathError):
        asked(runtime_of(), Source(path=str(folder / "a.mp4")), tmp_path)
