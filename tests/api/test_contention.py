"""R7: 8 clients and the worker on one SQLite: no `database is locked`, no 5xx. TLDR_LONG_TESTS=1: 60 s."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select

from tests.api.world import World
from tests.program import Program
from tldr_highlight.core import outbox
from tldr_highlight.core.db import now
from tldr_highlight.core.mails import PasswordChanged
from tldr_highlight.core.work import Work
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.usage.models import UsageTotal
from tldr_highlight.worker.kinds import product_kinds

SECONDS = 60.0 if os.environ.get("TLDR_LONG_TESTS") == "1" else 4.0
CLIENTS = 8


def test_clients_and_worker_share_one_database(program: Callable[..., Program], tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = program("serve", "--port", "0", "--data", data)
    netloc = urlsplit(server.says(r"address +(http://\S+)").group(1)).netloc
    counts: Counter[int] = Counter()
    with opened(Settings(_env_file=None, data_dir=data), product_kinds()) as runtime:
        callers = [World(runtime, None, None).caller() for _ in range(CLIENTS)]
        until = time.monotonic() + SECONDS
        threads = [threading.Thread(target=use, args=(netloc, caller, until, counts)) for caller in callers]
        for thread in threads:
            thread.start()
        posted = 0
        while time.monotonic() < until:  # a process of its own that writes, and makes work
            with runtime.db.begin() as session:
                letter = PasswordChanged(changed_at=now(), link="http://127.0.0.1/x")
                outbox.post(session, letter, to="ann@example.com")
            posted += 1
            time.sleep(0.05)
        for thread in threads:
            thread.join()

        def done() -> bool:
            with runtime.db.read() as session:
                ended = select(func.count()).where(Work.kind == "mail", Work.state == "done")
                return (session.scalar(ended) or 0) >= posted

        server.until(done, "sent the mails")
        use(netloc, callers[0], time.monotonic() + 0.1, counts)  # is not written down when it is to stop
        assert server.terminate() == 0
        with runtime.db.read() as session:
            used = session.scalar(select(func.sum(UsageTotal.amount)).where(UsageTotal.metric == "api_calls"))
        assert used == sum(counts.values()), "calls are missing in the ledger, or are there twice"
    assert not [status for status in counts if status >= 500], counts
    assert sum(counts.values()) > 10 * CLIENTS, counts
    assert "locked" not in server.output


def use(netloc: str, caller: dict[str, str], until: float, counts: Counter[int]) -> None:
    """Make, list and revoke keys."""
    headers = {**caller, "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(netloc, timeout=30)

    def call(method: str, path: str, body: Any = None) -> Any:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        counts[answer.status] += 1
        return json.loads(answer.read() or b"null")

    while time.monotonic() < until:
        made = call("POST", "/api/v1/keys", {"name": "busy"})
        call("GET", "/api/v1/keys?limit=5")
        call("DELETE", f"/api/v1/keys/{made['id']}")
    connection.close()
