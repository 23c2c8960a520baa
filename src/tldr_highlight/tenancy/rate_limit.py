"""How often somebody may call in a minute: a key, a login, and an address where nobody needs to be known.

A minute begins with its first call. Two minutes meet somewhere, so that twice the limit can fall into sixty
seconds around that; in return a counter is one number, and `reset` is when the whole limit is there again.
"""

from __future__ import annotations

import math
import time

from tldr_highlight.core.counters import Count, Counters
from tldr_highlight.errors import RateError

MINUTE = 60.0


class RateLimits:
    """Counts calls and refuses those that are too many."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def count(self, name: str, limit: int, headers: dict[str, str]) -> None:
        """Count one call; write into `headers` what its answer says of limits.

        Raises:
            RateError: it is more than `limit` this minute.
        """
        count = await self._counters.count(f"rate:{name}", MINUTE)
        headers.update(_headers(limit, count))
        if count.number > limit:
            raise RateError(
                f"more than {limit} requests in this minute", retry_after=math.ceil(count.seconds)
            )


def _headers(limit: int, count: Count) -> dict[str, str]:
    """As each name has it elsewhere: `RateLimit-Reset` in seconds from now, `X-RateLimit-Reset` Unix time."""
    remaining, seconds = str(max(0, limit - count.number)), math.ceil(count.seconds)
    return {
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": remaining,
        "RateLimit-Reset": str(seconds),
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": remaining,
        "X-RateLimit-Reset": str(math.ceil(time.time() + count.seconds)),
    }
