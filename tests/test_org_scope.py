"""Rows of an organization are reached through `of` and `get_for`, which take it. The rest is listed here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "tldr_highlight"

REASONS: dict[str, str] = {
    "accounts/invitations.py": "finds an invitation by its secret, before its organization is known",
    "accounts/passwords.py": "ends the keys that a person made, in whatever organization",
    "streams/upload_sweep.py": "deletes what is over, whosever it is",
    "clips/sweep.py": "deletes what is over, whosever it is",
    "cli/key.py": "the operator's shell, which sees every organization",
    "highlights/sharing.py": "opens a link without account: its signature is what lets in",
    "webhooks/outcomes.py": "stores how deliveries of all organizations went, by the ids that were claimed",
    "streams/following.py": "looks how far streams are that somebody follows, by ids that were checked",
    "tenancy/last_use.py": "stores when keys were used, by the ids that the gate found",
}
"""File -> why it selects rows of organizations without one."""

OF = re.compile(r"\w+\.of\(")
READS = {"select", "get", "get_one", "query", "exists", "update", "delete", "scalar", "scalars", "row"}


def owned() -> set[str]:
    """Names of the classes that derive from OrgOwned."""
    return {
        node.name
        for path in SRC.rglob("models.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and "OrgOwned" in {ast.unparse(base) for base in node.bases}
    }


def reaches(source: str, names: set[str]) -> Iterator[tuple[int, str]]:
    """(line, call) of each `select(Model…)`, `session.get(Model, …)` and the like on one of the classes."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        asked = [ast.unparse(argument) for argument in node.args]
        if called in READS and any(a.split(".")[0] in names and not OF.match(a) for a in asked):
            yield node.lineno, ast.unparse(node)


def scoped(source: str, line: int) -> bool:
    """Whether the statement around it names an organization all the same."""
    simple = (ast.Assign, ast.AnnAssign, ast.Expr, ast.Return)
    return any(
        "organization_id" in ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, simple) and node.lineno <= line <= (node.end_lineno or line)
    )


def test_there_are_such_classes() -> None:
    assert {"ApiKey", "Member", "Webhook", "Event", "UsageTotal", "Invitation"} <= owned()


def test_rows_of_organizations_are_reached_through_their_organization() -> None:
    found: list[str] = []
    names = owned()
    for path in SRC.rglob("*.py"):
        name = path.relative_to(SRC).as_posix()
        source = path.read_text("utf-8")
        for line, call in reaches(source, names):
            if name not in REASONS and not scoped(source, line):
                found.append(f"{name}:{line}: {call[:100]}")
    assert found == []


def test_the_list_has_nobody_who_does_not_need_it() -> None:
    names = owned()
    for name in REASONS:
        source = (SRC / name).read_text("utf-8")
        assert [call for line, call in reaches(source, names) if not scoped(source, line)], name


def test_the_search_finds_what_it_looks_for() -> None:
    bad = "def f(session, id):\n    return session.get(ApiKey, id), select(ApiKey).where(ApiKey.id == id)"
    assert len(list(reaches(bad, {"ApiKey"}))) == 2
    assert not scoped(bad, 2)
