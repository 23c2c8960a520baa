"""What is in a file is found out quickly and told exactly; what is no media is refused with the reason."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.media.conftest import Maker
from tests.media_maker import Recipe, make
from tests.peers import need
from tldr_highlight.errors import (
    MediaError,
    MediaLimitError,
    NoStreamsError,
    NotFoundError,
    NotMediaError,
    TldrError,
    UsageError,
)
from tldr_highlight.media.probe import CONTAINERS, Limits, open_media, probe, shown
from tldr_highlight.media.types import Remote

# --- what is told --------------------------------------------------------------------------------------


def test_ordinary_file(media: Maker) -> None:
    made = media("mp4", fps=Fraction(30000, 1001), gop=30)
    info = probe(made.path)
    assert info.video is not None
    assert info.audio is not None
    assert (info.video.codec, info.video.width, info.video.height) == ("h264", 320, 192)
    assert (info.video.rotation, info.video.flipped) == (0, False)
    assert (info.video.pixel_format, info.video.sample_aspect) == ("yuv420p", 1)
    assert (info.video.frame_rate, info.video.variable_rate) == (Fraction(30000, 1001), False)
    assert info.video.gop_seconds == pytest.approx(30 * 1001 / 30000)
    assert (info.audio.codec, info.audio.sample_rate, info.audio.channels) == ("aac", 48000, 2)
    assert info.duration == pytest.approx(4.004, abs=0.001)
    assert (info.start_time, info.size, info.audio_tracks) == (0.0, made.path.stat().st_size, 1)
    assert "mp4" in info.container
    assert info.warnings == ()


@pytest.mark.parametrize(
    ("suffix", "recipe", "codecs", "rate"),
    [
        ("mkv", {"fps": Fraction(30000, 1001)}, ("h264", "aac"), Fraction(30000, 1001)),
        ("ts", {"fps": Fraction(60)}, ("h264", "aac"), Fraction(60)),
        ("webm", {"codec": "libvpx-vp9", "audio": "libopus"}, ("vp9", "opus"), Fraction(25)),
        ("mkv", {"codec": "libsvtav1", "audio": "libopus"}, ("av1", "opus"), Fraction(25)),
        ("mp4", {"codec": "libx265"}, ("hevc", "aac"), Fraction(25)),
        ("avi", {"codec": "mpeg4", "audio": "libmp3lame"}, ("mpeg4", "mp3"), Fraction(25)),
        ("wmv", {"codec": "wmv2", "audio": "wmav2", "bframes": 0}, ("wmv2", "wmav2"), Fraction(25)),
        ("mpg", {"codec": "mpeg2video", "audio": "mp2"}, ("mpeg2video", "mp2"), Fraction(25)),
        ("flv", {}, ("h264", "aac"), Fraction(25)),
    ],
)
def test_containers(
    suffix: str, recipe: dict[str, Any], codecs: tuple[str, str], rate: Fraction, media: Maker
) -> None:
    info = probe(media(suffix, **recipe).path)
    assert info.video is not None
    assert info.audio is not None
    assert (info.video.codec, info.audio.codec) == codecs
    assert info.video.frame_rate == rate
    assert not info.video.variable_rate
    assert info.duration == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize(
    ("rotation", "flipped"), [(0, False), (90, False), (180, False), (270, True), (0, True)]
)
def test_orientation(rotation: int, flipped: bool, media: Maker) -> None:
    info = probe(media("mp4", rotation=rotation, flipped=flipped).path)
    assert info.video is not None
    assert (info.video.rotation, info.video.flipped) == (rotation, flipped)
    assert (info.video.width, info.video.height) == ((192, 320) if rotation in {90, 270} else (320, 192))


def test_variable_rate(media: Maker) -> None:
    info = probe(media("mp4", times=tuple(Fraction(i * i, 500) for i in range(45))).path)
    assert info.video is not None
    assert info.video.variable_rate
    assert any("frame rate varies" in w for w in info.warnings)


def test_a_dropped_picture_is_no_variable_rate(media: Maker) -> None:
    times = tuple(Fraction(i, 25) for i in range(200) if i != 77)
    info = probe(media("mp4", times=times).path)
    assert info.video is not None
    assert (info.video.variable_rate, info.video.frame_rate) == (False, 25)


def test_one_key_picture_is_no_gop(media: Maker) -> None:
    info = probe(media("mp4", gop=250).path)
    assert info.video is not None
    assert info.video.gop_seconds is None


@pytest.mark.parametrize(("suffix", "start"), [("mkv", 100.0), ("ts", 50.0), ("mp4", 5.0)])
def test_start_that_is_not_zero(suffix: str, start: float, media: Maker) -> None:
    info = probe(media(suffix, start=start).path)
    assert info.start_time == pytest.approx(start, abs=0.03)  # AAC's priming comes before
    assert info.duration == pytest.approx(4.0, abs=0.05)
    assert any("timestamps start at" in w for w in info.warnings)


def test_start_where_no_picture_has_a_decoding_time(media: Maker) -> None:
    info = probe(media("mkv", fps=Fraction(1), seconds=40, bframes=0, audio=None).path)
    assert (info.start_time, info.duration) == (0.0, pytest.approx(40.0))


def test_pictures_that_an_edit_list_hides_do_not_count(media: Maker, tmp_path: Path) -> None:
    made = media("mp4", gop=50)
    path = tmp_path / "edited.mp4"
    command = [need("ffmpeg"), "-v", "error", "-ss", "1.2", "-i", str(made.path), "-c", "copy", str(path)]
    subprocess.run(command, check=True)
    info = probe(path)
    with av.open(path) as container:
        first = next(container.decode(video=0))
    assert info.start_time == pytest.approx(0.0, abs=0.03)
    assert first.time == pytest.approx(0.0, abs=0.03)


def test_several_tracks(media: Maker) -> None:
    info = probe(media("mkv", tracks=3).path)
    assert info.audio is not None
    assert (info.audio.index, info.audio_tracks) == (1, 3)
    assert "3 audio tracks: track 1 is used" in info.warnings


def test_sound_with_a_cover_has_no_picture(media: Maker) -> None:
    info = probe(media("m4a", codec=None, cover=True).path)
    assert info.video is None
    assert info.audio is not None


def test_no_sound(media: Maker) -> None:
    assert probe(media("mp4", audio=None).path).audio is None


def test_late_sound_does_not_move_the_start(media: Maker) -> None:
    info = probe(media("mkv", audio_start=1.5).path)
    assert info.start_time == 0.0


def test_length_that_no_header_tells(tmp_path: Path) -> None:
    recipe = Recipe(seconds=60.0, size=(64, 36), audio=None)
    live = make(tmp_path / "live.mkv", Recipe(**{**vars(recipe), "mux": (("live", "1"),)}))
    info = probe(live)
    assert info.duration == pytest.approx(60.0, rel=0.25)
    assert any("estimate" in w for w in info.warnings)


def test_fragmented(media: Maker) -> None:
    flags = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
    assert probe(media("mp4", mux=flags).path).duration == pytest.approx(4.0, abs=0.1)


# --- names ---------------------------------------------------------------------------------------------

NAMES = ["-dash.mp4", "two words.mp4", "quo'te\".mp4", "per%d%s.mp4", "co:lon.mp4", "http:\\x.mp4",
         "new\nline.mp4", "🎬 ünï.mp4", "concat:a|b.mp4", "file:x.mp4", "[0-9]*.mp4",
         "$(id).mp4"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_opens(name: str, media: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(media("mp4").path, tmp_path / name)
    assert probe(tmp_path / name).duration == 4.0
    monkeypatch.chdir(tmp_path)
    assert probe(Path(name)).duration == 4.0


def test_a_name_that_is_no_text(media: Maker, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4"))
    shutil.copy(media("mp4").path, path)
    assert probe(path).duration == 4.0
    shown(path).encode()


def test_controls_in_names_are_shown_as_escapes() -> None:
    assert shown(Path("/a/b\n\x1b[31m.mp4")) == "'b\\n\\x1b[31m.mp4'"


def test_keys_in_addresses_are_not_shown() -> None:
    remote = Remote("https://me:KEY@host:81/a/b.mp4?key=KEY#KEY", {"authorization": "KEY"})
    assert shown(remote) == "'host:81/a/b.mp4'"
    assert "KEY" not in repr(remote)


# --- what is refused -----------------------------------------------------------------------------------


def refusal(path: Path, kind: type[TldrError]) -> str:
    with pytest.raises(kind) as caught:
        probe(path)
    assert type(caught.value) is kind
    assert shown(path) in str(caught.value)
    return str(caught.value)


def test_missing(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "missing.mp4", NotFoundError)
    assert "does not exist" in refusal(tmp_path / "nul\0.mp4", NotFoundError)


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path, UsageError)


def test_device() -> None:
    assert "not a regular file" in refusal(Path("/dev/zero"), UsageError)


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "not a regular file" in refusal(tmp_path / "pipe.mp4", UsageError)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"just some words\n" * 500, "is text"),
        ("wörter\n".encode() * 500, "is text"),
        (bytes(50_000), "zeros"),
        (b"%PDF-1.7" + bytes(range(256)) * 20, "PDF"),
        (b"PK\x03\x04" + bytes(range(256)) * 20, "ZIP"),
        (b"#EXTM3U\n#EXTINF:9,\nother.ts\n", "playlist"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "concat script"),
        (np.random.default_rng(1).bytes(100_000), "is not audio or video"),
        (b"\0\0\0\x20ftypavif" + bytes(200), "AVIF picture"),
    ],
)
def test_no_media(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    assert what in refusal(tmp_path / "x.mp4", NotMediaError)


@pytest.mark.parametrize(("codec", "kind"), [("libx264", "H.264"), ("libx265", "HEVC")])
def test_bare_video_is_told_from_what_is_none(codec: str, kind: str, tmp_path: Path) -> None:
    """As encoders write it, without a container."""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 64, 64, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    picture = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), "yuv420p")
    picture.pts = 0
    (tmp_path / "x.mp4").write_bytes(b"".join(map(bytes, [*encoder.encode(picture), *encoder.encode(None)])))
    assert f"is bare {kind} video and has no times" in refusal(tmp_path / "x.mp4", MediaError)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WebP"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_pictures(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.new("RGB", (64, 64), "red").save(path, kind)
    assert f"is a {kind} picture" in refusal(path, NotMediaError)


def test_truncated_before_its_index(media: Maker, tmp_path: Path) -> None:
    data = media("mp4").path.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    assert "index (moov)" in refusal(tmp_path / "cut.mp4", MediaError)


@pytest.mark.parametrize("suffix", ["mkv", "flv"])
def test_a_short_rest_of_a_file_says_how_long_it_was(suffix: str, media: Maker, tmp_path: Path) -> None:
    data = media(suffix, seconds=6.0).path.read_bytes()
    rest = tmp_path / f"cut.{suffix}"
    rest.write_bytes(data[: len(data) // 3])
    info = probe(rest)
    assert info.duration < 3.5
    (told,) = info.warnings
    assert told.startswith(f"the file ends at {info.duration:.1f} s though its header promises 6.")


def test_subtitles_only(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    with av.open(path, "w") as container:
        stream = container.add_mux_stream("subrip")
        packet = av.Packet(b"hello")
        packet.stream, packet.pts, packet.dts, packet.duration = stream, 0, 0, 1000
        packet.time_base = Fraction(1, 1000)
        container.mux(packet)
    assert "neither picture nor sound" in refusal(path, NoStreamsError)


def test_encrypted(tmp_path: Path) -> None:
    keys = (("encryption_scheme", "cenc-aes-ctr"), ("encryption_key", "0" * 32), ("encryption_kid", "1" * 32))
    path = make(tmp_path / "x.mp4", Recipe(seconds=1.0, bframes=0, mux=keys))
    assert "is encrypted" in refusal(path, NoStreamsError)


def test_an_unknown_picture_leaves_the_sound(media: Maker, tmp_path: Path) -> None:
    made = media("mka", codec="libx264")
    data = made.path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_ZZZZZ/ISO/AVC")
    (tmp_path / "x.mka").write_bytes(data)
    info = probe(tmp_path / "x.mka")
    assert info.video is None
    assert info.audio is not None
    assert any("has no decoder here: left out" in w for w in info.warnings)


def test_codec_without_decoder(media: Maker, tmp_path: Path) -> None:
    data = media("mka", codec=None).path.read_bytes().replace(b"A_AAC", b"A_ZZZ")
    (tmp_path / "x.mka").write_bytes(data)
    assert "no decoder" in refusal(tmp_path / "x.mka", NoStreamsError)


def test_lists_of_other_files_open_nothing(media: Maker, tmp_path: Path) -> None:
    other = media("mp4").path
    scripts = {
        "a.txt": f"ffconcat version 1.0\nfile '{other}'\n",
        "b.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{other}\n#EXT-X-ENDLIST\n",
        "c.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f"<Period><AdaptationSet><Representation><BaseURL>{other}</BaseURL></Representation></AdaptationSet>"
        "</Period></MPD>",
        "d.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        refusal(tmp_path / name, NotMediaError)


def test_allowed_containers_name_no_others() -> None:
    assert not set(CONTAINERS) & {
        "concat",
        "hls",
        "dash",
        "image2",
        "tty",
        "sdp",
        "lavfi",
        "imf",
        "webvtt",
        "srt",
    }


# --- bombs ---------------------------------------------------------------------------------------------


def test_900_streams_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "many.mkv"
    silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
    silence.sample_rate, silence.pts = 8000, 0
    with av.open(path, "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(900)]
        for stream in streams:
            container.mux(stream.encode(silence))
    began = time.process_time()
    assert "holds 200 streams or more" in refusal(path, MediaLimitError)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(pixels=1000), "320x192"),
        (Limits(streams=1), "2 streams"),
        (Limits(seconds=1), "hours"),
        (Limits(sample_rate=8000), "48000 Hz"),
        (Limits(channels=1), "2 channels"),
    ],
)
def test_limits(limits: Limits, what: str, media: Maker) -> None:
    with pytest.raises(MediaLimitError, match=what):
        probe(media("mp4").path, limits)


def test_a_header_of_100_hours_is_read(media: Maker) -> None:
    info = probe(media("mkv", times=(Fraction(0), Fraction(360_000)), audio=None).path)
    assert info.duration == pytest.approx(360_000, rel=1e-3)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_anywhere(seed: int, media: Maker, tmp_path: Path) -> None:
    """Described or refused, never anything else."""
    random = np.random.default_rng(seed)
    made = media(
        ("mp4", "mkv", "ts", "flv", "avi")[seed % 5], **({"codec": "mpeg4"} if seed % 5 == 4 else {})
    )
    data = bytearray(made.path.read_bytes())
    for place in random.integers(0, len(data), random.integers(1, 2000)):
        data[place] = random.integers(256)
    path = tmp_path / f"x.{made.path.suffix[1:]}"
    path.write_bytes(data[: random.integers(len(data) // 4, len(data))])
    with contextlib.suppress(TldrError):
        assert probe(path).duration >= 0


def test_metadata_that_is_no_text(tmp_path: Path) -> None:
    path = make(tmp_path / "x.mp4", Recipe(seconds=0.4, metadata=(("title", "TITLETITLE"),)))
    path.write_bytes(path.read_bytes().replace(b"TITLETITLE", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe"))
    with open_media(path) as container:
        assert "title" in container.metadata


def test_streams_that_appear_late(media: Maker, tmp_path: Path) -> None:
    """A tag of a kind the header did not promise: libav adds a stream for it while the file is read."""
    data = bytearray(media("flv").path.read_bytes())
    tag = data.find(b"\x08", len(data) * 3 // 4)
    while not (data[tag] == 8 and data[tag + 8 : tag + 11] == b"\0\0\0"):
        tag = data.find(b"\x08", tag + 1)
    data[tag] = 18
    (tmp_path / "x.flv").write_bytes(data)
    info = probe(tmp_path / "x.flv")
    assert info.video is not None


# --- pairs ---------------------------------------------------------------------------------------------


def test_a_pair_has_the_pictures_of_one_and_the_sound_of_the_other(media: Maker) -> None:
    seen, heard = media("mp4", tracks=2), media("m4a", codec=None, rate=44_100, seconds=5)
    info = probe(seen.path, sound=heard.path)
    assert (info.origin, info.sound_origin) == (seen.path, heard.path)
    assert info.video == seen.info.video
    assert info.audio == heard.info.audio
    assert (info.start_time, info.duration, info.audio_tracks) == (0, pytest.approx(5, abs=0.05), 1)
    assert info.size == seen.path.stat().st_size + heard.path.stat().st_size
    assert info.warnings == ()


@pytest.mark.parametrize(("seen", "heard"), [(5.0, 7.0), (7.0, 5.0)])
def test_a_pair_shares_its_clock(seen: float, heard: float, media: Maker) -> None:
    picture = media("ts", start=seen, audio=None)
    sound = media("ts", start=heard, codec=None)
    info = probe(picture.path, sound=sound.path)
    offset = picture.info.start_time - seen  # of MPEG-TS
    assert info.start_time == pytest.approx(offset + 5.0, abs=0.03)
    assert info.duration == pytest.approx(6.0, abs=0.1)


def test_a_pair_of_which_one_is_missing(media: Maker) -> None:
    silent, dark = media("mp4", audio=None), media("m4a", codec=None)
    with pytest.raises(NoStreamsError, match=r"holds no audio"):
        probe(silent.path, sound=silent.path)
    with pytest.raises(NoStreamsError, match=r"holds no video"):
        probe(dark.path, sound=dark.path)
