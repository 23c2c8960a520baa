"""The speed benchmark measures what it says, and its made file is what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from benchmarks.analyse import source
from benchmarks.analyse.contest import Run, bounds, faster, figures


def run_measured(code: str) -> Run:
    """What `measured` says about a child that runs `code`; from a small parent, as in the benchmark."""
    parent = (
        "import sys; from benchmarks.analyse.contest import measured;"
        f" print(*measured([sys.executable, '-c', {code!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", parent], check=True, capture_output=True, text=True)
    return Run(*map(float, done.stdout.split()))


def test_memory_and_processor_time_of_children_are_measured() -> None:
    run = run_measured(
        "from time import process_time as now\n"
        "x = b'x' * 200_000_000; end = now() + 0.3\n"
        "while now() < end: pass"
    )
    assert 200 < run.peak_mb < 260
    assert 0.3 <= run.cpu_seconds < 1.0
    assert run.seconds >= 0.3


def test_a_childs_memory_is_its_own() -> None:
    assert run_measured("pass").peak_mb < 40


def test_a_failing_contestant_is_no_figure() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_measured("raise SystemExit('no such codec')")
    assert "RuntimeError" in failed.value.stderr
    assert "no such codec" in failed.value.stderr


def test_figures_are_medians_and_the_highest_peak() -> None:
    runs = [Run(10.0, 5.0, 100.0), Run(20.0, 6.0, 140.0), Run(12.0, 7.0, 120.0)]
    assert figures(runs, 600.0) == (50.0, 6.0, 140.0)
    assert faster(runs, [Run(30.0, 1.0, 1.0), Run(20.0, 1.0, 1.0), Run(24.0, 1.0, 1.0)]) == 2.0


def results(
    ten: float, sixty: float, mb: tuple[float, float], exact: float, peer: float, exact_mb: float = 200.0
) -> dict[float, dict[str, list[Run]]]:
    """Runs of one round: seconds for 10 and 60 minutes, MB for both, seconds of the others for 60."""
    return {
        10: {"ours": [Run(ten, 1.0, mb[0])]},
        60: {
            "ours": [Run(sixty, 1.0, mb[1])],
            "ours, exact motion": [Run(exact, 1.0, exact_mb)],
            "PySceneDetect adaptive": [Run(peer, 1.0, 1.0)],
        },
    }


def test_bounds_hold_where_they_should() -> None:
    checks = bounds(results(5.0, 30.0, (200.0, 210.0), 230.0, 400.0))
    assert len(checks) == 7
    assert all(c.kept for c in checks)


@pytest.mark.parametrize(
    ("what", "runs"),
    [
        ("x realtime, 60", results(5.0, 33.0, (200.0, 210.0), 230.0, 400.0)),
        ("MB at the peak", results(5.0, 30.0, (350.0, 351.0), 230.0, 400.0)),
        ("memory, 60 against", results(5.0, 30.0, (200.0, 231.0), 230.0, 400.0)),
        ("memory, 60 against", results(5.0, 30.0, (200.0, 169.0), 230.0, 400.0)),
        ("x realtime with exact", results(5.0, 30.0, (200.0, 210.0), 241.0, 400.0)),
        ("MB with exact", results(5.0, 30.0, (200.0, 210.0), 230.0, 400.0, exact_mb=351.0)),
        ("x PySceneDetect", results(5.0, 30.0, (200.0, 210.0), 230.0, 359.0)),
    ],
)
def test_each_bound_can_be_missed(what: str, runs: dict[float, dict[str, list[Run]]]) -> None:
    missed = [c.what for c in bounds(runs) if not c.kept]
    assert len(missed) == 1
    assert missed[0].startswith(what)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 s like the benchmark's, but small: same GOP, same rates."""
    path = tmp_path_factory.mktemp("part") / "part.mp4"
    with av.open(path, "w") as out:
        video = out.add_stream("libx264", rate=source.RATE)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.options = {"preset": "ultrafast", "bf": "2", "g": "60", "keyint_min": "60", "sc_threshold": "0"}
        audio = out.add_stream("aac", rate=source.SOUND, layout="stereo")
        for index in range(source.PART * source.RATE):
            frame = VideoFrame.from_ndarray(np.full((72, 64), index % 200, np.uint8), format="yuv420p")
            out.mux(video.encode(frame))
        for second in range(source.PART + 1):
            sound = AudioFrame.from_ndarray(np.zeros((2, source.SOUND), np.float32), "fltp", "stereo")
            sound.sample_rate, sound.pts = source.SOUND, second * source.SOUND
            out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path


def test_the_made_file_goes_on_without_gaps(part: Path, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    source.make(2.5, path, part)
    with av.open(path) as made:
        video, audio = made.streams.video[0], made.streams.audio[0]
        packets = [p for p in made.demux(video, audio) if p.size]
        pictures = [p for p in packets if p.stream.type == "video"]
        shown = sorted(float(p.pts * p.time_base) for p in pictures if p.pts is not None)
        sound = [
            float(p.pts * p.time_base) for p in packets if p.stream.type == "audio" and p.pts is not None
        ]
        keys = [float(p.pts * p.time_base) for p in pictures if p.is_keyframe and p.pts is not None]
    assert len(shown) == 150 * source.RATE
    assert np.allclose(np.diff(shown), 1 / source.RATE, atol=1e-4)
    assert np.allclose(keys, np.arange(0, 150, 2), atol=1e-4)
    assert np.allclose(np.diff(sound), 1024 / source.SOUND, atol=1e-4)
    assert 149.9 < sound[-1] < 150
    assert not list(tmp_path.glob("*.tmp.*"))


def test_cheering_is_where_it_should_be(part: Path, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    source.make(4, path, part, cheers=True)
    with av.open(path) as made:
        assert sum(bool(p.size) for p in made.demux(video=0)) == 240 * source.RATE
    with av.open(path) as made:
        blocks = [f.to_ndarray().mean(axis=0) for f in made.decode(audio=0)]
    sound = np.concatenate(blocks)
    rate = len(sound) // 240
    loudness = np.sqrt(np.square(sound[: 240 * rate].reshape(240, rate)).mean(axis=1))
    assert len(sound) / rate == pytest.approx(240, abs=0.1)
    assert np.flatnonzero(loudness > 2.5 * np.median(loudness)).tolist() == list(range(180, 186))


def test_long_gops_have_key_pictures_at_cuts_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the benchmark's own encoder, on fewer and smaller pictures."""
    for name, value in {"WIDTH": 480, "HEIGHT": 288, "PART": 16}.items():
        monkeypatch.setattr(source, name, value)
    keys: dict[int, list[int]] = {}
    for gop in (2, 10):
        source.make(16 / 60, tmp_path / f"{gop}.mp4", tmp_path / f"part-{gop}.mp4", gop)
        with av.open(tmp_path / f"{gop}.mp4") as made:
            packets = [p for p in made.demux(video=0) if p.is_keyframe and p.pts is not None]
            keys[gop] = [round(float(p.pts * p.time_base) * source.RATE) for p in packets]
    assert keys[2] == list(range(0, 480, 60))
    assert {0, 159} <= set(keys[10])  # where the first two shots begin
    assert max(np.diff(keys[10])) <= 300
    assert not {60, 120, 240, 300} & set(keys[10])
