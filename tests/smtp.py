"""A real SMTP server on loopback that keeps what it gets, and can be told to misbehave.

with Smtp(security="starttls", login=("me", "secret")) as smtp:
    ...                                  send to smtp.host, smtp.port; trust core/servers.py's AUTHORITY
    mail, = smtp.received(1)             waits for it
    mail.message["Subject"]              an EmailMessage

smtp.next("DATA", "451 4.3.0 later")               how the next command of a kind is answered
smtp.refused["x@y.org"] = "550 5.1.1 who?"         a recipient that nobody knows
smtp.trouble = "hang" | "drop" | "deaf"            no greeting; gone in the middle of a message; message
                                                   kept, but gone before saying so
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from email.message import EmailMessage
from types import TracebackType
from typing import Literal, Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.core.servers import TLS

Security = Literal["plain", "starttls", "tls"]


@dataclass(frozen=True)
class Mail:
    """A message, as it came."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    source: bytes
    login: str | None  # who sent it
    encrypted: bool


@dataclass
class Smtp:
    """The server. Use it as a context manager."""

    security: Security = "plain"
    login: tuple[str, str] | None = None  # required, if any
    host: str = "127.0.0.1"
    trouble: Literal["hang", "drop", "deaf"] | None = None
    refused: dict[str, str] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list, init=False)
    connections: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._next: defaultdict[str, deque[str]] = defaultdict(deque)
        self._came = threading.Condition()
        self.open: set[Connection] = set()

    def __enter__(self) -> Self:
        self._controller = _Controller(self)
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # newer Pythons wait for clients, and all warn of what is left open
        self._controller.loop.call_soon_threadsafe(lambda: [each.abort() for each in list(self.open)])
        self._controller.stop()

    @property
    def port(self) -> int:
        server = self._controller.server
        assert isinstance(server, asyncio.Server)
        return server.sockets[0].getsockname()[1]

    def next(self, command: Literal["MAIL", "RCPT", "DATA"], *replies: str) -> None:
        """Answer the next commands of this kind so, then as usual."""
        self._next[command].extend(replies)

    def received(self, count: int, seconds: float = 20) -> list[Mail]:
        """Wait until so many messages came; more are an error."""
        with self._came:
            self._came.wait_for(lambda: len(self.mails) >= count, seconds)
            assert len(self.mails) == count, f"{len(self.mails)} mails came instead of {count}"
            return list(self.mails)

    # what aiosmtpd asks: None is its own way of doing things, a string is what it answers

    def planned(self, command: str) -> str | None:
        return self._next[command].popleft() if self._next[command] else None

    def keep(self, session: Session, envelope: Envelope) -> None:
        source = cast(bytes, envelope.original_content)
        mail = Mail(
            sender=envelope.mail_from or "",
            recipients=list(envelope.rcpt_tos),
            message=email.message_from_bytes(source.replace(b"\r\n", b"\n"), policy=email.policy.default),
            source=source,
            login=session.auth_data.login.decode() if session.authenticated else None,
            encrypted=session.ssl is not None or self.security == "tls",
        )
        with self._came:
            self.mails.append(mail)
            self._came.notify_all()


class _Controller(Controller):
    def __init__(self, smtp: Smtp) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "server.pem")
        self._smtp = smtp
        self._context = context if smtp.security == "starttls" else None
        super().__init__(
            _Handler(smtp), smtp.host, 0, ssl_context=context if smtp.security == "tls" else None
        )

    def _trigger_server(self) -> None:
        # it would connect to port 0; nothing here is made lazily
        self._factory_invoked.set()
        self.smtpd = self.factory()

    def factory(self) -> SMTP:
        return Connection(self._smtp, self.handler, self.loop, self._context)


class Connection(SMTP):
    """One client's."""

    def __init__(
        self, smtp: Smtp, handler: object, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None
    ) -> None:
        # logins are offered where they are asked for, after STARTTLS where that is asked for
        super().__init__(
            handler,
            hostname="mail.test",
            loop=loop,
            enable_SMTPUTF8=True,
            tls_context=context,
            require_starttls=context is not None,
            auth_require_tls=context is not None or smtp.login is None,
            authenticator=self._knows,
        )
        self._smtp = smtp

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.transport is None:
            self._smtp.connections += 1
            self._smtp.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._smtp.open.discard(self)
        super().connection_lost(error)

    def abort(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    async def gone(self) -> None:
        """Hang up; the end of the connection ends this."""
        self.abort()
        await asyncio.Event().wait()

    async def _handle_client(self) -> None:
        if self._smtp.trouble == "hang":
            await asyncio.Event().wait()
        await super()._handle_client()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  aiosmtpd finds commands by name
        if self._smtp.trouble == "drop":
            await self.push("354 go on")
            await self._reader.readline()
            await self.gone()
        await super().smtp_DATA(arg)

    def _knows(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        known = self._smtp.login and tuple(part.encode() for part in self._smtp.login)
        return AuthResult(success=(data.login, data.password) == known, handled=False, auth_data=data)


class _Handler:
    def __init__(self, smtp: Smtp) -> None:
        self._smtp = smtp

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._smtp.login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if planned := self._smtp.planned("MAIL"):
            return planned
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := self._smtp.planned("RCPT") or self._smtp.refused.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Connection, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if planned := self._smtp.planned("DATA"):
            return planned
        self._smtp.keep(session, envelope)
        if self._smtp.trouble == "deaf":
            await server.gone()
        return "250 OK"
