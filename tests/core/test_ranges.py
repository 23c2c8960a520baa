"""A remote file reads like a local one, in few bytes, and never as two files mixed."""

from __future__ import annotations

import io
import itertools
import os
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.servers import Answer, Peer, Request, Server, asked_part, parts
from tests.core.test_egress import LOOPBACK, cut_short, moved, names
from tests.media_maker import Recipe, make
from tldr_highlight.core.egress import Egress
from tldr_highlight.core.ranges import AHEAD, BLOCK, KEPT_BLOCKS, RUN, WINDOW, Blocks
from tldr_highlight.errors import (
    DiskFullError,
    IncompleteError,
    SourceChangedError,
    SourceDeniedError,
    SourceError,
    SourceLargeError,
    SourceNotFoundError,
)

DATA = random.Random(3).randbytes(5 * BLOCK + 1234)
MANY = random.Random(4).randbytes(1000) * (12 * BLOCK // 1000)


@pytest.fixture
def egress() -> Iterator[Egress]:
    with Egress(LOOPBACK, resolve=names()) as egress:
        yield egress


def whole_only(request: Request, peer: Peer) -> None:
    peer.reply("200 OK", DATA)


def short_parts(request: Request, peer: Peer) -> None:
    """A server that sends less of a part than was asked for, and says so."""
    start, end = asked_part(request, len(DATA)) or (0, len(DATA))
    end = min(end, start + 100_000)
    peer.reply("206 Partial Content", DATA[start:end], f"Content-Range: bytes {start}-{end - 1}/{len(DATA)}")


def size_unknown(request: Request, peer: Peer) -> None:
    part = asked_part(request, len(DATA))
    if part:
        start, end = part
        peer.reply("206 Partial Content", DATA[start:end], f"Content-Range: bytes {start}-{end - 1}/*")
    else:
        peer.reply("200 OK", DATA)


def flaky() -> Answer:
    """Each part is refused, left without an answer or cut short at first, and comes when asked for again."""
    answer = parts(DATA)
    bad = itertools.cycle([lambda r, p: p.reply("503 Later"), lambda r, p: False, cut_part])
    asked: Counter[int] = Counter()

    def sometimes(request: Request, peer: Peer) -> object:
        _, end = asked_part(request, len(DATA)) or (0, 0)
        asked[end] += 1
        return next(bad)(request, peer) if asked[end] % 2 else answer(request, peer)

    return sometimes


def cut_part(request: Request, peer: Peer) -> bool:
    start, end = asked_part(request, len(DATA)) or (0, len(DATA))
    peer.send(
        f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{end - 1}/{len(DATA)}\r\n"
        f"Content-Length: {end - start}\r\n\r\n",
        DATA[start : (start + end) // 2],
    )
    return False


SERVERS: dict[str, Answer] = {
    "parts": parts(DATA, 'ETag: "1"', "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT"),
    "whole only": whole_only,
    "short parts": short_parts,
    "size unknown": size_unknown,
    "flaky": flaky(),
}

READS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 2 * BLOCK)),
        st.tuples(st.just("seek"), st.integers(0, len(DATA) + 99)),
        st.tuples(st.just("back"), st.integers(0, 2 * BLOCK)),
        st.tuples(st.just("end"), st.integers(0, len(DATA))),
    ),
    max_size=12,
)


@pytest.mark.parametrize("kind", SERVERS)
def test_any_reads_and_seeks_give_the_files_bytes(
    kind: str, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tldr_highlight.core.ranges.KEPT_BLOCKS", 3)  # so that much is asked for again
    with Server(SERVERS[kind]) as server, Blocks(egress, server.url) as blocks:

        @settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
        @given(READS)
        def same(steps: list[tuple[str, int]]) -> None:
            ours, theirs = io.BufferedReader(blocks.reader()), io.BytesIO(DATA)
            for step, number in steps:
                if step == "read":
                    assert ours.read(number) == theirs.read(number)
                elif step == "back":
                    place = max(0, theirs.tell() - number)
                    assert ours.seek(place - theirs.tell(), io.SEEK_CUR) == theirs.seek(place)
                else:
                    whence = io.SEEK_END if step == "end" else io.SEEK_SET
                    offset = -number if step == "end" else number
                    assert ours.seek(offset, whence) == theirs.seek(offset, whence)
                assert ours.tell() == theirs.tell()

        assert blocks.size == len(DATA)
        same()
        with blocks.reader() as file:
            assert file.readall() == DATA
        if kind == "whole only":
            assert len(server.requests) == 1


def test_a_reader_says_what_it_is_and_refuses_what_no_file_does(egress: Egress) -> None:
    with Server(parts(DATA)) as server, Blocks(egress, server.url) as blocks:
        file = blocks.reader()
        assert (file.readable(), file.seekable(), file.writable(), file.size) == (
            True,
            True,
            False,
            len(DATA),
        )
        for offset, whence in ((-1, io.SEEK_SET), (-1, io.SEEK_CUR), (0, 7), (-len(DATA) - 1, io.SEEK_END)):
            with pytest.raises(ValueError, match="no such place"):
                file.seek(offset, whence)
        file.close()
        with pytest.raises(ValueError, match="closed"):
            file.read(1)


# --- how much, how often -------------------------------------------------------------------------------


def test_blocks_are_shared_by_readers_and_asked_for_once(egress: Egress) -> None:
    with Server(parts(DATA)) as server, Blocks(egress, server.url) as blocks:
        read: list[bytes] = []
        threads = [threading.Thread(target=lambda: read.append(blocks.reader().readall())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert read == [DATA] * 4
        assert len(server.requests) == 6
        assert blocks.moved < len(DATA) + 6 * 200
        assert server.connections <= 6


def test_reading_here_and_there_asks_for_nothing_ahead(egress: Egress) -> None:
    with Server(parts(MANY)) as server:
        with Blocks(egress, server.url) as blocks, blocks.reader() as file:
            for place in (11, 3, 7, 5, 9):
                file.seek(place * BLOCK + 5)
                assert file.read(10) == MANY[place * BLOCK + 5 :][:10]
        assert len(server.requests) == 1 + 5


def test_reading_on_asks_ahead_and_not_too_far(egress: Egress) -> None:
    """Six blocks in a row from the middle on: never more than three beyond them."""
    with Server(parts(MANY)) as server:
        with Blocks(egress, server.url) as blocks, blocks.reader() as file:
            file.seek(2 * BLOCK)
            io.BufferedReader(file).read(6 * BLOCK)
        asked = {asked_part(r, len(MANY)) for r in server.requests}
        beyond = [a for a in asked if a and a[0] >= 9 * BLOCK]
        assert len(asked) == len(server.requests)
        assert len(beyond) <= 3
    assert max(ahead for least, ahead in AHEAD if least <= 6) == 3


def test_reading_ahead_does_not_wait_for_its_reader(egress: Egress) -> None:
    """After three blocks in a row the following are on their way, though nobody has asked for them."""
    seen = threading.Event()

    def answer(request: Request, peer: Peer) -> object:
        if asked_part(request, len(MANY)) == (5 * BLOCK, 6 * BLOCK):
            seen.set()
        return parts(MANY)(request, peer)

    with Server(answer) as server, Blocks(egress, server.url) as blocks, blocks.reader() as file:
        for place in range(3):
            file.seek(place * BLOCK)
            file.read(1)
        assert seen.wait(10)


def asked_of(server: Server, size: int) -> list[tuple[int, int]]:
    """Blocks that were asked for, from the first to before the last, in order of their places."""
    parts_asked = [asked_part(r, size) or (0, 0) for r in server.requests]
    return sorted((start // BLOCK, -(-end // BLOCK)) for start, end in parts_asked)


def test_what_is_expected_comes_by_itself_in_one_request_and_nothing_beyond(egress: Egress) -> None:
    gone = threading.Semaphore(0)

    def answer(request: Request, peer: Peer) -> None:
        parts(MANY)(request, peer)
        gone.release()

    with Server(answer) as server:
        with Blocks(egress, server.url) as blocks, blocks.reader() as file:
            blocks.expect((2 * BLOCK + 5, 6 * BLOCK + 5), (9 * BLOCK, 9 * BLOCK + 1))
            assert all(gone.acquire(timeout=10) for _ in range(3))  # nobody has read yet
            file.seek(2 * BLOCK + 5)
            assert io.BufferedReader(file, 4096).read(4 * BLOCK) == MANY[2 * BLOCK + 5 :][: 4 * BLOCK]
        assert asked_of(server, len(MANY)) == [(0, 1), (2, 7), (9, 10)]


LONG = bytes(BLOCK) * 100


def test_what_is_expected_is_asked_for_in_large_parts(egress: Egress) -> None:
    with Server(parts(LONG)) as server:
        with Blocks(egress, server.url) as blocks:
            blocks.expect((0, len(LONG)))
            assert blocks.reader().readall() == LONG
        asked = [(0, 1), (1, RUN), *((at, min(100, at + RUN)) for at in range(RUN, 100, RUN))]
        assert asked_of(server, len(LONG)) == asked


def test_much_that_is_expected_waits_for_its_reader(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tldr_highlight.core.ranges.RUN", 2)
    monkeypatch.setattr("tldr_highlight.core.ranges.WINDOW", 4)
    with Server(parts(MANY)) as server:
        with Blocks(egress, server.url) as blocks, blocks.reader() as file:
            blocks.expect((0, len(MANY)))
            file.seek(2 * BLOCK)
            file.read(1)
            blocks.expect((10 * BLOCK, 12 * BLOCK))
            file.seek(10 * BLOCK)
            file.read(1)  # what was asked for before it is on its way
        assert asked_of(server, len(MANY)) == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 6), (10, 12)]
    assert (RUN + WINDOW) * 2 < KEPT_BLOCKS


def test_what_is_expected_is_kept_until_it_is_read(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tldr_highlight.core.ranges.KEPT_BLOCKS", 40)
    with Server(parts(LONG)) as server, Blocks(egress, server.url) as blocks, blocks.reader() as file:
        blocks.expect((90 * BLOCK, 100 * BLOCK))
        file.seek(30 * BLOCK)
        for _ in range(50):
            file.read(BLOCK)
        before = len(server.requests)
        file.seek(90 * BLOCK)
        for _ in range(10):
            file.read(BLOCK)
        assert len(server.requests) == before


def test_a_run_that_is_cut_short_goes_on_where_it_was(egress: Egress) -> None:
    answers = iter([parts(DATA), cut_part, parts(DATA)])

    def answer(request: Request, peer: Peer) -> object:
        return next(answers)(request, peer)

    with Server(answer) as server, Blocks(egress, server.url) as blocks, blocks.reader() as file:
        blocks.expect((BLOCK, 5 * BLOCK))
        file.seek(BLOCK)
        for place in range(1, 5):
            assert file.read(BLOCK) == DATA[place * BLOCK :][:BLOCK]
        assert [asked_part(r, len(DATA)) for r in server.requests[1:]] == [
            (BLOCK, 5 * BLOCK), (3 * BLOCK, 5 * BLOCK),
        ]  # fmt: skip


def test_a_run_that_fails_is_an_error_for_who_waits_and_asked_for_again_by_who_comes_later(
    egress: Egress,
) -> None:
    answers = [parts(MANY)]
    with Server(latest(answers)) as server, Blocks(egress, server.url) as blocks, blocks.reader() as file:
        answers.append(lambda r, p: p.reply("403 Forbidden"))
        blocks.expect((2 * BLOCK, 8 * BLOCK))
        file.seek(7 * BLOCK)
        with pytest.raises(SourceDeniedError):
            file.read(100)
        answers.append(parts(MANY))
        assert file.read(100) == MANY[7 * BLOCK :][:100]


def test_the_index_is_kept_while_the_film_passes_by(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two readers have used the first block; a third reads on through more than memory holds."""
    monkeypatch.setattr("tldr_highlight.core.ranges.KEPT_BLOCKS", 8)
    with Server(parts(MANY)) as server:
        with Blocks(egress, server.url) as blocks:
            for _ in range(2):
                blocks.reader().read(1)
            assert blocks.reader().readall() == MANY
            before = len(server.requests)
            blocks.reader().read(1)
            assert len(server.requests) == before
        assert before == 12
    assert KEPT_BLOCKS * BLOCK <= 64 << 20


def test_media_is_read_through_it_like_a_file(egress: Egress, tmp_path: Path) -> None:
    """All packets, and a seek, by the library that will read sources."""
    path = make(tmp_path / "a.mp4", Recipe(seconds=4))
    with Server(parts(path.read_bytes())) as server, Blocks(egress, server.url) as blocks:

        def packets(file: object, at: int | None = None) -> list[tuple[int, int | None, bytes]]:
            with av.open(file) as container:
                if at is not None:
                    container.seek(at)
                return [(p.stream_index, p.pts, bytes(p)) for p in container.demux() if p.size]

        assert len(packets(str(path))) > 50
        assert packets(blocks.reader()) == packets(str(path))
        assert packets(blocks.reader(), 2_000_000) == packets(str(path), 2_000_000)


# --- what goes wrong -----------------------------------------------------------------------------------


def latest(answers: list[Answer]) -> Answer:
    """A server that can be changed while it runs."""

    def answer(request: Request, peer: Peer) -> object:
        return answers[-1](request, peer)

    return answer


@pytest.mark.parametrize(
    "then",
    {
        "etag": parts(MANY, 'ETag: "2"'),
        "no etag": parts(MANY),
        "size": parts(MANY + b"x", 'ETag: "1"'),
        "shorter": parts(MANY[: 2 * BLOCK], 'ETag: "1"'),
        "whole": lambda r, p: p.reply("200 OK", b"x" * 1000),
    }.items(),
    ids=lambda item: item[0],
)
def test_another_file_in_its_place_is_noticed(then: tuple[str, Answer], egress: Egress) -> None:
    answers = [parts(MANY, 'ETag: "1"')]
    with (
        Server(latest(answers)) as server,
        Blocks(egress, server.url) as blocks,
        blocks.reader() as file,
    ):
        file.read(100)
        answers.append(then[1])
        file.seek(7 * BLOCK)
        for _ in range(2):  # for good
            with pytest.raises(SourceChangedError):
                file.read(100)
        with pytest.raises(SourceChangedError):
            blocks.reader().read(100)


def test_another_time_of_change_is_noticed(egress: Egress) -> None:
    days = iter(range(1, 9))

    def answer(request: Request, peer: Peer) -> object:
        return parts(MANY, f"Last-Modified: Mon, 0{next(days)} Nov 2026 10:00:00 GMT")(request, peer)

    with Server(answer) as server, Blocks(egress, server.url) as blocks, blocks.reader() as file:
        file.seek(7 * BLOCK)
        with pytest.raises(SourceChangedError):
            file.read(100)


def test_redirects_are_followed_once_and_again_when_their_link_expires(egress: Egress) -> None:
    valid = [1]

    def cdn(request: Request, peer: Peer) -> object:
        if request.target != f"/signed{valid[-1]}":
            return peer.reply("403 Forbidden")
        return parts(MANY)(request, peer)

    with Server(cdn) as target:

        def origin(request: Request, peer: Peer) -> object:
            return moved(f"{target.at('cdn.test')}signed{valid[-1]}")(request, peer)

        with Server(origin) as server:
            with Blocks(egress, server.url, headers={"X-Key": "s3cret"}) as blocks, blocks.reader() as file:
                file.seek(3 * BLOCK)
                file.read(1)
                assert len(server.requests) == 1
                valid.append(2)
                file.seek(6 * BLOCK)
                assert file.read(10) == MANY[6 * BLOCK :][:10]
                assert len(server.requests) == 2
                assert blocks.url.endswith("signed2")
            assert all(r.headers["x-key"] == "s3cret" for r in server.requests)
            assert "s3cret" not in str(target.requests)


def test_a_link_that_is_refused_for_good_is_an_error(egress: Egress) -> None:
    answers = [parts(MANY)]
    with (
        Server(latest(answers)) as server,
        Blocks(egress, server.url) as blocks,
        blocks.reader() as file,
    ):
        answers.append(lambda r, p: p.reply("403 Forbidden"))
        file.seek(7 * BLOCK)
        with pytest.raises(SourceDeniedError):
            file.read(100)
        answers.append(parts(MANY))
        assert file.read(100) == MANY[7 * BLOCK :][:100]  # it is as it was: reading goes on


def test_what_came_before_a_cut_is_not_asked_for_again(egress: Egress) -> None:
    answers = iter([parts(DATA), cut_part, parts(DATA)])

    def answer(request: Request, peer: Peer) -> object:
        return next(answers)(request, peer)

    with Server(answer) as server, Blocks(egress, server.url) as blocks, blocks.reader() as file:
        file.seek(2 * BLOCK)
        assert file.read(BLOCK) == DATA[2 * BLOCK : 3 * BLOCK]
        assert [asked_part(r, len(DATA)) for r in server.requests[1:]] == [
            (2 * BLOCK, 3 * BLOCK), (2 * BLOCK + BLOCK // 2, 3 * BLOCK),
        ]  # fmt: skip


@pytest.mark.parametrize("answer", [cut_part, cut_short], ids=["part", "whole"])
def test_a_file_that_is_always_cut_short_is_an_error(answer: Answer, egress: Egress) -> None:
    with Server(answer) as server:
        with pytest.raises(IncompleteError):
            Blocks(egress, server.url)
        assert len(server.requests) == 3


def test_a_server_that_sends_byte_by_byte_is_left(egress: Egress) -> None:
    def answer(request: Request, peer: Peer) -> None:
        start, _ = asked_part(request, len(DATA)) or (0, 0)
        peer.reply(
            "206 Partial Content",
            DATA[start : start + 9],
            f"Content-Range: bytes {start}-{start + 8}/{len(DATA)}",
        )

    with Server(answer) as server, Blocks(egress, server.url) as blocks:
        with pytest.raises(IncompleteError, match="9 bytes at a time"):
            blocks.reader().read(1)
        assert len(server.requests) == 4


def test_a_body_that_goes_on_behind_its_part_is_not_read_on(egress: Egress) -> None:
    def answer(request: Request, peer: Peer) -> None:
        start, end = asked_part(request, len(DATA)) or (0, 0)
        peer.send(
            f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{end - 1}/{len(DATA)}\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n{end - start + 5000:x}\r\n",
            DATA[start:end] + b"x" * 5000,
            "\r\n0\r\n\r\n",
        )

    with Server(answer) as server, Blocks(egress, server.url) as blocks:
        assert blocks.reader().readall() == DATA
        assert server.connections == len(server.requests) == 6


def test_no_file_and_an_empty_file(egress: Egress) -> None:
    with Server(lambda r, p: p.reply("404 Not Found")) as server, pytest.raises(SourceNotFoundError):
        Blocks(egress, server.url)
    with Server(parts(b"")) as server, pytest.raises(IncompleteError, match="416"):
        Blocks(egress, server.url)
    with Server(lambda r, p: p.reply("200 OK")) as server, Blocks(egress, server.url) as blocks:
        assert (blocks.size, blocks.reader().readall()) == (0, b"")


def test_a_download_is_bounded_and_leaves_no_file(
    egress: Egress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    small = replace(LOOPBACK, largest_bytes=len(DATA) - 1)
    with Server(whole_only) as server:
        with Egress(small) as limited, pytest.raises(SourceLargeError):
            Blocks(limited, server.url)
        with Blocks(egress, server.url) as blocks:
            assert os.listdir(tmp_path) == []
            assert blocks.reader().readall() == DATA


def test_no_room_for_a_download_is_said_plainly(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "w+b"))  # noqa: SIM115
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Server(whole_only) as server, pytest.raises(DiskFullError, match="TMPDIR"):
        Blocks(egress, server.url)


def test_closing_lets_go_of_readers_that_wait(egress: Egress) -> None:
    asked = threading.Event()

    def silent_later(request: Request, peer: Peer) -> object:
        if asked_part(request, len(MANY)) == (0, BLOCK):
            return parts(MANY)(request, peer)
        asked.set()
        return peer.over.wait(30)

    caught: list[type[BaseException]] = []

    def read() -> None:
        try:
            blocks.reader().readall()
        except (ValueError, SourceError) as error:
            caught.append(type(error))

    with Server(silent_later) as server:
        blocks = Blocks(egress, server.url)
        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        asked.wait(10)
        blocks.close()
        for thread in threads:
            thread.join(10)
        assert not any(t.is_alive() for t in threads)
        assert len(caught) == 8
        with pytest.raises(ValueError, match="closed"):
            blocks.reader().read(1)
        assert not [t for t in threading.enumerate() if t.name.startswith("blocks")]
