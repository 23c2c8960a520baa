"""A server that answers what a test tells it to, over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: Message
    body: Any


@dataclass(frozen=True)
class Answer:
    """What is sent back; a status of 0 hangs up instead."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def problem(status: int, code: str, *, retry_after: int | None = None, **more: Any) -> Answer:
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Answer(status, {"status": status, "code": code, "detail": f"that is {code}", **more}, headers)


HANG_UP = Answer(0)


class Scripted(ThreadingHTTPServer):
    """Answers from a list, in order, then with its last; or as a function says. Remembers what was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *answers: Answer | Callable[[Asked], Answer]) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, asked: Asked) -> Answer:
        with self.lock:
            self.asked.append(asked)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, Answer) else answer(asked)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted  # pyright: ignore[reportIncompatibleVariableOverride]

    def _serve(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.answer(
            Asked(self.command, self.path, self.headers, json.loads(sent) if sent else None)
        )
        self.close_connection = True
        if not answer.status:
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.body is None:
            body = b""
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 (the library's names)

    def log_message(self, format: str, *args: object) -> None:
        pass
