"""What HTTP answers: the examples of RFC 9110 word for word, and what holds for any request."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.storage.base import About, Stored
from tldr_highlight.storage.names import disposition, harmless
from tldr_highlight.storage.serving import Answer, answer_of, etag

SIZE = 10_000


def stored(size: int = SIZE, content_type: str = "video/mp4", name: str | None = None) -> Stored:
    return Stored(About("a/clip.mp4", content_type, None, name), size, "ab" * 32, datetime.now(UTC))


def ask(method: str = "GET", size: int = SIZE, **headers: str) -> Answer:
    return answer_of(stored(size), method, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-499", 0, 500),  # these five: RFC 9110, 14.1.2
        ("bytes=500-999", 500, 1000),
        ("bytes=-500", 9500, 10_000),
        ("bytes=9500-", 9500, 10_000),
        ("bytes=0-0", 0, 1),
        ("bytes=-1", 9999, 10_000),
        ("bytes=0-", 0, 10_000),
        ("bytes=9999-9999", 9999, 10_000),
        ("bytes=9999-20000", 9999, 10_000),
        ("bytes=-20000", 0, 10_000),
        ("BYTES=5-9", 5, 10),  # 14.1: units know no case
        ("bytes= 5-9 ", 5, 10),
        ("bytes=,5-9,", 5, 10),  # 5.6.1: empty elements of lists
        ("bytes=20000-,5-9", 5, 10),  # the one that can be had
        ("bytes=5-9,-0", 5, 10),
        ("bytes=000005-0000009", 5, 10),
    ],
)
def test_one_range(header: str, start: int, end: int) -> None:
    answer = ask(range=header)
    assert (answer.status, answer.start, answer.end) == (206, start, end)
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/10000"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize(
    "header", ["bytes=10000-", "bytes=10000-10001", "bytes=-0", "bytes=20000-,-0", "bytes=-000"]
)
def test_ranges_that_cannot_be_had(header: str) -> None:
    answer = ask(range=header)
    assert (answer.status, answer.start, answer.end) == (416, 0, 0)
    assert answer.headers["Content-Range"] == "bytes */10000"


@pytest.mark.parametrize(
    "header",
    [
        "bytes=0-0,-1",  # several: the whole, as 14.2 allows
        "bytes=0-499,500-999",
        "bytes=500-499",  # 14.1.1: invalid, and so ignored
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,a",
        "bytes=1",
        "bytes=",
        "bytes",
        "",
        "bytes=--5",
        "bytes=5--",
        "bytes=0x5-9",
        "bytes=+5-9",
        "bytes=٥-٩",
        "lines=0-5",
        "seconds=1-2",
        f"bytes={'9' * 5000}-",
        f"bytes={','.join(['0-0'] * 101)}",
    ],
)
def test_headers_that_ask_for_no_range(header: str) -> None:
    answer = ask(range=header)
    assert (answer.status, answer.start, answer.end) == (200, 0, SIZE)
    assert answer.headers["Content-Length"] == "10000"
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5", "bytes=0-0", "bytes=7-"])
def test_an_empty_file(header: str) -> None:
    answer = ask(size=0, range=header)
    assert (answer.status, answer.start, answer.end, answer.headers["Content-Length"]) == (200, 0, 0, "0")


def test_head_knows_no_ranges() -> None:
    for headers in ({}, {"range": "bytes=0-4"}):
        answer = ask("HEAD", **headers)
        assert (answer.status, answer.start, answer.end) == (200, 0, 0)
        assert answer.headers["Content-Length"] == "10000"
        assert answer.headers["Accept-Ranges"] == "bytes"


TAG = etag(stored())


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (TAG, 206),
        (f" {TAG} ", 206),
        (f"W/{TAG}", 200),  # 13.1.5: strong comparison alone
        ('"other"', 200),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 200),  # no date was ever sent
        ("*", 200),
        ("", 200),
    ],
)
def test_if_range(if_range: str, status: int) -> None:
    assert ask(range="bytes=0-4", if_range=if_range).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": TAG}, 304),
        ({"if_none_match": f"W/{TAG}"}, 304),  # weak comparison
        ({"if_none_match": f'"a", {TAG}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"a,b", "c"'}, 200),
        ({"if_match": TAG}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": f"W/{TAG}"}, 412),  # strong comparison
        ({"if_match": '"a"'}, 412),
        ({"if_match": '"a"', "if_none_match": TAG}, 412),  # 13.2.2: which comes first
        ({"if_none_match": TAG, "range": "bytes=0-4"}, 304),
        ({"if_none_match": '"a"', "range": "bytes=0-4"}, 206),
        ({"if_none_match": TAG, "range": "bytes=20000-"}, 304),
        ({"if_modified_since": "Wed, 21 Oct 2099 07:28:00 GMT"}, 200),
    ],
)
def test_conditions(headers: dict[str, str], status: int) -> None:
    for method in ("GET", "HEAD"):
        answer = ask(method, **headers)
        assert answer.status == (200 if status == 206 and method == "HEAD" else status)
        assert answer.headers["ETag"] == TAG
        if answer.status in (304, 412):
            assert answer.start == answer.end


def specs() -> st.SearchStrategy[str]:
    number = st.integers(0, 12_000).map(str) | st.just("")
    return st.tuples(number, number).map("-".join) | st.text("0123456789-, x", max_size=12)


@given(
    st.sampled_from(["bytes=", "bytes", "Bytes = ", "items=", ""]),
    st.lists(specs(), max_size=4).map(",".join),
    st.sampled_from([0, 1, SIZE]),
    st.sampled_from(["GET", "HEAD"]),
)
def test_any_range_header(unit: str, spec: str, size: int, method: str) -> None:
    """Whatever is asked: what is told is what follows, and it is inside the file."""
    answer = ask(method, size, range=unit + spec)
    assert 0 <= answer.start <= answer.end <= size
    if answer.status == 206:
        told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers["Content-Range"])
        assert told
        assert (answer.start, answer.end - 1, size) == tuple(map(int, told.groups()))
        assert answer.headers["Content-Length"] == str(answer.end - answer.start)
        assert answer.start < answer.end
    else:
        assert answer.status in (200, 416)
        assert (answer.end - answer.start) == (size if (answer.status, method) == (200, "GET") else 0)


# --- what browsers may make of it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["video/mp4", "audio/mp4", "image/jpeg", "image/webp", "text/vtt; charset=utf-8"]
)
def test_media_is_shown(content_type: str) -> None:
    headers = answer_of(stored(content_type=content_type), "GET", {}).headers
    assert headers["Content-Disposition"] == "inline"
    assert headers["Content-Type"] == content_type
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    "content_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/pdf"]
)
def test_pages_are_saved(content_type: str) -> None:
    assert (
        answer_of(stored(content_type=content_type), "GET", {}).headers["Content-Disposition"] == "attachment"
    )


def test_names_to_save_under() -> None:
    own = answer_of(stored(name="mine.mp4"), "GET", {}).headers["Content-Disposition"]
    assert own == 'inline; filename="mine.mp4"'
    asked = answer_of(stored(name="mine.mp4"), "GET", {}, download_name="Tor für 1.mp4").headers
    assert asked["Content-Disposition"] == (
        "attachment; filename=\"Tor fur 1.mp4\"; filename*=UTF-8''Tor%20f%C3%BCr%201.mp4"
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Windows\\x.exe", "C__Windows_x.exe"),
        ('a"; filename="b.exe', "a_; filename=_b.exe"),
        ("a\r\nSet-Cookie: x=y", "a Set-Cookie_ x=y"),
        ("gpj\u202eexe.jpg", "gpjexe.jpg"),
        ("a\0b\x7f\ud800\u200b", "ab"),
        ("con.mp4", "_con.mp4"),
        ("LPT1", "_LPT1"),
        ("console.mp4", "console.mp4"),
        (" . ", "file"),
        ("", "file"),
        ("...", "file"),
        ("日本 語.mp4", "日本 語.mp4"),
        ("x" * 500 + ".mp4", "x" * 146 + ".mp4"),
    ],
)
def test_hostile_names(text: str, name: str) -> None:
    assert harmless(text) == name


@given(st.text(max_size=400) | st.text("./\\\"';=%\r\n\u202e aé", max_size=60))
def test_any_name(text: str) -> None:
    name = harmless(text)
    assert name == harmless(name)
    assert 0 < len(name.encode()) <= 241
    assert name.isprintable()
    assert not set(name) & set('/\\"<>:|?*')
    assert not name.startswith((".", " "))


@given(st.text(max_size=400) | st.text("./\\\"';=%\r\n\u202e aé", max_size=60))
def test_any_name_in_a_header(text: str) -> None:
    """Nothing in it ends the name early, and the name that was meant can be read."""
    header = disposition(text, inline=False)
    assert header.isascii()
    assert header.isprintable()
    found = re.fullmatch(r"attachment; filename=\"([^\"\\;%]+)\"(?:; filename\*=UTF-8''([\w.~%-]+))?", header)
    assert found
    assert (unquote(found[2]) if found[2] else found[1]) == harmless(text)
