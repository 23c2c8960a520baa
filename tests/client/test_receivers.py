"""The receivers in docs/events.md, run as they stand: they take what is ours once, and nothing else."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tldr_highlight.webhooks.signing import signed

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = json.dumps({"id": "evt_1", "type": "stream.completed", "data": {"title": "ä"}}).encode()

Message = tuple[bytes, dict[str, str]]


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def messages() -> list[tuple[Message, int]]:
    """What arrives, one after the other, and what it should be answered with."""
    now = int(time.time())
    good = {name.lower(): value for name, value in signed([SECRET], "evt_1", now, BODY).items()}
    old = {n.lower(): v for n, v in signed([SECRET], "evt_2", now - 3600, BODY).items()}
    other = {n.lower(): v for n, v in signed(["whsec_AAAA"], "evt_3", now, BODY).items()}
    two = {n.lower(): v for n, v in signed(["whsec_AAAA", SECRET], "evt_1", now, BODY).items()}
    return [
        ((BODY, {}), 400),
        ((BODY, old), 400),
        ((BODY, other), 400),
        ((BODY + b" ", good), 400),
        ((BODY, good | {"webhook-timestamp": str(now + 1)}), 400),
        ((BODY, good | {"webhook-signature": "v1,ä ,"}), 400),
        ((BODY, good), 200),
        ((BODY, good), 200),
        ((BODY, two), 200),
    ]


def run_python(sent: list[Message]) -> tuple[list[int], list[str]]:
    import contextlib
    import io

    space: dict[str, Any] = {}
    said = io.StringIO()
    exec(block("python"), space)
    with contextlib.redirect_stdout(said):
        return [space["receive"](body, headers) for body, headers in sent], said.getvalue().splitlines()


def run_node(sent: list[Message]) -> tuple[list[int], list[str]]:
    """Left out where there is no Node: then nothing has checked that sample."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("LEFT OUT: node is missing, so the receiver for Node was not run")
    given = json.dumps([[base64.b64encode(body).decode(), headers] for body, headers in sent])
    calls = f"for (const [b, h] of {given}) console.log('=' + receive(Buffer.from(b, 'base64'), h));"
    done = subprocess.run(
        [node, "-e", block("js") + calls], env={"WEBHOOK_SECRET": SECRET}, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    return [int(line[1:]) for line in lines if line[0] == "="], [line for line in lines if line[0] != "="]


@pytest.mark.parametrize("run", [run_python, run_node], ids=["python", "node"])
def test_the_receivers_of_the_docs(
    run: Callable[[list[Message]], tuple[list[int], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    sent, expected = zip(*messages(), strict=True)
    answers, said = run(list(sent))
    assert answers == list(expected)
    assert len(said) == 1, "the same event does something once"
    assert said[0].startswith("stream.completed")
