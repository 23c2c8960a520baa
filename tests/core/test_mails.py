"""What mails say, in both forms, whatever people call themselves."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from tests.peers import need
from tldr_highlight.core import mails
from tldr_highlight.core.mail import Message
from tldr_highlight.core.mails import (
    KINDS,
    LIMITS,
    EmailChangeConfirm,
    EmailChanged,
    Invitation,
    Letter,
    LimitChange,
    OperatorAlert,
    OrganizationSuspended,
    PasswordChanged,
    PlanChanged,
    ResetPassword,
    UsageWarning,
    VerifyEmail,
    WebhookDisabled,
    compose,
    letter_of,
    stored,
)

WHEN = datetime(2026, 11, 25, 18, 50, tzinfo=UTC)
LINK = "https://highlights.example.com/x?token=Zk2u8yNR&for=ann"
NAME = "Nordlicht Sports"

LETTERS: list[Letter] = [
    VerifyEmail(organization=NAME, link=LINK, valid_for=timedelta(hours=24)),
    ResetPassword(link=LINK, valid_for=timedelta(minutes=30)),
    EmailChangeConfirm(link=LINK, valid_for=timedelta(hours=24)),
    EmailChanged(new_address="new@example.org", changed_at=WHEN),
    PasswordChanged(changed_at=WHEN, link=LINK),
    Invitation(
        organization=NAME,
        invited_by="ann@example.org",
        role="admin",
        link=LINK,
        valid_for=timedelta(days=7),
    ),
    PlanChanged(
        organization=NAME,
        old_plan="STARTER",
        new_plan="PROFESSIONAL",
        changed_at=WHEN,
        changed_by="ann@example.org",
        changes=tuple(LimitChange(limit=limit, before=i, after=1000 * i) for i, limit in enumerate(LIMITS)),
        link=LINK,
    ),
    OrganizationSuspended(organization=NAME, suspended_at=WHEN, reason="unpaid since May"),
    UsageWarning(
        organization=NAME,
        limit="storage_gb",
        used=8.25,
        allowed=10,
        resets_at=None,
        blocks=True,
        link=LINK,
    ),
    OperatorAlert(cause="disk_full", message="no space left on /srv", raised_at=WHEN),
    WebhookDisabled(
        organization=NAME,
        url="https://hooks.example.com/in",
        failures=10,
        failing_since=WHEN,
        last_error="503 Service Unavailable",
        link=LINK,
    ),
]
every_letter = pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: letter.kind)


def composed(letter: Letter) -> Message:
    return compose(letter, to="ann@example.com", id="mail_1", written_at=WHEN)


class Page(HTMLParser):
    """What a reader sees of an HTML mail, and what it would fetch or open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str | None] = set()
        self.fetched: set[str | None] = set()
        self.words: list[str] = []
        self._silent = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._silent += tag in ("style", "title")
        self.links |= {value for name, value in attrs if name == "href"}
        self.fetched |= {value for name, value in attrs if name in ("src", "background", "srcset")}
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("style", "title")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def test_every_kind_is_here() -> None:
    assert {letter.kind for letter in LETTERS} == KINDS.keys() == {c.kind for c in Letter.__subclasses__()}


@every_letter
def test_text_and_html_say_the_same(letter: Letter) -> None:
    """Every paragraph of the text is in the HTML, word for word."""
    message = composed(letter)
    page = Page(message.html)
    body, _, why = message.text.partition("\n--\nTL;DR Highlight\n")
    paragraphs = [" ".join(part.split()) for part in (*body.split("\n\n"), why)]
    said = [p for p in paragraphs if p and LINK not in p and not re.search(r"^\[|->|^[\w ]+: ", p, re.M)]
    assert said
    assert [p for p in said if p.removeprefix("! ") not in page.text] == []


@every_letter
def test_facts_are_in_both(letter: Letter) -> None:
    message = composed(letter)
    page = Page(message.html)
    for field in fields(letter):
        value = getattr(letter, field.name)
        if field.name == "link":
            assert value in message.text.splitlines()
            assert page.links == {value}
        elif isinstance(value, str) and field.name != "limit":
            shown = value.capitalize() if field.name.endswith("_plan") else value
            assert shown in " ".join(message.text.split()), field.name
            assert shown in page.text, field.name
    for words in (message.text, page.text):
        if any(isinstance(getattr(letter, f.name), datetime) for f in fields(letter)):
            assert "25 November 2026, 18:50 UTC" in " ".join(words.split())


@every_letter
def test_html_asks_nobody_and_text_is_plain(letter: Letter) -> None:
    message = composed(letter)
    page = Page(message.html)
    assert page.fetched == set()
    assert not page.tags & {"img", "script", "iframe", "link", "form", "object", "svg"}
    assert "url(" not in message.html
    assert message.html.isascii()
    assert message.text.isascii()
    assert not re.search(r"[<>{}]|&\w+;", message.text.replace("->", ""))
    assert all(len(line) <= 72 for line in message.text.splitlines() if line != LINK)
    assert "\n\n\n" not in message.text
    assert 10 < len(message.subject) <= 100
    assert "\n" not in message.subject


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=//evil.example onerror=alert(1)>',
    "</style></title><a href=//evil.example>",
    "{{ 7 * 7 }}{% raw %}",
    "Acme\r\nBcc: everyone@example.com\r\n\r\nbuy",
    "Acme\u2028\u2029\x85\x0b\x00\x1b[31m",
    "\u202eemca\u202c \u2066x\u2069\u200f",
    "\ud800 lone",
    "A" * 5000,
]


MARKS = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\ud800\x00\x1b\x85\u2028\u2029\r]")


def hostile(letter: Letter, name: str) -> Letter:
    texts = {
        f.name: name
        for f in fields(letter)
        if f.name not in ("link", "limit") and isinstance(getattr(letter, f.name), str)
    }
    return replace(letter, **texts)


@every_letter
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_stay_names(letter: Letter, name: str) -> None:
    message = composed(hostile(letter, name))
    usual, page = Page(composed(letter).html), Page(message.html)
    assert page.tags == usual.tags
    assert page.links == usual.links
    assert page.fetched == set()
    assert "49" not in page.text
    for words in (message.subject, message.text, message.html):
        assert not MARKS.search(words)
    assert "\n" not in message.subject
    assert len(message.subject) <= 200
    assert "\n\nbuy" not in message.text
    assert len(message.text) < 3000


def test_an_organizations_name_is_no_link() -> None:
    letter = Invitation(
        organization="Win at prize.example.com or https://evil.example/x",
        invited_by="ann@example.org",
        role="viewer",
        link=LINK,
        valid_for=timedelta(days=7),
    )
    message = composed(letter)
    for words in (message.subject, message.text, message.html):
        assert not re.search(r"prize\.example|https://evil|evil\.example", words)
        assert "prize.\u2060example.\u2060com" in words


def test_joined_letters_and_emoji_survive() -> None:
    names = "می\u200cخواهم 👩\u200d🚀 ＡＧ Ünï"
    message = composed(VerifyEmail(organization=names, link=LINK, valid_for=timedelta(hours=24)))
    assert names in " ".join(message.text.split())
    assert names in Page(message.html).text


@every_letter
def test_rows_keep_letters(letter: Letter) -> None:
    """Through JSON, as a database does; links apart, to be sealed, and in no log."""
    context, secret = stored(letter)
    assert LINK not in json.dumps(context)
    assert LINK not in repr(letter)
    assert secret == getattr(letter, "link", None)
    assert letter_of(letter.kind, json.loads(json.dumps(context)), secret) == letter


def test_rows_that_are_no_letters_say_so() -> None:
    with pytest.raises(KeyError):
        letter_of("love_letter", {}, None)
    with pytest.raises(ValueError, match="valid_for"):
        letter_of("reset_password", {}, LINK)


def test_messages_hide_their_links() -> None:
    assert "token" not in repr(composed(LETTERS[0]))


def test_a_template_with_a_hole_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmailChanged, "kind", "invitation")
    with pytest.raises(UndefinedError):
        composed(LETTERS[3])


@pytest.mark.parametrize(
    ("blocks", "resets_at", "words"),
    [
        (True, WHEN, "until 25 November 2026, when counting starts anew. A larger plan helps at once."),
        (True, None, "new work is refused. A larger plan, or deleting what is no longer needed, helps"),
        (False, WHEN, "the cap your organization has set. Counting starts anew on 25 November 2026."),
        (False, None, "the cap your organization has set."),
    ],
)  # fmt: skip
def test_usage_warnings_say_what_happens_next(blocks: bool, resets_at: datetime | None, words: str) -> None:
    message = composed(
        UsageWarning(
            organization=NAME,
            limit="api_calls",
            used=99_999,
            allowed=100_000,
            resets_at=resets_at,
            blocks=blocks,
            link=LINK,
        )
    )
    assert message.subject == "Nordlicht Sports has used 99 % of a limit: API calls per month"
    for said in (" ".join(message.text.split()), Page(message.html).text):
        assert "99,999 of 100,000" in said
        assert words in said


def test_a_webhook_that_is_gone_failed_once() -> None:
    letter = replace(LETTERS[-1], failures=1, last_error="410 Gone")  # type: ignore[call-arg]
    assert "answered that it is gone for good" in " ".join(composed(letter).text.split())


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=30), "30 minutes"),
        (timedelta(minutes=60), "60 minutes"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=24), "24 hours"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(days=7), "7 days"),
        (timedelta(0), "1 minute"),
    ],
)
def test_durations_in_words(span: timedelta, words: str) -> None:
    assert mails.duration(span) == words


def test_times_are_utc_and_numbers_short() -> None:
    assert mails.moment(datetime(2027, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == (
        "31 December 2026, 23:30 UTC"
    )
    assert [mails.number(n) for n in (1000, 823.5, 8.25, 0, 100, 1 / 3)] == [
        "1,000", "823.5", "8.25", "0", "100", "0.33",
    ]  # fmt: skip


def test_mails_fit_wide_and_narrow_windows() -> None:
    """In Chromium: nothing sticks out, with the longest names either, and nobody is asked."""
    program = need("chromium")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for letter in LETTERS:
            for name in (NAME, "W" * 500):
                for width in (600, 375):
                    page.set_viewport_size({"width": width, "height": 400})
                    page.set_content(composed(hostile(letter, name)).html)
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, letter.kind
                    panel = page.locator(".panel").bounding_box()
                    assert panel
                    assert panel["width"] > 0.85 * width
        browser.close()
    assert asked == []
