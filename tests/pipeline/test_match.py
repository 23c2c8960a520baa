"""The made match: the same each time, what it promises to be, and its moments are where it says."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tldr_highlight.errors import DiskFullError, OutputError, UsageError
from tldr_highlight.pipeline import match
from tldr_highlight.pipeline.match import RATE, made, make, plan_match, planted

SECONDS = match.SHORTEST


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("match") / "match.mp4"
    make(path, seconds=SECONDS)
    return path


@pytest.fixture(scope="module")
def seen(film: Path) -> list[NDArray[np.float32]]:
    """Luma of every frame at a quarter of its size."""
    with av.open(str(film)) as container:
        return [
            f.reformat(width=160, height=90, format="gray").to_ndarray().astype(np.float32)
            for f in container.decode(video=0)
        ]


def changes(frames: Sequence[NDArray[np.float32]]) -> list[float]:
    """Mean difference of each picture to the one before."""
    return [float(np.abs(b - a).mean()) for a, b in pairwise(frames)]


def loudness(sound: NDArray[np.float32], start: float, end: float) -> float:
    """Median level in dB of the half seconds between `start` and `end`."""
    part = sound[:, round(max(0.0, start) * RATE) : round(end * RATE)]
    steps = part[:, : part.shape[1] // (RATE // 2) * (RATE // 2)].reshape(2, -1, RATE // 2)
    return float(np.median(10 * np.log10(np.mean(np.square(steps), axis=(0, 2)) + 1e-12)))


# --- the plan ------------------------------------------------------------------------------------------


def test_three_minutes_hold_five_moments_of_four_kinds() -> None:
    moments = planted(plan_match(180, seed=1))
    assert sorted(m.what for m in moments) == ["crowd surge", "goal", "goal", "near miss", "save"]
    assert {p.kind for p in plan_match(180, seed=1).pauses} == {"chant", "announcement", "break"}


@pytest.mark.parametrize("seconds", [20, 40, 54, 90, 180, 333.3, 600])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_moments_are_apart_and_nothing_else_is_on_them(seconds: float, seed: int) -> None:
    plan = plan_match(seconds, seed)
    moments = planted(plan)
    assert all(0 <= m.start < m.peak < m.end <= seconds for m in moments)
    assert all(b.peak - a.peak >= 20 for a, b in pairwise(moments))
    for pause in plan.pauses:
        assert all(pause.end <= m.start - 2 or m.end <= pause.start for m in moments)


@pytest.mark.parametrize("seconds", [0, -5, 19.9, 601, float("nan"), float("inf")])
def test_a_length_nobody_can_use_is_refused(seconds: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose 20 to 600"):
        make(tmp_path / "match.mp4", seconds=seconds)
    assert not list(tmp_path.iterdir())


# --- the film ------------------------------------------------------------------------------------------


def test_streams_are_as_promised(film: Path) -> None:
    with av.open(str(film)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, video.average_rate, video.pix_fmt) == (640, 360, 25, "yuv420p")
        assert (audio.rate, audio.layout.name) == (48_000, "stereo")
        packets = [p for p in container.demux(video) if p.size]
        keys = sorted(float(p.pts * p.time_base) for p in packets if p.is_keyframe)  # type: ignore[operator]
    assert len(packets) == SECONDS * 25
    assert keys == [*range(0, int(SECONDS), 2)]
    assert make_head(film) == b"moov", "the index is not in front: players could not start at once"


def make_head(film: Path) -> bytes:
    """The kind of the first box behind the file type."""
    data = film.read_bytes()[:64]
    first = int.from_bytes(data[:4], "big")
    return data[first + 4 : first + 8]


def test_the_same_seed_makes_the_same_bytes(film: Path, tmp_path: Path) -> None:
    make(tmp_path / "again.mp4", seconds=SECONDS)
    assert (tmp_path / "again.mp4").read_bytes() == film.read_bytes()


def test_another_seed_makes_another_match() -> None:
    one, other = (match.play_match(plan_match(SECONDS, seed)) for seed in (1, 2))
    assert not np.allclose(one.ball, other.ball)


def test_a_goal_cuts_to_a_replay_and_nothing_else_jumps(seen: list[NDArray[np.float32]]) -> None:
    goal = plan_match(SECONDS, 1).scenes[0]
    replay = round((goal.at + match.REPLAY["goal"][0]) * 25)
    jumps = changes(seen[: replay + 25])  # later the replay's own camera chases the ball
    assert abs(int(np.argmax(jumps)) + 1 - replay) <= 1
    others = [j for i, j in enumerate(jumps) if abs(i + 1 - replay) > 1]
    assert max(others) < 0.6 * max(jumps)


def test_the_crowd_jumps_at_a_goal(seen: list[NDArray[np.float32]]) -> None:
    goal = plan_match(SECONDS, 1).scenes[0]
    stand = [picture[2:18, 64:128] for picture in seen]

    def stir(at: float) -> float:
        return float(np.mean(changes(stand[round(at * 25) : round(at * 25) + 25])))

    assert stir(goal.at + 2) > 2 * stir(0.2)


# --- the play ------------------------------------------------------------------------------------------


def test_the_ball_crosses_the_line_on_time_and_people_run_like_people() -> None:
    plan = plan_match(180, 1)
    play = match.play_match(plan)
    for scene in plan.scenes:
        frame = round(scene.at * 25)
        if scene.kind == "goal":
            line = 105.0 if scene.side == 0 else 0.0
            assert abs(play.ball[frame, 0] - line) < 1.5
            assert abs(play.ball[frame, 1] - 34) < 3.66
            assert abs(play.ball[frame - 50, 0] - line) > 8
    speed = np.hypot(*np.moveaxis(np.diff(play.people[:, :22], axis=0), 2, 0)) * 25
    assert np.percentile(speed, 99) < 9
    assert 1 < np.median(speed) < 5
    near = np.hypot(*np.moveaxis(play.people[:, :22] - play.ball[:, None, :2], 2, 0)).min(axis=1)
    assert np.median(near) < 4, "nobody is where the ball is"


# --- the sound -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heard() -> tuple[match.Plan, NDArray[np.float32]]:
    plan = plan_match(112, 4)
    return plan, match.soundtrack(plan)


def test_moments_stand_out_and_what_lies_between_does_not(
    heard: tuple[match.Plan, NDArray[np.float32]],
) -> None:
    plan, sound = heard
    usual = loudness(sound, 0, plan.seconds)
    for moment in planted(plan):
        assert 6 < loudness(sound, moment.peak - 0.75, moment.peak + 0.75) - usual < 16, moment
    for pause in plan.pauses:
        assert loudness(sound, pause.start + 1, pause.end - 1) - usual < 4, pause


def test_a_roar_is_8_to_14_db_above_the_murmur() -> None:
    plan = plan_match(SECONDS, 1)
    ground = match._ambience(plan.rng(1), plan.frames * RATE // 25)
    before = loudness(ground, 0, SECONDS)
    match._reactions(plan, ground)
    peak = planted(plan)[0].peak
    assert 8 < loudness(ground, peak - 0.5, peak + 0.5) - before < 14


def test_the_stadium_never_rests_and_nothing_clips(heard: tuple[match.Plan, NDArray[np.float32]]) -> None:
    plan, sound = heard
    away = [(p.start - 0.5, p.end + 0.5) for p in plan.pauses if p.kind == "break"]
    quiet = [t for t in np.arange(0, plan.seconds - 0.5, 0.5)
             if loudness(sound, t, t + 0.5) < -42 and not any(a <= t <= b for a, b in away)]  # fmt: skip
    assert not quiet
    assert float(np.abs(sound).max()) <= match.CEILING + 1e-6


def test_decoded_sound_does_not_clip_and_lasts_as_long_as_the_picture(film: Path) -> None:
    with av.open(str(film)) as container:
        sound = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
    assert float(np.abs(sound).max()) < 1.0
    assert abs(sound.shape[1] / RATE - SECONDS) < 0.05


def test_the_limiter_lets_nothing_through() -> None:
    rng = np.random.default_rng(3)
    loud = (rng.standard_normal((2, RATE)) * np.repeat(rng.uniform(0, 3, 100), RATE // 100)).astype(
        np.float32
    )
    assert float(np.abs(match._limited(loud)).max()) <= match.CEILING + 1e-6
    soft = loud * np.float32(0.01)
    assert np.allclose(match._limited(soft), soft)


# --- whole or not at all -------------------------------------------------------------------------------


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise instead of a match: these tests are about the file."""
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (int(SECONDS * 25), 540, 640), np.uint8)

    def pictures(plan: match.Plan) -> Iterator[NDArray[np.uint8]]:
        return iter(frames)

    def silence(plan: match.Plan) -> NDArray[np.float32]:
        return np.zeros((2, int(SECONDS * RATE)), np.float32)

    monkeypatch.setattr(match, "pictures", pictures)
    monkeypatch.setattr(match, "soundtrack", silence)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow past 200 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("plain", "small_disk")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="no space left"):
        make(tmp_path / "match.mp4", seconds=SECONDS)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("plain")
def test_ctrl_c_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "match.mp4"
    path.write_bytes(b"before")

    def stop(stage: str, done: float, total: float) -> None:
        if done > total / 4 + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(path, seconds=SECONDS, progress=stop)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"before"]


def test_a_folder_that_cannot_be_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    called: list[float] = []
    with pytest.raises(OutputError):
        make(tmp_path / "file" / "match.mp4", progress=lambda stage, done, total: called.append(done))
    assert not called


def test_a_film_is_known_again(film: Path, tmp_path: Path) -> None:
    assert made(film, seconds=SECONDS)
    assert not made(film, seconds=SECONDS, seed=2)
    assert not made(film, seconds=21)
    assert not made(tmp_path / "none.mp4")


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "match.mp4"
    path.write_text("my holidays")
    with pytest.raises(UsageError, match="not made by the demo"):
        made(path)
