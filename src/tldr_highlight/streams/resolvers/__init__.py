"""From what a customer named to what can be opened. Asked by workers alone, when the work begins.

resolved = resolve(runtime, source, organization_id="org_1", scratch=folder)
Visit(resolved.origin, sound=resolved.sound, policy=runtime.policy)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tldr_highlight.core.telemetry import logger
from tldr_highlight.errors import (
    BreakerError,
    Fate,
    NoResolverError,
    SourceError,
    TldrError,
)
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.resolvers import direct, path, upload, vidfly, ytdlp
from tldr_highlight.streams.resolvers.base import Resolved, Resolver, renewed
from tldr_highlight.streams.sources import Source

__all__ = ["Resolved", "renewed", "resolve"]

log = logger(__name__)

RESOLVERS: Mapping[str, Resolver] = MappingProxyType({"vidfly": vidfly, "ytdlp": ytdlp})
"""Those that turn pages into media, by their names in `RESOLVERS` of the settings."""


def resolve(runtime: Runtime, source: Source, *, organization_id: str, scratch: Path) -> Resolved:
    """What `source` is at this moment. Addresses that resolvers give may expire: ask again on 403.

    Not inside a transaction.

    Args:
        runtime: Its store has the uploads; its policy says which addresses are allowed.
        source: What a customer named.
        organization_id: Whose it is: another's upload is not found.
        scratch: A folder for a copy of an upload that is elsewhere.

    Raises:
        NotFoundError: there is no such upload or file.
        NoResolverError: it is a page, and nobody is set up to turn it into media.
        TldrError: it cannot be had, with the reason.
    """
    if source.upload_id is not None:
        return upload.resolve(runtime, source.upload_id, organization_id, scratch)
    if source.path is not None:
        return path.resolve(runtime, source.path)
    return direct.resolve(runtime, source) or _of_page(runtime, source)


def _of_page(runtime: Runtime, source: Source) -> Resolved:
    """What the first resolver says that has an answer."""
    wanted = [name.strip() for name in runtime.settings.resolvers.split(",") if name.strip()]
    failures: list[TldrError] = []
    for name in wanted:
        if not RESOLVERS[name].takes(runtime, source):
            continue
        try:
            return RESOLVERS[name].resolve(runtime, source)
        except (SourceError, BreakerError) as error:
            log.info("a resolver has nothing", resolver=name, reason=error.code, platform=source.platform)
            failures.append(error)
    raise _told(failures)


def _told(failures: Sequence[TldrError]) -> TldrError:
    """The failure that says what to do: trying again where that may help, else what the first one said."""
    for fate in (Fate.TRANSIENT, Fate.RESOURCE):
        for failure in failures:
            if failure.fate is fate:
                return failure
    nobody = NoResolverError(
        "this address is a web page, and no resolver for it is set up: name the media itself"
    )
    return failures[0] if failures else nobody
