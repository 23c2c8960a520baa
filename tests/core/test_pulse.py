"""Whether a server hangs: silent, refusing, busy; who is believed, and for how long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tldr_highlight.core import pulse
from tldr_highlight.core.pulse import HELLO, Pulse


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Somebody whose system takes connections, and who does nothing with them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Pulse:
    monkeypatch.setattr(pulse, "HELLO_SECONDS", 60)
    made = Pulse()
    made.watching = True
    return made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, watching: Pulse) -> Pulse:
    monkeypatch.setattr(pulse, "HELLO_SECONDS", 0.2)
    return watching


def answering(listening: socket.socket) -> threading.Thread:
    """Says a word to the next who connects."""

    def answer() -> None:
        peer, _ = listening.accept()
        with peer:
            assert peer.recv(8) == HELLO
            peer.sendall(b"N")

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_who_is_silent_hangs(hasty: Pulse, silent: socket.socket) -> None:
    assert hasty.patience() > 0
    assert hasty.hangs(*silent.getsockname())
    assert hasty.patience() == 0


def test_who_says_a_word_does_not(watching: Pulse, silent: socket.socket) -> None:
    thread = answering(silent)
    assert not watching.hangs(*silent.getsockname())
    thread.join()


def test_who_is_gone_does_not(watching: Pulse, silent: socket.socket) -> None:
    address = silent.getsockname()
    silent.close()
    assert not watching.hangs(*address)


def test_who_was_never_there_does_not(watching: Pulse, tmp_path: Path) -> None:
    assert not watching.hangs(str(tmp_path), 5432)


def test_who_is_reached_by_a_file_is_asked_there(hasty: Pulse, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / ".s.PGSQL.5432"))
        listening.listen()
        assert hasty.hangs(str(tmp_path), 5432)


def test_one_asks_and_is_believed_for_a_moment(watching: Pulse, silent: socket.socket) -> None:
    thread = answering(silent)
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(lambda _: watching.hangs(*silent.getsockname()), range(8)))
    thread.join()
    silent.settimeout(0)
    with pytest.raises(BlockingIOError):
        silent.accept()


def test_who_may_wait_asks_nobody(silent: socket.socket) -> None:
    silent.settimeout(0)
    assert not Pulse().hangs(*silent.getsockname())
    with pytest.raises(BlockingIOError):
        silent.accept()
