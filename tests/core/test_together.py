"""Questions that are asked together: whose answer is whose, what gathers, who leaves, what fails."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tldr_highlight.core.together import Together


class Oracle:
    """Answers with the double, when it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.may.set()
        self.asked: list[list[int]] = []
        self.together = Together(self.answer, "oracle")

    def answer(self, questions: Sequence[int]) -> Sequence[int]:
        self.asked.append([*questions])
        assert self.may.wait(30)
        if -1 in questions:
            raise ZeroDivisionError
        return [2 * each for each in questions]

    async def all(self, *questions: int) -> list[int]:
        return await asyncio.gather(*map(self.together.ask, questions))


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    made = Oracle()
    with contextlib.closing(made.together):
        yield made


def test_each_gets_its_own_answer(oracle: Oracle) -> None:
    async def twice() -> list[int]:
        return await oracle.all(1, 2, 3) + await oracle.all(4)

    assert asyncio.run(twice()) == [2, 4, 6, 8]
    assert [n for asked in oracle.asked for n in asked] == [1, 2, 3, 4]


def test_who_comes_meanwhile_is_next_and_together(oracle: Oracle) -> None:
    async def ask() -> None:
        oracle.may.clear()
        first = asyncio.create_task(oracle.together.ask(0))
        while not oracle.asked:
            await asyncio.sleep(0)
        others = [asyncio.create_task(oracle.together.ask(n)) for n in range(1, 30)]
        await asyncio.sleep(0)
        oracle.may.set()
        assert await asyncio.gather(first, *others) == [2 * n for n in range(30)]

    asyncio.run(ask())
    assert oracle.asked == [[0], [*range(1, 30)]]


def test_who_leaves_takes_no_answer_away(oracle: Oracle) -> None:
    async def ask() -> int:
        oracle.may.clear()
        tasks = [asyncio.create_task(oracle.together.ask(n)) for n in (1, 2)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        oracle.may.set()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        return await tasks[1]

    assert asyncio.run(ask()) == 4


def test_what_fails_fails_for_those_who_asked(oracle: Oracle) -> None:
    async def ask() -> None:
        oracle.may.clear()
        first = asyncio.create_task(oracle.together.ask(0))
        while not oracle.asked:
            await asyncio.sleep(0)
        others = [asyncio.create_task(oracle.together.ask(n)) for n in (-1, 1)]
        await asyncio.sleep(0)
        oracle.may.set()
        assert await first == 0
        for other in others:
            with pytest.raises(ZeroDivisionError):
                await other
        assert await oracle.together.ask(3) == 6

    asyncio.run(ask())


def test_event_loops_share_it(oracle: Oracle) -> None:
    def run(start: int) -> list[int]:
        return asyncio.run(oracle.all(*range(start, start + 50)))

    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(run, range(0, 400, 100))]
    assert found == [[2 * n for n in range(start, start + 50)] for start in range(0, 400, 100)]
