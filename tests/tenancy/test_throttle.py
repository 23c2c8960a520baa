"""How often passwords may be guessed, and that their owners are not kept out."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tldr_highlight.core.counters import FALLBACKS, Counters
from tldr_highlight.errors import LimitError
from tldr_highlight.tenancy.throttle import ATTACK, FREE, LONGEST_WAIT, PER_ADDRESS, Throttle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(Counters(clock=clock))


@pytest.fixture(params=["memory", "redis"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[Throttle]:
    counters = Counters(request.getfixturevalue("redis_url") if request.param == "redis" else None)
    yield Throttle(counters)
    counters.close()


def may(throttle: Throttle, account: str = "ann@example.com", address: str = "198.51.100.1") -> bool:
    try:
        throttle.enter(account, address)
    except LimitError:
        return False
    return True


def test_five_errors_are_free_then_waits_grow(throttle: Throttle, clock: Clock) -> None:
    assert [may(throttle) for _ in range(FREE)] == [True] * FREE
    waited = []
    for _ in range(12):
        assert may(throttle)
        began = clock.now
        with pytest.raises(LimitError) as refused:
            throttle.enter("ann@example.com", "198.51.100.1")
        clock.now += refused.value.retry_after
        waited.append(clock.now - began)
    # failures are remembered for an hour: the longest waits are the last before that begins again
    assert waited[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert max(waited) <= LONGEST_WAIT


def test_who_hammers_waits_no_longer_than_who_waits(throttle: Throttle, clock: Clock) -> None:
    while may(throttle):
        pass
    for _ in range(1000):
        assert not may(throttle)
    clock.now += 1
    assert may(throttle)


def test_the_owner_elsewhere_does_not_wait(throttle: Throttle) -> None:
    while may(throttle):
        pass
    for _ in range(1000):
        may(throttle)
    assert [may(throttle, address="203.0.113.9") for _ in range(FREE)] == [True] * FREE
    assert may(throttle, account="bob@example.com")  # nor do others here


def test_success_begins_anew(throttle: Throttle) -> None:
    for _ in range(50):
        assert may(throttle)
        throttle.succeeded("ann@example.com", "198.51.100.1")


def test_an_address_fails_twenty_times_a_minute(throttle: Throttle, clock: Clock) -> None:
    tried = [may(throttle, account=f"{i}@example.com") for i in range(PER_ADDRESS + 5)]
    assert tried == [True] * PER_ADDRESS + [False] * 5
    assert may(throttle, account="z@example.com", address="198.51.100.2")
    clock.now += 60
    assert may(throttle)


def test_in_ipv6_the_neighbourhood_counts(throttle: Throttle) -> None:
    tried = [may(throttle, f"{i}@example.com", f"2001:db8::{i:x}") for i in range(PER_ADDRESS + 1)]
    assert tried == [True] * PER_ADDRESS + [False]


def test_many_addresses_together_get_one_try_each(throttle: Throttle) -> None:
    for i in range(ATTACK):
        assert may(throttle, address=f"203.0.113.{i}")
    assert [may(throttle, address="203.0.113.200") for _ in range(3)] == [True, True, False]
    assert may(throttle, address="198.51.100.77")  # the owner has a try, wherever they are


@pytest.mark.parametrize("accounts", ["one", "many"])
def test_guesses_at_the_same_time_do_not_share_one_count(anywhere: Throttle, accounts: str) -> None:
    let_in: list[bool] = []
    barrier = threading.Barrier(100)

    def guess(i: int) -> None:
        barrier.wait()
        let_in.append(may(anywhere, account="ann" if accounts == "one" else str(i)))

    fell_back = FALLBACKS._value.get()
    threads = [threading.Thread(target=guess, args=[i]) for i in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    share = FREE + 1 if accounts == "one" else PER_ADDRESS
    if FALLBACKS._value.get() == fell_back:
        assert sum(let_in) == share
    else:  # Redis was slower than our patience (a busy machine): the process's own count had a share, too
        assert share <= sum(let_in) <= 2 * share
