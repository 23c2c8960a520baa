"""The mail server that tests use: real, and bad when told to."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from typing import Literal

import pytest

from tests.core.servers import AUTHORITY
from tests.smtp import Security, Smtp

LOGIN = ("me", "s3cret")


def send(
    smtp: Smtp,
    *recipients: str,
    login: tuple[str, str] | None = None,
    trust: bool = True,
    timeout: float = 20,
) -> object:
    """As smtplib does it: what was refused."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "we@tldr.test", ", ".join(recipients), "Grüße"
    message.set_content("hällo\n.\nworld\n")
    context = ssl.create_default_context(cafile=AUTHORITY if trust else None)
    if smtp.security == "tls":
        client = smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=timeout, context=context)
    else:
        client = smtplib.SMTP(smtp.host, smtp.port, timeout=timeout)
    with client:
        if smtp.security == "starttls":
            client.starttls(context=context)
        if login:
            client.login(*login)
        return client.send_message(message)


@pytest.mark.parametrize("security", ["plain", "starttls", "tls"])
@pytest.mark.parametrize("login", [None, LOGIN], ids=["open", "login"])
def test_mail_arrives(security: Security, login: tuple[str, str] | None) -> None:
    with Smtp(security, login) as smtp:
        send(smtp, "you@tldr.test", "them@tldr.test", login=login)
        [mail] = smtp.received(1)
        assert (mail.sender, mail.recipients) == ("we@tldr.test", ["you@tldr.test", "them@tldr.test"])
        assert mail.message["Subject"] == "Grüße"
        assert mail.message.get_content() == "hällo\n.\nworld\n"
        assert mail.encrypted == (security != "plain")
        assert mail.login == (login and login[0])
        assert smtp.connections == 1
        if login:
            with pytest.raises(smtplib.SMTPSenderRefused, match="Authentication required"):
                send(smtp, "you@tldr.test")
            with pytest.raises(smtplib.SMTPAuthenticationError):
                send(smtp, "you@tldr.test", login=("me", "wrong"))
        if security != "plain":
            with pytest.raises(ssl.SSLCertVerificationError):
                send(smtp, "you@tldr.test", login=login, trust=False)
        smtp.received(1)


def test_starttls_is_required() -> None:
    with Smtp("starttls") as smtp, smtplib.SMTP(smtp.host, smtp.port, timeout=2) as client:
        with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
            client.sendmail("we@tldr.test", "you@tldr.test", "hello")
        assert smtp.mails == []


def test_mail_is_refused_for_now_or_for_one() -> None:
    with Smtp(refused={"nobody@tldr.test": "550 5.1.1 who?"}) as smtp:
        smtp.next("DATA", "451 4.3.0 later")
        with pytest.raises(smtplib.SMTPDataError, match="later"):
            send(smtp, "you@tldr.test")
        assert send(smtp, "you@tldr.test", "nobody@tldr.test") == {"nobody@tldr.test": (550, b"5.1.1 who?")}
        [mail] = smtp.received(1)
        assert mail.recipients == ["you@tldr.test"]


@pytest.mark.parametrize("security", ["plain", "starttls", "tls"])
@pytest.mark.parametrize(
    ("trouble", "error", "kept"),
    [
        ("hang", (smtplib.SMTPServerDisconnected, TimeoutError), 0),
        ("drop", (smtplib.SMTPServerDisconnected, ConnectionError, ssl.SSLEOFError), 0),
        ("deaf", (smtplib.SMTPServerDisconnected, ConnectionError, ssl.SSLEOFError), 1),
    ],
)
def test_mail_gets_into_trouble(
    security: Security, trouble: Literal["hang", "drop", "deaf"], error: type[Exception], kept: int
) -> None:
    with Smtp(security, trouble=trouble) as smtp:
        with pytest.raises(error):
            send(smtp, "you@tldr.test", timeout=0.3 if trouble == "hang" else 20)
        smtp.received(kept)
        smtp.trouble = None
        send(smtp, "you@tldr.test")
        smtp.received(kept + 1)
