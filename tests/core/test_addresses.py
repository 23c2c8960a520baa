"""Addresses are read strictly, and what is not public is refused however it is spelled."""

from __future__ import annotations

import base64
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.core.addresses import REFUSED, parse, permitted
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.errors import AddressError

EVERYTHING = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))

PRIVATE = [
    "http://127.0.0.1/",
    "http://127.0.0.1./",  # a dot at the end
    "http://127.1/",  # the short forms of inet_aton
    "http://127.0.1/",
    "http://0/",
    "http://2130706433/",  # decimal
    "http://0x7f000001/",  # hex
    "http://0x7f.0.0.1/",
    "http://0X7F.0x0.0x0.0x1/",
    "http://0177.0.0.1/",  # octal
    "http://017700000001/",
    "http://127.0.0.0x1/",
    "http://127.0.0.01/",
    "http://１２７.０.０.１/",  # full width
    "http://127。0。0。1/",  # other dots
    "http://127．0．0．1/",
    "http://①②⑦.0.0.1/",
    "http://%31%32%37.0.0.1/",  # percent-encoded
    "http://0.0.0.0/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",  # mapped
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:10.0.0.1]/",
    "http://[::127.0.0.1]/",  # compatible
    "http://[::ffff:0:127.0.0.1]/",  # SIIT
    "http://[64:ff9b::127.0.0.1]/",  # NAT64
    "http://[64:ff9b::a00:1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",  # 6to4
    "http://[2001:0:7f00:1::]/",  # Teredo
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",  # a zone
    "http://[fe80::1%eth0]/",
    "http://[2606:4700::1%1]/",
    "http://[fec0::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    "http://[100::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[5f00::1]/",
]

MALFORMED = [
    "",
    "match.mp4",
    "//example.com/match.mp4",
    "file:///etc/passwd",
    "ftp://example.com/a",
    "gopher://example.com/",
    "rtmp://example.com/live",
    "concat:http://example.com/a",
    "data:video/mp4;base64,AAAA",
    "http:///a",
    "http://",
    "http://:80/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:http/",
    "http://exam ple.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com\t/",
    "http://example.com/a\r\nX-Injected: 1",
    "http://example.com/\x00",
    "http://-example.com/",
    "http://example..com/",
    "http://.example.com/",
    "http://[::1",
    "http://[example.com]/",
    "http://[127.0.0.1]/",
    "http://[v1.a]/",
    "http://ex%61mple.com/",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://example.0x/",
    f"http://{'a' * 64}.com/",
    f"http://{'a.' * 127}com/",
    f"http://example.com/{'a' * 9000}",
    "http://example.com/\ud800",
    "http://\ud800@example.com/",
]


@pytest.mark.parametrize("url", [*PRIVATE, *MALFORMED])
def test_what_is_not_public_is_refused_with_one_message(url: str) -> None:
    with pytest.raises(AddressError) as caught:
        Egress().check(url)
    assert str(caught.value) == REFUSED


@pytest.mark.parametrize(
    ("url", "host", "sent"),
    [
        ("https://example.com/a/b.mp4?x=1&y=%20#t=10", "example.com", "/a/b.mp4?x=1&y=%20"),
        ("HTTP://EXAMPLE.com", "example.com", "/"),
        ("http://example.com.:8080/", "example.com", "/"),
        ("https://bücher.example/ä ö", "xn--bcher-kva.example", "/%C3%A4%20%C3%B6"),
        ("http://8.8.8.8/?q", "8.8.8.8", "/?q"),
        ("http://[2606:4700:0::1111]:81/", "2606:4700::1111", "/"),
        ("http://[64:ff9b::808:808]/", "64:ff9b::808:808", "/"),
        ("http://[::ffff:8.8.8.8]/", "::ffff:808:808", "/"),
        ("http://my_bucket.example.com/", "my_bucket.example.com", "/"),
        ("https://example.com?sig=a/b+c==", "example.com", "/?sig=a/b+c=="),
        ("https://3com.example/100%25", "3com.example", "/100%25"),
    ],
)
def test_public_addresses_are_taken_apart(url: str, host: str, sent: str) -> None:
    Egress().check(url)
    address = parse(url)
    assert (ipaddress.ip_address(host) if ":" in host else host) == (
        address.ip if ":" in host else address.host
    )
    assert address.target == sent


def test_hosts_and_ports_are_told_as_the_protocol_wants() -> None:
    assert parse("http://example.com:80/").authority == "example.com"
    assert parse("https://example.com:80/").authority == "example.com:80"
    assert parse("http://[2606:4700::1]:8080/").authority == "[2606:4700::1]:8080"
    assert parse("http://[2606:4700::1]:8080/").url == "http://[2606:4700::1]:8080/"


def test_credentials_become_a_header_and_nothing_else() -> None:
    address = parse("https://user%40home:p%3Ass@example.com/a?secret=1")
    assert address.authorization == "Basic " + base64.b64encode(b"user@home:p:ss").decode()
    assert address.url == "https://example.com/a?secret=1"
    assert str(address) == "https://example.com/a"
    assert str(parse("https://example.com/a;token=b/c")) == "https://example.com/a"


def test_relative_addresses_follow_their_base() -> None:
    base = parse("https://user:pw@example.com/a/b.m3u8?x=1")
    assert parse("c.ts", base=base).url == "https://example.com/a/c.ts"
    assert parse("/c.ts", base=base).authorization is None
    assert parse("//other.example/c.ts", base=base).url == "https://other.example/c.ts"
    with pytest.raises(AddressError):
        parse("file:///etc/passwd", base=base)


@pytest.mark.parametrize(
    "ip",
    ["169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254",
     "fd20:ce::254", "fd00:42::42", "fe80::a9fe:a9fe", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
)  # fmt: skip
def test_no_setting_opens_metadata_addresses(ip: str) -> None:
    assert not permitted(ipaddress.ip_address(ip), EVERYTHING)


def test_an_operator_opens_named_networks_and_no_more() -> None:
    opened = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd12::/16"))
    for ip, expected in {"10.1.2.3": True, "10.2.0.1": False, "127.0.0.1": False, "fd12::1": True,
                         "fd13::1": False, "::ffff:10.1.2.3": True, "8.8.8.8": True}.items():  # fmt: skip
        assert permitted(ipaddress.ip_address(ip), opened) is expected, ip
    assert not permitted(ipaddress.ip_address("2606:4700::1%eth0"), EVERYTHING)
    Egress(Policy(allow_networks=opened)).check("http://10.1.2.3/")


def public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """What the standard library says."""
    inner = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (inner or ip).is_global and not (inner or ip).is_multicast


EDGES = [int(n[0]) for n in map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
         "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15", "224.0.0.0/4"))]  # fmt: skip


@given(
    st.one_of(st.integers(0, 2**32 - 1), st.builds(int.__add__, st.sampled_from(EDGES), st.integers(0, 999)))
)
def test_no_ipv4_is_permitted_that_the_library_calls_private(number: int) -> None:
    ip = ipaddress.IPv4Address(number)
    assert public(ip) or not permitted(ip, ())


@given(
    st.one_of(
        st.ip_addresses(v=6),
        st.builds(lambda n: ipaddress.IPv6Address((0xFFFF << 32) + n), st.integers(0, 2**32 - 1)),
    )
)
def test_no_ipv6_is_permitted_that_the_library_calls_private(ip: ipaddress.IPv6Address) -> None:
    assert public(ip) or not permitted(ip, ())


@given(
    st.text(max_size=60),
    st.sampled_from(["", "http://", "https://", "http://example.com/", "http://[", "http://a@"]),
)
def test_whatever_is_typed_is_taken_or_refused(text: str, prefix: str) -> None:
    try:
        address = parse(prefix + text)
    except AddressError:
        return
    assert address.url.isascii()
    assert not set(address.url) & set(" \t\r\n\\")
    assert parse(address.url).url == address.url
