"""Counters that forget: how often something happened within a window of time. In this process, or in Redis.

A window begins with the first count and ends so many seconds later; then the count is zero again. Adding is
exact however many threads and processes add at once.

Redis is asked for at most 0.1 s. When it is silent or gone this process counts alone, and asks again every
5 s: a limit may then be reached once per process, but nothing waits and nothing is let through uncounted.

Not the library `limits`: its memory loses counts between threads (it adds under a lock and reads outside of
it), starts up to a hundred timer threads a second, and asks Redis three times where one does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from prometheus_client import Counter

from tldr_highlight.core.together import Together
from tldr_highlight.errors import MissingExtraError

T = TypeVar("T")

PATIENCE = 0.1
"""Seconds that Redis has for an answer; beside us it takes 0.0002."""

PAUSE = 5.0
"""Seconds before a Redis that failed is asked again."""

MOST = 50_000
"""Counters kept in memory, about 10 MB: a flood of addresses takes no more."""

ADD = """
local counts = {}
for i, key in ipairs(KEYS) do
    local number = redis.call('INCRBY', key, ARGV[2 * i - 1])
    local left = redis.call('PTTL', key)
    if left < 0 then
        left = tonumber(ARGV[2 * i])
        redis.call('PEXPIRE', key, left)
    end
    counts[2 * i - 1], counts[2 * i] = number, left
end
return counts
"""
"""Count, and begin a window where there is none: at once, for any number of counters in one question."""

FALLBACKS = Counter(
    "tldr_limiter_fallbacks",
    "Times something was counted in this process because Redis did not answer.",
    registry=None,  # `api/metrics.py` shows it
)


class Count(NamedTuple):
    """How often so far, and seconds until it is forgotten."""

    number: int
    seconds: float


class Addition(NamedTuple):
    """How much more to count; a new window is `seconds` long."""

    name: str
    seconds: float
    amount: int


class Counters:
    """Counts by name."""

    def __init__(self, redis_url: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Count in the Redis at `redis_url`; None: in this process.

        Raises:
            MissingExtraError: Redis without the extra that speaks to it.
        """
        self._local = _Memory(clock)
        self._remote = _Remote(redis_url, clock) if redis_url else None
        self._together = Together(self._remote.add, "count") if self._remote else None

    def add(self, name: str, seconds: float, amount: int = 1) -> Count:
        """Count `amount` more; a new window is `seconds` long."""
        count = self._local.add(name, seconds, amount)  # in any case: to go on from when Redis is gone
        if self._remote is not None:
            count = self._remote.add([Addition(name, seconds, amount)])[0] or count
        return count

    async def count(self, name: str, seconds: float) -> Count:
        """Count one more, from an event loop, which does not wait: Redis is asked once for all who do."""
        count = self._local.add(name, seconds, 1)
        if self._together is not None:
            count = await self._together.ask(Addition(name, seconds, 1)) or count
        return count

    def look(self, name: str) -> Count:
        """The count as it is."""
        count = self._local.look(name)
        if self._remote is not None:
            count = self._remote.look(name) or count
        return count

    def forget(self, name: str) -> None:
        """Begin at zero again."""
        self._local.forget(name)
        if self._remote is not None:
            self._remote.forget(name)

    def close(self) -> None:
        """Close the connections."""
        if self._together is not None:
            self._together.close()
        if self._remote is not None:
            self._remote.close()


class _Memory:
    """Counters of this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, float]] = {}  # number, end of its window; oldest first

    def add(self, name: str, seconds: float, amount: int) -> Count:
        now = self._clock()
        with self._lock:
            number, ends = self._counts.get(name, (0, 0.0))
            if ends <= now:
                self._counts.pop(name, None)  # to the end of the line
                number, ends = 0, now + seconds
                self._make_room(now)
            number = max(0, number + amount)
            self._counts[name] = (number, ends)
        return Count(number, ends - now)

    def look(self, name: str) -> Count:
        now = self._clock()
        number, ends = self._counts.get(name, (0, 0.0))
        return Count(number, ends - now) if ends > now else Count(0, 0.0)

    def forget(self, name: str) -> None:
        with self._lock:
            self._counts.pop(name, None)

    def _make_room(self, now: float) -> None:
        if len(self._counts) >= MOST:
            self._counts = {name: count for name, count in self._counts.items() if count[1] > now}
        while len(self._counts) >= MOST:
            del self._counts[next(iter(self._counts))]


class _Remote:
    """Counters in Redis; every answer is None while it is away."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        try:
            import redis  # noqa: PLC0415  (0.2 s, and an extra)
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError(
                "counting in Redis takes the extra `scale`: pip install 'tldr-highlight[scale]'"
            ) from error
        self._errors = redis.RedisError
        client: Any = redis.Redis  # its types are not to be had
        self._redis: Any = client.from_url(
            url,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),  # the default tries three times more
        )
        self._add: Any = self._redis.register_script(ADD)
        self._clock = clock
        self._lock = threading.Lock()
        self._away_until = 0.0

    def add(self, additions: Sequence[Addition]) -> Sequence[Count | None]:
        keys = [_key(name) for name, _, _ in additions]
        arguments = [part for _, seconds, amount in additions for part in (amount, round(seconds * 1000))]

        def ask() -> Sequence[Count]:
            said = iter(self._add(keys, arguments))
            return [Count(max(0, number), left / 1000) for number, left in zip(said, said, strict=True)]

        return self._asked(ask, len(additions)) or [None] * len(additions)

    def look(self, name: str) -> Count | None:
        def ask() -> Count:
            pipe = self._redis.pipeline(transaction=True)
            pipe.get(_key(name))
            pipe.pttl(_key(name))
            number, left = pipe.execute()
            return Count(max(0, int(number or 0)), max(0, left) / 1000)

        return self._asked(ask)

    def forget(self, name: str) -> None:
        self._asked(lambda: Count(self._redis.delete(_key(name)), 0.0))

    def close(self) -> None:
        self._redis.close()

    def _asked(self, ask: Callable[[], T], times: int = 1) -> T | None:
        """What `ask` gives; None where Redis failed just now or a moment ago."""
        if not self._may_ask():
            FALLBACKS.inc(times)
            return None
        try:
            found = ask()
        except self._errors:
            self._away_until = self._clock() + PAUSE
            FALLBACKS.inc(times)
            return None
        self._away_until = 0.0
        return found

    def _may_ask(self) -> bool:
        """While it is away one caller per pause finds out whether it still is; the others do not wait."""
        if self._away_until == 0.0:
            return True
        with self._lock:
            now = self._clock()
            if now < self._away_until:
                return False
            self._away_until = now + PAUSE
            return True


def _key(name: str) -> str:
    return f"tldr:count:{name}"
