"""What there is to compare with: `python -m benchmarks.api.bare` serves a constant with FastAPI alone.

One process, and uvicorn's settings of `tldr-highlight serve`. `/async` is answered in the event loop, which
is the least that FastAPI can do for anybody; `/thread` by a plain `def`, in FastAPI's own thread pool.
"""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

CONSTANT = {"id": "org_06f3x7m0ay2s6k1d1n6xj4s5v8", "name": "ACME", "plan": "STARTER", "status": "active"}

app = FastAPI()


@app.get("/async")
async def in_the_loop() -> dict[str, str]:
    return CONSTANT


@app.get("/thread")
def in_a_thread() -> dict[str, str]:
    return CONSTANT


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        config = uvicorn.Config(app, access_log=False, log_level="warning", loop="uvloop", http="httptools")
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
