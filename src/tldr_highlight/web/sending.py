"""Answers that are sent piece by piece, to callers who may be slow, or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from starlette.responses import RedirectResponse
from starlette.types import Receive, Scope, Send

FOR_ANY_PAGE = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""Of files, and of what leads to them: whoever has a signed link may show what it opens in their own page."""


def leading_to(url: str) -> RedirectResponse:
    """An answer that leads to a stored file."""
    return RedirectResponse(url, headers=FOR_ANY_PAGE)


def begun(status: int, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The message that begins an answer."""
    return {"type": "http.response.start", "status": status, "headers": headers}


LAST: dict[str, Any] = {"type": "http.response.body"}
"""The message that ends an answer."""


class Recipient:
    """Who gets an answer. Open it once the answer has begun.

    Args:
        scope: Of the request.
        receive: What it sends; nothing more but that it leaves.
        send: What takes the answer.
        on_gone: Called when they have left.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, on_gone: Callable[[], None] = lambda: None
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._on_gone = on_gone
        self.gone = False

    async def __aenter__(self) -> Self:
        self._leaving = asyncio.ensure_future(self._leave())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.gone:  # the server hears of it in a moment, and until then takes us to have given up
            await asyncio.wait([self._leaving], timeout=1)
        self._leaving.cancel()

    async def take(self, data: bytes, seconds: float) -> None:
        """Send a piece; who does not take it in so many seconds is cut off, who is gone gets none."""
        try:
            async with asyncio.timeout(seconds):
                if not self.gone:
                    await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            self.cut_off()

    def cut_off(self) -> None:
        """Break the connection: what was sent is no whole answer.

        One that is only closed waits until all was taken: for ever, where nobody reads.
        """
        self._left()
        cut_off: Callable[[], None] | None = self._scope["state"].get("cut_off")
        if cut_off is not None:  # of `api/server.py`; other servers have none
            cut_off()

    async def _leave(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        self.gone = True
        self._on_gone()
