"""The page of a run: what it carries can be read back, it fits, and a browser shows it without a network."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from waves import CELL, GRID, wave, write_wave

from engine.observables import electron_count
from ldm_viewer.encoder import MovieCancelled
from ldm_viewer.footage import Footage
from ldm_viewer.frames import Series
from ldm_viewer.page import page_grid, write_page

LIMITS = (0.02, 0.08)


def footage(frames: int = 5, truth_frames: int = 12, grid: tuple[int, int, int] = GRID) -> Footage:
    """The wave, and as a forecast of it from 4 fs on the wave a tenth of a period ahead."""
    truth = np.stack([wave(2.0 * k, grid) for k in range(truth_frames)])
    made = np.stack([wave(6.0 + 2.0 * k + 10.0, grid) for k in range(frames)])
    return Footage.of(Series(truth, 0.0, 2.0, CELL), Series(made, 6.0, 2.0, CELL), smooth=False)


def content(path: Path) -> dict:
    return json.loads(re.search(r'id="run">(.*?)</script>', path.read_text(encoding="utf-8"), re.S)[1])


def unpack(text: str, kind: str = "u1") -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), kind)


def test_densities_come_back_to_half_a_step(tmp_path: Path) -> None:
    told = content(write_page(tmp_path / "run.html", footage(), limits=LIMITS))
    step = (told["high"] - told["low"]) / 255
    for name, ahead in (("truth", 0.0), ("forecast", 10.0)):
        frames = unpack(told["fields"][name]).reshape(5, *GRID)
        values = told["low"] + step * np.cumsum(frames, axis=0, dtype=np.uint8)
        expected = np.stack([wave(6.0 + 2.0 * k + ahead) for k in range(5)])
        np.testing.assert_allclose(values, expected, atol=0.51 * step)
    assert told["times"] == [6.0, 8.0, 10.0, 12.0, 14.0] and told["zero"] == 4.0
    assert list(tmp_path.iterdir()) == [tmp_path / "run.html"]


def test_curves_are_those_of_the_engine(tmp_path: Path) -> None:
    told = content(write_page(tmp_path / "run.html", footage(), limits=LIMITS))
    plots = {plot["id"]: plot for plot in told["plots"]}
    assert set(plots) == {"values", "sq", "vrmse", "electrons"}

    def line(plot: str, name: str) -> np.ndarray:
        found = next(line for line in plots[plot]["lines"] if line["name"] == name)
        return found["low"] + unpack(found["values"], "<u2") / 65534 * (found["high"] - found["low"])

    x = np.asarray(plots["values"]["x"])
    assert line("values", "truth, mean").sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=1e-3)
    assert line("electrons", "forecast") == pytest.approx(electron_count(wave(0.0)[None], CELL)[0], rel=1e-5)
    real, made = wave(6.0), wave(16.0)
    error = np.sqrt(np.mean((made - real) ** 2)) / real.std()
    assert line("vrmse", "forecast")[0] == pytest.approx(error, rel=1e-3)
    rest = np.sqrt(np.mean((wave(4.0) - real) ** 2)) / real.std()
    assert line("vrmse", "persistence (dashes)")[0] == pytest.approx(rest, rel=1e-3)
    assert any("linear" in line["name"] for line in plots["vrmse"]["lines"])


def test_frames_without_truth_are_marked(tmp_path: Path) -> None:
    told = content(write_page(tmp_path / "run.html", footage(truth_frames=5), limits=LIMITS))
    assert told["known"] == {"truth": [True, True, False, False, False], "forecast": [True] * 5}


def test_a_long_run_is_thinned_and_a_large_grid_made_coarser() -> None:
    assert page_grid((24, 24, 24), 24**3) == (24, 24, 24)
    coarse = page_grid((64, 48, 32), 6000)
    assert np.prod(coarse) <= 6000 and coarse[0] / coarse[2] == pytest.approx(2, rel=0.1)


def test_a_page_of_300_frames_is_a_few_megabytes(tmp_path: Path) -> None:
    """With noise in every voxel, which no compression shortens; every second one of 600 frames."""
    rng = np.random.default_rng(0)
    noise = 0.05 + 0.01 * rng.random((600, 10, 10, 10), dtype=np.float32)
    frames = np.broadcast_to(noise[:, :1], (600, 24, 10, 10))
    whole = Footage.of(Series(frames, 0.0, 2.0, CELL), None, smooth=False)
    path = write_page(tmp_path / "long.html", whole, limits=LIMITS)
    told = content(path)
    assert len(told["times"]) == 300 and "(one in 2)" in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 6e6


def test_it_names_no_address_and_carries_everything(tmp_path: Path) -> None:
    text = write_page(tmp_path / "run.html", footage(), title="a < b & c").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=|url\(|import\s*\(|https?:""", text)
    assert "default-src 'none'" in text and "<title>a &lt; b &amp; c</title>" in text


def test_cancelled_or_refused_it_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MovieCancelled, match="2 of 5"):
        write_page(tmp_path / "run.html", footage(), progress=lambda done, total: done < 2)
    with pytest.raises(ValueError, match="not as .pdf"):
        write_page(tmp_path / "run.pdf", footage())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="run.html was not written"):
        write_page(tmp_path / "file" / "run.html", footage())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Headless Chromium of the system, with WebGL in software."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright (pip install playwright)")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine (apt install chromium)")
    flags = [
        "--no-sandbox",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--ignore-gpu-blocklist",
    ]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags, timeout=120_000)
        yield browser
        browser.close()


@pytest.mark.slow
def test_a_browser_shows_it_without_a_network(browser: object, tmp_path: Path) -> None:
    path = write_page(tmp_path / "run.html", footage(), title="wave", limits=LIMITS)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=yes]", state="attached")
    pictures = {
        name: page.locator(f"#{name}").screenshot() for name in ("slice-truth", "surface", "plot-vrmse")
    }
    assert page.locator("#clock").inner_text() == "2 fs after the start (6 fs)"

    page.locator("#time").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.locator("#clock").inner_text() == "8 fs after the start (12 fs)"
    for name, before in pictures.items():
        assert page.locator(f"#{name}").screenshot() != before, name

    before = page.locator("#surface").screenshot()
    box = page.locator("#surface").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 120, steps=3)
    page.mouse.up()
    page.wait_for_timeout(500)
    assert page.locator("#surface").screenshot() != before, "the surface turns"

    before = page.locator("#slice-truth").screenshot()
    page.select_option("#plane", "z")
    assert page.locator("#slice-truth").screenshot() != before
    page.select_option("#what", "difference")
    assert "±" in page.locator("#leveled").inner_text()
    page.click("#play")
    page.wait_for_timeout(1500)
    page.click("#play")
    assert page.locator("#clock").inner_text() != "8 fs after the start (12 fs)"
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert said == [] and asked == [path.as_uri()]
    page.close()


@pytest.mark.slow
def test_the_picture_is_the_density(browser: object, tmp_path: Path) -> None:
    """The brightest column of the plane z is where the wave of this moment has its crest."""
    path = write_page(tmp_path / "run.html", footage(), limits=(0.02, 0.08))
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=yes]", state="attached")
    page.select_option("#plane", "z")
    canvas = "document.getElementById('slice-truth')"
    grey = page.evaluate(
        f"""(() => {{ const c = {canvas}, side = Math.min(c.clientWidth - 120, c.clientHeight - 76);
        const d = c.getContext('2d').getImageData(52, 60, Math.round(side) - 4, 1).data;
        return Array.from({{length: d.length / 4}}, (_, i) => d[4 * i + 1]); }})()"""
    )
    crest = 0.06 * 4.0  # Å, at 6 fs of a period of 100 fs in a cell of 4 Å
    place = -0.25 + 4.0 * (np.argmax(grey) + 2) / len(grey)
    assert min(abs(place - crest), 4.0 - abs(place - crest)) < 0.3
    page.close()


def test_commands_write_page_and_movie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.cli import main

    truth = write_wave(tmp_path / "truth.h5", frames=20)
    forecast = write_wave(tmp_path / "forecast.h5", frames=4, step_fs=10.0)
    both = [str(truth), str(forecast), "-o"]
    monkeypatch.setattr(sys, "argv", ["ldm", "page", *both, str(tmp_path / "run.html"), "--title", "mine"])
    main()
    assert content(tmp_path / "run.html")["times"] == [0.0, 10.0, 20.0, 30.0]
    small = ["--size", "320x240", "--strip", "S(q)", "--show", "truth", "forecast"]
    monkeypatch.setattr(sys, "argv", ["ldm", "movie", *both, str(tmp_path / "talk.mp4"), *small])
    main()
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "talk.mp4"))[0] == 16  # every 2 fs, 0 … 30 fs
    monkeypatch.setattr(sys, "argv", ["ldm", "movie", *both, "talk.mp4", "--size", "huge"])
    with pytest.raises(SystemExit, match="size 'huge': say 1080p, 4K, square"):
        main()
