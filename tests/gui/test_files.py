"""Files and the real window: dropped, read, from the sample menu, bad ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hands import drop, forecast
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget
from waves import CELL, wave, write_wave


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
    assert desk.session.state.trajectory.formula == "Li32"
    assert [layer.name for layer in desk.viewer.layers if not layer.name.startswith("atoms")] == [
        "truth",
        "forecast",
        "difference",
    ]
    times = desk.viewer.dims.range[0]
    assert (times.start, times.stop) == (2800.0, 3398.0), "the slider leaves the former file's times"
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


def test_a_single_density_stands_beside_the_pair(desk: SimpleNamespace, tmp_path: Path) -> None:
    from engine.formats import Volume, write_volume

    path = write_volume(tmp_path / "one.cube", Volume(wave(0.0), CELL), "cube")
    desk.viewer.open(str(path), plugin="ldm_viewer")
    assert [layer.name for layer in desk.viewer.layers] == ["truth", "forecast", "difference", "one.cube"]
    desk.session.look_at(10.0)
    assert desk.viewer.dims.point[0] == 10.0 and desk.viewer.screenshot(flash=False).std() > 5
