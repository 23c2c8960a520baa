"""How mails leave: as `.eml` files in a folder, or through the operator's mail server.

    mailer = mailer_of(settings, data_dir)
    mailer.send(message)             returns when the mail is in the folder, or the server has taken it

`core/mails/` composes messages. A message that is sent again has the same Message-ID and date, so that mail
programs take both for one. What servers say becomes three errors with three fates: `MailError` (again soon),
`MailRefusedError` (never), `MailSetupError` (once the operator has acted).
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import threading
import unicodedata
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self
from urllib.parse import unquote, urlsplit

from tldr_highlight.core.files import output_errors, replacing
from tldr_highlight.core.mailboxes import wire_address
from tldr_highlight.errors import EmailError, MailError, MailRefusedError, MailSetupError, UsageError

if TYPE_CHECKING:
    from tldr_highlight.settings import Settings

CONNECT_SECONDS = 10.0
"""For each address of the server, and afterwards for each of its answers."""

TOTAL_SECONDS = 60.0
"""For all that follows the connection: a mail of ours has some 15 KB."""

LONGEST_SUBJECT = 200
"""Characters."""

LONGEST_LINE = 900
"""Characters of a line that are sent as they are; SMTP takes 998 bytes (RFC 5321, 4.5.3.1.6)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One mail to one person, ready to be sent."""

    id: str  # the row's: letters, digits, `_` and `-`
    kind: str  # of `core/mails/`
    to: str  # a normal address
    written_at: datetime  # aware
    subject: str
    text: str = field(repr=False)  # may hold links that open an account
    html: str = field(repr=False)


class Mailer(Protocol):
    """A way for mails to leave."""

    def send(self, message: Message) -> None:
        """Hand the message over; return when it is safe to forget.

        Raises:
            MailError: not now. `MailRefusedError`: never. `MailSetupError`: not before the operator acts.
            OutputError: a folder that cannot be written.
        """
        ...


def mailer_of(settings: Settings, data_dir: Path) -> Mailer:
    """The mailer an operator has set; files in `mail/` of the data folder when none is.

    Raises:
        UsageError: a setting cannot be understood; the message names it and does not repeat it.
    """
    sender = sender_of(settings.mail_from)
    if settings.smtp_url is None:
        return FileMailer(data_dir / "mail", sender)
    return SmtpMailer(Server.of(settings.smtp_url.get_secret_value()), sender, settings.ca_file)


def sender_of(text: str) -> Address:
    """`Name <mail@host>` or `mail@host`, quoted or not.

    Raises:
        UsageError: neither.
    """
    named = re.fullmatch(r"\s*(?P<name>[^<>]*?)\s*<(?P<address>[^<>]+)>\s*", text)
    name, address = (named["name"], named["address"]) if named else ("", text)
    local, _, domain = address.strip().rpartition("@")
    try:
        if domain == "localhost":  # no address for people, but the default here
            wire_address(f"{local}@example.com")
        else:
            local, _, domain = wire_address(address).rpartition("@")
    except EmailError as error:
        raise UsageError(f"TLDR_MAIL_FROM: {error}; write it as Name <mail@host.example>") from None
    if not local.isascii():
        raise UsageError("TLDR_MAIL_FROM: only ASCII before the @-sign, so that every server takes it")
    return Address(plain(name.strip('"'), 80), local, domain)


def plain(text: str, longest: int) -> str:
    """Text on one line of at most `longest` characters, without controls and marks that turn its direction.

    Joiners stay: scripts and emoji need them.
    """
    kept = "".join(
        " " if (c.isspace() or unicodedata.category(c) == "Cc") else c
        for c in text
        if unicodedata.category(c) not in ("Cf", "Cs") or c in "\u200c\u200d\u2060"
    )
    line = " ".join(kept.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def as_email(message: Message, sender: Address) -> EmailMessage:
    """The message as it goes over the wire: text and HTML of the same, either for the reader to choose."""
    if not re.fullmatch(r"[\w-]{1,100}", message.id, re.ASCII):
        raise ValueError(f"no id for a mail: {message.id!r}")
    to = wire_address(message.to)
    local, _, domain = to.rpartition("@")
    email = EmailMessage(policy=SMTP if to.isascii() else SMTPUTF8)
    email["From"] = sender
    email["To"] = Address("", local, domain)
    email["Subject"] = plain(message.subject, LONGEST_SUBJECT)
    email["Date"] = message.written_at
    email["Message-ID"] = f"<{message.id}@{sender.domain}>"
    email["Auto-Submitted"] = "auto-generated"  # RFC 3834: out-of-office programs keep quiet
    email["X-Auto-Response-Suppress"] = "All"  # Exchange's word for it
    email.set_content(message.text, cte=_encoding(message.text))
    email.add_alternative(message.html, subtype="html", cte=_encoding(message.html))
    return email


def _encoding(body: str) -> Literal["7bit", "quoted-printable"]:
    """As it is where every server takes that: links in a folder's files can be copied from any editor."""
    simple = body.isascii() and all(len(line) <= LONGEST_LINE for line in body.splitlines())
    return "7bit" if simple else "quoted-printable"


# --- a folder ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileMailer:
    """Mails become files that any mail program opens: `20261125T184956-ID.eml`, for the owner's eyes only.

    A message that is sent again replaces its file.
    """

    folder: Path
    sender: Address

    def send(self, message: Message) -> None:
        """Write the file, whole or not at all; raises OutputError."""
        content = as_email(message, self.sender).as_bytes()
        with output_errors(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{message.written_at.astimezone(UTC):%Y%m%dT%H%M%S}-{message.id}.eml"
        with replacing(self.folder / name, mode=0o600) as draft:
            draft.write_bytes(content)


# --- a server ------------------------------------------------------------------------------------------

SCHEMES: dict[str, tuple[Literal["none", "starttls", "tls"], int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}
"""Scheme -> how the connection is secured, and the port where none is named."""


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server and what it wants to know of us."""

    host: str
    port: int
    security: Literal["none", "starttls", "tls"]
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> Self:
        """The server an address names: `smtp+starttls://user:password@host:587`.

        Raises:
            UsageError: it cannot be understood; the message never repeats it, as it may hold a password.
        """
        try:
            parts = urlsplit(url.strip())
            security, usual = SCHEMES[parts.scheme]
            host, port = parts.hostname or "", parts.port or usual
            host.encode("idna")
        except (KeyError, ValueError):  # ValueError: a port that is none, mostly half a password
            host, port, security, parts = "", 0, "none", urlsplit("")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        beside = parts.path.strip("/") or parts.query or parts.fragment
        if not host or beside or bool(user) != bool(password) or not f"{user}{password}".isascii():
            raise UsageError(
                "TLDR_SMTP_URL: write it as smtp+starttls://user:password@host:587, smtps://… or smtp://…, "
                "user and password in ASCII with special characters as %40 and so on"
            )
        return cls(host, port, security, user, password)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class SmtpMailer:
    """Mails go to a server, one connection each; may be used from several threads."""

    def __init__(
        self,
        server: Server,
        sender: Address,
        ca_file: Path | None = None,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self.server = server
        self.sender = sender
        self._tls = _tls(ca_file)
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds

    def __repr__(self) -> str:
        return f"SmtpMailer({self.server})"

    def send(self, message: Message) -> None:
        """Send the message; raises MailError and its children (see `Mailer`).

        A connection lost after the last byte leaves unknown whether the server took it: that is transient,
        and the second copy has the same Message-ID.
        """
        content = as_email(message, self.sender).as_bytes()  # smtplib's own way puts a > before "From"
        to = wire_address(message.to)
        options = () if to.isascii() else ("SMTPUTF8", "BODY=8BITMIME")
        with self._ours(), self._connected() as client:
            if options and not client.has_extn("smtputf8"):
                raise MailRefusedError(f"{self.server}: takes only ASCII before the @-sign of an address")
            client.sendmail(self.sender.addr_spec, [to], content, options)

    @contextlib.contextmanager
    def _connected(self) -> Generator[_Client]:
        """A client that has introduced itself, over a connection that is as secure as was asked for."""
        with _Clock(self._total_seconds) as clock:
            implicit = self._tls if self.server.security == "tls" else None
            client = _Client(self.server, implicit, clock, self.sender.domain, self._connect_seconds)
            try:
                if self.server.security == "starttls":
                    client.starttls(context=self._tls)  # raises where it is not offered, or was taken out
                client.ehlo_or_helo_if_needed()
                if self.server.user:
                    client.login(self.server.user, self.server.password)
                yield client
            finally:
                with contextlib.suppress(OSError):  # smtplib's own errors, too: what counts has been said
                    client.quit()
                client.close()

    @contextlib.contextmanager
    def _ours(self) -> Generator[None]:
        """What smtplib, TLS and sockets throw becomes ours; see `_told` for what servers say."""
        try:
            yield
        except smtplib.SMTPRecipientsRefused as error:
            ((code, words),) = error.recipients.values()
            raise self._told(code, words, MailSetupError if code == 530 else MailRefusedError) from error
        except smtplib.SMTPDataError as error:
            raise self._told(error.smtp_code, error.smtp_error, MailRefusedError) from error
        except smtplib.SMTPResponseException as error:  # greeting, EHLO, AUTH, MAIL: no mail gets through
            raise self._told(error.smtp_code, error.smtp_error, MailSetupError) from error
        except (TimeoutError, ssl.SSLEOFError, smtplib.SMTPServerDisconnected) as error:
            raise MailError(f"{self.server}: no answer, or the connection was lost") from error
        except ssl.SSLCertVerificationError as error:
            raise MailSetupError(
                f"{self.server}: its certificate does not hold: {error.verify_message}"
            ) from error
        except ssl.SSLError as error:
            raise MailSetupError(f"{self.server}: no secure connection: {error.reason or error}") from error
        except smtplib.SMTPException as error:  # no STARTTLS, no AUTH, or no way of it that we know
            raise MailSetupError(f"{self.server}: {plain(str(error), 200)}") from error
        except OSError as error:
            raise MailError(f"{self.server}: {error.strerror or error}") from error

    def _told(self, code: int, words: bytes | str, final: type[MailError]) -> MailError:
        """A refusal: `final` when the server means it (5xx), otherwise one that may pass."""
        said = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
        cls = final if 500 <= code <= 599 else MailError
        return cls(f"{self.server} says {code} {plain(said, 200)}".rstrip())


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Verification as the system does it, and the operator's authorities beside."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError, too
            raise UsageError(f"TLDR_CA_FILE: cannot read {ca_file}: {error}") from error
    return context


class _Client(smtplib.SMTP):
    """smtplib's client over a connection that a clock can end, with TLS from the first byte or not."""

    def __init__(
        self, server: Server, tls: ssl.SSLContext | None, clock: _Clock, name: str, seconds: float
    ) -> None:
        self._tls = tls
        self._clock = clock
        # the name is given, because smtplib would look up the machine's own, which can take minutes
        super().__init__(server.host, server.port, local_hostname=name, timeout=seconds)

    def connect(
        self, host: str = "localhost", port: int = 0, source_address: object = None
    ) -> tuple[int, bytes]:
        """The server's greeting; smtplib's constructor calls this."""
        sock = socket.create_connection((host, port), self.timeout)
        self._clock.watch(sock)
        self.sock = self._tls.wrap_socket(sock, server_hostname=host) if self._tls else sock
        self.file = None
        return self.getreply()


class _Clock:
    """Ends a connection after so many seconds, whatever waits for it.

    Timeouts of sockets are for each byte that comes: a server that drips could hold a worker for a day.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._line: socket.socket | None = None

    def watch(self, sock: socket.socket) -> None:
        """Start the clock for this connection; TLS may wrap it afterwards."""
        self._line = sock.dup()
        self._timer.start()

    def _end(self) -> None:
        if self._line:
            with contextlib.suppress(OSError):  # ended by the server in this moment
                self._line.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._line:
            self._timer.join()
            self._line.close()
