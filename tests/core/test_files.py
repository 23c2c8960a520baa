"""Files appear whole or not at all."""

import errno
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest

from tldr_highlight.core.files import create_private, held, output_errors, replacing, write_text
from tldr_highlight.errors import DiskFullError, OutputBusyError, OutputError


def test_a_file_takes_its_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.txt"
    with replacing(path) as draft:
        draft.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("mask", "rights"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_has_the_rights_that_new_files_have(tmp_path: Path, mask: int, rights: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "of a private recording")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == rights


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as draft:
            draft.write_text("new")
            raise failure

    with pytest.raises(failure):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_said_plainly(tmp_path: Path, number: int) -> None:
    with pytest.raises(DiskFullError, match="no space left"), output_errors(tmp_path / "a"):
        raise OSError(number, os.strerror(number))


def _write_much(path: Path, told: "multiprocessing.Queue[str]") -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        write_text(path, "x" * 100_000)
    except DiskFullError as error:
        told.put(str(error))


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """A real limit of the system on the size of files, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_write_much, args=(tmp_path / "a", told))
    process.start()
    assert "no space left" in told.get(timeout=60)
    process.join(60)
    told.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(OutputError):
        write_text(tmp_path / "f" / "a", "x")


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(OutputBusyError, match="another run"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_a_private_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.json"
    create_private(path, "first")
    create_private(path, "second")
    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_private_file_does_not_follow_a_link(tmp_path: Path) -> None:
    """Nothing is written where somebody else pointed the name at."""
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    create_private(tmp_path / "a", "text")
    assert not (tmp_path / "elsewhere").exists()
