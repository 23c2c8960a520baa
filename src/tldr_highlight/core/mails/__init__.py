"""What mails say: a small class for each kind of letter, and a template of the same name.

    letter = PasswordChanged(changed_at=now, link=url)
    context, secret = stored(letter)               what a row keeps: JSON, and the link apart, to be sealed
    letter_of("password_changed", context, secret)                          the letter again
    compose(letter, to="ann@example.com", id="mail_…", written_at=now)      a Message

A letter holds facts, no words: numbers, names, times, links. The template beside this file has the words,
once: `html/` and `text/` have the same few parts (`p`, `button`, `facts` …), which make either of it.
What people typed (names, addresses, servers' words) is put on one line, without controls and marks that
turn its direction, before a template sees it, and escaped in HTML.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import TypeAdapter

from tldr_highlight.core.mail import LONGEST_SUBJECT, Message, plain

LONGEST = 120
"""Characters of a text that people typed: more of it is not shown."""

Limit: TypeAlias = Literal[
    "requests_per_minute",
    "processing_minutes",
    "concurrent_streams",
    "storage_gb",
    "retention_days",
    "delivered_gb",
    "api_calls",
    "webhook_endpoints",
    "api_keys",
    "members",
]

LIMITS: Mapping[Limit, str] = {
    "requests_per_minute": "requests per minute and key",
    "processing_minutes": "processing minutes per month",
    "concurrent_streams": "streams at the same time",
    "storage_gb": "storage in GB",
    "retention_days": "days that highlights are kept",
    "delivered_gb": "GB delivered per month",
    "api_calls": "API calls per month",
    "webhook_endpoints": "webhook endpoints",
    "api_keys": "API keys",
    "members": "members",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A kind of mail with its facts. Times are aware; links are complete and ours."""

    kind: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyEmail(Letter):
    """Welcome, and is this address yours?"""

    kind: ClassVar[str] = "verify_email"
    organization: str
    link: str = field(repr=False)
    valid_for: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPassword(Letter):
    """Somebody, hopefully you, asked for a new password."""

    kind: ClassVar[str] = "reset_password"
    link: str = field(repr=False)
    valid_for: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChangeConfirm(Letter):
    """To the new address: is it yours? It does not name the old one, as the new may be a stranger's."""

    kind: ClassVar[str] = "email_change_confirm"
    link: str = field(repr=False)
    valid_for: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChanged(Letter):
    """To the old address, which is none any more."""

    kind: ClassVar[str] = "email_changed"
    new_address: str
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged(Letter):
    """The password is another one now; `link` leads to resetting it."""

    kind: ClassVar[str] = "password_changed"
    changed_at: datetime
    link: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation(Letter):
    """To somebody who may not know us: will you join?"""

    kind: ClassVar[str] = "invitation"
    organization: str
    invited_by: str  # an address
    role: str
    link: str = field(repr=False)
    valid_for: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """A limit that is another one now."""

    limit: Limit
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanged(Letter):
    """The organization has another plan, and which limits changed with it."""

    kind: ClassVar[str] = "plan_changed"
    organization: str
    old_plan: str
    new_plan: str
    changed_at: datetime
    changed_by: str  # an address
    changes: tuple[LimitChange, ...]
    link: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationSuspended(Letter):
    """Keys and logins answer 403 until the operator changes their mind."""

    kind: ClassVar[str] = "organization_suspended"
    organization: str
    suspended_at: datetime
    reason: str | None  # the operator's words


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageWarning(Letter):
    """Most of a quota is used."""

    kind: ClassVar[str] = "usage_warning"
    organization: str
    limit: Limit
    used: float  # in the limit's unit
    allowed: float  # the same, above 0
    resets_at: datetime | None  # None: it does not, as with storage
    blocks: bool  # whether new work is refused at 100 %, or goes on as overage
    link: str = field(repr=False)

    @property
    def percent(self) -> int:
        """Of the quota, rounded down: 99.9 is not all."""
        return int(100 * self.used / self.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDisabled(Letter):
    """An endpoint gets nothing any more."""

    kind: ClassVar[str] = "webhook_disabled"
    organization: str
    url: str  # what of the customer's may be told; shown, never linked
    failures: int  # deliveries in a row
    failing_since: datetime
    last_error: str
    link: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAlert(Letter):
    """To operators: something only they can put right keeps work from being done."""

    kind: ClassVar[str] = "operator_alert"
    cause: str  # an error's code
    message: str
    raised_at: datetime


KINDS: Mapping[str, type[Letter]] = {
    cls.kind: cls
    for cls in (
        VerifyEmail,
        ResetPassword,
        EmailChangeConfirm,
        EmailChanged,
        PasswordChanged,
        Invitation,
        PlanChanged,
        OrganizationSuspended,
        UsageWarning,
        WebhookDisabled,
        OperatorAlert,
    )
}
"""Every kind of letter by its name."""


def stored(letter: Letter) -> tuple[dict[str, Any], str | None]:
    """The letter as JSON, and its link, which opens accounts and should be stored sealed."""
    context: dict[str, Any] = _adapter(type(letter)).dump_python(letter, mode="json")
    return context, context.pop("link", None)


def letter_of(kind: str, context: Mapping[str, Any], secret: str | None) -> Letter:
    """What `stored` took apart.

    Raises:
        KeyError: no such kind. ValueError: not its context.
    """
    link = {} if secret is None else {"link": secret}
    return _adapter(KINDS[kind]).validate_python({**context, **link})


@functools.cache
def _adapter(cls: type[Letter]) -> TypeAdapter[Letter]:
    return TypeAdapter(cls)


def compose(letter: Letter, *, to: str, id: str, written_at: datetime) -> Message:
    """The letter in words, for one person; `id` and time are the row's.

    Deterministic: the same letter gives the same words.
    """
    facts = {name: _tamed(name, getattr(letter, name)) for name in _names(letter)}
    name = f"{letter.kind}.jinja"
    subject, _, body = _templates("text").get_template(name).render(WORDS, **facts).partition("\n\n")
    html = _templates("html").get_template(name).render(WORDS, subject=subject, **facts)
    return Message(
        id=id,
        kind=letter.kind,
        to=to,
        written_at=written_at,
        subject=plain(subject, LONGEST_SUBJECT),
        text=_tight(body),
        html=_tight(html),
    )


def _names(letter: Letter) -> list[str]:
    """Fields and properties: what a template may show."""
    properties = [n for n, v in vars(type(letter)).items() if isinstance(v, property)]
    return [*(f.name for f in fields(letter)), *properties]


def _tamed(name: str, value: object) -> object:
    """Text that people typed, made harmless to read; ours (links) and anything else as it is."""
    if not isinstance(value, str) or name == "link":
        return value
    text = plain(value, LONGEST)
    # an organization named "win-a-prize.example" should be no link in an invitation to strangers
    return re.sub(r"(?<=\w)([.:])(?=[\w/])", "\\1\u2060", text) if name == "organization" else text


def _tight(rendered: str) -> str:
    """Without the empty lines that templates leave, but for those between paragraphs."""
    return re.sub(r"\n{3,}", "\n\n", rendered.strip()) + "\n"


@functools.cache
def _templates(form: Literal["html", "text"]) -> Environment:
    here = Path(__file__).parent
    return Environment(
        loader=FileSystemLoader([here / form, here]),
        autoescape=form == "html",  # noqa: S701 - plain text needs none
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )


MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
"""Not strftime's, which follow the machine's language."""


def duration(span: timedelta) -> str:
    """In the largest unit that fits without a rest: `24 hours`, `7 days`, `90 minutes`."""
    minutes = max(1, round(span.total_seconds() / 60))
    for unit, size in (("days", 1440), ("hours", 60)):
        if minutes > size and minutes % size == 0:
            return f"{minutes // size} {unit}"
    return f"{minutes} minutes" if minutes > 1 else "1 minute"


def moment(when: datetime) -> str:
    """`25 November 2026, 18:50 UTC`."""
    return f"{day(when)}, {when.astimezone(UTC):%H:%M} UTC"


def day(when: datetime) -> str:
    """`25 November 2026`."""
    utc = when.astimezone(UTC)
    return f"{utc.day} {MONTHS[utc.month - 1]} {utc.year}"


def number(value: float) -> str:
    """`1,234.5`: at most two decimals, none where there are none."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def capital(text: str) -> str:
    """With a capital at the start, the rest as it is."""
    return text[:1].upper() + text[1:]


WORDS: Mapping[str, object] = {
    "limits": LIMITS,
    "duration": duration,
    "moment": moment,
    "day": day,
    "number": number,
    "capital": capital,
}
"""What every template can say things with."""
