"""What a source says by itself."""

from __future__ import annotations

import pytest

from tldr_highlight.streams.sources import Source

SEEN = [
    (Source(url="https://www.youtube.com/watch?v=abc"), "youtube", "http", "https://www.youtube.com/watch?..."),
    (Source(url="https://youtu.be/abc"), "youtube", "http", "https://youtu.be/abc"),
    (Source(url="https://notyoutube.com/abc"), "custom", "http", "https://notyoutube.com/abc"),
    (Source(url="https://user:pw@a.example/live/x.M3U8?t=1"), "custom", "hls", "https://a.example/live/x.M3U8?..."),
    (Source(url="https://u:p@a.example/v;t=S3@C/x.mp4#t=S3"), "custom", "http", "https://a.example/v"),
    (Source(url="https://a.example/x.mpd"), "custom", "dash", "https://a.example/x.mpd"),
    (Source(url="rtmps://a.example/app"), "custom", "rtmp", "rtmps://a.example/app"),
    (Source(upload_id="upl_1"), "upload", "file", "upl_1"),
    (Source(path="/srv/media/match.mp4"), "local", "file", "match.mp4"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "platform", "protocol", "label"), SEEN, ids=[s[3] for s in SEEN])
def test_a_source_says_whose_it_is_and_shows_no_secret(
    source: Source, platform: str, protocol: str, label: str
) -> None:
    assert (source.platform, source.protocol, source.label) == (platform, protocol, label)
    assert Source.from_json(source.as_json()) == source


def test_two_addresses_are_a_pair() -> None:
    assert Source(url="https://a.example/v", audio_url="https://a.example/a").kind == "pair"
