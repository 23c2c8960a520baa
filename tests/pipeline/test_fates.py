"""R17: what becomes of a stream's job for every error that what it depends on can give."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tldr_highlight import errors
from tldr_highlight.core.work import verdict
from tldr_highlight.errors import TldrError
from tldr_highlight.pipeline.run import STREAM, TRIES

ENDS, AGAIN, WAITS = "ends", "again", "waits"

FATES = {
    # the source, and those who resolve it
    "source_unavailable": AGAIN, "source_changed": AGAIN, "source_too_slow": AGAIN,
    "source_incomplete": AGAIN,
    "source_url_not_allowed": ENDS, "source_path_not_allowed": ENDS, "source_protocol_unsupported": ENDS,
    "source_not_found": ENDS, "source_denied": ENDS, "source_too_large": ENDS, "source_redirect": ENDS,
    "source_tls_failed": ENDS, "source_answer_unusable": ENDS,
    "resolver_failed": AGAIN, "resolver_refused": ENDS, "resolver_missing": ENDS,
    # media, and the processes that read it
    "media_unreadable": ENDS, "not_media": ENDS, "no_usable_streams": ENDS, "media_over_limit": ENDS,
    "media_timeout": AGAIN, "media_crashed": ENDS, "media_over_memory": ENDS,
    # room, here and in the store; the store itself
    "output_unwritable": WAITS, "disk_full": WAITS, "output_busy": AGAIN, "data_busy": AGAIN,
    "storage_unavailable": WAITS, "storage_full": WAITS, "storage_setup": WAITS, "storage_refused": ENDS,
    "object_not_found": ENDS, "object_key_invalid": ENDS, "object_damaged": ENDS, "object_mismatch": ENDS,
    # the plan, the database, ourselves
    "quota_exceeded": WAITS, "not_found": ENDS, "database_unavailable": WAITS, "internal": AGAIN,
    "poison": ENDS,
}  # fmt: skip

DEPENDED_ON = (errors.SourceError, errors.MediaError, errors.OutputError, errors.StorageError)
"""Roots of what a stream's job meets; each class below them has its line above."""


def below(base: type[TldrError]) -> Iterator[type[TldrError]]:
    yield base
    for child in base.__subclasses__():
        yield from below(child)


CLASSES = {cls.code: cls for cls in below(TldrError) if cls.__module__ == errors.__name__}


def test_every_error_of_what_a_stream_depends_on_is_mapped() -> None:
    met = {cls.code for root in DEPENDED_ON for cls in below(root) if cls.__module__ == errors.__name__}
    assert met - FATES.keys() == set()


@pytest.mark.parametrize("code", FATES)
def test_an_error_has_its_fate(code: str) -> None:
    error = CLASSES[code]("because")
    first = verdict(STREAM, 0, 0, error)
    last = verdict(STREAM, TRIES - 1, 50, error)
    states = {"ends": ("failed", "failed"), "again": ("waiting", "failed"), "waits": ("waiting", "waiting")}
    assert (first.state, last.state) == states[FATES[code]]
    if FATES[code] == WAITS:
        assert (first.attempts, last.attempts) == (0, 0)


def test_what_nobody_foresaw_is_tried_again_and_is_our_mistake() -> None:
    ending = verdict(STREAM, 0, 0, ZeroDivisionError())
    assert (ending.state, ending.error and ending.error.code) == ("waiting", "internal")
