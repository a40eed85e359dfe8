"""What leaves a window unlike new, each in a window of its own; those of other modules share one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hands import click, forecast
from qtpy.QtWidgets import QDockWidget
from waves import write_wave

from ldm_viewer.arrange import BELOW, SIDE
from ldm_viewer.state import Status


def test_opens_ready_with_sample_emulator_and_all_docks(fresh_desk: SimpleNamespace, wave_file: Path) -> None:
    desk = fresh_desk
    assert [layer.name for layer in desk.viewer.layers] == ["truth", "forecast", "difference"]
    assert desk.panel.data.value == wave_file and desk.panel.emulator.value == "tiny"
    assert desk.panel.run.enabled and desk.panel.run.text == "Forecast"
    assert set(desk.docks) == {*SIDE, *BELOW} - {"Training"}
    assert desk.docks["Slices"].seen and desk.docks["Histogram"].seen
    assert desk.viewer.canvas.grid.enabled and tuple(desk.viewer.canvas.grid.shape) == (1, 1)


def test_closing_our_docks_ends_the_forecast_and_the_panel_can_come_back(
    fresh_desk: SimpleNamespace, qtbot: object
) -> None:
    desk = fresh_desk
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


def test_layers_deleted_by_the_user_come_back_with_the_next_file(
    fresh_desk: SimpleNamespace, tmp_path: Path
) -> None:
    desk = fresh_desk
    desk.viewer.layers.remove("forecast")
    desk.session.open_trajectory(write_wave(tmp_path / "again.h5"))
    assert {"truth", "forecast"} <= {layer.name for layer in desk.viewer.layers}


def test_atoms_lie_over_every_view_and_move_with_time(
    fresh_desk: SimpleNamespace, qtbot: object, atoms_file: Path
) -> None:
    desk = fresh_desk
    desk.session.open_trajectory(atoms_file)
    click(qtbot, desk.panel.atoms)
    names = [layer.name for layer in desk.viewer.layers]
    assert names[::2] == ["truth", "forecast", "difference"] and desk.viewer.canvas.grid.stride == 2
    over = desk.viewer.layers["atoms, truth"]
    assert over.visible and not desk.viewer.layers["atoms, forecast"].visible
    desk.session.look_at(0.0)
    np.testing.assert_allclose(over.data, [[2.0, 1.0, 3.5]], atol=1e-6)
    desk.session.look_at(10.0)
    np.testing.assert_allclose(over.data, [[2.0, 1.0, 0.0]], atol=1e-6)
    forecast(desk, qtbot, frames=2)
    assert desk.viewer.layers["atoms, forecast"].visible
    click(qtbot, desk.panel.atoms)
    assert not any(layer.visible for layer in desk.stage.triptych.atoms)
    assert not desk.viewer.layers["truth"].bounding_box.visible
    desk.panel.cells.value = 2
    click(qtbot, desk.panel.atoms)
    assert len(over.data) == 8 and desk.viewer.layers["truth"].data.shape[1:] == (16, 16, 16)
    assert desk.viewer.screenshot(flash=False)[..., :3].std() > 5
