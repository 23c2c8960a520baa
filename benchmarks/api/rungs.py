"""Where the time goes: `python -m benchmarks.api.rungs` is our API with operations that do nothing.

Each rung of the ladder does all that the one below does and one thing more; the difference is its price. The
last is beside it: the one for a key, as operations do that are not `async def`.
Settings come from the environment, as `tldr-highlight serve` takes them; the data folder exists.
"""

from __future__ import annotations

import socket

import uvicorn

from tldr_highlight.api.app import create_app
from tldr_highlight.core.shapes import Schema
from tldr_highlight.core.telemetry import set_up_logs
from tldr_highlight.runtime import Look, opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes

rungs = Routes("/rungs", tag="rungs")


class Constant(Schema):
    id: str
    name: str
    plan: str
    status: str


CONSTANT = Constant(id="org_06f3x7m0ay2s6k1d1n6xj4s5v8", name="ACME", plan="STARTER", status="active")


@rungs.get("/public", public=True)
async def rung_public(look: Look) -> Constant:
    """Do nothing, for anybody."""
    return CONSTANT


@rungs.get("/keyed", scope=Scope.ORGANIZATIONS_READ)
async def rung_keyed(look: Look) -> Constant:
    """Do nothing, for a key."""
    return CONSTANT


@rungs.get("/thread", scope=Scope.ORGANIZATIONS_READ)
def rung_thread(call: Call) -> Constant:
    """Do nothing, for a key, in a thread with a session."""
    return CONSTANT


def main() -> None:
    set_up_logs()
    with opened(Settings()) as runtime, socket.create_server(("127.0.0.1", 0)) as listening:
        app = create_app(runtime)
        app.take(rungs.router)
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        config = uvicorn.Config(app, access_log=False, log_level="warning", loop="uvloop", http="httptools")
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
