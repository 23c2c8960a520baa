"""What sources are called, and what of an address may be shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tldr_highlight.clips.origins import header_of, host_of, label, origin_of, stem_of
from tldr_highlight.errors import UsageError
from tldr_highlight.media.types import Remote

SIGNED = "https://user:secret@cdn.example:8443/a/match%20one.mp4?token=secret&x=1#secret"


def test_addresses_and_files() -> None:
    assert origin_of(SIGNED, {"Cookie": "a"}) == Remote(SIGNED, {"Cookie": "a"})
    assert origin_of("HTTP://host/") == Remote("HTTP://host/", {})
    for name in ("match.mp4", "-x.mp4", "concat:a|b.mp4", "c:/x.mp4", "http:/x", "a b://c"):
        assert origin_of(name) == Path(name)
    for name in ("file:///etc/passwd", "rtmp://host/live", "data://x", "concat://a"):
        with pytest.raises(
            UsageError, match="is no source of clips; name a file, or an http or https address"
        ):
            origin_of(name)


def test_nothing_that_may_be_a_key_is_shown() -> None:
    assert label(SIGNED) == "https://cdn.example:8443/a/match%20one.mp4?..."
    assert label("http://host") == "http://host"
    assert label("http://host?key") == "http://host?..."
    assert label("http://host#key@x/y") == "http://host"
    assert label("http://host/a;key@x/y?key") == "http://host/a?..."
    assert label("rtmp://user:secret@host/live") == "rtmp://host/live"
    assert label("clips?/a#b.mp4") == "clips?/a#b.mp4"  # a file
    assert label(os.fsdecode(b"caf\xe9.mp4")) == "caf?.mp4"


def test_headers_stay_with_their_host() -> None:
    assert host_of(origin_of(SIGNED)) == "https://cdn.example:8443"
    assert host_of(origin_of("HTTPS://CDN.example:8443?x")) == "https://cdn.example:8443"
    assert host_of(origin_of("https://evil.example/@cdn.example:8443/")) == "https://evil.example"
    assert host_of(origin_of("http://cdn.example:8443/")) != host_of(origin_of(SIGNED))
    assert host_of(Path("a")) is None


def test_clips_are_called_after_their_source() -> None:
    assert stem_of(origin_of(SIGNED)) == "match one"
    assert stem_of(origin_of("https://host/hls/index.m3u8?x")) == "index"
    assert stem_of(origin_of("https://host/a%2f..%2fb")) == "b"
    assert stem_of(origin_of("https://host/")) == "host"
    assert stem_of(Path("a/match.final.mp4")) == "match.final"


def test_headers() -> None:
    assert header_of("Authorization: Bearer a:b ") == ("Authorization", "Bearer a:b")
    assert header_of("X-Empty:") == ("X-Empty", "")


NO_HEADERS = (
    "", "secret", ": secret", "a b: secret", "A: secret\r\nHost: x", "A: secret\0", "A\n: secret",
    "Ä: secret", "A: secret→",
)  # fmt: skip


@pytest.mark.parametrize("line", NO_HEADERS)
def test_what_is_no_header_is_refused_without_showing_it(line: str) -> None:
    with pytest.raises(UsageError) as refused:
        header_of(line)
    assert "secret" not in str(refused.value)
