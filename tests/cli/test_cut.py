"""What `cut` is asked for and what it prints; whole runs are in `tests/walks/test_cut.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tldr_highlight.cli.cut import size_text, spell
from tldr_highlight.cli.main import app
from tldr_highlight.clips import cutter
from tldr_highlight.clips.cutter import Order
from tldr_highlight.clips.document import CutDoc
from tldr_highlight.highlights.ranges import NamedRange
from tldr_highlight.media.types import CutOptions, Remote, Watermark


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """Orders that would be carried out."""
    found: list[Order] = []

    def cut_order(order: Order, *_: Any) -> CutDoc:
        found.append(order)
        return {"source": "x", "clips": [], "errors": []}

    monkeypatch.setattr(cutter, "cut_order", cut_order)
    return found


def invoke(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["cut", *arguments], input=stdin)


def order(orders: list[Order], *arguments: str, stdin: str | None = None) -> Order:
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == 0, (result.output, result.exception)
    return orders.pop()


def refused(*arguments: str) -> tuple[int, str, str]:
    """Exit code, error code and message, which JSON and stderr tell alike."""
    result = invoke(*arguments, "--json")
    document = json.loads(result.stdout)
    assert document.keys() == {"source", "error"}
    assert result.stderr == f"tldr-highlight: {document['error']['message']}\n"
    return result.exit_code, document["error"]["code"], document["error"]["message"]


def test_the_plain_order(orders: list[Order]) -> None:
    asked = order(orders, "match.mp4", "12:31.4-12:58", "75+5")
    assert (asked.source, asked.sound, asked.out) == (Path("match.mp4"), None, Path("clips"))
    assert asked.ranges == [NamedRange(751.4, 778), NamedRange(75, 80)]
    assert asked.options == CutOptions()
    assert (asked.instant, asked.posters, asked.limit) == (False, False, 300)
    assert asked.name.name(index=1, start=0, end=1, title="", source="m") == "m-00-00-00.000-00-00-01.000"


def test_all_options(orders: list[Order]) -> None:
    asked = order(
        orders, "match.mp4", "1-2", "--encode", "--quality", "small", "--watermark", "Tor!",
        "--watermark-corner", "top-left", "--watermark-margin", "0.1", "--watermark-height", "0.2",
        "--watermark-opacity", "0.5",
        "--loudness", "-16", "--strict", "--timeout", "7", "--name", "{title}", "--poster", "--out", "-out",
        "--audio", "sound.m4a", "--reel", "reel.mp4", "--crossfade", "0.5",
    )  # fmt: skip
    mark = Watermark(None, "Tor!", "top-left", 0.1, 0.2, 0.5)
    assert asked.options == CutOptions("encode", "small", mark, -16, clamp=False)
    assert (asked.posters, asked.limit, asked.out) == (True, 7, Path("-out"))
    assert (asked.sound, asked.reel, asked.crossfade) == (Path("sound.m4a"), Path("reel.mp4"), 0.5)
    assert order(orders, "match.mp4", "1-2", "--instant").instant


def test_names_and_ranges_that_start_with_a_dash(orders: list[Order]) -> None:
    asked = order(orders, "--", "-match.mp4", "-1-2")
    assert (asked.source, asked.ranges) == (Path("-match.mp4"), [NamedRange(-1, 2)])
    assert refused("match.mp4", "-1-2")[:2] == (2, "usage")


def test_lists(orders: list[Order], tmp_path: Path) -> None:
    listed = order(orders, "match.mp4", "--ranges", "-", stdin='[{"start": 1, "end": 2}]').listed
    assert listed
    assert listed.kind == "json"
    (tmp_path / "list.csv").write_text("1,2\n")
    asked = order(orders, "match.mp4", "3-4", "--ranges", "list.csv")
    assert asked.listed
    assert asked.listed.kind == "csv"
    assert asked.keep == [Path("list.csv")]
    assert refused("match.mp4", "--ranges", "none.csv") == (5, "not_found", "no list of ranges at none.csv")


def test_a_watermark_is_a_picture_where_there_is_one(orders: list[Order], tmp_path: Path) -> None:
    (tmp_path / "logo").write_bytes(b"")
    mark = order(orders, "match.mp4", "1-2", "--watermark", "logo").options.watermark
    assert mark == Watermark(image=Path("logo"))
    assert refused("match.mp4", "1-2", "--watermark", "logo.PNG")[:2] == (5, "not_found")


HOST = "https://cdn.example"


@pytest.mark.parametrize(
    ("arguments", "of_picture", "of_sound"),
    [
        ((f"{HOST}/v", "--header", "A: 1", "--header", "B: 2"), {"A": "1", "B": "2"}, None),
        ((f"{HOST}/v", "--header", "A: 1", "--audio", f"{HOST}/a"), {"A": "1"}, {"A": "1"}),
        ((f"{HOST}/v", "--header", "A: 1", "--audio", "https://other.example/a"), {"A": "1"}, {}),
        (
            (f"{HOST}/v", "--header", "A: 1", "--audio", f"{HOST}/a", "--audio-header", "B: 2"),
            {"A": "1"}, {"B": "2"},
        ),
    ],
)  # fmt: skip
def test_headers_go_where_they_were_meant_to(
    orders: list[Order],
    arguments: tuple[str, ...],
    of_picture: dict[str, str],
    of_sound: dict[str, str] | None,
) -> None:
    asked = order(orders, *arguments, "--ranges", "-", stdin="1-2")
    assert isinstance(asked.source, Remote)
    assert asked.source.headers == of_picture
    assert (asked.sound.headers if isinstance(asked.sound, Remote) else None) == of_sound


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("match.mp4", "1-2", "soon"), "range 2: 'soon' is no range; write 12:31.4-12:58"),
        (("match.mp4", "other.mp4", "1-2"), "range 1: 'other.mp4' is no range"),
        (("match.mp4", "1-2", "--name", "{x.__class__}"), "there is no {x.__class__}"),
        (("match.mp4", "1-2", "--instant", "--encode"), "--instant makes copies first: --encode cannot hold"),
        (("match.mp4", "1-2", "--instant", "--watermark", "x"), "--watermark cannot hold"),
        (("match.mp4", "1-2", "--header", "A: secret"), "--header goes to an address, but SOURCE is a file"),
        ((f"{HOST}/v", "1-2", "--header", "secret"), "a header is 'Name: value'"),
        ((f"{HOST}/v", "1-2", "--audio-header", "A: secret"), "which is missing"),
        (("match.mp4", "1-2", "--audio", "a", "--audio-header", "A: secret"), "but --audio is a file"),
        (("rtmp://host/live", "1-2"), "rtmp:// is no source of clips"),
        (("match.mp4", "1-2", "--quality", "best"), "--quality"),
        (("match.mp4", "1-2", "--loudness", "nan"), "--loudness"),
        (("match.mp4", "1-2", "--timeout", "0"), "--timeout"),
        (("match.mp4", "1-2", "--watermark-opacity", "2"), "--watermark-opacity"),
        (("match.mp4", "1-2", "--nonsense"), "--nonsense"),
        ((), "SOURCE"),
    ],
)  # fmt: skip
def test_what_is_asked_for_wrongly_is_said_in_json_too(arguments: tuple[str, ...], words: str) -> None:
    exit_code, code, message = refused(*arguments)
    assert exit_code == 2
    assert code in {"usage", "range_invalid"}
    assert words in message
    assert "secret" not in message


def test_the_document_of_a_wrong_request_names_the_source_without_its_keys() -> None:
    signed = "https://u:secret@cdn.example/v.mp4?token=secret"
    for arguments in (
        ("--quality", "best", signed, "1-2"), (signed, "soon"), ("--json", "--strict=1", "--", signed),
        (signed, "1-2", "--name", "{}"),
    ):  # fmt: skip
        result = invoke(*arguments, *([] if "--json" in arguments else ["--json"]))
        assert json.loads(result.stdout)["source"] == "https://cdn.example/v.mp4?..."
        assert "secret" not in result.output


def test_ranges_as_people_read_them() -> None:
    assert spell(0, 59.9996) == "0:00-1:00"
    assert spell(751.4, 3723.04) == "12:31.4-1:02:03.04"
    assert spell(-1.5, 100 * 3600) == "-0:01.5-100:00:00"


def test_sizes_as_people_read_them() -> None:
    sizes = (0, 1, 840_499, 999_999, 1e6, 4_060_000, 1.5e9)
    assert [size_text(int(n)) for n in sizes] == [
        "0",
        "1 kB",
        "840 kB",
        "1000 kB",
        "1.0 MB",
        "4.1 MB",
        "1.50 GB",
    ]
