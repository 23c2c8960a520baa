"""The benchmark of lists measures each of them, and can miss its bound."""

from __future__ import annotations

import pytest

from benchmarks import lists


def test_it_measures_lists_and_can_miss_its_bound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lists", "--streams", "20", "--highlights", "60", "--calls", "2", "--databases", "sqlite"]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setattr(lists, "BOUND", 0.0)
    assert lists.main() == 1
    told = capsys.readouterr().out
    assert "/highlights order=score" in told
    assert "/streams state=failed" in told
