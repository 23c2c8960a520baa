"""Clips as a browser plays them: no picture dropped or damaged, at every time the source's own picture."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.cut.server import Link, Server
from tests.media.conftest import Made, Maker
from tests.media_maker import number_of
from tests.peers import need
from tldr_highlight.media.cut import cut
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions

PAGE = "<!doctype html><title>clip</title><video muted></video>"

OPEN = """url => new Promise((done, failed) => {
    const video = document.querySelector("video")
    video.onerror = () => failed(new Error(video.error.message))
    video.oncanplaythrough = () => done(video.duration)
    video.src = url
})"""

PLAY = """() => new Promise((done, failed) => {
    const video = document.querySelector("video")
    video.onerror = () => failed(new Error(video.error.message))
    video.onended = () => {
        const seen = video.getVideoPlaybackQuality()
        done([seen.totalVideoFrames, seen.droppedVideoFrames, seen.corruptedVideoFrames])
    }
    video.playbackRate = 0.5
    video.play().catch(failed)
})"""

SHOW = """seconds => new Promise((done, failed) => {
    const video = document.querySelector("video")
    video.onerror = () => failed(new Error(video.error.message))
    video.onseeked = () => {
        const canvas = document.createElement("canvas")
        canvas.width = video.videoWidth
        canvas.height = video.videoHeight
        canvas.getContext("2d").drawImage(video, 0, 0)
        done(canvas.toDataURL("image/png"))
    }
    video.currentTime = seconds
})"""

TRIES = 5
"""A picture may be dropped because the machine is busy, and "seeked" may come before the picture it is about
is drawn; what a clip loses or has at another time is so every time. For the same reason clips play at half
their speed: nothing is lost by that which would not be at the full one."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("clips")
    (folder / "page.html").write_text(PAGE)
    with Server(folder, Link()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def page(served: Server) -> Iterator[Any]:
    program = need("chromium")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-background-networking", "--autoplay-policy=no-user-gesture-required"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        made = browser.new_page()
        made.goto(f"{served.address}/page.html")
        yield made
        browser.close()


CLIPS: dict[str, tuple[str, dict[str, Any], CutOptions, tuple[float, float]]] = {
    "smart": ("mp4", {"bframes": 3}, CutOptions(), (0.7, 2.1)),
    "smart-29.97-mkv": ("mkv", {"fps": Fraction(30_000, 1001)}, CutOptions(), (0.7, 2.1)),
    "smart-ts-late": ("ts", {"start": 50.0, "audio_start": 1.5}, CutOptions(), (1.1, 2.5)),
    "copy": ("mp4", {"gop": 12}, CutOptions(), (0.96, 1.92)),
    "encode": ("mp4", {}, CutOptions(mode="encode"), (0.7, 2.1)),
    "encode-hevc": ("mp4", {"codec": "libx265"}, CutOptions(), (0.7, 2.1)),
    "instant": ("mp4", {"bframes": 3}, CutOptions(mode="instant"), (0.7, 2.1)),
    "rotated": ("mp4", {"rotation": 90}, CutOptions(), (0.7, 2.1)),
}


@pytest.mark.parametrize("name", CLIPS)
def test_a_browser_shows_every_picture_at_its_time(
    name: str, media: Maker, served: Server, page: Any
) -> None:
    suffix, recipe, options, (start, end) = CLIPS[name]
    made = media(suffix, **recipe)
    spec = ClipSpec(start, end, served.folder / f"{name}.mp4")
    (result,) = cut(made.info, [spec], options=options)
    assert isinstance(result, ClipResult), repr(result)
    assert_played(page, f"/{spec.path.name}", result)
    assert_shown(page, made, result)


def assert_played(page: Any, address: str, result: ClipResult) -> None:
    dropped = 1
    for _ in range(TRIES):
        page.reload()
        length = page.evaluate(OPEN, address)
        assert abs(length - (result.actual_end - result.actual_start)) <= 0.05
        total, dropped, corrupted = page.evaluate(PLAY)
        assert corrupted == 0
        assert total >= result.frames
        if not dropped:
            break
    assert dropped == 0


def assert_shown(page: Any, made: Made, result: ClipResult) -> None:
    """In no order, so that every seek has to decode from a key picture on."""
    times = dict(zip(made.content.numbers, made.times, strict=True))
    wanted = made.numbers(result.actual_start, result.actual_end)
    for number in [*wanted[::-7], wanted[0], *wanted[1::9]]:
        at = times[number] - result.actual_start
        shown = seek(page, at + 0.01)
        for _ in range(TRIES):
            if shown != number:
                time.sleep(0.2)
                shown = seek(page, at + 0.01)
        assert shown == number


def seek(page: Any, seconds: float) -> int | None:
    """Number of the picture shown at a time; none while there is none that can be read."""
    picture = Image.open(io.BytesIO(base64.b64decode(page.evaluate(SHOW, seconds).partition(",")[2])))
    try:
        return number_of(np.asarray(picture.convert("L")))
    except ValueError:
        return None
