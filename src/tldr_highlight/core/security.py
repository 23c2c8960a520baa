"""What is secret and what proves it: keys, tokens, hashes, signed links, encryption, the file of keys.

Customers' keys and opaque tokens are shown once and stored as `hash_token` of them: they carry 178 bits of
chance or more, so a plain SHA-256 cannot be searched. Passwords, which people choose, are in
`core/passwords.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import string
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from tldr_highlight.core.files import create_private
from tldr_highlight.errors import SecretError, SecretsError

# --- customers' keys -----------------------------------------------------------------------------------

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM = 6  # 62^6 > 2^32
_API_KEY = re.compile(r"tldr_(?:live|test)_[0-9A-Za-z]{36}")


def new_api_key(test: bool = False) -> str:
    """`tldr_live_` or `tldr_test_`, 30 characters of chance (178 bits), 6 of checksum: 46 characters."""
    body = f"tldr_{'test' if test else 'live'}_" + "".join(secrets.choice(_BASE62) for _ in range(30))
    return body + _checksum(body)


def is_well_formed_key(text: str) -> bool:
    """Whether `text` could be a key of ours; takes no longer for a megabyte than for a key.

    Typing errors, and nearly all guesses (all but one in 4·10⁹), are refused without asking the database.
    """
    return _API_KEY.fullmatch(text) is not None and text[-_CHECKSUM:] == _checksum(text[:-_CHECKSUM])


def _checksum(body: str) -> str:
    """CRC32 of `body` in base62, padded with zeros."""
    number, digits = zlib.crc32(body.encode("ascii")), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


# --- opaque tokens -------------------------------------------------------------------------------------


def new_token(prefix: str = "") -> str:
    """`prefix` and 256 bits of chance in 43 characters that are safe in addresses and cookies."""
    return prefix + secrets.token_urlsafe(32)


def new_webhook_secret() -> str:
    """A secret as Standard Webhooks writes it: `whsec_` and base64 of 32 bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def hash_token(text: str) -> str:
    """SHA-256 in 64 hexadecimal digits: what is stored of a key or a token, and looked up by."""
    return hashlib.sha256(_bytes(text)).hexdigest()


def last4(text: str) -> str:
    """The last 4 characters: what people recognize a key by."""
    return text[-4:]


def _bytes(text: str) -> bytes:
    """Any string at all, even the lone surrogates that JSON can smuggle in."""
    return text.encode("utf-8", "surrogatepass")


# --- the installation's own keys -----------------------------------------------------------------------

_KEY_FORM = "[A-Za-z0-9_-]{43}="


def new_key() -> str:
    """256 bits of chance as base64 for addresses, 44 characters: one of the installation's keys."""
    return Fernet.generate_key().decode("ascii")


def key_bytes(key: str) -> bytes:
    """The 32 bytes of one of the installation's keys.

    Raises:
        ValueError: it is none; the message does not repeat it.
    """
    if not re.fullmatch(_KEY_FORM, key):
        raise ValueError("a key is base64 of 32 bytes, as new_key() makes it")
    return base64.urlsafe_b64decode(key)


_Keys = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=f"^{_KEY_FORM}$")], ...],
    Field(min_length=1, max_length=16),
]

_NEW_START = (
    "move it away: a new one is made at the next start; all logins and links then end, and what was stored "
    "encrypted (webhook secrets) must be set anew"
)


@dataclass(frozen=True)
class Secrets:
    """The installation's own keys. Of each kind the first signs or seals, all verify or open.

    To rotate, put a new key before the old one in `secrets.json`, restart, and take the old one out once
    nothing made with it is in use.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", hide_input_in_errors=True)

    jwt_keys: _Keys = field(repr=False)
    vault_keys: _Keys = field(repr=False)
    link_keys: _Keys = field(repr=False)

    @classmethod
    def load_or_make(cls, data_dir: Path) -> Secrets:
        """Read `secrets.json` in `data_dir`; make it, 0600, where there is none.

        Processes that start at the same time end up with the same keys.

        Raises:
            SecretsError: others can read the file, or it is damaged.
            OutputError: it cannot be made.
        """
        path = data_dir / "secrets.json"
        if not os.path.exists(path):  # Path's raises where the folder may not be looked into
            made = cls(*((new_key(),) for _ in range(3)))
            create_private(path, json.dumps(asdict(made), indent=2) + "\n")
        return _read_secrets(path)


_STORED = TypeAdapter(Secrets)


def _read_secrets(path: Path) -> Secrets:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SecretsError(f"{path} is not a file: move it away")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretsError(
                f"others than its owner may read or change {path}: `chmod 600` it; if somebody else may have "
                f"read it, {_NEW_START}"
            )
        return _STORED.validate_json(path.read_bytes())
    except OSError as error:
        raise SecretsError(f"cannot read {path}: {error.strerror or error}") from error
    except ValidationError:
        # without its cause, which knows what is in the file
        raise SecretsError(f"{path} is damaged: put your copy of it back, or {_NEW_START}") from None


# --- stored secrets ------------------------------------------------------------------------------------


class Vault:
    """Encrypts what is stored and must be read again (webhook secrets): Fernet, AES-128-CBC + HMAC-SHA256."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys` as `new_key` makes them: the first seals, all open."""
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, secret: str) -> str:
        """Encrypt; each time differently."""
        return self._fernet.encrypt(secret.encode()).decode("ascii")

    def open(self, sealed: str) -> str:
        """Decrypt what `seal` gave.

        Raises:
            SecretError: no key fits, or it is damaged.
        """
        try:
            return self._fernet.decrypt(sealed).decode()
        except (InvalidToken, ValueError) as error:  # ValueError: letters that base64 does not have
            raise SecretError(
                "a stored secret cannot be opened with the keys in secrets.json: put back the file "
                "with which it was stored, or set the secret anew"
            ) from error

    def reseal(self, sealed: str) -> str:
        """Encrypt again, with the first key, what any of the keys opens.

        Raises:
            SecretError: no key fits, or it is damaged.
        """
        return self.seal(self.open(sealed))


# --- links ---------------------------------------------------------------------------------------------


class Links:
    """Addresses that whoever has them may open until a time: HMAC-SHA256 over both."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys` as `new_key` makes them: the first signs, all verify."""
        self._keys = [key_bytes(key) for key in keys]

    def sign(self, path: str, expires: int) -> str:
        """The query that opens `path` (as the server sees it, decoded) until `expires`, in Unix seconds."""
        return urlencode({"expires": expires, "signature": _signature(self._keys[0], path, str(expires))})

    def check(self, path: str, query: Mapping[str, str], now: datetime) -> bool:
        """Whether `query` opens `path` at `now`; False for anything else than what `sign` gave."""
        expires, signature = query.get("expires", ""), _bytes(query.get("signature", ""))
        if not re.fullmatch(r"[0-9]{1,12}", expires):
            return False
        made = [_signature(key, path, expires).encode("ascii") for key in self._keys]
        return any(hmac.compare_digest(m, signature) for m in made) and now.timestamp() < int(expires)


def _signature(key: bytes, path: str, expires: str) -> str:
    """43 characters. `expires` comes first and is digits only: no path can pass for another path and time."""
    mac = hmac.digest(key, f"{expires}\n".encode() + _bytes(path), "sha256")
    return base64.urlsafe_b64encode(mac).decode("ascii").rstrip("=")
