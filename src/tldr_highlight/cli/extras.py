"""Commands whose libraries are an extra say so when those are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from tldr_highlight.errors import MissingExtraError


@contextlib.contextmanager
def needs(extra: str) -> Generator[None]:
    """Name the extra when a library is missing that the block imports.

    Raises:
        MissingExtraError: one is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tldr_highlight"):
            raise
        raise MissingExtraError(
            f"{error.name} is missing: this command needs the extra `{extra}`. "
            f"Install it with: pip install 'tldr-highlight[{extra}]'"
        ) from error
