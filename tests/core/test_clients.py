"""Which address a request comes from."""

from __future__ import annotations

import pytest

from tldr_highlight.core.clients import Clients, neighbourhood, network
from tldr_highlight.errors import UsageError

PROXIES = "10.0.0.0/8, 2001:db8:1::/48,127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", None, "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # no proxy: its word is nothing
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # what is left of a client is made up
        ("10.0.0.1", "198.51.100.1, 10.2.3.4", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9, 10.2.3.4", "10.9.9.9"),  # a client within
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, 10.2.3.4, ,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::9]:4711", "2001:db8::9"),
        ("10.0.0.1", "2001:db8::9", "2001:db8::9"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1::1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1,\t127.0.0.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, " + "10.0.0.2, " * 5000 + "10.0.0.3", "10.0.0.2"),
        ("fe80::1%eth0", None, "fe80::1"),
        ("testclient", "198.51.100.1", None),
        (None, "198.51.100.1", None),  # a Unix socket
    ],
)
def test_only_proxies_are_believed(peer: str | None, forwarded: str | None, client: str | None) -> None:
    assert Clients(PROXIES).address(peer, forwarded) == client


def test_nobody_is_believed_unless_told() -> None:
    assert Clients().address("127.0.0.1", "198.51.100.1") == "127.0.0.1"


def test_a_setting_that_is_no_network_is_refused() -> None:
    with pytest.raises(UsageError, match=r"TLDR_TRUSTED_PROXIES.*10\.0\.0\.0/33"):
        Clients("127.0.0.1, 10.0.0.0/33")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:db8::1/32", "2001:db8::/32"),
    ],
)
def test_a_network_of_ipv4_is_one_in_whatever_clothes(text: str, meant: str) -> None:
    assert str(network(text)) == meant


def test_one_customer_has_many_addresses_of_ipv6() -> None:
    assert (
        neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") != neighbourhood("2001:db8:0:1::1")
    )
    assert neighbourhood("198.51.100.1") != neighbourhood("198.51.100.2")
    assert neighbourhood(None) == "None"
