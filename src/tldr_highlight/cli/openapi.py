"""`tldr-highlight openapi`: the API's description, for generators of clients."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tldr_highlight.cli.extras import needs


def openapi() -> None:
    """Print the API's OpenAPI document, the same that a server has at /api/v1/openapi.json."""
    with needs("server"), tempfile.TemporaryDirectory() as folder:
        from tldr_highlight.api.app import create_app  # noqa: PLC0415 - loads FastAPI
        from tldr_highlight.api.docs import encoded  # noqa: PLC0415
        from tldr_highlight.runtime import opened  # noqa: PLC0415
        from tldr_highlight.settings import Settings  # noqa: PLC0415

        with opened(Settings(data_dir=Path(folder), database_url=None)) as runtime:
            sys.stdout.write(encoded(create_app(runtime).openapi()))
