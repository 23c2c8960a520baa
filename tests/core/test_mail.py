"""Mails leave: into a folder, and through real SMTP servers that are kind, strict, hostile or half dead."""

from __future__ import annotations

import contextlib
import email
import email.policy
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.core.servers import AUTHORITY
from tests.smtp import Security, Smtp
from tldr_highlight.core.mail import (
    FileMailer,
    Message,
    Server,
    SmtpMailer,
    as_email,
    mailer_of,
    plain,
    sender_of,
)
from tldr_highlight.core.mails import VerifyEmail, compose
from tldr_highlight.errors import (
    EmailError,
    Fate,
    MailError,
    MailRefusedError,
    MailSetupError,
    OutputError,
    UsageError,
)
from tldr_highlight.settings import Settings

WHEN = datetime(2026, 11, 25, 18, 50, 3, tzinfo=UTC)
SENDER = sender_of("TL;DR Highlight <noreply@highlights.example.com>")
LINK = "https://highlights.example.com/verify?token=Zk2u8yNR"
LETTER = compose(
    VerifyEmail(organization="Größe & Söhne 🎬", link=LINK, valid_for=timedelta(hours=24)),
    to="ann@example.com",
    id="mail_01KB",
    written_at=WHEN,
)
SECRET = "p@ss/word-c4nary"


def parsed(source: bytes) -> EmailMessage:
    message = email.message_from_bytes(source, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    return message


def content(message: EmailMessage, form: str) -> str:
    part = message.get_body((form,))
    assert part
    text: str = part.get_content()
    return text.replace("\r\n", "\n")


def same(message: EmailMessage, sent: Message) -> None:
    """What arrived says what was sent."""
    assert message["Subject"] == sent.subject
    assert content(message, "plain") == sent.text
    assert content(message, "html") == sent.html
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",  # the last is the one that is preferred
        "text/html",
    ]


# --- how a mail is written -----------------------------------------------------------------------------


def test_headers() -> None:
    message = parsed(as_email(LETTER, SENDER).as_bytes())
    assert str(message["From"]) == '"TL;DR Highlight" <noreply@highlights.example.com>'
    assert str(message["To"]) == "ann@example.com"
    assert message["Date"].datetime == WHEN
    assert message["Message-ID"] == "<mail_01KB@highlights.example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    same(message, LETTER)


def test_a_repeated_mail_is_recognised() -> None:
    one, two = (as_email(LETTER, SENDER) for _ in range(2))
    assert one["Message-ID"] == two["Message-ID"]
    assert one["Date"] == two["Date"]
    assert as_email(replace(LETTER, id="mail_02"), SENDER)["Message-ID"] != one["Message-ID"]


@pytest.mark.parametrize("id", ["", "a b", "x>\r\nBcc: a@b.example", "../up", "ü", "a" * 101])
def test_ids_stay_in_their_place(id: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        as_email(replace(LETTER, id=id), SENDER)


@pytest.mark.parametrize("to", ["ann@example.com\r\nBcc: b@example.com", "a@example.com, b@example.com", ""])
def test_a_mail_goes_to_one_address(to: str) -> None:
    with pytest.raises(EmailError):
        as_email(replace(LETTER, to=to), SENDER)


def test_subjects_add_no_headers() -> None:
    hostile = replace(LETTER, subject="Hello\r\nBcc: all@example.com\r\n\r\nbuy\u2028now\x85\x00\u202etxt")
    source = as_email(hostile, SENDER).as_bytes()
    message = parsed(source)
    assert message["Bcc"] is None
    assert message["Subject"] == "Hello Bcc: all@example.com buy now txt"
    assert message.keys().count("Subject") == 1


def test_plain_text_can_be_read_in_an_editor() -> None:
    """No `=3D` in links, where nothing forces it: people without a mail server copy them from files."""
    ascii_only = replace(LETTER, text=f"Open\n{LINK}&{'x' * 300}\n")
    source = as_email(ascii_only, SENDER).as_bytes()
    assert f"{LINK}&{'x' * 300}\r\n".encode() in source


lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60)
bodies = st.lists(
    st.one_of(lines, st.sampled_from([".", "..", "From me", "", " ", "=", "--", "x" * 2000, "ü" * 1500])),
    max_size=8,
).map(lambda some: "\n".join([*some, ""]))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(subject=lines, text=bodies, html=bodies)
def test_every_text_comes_back(subject: str, text: str, html: str) -> None:
    sent = replace(LETTER, subject=plain(subject, 200), text=text or "\n", html=html or "\n")
    source = as_email(sent, SENDER).as_bytes()
    assert source.isascii()  # every server takes that
    assert max(map(len, source.split(b"\r\n"))) <= 998
    assert b"\n" not in source.replace(b"\r\n", b"")
    same(parsed(source), sent)


def test_plain() -> None:
    assert plain("  a\tb\r\n c\u2028d\u00a0e ", 99) == "a b c d e"
    assert plain("\u202eabc\u2066\u200e\ufeff\x00\x1b[1m\ud800", 99) == "abc [1m"
    assert plain("👩\u200d🚀 نمی\u200cخواهم", 99) == "👩\u200d🚀 نمی\u200cخواهم"
    assert plain("abcdef", 5) == "abcd…"


# --- what the operator sets ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("TL;DR Highlight <noreply@localhost>", "TL;DR Highlight", "noreply@localhost"),
        ('"Clips, Inc." <clips@example.com>', "Clips, Inc.", "clips@example.com"),
        ("clips@Example.com", "", "clips@example.com"),
        (" Höhepunkte <a@münchen.de> ", "Höhepunkte", "a@xn--mnchen-3ya.de"),
    ],
)
def test_senders(text: str, name: str, address: str) -> None:
    sender = sender_of(text)
    assert (sender.display_name, sender.addr_spec) == (name, address)
    header = parsed(as_email(LETTER, sender).as_bytes())["From"]
    assert [(a.display_name, a.addr_spec) for a in header.addresses] == [(name, address)]


@pytest.mark.parametrize(
    "text", ["", "me", "<>", "a@b@localhost", "Me <a@b.example> x", "a\n@localhost", "jörg@example.com"]
)
def test_senders_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="TLDR_MAIL_FROM"):
        sender_of(text)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", Server("mail.example.com", 25, "none")),
        ("smtp+starttls://mail.example.com/", Server("mail.example.com", 587, "starttls")),
        ("smtps://u:p@[::1]:4650", Server("::1", 4650, "tls", "u", "p")),
        (
            "smtps://me%40example.com:p%40ss%2F%3A@mail.example.com",
            Server("mail.example.com", 465, "tls", "me@example.com", "p@ss/:"),
        ),
    ],
)
def test_servers(url: str, server: Server) -> None:
    found = Server.of(url)
    assert found == server
    assert "ss/" not in repr(found) + str(found)


@pytest.mark.parametrize(
    "url",
    [
        f"smtps://me:{SECRET}@mail.example.com",  # its slash ends the host
        f"smtps://me:{SECRET}",
        "smtps://me:c4nary@mail.example.com:587x",
        "smtps://me:c4nary@mail.example.com:99999",
        "smtps://me:c4nary@",
        "smtps://c4nary@mail.example.com",  # no password
        "smtps://me:c4naryü@mail.example.com",
        "smtps://me:c4nary@mail.example.com/?verify=no",
        "https://me:c4nary@mail.example.com",
        "me:c4nary@mail.example.com",
        "smtps://me:c4nary@[mail.example.com",
        f"smtps://me:c4nary@{'x' * 70}.example.com",
        "",
    ],
)
def test_servers_that_are_none_keep_their_password(url: str) -> None:
    with pytest.raises(UsageError, match="TLDR_SMTP_URL") as caught:
        mailer_of(Settings(smtp_url=SecretStr(url)), Path("data"))
    assert "c4nary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_mailer_that_is_set(tmp_path: Path) -> None:
    assert mailer_of(Settings(), tmp_path) == FileMailer(
        tmp_path / "mail", sender_of("TL;DR Highlight <noreply@localhost>")
    )
    url = SecretStr("smtps://me:c4nary@mail.example.com")
    mailer = mailer_of(Settings(smtp_url=url, ca_file=AUTHORITY), tmp_path)
    assert repr(mailer) == "SmtpMailer(mail.example.com:465)"
    with pytest.raises(UsageError, match="TLDR_CA_FILE"):
        mailer_of(Settings(smtp_url=url, ca_file=tmp_path / "none.pem"), tmp_path)


# --- a folder ------------------------------------------------------------------------------------------


def test_files(tmp_path: Path) -> None:
    mailer = FileMailer(tmp_path / "data" / "mail", SENDER)
    mailer.send(LETTER)
    mailer.send(LETTER)  # again, as after a crash
    mailer.send(replace(LETTER, id="mail_02"))
    files = sorted(mailer.folder.iterdir())
    assert [f.name for f in files] == ["20261125T185003-mail_01KB.eml", "20261125T185003-mail_02.eml"]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert stat.S_IMODE(mailer.folder.stat().st_mode) == 0o700
    same(parsed(files[0].read_bytes()), LETTER)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file")
    with pytest.raises(OutputError) as caught:
        FileMailer(tmp_path / "mail", SENDER).send(LETTER)
    assert caught.value.fate is Fate.RESOURCE


# --- a server ------------------------------------------------------------------------------------------

LOGIN = ("me@example.com", SECRET)
SECURITY: dict[Security, tuple[str, str]] = {
    "plain": ("smtp", "none"),
    "starttls": ("smtp+starttls", "starttls"),
    "tls": ("smtps", "tls"),
}


def mailer(smtp: Smtp, *, ca_file: Path | None = AUTHORITY, login: bool = True, host: str = "") -> SmtpMailer:
    user = f"{quote(smtp.login[0], '')}:{quote(smtp.login[1], '')}@" if smtp.login and login else ""
    server = Server.of(f"{SECURITY[smtp.security][0]}://{user}{host or smtp.host}:{smtp.port}")
    return SmtpMailer(server, SENDER, ca_file, connect_seconds=5, total_seconds=10)


@pytest.mark.parametrize("login", [None, LOGIN], ids=["open", "login"])
@pytest.mark.parametrize("security", SECURITY)
def test_mails_arrive(security: Security, login: tuple[str, str] | None) -> None:
    with Smtp(security=security, login=login) as smtp:
        mailer(smtp).send(LETTER)
        (mail,) = smtp.received(1)
    assert (mail.sender, mail.recipients) == ("noreply@highlights.example.com", ["ann@example.com"])
    assert mail.encrypted == (security != "plain")
    assert mail.login == (login and login[0])
    same(parsed(mail.source), LETTER)


def test_dots_and_long_lines_arrive() -> None:
    tricky = replace(LETTER, text=f".\n..\n.x\n{'y' * 5000}\nFrom me\n", html=f"<p>\n.\n{'ü' * 3000}\n")
    with Smtp() as smtp:
        mailer(smtp).send(tricky)
        same(parsed(smtp.received(1)[0].source), tricky)


def test_other_alphabets() -> None:
    """Domains become ASCII; letters before the @-sign go as SMTPUTF8 where the server knows that."""
    with Smtp() as smtp:
        mailer(smtp).send(replace(LETTER, to="ann@münchen.de"))
        mailer(smtp).send(replace(LETTER, to="jörg@münchen.de"))
        ann, joerg = smtp.received(2)
    assert ann.recipients == ["ann@xn--mnchen-3ya.de"]
    assert joerg.recipients == ["jörg@xn--mnchen-3ya.de"]
    assert "\r\nTo: jörg@xn--mnchen-3ya.de\r\n".encode() in joerg.source
    same(parsed(joerg.source), LETTER)


def failure(mailer: SmtpMailer, message: Message = LETTER) -> MailError:
    with pytest.raises(MailError) as caught:
        mailer.send(message)
    told = f"{caught.value!r} {caught.value} {mailer!r}"
    assert SECRET not in told
    assert LINK not in told
    assert len(str(caught.value)) < 320
    return caught.value


@pytest.mark.parametrize(
    ("command", "reply", "error"),
    [
        ("MAIL", "451 4.3.0 later", MailError),
        ("MAIL", "421 4.3.2 closing", MailError),
        ("MAIL", "550 5.7.1 not for this sender", MailSetupError),
        ("RCPT", "450 4.2.1 greylisted", MailError),
        ("RCPT", "421 4.3.2 closing", MailError),
        ("RCPT", "550 5.1.1 who?", MailRefusedError),
        ("RCPT", "530 5.7.0 log in first", MailSetupError),
        ("DATA", "452 4.3.1 disk full", MailError),
        ("DATA", "421 4.3.2 closing", MailError),
        ("DATA", "554 5.7.1 spam", MailRefusedError),
    ],
)
def test_refusals_have_their_fate(command: str, reply: str, error: type[MailError]) -> None:
    with Smtp() as smtp:
        smtp.next(command, reply)  # type: ignore[arg-type]
        told = failure(mailer(smtp))
        assert type(told) is error
        assert reply in str(told)
        mailer(smtp).send(LETTER)  # the next goes through
        smtp.received(1)


def test_a_wrong_password_waits_for_the_operator() -> None:
    with Smtp(security="tls", login=("me@example.com", "other")) as smtp:
        server = Server("127.0.0.1", smtp.port, "tls", *LOGIN)
        told = failure(SmtpMailer(server, SENDER, AUTHORITY))
        assert type(told) is MailSetupError
        assert "535" in str(told)


def test_a_missing_login_waits_for_the_operator() -> None:
    with Smtp(security="tls", login=LOGIN) as smtp:
        assert type(failure(mailer(smtp, login=False))) is MailSetupError


def test_a_login_nobody_asks_for_waits_for_the_operator() -> None:
    with Smtp() as smtp:
        told = failure(SmtpMailer(Server("127.0.0.1", smtp.port, "none", *LOGIN), SENDER))
        assert type(told) is MailSetupError


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_certificates_are_verified(security: Security) -> None:
    with Smtp(security=security) as smtp:
        unknown = failure(mailer(smtp, ca_file=None))
        other = failure(mailer(smtp, host="localhost"))  # its certificate is for 127.0.0.1
        assert smtp.mails == []
    assert (type(unknown), type(other)) == (MailSetupError, MailSetupError)
    assert "certificate" in str(unknown)
    assert "localhost" in str(other)


def test_starttls_that_is_taken_away_sends_nothing() -> None:
    with Smtp() as smtp:
        server = Server("127.0.0.1", smtp.port, "starttls", *LOGIN)
        told = failure(SmtpMailer(server, SENDER, AUTHORITY))
        assert type(told) is MailSetupError
        assert "STARTTLS" in str(told)
        assert smtp.mails == []


def test_tls_with_a_server_that_speaks_none() -> None:
    with Smtp() as smtp:
        told = failure(SmtpMailer(Server("127.0.0.1", smtp.port, "tls"), SENDER, AUTHORITY))
        assert type(told) is MailSetupError


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = failure(SmtpMailer(Server("127.0.0.1", port, "none"), SENDER))
    assert type(told) is MailError
    assert "refused" in str(told)


def test_a_connection_lost_in_the_message() -> None:
    with Smtp(trouble="drop") as smtp:
        assert type(failure(mailer(smtp))) is MailError
        assert smtp.mails == []


def test_a_connection_lost_before_the_answer_may_mean_two_copies() -> None:
    with Smtp(trouble="deaf") as smtp:
        assert type(failure(mailer(smtp))) is MailError
        smtp.trouble = None
        mailer(smtp).send(LETTER)
        one, two = smtp.received(2)
    assert parsed(one.source)["Message-ID"] == parsed(two.source)["Message-ID"] is not None


# --- a server that reads and writes what a test says ---------------------------------------------------


class Scripted:
    """One connection at a time, handed to `play`, which may be as rude as it likes."""

    def __init__(self, play: Callable[[socket.socket, threading.Event], None]) -> None:
        self._play = play
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        peer, _ = self._socket.accept()
        with peer, contextlib.suppress(OSError):  # the client had enough
            self._play(peer, self.over)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()
        self._socket.close()


def scripted(server: Scripted, *, seconds: float = 5.0, total: float = 10.0) -> SmtpMailer:
    return SmtpMailer(
        Server("127.0.0.1", server.port, "none"), SENDER, connect_seconds=seconds, total_seconds=total
    )


def dialogue(*answers: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Greets with the first, and answers each line with the next; then hangs up."""

    def play(peer: socket.socket, over: threading.Event) -> None:
        with peer.makefile("rb") as lines:
            for answer in answers:
                peer.sendall(answer)
                if not lines.readline():
                    return

    return play


def silent(peer: socket.socket, over: threading.Event) -> None:
    over.wait(20)


def dripping(peer: socket.socket, over: threading.Event) -> None:
    """A greeting that never ends, a byte now and then: each comes before any timeout."""
    peer.sendall(b"220-")
    while not over.wait(0.05):
        peer.sendall(b"x")


RUDE = b"550 \xe2\x80\xaen\x1b[31m" + b"o" * 900 + b"\r\n"


@pytest.mark.parametrize(
    ("play", "error"),
    [
        (dialogue(b"554 5.3.2 no mail here\r\n"), MailSetupError),
        (dialogue(b"421 4.3.2 busy\r\n"), MailError),
        (dialogue(b"HTTP/1.1 400 Bad Request\r\n"), MailError),
        (dialogue(b"\xff\x00\xfe\r\n"), MailError),
        (dialogue(), MailError),
        (dialogue(b"220 hi\r\n", b"502 no\r\n", b"502 no\r\n"), MailSetupError),
        (dialogue(b"220 hi\r\n", b"250 x\r\n", b"250 ok\r\n", RUDE), MailRefusedError),
        (dialogue(b"220 hi\r\n" + b"y" * 100_000), MailSetupError),
        (dialogue(b"x" * 100_000), MailSetupError),
    ],
)  # fmt: skip
def test_strange_servers(
    play: Callable[[socket.socket, threading.Event], None], error: type[MailError]
) -> None:
    with Scripted(play) as server:
        told = failure(scripted(server))
    assert type(told) is error
    assert not re.search("[\x00-\x1f\u202e]", str(told))


def test_a_server_without_smtputf8_refuses_other_letters() -> None:
    with Scripted(dialogue(b"220 hi\r\n", b"250 x\r\n", b"221 bye\r\n")) as server:
        told = failure(scripted(server), replace(LETTER, to="jörg@example.com"))
    assert type(told) is MailRefusedError
    assert "ASCII" in str(told)


def test_a_silent_server_is_left() -> None:
    with Scripted(silent) as server:
        began = time.monotonic()
        assert type(failure(scripted(server, seconds=0.2))) is MailError
        assert time.monotonic() - began < 2


def test_a_dripping_server_is_left() -> None:
    with Scripted(dripping) as server:
        began = time.monotonic()
        assert type(failure(scripted(server, seconds=5, total=0.4))) is MailError
        assert time.monotonic() - began < 3


def test_what_goes_wrong_after_the_mail_was_taken_does_not_count() -> None:
    said: list[bytes] = []

    def play(peer: socket.socket, over: threading.Event) -> None:
        with peer.makefile("rb") as lines:
            for answer in (b"220 hi\r\n", b"250 x\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                peer.sendall(answer)
                said.append(lines.readline())
            while lines.readline() != b".\r\n":
                pass
            peer.sendall(b"250 taken\r\n")
            said.append(lines.readline())
            peer.sendall(b"\xff garbage instead of good bye")

    with Scripted(play) as server:
        scripted(server).send(LETTER)
    assert said[0] == b"ehlo highlights.example.com\r\n"  # the sender's domain: no look-up of our own name
    assert said[-1] == b"quit\r\n"


@pytest.fixture(autouse=True)
def no_threads_left() -> Generator[None]:
    """Clocks and connections end with the mail they watch."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
