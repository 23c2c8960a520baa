"""`tldr-highlight listen` beside a real server: what happens is shown, and passed on signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from standardwebhooks import Webhook

from tests.core.servers import Peer, Request, Server
from tests.program import Program
from tests.walks.command import here
from tldr_highlight.client import Client
from tldr_highlight.client.webhooks import verify

Start = Callable[..., Program]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_events_are_shown_and_passed_on(program: Start, tmp_path: Path) -> None:
    data = tmp_path / "data"
    address = program("serve", "--port", "0", "--data", data).says(r"address +(http://\S+)").group(1)
    with Client(address) as client:
        made = client.auth.register("ada@example.com", "a long sentence", "Engines")
    env = {"TLDR_API_KEY": made.api_key.key, "TLDR_SERVER": address, "TLDR_WEBHOOK_SECRET": SECRET}
    with Server(taken) as receiver:
        lines = program("listen", "--port", receiver.port, "--json", env=env)
        people = program("listen", "--type", "plan.*", env=env)
        for each in (lines, people):
            each.says("Listening to")

        changed = here("org", "plan", "Engines", "PROFESSIONAL", "--data", data, cwd=tmp_path)
        assert changed.code == 0, changed.err
        people.says(r"\d\d:\d\d:\d\d  plan\.changed .*PROFESSIONAL")
        lines.until(lambda: bool(receiver.requests), "was passed on")
        (passed,) = receiver.requests
        assert passed.target == "/"
        event = verify(passed.body, passed.headers, SECRET)
        Webhook(SECRET).verify(passed.body, passed.headers)  # as somebody else sees it
        assert (event["type"], event["data"]["new_plan"]) == ("plan.changed", "PROFESSIONAL")
        lines.says("passed on: 204")
        shown = next(line for line in lines.output.splitlines() if line.startswith("{"))
        assert json.loads(shown) == event
        assert shown.encode() == passed.body
        for each in (lines, people):
            assert each.terminate() == 0
    again = here("listen", "--key", "tldr_live_wrong", "--server", address, cwd=tmp_path)
    assert again.code == 3
    assert "Traceback" not in again.err


def taken(request: Request, peer: Peer) -> None:
    peer.reply("204 No Content")


def test_what_cannot_be_meant_is_said(tmp_path: Path) -> None:
    both = here(
        "listen", "--port", "8787", "--forward-to", "http://127.0.0.1:8787/", "--key", "x", cwd=tmp_path
    )
    assert (both.code, "give one of them" in both.err) == (2, True)
    other = here("listen", "--forward-to", "ftp://x", "--key", "x", cwd=tmp_path)
    assert other.code == 2
    nobody = here("listen", "--key", "tldr_live_x", "--server", "http://127.0.0.1:9", cwd=tmp_path)
    assert nobody.code == 8
