"""Specs to files: render, encode, keep."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from benchmarks.detection.directing import FPS, directions, style_of
from benchmarks.detection.labels import CONTROL, NO_PICTURE, NO_SOUND, LabelledVideo, VideoSpec
from benchmarks.detection.plan import Plan, generator, make_plan
from benchmarks.detection.soundtrack import Mixed, mixed
from benchmarks.detection.synth import picture
from benchmarks.detection.synth.dsp import RATE

HERE = Path(__file__).parent
CACHE = HERE.parent / "cache" / "detection"
"""Where made videos stay; git-ignored. Delete it freely."""

_GENERATOR = (
    "events.py", "distractors.py", "happening.py", "plan.py", "soundtrack.py", "directing.py", "make.py",
    "synth/dsp.py", "synth/voice.py", "synth/crowd.py", "synth/music.py", "synth/noises.py",
    "synth/picture.py",
)  # fmt: skip


@cache
def version() -> str:
    """Hash of the code that makes videos: another generator, other files."""
    digest = hashlib.sha256()
    for name in _GENERATOR:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:8]


def make(spec: VideoSpec, folder: Path = CACHE) -> LabelledVideo:
    """The file of a spec and its labels, from `folder` when it was made before by the same code."""
    folder = folder / version()
    labels = folder / f"{spec.name}.json"
    if labels.exists():
        return LabelledVideo.loads(labels.read_text(), folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = _render(spec, folder)
    _put(labels, made.dumps().encode())
    return made


def _put(path: Path, data: bytes) -> None:
    part = path.with_name(f".{os.getpid()}-{path.name}")
    part.write_bytes(data)
    part.replace(path)


def _render(spec: VideoSpec, folder: Path) -> LabelledVideo:
    plan = make_plan(spec)
    sound = mixed(spec, plan)
    rng = generator(spec, "codec")
    codec = _codec(rng, spec)
    suffix = ".m4a" if spec.genre == NO_PICTURE else ".mp4"
    path = folder / f"{spec.name}{suffix}"
    part = folder / f".{os.getpid()}-{spec.name}{suffix}"
    todo, look = directions(spec, plan, sound.speaking)
    pictures = picture.frames(generator(spec, "frames"), style_of(spec), todo)
    _encode(
        part, codec, None if spec.genre == NO_PICTURE else pictures, None if spec.genre == NO_SOUND else sound
    )
    part.replace(path)
    return LabelledVideo(
        path=path,
        spec=spec,
        duration=plan.seconds,
        events=tuple(h.event for h in plan.happenings if h.event),
        distractors=tuple(
            h.distractor for h in plan.happenings if h.distractor and _perceptible(spec, h.distractor.kind)
        ),
        rendering=sound.rendering | look | {k: str(v) for k, v in codec.items()},
    )


_SEEN_ONLY = ("cuts", "camera shake", "camera pan", "flashes")


def _perceptible(spec: VideoSpec, kind: str) -> bool:
    return not (spec.genre == NO_PICTURE and kind in _SEEN_ONLY)


def _codec(rng: np.random.Generator, spec: VideoSpec) -> dict[str, int]:
    """2 s between key pictures as live encoders do, or up to 10 as x264 does by itself."""
    gop = int(rng.choice([2, 2, 4, 10])) if spec.genre != CONTROL else 2
    return {
        "gop": gop,
        "rate": int(rng.choice([48_000, 48_000, 44_100])),
        "channels": int(rng.choice([1, 2, 2])),
        "bit_rate": int(rng.choice([64_000, 96_000, 128_000])),
    }


def _encode(
    path: Path, codec: dict[str, int], pictures: Iterator[picture.U8] | None, sound: Mixed | None
) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        video = _video_stream(container, codec) if pictures is not None else None
        audio = _audio_stream(container, codec) if sound is not None else None
        blocks = _sound_packets(audio, sound, codec) if audio is not None and sound is not None else iter(())
        if video is None or pictures is None:
            for packet in blocks:
                container.mux(packet)
            return
        _interleave(container, video, pictures, blocks)


def _interleave(
    container: OutputContainer,
    video: VideoStream,
    pictures: Iterator[picture.U8],
    blocks: Iterator[Packet[AudioStream]],
) -> None:
    """Sound in time with the pictures, so that a reader need not jump."""
    pending = next(blocks, None)
    for index, planes in enumerate(pictures):
        frame = VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        for packet in video.encode(frame):
            container.mux(packet)
        while pending is not None and _seconds(pending) <= index / FPS:
            container.mux(pending)
            pending = next(blocks, None)
    for packet in video.encode(None):
        container.mux(packet)
    while pending is not None:
        container.mux(pending)
        pending = next(blocks, None)


def _seconds(packet: Packet[AudioStream]) -> float:
    return float((packet.dts or 0) * (packet.time_base or 0))


def _video_stream(container: OutputContainer, codec: dict[str, int]) -> VideoStream:
    stream = container.add_stream(
        "libx264", rate=FPS, options={"preset": "ultrafast", "crf": "26", "threads": "1"}
    )
    stream.width, stream.height = picture.WIDTH, picture.HEIGHT
    stream.pix_fmt = "yuv420p"
    stream.codec_context.gop_size = codec["gop"] * FPS
    return stream


_QUICK_AAC = {"aac_coder": "fast"}
"""libav's default search takes three times as long and sounds no different to a detector."""


def _audio_stream(container: OutputContainer, codec: dict[str, int]) -> AudioStream:
    layout = "stereo" if codec["channels"] == 2 else "mono"
    stream = container.add_stream("aac", rate=codec["rate"], layout=layout, options=_QUICK_AAC)
    stream.bit_rate = codec["bit_rate"]
    return stream


def _sound_packets(stream: AudioStream, sound: Mixed, codec: dict[str, int]) -> Iterator[Packet[AudioStream]]:
    """Resampled to the file's rate and encoded, a few seconds at a time."""
    layout = "stereo" if codec["channels"] == 2 else "mono"
    data = sound.stereo if codec["channels"] == 2 else sound.stereo.mean(axis=0, keepdims=True)
    resampler = AudioResampler(format="fltp", layout=layout, rate=codec["rate"], frame_size=1024)
    for first in range(0, data.shape[1], 4 * RATE):
        part = np.ascontiguousarray(data[:, first : first + 4 * RATE], np.float32)
        frame = AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
        for block in resampler.resample(frame):
            yield from stream.encode(block)
    for block in resampler.resample(None):
        yield from stream.encode(block)
    yield from stream.encode(None)


def halved(video: LabelledVideo) -> LabelledVideo:
    """The same video at half the amplitude (-6 dB): pictures copied, sound decoded and encoded again."""
    path = video.path.with_name(f"half-{video.path.name}")
    if not path.exists() and video.genre != NO_SOUND:
        part = path.with_name(f".{os.getpid()}-{path.name}")
        _copy_quieter(video.path, part, 0.5)
        part.replace(path)
    source = path if path.exists() else video.path
    return LabelledVideo(source, video.spec, video.duration, video.events, video.distractors, video.rendering)


def _copy_quieter(source: Path, target: Path, gain: float) -> None:
    with av.open(str(source)) as before, av.open(str(target), "w", format="mp4") as after:
        audio = before.streams.audio[0]
        picture_in = before.streams.video[0] if before.streams.video else None
        picture_out = after.add_stream_from_template(picture_in) if picture_in else None
        out = after.add_stream("aac", rate=audio.rate, layout=audio.layout.name, options=_QUICK_AAC)
        out.bit_rate = audio.bit_rate or 96_000
        for packet in before.demux():
            if packet.dts is None:
                continue
            if picture_out is not None and packet.stream is picture_in:
                packet.stream = picture_out
                after.mux(packet)
                continue
            for frame in packet.decode():
                assert isinstance(frame, AudioFrame)
                softer = AudioFrame.from_ndarray(
                    (frame.to_ndarray() * np.float32(gain)), format="fltp", layout=frame.layout.name
                )
                softer.sample_rate, softer.pts, softer.time_base = (
                    frame.sample_rate,
                    frame.pts,
                    frame.time_base,
                )
                after.mux(out.encode(softer))
        after.mux(out.encode(None))


def describe(plan: Plan) -> list[str]:
    """One line per happening, for people."""
    lines: list[str] = []
    for h in plan.happenings:
        label = h.event or h.distractor
        assert label is not None
        lines.append(f"{label.start:7.1f}-{label.end:7.1f} {label.kind}{' ' + h.strength if h.event else ''}")
    return lines
