"""Passwords: which are refused, and how the others are stored (argon2id) without stalling the machine."""

from __future__ import annotations

import functools
import os
import secrets
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from tldr_highlight.errors import BusyError, PasswordError, SecretError

R = TypeVar("R")

SHORTEST = 8
ADVISED = 15
LONGEST = 128
"""Characters, after normalising. NIST SP 800-63B-4: 15 where a password is all there is, 64 allowed."""

_RAW = 4 * LONGEST  # normalising joins a letter and its accents; more than three of them is no language's
_TELLING = 4  # letters from which on a name in a password is no chance


def check_password(password: str, *, personal: Iterable[str] = ()) -> None:
    """Refuse what is too short, too long, or among the first things tried. There are no rules of composition.

    `personal` is what everybody knows: e-mail address (the part before the @ counts), name of the company.

    Raises:
        PasswordError: says why and what to do; never repeats any of the password.
    """
    text = _normal(password) if len(password) <= _RAW else password
    if len(text) < SHORTEST:
        raise PasswordError(
            f"the password has {len(text)} characters: take at least {SHORTEST}, better {ADVISED} or more"
        )
    if len(text) > LONGEST:
        raise PasswordError(f"the password is too long: take at most {LONGEST} characters")
    folded = text.casefold()
    if folded in common_passwords():
        raise PasswordError(
            "this password is among the most common, which are tried first: take another, "
            "for example a few words that do not belong together"
        )
    for name in personal:
        known = _normal(name.partition("@")[0]).casefold().strip()
        if len(known) >= _TELLING and known in folded:
            raise PasswordError(
                "the password has your mailbox's or company's name in it, which others know: leave that out"
            )


@functools.cache
def common_passwords() -> frozenset[str]:
    """The 3,000 most common that are long enough to be allowed otherwise, in lower case."""
    return frozenset((files("tldr_highlight.core") / "common_passwords.txt").read_text("utf-8").splitlines())


def _cores() -> int:
    """Cores that this process may use, where the system tells; else those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hashes_at_once() -> int:
    """Half the cores: the others answer everybody else."""
    return max(1, _cores() // 2)


class Passwords:
    """Hashes and verifies, for the whole process: at most one at a time for every two cores.

    argon2id with 2 passes over 19 MiB, as OWASP has it: 20 to 50 ms. The library's default takes 64 MiB and
    0.5 s: a flood of logins would take the machine down.
    """

    def __init__(self, *, at_once: int | None = None, waiting: int = 64) -> None:
        """`at_once` hashes at the same time (None: half the cores), and `waiting` callers behind them."""
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        at_once = at_once or hashes_at_once()
        self._threads = ThreadPoolExecutor(at_once, "password", initializer=_step_back)
        self._places = threading.Semaphore(at_once + waiting)
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """What is stored of a password.

        Raises:
            BusyError: too many wait.
        """
        return self._in_turn(lambda: self._hasher.hash(_bytes(password)))

    def verify(self, hashed: str | None, password: str) -> bool:
        """Whether `password` is the one that `hashed` was made of.

        None, for an account that is not there, takes as long as a wrong password; so does one too long.

        Raises:
            BusyError: too many wait.
            SecretError: `hashed` is no hash of a password.
        """
        if hashed is None or len(password) > _RAW:
            hashed, password = self._nobody, password[:_RAW]
        stored, raw = hashed, _bytes(password)
        try:
            return self._in_turn(lambda: self._hasher.verify(stored, raw))
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError) as error:
            raise SecretError("the stored hash of a password is damaged: set a new password") from error

    def needs_rehash(self, hashed: str) -> bool:
        """Whether `hashed` was made with other parameters than today's: hash again after a good login."""
        return self._hasher.check_needs_rehash(hashed)

    def _in_turn(self, call: Callable[[], R]) -> R:
        if not self._places.acquire(blocking=False):
            raise BusyError("too many logins wait for their turn: try again in a few seconds", retry_after=5)
        try:
            return self._threads.submit(call).result()
        finally:
            self._places.release()


def _step_back() -> None:
    """Hashing comes after everybody else; on Linux each thread has a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _normal(text: str) -> str:
    """One spelling for what looks the same, whatever keyboard it was typed on (NFKC, as NIST advises)."""
    return unicodedata.normalize("NFKC", text)


def _bytes(password: str) -> bytes:
    return _normal(password).encode("utf-8", "surrogatepass")  # JSON can smuggle in lone surrogates
