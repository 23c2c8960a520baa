"""yt-dlp itself, at work on a site on loopback: what it finds is opened, and there is no way past us."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.core.servers import Answer, Peer, Request, Server, parts
from tests.media.test_remote import recorded
from tests.media_maker import Recipe, make
from tests.peers import need
from tldr_highlight.core.egress import Policy
from tldr_highlight.errors import AddressError, ResolverError, ResolverRefusedError, TldrError
from tldr_highlight.media.job import Visit
from tldr_highlight.media.sandbox import Child
from tldr_highlight.media.types import Remote
from tldr_highlight.streams.resolvers import ytdlp
from tldr_highlight.streams.sources import Source

LOOPBACK = Policy(allow_networks=(ipaddress.ip_network("127.0.0.0/8"),))

MASTER = b"""#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="main",DEFAULT=YES,URI="a/list.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1000000,RESOLUTION=320x192,CODECS="avc1.64001f,mp4a.40.2",AUDIO="g"
v/list.m3u8
"""


def page(inner: str, title: str = "A match") -> bytes:
    return f"<!doctype html><html><head><title>{title}</title></head><body>{inner}</body></html>".encode()


def site(files: dict[str, bytes]) -> Answer:
    def answer(request: Request, peer: Peer) -> object:
        body = files.get(request.target.partition("?")[0])
        if body is None:
            return peer.reply("404 Not Found")
        html = body.startswith(b"<!doctype")
        return parts(body, f"Content-Type: {'text/html' if html else 'application/octet-stream'}")(
            request, peer
        )

    return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("yt-dlp")
    folder = tmp_path_factory.mktemp("site")
    film = make(folder / "film.mp4", Recipe(seconds=4.0))
    files = {"/film.mp4": film.read_bytes(), "/all.m3u8": MASTER}
    for kind in "va":
        files |= {f"/{kind}{path}": body for path, body in recorded(film, folder / kind, kind).items()}
    files["/page"] = page('<video src="/film.mp4"></video>', "../../etc/passwd")
    files["/hls"] = page('<video><source src="/all.m3u8" type="application/x-mpegURL"></video>')
    files["/text"] = page("<p>words</p>")
    with Server(site(files)) as made:
        yield made


def resolved(url: str, policy: Policy = LOOPBACK, **headers: str) -> Any:
    """For a site that nobody knows, so that no breaker is asked."""
    return ytdlp.resolve(SimpleNamespace(policy=policy), Source(url=url, headers=headers))


def test_a_page_with_a_video_is_opened(server: Server) -> None:
    found = resolved(server.url + "page")
    assert found.resolver == "ytdlp"
    assert found.title.startswith("../../etc/passwd")  # a title and nothing else
    assert found.sound is None
    assert isinstance(found.origin, Remote)
    assert found.origin.url == server.url + "film.mp4"
    assert "Mozilla" in found.origin.headers["User-Agent"]
    with Visit(found.origin, policy=LOOPBACK) as visit:
        assert visit.info.duration == pytest.approx(4, abs=0.1)


def test_a_master_playlist_with_separate_sound_becomes_a_pair(server: Server) -> None:
    found = resolved(server.url + "hls")
    assert (found.origin.url, found.sound.url) == (server.url + "v/list.m3u8", server.url + "a/list.m3u8")
    with Visit(found.origin, sound=found.sound, policy=LOOPBACK) as visit:
        info = visit.info
    assert info.video is not None
    assert info.audio is not None
    assert info.duration == pytest.approx(4, abs=0.1)


def test_headers_for_a_page_go_to_no_other_origin(server: Server) -> None:
    """Those that may be secrets: not to where its media is, unless that is at the same origin."""
    secret = {"Authorization": "Bearer S3CRET", "x-key": "S3CRET"}
    found = resolved(server.url + "page", **secret, Accept="ours")
    assert [found.origin.headers.get(n.title()) for n in secret] == list(secret.values())

    elsewhere = page(f'<video src="{server.url}film.mp4"></video>')
    with Server(site({"/": elsewhere})) as other:
        found = resolved(other.url, **secret, Accept="ours")
        assert all(r.headers["x-key"] == "S3CRET" for r in other.requests)
    assert found.origin.url == server.url + "film.mp4"
    assert "S3CRET" not in repr(dict(found.origin.headers))
    assert found.origin.headers["Accept"] == "ours"


@pytest.mark.parametrize("path", ["text", "none"])
def test_what_is_not_there_is_refused_for_good(server: Server, path: str) -> None:
    with pytest.raises(ResolverRefusedError):
        resolved(server.url + path)


def test_what_it_says_holds_no_key_of_the_page(server: Server) -> None:
    """Of no address that it quotes: the page's own, one where that leads, and in none of its ids."""
    for path in ("text?token=S3CRET", "text?a=S3CRET b/S3CRET#S3CRET", "text;S3CRET", "none?x/S3CRET"):
        with pytest.raises(ResolverRefusedError) as refused:
            resolved(server.url.replace("://", "://S3CRET:S3CRET@") + path)
        assert "S3CRET" not in str(refused.value), path
        assert str(refused.value).count("yt-dlp has nothing for this page: ") == 1
    with Server(onward) as redirecting, pytest.raises(ResolverRefusedError) as refused:
        resolved(redirecting.url + "?to=" + server.url + "text")
    assert str(refused.value).endswith(f"Unsupported URL: {server.url}text")


def onward(request: Request, peer: Peer) -> None:
    to = request.target.partition("=")[2]
    peer.reply("302 Found", b"", f"Location: {to}?token=S3CRET")


def test_a_site_that_fails_may_be_tried_again(server: Server) -> None:
    failing = Server(lambda request, peer: peer.reply("503 Service Unavailable"))
    with failing, pytest.raises(ResolverError) as failed:
        resolved(failing.url)
    assert type(failed.value) is ResolverError


def test_private_addresses_are_refused_wherever_they_come_up(server: Server) -> None:
    """As the page, as a name of it, by a redirect, and as what the page holds."""
    before = len(server.requests)
    with pytest.raises(AddressError):
        resolved(server.url + "page", Policy())
    with pytest.raises(AddressError):
        resolved(server.at("localhost") + "page", Policy())
    assert len(server.requests) == before

    inner = page('<video src="http://169.254.169.254/v.mp4"></video>')
    with Server(site({"/": inner})) as held, pytest.raises(AddressError):
        resolved(held.url)

    def onward(request: Request, peer: Peer) -> None:
        peer.reply("302 Found", b"", "Location: http://169.254.169.254/latest/meta-data")

    with Server(onward) as redirecting, pytest.raises(AddressError):
        resolved(redirecting.url)


def test_a_silent_site_is_given_up(server: Server) -> None:
    def stall(request: Request, peer: Peer) -> bool:
        peer.over.wait(60)
        return False

    with Server(stall) as stalled:
        with pytest.raises(ResolverError) as failed:
            resolved(stalled.url, replace(LOOPBACK, read_timeout=0.3))
        assert stalled.requests
    assert type(failed.value) is ResolverError


# --- shut in -------------------------------------------------------------------------------------------

WAYS_OUT = {
    "a socket": "import socket; socket.create_connection(('127.0.0.1', PORT), 2)",
    "a socket of its own": "import socket; s = socket.socket(); s.connect(('127.0.0.1', PORT))",
    "a raw one": "import _socket; s = _socket.socket(); s.connect(('127.0.0.1', PORT))",
    "a name": "import socket; socket.getaddrinfo('example.com', 80)",
    "a datagram": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
    "listening": "import socket; socket.socket().bind(('127.0.0.1', 0))",
    "a program": "import subprocess; subprocess.run(['true'])",
    "a shell": "import os; os.system('true')",
    "a fork": "import os; os.fork()",
}


def escape(arguments: Any, tell: Any) -> Iterator[Any]:
    """In the sandbox: shut in as yt-dlp is, and then a way out."""
    from tldr_highlight.streams.resolvers import inside

    inside._shut_in("http://tldr:x@127.0.0.1:9")
    try:
        exec(arguments["code"])
    except PermissionError as error:
        yield str(error)
    else:
        yield "out"


@pytest.mark.parametrize("way", WAYS_OUT)
def test_there_is_no_way_out(way: str) -> None:
    with Server(lambda request, peer: peer.reply("200 OK")) as outside:
        code = WAYS_OUT[way].replace("PORT", str(outside.port))
        with Child(f"{__name__}:escape", {"code": code}) as child:
            assert "not allowed here" in child.ask()
        assert outside.connections == 0


def test_its_environment_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLDR_DATABASE_URL", "postgresql://user:canary@host/name")
    code = "import os; raise PermissionError(repr(sorted(os.environ)))"
    with Child(f"{__name__}:escape", {"code": code}) as child:
        assert "TLDR" not in child.ask()


def test_what_its_process_says_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        monkeypatch.setattr(ytdlp, "TARGET", f"{__name__}:liar{number}")
        with pytest.raises(TldrError) as refused:
            resolved("https://page.example.com/")
        assert type(refused.value) is (AddressError if number == 2 else ResolverError)


def liar0(arguments: Any, tell: Any) -> Iterator[Any]:
    yield {"title": 1}


def liar1(arguments: Any, tell: Any) -> Iterator[Any]:
    yield from ()


def liar2(arguments: Any, tell: Any) -> Iterator[Any]:
    yield {"title": None, "video": {"url": "http://10.0.0.1/v", "headers": {}}, "audio": None}


def test_headers_that_may_not_be_sent_are_left_out() -> None:
    headers = {"Range": "bytes=0-", "HOST": "x", "X-A": "1", "X\r\nB": "1", "X-C": "a\r\nb", "Cookie": "c=d"}
    kept = ytdlp._remote(ytdlp.Place("https://a.example/v", headers)).headers
    assert kept == {"X-A": "1", "Cookie": "c=d"}
