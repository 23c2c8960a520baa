"""Files in folders of this machine, which its operator has opened (`ALLOW_LOCAL_PATHS`) to who may submit."""

from __future__ import annotations

from tldr_highlight.errors import NotFoundError
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.resolvers.base import Resolved
from tldr_highlight.streams.sources import allowed_path


def resolve(runtime: Runtime, path: str) -> Resolved:
    """The file at `path`, judged again: folders may have been closed since it was submitted.

    Raises:
        PathError: it is in none of the folders, links followed.
        NotFoundError: there is no such file in them, or it may not be read.
    """
    file = allowed_path(runtime.settings, path)
    try:
        if not file.is_file():  # a device, a pipe: whoever opens it may wait for ever
            raise NotFoundError("there is no such file in the folders that the operator has opened")
        about = file.stat()
    except OSError as error:
        raise NotFoundError("this file cannot be read") from error
    return Resolved(file, resolver="path", version=f"{about.st_mtime_ns}:{about.st_size}")
