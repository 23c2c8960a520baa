"""Counting in memory and in Redis; what happens when Redis dies or hangs."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.services import Redis
from tests.walks.command import until
from tldr_highlight.core import counters
from tldr_highlight.core.counters import FALLBACKS, PATIENCE, PAUSE, Count, Counters


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "redis"])
def counted(request: pytest.FixtureRequest) -> Iterator[Counters]:
    made = Counters(request.getfixturevalue("redis_url") if request.param == "redis" else None)
    yield made
    made.close()


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


def counts(counted: Counters, names: Sequence[str]) -> list[int]:
    """Count them all at once in an event loop."""

    async def count() -> list[Count]:
        return await asyncio.gather(*(counted.count(name, 60) for name in names))

    return [number for number, _ in asyncio.run(count())]


def in_parallel(threads: int, call: Callable[[], object]) -> None:
    barrier = threading.Barrier(threads)

    def run() -> None:
        barrier.wait()
        call()

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def test_counts_and_forgets(counted: Counters) -> None:
    assert counted.look("a") == (0, 0)
    assert counted.add("a", 60).number == 1
    assert counted.add("a", 60, 4).number == 5
    assert counted.add("b", 60).number == 1
    number, seconds = counted.look("a")
    assert number == 5
    assert 55 < seconds <= 60
    assert counted.add("a", 60, -2).number == 3
    counted.forget("a")
    assert counted.look("a").number == 0
    assert counted.add("a", 60, -1).number == 0


def test_who_counts_at_the_same_time_gets_a_number_each(counted: Counters) -> None:
    counted.add("b", 60, 10)
    numbers = counts(counted, ["a", "b"] * 50)
    assert (sorted(numbers[::2]), sorted(numbers[1::2])) == ([*range(1, 51)], [*range(11, 61)])
    assert counted.look("a").number == 50
    assert 55 < counted.look("a").seconds <= 60


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns a thousand times as often as they would."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty")
def test_no_count_is_lost_between_threads(counted: Counters) -> None:
    numbers: list[int] = []
    each = 2000 if counted._remote is None else 50
    in_parallel(20, lambda: numbers.extend(counted.add("a", 60).number for _ in range(each)))
    in_parallel(4, lambda: numbers.extend(counts(counted, ["a"] * each)))
    assert sorted(numbers) == list(range(1, 24 * each + 1))


def test_a_window_ends_when_it_said_it_would() -> None:
    clock = Clock()
    counted = Counters(clock=clock)
    assert counted.add("a", 60) == (1, 60)
    clock.now += 59.5
    assert counted.add("a", 60) == (2, 0.5)  # counting does not make it longer
    clock.now += 0.5
    assert counted.look("a").number == 0
    assert counted.add("a", 60) == (1, 60)


def test_a_window_ends_in_redis(redis_url: str) -> None:
    counted, other = Counters(redis_url), Counters(redis_url)
    counted.add("a", 0.05)
    until(lambda: other.look("a").number == 0)
    assert other.add("a", 60).number == 1
    counted.close()
    other.close()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MOST", 100)
    clock = Clock()
    counted = Counters(clock=clock)
    for i in range(1000):
        clock.now += 0.001
        counted.add(str(i), 60)
    assert len(counted._local._counts) == 100
    assert counted.look("999").number == 1
    assert counted.look("0").number == 0  # the oldest go first


def test_processes_share_a_redis(redis_url: str) -> None:
    one, other = Counters(redis_url), Counters(redis_url)
    assert one.add("a", 60).number == 1
    assert other.add("a", 60).number == 2
    one.close()
    other.close()


@pytest.mark.parametrize("how", ["kill9", "hang"])
def test_without_redis_it_goes_on_counting_at_once(own_redis: Redis, how: str) -> None:
    clock = Clock()
    counted = Counters(own_redis.url, clock)
    for _ in range(3):
        counted.add("a", 3600)
    before = FALLBACKS._value.get()
    getattr(own_redis, how)()

    began = time.monotonic()
    numbers: list[int] = []
    in_parallel(16, lambda: numbers.append(counted.add("a", 3600).number))
    assert sorted(numbers) == list(range(4, 20))  # on from what this process had counted itself
    assert time.monotonic() - began < 10 * PATIENCE  # all at once, not one after the other
    assert FALLBACKS._value.get() == before + 16

    began = time.monotonic()
    for _ in range(1000):
        counted.add("a", 3600)
    assert counts(counted, ["a"] * 5) == [*range(1020, 1025)]
    assert FALLBACKS._value.get() == before + 1021
    assert time.monotonic() - began < 1  # it is not asked at all
    clock.now += PAUSE
    began = time.monotonic()
    in_parallel(16, lambda: counted.add("a", 3600))
    assert time.monotonic() - began < 5 * PATIENCE  # one asks, the others do not wait for it

    own_redis.resume() if how == "hang" else own_redis.start()
    clock.now += PAUSE
    before = FALLBACKS._value.get()
    counted.add("b", 3600)
    assert FALLBACKS._value.get() == before
    counted.close()
