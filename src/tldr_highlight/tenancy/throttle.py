"""How often passwords may be guessed.

Failures count against the account *and* the address they come from: whoever guesses waits longer each time,
and the owner, who comes from elsewhere, does not wait at all. Against many addresses that guess one account
together there is a second measure: while they do, each has one try before it waits instead of five.
"""

from __future__ import annotations

import hashlib
import math

from tldr_highlight.core.clients import neighbourhood
from tldr_highlight.core.counters import Counters
from tldr_highlight.errors import LimitError

FREE = 5
"""Failures before the first wait: typing errors, caps lock, the old password."""

FREE_UNDER_ATTACK = 1
ATTACK = 50
ATTACK_SECONDS = 600
"""This many failures at one account within so many seconds are no typing errors."""

LONGEST_WAIT = 900
"""Seconds. Waits are 1, 2, 4 … up to this."""

REMEMBERED = 3600
"""Seconds after which failures of an account and address are forgotten."""

PER_ADDRESS = 20
MINUTE = 60
"""Failures per minute from one address, whatever the accounts."""


class Throttle:
    """Who may try a password now."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def enter(self, account: str, address: str | None) -> None:
        """Take one try at `account` from `address`. It counts as failed until `succeeded` says otherwise.

        Counted before the password is looked at: a hundred at once must not all find the counter at zero.

        Raises:
            LimitError: not now; says when.
        """
        home, who = neighbourhood(address), _name(account)
        here = self._counters.add(f"login:at:{home}", MINUTE)
        if here.number > PER_ADDRESS:
            self._counters.add(f"login:at:{home}", MINUTE, -1)
            raise _later(here.seconds)
        tries = self._counters.add(f"login:{who}:{home}", REMEMBERED).number
        seconds = self._must_wait(who, home, tries)
        if seconds > 0:
            self._counters.add(f"login:{who}:{home}", REMEMBERED, -1)
            self._counters.add(f"login:at:{home}", MINUTE, -1)
            raise _later(seconds)
        self._counters.add(f"login:of:{who}", ATTACK_SECONDS)

    def succeeded(self, account: str, address: str | None) -> None:
        """It was the owner: begin anew here."""
        home, who = neighbourhood(address), _name(account)
        self._counters.forget(f"login:{who}:{home}")
        self._counters.forget(f"login:turn:{who}:{home}")
        self._counters.add(f"login:of:{who}", ATTACK_SECONDS, -1)
        self._counters.add(f"login:at:{home}", MINUTE, -1)

    def _must_wait(self, who: str, home: str, tries: int) -> float:
        """Seconds until this try may be made. After the free ones they take turns, longer ones each."""
        attacked = self._counters.look(f"login:of:{who}").number >= ATTACK
        beyond = tries - 1 - (FREE_UNDER_ATTACK if attacked else FREE)
        if beyond < 0:
            return 0
        turn = self._counters.add(f"login:turn:{who}:{home}", min(2.0 ** min(beyond, 10), LONGEST_WAIT))
        return turn.seconds if turn.number > 1 else 0


def _name(account: str) -> str:
    """Addresses of people are not written into Redis."""
    return hashlib.sha256(account.encode()).hexdigest()[:32]


def _later(seconds: float) -> LimitError:
    """The same words for every reason, and whether or not there is such an account."""
    return LimitError("too many tries to log in: wait a little", retry_after=math.ceil(seconds))
