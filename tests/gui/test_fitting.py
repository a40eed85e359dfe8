"""The window among the user's other things: series, menus, palette, preferences, atoms, images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hands import click, drop, forecast, quiet, show_dock
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from waves import CELL, wave

from engine.formats import Volume, write_volume
from engine.trajectory import Trajectory
from ldm_viewer import preferences
from ldm_viewer.preferences import Preferences
from ldm_viewer.state import Status


def command(name: str) -> None:
    """As the command palette gives it."""
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command(f"ldm_viewer.{name}").result()


def test_a_dropped_folder_becomes_the_data(desk: SimpleNamespace, qtbot: object, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for index in range(6):
        volume = Volume(wave(2.0 * index), CELL, np.array([1]), np.array([[0.0, 0.0, 0.0]]))
        write_volume(run / f"CHGCAR_{index}", volume, "chgcar")
    drop(desk.panel, run)
    dialog = desk.panel._asking
    assert dialog.isVisible() and "6 CHGCAR files" in dialog.findChildren(type(dialog.note))[0].text()
    dialog.dt_fs.value = 2.0
    qtbot.mouseClick(dialog.make, Qt.MouseButton.LeftButton)
    made = tmp_path / "run.h5"  # the dialog itself is deleted once it is answered
    qtbot.waitUntil(lambda: desk.session.state.trajectory.path == made, timeout=120_000)
    state = desk.session.state
    assert len(state.trajectory) == 6
    np.testing.assert_allclose(state.truth.at(4.0), wave(4.0), rtol=1e-4)
    assert desk.panel.run.enabled, "the emulator goes on from the user's own files"


def test_a_series_that_cannot_be_read_is_told_in_the_dialog(
    desk: SimpleNamespace, qtbot: object, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for index in range(3):
        write_volume(run / f"{index}.cube", Volume(wave(2.0 * index), CELL), "cube")
    (run / "1.cube").write_text("cut off")
    before = desk.session.state
    desk.viewer.open(str(run), plugin="ldm_viewer")
    dialog = desk.panel._asking
    qtbot.mouseClick(dialog.make, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "1.cube" in dialog.note.text(), timeout=120_000)
    assert dialog.make.isEnabled() and desk.session.state is before
    dialog.close()
    assert not list(tmp_path.glob("run.h5*"))


def test_every_dock_and_action_is_in_the_command_palette(desk: SimpleNamespace, qtbot: object) -> None:
    from napari._app_model import get_app_model

    known = {name for name, _ in get_app_model().commands if name.startswith("ldm_viewer.")}
    wanted = ("run", "step", "stop", "fork", "from_here", "follow", "back", "forward", "preferences")
    assert {f"ldm_viewer.{name}" for name in wanted} <= known
    desk.session.configure(frames=4)
    command("run")
    qtbot.waitUntil(lambda: desk.session.state.status is Status.FINISHED, timeout=60_000)
    end = desk.session.state.time_fs
    command("back")
    assert desk.session.state.time_fs == end - 2.0
    command("fork")
    qtbot.waitUntil(lambda: len(desk.session.state.runs) == 2, timeout=5_000)
    qtbot.waitUntil(lambda: desk.session.state.status is Status.FINISHED, timeout=60_000)
    command("step")
    qtbot.waitUntil(lambda: desk.session.state.ready == 1, timeout=60_000)
    assert desk.session.state.status is Status.PAUSED
    command("stop")
    assert desk.session.state.status is Status.STOPPED


def test_a_command_that_cannot_be_carried_out_says_why(desk: SimpleNamespace) -> None:
    notification_manager.records.clear()
    command("fork")
    assert "no forecast to fork" in notification_manager.records[-1].message


def test_the_layers_menu_forecasts_from_here_and_opens_docks(desk: SimpleNamespace, qtbot: object) -> None:
    from napari._app_model import get_app_model

    lines = {
        item.command.title
        for item in get_app_model().menus.get_menu("napari/layers/context")
        if hasattr(item, "command")
    }
    assert {"Forecast from here", "Histogram", "S(q)"} <= lines
    desk.viewer.layers.selection.active = desk.stage.triptych.truth
    desk.session.configure(frames=2)
    desk.session.look_at(30.0)
    command("layer.from_here")
    qtbot.waitUntil(lambda: desk.session.state.status is Status.FINISHED, timeout=60_000)
    assert desk.session.state.started_fs == 30.0
    command("layer.structure")
    qtbot.waitUntil(lambda: desk.docks["S(q)"].seen, timeout=5_000)


def test_a_device_that_is_gone_gives_way_to_the_processor(desk: SimpleNamespace, monkeypatch: object) -> None:
    said = []
    monkeypatch.setattr("ldm_viewer.panel.show_error", said.append)
    desk.session.device = "cuda:99"
    desk.panel.choose_first()
    assert len(said) == 1 and "cuda:99 cannot be used" in said[0]
    assert desk.session.device == str(desk.session.state.emulator.device) == "cpu"


def test_preferences_are_taken_over_and_kept(desk: SimpleNamespace, qtbot: object) -> None:
    click(qtbot, desk.panel.preferences)
    dialog = desk.panel._asking
    dialog.redraws.value, dialog.threads.value = 10, 3
    qtbot.mouseClick(dialog.buttons.button(dialog.buttons.StandardButton.Ok), Qt.MouseButton.LeftButton)
    assert not dialog.isVisible() and preferences.load() == Preferences("cpu", 10, 3)
    assert desk.session.threads == 3 and desk.stage.turns._timer.interval() == 100


def test_a_difference_shows_both_signs_in_three_dimensions(desk: SimpleNamespace, qtbot: object) -> None:
    forecast(desk, qtbot)
    layer = desk.viewer.layers["difference"]
    flat = layer.colormap.name
    desk.viewer.dims.ndisplay = 3
    assert layer.rendering == "translucent"
    low, middle, high = layer.colormap.map(np.array([0.0, 0.5, 1.0]))
    assert middle[3] == 0 and low[3] > 0.5 < high[3] and low[2] > low[0] and high[0] > high[2]
    desk.viewer.dims.ndisplay = 2
    assert layer.colormap.name == flat


def test_slices_go_through_three_atoms_with_a_profile(
    desk: SimpleNamespace, qtbot: object, atoms_file: Path
) -> None:
    desk.session.open_trajectory(atoms_file)
    dock = show_dock(desk, "Slices")
    dock.plane.setCurrentText("three atoms")
    assert dock.atoms.isVisible() and not dock.position.isVisible()
    qtbot.waitUntil(lambda: "three atoms from 1 to 1" in dock.note.text(), timeout=10_000)
    dock.plane.setCurrentText("z")
    quiet(desk, qtbot)
    qtbot.mouseClick(dock.along, Qt.MouseButton.LeftButton)
    assert dock.profile.isVisible()
    dock.lines["truth"].setValue(1.0)
    values = dock.curves["truth"].getData()[1]
    cut = dock._shown.truth
    _, _, bottom, top = dock._shown.edges
    np.testing.assert_allclose(values, cut[:, int((1.0 - bottom) / (top - bottom) * cut.shape[1])])


def test_latents_of_truth_and_forecast_are_drawn(desk: SimpleNamespace, qtbot: object) -> None:
    dock = show_dock(desk, "Latents")
    qtbot.waitUntil(
        lambda: dock.told.text().startswith("39 frames") and "…" not in dock.told.text(), timeout=60_000
    )
    forecast(desk, qtbot, frames=3)
    qtbot.waitUntil(lambda: np.size(dock.curves["forecast"].getData()[0]) == 3, timeout=10_000)
    assert "% of the variance" in dock.sheet().x_label and len(dock.now.points()) == 2


def test_truth_is_saved_through_naparis_own_menu(desk: SimpleNamespace, tmp_path: Path) -> None:
    written = desk.viewer.layers["truth"].save(str(tmp_path / "saved.h5"), plugin="ldm_viewer")
    with Trajectory(written[0]) as saved:
        np.testing.assert_allclose(saved.density(7), wave(14.0), rtol=1e-5)
