"""What is read from an H.264 bitstream, against x264's own words and hand-made bytes."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec.context import CodecContext, Flags
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.media import h264
from tldr_highlight.media.h264 import Bits, NotH264Error, ParameterSets, Sequence


def encoded(header: bool = True, **options: str) -> tuple[bytes, list[bytes]]:
    """Header and packets of a few pictures, by x264."""
    context = CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 64, 48, "yuv420p"
    context.time_base = Fraction(1, 25)
    if header:
        context.flags |= Flags.global_header
    context.options = {"preset": "ultrafast", **options}
    packets: list[bytes] = []
    for number in range(4):
        frame = VideoFrame.from_ndarray(np.full((72, 64), number, np.uint8), "yuv420p")
        frame.pts = number
        packets += [bytes(p) for p in context.encode(frame)]
    packets += [bytes(p) for p in context.encode(None)]
    return context.extradata or b"", packets


@pytest.mark.parametrize(
    ("options", "sequence"),
    [
        ({"profile": "baseline", "level": "3.0"}, Sequence(66, "3.0", progressive=True)),
        (
            {"profile": "main", "level": "4.1", "x264-params": "cabac=1"},
            Sequence(77, "4.1", progressive=True),
        ),
        (
            {"profile": "high", "level": "5.2", "x264-params": "8x8dct=1"},
            Sequence(100, "5.2", progressive=True),
        ),
        ({"profile": "high", "level": "1b", "x264-params": "8x8dct=1:cqm=jvt"}, None),
        ({"profile": "high", "level": "3.1", "x264-params": "8x8dct=1:interlaced=1"}, None),
    ],
)
def test_sequences_are_what_x264_was_told(options: dict[str, str], sequence: Sequence | None) -> None:
    sets = ParameterSets.of(encoded(**options)[0])
    found = Sequence.of(next(iter(sets.sps.values())))
    if sequence:
        assert found == sequence
    else:
        assert found.profile == 100
        assert found.progressive == ("interlaced" not in options["x264-params"])


def test_a_header_is_made_as_libav_makes_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("avcc") / "a.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = VideoFrame.from_ndarray(np.zeros((72, 64), np.uint8), "yuv420p")
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with av.open(path) as made:
        theirs = made.streams.video[0].codec_context.extradata
    assert theirs
    sets = ParameterSets.of(theirs)
    assert sets.length_size == 4
    assert sets.avcc() == theirs


def test_one_header_carries_two_streams_sets() -> None:
    ours = ParameterSets.of(encoded()[0])
    assert ours.free_id() == 1
    theirs = ParameterSets.of(encoded(**{"x264-params": "sps-id=1"})[0])
    both = ParameterSets.of(ours.avcc(theirs))
    assert both.sps == {**ours.sps, **theirs.sps}
    assert both.pps == {**ours.pps, **theirs.pps}
    assert both.free_id() == 2


def test_sets_that_contradict_each_other_are_noticed() -> None:
    sets = ParameterSets.of(encoded()[0])
    other = encoded(level="5.1")[0]
    assert sets.add(h264.units(memoryview(encoded()[0]), 0))
    assert not sets.add(h264.units(memoryview(other), 0))


def test_units_in_both_forms_are_the_same() -> None:
    _, packets = encoded(header=False)
    for packet in packets:
        parts = [bytes(u) for u in h264.units(memoryview(packet), 0)]
        again = h264.units(memoryview(h264.with_lengths(parts)), 4)
        assert [bytes(u) for u in again] == parts
    kinds = [h264.kind(u) for u in h264.units(memoryview(packets[0]), 0)]
    assert {h264.SPS, h264.PPS, h264.IDR} <= set(kinds)
    assert h264.IDR not in [h264.kind(u) for u in h264.units(memoryview(packets[1]), 0)]


def test_encoder_settings_in_a_stream_are_user_data() -> None:
    _, packets = encoded(header=False)
    notes = [u for u in h264.units(memoryview(packets[0]), 0) if h264.kind(u) == h264.SEI]
    assert notes
    assert all(h264.has_user_data(n) for n in notes)
    assert not h264.has_user_data(memoryview(bytes([6, 6, 1, 0xC4, 0x80])))  # a recovery point
    assert h264.has_user_data(memoryview(bytes([6, 6, 1, 0xC4, 4, 1, 0, 0x80])))  # and captions behind it


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=20))
def test_exp_golomb(numbers: list[int]) -> None:
    text = "".join(f"{n + 1:b}".zfill(2 * (n + 1).bit_length() - 1) for n in numbers) + "1"
    data = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    if b"\0\0\3" in data or len(data) > 500:
        return
    bits = Bits(memoryview(data))
    assert [bits.unsigned() for _ in numbers] == numbers


@pytest.mark.parametrize(
    "data",
    [
        b"\1",
        b"\1\x64\0\x28\xff\xe1\0\x40\x67\x64\0",
        b"\0\0\1\x67\x64",
        b"\0\0\0\1\x68",
        b"\1\x64\0\x28\xff\xe1",
    ],
)
def test_broken_headers_are_refused(data: bytes) -> None:
    with pytest.raises(NotH264Error):
        ParameterSets.of(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for length_size in (0, 1, 2, 4):
        try:
            parts = list(h264.units(memoryview(data), length_size))
            ParameterSets().add(parts)
            for part in parts:
                h264.has_user_data(part)
        except NotH264Error:
            continue
    try:
        for sps in ParameterSets.of(data).sps.values():
            Sequence.of(sps)
    except NotH264Error:
        pass
