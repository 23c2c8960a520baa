"""Which address a request comes from, where reverse proxies stand before us.

Every proxy appends the address that it was called from to `X-Forwarded-For`. So the list is read from the
right, as long as those who wrote it are trusted: what is further left is anybody's word.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tldr_highlight.errors import UsageError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

HOPS = 20
"""Proxies in a row that are believed; nobody has as many."""


class Clients:
    """Tells who called from what the connection and its headers say."""

    def __init__(self, trusted_proxies: str | None = None) -> None:
        """`trusted_proxies` are networks, comma-separated.

        Raises:
            UsageError: one of them is no network.
        """
        try:
            self._proxies = networks((trusted_proxies or "").split(","))
        except ValueError as error:
            raise UsageError(f"TLDR_TRUSTED_PROXIES: {error}") from error

    @property
    def trusting(self) -> bool:
        """Whether there are proxies to be believed."""
        return bool(self._proxies)

    def address(self, peer: str | None, forwarded_for: str | None) -> str | None:
        """The client's address as text; None where the connection has none (a Unix socket).

        Args:
            peer: Who opened the connection.
            forwarded_for: `X-Forwarded-For`, several joined in their order.
        """
        if not (forwarded_for and self._proxies):
            return _normal(peer)
        client = parsed(peer)
        return None if client is None else str(self._behind(client, forwarded_for))

    def _behind(self, client: Address, forwarded_for: str) -> Address:
        for hop in reversed(forwarded_for.split(",")[-HOPS:]):
            if not within(client, self._proxies):
                break
            named = parsed(_without_port(hop.strip()))
            if named is None:  # "unknown", or rubbish: the last one we know is who we deal with
                break
            client = named
        return client


def networks(texts: list[str]) -> tuple[Network, ...]:
    """Networks as they are written: `10.1.0.0/16`, `::1`. Empty texts are none.

    Raises:
        ValueError: says which is no network.
    """
    return tuple(network(text.strip()) for text in texts if text.strip())


def network(text: str) -> Network:
    """The network that `text` is, of IPv4 where it is one in IPv6's clothes, as addresses are (`parsed`).

    Raises:
        ValueError: it is none.
    """
    found = ip_network(text, strict=False)
    inner = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    return found if inner is None else IPv4Network((inner, found.prefixlen - 96))


def within(address: Address, nets: tuple[Network, ...]) -> bool:
    """Whether the address is in one of the networks."""
    return any(address in net for net in nets)


@lru_cache(4096)
def parsed(text: str | None) -> Address | None:
    """The address that `text` is, IPv4 where it is one in IPv6's clothes; None where it is none."""
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


@lru_cache(4096)
def _normal(text: str | None) -> str | None:
    client = parsed(text)
    return None if client is None else str(client)


def neighbourhood(address: str | None) -> str:
    """What one customer has of addresses: one of IPv4, 2⁶⁴ of IPv6. Limits count these."""
    found = parsed(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False))
    return str(found)


def _without_port(text: str) -> str:
    """Some proxies write `192.0.2.1:4711` or `[2001:db8::1]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
