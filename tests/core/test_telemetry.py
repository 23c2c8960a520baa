"""Traces go on, lines are JSON, secrets stay out of them."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.core.security import new_api_key, new_webhook_secret
from tldr_highlight.core.telemetry import (
    HIDDEN,
    child_of,
    current_trace,
    hidden,
    logger,
    message_of,
    new_trace,
    set_up_logs,
    trace_id,
    tracing,
    write_line,
)
from tldr_highlight.errors import OutputError, StorageError, TldrError

W3C = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # the recommendation's own example
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


def lines_of(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


# --- traces --------------------------------------------------------------------------------------------


def test_a_trace_goes_on_in_a_new_span() -> None:
    child = child_of(W3C)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", child)
    assert trace_id(child) == trace_id(W3C) == "0af7651916cd43dd8448eb211c80319c"
    assert child != W3C


def test_of_a_later_version_what_is_known_is_read() -> None:
    assert trace_id(child_of(f"cc{W3C[2:]}-what-the-future-brings")) == trace_id(W3C)


@pytest.mark.parametrize(
    "given", [None, "", "nonsense", W3C[:-1], W3C.upper(), f"{W3C}\n", f"00-{'0' * 32}-b7ad6b7169203331-01"]
)
def test_what_is_no_traceparent_begins_a_new_trace(given: str | None) -> None:
    first, second = child_of(given), child_of(given)
    assert trace_id(first) != trace_id(second)
    assert trace_id(first) != "0" * 32


@given(st.text(max_size=80))
def test_any_header_gives_a_traceparent(header: str) -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", child_of(header))


def test_the_current_trace_is_that_of_the_innermost_block() -> None:
    assert current_trace() is None
    inner = new_trace()
    with tracing(W3C):
        with tracing(inner):
            assert current_trace() == inner
        assert current_trace() == W3C
    assert current_trace() is None


# --- logs ----------------------------------------------------------------------------------------------


def test_a_line_is_json_with_its_trace(logged: io.StringIO) -> None:
    with tracing(W3C, job="job_1"):
        logger("tldr").info("did it", seconds=1.5)
        logging.getLogger("other").warning("old %s", "style")
    logger("tldr").info("after")
    ours, theirs, after = lines_of(logged)
    assert (ours["event"], ours["seconds"], ours["level"], ours["logger"]) == ("did it", 1.5, "info", "tldr")
    assert ours["trace_id"] == theirs["trace_id"] == trace_id(W3C)
    assert ours["job"] == theirs["job"] == "job_1"
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("old style", "warning", "other")
    assert "trace_id" not in after
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", ours["timestamp"])


def test_a_requests_line_is_what_the_logger_writes(logged: io.StringIO) -> None:
    with tracing(W3C):
        logger("requests").info("answered", status=200, caller=None)
        write_line("requests", "answered", status=200, caller=None)
    slow, quick = lines_of(logged)
    assert quick.keys() == slow.keys()
    assert {k: v for k, v in quick.items() if k != "timestamp"} == {
        k: v for k, v in slow.items() if k != "timestamp"
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z", quick["timestamp"])


def test_a_requests_line_is_for_people_where_the_others_are(
    logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", logged)
    set_up_logs(terminal=True)
    write_line("requests", "answered", status=200)
    assert "answered" in logged.getvalue()
    assert "{" not in logged.getvalue()


def test_levels_below_the_set_one_are_dropped(logged: io.StringIO) -> None:
    logger("tldr").debug("detail")
    logging.getLogger("other").debug("detail")
    assert logged.getvalue() == ""


def test_people_at_a_terminal_get_no_json(logged: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", logged)  # pytest has put its own there since
    set_up_logs(terminal=True)
    logger("tldr").info("did it", token="t0ps3cret")
    assert "did it" in logged.getvalue()
    assert not logged.getvalue().startswith("{")
    assert "t0ps3cret" not in logged.getvalue()


CANARIES = {
    "an API key": new_api_key(),
    "a test key": new_api_key(test=True),
    "a webhook's secret": new_webhook_secret(),
    "a JWT": JWT,
}


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES.keys())
def test_what_looks_like_a_secret_never_shows(canary: str, logged: io.StringIO) -> None:
    log = logger("tldr")
    log.info(f"got {canary}")
    log.info("got it", value=canary, nested={"list": [canary, {"deep": f"x={canary};"}]}, raw=canary.encode())
    logging.getLogger("other").warning("got %s", canary)
    logging.getLogger("other").warning("got %(it)s", {"it": canary})
    try:
        raise ValueError(canary)
    except ValueError:
        log.exception("failed")
        logging.getLogger("other").exception("failed")
    assert len(lines_of(logged)) == 6
    assert canary not in logged.getvalue()
    assert logged.getvalue().count(HIDDEN) >= 8


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "Authorization", "access_token", "client-secret", "X-API-Key", "apiKey",
     "api_key", "Set-Cookie", "sealed", "webhook-signature"],
)  # fmt: skip
def test_what_is_called_a_secret_never_shows(name: str, logged: io.StringIO) -> None:
    logger("tldr").info("got it", **{name: "plainword", "headers": {name: ["plainword"]}})
    (line,) = lines_of(logged)
    assert (line[name], line["headers"]) == (HIDDEN, {name: HIDDEN})


def test_credentials_in_addresses_never_show() -> None:
    assert hidden("postgresql://ann:pa55@db/x") == f"postgresql://{HIDDEN}@db/x"
    assert hidden("Authorization: Bearer abc.DEF-123") == f"Authorization: Bearer {HIDDEN}"


def test_what_is_no_secret_stays() -> None:
    for value in ("job_01h", 3, 2.5, None, True, "https://example.com/a?b=c", "tokens of appreciation"):
        assert hidden(value) == value


@pytest.mark.parametrize("error", [StorageError, OutputError], ids=lambda error: error.__name__)
def test_customers_are_not_told_where_files_are(error: type[TldrError]) -> None:
    kinds = [error]
    for each in kinds:
        kinds += each.__subclasses__()
        told = message_of(each("/srv/files/org_1/upl_2/file: no space left"))
        assert len(told) > 10
        assert "org_1" not in told
    assert len(kinds) > 2
    assert message_of(TldrError("a range ends before it begins")) == "a range ends before it begins"
