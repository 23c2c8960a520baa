"""`python -m benchmarks.clips`: how long a clip of a clip job takes, and how many jobs a minute are done.

A 60 s clip of a source whose picture and sound have addresses of their own, as video sites have them, over
a line of 50 ms and 100 Mbit/s: from the call to the link, beside ffmpeg's inaccurate copy, and beside the way
of the clip service that this replaces: fetch both, encode. They take turns, and figures are medians. Then
jobs of one 10 s clip each, from a file on a server without a line, 1, 4 and 16 at once. Then how soon
`create-clips` answers while both cores encode. Exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import httpx2

from benchmarks.analyse.__main__ import machine, read_ahead, tell, verdict
from benchmarks.analyse.contest import CACHE, Bound
from benchmarks.analyse.source import make
from tests.program import Program
from tldr_highlight.client import Client

DELAY, MBITS = 0.05, 100.0
"""Seconds of a round trip, and Mbit/s."""

LENGTH = 60.0
"""Seconds of the clip on the line, for which the bounds are."""

SHORT = 10.0
"""Seconds of the clips of many jobs."""

AT_ONCE = (1, 4, 16)

OURS, COPY, FETCH = "clip job", "ffmpeg -c copy (inaccurate)", "fetch and encode"
COPY_BOUND, FETCH_BOUND = 1.3, 5.0
ANSWER_BOUND = 50.0
"""Milliseconds."""


@dataclass(frozen=True)
class Pair:
    """A source in two files on a server."""

    video: str
    audio: str


def main() -> int:
    asked = _arguments()
    tell(machine())
    checks: list[Bound] = []
    left_out: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="tldr-clips-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        media = _media(asked.minutes)
        client, http = stack.enter_context(_service(folder))
        if shutil.which("ffmpeg") is None:
            left_out.append(("the line", "no ffmpeg program on the PATH"))
        else:
            checks += _contest(client, media, folder, asked.length, asked.rounds)
        _many(client, media, 60 * asked.minutes, asked.seconds)
        checks.append(_answers(client, http, media, 60 * asked.minutes, asked.calls))
    tell(verdict(checks, left_out))
    return 0 if all(check.kept for check in checks) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clips", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="length of the source")
    parser.add_argument("--length", type=float, default=LENGTH, help="seconds of the clip on the line")
    parser.add_argument("--rounds", type=int, default=7, help="of the contest on the line")
    parser.add_argument("--seconds", type=float, default=60, help="of jobs at each number at once")
    parser.add_argument("--calls", type=int, default=500, help="of `create-clips`")
    return parser.parse_args()


# --- what there is -------------------------------------------------------------------------------------


def _media(minutes: float) -> Path:
    """A folder with `video.mp4` and `audio.m4a`, and both in `whole.mp4`; made once."""
    folder = CACHE / f"pair-{minutes:g}min"
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "whole.mp4"
    if not whole.exists():
        make(minutes, whole, CACHE / "part.mp4")
    for name, kind in (("video.mp4", "video"), ("audio.m4a", "audio")):
        if not (folder / name).exists():
            _one_track(whole, folder / name, kind)
    for path in folder.iterdir():
        read_ahead(path)
    return folder


def _one_track(source: Path, path: Path, kind: str) -> None:
    draft = path.with_name(f"draft-{path.name}")
    options = {"movflags": "faststart"}
    with av.open(str(source)) as there, av.open(str(draft), "w", format="mp4", options=options) as out:
        [stream, *_] = [s for s in there.streams if s.type == kind]
        track = out.add_stream_from_template(stream)
        for packet in there.demux(stream):
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    draft.replace(path)


@contextmanager
def _service(folder: Path) -> Iterator[tuple[Client, httpx2.Client]]:
    """Our server with its worker, for somebody who may call it, by the client and without."""
    env = {"TLDR_DATA_DIR": str(folder / "data"), "TLDR_ALLOW_NETWORKS": "127.0.0.0/8"}
    with Program("serve", "--port", "0", folder=folder / "serve", env=env) as serve:
        url = serve.says(r"^  address   (http://\S+)$")[1]
        with Client(url) as nobody:
            began = nobody.auth.register("ann@example.com", "seven wet otters sing", "Nordlicht")
        plan = ["org", "plan", began.organization.id, "ENTERPRISE", "--set", "requests_per_minute=100000"]
        command = [sys.executable, "-m", "tldr_highlight", *plan, "--data", str(folder / "data")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        headers = {"X-API-Key": began.api_key.key}
        with Client(url, began.api_key.key) as client, httpx2.Client(base_url=url, headers=headers) as http:
            yield client, http


@contextmanager
def _line(folder: Path, *, slow: bool) -> Iterator[str]:
    """The address of a server of the folder's files."""
    how = ["--delay", str(DELAY), "--rate", str(MBITS)] if slow else []
    command = [sys.executable, "-m", "benchmarks.cut.server", str(folder), *how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        yield server.stdout.readline().strip()
        server.stdin.close()


# --- on the line ---------------------------------------------------------------------------------------


def _contest(client: Client, media: Path, folder: Path, length: float, rounds: int) -> list[Bound]:
    took: dict[str, list[float]] = {OURS: [], COPY: [], FETCH: []}
    with _line(media, slow=True) as url:
        pair = Pair(f"{url}/video.mp4", f"{url}/audio.m4a")
        ways: dict[str, Callable[[float], None]] = {
            OURS: lambda start: _job(client, pair, (start, length)),
            COPY: lambda start: _copy(pair, (start, length), folder),
            FETCH: lambda start: _fetch(pair, (start, length), folder),
        }
        for number in range(rounds):
            start = 61.3 + 7.7 * number  # no two clips alike, none at a key picture
            for name in ways if number % 2 else reversed(ways):
                began = time.monotonic()
                ways[name](start)
                took[name].append(time.monotonic() - began)
    line = f"{1000 * DELAY:g} ms and {MBITS:g} Mbit/s"
    lines = [f"a clip of {length:g} s over {line}, seconds: median, least, most"]
    for name, each in took.items():
        lines.append(f"  {name:28} {statistics.median(each):7.2f} {min(each):7.2f} {max(each):7.2f}")
    tell("\n".join(lines) + "\n")
    return [
        Bound(f"{OURS} / {COPY}", _ratio(took[OURS], took[COPY]), COPY_BOUND, at_least=False),
        Bound(f"{FETCH} / {OURS}", _ratio(took[FETCH], took[OURS]), FETCH_BOUND, at_least=True),
    ]


def _ratio(ones: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def _job(client: Client, pair: Pair, place: tuple[float, float]) -> None:
    clips = [(place[0], sum(place))]
    job = client.clip_jobs.create(video_url=pair.video, audio_url=pair.audio, clips=clips)
    while not job.ended:
        time.sleep(0.1)
        job = job.refresh()
    [clip] = job.clips
    assert clip.error is None, clip.error


def _copy(pair: Pair, place: tuple[float, float], folder: Path) -> None:
    _ffmpeg(pair.video, pair.audio, place, folder / "copy.mp4", "-c", "copy")


def _fetch(pair: Pair, place: tuple[float, float], folder: Path) -> None:
    """Both as a whole, then encoded: as the clip service did it."""
    for url, name in ((pair.video, "v.mp4"), (pair.audio, "a.m4a")):
        with httpx2.stream("GET", url) as answer, (folder / name).open("wb") as file:
            for data in answer.iter_bytes():
                file.write(data)
    how = ("-c:v", "libx264", "-c:a", "aac")
    _ffmpeg(str(folder / "v.mp4"), str(folder / "a.m4a"), place, folder / "fetched.mp4", *how)


def _ffmpeg(video: str, audio: str, place: tuple[float, float], out: Path, *how: str) -> None:
    at = ["-ss", str(place[0]), "-t", str(place[1])]
    inputs = [*at, "-i", video, *at, "-i", audio]
    outcome = ["-map", "0:v", "-map", "1:a", *how, str(out)]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *inputs, *outcome], check=True, timeout=600)


# --- many ----------------------------------------------------------------------------------------------


def _many(client: Client, media: Path, length: float, seconds: float) -> None:
    with _line(media, slow=False) as url:
        for number in AT_ONCE:
            done = _per_minute(client, f"{url}/whole.mp4", length, number, seconds)
            tell(f"{number:3} jobs at once: {done:6.1f} a minute")


def _per_minute(client: Client, url: str, length: float, number: int, seconds: float) -> float:
    """Jobs that are done in a minute while so many are asked for at once, each of a clip of its own."""
    began = time.monotonic()

    def one_after_another(place: int) -> int:
        done = 0
        while time.monotonic() < began + seconds:
            start = (0.37 * done + 25.1 * place) % (length - SHORT)
            job = client.clip_jobs.create(f"{url}?{number}", clips=[(start, start + SHORT)]).wait()
            assert job.clips[0].error is None, job.clips[0].error
            done += 1
        return done

    with ThreadPoolExecutor(number) as pool:
        done = sum(pool.map(one_after_another, range(number)))
    return 60 * done / (time.monotonic() - began)


# --- answers -------------------------------------------------------------------------------------------


def _answers(client: Client, http: httpx2.Client, media: Path, length: float, calls: int) -> Bound:
    """How soon `create-clips` answers, 20 times a second, while two workers encode."""
    took: list[float] = []
    with _line(media, slow=False) as url:
        source = f"{url}/whole.mp4"
        busy = [
            client.clip_jobs.create(source, clips=[(1.0, length - 1.0)], options={"mode": "encode"})
            for _ in range(2)
        ]
        time.sleep(3)
        for number in range(calls):
            body = {"video_id": source, "clips": [{"start": number * 0.1, "end": number * 0.1 + 1}]}
            began = time.monotonic()
            answer = http.post("/api/create-clips", json=body)
            took.append(1000 * (time.monotonic() - began))
            assert answer.status_code == 200, answer.text
            time.sleep(max(0.0, 0.05 - took[-1] / 1000))
        assert not any(job.refresh().ended for job in busy), "they were to cut all that time"
    p50, p99 = (statistics.quantiles(took, n=100)[place - 1] for place in (50, 99))
    tell(f"create-clips while both cores encode: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {max(took):.1f} ms")
    return Bound("ms until create-clips answers, p99", p99, ANSWER_BOUND, at_least=False)


if __name__ == "__main__":
    sys.exit(main())
