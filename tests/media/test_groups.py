"""Groups of pictures decoded beside each other: the same pictures as one decoder gives, soon enough."""

import itertools
import threading
from pathlib import Path
from typing import Any

import av
import pytest

from tests.media_maker import Recipe, make
from tldr_highlight.media import groups
from tldr_highlight.media.groups import GroupSampler, decoders
from tldr_highlight.media.probe import open_media, packets, probe
from tldr_highlight.media.read import Reader, Sampling
from tldr_highlight.media.sampling import QUICK, Picture, PictureSampler

SMALL = Recipe(seconds=20.0, gop=50, size=(64, 48), bframes=3, audio=None)

SHAPES = {
    "with B pictures that others refer to": SMALL,
    "irregular": Recipe(seconds=20.0, gop=37, size=(64, 48), bframes=3, audio=None, noise=60.0),
    "key pictures only": Recipe(seconds=8.0, gop=1, size=(64, 48), bframes=0, audio=None),
    "longer than a part": Recipe(seconds=20.0, gop=500, size=(64, 48), audio=None),
    "open groups": Recipe(
        seconds=20.0, gop=50, size=(64, 48), bframes=3, audio=None, options=(("x264-params", "open-gop=1"),)
    ),
    "interlaced": Recipe(seconds=8.0, gop=25, size=(64, 48), audio=None, interlaced=True),
}


def fed(sampler: PictureSampler | GroupSampler, path: Path) -> list[Picture]:
    """What a sampler makes of a file."""
    with open_media(path) as container:
        video = container.streams.video[0]
        base = float(video.time_base or 0)
        pictures: list[Picture] = []
        for packet in packets(container, [video]):
            assert packet.pts is not None
            pictures += sampler.feed(packet, packet.pts * base, 0.0)
        return pictures + sampler.finish()


def one_decoder(path: Path) -> list[Picture]:
    with open_media(path) as container:
        video = container.streams.video[0]
        context = video.codec_context
        context.thread_count = 1
        context.skip_frame = "NONREF"
        context.options = dict(QUICK)
        return fed(PictureSampler(context, float(video.time_base or 0), keys=False), path)


def in_groups(path: Path, segment_seconds: float = 20.0) -> list[Picture]:
    with open_media(path) as container, GroupSampler(container.streams.video[0], segment_seconds) as sampler:
        return fed(sampler, path)


def same(ours: list[Picture], theirs: list[Picture]) -> bool:
    return len(ours) == len(theirs) and all(
        a == b and (x == y).all() for (a, x), (b, y) in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("container", ["mp4", "ts"])
@pytest.mark.parametrize("shape", SHAPES)
def test_groups_give_the_pictures_that_one_decoder_gives(shape: str, container: str, tmp_path: Path) -> None:
    path = make(tmp_path / f"a.{container}", SHAPES[shape])
    expected = one_decoder(path)
    assert len(expected) > 3 * SHAPES[shape].seconds
    assert same(in_groups(path), expected)
    assert same(in_groups(path, segment_seconds=5.0), expected)  # parts of 3 s


def test_two_groups_are_decoded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=30)
    decode, turn = groups._Group.decode, itertools.count()

    def waiting(self: Any, *args: Any, **named: Any) -> Any:
        if next(turn) < 2:
            together.wait()
        return decode(self, *args, **named)

    monkeypatch.setattr(groups._Group, "decode", waiting)
    monkeypatch.setattr(groups, "decoders", lambda pixels: 2)
    path = make(tmp_path / "a.mp4", SMALL)
    assert same(in_groups(path), one_decoder(path))


def test_what_follows_the_last_picture_kept_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[float] = []
    feed = PictureSampler.feed

    def counted(self: PictureSampler, packet: Any, at: float, shift: float) -> list[Picture]:
        sent.append(at)
        return feed(self, packet, at, shift)

    monkeypatch.setattr(PictureSampler, "feed", counted)
    path = make(tmp_path / "a.mp4", Recipe(seconds=20, gop=50, size=(64, 48), bframes=0, audio=None))
    kept = [at for at, _ in in_groups(path)]
    for group in range(9):  # the last one is decoded to its end
        last = max(at for at in kept if at < 2 * group + 2)
        assert len([at for at in sent if last < at < 2 * group + 2]) <= 1  # perhaps its second field


def test_large_pictures_have_fewer_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    assert [decoders(w * h) for w, h in ((640, 360), (1920, 1080), (3840, 2160), (7680, 4320))] == [
        4,
        4,
        2,
        1,
    ]


def test_pictures_stay_in_their_segments_when_the_sound_goes_on_alone(tmp_path: Path) -> None:
    path = make(
        tmp_path / "a.mkv",
        Recipe(seconds=10, gop=50, size=(64, 48), rate=8000, layout="mono", audio_seconds=150.0),
    )
    segments = list(Reader(probe(path), Sampling.ALL))
    assert len(segments) > 3
    late = 4  # which the encoder held until all sound was written
    assert len(segments[0].pictures.times) >= len(one_decoder(path)) - late


def test_a_damaged_group_is_counted_and_harms_no_other(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", SMALL)
    expected = one_decoder(path)
    with open_media(path) as container:
        video = container.streams.video[0]
        base = float(video.time_base or 0)
        with GroupSampler(video, 20.0) as sampler:
            pictures: list[Picture] = []
            for packet in packets(container, [video]):
                assert packet.pts is not None
                at = packet.pts * base
                sent = av.Packet(b"\0\0\0\xff\x65") if at == 4.0 else packet
                sent.pts, sent.dts, sent.time_base = packet.pts, packet.dts, packet.time_base
                sent.is_keyframe = packet.is_keyframe
                pictures += sampler.feed(sent, at, 0.0)
            pictures += sampler.finish()
    assert sampler.damaged > 0
    whole = [p for p in expected if not 4.0 <= p[0] < 6.0]
    assert same([p for p in pictures if not 4.0 <= p[0] < 6.0], whole)


def test_reading_that_is_given_up_leaves_no_thread(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", Recipe(seconds=70, gop=50, size=(64, 48), rate=8000, layout="mono"))
    before = set(threading.enumerate())
    segments = iter(Reader(probe(path), Sampling.ALL))
    next(segments)
    del segments
    assert [t for t in threading.enumerate() if t not in before and t.is_alive()] == []
