"""Addresses a customer may name: read strictly, judged by an explicit table. Nothing here opens a socket.

    address = parse("https://example.com/match.mp4")    AddressError, unless http or https and well-formed
    permitted(ip, allowed)                              whether a connection to `ip` may be made
    without_keys(url), words_without_keys(text)         what may be shown of an address, and of a text

Whatever the reason for a refusal, the error and its message are the same: a customer learns nothing about
the network this machine stands in.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from tldr_highlight.errors import AddressError

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST = 8192
"""Characters of an address; signed ones of content networks have 2,000."""

PORTS = {"http": 80, "https": 443}

REFUSED = (
    "this address is not allowed: sources are http or https addresses on the public internet, "
    "or in networks named in TLDR_ALLOW_NETWORKS"
)

NOT_PUBLIC: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' NAT; a cloud's metadata is at 100.100.100.200
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "168.63.129.16/32",  # a cloud's host services, though the address looks public
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata is at 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT relays
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        # of IPv6 only 2000::/3 is public at all; in it these are not
        "2001::/23",  # protocol assignments, Teredo (carries IPv4), ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries IPv4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
"""What `ipaddress.is_global` misses (multicast, 6to4, 3fff::, host services) is here beside what it knows."""

PUBLIC_6 = ipaddress.IPv6Network("2000::/3")

CARRYING_4 = tuple(ipaddress.IPv6Network(n) for n in ("::ffff:0:0/96", "64:ff9b::/96"))
"""IPv6 spellings of IPv4 that connect to it: mapped, and NAT64, which networks without IPv4 live on."""

NEVER: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",
        "168.63.129.16/32",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "fd00:ec2::/32",
        "fd20:ce::/32",
        "fd00:42::42/128",
        "fe80::/10",
    )
)
"""Clouds' metadata and host services: they hand out the machine's keys, so no setting opens them."""


@dataclass(frozen=True, slots=True)
class Address:
    """An http or https address, taken apart once; everything after uses these parts."""

    scheme: str
    host: str  # ASCII, lower case, no brackets, no dot at the end
    port: int
    target: str  # path and query as sent, all ASCII
    authorization: str | None = None  # value of the header that credentials in the address become
    ip: IP | None = None  # where the host is a literal

    @property
    def origin(self) -> tuple[str, str, int]:
        """Secrets meant for one origin are not told another."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address without credentials."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def __str__(self) -> str:
        """For messages: without what may be a key."""
        return without_keys(self.url)[: len(f"{self.scheme}://{self.authority}") + 120]


def without_keys(url: str) -> str:
    """`url` without credentials, parameters (`/v;token=…`), query and fragment."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path.partition(';')[0]}"


def words_without_keys(text: str) -> str:
    """A text, as others write it, in which every address has lost what may be a key."""
    return re.sub(r"[a-z][a-z0-9+.-]*://\S+", lambda found: without_keys(found[0]), text, flags=re.IGNORECASE)


def refused() -> AddressError:
    """The one error for every address that is not allowed."""
    return AddressError(REFUSED)


def parse(url: str, *, base: Address | None = None) -> Address:
    """Take `url` apart, which may be relative to `base`.

    Raises:
        AddressError: another scheme, not well-formed, or an unusual spelling of an IP address.
    """
    if len(url) > LONGEST or re.search(r"[\x00-\x1f\x7f]", url):
        raise refused()
    try:
        parts = urlsplit(urljoin(base.url, url) if base else url)
        port = parts.port
        name = parts.hostname or ""
    except ValueError:
        raise refused() from None
    if parts.scheme not in PORTS or port == 0 or re.search(r"[\\\s]", parts.netloc):
        raise refused()
    host, ip = _host(name, bracketed="[" in parts.netloc)
    target = _ascii(parts.path or "/") + (f"?{_ascii(parts.query)}" if parts.query else "")
    return Address(parts.scheme, host, port or PORTS[parts.scheme], target, _authorization(parts.netloc), ip)


def _ascii(text: str) -> str:
    """Percent-encode what may not be sent as it is; what is encoded already stays."""
    try:
        return quote(text, safe="/:;=&?@!$'()*+,~%[]|{}^`")
    except UnicodeEncodeError:
        raise refused() from None


def _authorization(netloc: str) -> str | None:
    credentials, at, _ = netloc.rpartition("@")
    if not at:
        return None
    try:
        return "Basic " + base64.b64encode(unquote_to_bytes(credentials)).decode("ascii")
    except UnicodeEncodeError:
        raise refused() from None


LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def _host(name: str, *, bracketed: bool) -> tuple[str, IP | None]:
    """The host in its one spelling, and the address where it is a literal."""
    if bracketed:
        ip = _literal(name, ipaddress.IPv6Address)
        return str(ip), ip
    if len(name) > 253:
        raise refused()
    try:
        host = name.encode("idna").decode("ascii").lower()  # full-width digits and dots become plain here
    except UnicodeError:
        raise refused() from None
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise refused()
    if re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1]):
        # a number at the end is an IPv4 address to resolvers; only the plain spelling is taken: 2130706433,
        # 0x7f.1, 0177.0.0.1 and 127.1 are all 127.0.0.1 to them
        ip = _literal(host, ipaddress.IPv4Address)
        return str(ip), ip
    return host, None


def _literal(text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> IP:
    if "%" in text:  # a zone: names an interface of this machine
        raise refused()
    try:
        return kind(text)
    except ValueError:
        raise refused() from None


def permitted(ip: IP, allowed: Sequence[Network]) -> bool:
    """Whether `ip` may be connected to: it is public, or in one of the operator's `allowed` networks."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return False
        if any(ip in network for network in CARRYING_4):
            return permitted(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF), allowed)
    if any(ip in network for network in NEVER):
        return False
    if any(ip in network for network in allowed):
        return True
    return not any(ip in network for network in NOT_PUBLIC) and (ip.version == 4 or ip in PUBLIC_6)
