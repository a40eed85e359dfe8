"""The docks in the real window: what they say is what the engine says of the frames that are shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hands import forecast, quiet, show_dock
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtWidgets import QToolTip
from waves import CELL, wave

from engine.observables import FINE_SHELLS, histogram, structure_factor, value_edges
from engine.scores import jsd
from ldm_viewer.planes import Plane


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
    peak = int(np.argmax(histogram(truth, edges)))
    point = float(edges[peak : peak + 2].mean()), float(histogram(truth, edges)[peak])
    said = hover(dock.plot, dock.plot.getViewBox(), point, qtbot)
    assert said.splitlines() == ["truth", f"ρ = {point[0]:.4g} Å⁻³", f"P(ρ) = {point[1]:.4g} Å³"]


def hover(view: object, box: object, point: tuple[float, float], qtbot: object) -> str:
    """Hold the cursor over a point of a plot; what is said there."""
    QToolTip.hideText()
    qtbot.waitUntil(lambda: not QToolTip.text())
    qtbot.mouseMove(view.viewport(), view.mapFromScene(box.mapViewToScene(QPointF(*point))))
    qtbot.waitUntil(lambda: bool(QToolTip.text()))
    return QToolTip.text()


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
    qtbot.waitUntil(lambda: set(dock.curves) == {"truth", "forecast"}, timeout=5_000)
    named = [label.text for _, label in dock.plot.getPlotItem().legend.items]
    assert sorted(named) == ["forecast", "truth"], "what is gone is not in the legend"
    np.testing.assert_allclose(dock.curves["truth"].getData()[1], 0.05 * 64, rtol=1e-4)


def test_surfaces_follow_slider_mouse_and_choice(
    desk: SimpleNamespace, qtbot: object, tmp_path: Path
) -> None:
    forecast(desk, qtbot)
    dock = show_dock(desk, "Isosurface")
    qtbot.waitUntil(lambda: dock.sheet() is not None, timeout=120_000)  # a process comes up

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
    for name in set(desk.docks) - {"Isosurface", "Export"}:
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
    assert dock.view.height() > 0.7 * dock.height()  # the pictures have the room
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
    across, up = dock.images["truth"].image.shape
    left, right, bottom, top = dock._shown.edges
    voxel = 3, 5
    place = left + 3.5 * (right - left) / across, bottom + 5.5 * (top - bottom) / up
    said = hover(dock.view, dock.images["forecast"].getViewBox(), place, qtbot)
    x, y, *values = said.splitlines()
    for line, name, wanted in ((x, "x", place[0]), (y, "y", place[1])):  # a pixel is some 0.04 Å
        assert line.startswith(f"{name} = ") and float(line.split()[2]) == pytest.approx(wanted, abs=0.06)
    assert values == [f"{name} {image.image[voxel]:.4f} Å⁻³" for name, image in dock.images.items()]
    assert dock.words_at(QPointF(0, 0)) == "", "beside the pictures"


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


def test_plots_follow_the_theme(desk: SimpleNamespace, qtbot: object) -> None:
    dock = desk.docks["Histogram"]

    def ground() -> int:
        return dock.plot.grab().toImage().pixelColor(3, 3).lightness()

    quiet(desk, qtbot)
    assert ground() < 80
    desk.viewer.theme = "light"
    qtbot.waitUntil(lambda: ground() > 200, timeout=5_000)
    desk.viewer.theme = "dark"
