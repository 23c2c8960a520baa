"""Passwords that are tried first are refused; the others are hashed slowly, a few at a time."""

import queue
import statistics
import threading
import time
from importlib.resources import files

import argon2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tldr_highlight.core import passwords as core_passwords
from tldr_highlight.core.passwords import LONGEST, SHORTEST, Passwords, check_password, common_passwords
from tldr_highlight.errors import BusyError, PasswordError, SecretError

GOOD = "tuba lantern quorum"
SLOW = "e\u0301" * 3_000_000  # takes a second or so to normalise


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    """As hard as the product makes it; in other tests it is quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_passwords, "PasswordHasher", argon2.PasswordHasher)
        return Passwords()


# --- which are refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "x7$Kq!9z",  # 8
        "zzyzxqvw",
        "Ünïcödé-Wörter",
        "пароль и чайник",
        "合气道蓝色茶壶二十",
        "🦊🐙🦖🍋🎺🧲🪁🛶",
        "a\0b\0c\0d\0",
        " eight  ",
        ("correct horse " * 10)[:LONGEST],
        "e\u0301" * LONGEST,  # é as two: 128 after normalising
    ],
)
def test_good_passwords_pass(password: str) -> None:
    check_password(password)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "has 0 characters"),
        ("x7$Kq!9", "has 7 characters: take at least 8, better 15"),
        ("e\u0301" * 7, "has 7 characters"),
        ("x" * (LONGEST + 1), "too long: take at most 128"),
        ("x" * 10_000_000, "too long"),
        ("\ufdfa" * 8, "too long"),  # one that normalises to eighteen
        ("password", "most common"),
        ("PassWord", "most common"),
        ("ｐａｓｓｗｏｒｄ", "most common"),
        ("12345678", "most common"),
        ("qwertyuiop", "most common"),
        ("TRUSTNO1", "most common"),
    ],
)
def test_bad_passwords_are_refused_with_the_reason(password: str, reason: str) -> None:
    with pytest.raises(PasswordError, match=reason) as caught:
        check_password(password)
    assert len(password) < SHORTEST or password not in str(caught.value).replace("this password", "")
    assert caught.value.status == 422


def test_the_list_is_3000_lower_case_passwords_long_enough_to_matter() -> None:
    lines = (files("tldr_highlight.core") / "common_passwords.txt").read_text("utf-8").split("\n")
    assert lines.pop() == ""
    assert lines[:3] == ["password", "12345678", "123456789"]  # most common first
    assert len(lines) == len(common_passwords()) == 3000
    assert [p for p in lines if p != p.casefold().strip() or not SHORTEST <= len(p) <= LONGEST] == []
    for password in lines:
        with pytest.raises(PasswordError):
            check_password(password.upper())


@pytest.mark.parametrize(
    ("password", "personal"),
    [
        ("alice.smith", ["alice.smith@example.com"]),
        ("Alice.Smith-2026", ["alice.smith@example.com"]),
        ("acme-rocket-42", ["bob@example.com", "ACME"]),
        ("straße-und-allee", ["STRASSE"]),
        ("the video company", [" The Video Company "]),
    ],
)
def test_names_that_others_know_are_refused(password: str, personal: list[str]) -> None:
    with pytest.raises(PasswordError, match="leave that out") as caught:
        check_password(password, personal=personal)
    said = str(caught.value).casefold()
    assert all(name.partition("@")[0].strip().casefold() not in said for name in personal)


@pytest.mark.parametrize(
    "personal", [[], ["al@example.com"], ["tub"], ["", "@", " ", "@example.com"], ["bassoon"]]
)
def test_short_and_other_names_do_not_matter(personal: list[str]) -> None:
    check_password(GOOD, personal=personal)


def test_a_long_password_is_refused_before_it_costs_anything() -> None:
    started = time.process_time()
    with pytest.raises(PasswordError, match="too long"):
        check_password(SLOW)
    assert time.process_time() - started < 0.01


@given(st.text(st.characters(), max_size=200), st.lists(st.text(st.characters(), max_size=20), max_size=3))
def test_any_text_passes_or_is_refused(password: str, personal: list[str]) -> None:
    try:
        check_password(password, personal=personal)
    except PasswordError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right, another exception is not


# --- how they are stored -------------------------------------------------------------------------------


def test_a_hash_is_argon2id_as_decided(passwords: Passwords) -> None:
    hashed = passwords.hash(GOOD)
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hashed != passwords.hash(GOOD)
    assert argon2.PasswordHasher().verify(hashed, GOOD)
    assert not passwords.needs_rehash(hashed)
    assert passwords.needs_rehash(argon2.PasswordHasher(1, 8, 1).hash(GOOD))


def test_only_the_password_verifies(passwords: Passwords) -> None:
    hashed = passwords.hash(GOOD)
    assert passwords.verify(hashed, GOOD)
    for wrong in ("", GOOD + " ", GOOD.upper(), GOOD[:-1], GOOD + "\0", "\ud800", "x" * 10_000_000):
        assert not passwords.verify(hashed, wrong)
    assert not passwords.verify(None, GOOD)


def test_what_looks_the_same_is_the_same(passwords: Passwords) -> None:
    assert passwords.verify(passwords.hash("Caf\u00e9 ﬁlter"), "Cafe\u0301 filter")


@settings(max_examples=10)
@given(st.text(st.characters(), min_size=8, max_size=128))
def test_any_text_can_be_hashed(text: str) -> None:
    fast = Passwords()
    assert fast.verify(fast.hash(text), text)


@pytest.mark.parametrize(
    "damaged", ["", "x", "$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1$AAAA", "$2b$12$abc"]
)
def test_a_damaged_hash_is_said_and_not_taken_for_a_wrong_password(
    passwords: Passwords, damaged: str
) -> None:
    with pytest.raises(SecretError, match="set a new password"):
        passwords.verify(damaged, GOOD)


def test_unknown_accounts_take_as_long_as_wrong_passwords(passwords: Passwords) -> None:
    """CPU seconds of this thread, taken in turns: other processes do not count."""
    hashed = passwords.hash(GOOD)
    asked = {"known": (hashed, "wrong" * 4), "unknown": (None, GOOD), "long": (hashed, SLOW)}
    took: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(9):
        for name, (stored, password) in asked.items():
            started = time.process_time()
            assert not passwords.verify(stored, password)
            took[name].append(time.process_time() - started)
    known, unknown, long = (statistics.median(t) for t in took.values())
    assert unknown == pytest.approx(known, rel=0.25)
    assert long == pytest.approx(known, rel=0.25)


# --- a few at a time -----------------------------------------------------------------------------------


class Gate:
    """Stands in the place of the hasher: counts who is inside, and holds them until it is opened."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside = self.most = 0
        self.open = False

    def hash(self, password: bytes) -> str:
        with self.changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.open, timeout=30)
            self.inside -= 1
        return "hashed"

    def wait_for_inside(self, number: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.inside == number, timeout=30)

    def let_go(self) -> None:
        with self.changed:
            self.open = True
            self.changed.notify_all()


def test_so_many_hash_so_many_wait_and_the_rest_is_told_to_come_back() -> None:
    passwords, gate = Passwords(at_once=2, waiting=3), Gate()
    passwords._hasher = gate  # type: ignore[assignment]
    told: queue.Queue[str | BusyError] = queue.Queue()

    def ask() -> None:
        try:
            told.put(passwords.hash(GOOD))
        except BusyError as error:
            told.put(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):  # at once, while the gate is shut
        busy = told.get(timeout=30)
        assert isinstance(busy, BusyError)
        assert (busy.status, busy.code, busy.retry_after) == (503, "busy", 5)
    assert told.empty()
    with pytest.raises(BusyError, match="try again"):
        passwords.verify(None, GOOD)
    gate.wait_for_inside(2)
    gate.let_go()
    for thread in threads:
        thread.join(timeout=30)
    assert [told.get_nowait() for _ in range(5)] == ["hashed"] * 5
    assert gate.most == 2
    assert passwords.hash(GOOD) == "hashed"  # there is room again


def test_a_failure_gives_its_place_back() -> None:
    passwords = Passwords(at_once=1, waiting=0)
    for _ in range(3):
        with pytest.raises(SecretError):
            passwords.verify("damaged", GOOD)
    assert not passwords.verify(None, GOOD)


def test_half_the_cores_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, at_once in ((1, 1), (2, 1), (3, 1), (4, 2), (16, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert Passwords()._threads._max_workers == at_once
