"""Keys and tokens have their form, secrets come back only with the key, links open until they end."""

import base64
import hashlib
import json
import multiprocessing
import os
import re
import time
import zlib
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from tldr_highlight.core.security import (
    Links,
    Secrets,
    Vault,
    hash_token,
    is_well_formed_key,
    key_bytes,
    last4,
    new_api_key,
    new_key,
    new_token,
    new_webhook_secret,
)
from tldr_highlight.errors import OutputError, SecretError, SecretsError

ANY_TEXT = st.text(st.characters(), max_size=300)  # with lone surrogates
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

# --- customers' keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("test", "prefix"), [(False, "tldr_live_"), (True, "tldr_test_")])
def test_a_key_has_its_form(test: bool, prefix: str) -> None:
    keys = {new_api_key(test) for _ in range(500)}
    assert len(keys) == 500
    assert all(re.fullmatch(prefix + "[0-9A-Za-z]{36}", key) for key in keys)
    assert all(map(is_well_formed_key, keys))
    assert len({c for key in keys for c in key[10:40]}) == 62


def test_the_checksum_is_crc32_in_base62() -> None:
    """Worked out here the other way round: from digits to a number."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for _ in range(200):
        key = new_api_key()
        number = sum(alphabet.index(c) * 62**i for i, c in enumerate(reversed(key[40:])))
        assert number == zlib.crc32(key[:40].encode())


def test_every_single_typing_error_is_noticed() -> None:
    key = new_api_key()
    for place in range(len(key)):
        for other in "aZ0_-é٣":
            wrong = key[:place] + other + key[place + 1 :]
            assert is_well_formed_key(wrong) == (wrong == key), wrong


@pytest.mark.parametrize(
    "change",
    [
        lambda k: "",
        lambda k: k[:-1],
        lambda k: k + "a",
        lambda k: k + "\n",
        lambda k: " " + k,
        lambda k: k + "\0",
        lambda k: k.upper(),
        lambda k: k.replace("live", "test"),
        lambda k: k.replace("tldr", "ｔｌｄｒ"),
        lambda k: k[::-1],
        lambda k: k * 100_000,
        lambda k: "\ud800" * 46,
    ],
)
def test_what_is_no_key_is_refused(change) -> None:
    assert not is_well_formed_key(change(new_api_key()))


@given(ANY_TEXT)
def test_any_text_is_judged(text: str) -> None:
    assert not is_well_formed_key(text)
    assert not is_well_formed_key("tldr_live_" + text)


def test_a_long_text_costs_no_more_than_a_key() -> None:
    """A hundred megabytes-long texts in less than it takes to look at one of them once (some 10 ms)."""
    long = new_api_key() + "a" * 10_000_000
    started = time.thread_time()
    assert not any(is_well_formed_key(long) for _ in range(100))
    assert time.thread_time() - started < 0.1


# --- opaque tokens -------------------------------------------------------------------------------------


def test_a_token_has_256_bits_and_its_prefix() -> None:
    tokens = {new_token("rt_") for _ in range(200)}
    assert len(tokens) == 200
    assert all(re.fullmatch(r"rt_[A-Za-z0-9_-]{43}", t) for t in tokens)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", new_token())


def test_a_webhook_secret_is_what_standard_webhooks_takes() -> None:
    secret = new_webhook_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    sent = datetime.now(UTC)
    hook = Webhook(secret)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": hook.sign("evt_1", sent, '{"a":1}'),
    }
    assert Webhook(secret).verify('{"a":1}', headers) == {"a": 1}


def test_a_token_is_stored_as_its_sha256() -> None:
    # FIPS 180-4's example
    assert hash_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert last4("tldr_live_abcdWXYZ") == "WXYZ"


@given(ANY_TEXT)
def test_any_text_has_a_hash(text: str) -> None:
    assert re.fullmatch("[0-9a-f]{64}", hash_token(text))


# --- stored secrets ------------------------------------------------------------------------------------


@given(st.text(max_size=200))
def test_what_is_sealed_is_opened(secret: str) -> None:
    vault = Vault([KEY_A])
    sealed = vault.seal(secret)
    assert vault.open(sealed) == secret
    assert len(secret) < 8 or secret not in sealed


KEY_A, KEY_B, KEY_C = (new_key() for _ in range(3))


def test_sealing_twice_does_not_show_that_it_is_the_same() -> None:
    vault = Vault([KEY_A])
    assert vault.seal("x") != vault.seal("x")


def test_a_vaults_keys_rotate() -> None:
    old, both, new = Vault([KEY_A]), Vault([KEY_B, KEY_A]), Vault([KEY_B])
    assert both.open(old.seal("x")) == "x"
    assert new.open(both.seal("x")) == "x"
    assert new.open(both.reseal(old.seal("x"))) == "x"
    with pytest.raises(SecretError, match=r"secrets\.json"):
        new.open(old.seal("x"))


def test_every_flipped_bit_of_what_is_sealed_is_noticed() -> None:
    vault = Vault([KEY_A])
    good = base64.urlsafe_b64decode(vault.seal("whsec_something"))
    for place in range(len(good)):
        for bit in range(8):
            wrong = bytearray(good)
            wrong[place] ^= 1 << bit
            with pytest.raises(SecretError):
                vault.open(base64.urlsafe_b64encode(wrong).decode())


@pytest.mark.parametrize("extra", ["é", "\ud800", "AAAA"])
def test_letters_that_do_not_belong_are_noticed(extra: str) -> None:
    with pytest.raises(SecretError):
        Vault([KEY_A]).open(extra + Vault([KEY_A]).seal("x"))


@given(ANY_TEXT)
def test_any_text_is_no_sealed_secret(text: str) -> None:
    with pytest.raises(SecretError):
        Vault([KEY_A]).open(text)


@pytest.mark.parametrize(
    "key",
    ["", "short", "é" * 44, KEY_A[:-4], KEY_A + KEY_A, "\ud800"],
    ids=["nothing", "short", "wide", "cut off", "twice", "half a surrogate"],
)
def test_what_is_no_key_is_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="32 bytes") as caught:
        key_bytes(key)
    assert not key or key not in str(caught.value)


# --- links ---------------------------------------------------------------------------------------------


def query(signed: str) -> dict[str, str]:
    return dict(parse_qsl(signed, strict_parsing=True))


LINKS = Links([KEY_A])
SOON = int(NOW.timestamp()) + 60


@given(ANY_TEXT, st.integers(1, 10**6))
def test_a_link_opens_its_path_until_its_end(path: str, seconds: int) -> None:
    expires = int(NOW.timestamp()) + seconds
    signed = query(LINKS.sign(path, expires))
    assert LINKS.check(path, signed, NOW)
    assert LINKS.check(path, signed, NOW + timedelta(seconds=seconds - 1))
    assert not LINKS.check(path, signed, NOW + timedelta(seconds=seconds))
    assert not LINKS.check(path + "x", signed, NOW)


def test_a_signature_is_hmac_sha256_over_time_and_path() -> None:
    import hmac

    mac = hmac.new(key_bytes(KEY_A), f"{SOON}\n/clips/a.mp4".encode(), hashlib.sha256).digest()
    signed = query(LINKS.sign("/clips/a.mp4", SOON))
    assert signed == {"expires": str(SOON), "signature": base64.urlsafe_b64encode(mac).decode().rstrip("=")}


def test_a_links_keys_rotate() -> None:
    signed = query(LINKS.sign("/a", SOON))
    assert Links([KEY_B, KEY_A]).check("/a", signed, NOW)
    assert not Links([KEY_B]).check("/a", signed, NOW)
    assert Links([KEY_B]).check("/a", query(Links([KEY_B, KEY_A]).sign("/a", SOON)), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"expires": str(SOON + 1)},
        {"expires": f"0{SOON}"},
        {"expires": f"{SOON}\n"},
        {"expires": f" {SOON}"},
        {"expires": f"+{SOON}"},
        {"expires": f"{SOON}.0"},
        {"expires": "9" * 5000},
        {"expires": "٣" * 10},
        {"expires": "inf"},
        {"expires": ""},
        {"signature": ""},
        {"signature": "é" * 43},
        {"signature": "\ud800"},
        {"signature": "A" * 43},
    ],
)
def test_a_changed_link_is_closed(change: dict[str, str]) -> None:
    assert not LINKS.check("/a", query(LINKS.sign("/a", SOON)) | change, NOW)


@pytest.mark.parametrize("gone", ["expires", "signature"])
def test_half_a_link_is_closed(gone: str) -> None:
    signed = query(LINKS.sign("/a", SOON))
    del signed[gone]
    assert not LINKS.check("/a", signed, NOW)


def test_a_path_cannot_pass_for_another_path_and_time() -> None:
    signed = query(LINKS.sign("1\n/a", SOON))
    assert not LINKS.check("/a", signed, NOW)
    assert not LINKS.check("/a", signed | {"expires": f"{SOON}\n1"}, NOW)
    assert not LINKS.check("/a", signed | {"expires": "1"}, NOW)


def test_every_flipped_bit_of_a_signature_is_noticed() -> None:
    signed = query(LINKS.sign("/a", SOON))
    good = signed["signature"].encode()
    for place in range(len(good)):
        for bit in range(7):
            wrong = bytearray(good)
            wrong[place] ^= 1 << bit
            assert not LINKS.check("/a", signed | {"signature": wrong.decode("ascii")}, NOW)


# --- the file ------------------------------------------------------------------------------------------


def test_the_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        made = Secrets.load_or_make(tmp_path / "data")
    finally:
        os.umask(old_mask)
    path = tmp_path / "data" / "secrets.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert Secrets.load_or_make(tmp_path / "data") == made
    assert [p.name for p in path.parent.iterdir()] == ["secrets.json"]
    kept = json.loads(path.read_text())
    assert kept.keys() == {"jwt_keys", "vault_keys", "link_keys"}
    assert len({key for keys in kept.values() for key in keys}) == 3
    assert {len(key_bytes(key)) for keys in kept.values() for key in keys} == {32}


def test_two_installations_differ(tmp_path: Path) -> None:
    one, two = Secrets.load_or_make(tmp_path / "1"), Secrets.load_or_make(tmp_path / "2")
    assert not {*one.jwt_keys, *one.vault_keys, *one.link_keys} & {
        *two.jwt_keys,
        *two.vault_keys,
        *two.link_keys,
    }


def _start(
    folder: Path, rounds: int, together: Barrier, told: "multiprocessing.Queue[list[Secrets]]"
) -> None:
    made: list[Secrets] = []
    for round_ in range(rounds):
        together.wait(timeout=60)
        made.append(Secrets.load_or_make(folder / str(round_)))
    told.put(made)


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    rounds, together, told = 50, context.Barrier(3), context.Queue()
    children = [context.Process(target=_start, args=(tmp_path, rounds, together, told)) for _ in range(3)]
    for child in children:
        child.start()
    found = [told.get(timeout=60) for _ in children]
    for child in children:
        child.join(timeout=60)
    folders = [tmp_path / str(round_) for round_ in range(rounds)]
    assert found == [[Secrets.load_or_make(folder) for folder in folders]] * 3
    assert {p.name for folder in folders for p in folder.iterdir()} == {"secrets.json"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o601, 0o644, 0o777])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    made = Secrets.load_or_make(tmp_path)
    path = tmp_path / "secrets.json"
    path.chmod(mode)
    with pytest.raises(SecretsError, match="chmod 600"):
        Secrets.load_or_make(tmp_path)
    path.chmod(0o400)
    assert Secrets.load_or_make(tmp_path) == made


KEY = '["' + "A" * 43 + '="]'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"\0" * 200,
        b"[" * 100_000,
        f'{{"jwt_keys": {KEY}, "vault_keys": {KEY}}}'.encode(),
        f'{{"jwt_keys": {KEY}, "vault_keys": {KEY}, "link_keys": []}}'.encode(),
        f'{{"jwt_keys": {KEY}, "vault_keys": {KEY}, "link_keys": null}}'.encode(),
        f'{{"jwt_keys": {KEY}, "vault_keys": {KEY}, "link_keys": ["canary"]}}'.encode(),
        f'{{"jwt_keys": {KEY}, "vault_keys": {KEY}, "link_keys": [7]}}'.encode(),
        f'{{"jwt_keys": {KEY}, "vault_keys": {KEY}, "link_keys": {KEY}, "more": "canary"}}'.encode(),
        f'{{"jwt_keys": {KEY}, "vault_keys": {KEY}, "link_keys": {KEY}'.encode(),
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretsError, match="is damaged: put your copy of it back") as caught:
        Secrets.load_or_make(tmp_path)
    assert path.read_bytes() == content
    error: BaseException | None = caught.value
    while error:  # nor where a log would look for what led to it
        assert "canary" not in f"{error} {error!r}"
        assert "AAAA" not in f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder" / "secrets.json").mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "secrets.json")  # opening it would wait for ever
    for name in ("folder", "pipe"):
        with pytest.raises(SecretsError, match="is not a file"):
            Secrets.load_or_make(tmp_path / name)
    (tmp_path / "secrets.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SecretsError, match="cannot read"):
        Secrets.load_or_make(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        Secrets.load_or_make(tmp_path / "data")


def test_nothing_shows_a_key(tmp_path: Path) -> None:
    made = Secrets.load_or_make(tmp_path)
    shown = f"{made!r} {made} {Vault(made.vault_keys)!r} {Links(made.link_keys)!r}"
    assert not [
        k for keys in (made.jwt_keys, made.vault_keys, made.link_keys) for k in keys if k[:8] in shown
    ]
