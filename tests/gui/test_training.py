"""Training from the window: a real process, seen from start to forecast, halted, killed, found again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hands import forecast
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget
from waves import STEP_FS, wave

from engine.jobs import holder
from engine.series import export_series
from engine.trajectory import Trajectory
from ldm_viewer.docks.training import TrainingDock
from ldm_viewer.docks.training_form import RECIPE, STEPS
from ldm_viewer.jobs import Standing, known_runs

PATIENCE_MS = 200_000  # for a process to come up on a loaded machine


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "home"


@pytest.fixture
def desk(fresh_desk: SimpleNamespace) -> SimpleNamespace:
    """A window of its own: a form that was filled in stays so."""
    return fresh_desk


@pytest.fixture
def dock(home: Path, desk: SimpleNamespace, qtbot: object) -> Iterator[TrainingDock]:
    yield open_dock(desk, qtbot)
    for folder in known_runs():
        if (pid := holder(folder)) is not None:
            os.kill(pid, signal.SIGKILL)


def open_dock(desk: SimpleNamespace, qtbot: object) -> TrainingDock:
    dock, widget = desk.viewer.window.add_plugin_dock_widget("ldm_viewer", "Training")
    dock.raise_()
    qtbot.waitUntil(lambda: widget.visibleRegion().isEmpty() is False, timeout=20_000)
    return widget


def press(qtbot: object, button: object) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def make_small(dock: TrainingDock, **training: float) -> None:
    """Few weights and few steps, by the fields of the folded form."""
    recipe = dock.form.recipe
    small = {"width": 8, "blocks": 1, "knots": 4}
    training = {"latent_pairs": 2, "log_every": 1, "checkpoint_every": 20} | training
    dock.form.recipe = replace(
        recipe,
        diffusion=replace(recipe.diffusion, **small),
        training=replace(recipe.training, **training),
    )


def picture(desk: SimpleNamespace, home: Path, name: str) -> None:
    """Kept among the test's files, to be looked at."""
    home.mkdir(exist_ok=True)
    desk.viewer.window.screenshot(str(home / f"{name}.png"), canvas_only=False, flash=False)


def told() -> str:
    return "\n".join(note.message for note in notification_manager.records)


def until(qtbot: object, true: Callable[[], bool]) -> None:
    qtbot.waitUntil(true, timeout=PATIENCE_MS)


def test_the_form_proposes_what_suits_the_open_trajectory(
    dock: TrainingDock, wave_file: Path, home: Path
) -> None:
    form = dock.form
    assert form.data.value == str(wave_file) and "40 frames every 2 fs" in form.info.value
    assert [number.value for number in form.grid] == [6, 6, 6] and form.step_fs.value == "Δτ = 10 fs"
    assert Path(form.folder.value) == home / "ldm_viewer" / "runs" / "wave-spectral"
    form.choice.value = "paper"
    assert [number.value for number in form.grid] == [8, 8, 8] and form.stride.value == 1
    assert form.folder.value.endswith("wave-paper")


def test_every_field_has_a_widget_that_explains_and_changes_it(
    dock: TrainingDock, desk: SimpleNamespace, qtbot: object, home: Path
) -> None:
    form = dock.form
    press(qtbot, form.advanced)
    for part, shown in form.parts.items():
        for widget in shown:
            assert widget.tooltip, f"{part}.{widget.name}"
            assert getattr(getattr(form.recipe, part), widget.name) == _held(widget), f"{part}.{widget.name}"
    picture(desk, home, "advanced")
    shown = {widget.name: widget for widget in form.parts["training"]}
    shown["learning_rate"].value = 0.005
    shown["monitor"].value = "training"
    assert form.recipe.training.learning_rate == 0.005 and form.recipe.training.monitor == "training"
    grid = next(widget for widget in form.parts["autoencoder"] if widget.name == "grid")
    grid.value = "2, 2, 4"
    assert form.recipe.autoencoder.grid == (2, 2, 4)
    grid.value = "2, 2,"
    assert form.recipe.autoencoder.grid == (2, 2, 4)


def _held(widget: object) -> object:
    value = widget.value
    return tuple(map(int, value.split(","))) if widget.name in ("grid", "channels") else value


def test_what_cannot_be_trained_is_said_before(dock: TrainingDock, qtbot: object) -> None:
    dock.form.stride.value = 40
    press(qtbot, dock.train)
    assert "a stride of 40 needs at least 42" in told() and dock.sight is None
    dock.form.take("/nowhere/at_all.h5")
    press(qtbot, dock.train)
    assert "choose a trajectory to learn from" in told()


def test_train_watch_and_forecast(
    dock: TrainingDock, desk: SimpleNamespace, qtbot: object, home: Path
) -> None:
    make_small(dock)
    desk.viewer.window.resize(1280, 800)
    dock.form.budget.value = STEPS
    dock.form.amount.value = 40
    picture(desk, home, "asked")
    press(qtbot, dock.train)
    until(qtbot, lambda: dock.sight.standing is Standing.FINISHED)
    assert dock.bar.value() == 40 and "finished: step 40 of 40" in dock.bar.format()
    assert "its emulator is in the list" in told()
    assert "wave-spectral" in desk.panel.emulator.choices
    until(
        qtbot, lambda: any(len(curve.getOriginalDataset()[0]) == 40 for curve in dock.curves.curves.values())
    )
    for line in dock.curves.sheet().lines:
        assert line.x[-1] == 40 and np.isfinite(line.y).all(), line.name
    until(qtbot, lambda: dock.preview.sheet() is not None)
    assert "VRMSE rebuilt" in dock.preview.words.text() and "on unseen" in dock.preview.words.toolTip()
    picture(desk, home, "trained")
    press(qtbot, dock.use)
    assert desk.panel.emulator.value == "wave-spectral" and desk.session.state.emulator.dt_fs == 10.0
    forecast(desk, qtbot, frames=3)
    assert desk.session.state.ready == 3


@pytest.mark.slow
def test_killed_and_closed_it_goes_on(dock: TrainingDock, desk: SimpleNamespace, qtbot: object) -> None:
    make_small(dock, latent_steps=10**6)
    dock.form.budget.value = RECIPE
    press(qtbot, dock.train)
    until(qtbot, lambda: dock.sight.standing is Standing.TRAINING and dock.sight.status.step > 25)
    pid, folder = dock.sight.pid, dock.sight.folder

    holders = [d for d in dock.window().findChildren(QDockWidget) if d.isAncestorOf(dock)]
    desk.viewer.window.remove_dock_widget(holders[0])
    again = open_dock(desk, qtbot)
    assert again is not dock and again.sight.folder == folder and again.sight.pid == pid
    assert again.sight.standing is Standing.TRAINING

    press(qtbot, again.pause)
    until(qtbot, lambda: again.sight.standing is Standing.PAUSED)
    assert again.pause.text() == "Resume"
    press(qtbot, again.pause)
    until(qtbot, lambda: again.sight.standing is Standing.TRAINING)
    os.kill(pid, signal.SIGKILL)
    until(qtbot, lambda: again.sight.standing is Standing.INTERRUPTED)
    assert "ended without a word" in told()
    reached = again.sight.status.step
    press(qtbot, again.pause)
    until(qtbot, lambda: again.sight.standing is Standing.TRAINING and again.sight.status.step > reached)
    press(qtbot, again.stop)
    until(qtbot, lambda: again.sight.standing is Standing.STOPPED)
    assert folder.name in desk.panel.emulator.choices and again.use.isEnabled()


@pytest.mark.slow
def test_from_ones_own_files(
    dock: TrainingDock, desk: SimpleNamespace, qtbot: object, wave_file: Path
) -> None:
    """A folder of CUBE files becomes a trajectory, and its training an emulator."""
    folder = wave_file.parent / "cubes"
    export_series(Trajectory(wave_file), folder, "cube")
    dock.form.take(folder)
    dialog = dock._asking
    dialog.dt_fs.value = STEP_FS
    qtbot.mouseClick(dialog.make, Qt.MouseButton.LeftButton)
    until(qtbot, lambda: dock.form.data.value == str(wave_file.parent / "cubes.h5"))
    assert desk.session.state.trajectory.path.name == "cubes.h5"
    np.testing.assert_allclose(dock.form.trajectory.density(7), wave(14.0), rtol=1e-4)
    make_small(dock)
    dock.form.budget.value = STEPS
    dock.form.amount.value = 20
    press(qtbot, dock.train)
    until(qtbot, lambda: dock.sight.standing is Standing.FINISHED)
    press(qtbot, dock.use)
    forecast(desk, qtbot, frames=2)
    assert desk.session.state.ready == 2


@pytest.mark.slow
def test_an_estimate_comes_from_a_process_and_can_be_cancelled(dock: TrainingDock, qtbot: object) -> None:
    make_small(dock)
    press(qtbot, dock.time)
    assert dock.time.text() == "Cancel"
    press(qtbot, dock.time)
    assert dock.time.text() == "Estimate" and dock.estimated.text() == ""
    press(qtbot, dock.time)
    until(qtbot, lambda: dock.time.text() == "Estimate")
    assert " steps, " in dock.estimated.text() and "MiB" in dock.estimated.text()
