from __future__ import annotations

import pytest

from tldr_highlight.core.mailboxes import address_key, normal_address, wire_address
from tldr_highlight.errors import EmailError, Fate


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("ann@example.com", "ann@example.com"),
        ("  Ann.Lee+clips@EXAMPLE.Com\n", "Ann.Lee+clips@example.com"),
        ("me@example.test", "me@example.test"),
        ("me@acme.example", "me@acme.example"),
        ("me@corp.internal", "me@corp.internal"),
        ("o'neil@sub.example.org", "o'neil@sub.example.org"),
        ("jörg@MÜNCHEN.de", "jörg@münchen.de"),
        ("ann@xn--mnchen-3ya.de", "ann@münchen.de"),
        ("jo\u0308rg@example.com", "jörg@example.com"),  # a letter and its dots apart
        ("ann@example。com", "ann@example.com"),  # a dot of another script
    ],
)
def test_addresses_are_kept_in_one_spelling(typed: str, normal: str) -> None:
    assert normal_address(typed) == normal
    assert normal_address(normal) == normal


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@test",
        "ann@localhost",
        "ann@printer.local",
        "ann@nowhere.invalid",
        "ann@[127.0.0.1]",
        "ann@127.0.0.1",
        '"ann lee"@example.com',
        "Ann <ann@example.com>",
        "ann@example.com, bob@example.com",
        "ann@exa mple.com",
        "ann@example..com",
        ".ann@example.com",
        "ann@example.com\nBcc: bob@example.com",
        "ann\r\n@example.com",
        "ann@example.com\0",
        "ann\u202e@example.com",
        "ann\ud800@example.com",
        "a" * 65 + "@example.com",
        "ann@" + "b" * 64 + ".com",
        "@" * 100_000,
        "ann@" + "xn--" * 50_000 + ".com",
    ],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(EmailError) as caught:
        normal_address(typed)
    assert (caught.value.status, caught.value.code, caught.value.fate) == (
        422,
        "email_invalid",
        Fate.PERMANENT,
    )
    assert len(str(caught.value)) < 300


def test_254_bytes_are_the_most() -> None:
    domain = ".".join(["b" * 60] * 3) + ".example"  # 190
    local = "a" * (254 - 1 - len(domain))
    assert len(normal_address(f"{local}@{domain}")) == 254
    with pytest.raises(EmailError):
        normal_address(f"{local}a@{domain}")
    with pytest.raises(EmailError):  # as long in characters, longer in bytes
        normal_address(f"{local[:-1]}ä@{domain}")


def test_one_person_has_one_key() -> None:
    spellings = ["Ann.Lee@Example.com", "ann.lee@example.com", " ANN.LEE@EXAMPLE.COM "]
    assert {address_key(s) for s in spellings} == {"ann.lee@example.com"}
    assert address_key("JÖRG@xn--mnchen-3ya.de") == address_key("jo\u0308rg@münchen.de")
    assert address_key("ann+a@example.com") != address_key("ann@example.com")


def test_domains_are_ascii_on_the_wire() -> None:
    assert wire_address("ann@münchen.de") == "ann@xn--mnchen-3ya.de"
    assert wire_address("jörg@münchen.de") == "jörg@xn--mnchen-3ya.de"
