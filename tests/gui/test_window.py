"""The real window, driven as a user drives it: clicks, keys, drops, sliders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QWidget
from waves import CELL, wave, write_wave

from engine.observables import FINE_SHELLS, histogram, structure_factor, value_edges
from engine.scores import jsd
from ldm_viewer.planes import Plane
from ldm_viewer.state import Status


def click(qtbot: object, button: object) -> None:
    qtbot.mouseClick(button.native, Qt.MouseButton.LeftButton)


def forecast(desk: SimpleNamespace, qtbot: object, frames: int = 5) -> None:
    desk.session.configure(frames=frames)
    click(qtbot, desk.panel.run)
    qtbot.waitUntil(lambda: desk.session.state.status is Status.FINISHED, timeout=20_000)


def quiet(desk: SimpleNamespace, qtbot: object) -> None:
    """Wait until every visible dock shows the present state."""

    def settled() -> bool:
        return not any(dock.seen and (dock._stale or dock._job) for dock in desk.docks.values())

    qtbot.waitUntil(settled, timeout=10_000)


def show_dock(desk: SimpleNamespace, name: str) -> object:
    dock = desk.docks[name]
    parent = dock.parent()
    while not isinstance(parent, QDockWidget):
        parent = parent.parent()
    parent.raise_()
    return dock


def test_opens_ready_with_sample_emulator_and_all_docks(desk: SimpleNamespace, wave_file: Path) -> None:
    assert [layer.name for layer in desk.viewer.layers] == ["truth", "forecast", "difference"]
    assert desk.panel.data.value == wave_file and desk.panel.emulator.value == "tiny"
    assert desk.panel.run.enabled and desk.panel.run.text == "Forecast"
    assert set(desk.docks) == {"Histogram", "S(q)", "F(q,t)", "Drift", "Slices", "Isosurface"}
    assert desk.docks["Slices"].seen and desk.docks["Histogram"].seen
    assert desk.viewer.canvas.grid.enabled and tuple(desk.viewer.canvas.grid.shape) == (1, 2)


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


def test_plots_follow_the_theme(desk: SimpleNamespace, qtbot: object) -> None:
    dock = desk.docks["Histogram"]

    def ground() -> int:
        return dock.plot.grab().toImage().pixelColor(3, 3).lightness()

    quiet(desk, qtbot)
    assert ground() < 80
    desk.viewer.theme = "light"
    qtbot.waitUntil(lambda: ground() > 200, timeout=5_000)
    desk.viewer.theme = "dark"


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


def test_histogram_says_the_distance_of_the_frame_that_is_shown(desk: SimpleNamespace, qtbot: object) -> None:
    forecast(desk, qtbot)
    dock = show_dock(desk, "Histogram")
    desk.session.look_at(desk.session.state.forecast.time_at(1))
    qtbot.wait(50)
    quiet(desk, qtbot)
    truth, made = desk.session.state.pair()
    edges = value_edges(desk.stage.span[1])
    distance = jsd(histogram(truth, edges), histogram(made, edges))
    assert f"{distance:.4f} nats" in dock.distance.text()
    np.testing.assert_allclose(dock.curves["forecast"].yData, histogram(made, edges))


def test_structure_factor_changes_convention(desk: SimpleNamespace, qtbot: object) -> None:
    forecast(desk, qtbot)
    dock = show_dock(desk, "S(q)")
    for position, kind in enumerate(("amplitude", "intensity")):
        dock.kind.setCurrentIndex(position)
        qtbot.wait(50)
        quiet(desk, qtbot)
        truth, _ = desk.session.state.pair()
        curve = structure_factor(truth[None], CELL, FINE_SHELLS, kind)
        expected = curve.values[0][np.isfinite(curve.values[0])]
        np.testing.assert_allclose(dock.curves["truth"].getData()[1], expected)


def test_means_over_time_and_the_truths_band(desk: SimpleNamespace, qtbot: object) -> None:
    forecast(desk, qtbot)
    dock = show_dock(desk, "S(q)")
    dock.kind.setCurrentIndex(1)
    qtbot.waitUntil(lambda: "forecast, mean so far" in dock.curves, timeout=5_000)
    qtbot.wait(50)
    quiet(desk, qtbot)
    frames = np.asarray(desk.session.state.forecast.frames[:])
    curve = structure_factor(frames, CELL, FINE_SHELLS, "intensity")
    filled = np.isfinite(curve.values[0])
    np.testing.assert_allclose(
        dock.curves["forecast, mean so far"].getData()[1], curve.values.mean(axis=0)[filled], rtol=1e-4
    )
    low, high = (side.getData()[1] for side in dock.band)
    mean = dock.curves["truth, mean"].getData()[1]
    assert (low <= mean + 1e-9).all() and (mean <= high + 1e-9).all()


def test_relaxation_fills_in_and_drift_follows_the_slider(desk: SimpleNamespace, qtbot: object) -> None:
    forecast(desk, qtbot, frames=25)
    dock = show_dock(desk, "F(q,t)")
    dock.shell.setCurrentIndex(1)  # the wave's own: 2π/4 Å⁻¹
    qtbot.waitUntil(lambda: "forecast" in dock.curves, timeout=5_000)
    qtbot.wait(50)
    quiet(desk, qtbot)
    times, truth = dock.curves["truth"].getData()
    np.testing.assert_allclose(times, [0, 20, 40, 60])
    np.testing.assert_allclose(truth, (4 * np.cos(2 * np.pi * times / 100) + 1) / 5, atol=1e-3)
    assert dock.curves["forecast"].getData()[0][-1] == 40.0
    dock = show_dock(desk, "Drift")
    desk.session.look_at(20.0)
    qtbot.waitUntil(lambda: dock.mark.value() == 20.0, timeout=5_000)
    quiet(desk, qtbot)
    assert set(dock.curves) == {"forecast", "persistence", "linear"}
    dock.quantity.setCurrentText("electron count")
    qtbot.waitUntil(lambda: "truth" in dock.curves and len(dock.curves["linear"].getData()[0] or ()) == 0)
    np.testing.assert_allclose(dock.curves["truth"].getData()[1], 0.05 * 64, rtol=1e-4)


def test_surfaces_follow_slider_mouse_and_choice(
    desk: SimpleNamespace, qtbot: object, tmp_path: Path
) -> None:
    forecast(desk, qtbot)
    dock = show_dock(desk, "Isosurface")
    qtbot.waitUntil(lambda: dock.sheet() is not None, timeout=30_000)

    def changed(act: Callable[[], None]) -> None:
        before = dock.sheet()
        act()
        qtbot.waitUntil(lambda: dock.sheet() is not before, timeout=10_000)
        quiet(desk, qtbot)

    quiet(desk, qtbot)
    assert [field.name for field in dock.sheet().scene.fields] == ["truth", "forecast"]
    assert dock.canvas.height() > 150 and dock.sheet().picture.shape[:2] == (
        dock.canvas.height(),
        dock.canvas.width(),
    )
    first = dock.sheet().picture
    changed(lambda: desk.session.look_at(desk.session.state.forecast.time_at(1)))
    np.testing.assert_allclose(
        dock.sheet().scene.fields[0].values, wave(desk.session.state.time_fs), rtol=1e-5
    )

    def drag() -> None:
        qtbot.mousePress(dock.canvas, Qt.MouseButton.LeftButton, pos=QPoint(50, 50))
        qtbot.mouseMove(dock.canvas, QPoint(90, 60))
        qtbot.mouseRelease(dock.canvas, Qt.MouseButton.LeftButton)

    changed(drag)
    assert dock.sheet().scene.view.azimuth == 10.0 and dock.sheet().scene.view.elevation == 25.0
    assert (dock.sheet().picture != first).any()
    changed(lambda: dock.what.setCurrentText("difference"))
    (field,) = dock.sheet().scene.fields
    assert field.signed and field.levels[0] == -field.levels[1]
    dock.save(tmp_path / "surface.ply")
    qtbot.waitUntil(lambda: dock.note.text().startswith("saved"), timeout=10_000)
    dock.levels.setText("high")
    dock.levels.editingFinished.emit()
    qtbot.waitUntil(lambda: "levels are numbers" in dock.note.text(), timeout=5_000)


def test_every_dock_saves_what_it_shows(desk: SimpleNamespace, qtbot: object, tmp_path: Path) -> None:
    forecast(desk, qtbot)
    for name in set(desk.docks) - {"Isosurface"}:
        dock = show_dock(desk, name)
        qtbot.waitUntil(lambda dock=dock: dock.seen and dock.sheet() is not None, timeout=5_000)
        path = tmp_path / f"{type(dock).__name__}.csv"
        dock.save(path)
        qtbot.waitUntil(lambda dock=dock: dock.note.text().startswith("saved"), timeout=5_000)
        assert "truth" in path.read_text() or "forecast" in path.read_text()
    dock = show_dock(desk, "Histogram")
    dock.save(tmp_path / "nothing.xyz")
    qtbot.waitUntil(lambda: "not saved: nothing.xyz" in dock.note.text(), timeout=5_000)


def test_slices_show_the_plane_and_share_limits(desk: SimpleNamespace, qtbot: object) -> None:
    forecast(desk, qtbot)
    dock = desk.docks["Slices"]
    for name in ("x", "y", "z"):
        dock.plane.setCurrentText(name)
        dock.position.setValue(250)
        qtbot.wait(50)
        quiet(desk, qtbot)
        truth, made = desk.session.state.pair()
        plane = Plane.named(name)
        real, film = plane.picture(truth, 2), plane.picture(made, 2)
        np.testing.assert_allclose(dock.images["truth"].image, real)
        np.testing.assert_allclose(dock.images["difference"].image, film - real)
        assert tuple(dock.images["truth"].getLevels()) == tuple(dock.images["forecast"].getLevels())
        assert "1.00 Å" in dock.where.text()


def test_hidden_docks_do_not_compute(
    desk: SimpleNamespace, qtbot: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_dock(desk, "Histogram")
    qtbot.wait(100)
    quiet(desk, qtbot)
    computed = []
    dock = desk.docks["S(q)"]
    compute = dock.compute
    monkeypatch.setattr(dock, "compute", lambda *given: computed.append(1) or compute(*given))
    forecast(desk, qtbot)
    qtbot.wait(300)
    assert not dock.seen and not computed
    show_dock(desk, "S(q)")
    qtbot.waitUntil(lambda: bool(computed), timeout=5_000)


def drop(target: QWidget, path: Path) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, mime, buttons, keys)
    QApplication.sendEvent(target, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(target, QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, buttons, keys))


def test_a_file_dropped_on_panel_or_canvas_opens(desk: SimpleNamespace, tmp_path: Path) -> None:
    canvas = next(w for w in desk.panel.window().centralWidget().findChildren(QWidget) if w.acceptDrops())
    for target, name in ((desk.panel, "one.h5"), (canvas, "two.h5")):
        path = write_wave(tmp_path / name, frames=12)
        drop(target, path)
        assert desk.session.state.trajectory.path == path
    assert len(desk.viewer.layers) == 3


def test_reader_opens_in_the_panel_and_adds_no_layer(desk: SimpleNamespace, tmp_path: Path) -> None:
    path = write_wave(tmp_path / "other.h5", frames=12)
    desk.viewer.open(str(path), plugin="ldm_viewer")
    assert desk.session.state.trajectory.path == path and len(desk.viewer.layers) == 3


def test_sample_menu_opens_lithium_which_the_tiny_emulator_refuses(desk: SimpleNamespace) -> None:
    notification_manager.records.clear()
    desk.viewer.open_sample("ldm_viewer", "li32_test")
    assert desk.session.state.trajectory.formula == "Li32" and len(desk.viewer.layers) == 3
    assert not desk.panel.run.enabled
    assert "Li32" in notification_manager.records[-1].message


def test_mistakes_become_notifications(desk: SimpleNamespace, qtbot: object, tmp_path: Path) -> None:
    notification_manager.records.clear()
    line = desk.panel.data.line_edit.native
    line.selectAll()
    qtbot.keyClicks(line, str(tmp_path / "nothing.h5"))
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert "nothing.h5" in notification_manager.records[-1].message
    foreign = tmp_path / "foreign.h5"
    foreign.write_bytes(b"not HDF5")
    desk.panel.tell(desk.session.open_trajectory, foreign)
    assert "foreign.h5" in notification_manager.records[-1].message
    assert all(record.severity.value == "error" for record in notification_manager.records)
    assert desk.session.state.truth is not None


def test_another_file_in_three_dimensions_swaps_data_only(
    desk: SimpleNamespace, qtbot: object, tmp_path: Path
) -> None:
    desk.viewer.dims.ndisplay = 3
    forecast(desk, qtbot)
    before = list(desk.viewer.layers)
    desk.viewer.screenshot(flash=False)
    desk.session.open_trajectory(write_wave(tmp_path / "next.h5", frames=9))
    desk.viewer.screenshot(flash=False)
    assert list(desk.viewer.layers) == before and not desk.viewer.layers["forecast"].visible
    assert desk.viewer.layers["truth"].data.shape[0] == 9


def test_a_slanted_cell_is_shown_in_place(desk: SimpleNamespace, tmp_path: Path) -> None:
    cell = np.array([[4.0, 0.0, 0.0], [1.0, 3.5, 0.0], [0.5, 0.3, 4.5]])
    desk.session.open_trajectory(write_wave(tmp_path / "slanted.h5", cell=cell))
    assert not desk.panel.run.enabled
    truth = desk.viewer.layers["truth"]
    corner = truth.data_to_world((0, 8, 8, 8))[1:]
    np.testing.assert_allclose(corner, cell.sum(axis=0)[::-1])
    desk.viewer.dims.ndisplay = 3
    assert desk.viewer.screenshot(flash=False)[..., :3].std() > 5


def test_layers_deleted_by_the_user_come_back_with_the_next_file(
    desk: SimpleNamespace, tmp_path: Path
) -> None:
    desk.viewer.layers.remove("forecast")
    desk.session.open_trajectory(write_wave(tmp_path / "again.h5"))
    assert {"truth", "forecast"} <= {layer.name for layer in desk.viewer.layers}


def test_a_single_density_stands_beside_the_pair(desk: SimpleNamespace, tmp_path: Path) -> None:
    from engine.formats import Volume, write_volume

    path = write_volume(tmp_path / "one.cube", Volume(wave(0.0), CELL), "cube")
    desk.viewer.open(str(path), plugin="ldm_viewer")
    assert [layer.name for layer in desk.viewer.layers] == ["truth", "forecast", "difference", "one.cube"]
    desk.session.look_at(10.0)
    assert desk.viewer.dims.point[0] == 10.0 and desk.viewer.screenshot(flash=False).std() > 5


def test_closing_our_docks_ends_the_forecast_and_the_panel_can_come_back(
    desk: SimpleNamespace, qtbot: object
) -> None:
    desk.session.configure(frames=100_000)
    click(qtbot, desk.panel.run)
    qtbot.waitUntil(lambda: desk.session.state.ready > 1, timeout=10_000)
    worker = desk.session._worker
    window = desk.panel.window()
    for dock in window.findChildren(QDockWidget):
        if "ldm_viewer" in dock.objectName():
            dock.destroyOnClose()  # what napari's cross does
    qtbot.waitUntil(lambda: not worker.is_alive(), timeout=5_000)
    assert desk.session.state.status is Status.STOPPED
    _, panel = desk.viewer.window.add_plugin_dock_widget("ldm_viewer", "Forecast", tabify=True)
    panel.session.configure(frames=2)
    click(qtbot, panel.run)
    qtbot.waitUntil(lambda: panel.session.state.status is Status.FINISHED, timeout=10_000)
    assert panel.session is desk.session and len(desk.viewer.layers) == 3
