"""The real window, driven as a user drives it: clicks, keys, sliders."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hands import click, forecast, quiet, show_dock
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QWidget
from waves import wave, write_wave

from ldm_viewer.state import Status


def test_axes_are_in_femtoseconds_and_angstrom(desk: SimpleNamespace) -> None:
    truth = desk.viewer.layers["truth"]
    assert truth.axis_labels == ("time", "z", "y", "x")
    assert [str(unit) for unit in truth.units] == ["femtosecond", "angstrom", "angstrom", "angstrom"]
    np.testing.assert_allclose(truth.scale, [2.0, 0.5, 0.5, 0.5])
    frame, expected = np.asarray(truth.data[7]), wave(14.0)
    np.testing.assert_allclose(frame, expected.transpose(2, 1, 0), rtol=1e-5)


def test_one_click_forecasts_and_both_layers_show_one_moment(desk: SimpleNamespace, qtbot: object) -> None:
    forecast(desk, qtbot)
    state = desk.session.state
    assert state.ready == 5 and desk.viewer.dims.point[0] == pytest.approx(state.forecast.end_fs)
    layer = desk.viewer.layers["forecast"]
    assert layer.visible
    z = desk.viewer.dims.current_step[1]
    np.testing.assert_allclose(layer._slice.image.raw, state.forecast.frames[4][:, :, z].T)
    np.testing.assert_allclose(
        desk.viewer.layers["truth"]._slice.image.raw, wave(state.time_fs)[:, :, z].T, rtol=1e-5
    )


def test_third_view_is_difference_then_spread_then_gone(desk: SimpleNamespace, qtbot: object) -> None:
    desk.session.configure(members=3)
    forecast(desk, qtbot)
    layer, grid, state = desk.viewer.layers[2], desk.viewer.canvas.grid, desk.session.state
    z = desk.viewer.dims.current_step[1]
    assert layer.visible and tuple(grid.shape) == (1, 3)
    truth, made = state.pair()
    np.testing.assert_allclose(layer._slice.image.raw, (made - truth)[:, :, z].T, atol=1e-7)
    low, high = layer.contrast_limits
    assert low == -high
    desk.panel.beside.value = "spread"
    members = state.shown.film.buffer[4]
    np.testing.assert_allclose(layer._slice.image.raw, members.std(axis=0, ddof=1)[:, :, z].T, atol=1e-7)
    assert layer.name == "spread" and layer.contrast_limits[0] == 0
    desk.panel.member.value = "mean"
    shown = desk.viewer.layers["forecast"]
    np.testing.assert_allclose(shown._slice.image.raw, members.mean(axis=0)[:, :, z].T, rtol=1e-6)
    desk.panel.beside.value = "nothing"
    assert not layer.visible and tuple(grid.shape) == (1, 2)


def test_the_mean_of_an_ensemble_gives_way_to_another_file(
    desk: SimpleNamespace, qtbot: object, tmp_path: Path
) -> None:
    """A file without a forecast has one member, whatever was looked at before."""
    desk.panel.members.value = 2
    forecast(desk, qtbot, frames=2)
    desk.panel.member.value = "mean"
    desk.session.open_trajectory(write_wave(tmp_path / "other.h5", frames=12))
    assert desk.panel.member.value == "member 1" and not desk.panel.member.enabled


def test_fork_by_mouse_and_back_to_the_first_run(desk: SimpleNamespace, qtbot: object) -> None:
    forecast(desk, qtbot)
    first = desk.session.state
    desk.panel.time.value = desk.panel.time.value - 2
    assert desk.session.state.time_fs == first.forecast.time_at(2)
    desk.panel.seed.value = 9
    click(qtbot, desk.panel.fork)
    qtbot.waitUntil(lambda: desk.session.state.status is Status.FINISHED, timeout=20_000)
    state = desk.session.state
    assert len(state.runs) == 2 and state.started_fs == first.forecast.time_at(2)
    assert desk.panel.chosen_run.value == state.shown.label and "seed 9" in state.shown.label
    dock = show_dock(desk, "Drift")
    qtbot.waitUntil(lambda: "run 1" in dock.curves, timeout=5_000)
    desk.session.look_at(first.forecast.time_at(3))
    desk.panel.chosen_run.value = state.runs[0].label
    assert desk.session.state.shown is state.runs[0]
    z = desk.viewer.dims.current_step[1]
    shown = desk.viewer.layers["forecast"]._slice.image.raw
    expected = first.forecast.at(desk.viewer.dims.point[0])
    np.testing.assert_allclose(shown, expected[:, :, z].T)


def test_a_saved_state_brings_the_figure_back(desk: SimpleNamespace, qtbot: object, tmp_path: Path) -> None:
    desk.session.configure(start_fs=20.0, frames=6, seed=4, members=2)
    click(qtbot, desk.panel.run)
    qtbot.waitUntil(lambda: desk.session.state.status is Status.FINISHED, timeout=20_000)
    desk.session.look_at(26.0)
    desk.session.show_member(1)
    desk.session.show_beside("spread")
    desk.viewer.dims.set_point(1, 1.0)
    desk.viewer.camera.zoom = 33.0
    desk.docks["Slices"].plane.setCurrentText("z")
    before, picture = desk.session.state, desk.viewer.layers["forecast"]._slice.image.raw.copy()
    assert desk.panel.save_state(tmp_path / "figure.ldmstate")
    desk.session.open_trajectory(write_wave(tmp_path / "other.h5", frames=9))
    desk.docks["Slices"].plane.setCurrentText("x")
    desk.viewer.camera.zoom = 5.0
    assert desk.panel.open_state(tmp_path / "figure.ldmstate")
    qtbot.waitUntil(lambda: desk.session.state.status is Status.FINISHED, timeout=20_000)
    state = desk.session.state
    assert state.trajectory.path == before.trajectory.path and state.setup == before.setup
    assert (state.time_fs, state.member, state.beside) == (26.0, 1, "spread")
    np.testing.assert_allclose(desk.viewer.layers["forecast"]._slice.image.raw, picture, rtol=1e-4)
    assert desk.viewer.camera.zoom == 33.0 and desk.docks["Slices"].plane.currentText() == "z"
    assert desk.viewer.dims.point[1] == 1.0


def test_changing_texts_leave_the_layout_alone(desk: SimpleNamespace, qtbot: object) -> None:
    """A sentence that grew with the first frame had all docks and the canvas laid out again: 90 ms."""
    window = desk.panel.window()

    def sizes() -> list[tuple[int, int]]:
        parts = [*window.findChildren(QDockWidget), window.centralWidget()]
        return [(part.width(), part.height()) for part in parts if part.isVisible()]

    forecast(desk, qtbot)
    quiet(desk, qtbot)
    before = sizes()
    labels = [desk.panel.status.native, desk.panel.data_info.native, desk.panel.emulator_info.native]
    for label in (*labels, desk.docks["Histogram"].distance, desk.docks["Slices"].moment):
        label.setText("a sentence that is much wider than its dock " * 5)
        qtbot.wait(50)
        assert sizes() == before


def test_pause_step_resume_stop_by_mouse(desk: SimpleNamespace, qtbot: object) -> None:
    desk.session.configure(frames=5000)
    click(qtbot, desk.panel.run)
    qtbot.waitUntil(lambda: desk.session.state.ready > 2, timeout=10_000)
    click(qtbot, desk.panel.run)
    assert desk.session.state.status is Status.PAUSED and desk.panel.run.text == "Resume"
    qtbot.wait(200)
    held = desk.session.state.ready
    click(qtbot, desk.panel.step)
    qtbot.waitUntil(lambda: desk.session.state.ready == held + 1, timeout=5_000)
    qtbot.wait(200)
    assert desk.session.state.ready == held + 1
    click(qtbot, desk.panel.run)
    qtbot.waitUntil(lambda: desk.session.state.ready > held + 3, timeout=5_000)
    click(qtbot, desk.panel.stop)
    assert desk.session.state.status is Status.STOPPED and not desk.panel.stop.enabled
    assert desk.panel.run.text == "Forecast"


def test_seed_typed_by_keyboard_reaches_the_next_forecast(desk: SimpleNamespace, qtbot: object) -> None:
    box = desk.panel.seed.native
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, "17")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert desk.session.state.setup.seed == 17


def test_napari_slider_and_panel_slider_are_one(desk: SimpleNamespace, qtbot: object) -> None:
    desk.viewer.dims.set_point(0, 20.0)
    assert desk.session.state.time_fs == 20.0 and desk.panel.time_text.value == "20 fs"
    slider = desk.panel.time.native
    slider.setFocus()
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert desk.session.state.time_fs == 22.0 and desk.viewer.dims.point[0] == 22.0
    click(qtbot, desk.panel.here)
    assert desk.session.state.setup.start_fs == 22.0 == desk.panel.start_fs.value


def test_contrast_and_colormap_are_shared(desk: SimpleNamespace) -> None:
    truth, made, _ = desk.viewer.layers
    truth.contrast_limits = (0.03, 0.06)
    truth.colormap = "magma"
    assert tuple(made.contrast_limits) == (0.03, 0.06) and made.colormap.name == "magma"


def test_a_dock_about_to_come_is_not_taken_for_a_closed_one(desk: SimpleNamespace, qtbot: object) -> None:
    late = QWidget()
    desk.stage.attend(late)
    qtbot.wait(200)  # turns go by, as they may on a busy machine
    assert isalive(late)
    dock = desk.viewer.window.add_dock_widget(late, name="late")
    qtbot.wait(200)
    assert isalive(late)
    desk.viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not isalive(late))
