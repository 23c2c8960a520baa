"""The report: what it says, that nothing in it can run, and (with a browser) that it works."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.peers import need
from tldr_highlight.analysis.base import STEP, Analysis, Event
from tldr_highlight.analysis.dimensions import preset
from tldr_highlight.highlights.document import HighlightDoc, HighlightsDoc
from tldr_highlight.pipeline.common import TOO_SHORT
from tldr_highlight.pipeline.report import IDENTITY, MOST_POINTS, ReportCurves, envelope, near_misses, render

HOSTILE = (
    "</script><img src=x onerror=alert(1)>\" onclick='alert(2)' {{data}} \u2028\u2029\x00\x1b\ud800 &amp;"
)


def highlight(peak: float = 300.0, **changed: Any) -> HighlightDoc:
    made: dict[str, Any] = {
        "start": peak - 6,
        "end": peak + 7,
        "peak": peak,
        "score": 0.82,
        "confidence": 0.95,
        "types": ["reaction", "climactic"],
        "title": f"Crowd reaction at {peak:.0f}",
        "dimensions": {"crowd_reaction": 0.91, "humor": 0.12, "rarity": None, "key_moment": None},
        "evidence": [{"dimension": "crowd_reaction", "time": peak, "text": "crowd noise 3.1 σ above"}],
        "clip_start": peak - 11,
        "clip_end": peak + 12,
        "clip": None,
        "thumbnail": None,
    }
    return HighlightDoc(**(made | changed))


def document(*highlights: HighlightDoc, **changed: Any) -> HighlightsDoc:
    made: dict[str, Any] = {
        "source": "/videos/match.mp4",
        "duration": 1200.0,
        "analyzer": "signals",
        "elapsed": 10.0,
        "highlights": list(highlights),
        "degraded": False,
        "warnings": [],
    }
    return HighlightsDoc(**(made | changed))


def curves(seconds: float = 1200.0, peak: float = 300.0, top: float = 0.82) -> ReportCurves:
    steps = round(seconds / STEP)
    time = (np.arange(steps) + 0.5) * STEP
    score = 0.04 + (top - 0.04) * np.exp(-(((time - peak) / 6) ** 2))
    unknown = np.full(steps, np.nan)
    gap = np.where((time > 600) & (time < 660), np.nan, score * 0.9)
    return ReportCurves(STEP, {"crowd_reaction": gap, "humor": score * 0.1, "rarity": unknown}, score, 0.5)


class Page(HTMLParser):
    """What a browser would make of the page: elements with attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def visible(page: str) -> str:
    """The page's text without markup, script and style."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


# --- what it says


def test_the_head_says_what_was_done(tmp_path: Path) -> None:
    words = visible(render(document(highlight()), curves(), tmp_path))
    for part in ("match.mp4", "1 highlight in 20:00, 23.0 s worth watching", "Length 20:00", "Done in 10.0 s",
                 "Speed 120× realtime", "Analyzer signals"):  # fmt: skip
        assert part in words
    assert "Worth knowing" not in words


def test_a_card_says_everything_about_its_highlight(tmp_path: Path) -> None:
    words = visible(render(document(highlight()), curves(), tmp_path))
    for part in ("Crowd reaction at 300", "score 0.82", "4:54 – 5:07", "peak at 5:00", "confidence 0.95",
                 "Reaction Climactic", "crowd noise 3.1 σ above", "Crowd reaction 0.91 Humor 0.12",
                 "Unknown: rarity, key moment", "no clip",
                 "Not judged by signals: rarity, key moment."):  # fmt: skip
        assert part in words


def test_warnings_and_degraded_are_said(tmp_path: Path) -> None:
    warned = visible(render(document(highlight(), warnings=["a < b"]), curves(), tmp_path))
    assert "Worth knowing a < b" in warned
    degraded = visible(
        render(document(highlight(), warnings=["no sound"], degraded=True), curves(), tmp_path)
    )
    assert "Judged with less than usual no sound" in degraded


def test_an_empty_result_is_honest_and_names_the_near_misses(tmp_path: Path) -> None:
    words = visible(render(document(), curves(top=0.41), tmp_path))
    for part in ("Nothing in 20:00 stood out", "All 20:00 were looked at", "judged crowd reaction, humor",
                 "reaches 0.50; none did", "score 0.41 at 4:59", "crowd reaction 0.37"):  # fmt: skip
        assert part in words
    even = curves(top=0.04)
    assert "no near misses either" in visible(render(document(), even, tmp_path))


def test_a_film_that_nothing_could_be_judged_of_has_no_score(tmp_path: Path) -> None:
    blind = Analysis(
        0, np.full(6, 0.2), {"humor": np.full(6, np.nan)}, (), np.zeros(6), np.zeros(6), np.zeros((6, 3))
    )
    made = ReportCurves.of(blind, 0.5)
    assert np.isnan(made.score).all()
    words = visible(render(document(duration=3.0), made, tmp_path))
    assert "There was nothing that the signals analyzer could judge." in words
    assert "none did" not in words
    assert "near misses" not in words


def test_near_misses_are_apart_below_the_threshold_and_best_first() -> None:
    shape = curves()
    score = np.full(2400, 0.1)
    score[[100, 104, 900, 1500]] = [0.3, 0.29, 0.45, 0.9]
    found = near_misses(ReportCurves(STEP, shape.curves, score, 0.5), most=2)
    assert found == [(450.25, 0.45), (50.25, 0.3)]


def analysis(worth: list[float]) -> Analysis:
    steps = 200
    events = tuple(
        Event(20.0 * i, 20.0 * i + 5, 20.0 * i + 8, w, 0.9, {"crowd_reaction": 0.4}, ())
        for i, w in enumerate(worth)
    )
    flat = np.zeros(steps)
    spike = flat.copy()
    spike[100] = 1.0
    lanes = {"crowd_reaction": spike, "humor": np.full(steps, np.nan)}
    return Analysis(0, np.linspace(-800, 800, steps), lanes, events, flat, flat, np.zeros((steps, 3)))


def test_curves_of_an_analysis_are_smoothed_and_the_score_is_odds() -> None:
    made = ReportCurves.of(analysis([]), 0.5)
    assert (made.step, made.start, made.threshold, made.misses) == (STEP, 0.0, 0.5, None)
    assert made.score[0] == 0.0
    assert made.score[-1] == 1.0
    assert 0.4 < made.score[99:101].mean() < 0.6
    assert made.curves["crowd_reaction"].max() == pytest.approx(0.1)  # one step of ten in 5 s
    assert np.isnan(made.curves["humor"]).all()


def test_near_misses_are_events_where_the_set_is_known() -> None:
    made = ReportCurves.of(analysis([-1.0, 3.0, -0.5, -3.0, -2.0]), 0.5, preset("sports"))
    found = near_misses(made)
    assert [at for at, _ in found] == [45.0, 5.0, 85.0]
    assert all(0 < score < 0.5 for _, score in found)


# --- curves


def test_an_envelope_keeps_every_peak_and_every_gap() -> None:
    rng = np.random.default_rng(3)
    curve = rng.uniform(0.1, 0.4, 86_401)
    curve[[0, 40_000, 86_400]] = 0.9
    curve[50_000:51_000] = np.nan
    made = envelope(curve, STEP)
    assert len(made.high) + len(made.low) <= MOST_POINTS + 2
    assert made.high.count(900) == 3
    assert made.seconds == 87 * STEP
    assert made.high[40_000 // 87] == 900
    assert made.high[50_500 // 87] == made.low[50_500 // 87] == -1
    assert all(a <= b for a, b in zip(made.low, made.high, strict=True))


def test_a_short_curve_is_kept_as_it_is() -> None:
    made = envelope(np.array([0.0, 0.25, np.nan, 1.7, -3.0]), STEP)
    assert made.low == made.high == [0, 250, -1, 1000, 0]
    assert made.seconds == STEP
    assert envelope(np.empty(0), STEP).high == []


def test_twelve_hours_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    names = [
        "action_intensity",
        "crowd_reaction",
        "speech_excitement",
        "humor",
        "scene_energy",
        "emotional_peak",
    ]
    noise = {n: rng.uniform(0, 1, 86_400) for n in names}
    long = ReportCurves(STEP, noise, rng.uniform(0, 0.5, 86_400), 0.5)
    page = render(
        document(*[highlight(60.0 + 400 * i) for i in range(100)], duration=43_200.0), long, tmp_path
    )
    assert len(page.encode()) < 600_000
    made = embedded(page)
    assert all(len(c["v"]) <= MOST_POINTS for c in made["curves"].values())


def test_curves_break_where_nothing_is_known(tmp_path: Path) -> None:
    page = render(document(highlight()), curves(), tmp_path)
    lines = re.findall(r'class="line" d="([^"]*)"', page)
    assert [d.count("M") for d in lines] == [1, 2, 1]  # score, crowd with its gap, humor; no lane for rarity
    assert embedded(page)["curves"].keys() == {"score", "crowd_reaction", "humor"}


def test_curves_that_start_later_are_drawn_later(tmp_path: Path) -> None:
    made = ReportCurves(STEP, {}, np.full(100, 0.3), 0.5, start=60.0)
    page = render(document(duration=110.0), made, tmp_path)
    assert 'class="line" d="M120.5 700' in page
    assert embedded(page)["start"] == 60.0


def test_places_on_the_timeline(tmp_path: Path) -> None:
    page = render(document(highlight(300.0), highlight(1199.0)), curves(), tmp_path)
    assert "#p0{left:25.000%}" in page
    assert "#b0{left:24.500%;width:1.083%}" in page
    assert "#d0{left:25.000%;top:18.0%}" in page
    assert "#level{bottom:50.0%}" in page


@pytest.mark.parametrize(("duration", "ticks"), [(1.0, 2), (7.0, 8), (59.0, 6), (3600.0, 7), (43_200.0, 7)])
def test_ticks_are_few_and_round(duration: float, ticks: int, tmp_path: Path) -> None:
    made = ReportCurves(STEP, {}, np.full(round(duration * 2), 0.2), 0.5)
    page = render(document(duration=duration), made, tmp_path)
    assert abs(len(re.findall(r'<span id="t\d+">', page)) - ticks) <= 1


def test_what_could_not_be_judged_is_no_result(tmp_path: Path) -> None:
    page = visible(render(document(warnings=[TOO_SHORT]), curves(), tmp_path))
    assert "could be judged" in page
    assert "stood out" not in page
    assert "that is the result" not in page


def test_nothing_at_all_still_makes_a_page(tmp_path: Path) -> None:
    page = render(document(duration=0.0, elapsed=0.0), ReportCurves(STEP, {}, np.empty(0), 0.5), tmp_path)
    assert "Nothing in 0:00 stood out" in visible(page)
    assert "nan" not in page.lower().replace("nano", "")


# --- files beside it


def test_thumbnails_are_inside_the_page_and_clips_beside_it(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "h 1.webp").write_bytes(b"RIFFxxxxWEBP")
    made = highlight(clip="clips/a b#1?.mp4", thumbnail="thumbnails/h 1.jpg")
    page = render(document(made), curves(), tmp_path)
    parsed = Page(page)
    assert [i["src"] for i in parsed.of("img")] == [
        "data:image/webp;base64," + base64.b64encode(b"RIFFxxxxWEBP").decode()
    ]
    links = [a["href"] for a in parsed.of("a") if a.get("class") == "thumb"]
    assert links == ["clips/a%20b%231%3F.mp4"]
    assert embedded(page)["highlights"][0]["poster"] == "thumbnails/h%201.jpg"


def test_a_thumbnail_that_is_gone_or_outside_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.webp").write_bytes(b"secret")
    folder = tmp_path / "out"
    folder.mkdir()
    page = render(document(highlight(thumbnail="../secret.jpg")), curves(), folder)
    assert Page(page).of("img") == []
    page = render(document(highlight(thumbnail="thumbnails/gone.jpg")), curves(), folder)
    assert [i["src"] for i in Page(page).of("img")] == ["thumbnails/gone.jpg"]


def test_the_reel_is_offered_when_there_is_one(tmp_path: Path) -> None:
    made = document(highlight(clip="clips/a.mp4"))
    assert "Watch the reel" not in render(made, curves(), tmp_path)
    (tmp_path / "reel.mp4").write_bytes(b"")
    assert "Watch the reel" in render(made, curves(), tmp_path)


def test_no_player_without_clips(tmp_path: Path) -> None:
    assert Page(render(document(highlight()), curves(), tmp_path)).of("video") == []
    assert Page(render(document(highlight(clip="a.mp4")), curves(), tmp_path)).of("video")


# --- nothing in it can run


@pytest.fixture
def hostile() -> HighlightsDoc:
    made = highlight(
        title=HOSTILE,
        types=[HOSTILE],
        dimensions={HOSTILE: 0.5, HOSTILE + "2": None},
        evidence=[{"dimension": HOSTILE, "time": 300.0, "text": HOSTILE}],
        clip=f"clips/{HOSTILE}.mp4",
        thumbnail=f"thumbnails/{HOSTILE}.jpg",
    )
    return document(made, source=f"a {HOSTILE}.mp4", analyzer=HOSTILE, warnings=[HOSTILE], degraded=True)


def hostile_curves() -> ReportCurves:
    plain = curves()
    return ReportCurves(STEP, {HOSTILE: plain.score, HOSTILE + "2": plain.score * np.nan}, plain.score, 0.5)


def test_hostile_text_stays_text(hostile: HighlightsDoc, tmp_path: Path) -> None:
    page = render(hostile, hostile_curves(), tmp_path)
    page.encode("utf-8")  # no halves of surrogate pairs
    parsed = Page(page)
    assert len(parsed.of("script")) == 2
    harmless = {name for _, attributes in parsed.elements for name in attributes}
    assert not {name for name in harmless if name.startswith("on")}
    assert all((i["src"] or "").startswith("thumbnails/") for i in parsed.of("img"))
    assert "<img src=x onerror=alert(1)>" in "".join(parsed.words)
    assert {c for c in page if ord(c) < 32} <= {"\n"}


def test_embedded_data_cannot_end_its_script(hostile: HighlightsDoc, tmp_path: Path) -> None:
    page = render(hostile, hostile_curves(), tmp_path)
    made = embedded(page)
    assert made["highlights"][0]["title"].startswith("</script><img src=x")
    raw = page.split('id="data">')[1].split("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(raw)


def test_only_our_own_style_and_script_may_run(hostile: HighlightsDoc, tmp_path: Path) -> None:
    page = render(hostile, hostile_curves(), tmp_path)
    policy = next(m["content"] for m in Page(page).of("meta") if m.get("http-equiv")) or ""
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [a for _, a in Page(page).elements if "style" in a]


def test_nothing_points_to_a_network(tmp_path: Path) -> None:
    page = render(document(highlight(clip="clips/a.mp4")), curves(), tmp_path)
    assert set(re.findall(r"\bhttps?://[^'\"\s]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in page
    assert "url(" not in page


def test_the_same_document_gives_the_same_page(tmp_path: Path) -> None:
    assert render(document(highlight()), curves(), tmp_path) == render(
        document(highlight()), curves(), tmp_path
    )


def test_no_hole_stays_open(tmp_path: Path) -> None:
    for made in (document(highlight(clip="a.mp4")), document()):
        assert "{{" not in render(made, curves(top=0.3), tmp_path)


def test_what_screen_readers_need_is_there(tmp_path: Path) -> None:
    page = Page(render(document(highlight(clip="a.mp4"), highlight(700.0)), curves(), tmp_path))
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("h1")) == 1
    assert all(i.get("alt") is not None for i in page.of("img"))
    assert all(s.get("aria-label") or s.get("aria-hidden") for s in page.of("svg"))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    pins = [a for a in page.of("a") if a.get("class") == "pin"]
    assert [p["aria-label"] for p in pins] == [
        "Highlight 1, 5:00: Crowd reaction at 300",
        "Highlight 2, 11:40: Crowd reaction at 700",
    ]


# --- in a browser


def write_clip(path: Path, shade: int) -> None:
    """Two seconds of H.264 that any browser plays."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for i in range(50):
            picture = np.full((180, 320, 3), shade, np.uint8)
            picture[:, 6 * i : 6 * i + 20] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    program = need("chromium")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished output folder whose every text is hostile."""
    out = tmp_path_factory.mktemp("out ü #1")
    (out / "clips").mkdir()
    (out / "thumbnails").mkdir()
    found: list[HighlightDoc] = []
    for i, peak in enumerate((200.0, 600.0, 900.0), 1):
        write_clip(out / f"clips/highlight-{i:02}.mp4", 60 * i)
        picture = Image.new("RGB", (320, 180), (40 * i, 60, 90))
        picture.save(out / f"thumbnails/highlight-{i:02}.webp")
        picture.save(out / f"thumbnails/highlight-{i:02}.jpg")
        files = {"clip": f"clips/highlight-{i:02}.mp4", "thumbnail": f"thumbnails/highlight-{i:02}.jpg"}
        found.append(highlight(peak, title=f"{i} {HOSTILE}", score=0.6 + 0.1 * (i % 3), **files))
    (out / "reel.mp4").write_bytes((out / "clips/highlight-02.mp4").read_bytes())
    made = document(*found, source=f"{HOSTILE}.mp4", warnings=[HOSTILE])
    (out / "report.html").write_text(render(made, curves(peak=600.0), out), "utf-8")
    (out / "empty.html").write_text(render(document(), curves(top=0.4), out), "utf-8")
    return out


@pytest.fixture
def page(chrome: Any) -> Iterator[Any]:
    """A page on which every complaint and every request is noted."""
    made = chrome.new_page(viewport={"width": 1280, "height": 900})
    made.complaints = []
    made.asked = []

    def complain(words: str) -> None:
        made.complaints.append(words)

    def dialog(shown: Any) -> None:
        complain(shown.message)
        shown.dismiss()

    def console(message: Any) -> None:
        complain(message.text)

    def error(raised: Any) -> None:
        complain(str(raised))

    def request(asked: Any) -> None:
        made.asked.append(asked.url)

    made.on("console", console)
    made.on("pageerror", error)
    made.on("dialog", dialog)
    made.on("request", request)
    yield made
    made.close()


def playing(page: Any, name: str) -> None:
    page.wait_for_function(
        "n => video.currentSrc.endsWith(n) && !video.paused && video.currentTime > 0.1 && video.videoWidth",
        arg=name,
    )


def test_it_works_in_a_browser(page: Any, folder: Path) -> None:
    page.goto((folder / "report.html").as_uri())
    lanes, plot = page.locator("#lanes"), page.locator(".score .plot")
    lanes.scroll_into_view_if_needed()
    box = plot.bounding_box()
    at_second = (box["x"] + box["width"] * 600 / 1200, box["y"] + 40)

    page.mouse.move(*at_second)  # hover reads the values out
    assert page.locator("#read").inner_text().startswith("10:00 · 2. ")
    assert page.locator('[data-key="score"]').inner_text() == "0.82"
    page.mouse.move(box["x"] + box["width"] * 630 / 1200, box["y"] + 40)
    assert page.locator('[data-key="crowd_reaction"]').inner_text() == "–"  # the gap
    page.mouse.move(5, 5)
    assert page.locator("#read").inner_text() == "Highest values on the right"

    page.mouse.click(*at_second)
    playing(page, "highlight-02.mp4")
    assert page.locator("#count").inner_text() == "Highlight 2 of 3"
    page.keyboard.press("ArrowRight")
    playing(page, "highlight-03.mp4")
    page.keyboard.press("Space")
    page.wait_for_function("video.paused")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#count").inner_text() == "Highlight 1 of 3"
    assert page.evaluate("video.paused")
    page.keyboard.press("Space")
    playing(page, "highlight-01.mp4")
    page.locator("#h2 .thumb").click()
    playing(page, "highlight-03.mp4")
    assert page.locator('.card[aria-current="true"]').get_attribute("id") == "h2"
    page.locator("#reel").click()
    playing(page, "reel.mp4")
    page.locator('[data-by="score"]').click()
    assert [c.get_attribute("id") for c in page.locator(".card").all()] == ["h1", "h0", "h2"]

    assert page.complaints == []
    assert all(address.startswith(("file:", "data:")) for address in page.asked)


def test_a_clip_of_sound_alone_is_no_black_box(page: Any, folder: Path) -> None:
    heard = document(highlight(200.0, clip="clips/highlight-01.mp4", thumbnail=None))
    (folder / "sound.html").write_text(render(heard, curves(), folder), "utf-8")
    page.goto((folder / "sound.html").as_uri())
    drawn = page.evaluate(
        "new Promise((done) => { const i = new Image(); i.onload = () => done(i.width > 0);"
        " i.onerror = () => done(false); i.src = video.poster; })"
    )
    assert drawn
    assert 'stroke="rgb(139, 138, 245)"' in page.evaluate("decodeURIComponent(video.poster)")
    assert page.complaints == []


@pytest.mark.parametrize("name", ["report.html", "empty.html"])
@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_stays_readable(page: Any, folder: Path, name: str, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto((folder / name).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    poor = page.evaluate(CONTRAST)
    assert poor == [], "text with a contrast below 4.5 to 1"
    assert page.complaints == []


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    canvas.fillStyle = `rgb(${under})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (c) => c.reduce((sum, v, i) => sum + linear(v / 255) * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(e);
    return chain.reduce((under, e) => rgb(getComputedStyle(e).backgroundColor, under), [255, 255, 255]);
  };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest("script, .thumb, .pin.small")) continue;
    const under = behind(e);
    const [a, b] = [light(rgb(getComputedStyle(e).color, under)), light(under)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${e.className}: ${e.textContent}`);
  }
  return poor;
}"""


def test_it_reads_without_its_script(chrome: Any, folder: Path) -> None:
    context = chrome.new_context(java_script_enabled=False)
    made = context.new_page()
    made.goto((folder / "report.html").as_uri())
    assert made.locator(".card").count() == 3
    assert made.locator(".thumb").first.get_attribute("href") == "clips/highlight-01.mp4"
    context.close()


def test_a_clip_that_is_gone_is_said(page: Any, folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "report.html"
    alone.write_bytes((folder / "report.html").read_bytes())
    page.goto(alone.as_uri())
    page.wait_for_function("document.getElementById('count').textContent.includes('not beside the page')")


def test_a_page_carries_what_its_source_is_known_by(tmp_path: Path) -> None:
    found = IDENTITY.search(render(document(highlight()), curves(), tmp_path, ["a1", "b2"])[:4096])
    assert found
    assert found[1].split() == ["a1", "b2"]
