"""What every resolver does: an address in, what can be opened out."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from tldr_highlight.errors import ResolverError, SourceChangedError, SourceDeniedError
from tldr_highlight.media.types import MediaInfo, Origin
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.sources import Source

FOREVER = frozenset({"direct", "path", "upload"})
"""Whose addresses are the customer's own, and stay as they are."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What can be opened, and who said so."""

    origin: Origin
    sound: Origin | None = None  # where it has an address of its own
    title: str | None = None
    resolver: str = "direct"
    version: str | None = None  # of what is behind the address, where that is known: a hash, an ETag

    def still(self, known: str | None, info: MediaInfo) -> str | None:
        """The version of the source that was opened, by which it is `known` later on; None: nothing tells.

        A pair has the versions of both. What resolvers find behind a page may be another file each time.

        Raises:
            SourceChangedError: it is known by another one.
        """
        version = info.version if self.sound and self.resolver in FOREVER else self.version
        if known and version and known != version:
            raise SourceChangedError(
                "the source is another file than when its first part was analysed: submit it anew"
            )
        return version or known


@contextlib.contextmanager
def renewed(resolved: Resolved) -> Generator[None]:
    """Around the use of addresses that a resolver gave: those that servers deny now may have expired.

    Raises:
        ResolverError: that is so; transient, and the next try resolves anew.
    """
    try:
        yield
    except SourceDeniedError as error:
        if resolved.resolver in FOREVER:
            raise
        raise ResolverError(f"the address that {resolved.resolver} gave has expired: {error}") from error


class Resolver(Protocol):
    """Turns pages into media."""

    def takes(self, runtime: Runtime, source: Source) -> bool:
        """Whether it is set up, and for pages of this site."""
        ...

    def resolve(self, runtime: Runtime, source: Source) -> Resolved:
        """What is behind the page of `source.url` at this moment; addresses in it may expire.

        Raises:
            ResolverError: it gave no answer, or none that can be used.
            BreakerError: it failed too often just now.
        """
        ...


def titled(text: object) -> str | None:
    """A title as somebody else gave it: one line of at most 200 characters, or none."""
    if not isinstance(text, str):
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return line[:200] or None
