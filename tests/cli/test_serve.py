"""`tldr-highlight serve`, `migrate` and `openapi`, mostly as processes of their own."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program import Program
from tests.services import Backend
from tests.walks.command import here, run

START_SECONDS = 3.0
"""From the command to the first answer, on a folder that is there (issue 4)."""

Start = Callable[..., Program]
ADDRESS = r"address +(http://\S+)"


def test_it_makes_what_is_missing_and_says_where_it_is(program: Start, tmp_path: Path) -> None:
    """And listens to this machine alone, unless told otherwise; a second server on the folder is refused."""
    data = tmp_path / "new" / "data"
    server = program("serve", "--port", "0", "--data", data)
    address = server.says(ADDRESS).group(1)
    port = int(address.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError), socket.create_connection((_own_address(), port), 2):
        pass
    second = program("serve", "--port", "0", "--data", data)
    assert second.wait() == 1
    assert f"process {server.pid}" in second.output
    assert "--data" in second.output
    server.until(lambda: server.answers(f"{address}/health/ready") == 200, "was ready")  # its worker, too
    assert server.answers(f"{address}/docs") == 200
    assert f"{address}/docs" in server.output
    assert "/api/v1/auth/register" in server.output
    assert str(data) in server.output
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "secrets.json").stat().st_mode) == 0o600
    began = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in server.output


def test_in_an_open_folder_files_are_private(program: Start, tmp_path: Path) -> None:
    """And behind a public address it says where it listens."""
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    older = data / "tldr.db"
    older.touch(0o644)  # as an earlier release made it
    env = {"TLDR_PUBLIC_URL": "https://highlights.example.com"}  # which does not say the port
    server = program("serve", "--port", "0", "--data", data, env=env)
    address = server.says(r"listens +(http://127\.0\.0\.1:\d+)").group(1)
    server.until(lambda: server.answers(f"{address}/health/ready") == 200, "was ready")
    names = ("tldr.db", "tldr.db-wal", "tldr.db-shm", "serve.lock", "secrets.json")
    modes = {name: stat.S_IMODE((data / name).stat().st_mode) for name in names}
    assert modes == dict.fromkeys(names, 0o600)
    assert server.terminate() == 0


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.2"
        return probe.getsockname()[0]


def test_a_port_that_is_taken_is_named(program: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = program("serve", "--port", port, "--data", tmp_path / "data")
        assert server.wait() == 1
    assert f"127.0.0.1 port {port}" in server.output
    assert "Traceback" not in server.output
    assert not (tmp_path / "data").exists()


def test_it_answers_soon(program: Start, tmp_path: Path) -> None:
    """Counted in time on the processor, so that it says the same on a busy machine."""
    data = tmp_path / "data"
    assert here("migrate", "--data", data, cwd=tmp_path).code == 0
    began = time.monotonic()
    server = program("serve", "--port", "0", "--data", data)
    address = server.says(ADDRESS).group(1)
    assert server.answers(f"{address}/health/live") == 200
    waited = time.monotonic() - began
    used = sum(server.family()[0].cpu_times()[:2])
    assert min(waited, used) < START_SECONDS, (waited, used)


def test_scaled_leaves_work_to_workers(deployment: Backend, program: Start, tmp_path: Path) -> None:
    env = {"TLDR_DATABASE_URL": deployment.database_url}
    if deployment.redis_url:
        env["TLDR_BROKER_URL"] = deployment.redis_url
    server = program("serve", "--port", "0", "--data", tmp_path / "data", env=env)
    address = server.says(ADDRESS).group(1)
    assert server.answers(f"{address}/health/live") == 200
    assert ("tldr-highlight worker" in server.output) == bool(deployment.redis_url)
    server.until(lambda: (len(server.family()) == 1) == bool(deployment.redis_url), "had its worker")
    assert server.terminate() == 0


def test_migrate_says_what_it_did(tmp_path: Path) -> None:
    first = run("migrate", "--data", tmp_path / "data", cwd=tmp_path)
    second = here("migrate", "--data", tmp_path / "data", cwd=tmp_path)
    assert (first.code, second.code) == (0, 0)
    assert first.err.endswith("new\n")
    assert second.err.endswith("already\n")
    assert first.out == second.out == ""


def test_openapi_prints_the_document(tmp_path: Path) -> None:
    done = here("openapi", cwd=tmp_path)
    assert done.code == 0
    assert json.loads(done.out)["openapi"].startswith("3.1")
    kept = Path(__file__).parents[2] / "docs" / "openapi.json"
    assert done.out == kept.read_text("utf-8")
    assert list(tmp_path.iterdir()) == []
