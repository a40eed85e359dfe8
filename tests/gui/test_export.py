"""The export dock by mouse and keys: what is set up is what is written, and the window goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest
from hands import forecast, show_dock
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

import ldm_viewer.docks.export as export_dock
from ldm_viewer.movie import Film, Shot
from ldm_viewer.order import CANVAS, PAGE, SURFACES, footage_of

MOUSE = Qt.MouseButton.LeftButton
LONG = 60_000  # ms; an idle machine needs a twentieth


@pytest.fixture
def dock(desk: SimpleNamespace, qtbot: object) -> object:
    """The export dock in front, with a forecast of five frames."""
    forecast(desk, qtbot)
    return show_dock(desk, "Export")


def press(qtbot: object, monkeypatch: pytest.MonkeyPatch, dock: object, path: Path) -> None:
    """Press Export and answer the file dialog."""
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    qtbot.mouseClick(dock.form.export, MOUSE)


def ended(dock: object) -> Callable[[], bool]:
    return lambda: dock.job is not None and not dock.job.is_alive() and dock.form.export.isEnabled()


def seen(dock: object) -> Callable[[], bool]:
    return lambda: dock.screen._image is not None and not dock._stale and dock._job is None


def test_movie_by_mouse_and_keys(
    dock: object, desk: SimpleNamespace, qtbot: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    form = dock.form
    form.size.setFocus()
    qtbot.keyClicks(form.size, "sq")
    qtbot.keyClicks(form.title, "wave")
    qtbot.mouseClick(form.views["difference"], MOUSE, pos=form.views["difference"].rect().center() / 4)
    qtbot.mouseClick(form.smooth, MOUSE, pos=form.smooth.rect().center() / 4)
    assert (form.pixels, form.title.text(), form.chosen_views) == (
        (1080, 1080),
        "wave",
        ("truth", "forecast"),
    )
    press(qtbot, monkeypatch, dock, tmp_path / "talk")
    qtbot.waitUntil(ended(dock), timeout=LONG)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "talk.mp4"))
    about = next(reader)
    assert about["size"] == (1080, 1080) and len(list(reader)) == 5
    assert form.status.text() == "wrote talk.mp4" and [p.name for p in tmp_path.glob("talk*")] == ["talk.mp4"]
    assert any("talk.mp4" in note.message for note in notification_manager.records)


def test_the_preview_is_the_frame_at_the_slider(dock: object, desk: SimpleNamespace, qtbot: object) -> None:
    qtbot.waitUntil(seen(dock), timeout=LONG)
    first = dock.screen._image.copy()
    desk.session.look_at(desk.session.state.started_fs + 4.0)
    qtbot.waitUntil(lambda: seen(dock)() and dock.screen._image != first, timeout=LONG)
    order, state = dock.order(), desk.session.state
    footage = footage_of(state, order)
    size = dock.screen._image.width(), dock.screen._image.height()
    film = Film(footage, Shot(**{**vars(order.shot), "size": size}))
    expected = film.picture(int(np.abs(footage.times_fs - state.time_fs).argmin()))[..., :3]
    shown = dock.screen._image
    bits = shown.constBits()
    bits = bits.asstring(shown.sizeInBytes()) if hasattr(bits, "asstring") else bits  # PyQt, PySide
    pixels = np.frombuffer(bits, np.uint8)
    np.testing.assert_array_equal(
        pixels.reshape(size[1], -1)[:, : 3 * size[0]].reshape(expected.shape), expected
    )


def test_cancel_is_obeyed_within_a_second_and_leaves_nothing(
    dock: object, desk: SimpleNamespace, qtbot: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export_dock, "slice_movie", slowly(export_dock.slice_movie))
    press(qtbot, monkeypatch, dock, tmp_path / "long.mp4")
    qtbot.waitUntil(lambda: dock.job.done > 0, timeout=LONG)
    assert dock.form.cancel.isVisible() and not dock.form.export.isEnabled()
    qtbot.mouseClick(dock.form.cancel, MOUSE)
    dock.job.join(1.0)
    assert not dock.job.is_alive(), "a second has passed"
    qtbot.waitUntil(ended(dock), timeout=LONG)
    assert "cancelled" in dock.form.status.text() and not list(tmp_path.glob("*long*"))
    assert not dock.form.cancel.isVisible()


def slowly(movie: Callable) -> Callable:
    """The same with a short sleep after each frame, so that there is a time to cancel in."""
    import time

    def slower(path: Path, footage: object, shot: object, tell: Callable) -> Path:
        return movie(path, footage, shot, lambda done, total: (time.sleep(0.2), tell(done, total))[1])

    return slower


def test_the_page_of_the_run(
    dock: object, desk: SimpleNamespace, qtbot: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dock.form.what.setCurrentText(PAGE)
    assert not dock.form.rows["size"].isVisible() and not dock.form.rows["plane"].isVisible()
    press(qtbot, monkeypatch, dock, tmp_path / "run.html")
    qtbot.waitUntil(ended(dock), timeout=LONG)
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "run 1: tiny" in text and '"plots"' in text


def test_isosurfaces_turn_as_their_dock_shows_them(
    dock: object, desk: SimpleNamespace, qtbot: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    surface = show_dock(desk, "Isosurface")
    qtbot.keyClicks(surface.levels, "0.06")
    qtbot.mouseClick(surface.film, MOUSE)
    assert dock.form.what.currentText() == SURFACES and dock.order().ride.levels == "0.06"
    qtbot.waitUntil(seen(dock), timeout=LONG)
    dock.form.seconds.setValue(0.5)
    dock.form.fps.setValue(8)
    dock.form.size.setCurrentText("custom")
    dock.form.wide.setValue(320)
    dock.form.high.setValue(180)
    press(qtbot, monkeypatch, dock, tmp_path / "turn.mp4")
    qtbot.waitUntil(ended(dock), timeout=LONG)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "turn.mp4"))
    about = next(reader)
    frames = [np.frombuffer(raw, np.uint8).astype(int) for raw in reader]
    assert about["size"] == (320, 180) and len(frames) == 4
    assert all(np.abs(a - b).mean() > 0.5 for a, b in zip(frames, frames[1:], strict=False)), "it turns"


def test_the_canvas_is_filmed_and_goes_back(
    dock: object, desk: SimpleNamespace, qtbot: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    viewer = desk.viewer
    before = (*viewer.camera.angles, viewer.dims.point[0])
    former = dock.job
    dock.form.what.setCurrentText(CANVAS)
    press(qtbot, monkeypatch, dock, tmp_path / "canvas.mp4")
    assert "a plane cannot turn" in notification_manager.records[-1].message and dock.job is former
    dock.form.motion.setCurrentText("through time")
    dock.form.size.setCurrentText("custom")
    dock.form.wide.setValue(320)
    dock.form.high.setValue(240)
    press(qtbot, monkeypatch, dock, tmp_path / "canvas.mp4")
    qtbot.waitUntil(ended(dock), timeout=LONG)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "canvas.mp4"))
    assert next(reader)["size"] == (320, 240) and len(list(reader)) == 5
    assert (*viewer.camera.angles, viewer.dims.point[0]) == pytest.approx(before)


def test_what_cannot_be_written_is_said_in_words(
    dock: object, desk: SimpleNamespace, qtbot: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    press(qtbot, monkeypatch, dock, tmp_path / "file" / "a.mp4")
    qtbot.waitUntil(ended(dock), timeout=LONG)
    assert "a part of its path is a file" in notification_manager.records[-1].message
    for box in dock.form.views.values():
        qtbot.mouseClick(box, MOUSE, pos=box.rect().center() / 4)
    press(qtbot, monkeypatch, dock, tmp_path / "none.mp4")
    assert "choose among truth, forecast, difference" in notification_manager.records[-1].message


def test_before_a_forecast_the_truth_alone_can_be_filmed(
    desk: SimpleNamespace, qtbot: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dock = show_dock(desk, "Export")
    press(qtbot, monkeypatch, dock, tmp_path / "none.mp4")
    assert "there is no forecast to film" in notification_manager.records[-1].message
    for view in ("forecast", "difference"):
        dock.form.views[view].setChecked(False)
    dock.form.last.setValue(10)
    press(qtbot, monkeypatch, dock, tmp_path / "truth.mp4")
    qtbot.waitUntil(ended(dock), timeout=LONG)
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "truth.mp4"))[0] == 6  # 0 … 10 fs
