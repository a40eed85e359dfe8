"""A seeded monkey at the window: it may not crash, hang, leak, or meet a traceback.

LDM_MONKEY=500 gives it so many actions, LDM_MONKEY_SEED another will.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import psutil
import pytest
from hands import drop
from napari.utils.notifications import ErrorNotification, notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QComboBox, QDialog, QDockWidget, QPushButton
from waves import CELL, wave, write_wave

from engine.formats import Volume, write_volume
from engine.jobs import holder
from ldm_viewer import preferences
from ldm_viewer.arrange import BELOW, SIDE
from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.export import ExportDock
from ldm_viewer.docks.training import TrainingDock
from ldm_viewer.docks.training_form import STEPS
from ldm_viewer.jobs import known_runs
from ldm_viewer.panel import MainPanel
from ldm_viewer.whereabouts import main_window

ACTIONS = int(os.environ.get("LDM_MONKEY", "60"))
SEED = int(os.environ.get("LDM_MONKEY_SEED", "1"))
LONGEST_S = float(os.environ.get("LDM_MONKEY_LONGEST_S", "20"))  # of one action with what it sets off
MOST_GROWTH = 200 * 2**20  # bytes
WARM_UP = 20  # actions before memory is counted: shaders, fonts, caches
NAMES = ("Forecast", *SIDE, *dict.fromkeys((*BELOW, "Training")))
CHECKPOINTS = 10  # at which memory is told


class Monkey:
    """What it can do; each action is one of the public methods."""

    def __init__(self, desk: SimpleNamespace, qtbot: object, files: list[Path], emulators: list[str]) -> None:
        self.desk, self.qtbot, self.files, self.emulators = desk, qtbot, files, emulators
        self.random = random.Random(SEED)
        self.window = main_window(desk.panel)

    def actions(self) -> list[Callable[[], None]]:
        names = [name for name in vars(type(self)) if not name.startswith("_") and name != "actions"]
        return [getattr(self, name) for name in names]

    def _panel(self) -> MainPanel:
        """The panel, opened where it was closed."""
        return self.desk.viewer.window.add_plugin_dock_widget("ldm_viewer", "Forecast", tabify=True)[1]

    def _docks(self) -> list[QDockWidget]:
        found = self.window.findChildren(QDockWidget)
        return [dock for dock in found if "ldm_viewer" in dock.objectName()]

    def _click(self, name: str) -> None:
        self.qtbot.mouseClick(getattr(self._panel(), name).native, Qt.MouseButton.LeftButton)

    def open_file(self) -> None:
        self._panel().open_paths([self.random.choice(self.files)])

    def drop_file(self) -> None:
        path = self.random.choice(self.files)
        if path.name.startswith(("wave", "other", "run")):
            drop(self._panel(), path)

    def sample(self) -> None:
        self._click("sample")

    def setup(self) -> None:
        panel, pick = self._panel(), self.random.randint
        panel.frames.value, panel.members.value, panel.seed.value = pick(1, 60), pick(1, 3), pick(0, 9)
        panel.stride.value = pick(1, 2)

    def run(self) -> None:
        self._click("run")

    def step(self) -> None:
        self._click("step")

    def stop(self) -> None:
        self._click("stop")

    def fork(self) -> None:
        self._click("fork")

    def start_here(self) -> None:
        self._click("here")

    def emulator(self) -> None:
        panel = self._panel()
        panel.tell(panel.session.choose_emulator, self.random.choice(self.emulators))

    def run_shown(self) -> None:
        box = self._panel().chosen_run
        box.value = self.random.choice(box.choices)

    def member(self) -> None:
        box = self._panel().member
        box.value = self.random.choice(box.choices)

    def beside(self) -> None:
        box = self._panel().beside
        box.value = self.random.choice(box.choices)

    def time(self) -> None:
        slider = self._panel().time
        slider.value = self.random.randint(slider.min, slider.max)

    def follow_atoms_cells(self) -> None:
        panel = self._panel()
        panel.follow.value, panel.atoms.value = self.random.random() < 0.5, self.random.random() < 0.7
        panel.cells.value = self.random.choice((1, 1, 2))

    def dimensions(self) -> None:
        self.desk.viewer.dims.ndisplay = self.random.choice((2, 2, 3))

    def order(self) -> None:
        self.desk.viewer.dims.roll()

    def play(self) -> None:
        buttons = [b for b in self.window.findChildren(QPushButton) if type(b).__name__ == "QtPlayButton"]
        if buttons:
            self.qtbot.mouseClick(self.random.choice(buttons), Qt.MouseButton.LeftButton)

    def theme(self) -> None:
        self.desk.viewer.theme = self.random.choice(("dark", "light"))

    def close_dock(self) -> None:
        docks = self._docks()
        if docks:
            self.random.choice(docks).destroyOnClose()  # what napari's cross does

    def open_dock(self) -> None:
        name = self.random.choice(NAMES)
        dock, _ = self.desk.viewer.window.add_plugin_dock_widget("ldm_viewer", name, tabify=True)
        dock.raise_()

    def float_dock(self) -> None:
        docks = self._docks()
        if docks:
            dock = self.random.choice(docks)
            dock.setFloating(not dock.isFloating())

    def choice_in_dock(self) -> None:
        docks = self.window.findChildren(LiveDock)
        boxes = [box for dock in docks for box in dock.findChildren(QComboBox) if box.count()]
        if boxes:
            box = self.random.choice(boxes)
            box.setCurrentIndex(self.random.randrange(box.count()))

    def _dock(self, kind: type) -> LiveDock | None:
        return next(iter(self.window.findChildren(kind)), None)

    def train(self) -> None:
        """A short training, an estimate, or whatever a button of that dock does now."""
        dock = self._dock(TrainingDock)
        if dock is not None:
            dock.form.budget.value, dock.form.amount.value = STEPS, 3
            trains = dock.sight is not None and dock.sight.standing.live
            buttons = [dock.time, dock.pause, dock.stop, dock.use, *([] if trains else [dock.train])]
            self.qtbot.mouseClick(self.random.choice(buttons), Qt.MouseButton.LeftButton)

    def export(self) -> None:
        """A picture or movie of what there is, or an end to that."""
        dock = self._dock(ExportDock)
        if dock is not None and dock.job is not None and dock.job.is_alive():
            self.qtbot.mouseClick(dock.form.cancel, Qt.MouseButton.LeftButton)
        elif dock is not None:
            dock.form.last.setValue(self.random.randint(2, 20))
            dock.save(self.files[0].parent / f"movie{self.random.choice(('.mp4', '.gif', '.html', '.bad'))}")

    def dialog(self) -> None:
        asked = [
            box for box in self.window.findChildren(QDialog) if box.isVisible() and box.parent() is not None
        ]
        if not asked:
            self._panel().ask_preferences()
        for box in asked:
            box.close()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_monkey_breaks_nothing(
    fresh_desk: SimpleNamespace,
    qtbot: object,
    tmp_path: Path,
    tiny_emulator_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(preferences.FOLDER, str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # of trainings
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkey = Monkey(fresh_desk, qtbot, _files(tmp_path), _emulators(tmp_path, tiny_emulator_folder))
    actions, process, history, memory = monkey.actions(), psutil.Process(), [], {}
    notification_manager.records.clear()
    first = min(WARM_UP, ACTIONS // 2)
    told_at = {first, *np.linspace(first, ACTIONS, CHECKPOINTS, dtype=int).tolist()}
    slowest = (0.0, "")
    for number in range(ACTIONS):
        if number in told_at:
            memory[number] = _held(process)
        action = monkey.random.choice(actions)
        history.append(action.__name__)
        began = time.perf_counter()
        action()
        qtbot.wait(monkey.random.choice((0, 10, 60)))
        took = time.perf_counter() - began
        slowest = max(slowest, (took, action.__name__))
        assert took < LONGEST_S, f"{action.__name__} took {took:.1f} s after {history[-6:]}"
        thrown = [r for r in notification_manager.records if isinstance(r, ErrorNotification)]
        assert not thrown, f"{thrown[0].exception!r} after {history[-6:]}"
    fresh_desk.session.stop()
    _end_trainings()
    memory[ACTIONS] = _held(process)
    told = {record.message for record in notification_manager.records}
    print(
        f"{ACTIONS} actions, seed {SEED}: slowest {slowest[1]} {slowest[0]:.2f} s, "
        f"{len(told)} different notifications, {len(QApplication.allWidgets())} widgets; memory "
        + ", ".join(f"{size / 2**20:.0f} MB at {number}" for number, size in memory.items())
    )
    assert memory[ACTIONS] - memory[first] < MOST_GROWTH
    assert fresh_desk.viewer.screenshot(flash=False).std() > 1


def _held(process: psutil.Process) -> int:
    """Bytes of memory in use: what is free already, and only not given back yet, is no leak."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return process.memory_info().rss


def _end_trainings() -> None:
    for folder in known_runs():
        if (pid := holder(folder)) is not None:
            os.kill(pid, signal.SIGKILL)


def _files(folder: Path) -> list[Path]:
    """Good ones of several kinds, and bad ones."""
    text, foreign, cut = folder / "bad.h5", folder / "foreign.h5", folder / "cut.h5"
    text.write_text("not HDF5")
    with h5py.File(foreign, "w") as file:
        file["picture"] = [1, 2]
    cut.write_bytes(write_wave(folder / "wave_a.h5", frames=12).read_bytes()[:5000])
    write_wave(folder / "other_cell.h5", cell=1.5 * CELL, frames=9)
    write_wave(folder / "wave_coarse.h5", step_fs=4.0, frames=15)
    for index in range(3):
        write_volume(folder / "run" / f"{index}.cube", Volume(wave(2.0 * index), CELL), "cube")
    good = [folder / name for name in ("wave_a.h5", "other_cell.h5", "wave_coarse.h5", "run")]
    return [*good, *good, text, foreign, cut, folder / "missing.h5"]


def _emulators(folder: Path, tiny: Path) -> list[str]:
    (folder / "empty").mkdir()
    return ["tiny", "tiny", str(shutil.copytree(tiny, folder / "twin")), str(folder / "empty"), "nowhere"]
