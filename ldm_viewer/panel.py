"""The main panel, read like a sentence: data → emulator → start → run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from engine.formats import format_of
from ldm_viewer import preferences
from ldm_viewer.arrange import PLUGIN, DropTarget, open_docks
from ldm_viewer.asking import PreferencesDialog, SeriesDialog, ask
from ldm_viewer.commands import fill_layer_menu
from ldm_viewer.form import OTHER, Form, put
from ldm_viewer.memory import uncollected
from ldm_viewer.preferences import Preferences
from ldm_viewer.reader import GIVEN, SAMPLE, SERIES, series_of
from ldm_viewer.stage import stage_of
from ldm_viewer.state import State, Status
from ldm_viewer.statefile import SUFFIX, open_state, save_state
from ldm_viewer.whereabouts import docked
from ldm_viewer.words import describe_emulator, describe_run, describe_trajectory, members_of

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QDialog

FEW_CORES = 4
# With software OpenGL on few cores, rasteriser threads and model fight for them: drawing in the GUI thread
# itself makes the pauses shorter and the forecast a quarter faster (measured on two cores).
if (os.cpu_count() or 1) <= FEW_CORES:
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa's software renderer, read when the window opens

AUTOSTART = "LDM_VIEWER_AUTOSTART"  # set to 1: open the sample and forecast at once
SAMPLE_FILE = SAMPLE + "li32_test.h5"
SETUP = ("start_fs", "seed", "members", "frames", "stride")  # fields of the form named as in `Setup`
MEAN = "mean"
RUN_WORDS = {Status.RUNNING: "Pause", Status.PAUSED: "Resume"}


class MainPanel(Form):
    """Chooses what to forecast and drives it; opens the other docks beside itself."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._begin_fs, self._step_fs = 0.0, 1.0  # where the time slider begins, and its step
        self._shown: State | None = None
        self._asking: QDialog | None = None
        self.stage = stage_of(napari_viewer)
        self.session = self.stage.session
        self._connect()
        self.setAcceptDrops(True)
        self._drops = DropTarget(self, self.open_paths)
        fill_layer_menu()
        self.apply(preferences.load())
        self.session.changed.connect(self._on_changed)
        self.stage.attend(self)
        self._show(self.session.state)
        QTimer.singleShot(0, self._on_shown)  # the window is put together first

    def _connect(self) -> None:
        self.data.changed.connect(self._on_path)
        self.data.line_edit.native.editingFinished.connect(self._on_typed)
        self.sample.changed.connect(lambda: self.tell(self.session.open_trajectory, SAMPLE_FILE))
        self.emulator.changed.connect(self._on_emulator)
        self.here.changed.connect(lambda: self._configure("start_fs", self.session.state.time_fs))
        for name in SETUP:
            getattr(self, name).changed.connect(lambda value, name=name: self._configure(name, value))
        self.run.changed.connect(self._on_run)
        self.step.changed.connect(lambda: self.tell(self.session.step))
        self.stop.changed.connect(lambda: self.tell(self.session.stop))
        self.follow.changed.connect(self.session.set_follow)
        self.save.changed.connect(lambda: self._ask_state(save=True))
        self.open.changed.connect(lambda: self._ask_state(save=False))
        self.preferences.changed.connect(self.ask_preferences)
        self.atoms.changed.connect(self.stage.show_atoms)
        self.cells.changed.connect(self.stage.repeat)
        self.fork.changed.connect(lambda: self.tell(self.session.fork))
        self.chosen_run.changed.connect(self._on_chosen_run)
        self.member.changed.connect(self._on_member)
        self.beside.changed.connect(lambda what: self.tell(self.session.show_beside, what))
        self.time.changed.connect(lambda index: self.session.look_at(self._begin_fs + index * self._step_fs))

    # ------------------------------------------------------------------------------------- panel → session

    def tell(self, command: Callable[..., None], *args: Any, **kwargs: Any) -> bool:
        """Give a command; what it refuses becomes a notification in words."""
        try:
            command(*args, **kwargs)
        except (ValueError, OSError, MemoryError) as error:
            show_error(str(error))
            self._restore()
            return False
        return True

    def choose_first(self) -> None:
        """The first emulator, on the processor where the device of another day is gone."""
        first = self.session.state.emulators[0]
        if not self.tell(self.session.choose_emulator, first) and self.session.device != "cpu":
            self.session.device = "cpu"
            self.tell(self.session.choose_emulator, first)

    def _configure(self, name: str, value: float) -> None:
        self.tell(self.session.configure, **{name: value})

    def _on_path(self, path: Path) -> None:
        if path.exists() and path != self._shown_path():
            self.open_paths([path])

    def _on_typed(self) -> None:
        path = Path(self.data.line_edit.value)
        if path != self._shown_path() and not path.exists():
            show_error(f"there is no file or folder {path}")
            self._restore()

    def open_paths(self, paths: Sequence[str | Path]) -> None:
        """Open a trajectory, show a single density, or ask how a series becomes a trajectory."""
        files = series_of(paths)
        if files:
            self.ask_series(files)
        elif format_of(paths[0]) is not None:
            self.tell(self.stage.viewer.open, str(paths[0]), plugin=PLUGIN)
            self._restore()
        else:
            self.tell(self.session.open_trajectory, paths[0])

    def ask_series(self, files: Sequence[Path]) -> None:
        """Files become a trajectory beside the window, which then opens."""
        dialog = SeriesDialog(self, files, lambda path: self.tell(self.session.open_trajectory, path))
        self._asking = ask(dialog, self._asking)
        self._restore()

    def ask_preferences(self) -> None:
        """Show them, and take over what is chosen."""
        self._asking = ask(PreferencesDialog(self, self.apply), self._asking)

    def apply(self, wanted: Preferences) -> None:
        """Device of the next emulator, threads of the next forecast, redraws from now on."""
        self.session.device, self.session.threads = wanted.device, wanted.threads_to_use
        self.stage.turns.set_rate(wanted.redraws)

    def _shown_path(self) -> Path:
        trajectory = self.session.state.trajectory
        return Path() if trajectory is None else trajectory.path

    def _on_emulator(self, name: str) -> None:
        if name == OTHER:
            name = self._ask_folder()
        if not name or not self.tell(self.session.choose_emulator, name):
            self._restore()

    def _ask_folder(self) -> str:
        from qtpy.QtWidgets import QFileDialog

        return QFileDialog.getExistingDirectory(self, "Folder of an emulator (model.safetensors, card.json)")

    def save_state(self, path: str | Path) -> bool:
        """Write the session and how the window looks to a small file."""
        return self.tell(save_state, path, self.session, self.stage.view())

    def open_state(self, path: str | Path) -> bool:
        """Bring session and window back to what a file says; the forecast is made again."""
        opened = self.tell(lambda: self.stage.set_view(open_state(path, self.session)))
        self._restore()
        return opened

    def _ask_state(self, save: bool) -> None:
        from qtpy.QtWidgets import QFileDialog

        ask = QFileDialog.getSaveFileName if save else QFileDialog.getOpenFileName
        path, _ = ask(self, "Save state" if save else "Open state", "", f"States (*{SUFFIX})")
        if path and save:
            self.save_state(path if path.endswith(SUFFIX) else path + SUFFIX)
        elif path:
            self.open_state(path)

    def _on_chosen_run(self, label: str) -> None:
        run = next((run for run in self.session.state.runs if run.label == label), None)
        if run is not None:
            self.tell(self.session.show_run, run.number)

    def _on_member(self, name: str) -> None:
        member = None if name == MEAN else members_of(self.session.state).index(name)
        self.tell(self.session.show_member, member)

    def _on_run(self) -> None:
        status = self.session.state.status
        command = {Status.RUNNING: self.session.pause, Status.PAUSED: self.session.resume}
        self.tell(command.get(status, self.session.start))

    def _on_shown(self) -> None:
        """Fill the form so that one click forecasts: the file given to napari, or the sample."""
        if isalive(self):
            with uncollected():
                self._fill()

    def _fill(self) -> None:
        state = self.session.state
        if state.emulator is None and state.emulators:
            self.choose_first()
        if state.trajectory is None and self._given(SERIES):
            self.ask_series([Path(file) for file in self._given(SERIES)])
        elif state.trajectory is None:
            self.tell(self.session.open_trajectory, self._given(GIVEN) or SAMPLE_FILE)
        open_docks(self.stage, self)
        self._drops.watch_window()
        if os.environ.get(AUTOSTART) == "1":
            self.tell(self.session.start)

    def _given(self, key: str) -> Any:
        """What napari's command line has opened already: a trajectory, or the files of a series."""
        layers = self.stage.viewer.layers
        return next((layer.metadata[key] for layer in layers if key in layer.metadata), None)

    # ------------------------------------------------------------------------------------- session → panel

    def _on_changed(self, state: State, old: State) -> None:
        if not docked(self):
            self.session.changed.disconnect(self._on_changed, missing_ok=True)
            return
        if state.ready > old.ready and state.status is old.status:
            self.stage.hold.then(self._show_newest)  # one painting for both
        else:
            self._show(state)
        if state.status is Status.FAILED and old.status is not Status.FAILED:
            show_error(f"the forecast ended: {state.message}")
        if state.obstacle and state.obstacle != old.obstacle:
            show_error(state.obstacle)

    def _show_newest(self) -> None:
        if docked(self):
            self._show(self.session.state)

    def _restore(self) -> None:
        """Fields that the user has changed in vain show the state again."""
        self._shown = None
        self._show(self.session.state)

    def _show(self, state: State) -> None:
        with self.silent():
            if self._shown is None or _choice(state) != _choice(self._shown):
                self._show_choice(state)
            self._show_setup(state)
            self._show_time(state)
            self._show_run(state)
            self._show_views(state)
            self._shown = state

    def _show_choice(self, state: State) -> None:
        """Data and emulator; it reads the times of all frames, so not with every forecast frame."""
        if state.trajectory is not None:
            put(self.data.line_edit, value=str(state.trajectory.path))
            put(self.start_fs, step=(state.trajectory if state.adapted is None else state.adapted).dt_fs)
        put(self.data_info, value=describe_trajectory(state))
        put(self.emulator, choices=(*state.emulators, OTHER))
        if state.emulator is not None:
            put(self.emulator, value=state.chosen)
        put(self.emulator_info, value=describe_emulator(state))

    def _show_setup(self, state: State) -> None:
        for name in SETUP:
            put(getattr(self, name), value=getattr(state.setup, name))

    def _show_run(self, state: State) -> None:
        put(self.follow, value=state.follow)
        put(self.progress, max=max(state.total, 1))
        put(self.progress, value=state.ready)
        put(self.run, text=RUN_WORDS.get(state.status, "Forecast"), enabled=state.adapted is not None)
        put(self.step, enabled=state.adapted is not None)
        put(self.stop, enabled=state.status.active)
        put(self.here, enabled=state.truth is not None)
        put(self.status, value=describe_run(state))

    def _show_views(self, state: State) -> None:
        put(self.chosen_run, choices=tuple(run.label for run in state.runs) or ("none yet",))
        if state.shown is not None:
            put(self.chosen_run, value=state.shown.label, tooltip=state.shown.label)
        put(self.chosen_run, enabled=len(state.runs) > 1)
        put(self.fork, enabled=state.forecast is not None and state.adapted is not None)
        names = members_of(state)
        put(self.member, choices=(*names, MEAN) if len(names) > 1 else tuple(names))
        number = 0 if len(names) == 1 else state.member  # the mean of one member is that member
        put(self.member, value=MEAN if number is None else names[min(number, len(names) - 1)])
        put(self.member, enabled=len(names) > 1)
        put(self.beside, value=state.beside)
        put(self.atoms, value=self.stage.atoms_shown)
        put(self.cells, value=self.stage.triptych.repeats)

    def _show_time(self, state: State) -> None:
        """The slider runs over truth and forecast together, in their common step."""
        shown = [series for series in (state.truth, state.film) if series is not None]
        put(self.time, enabled=bool(shown))
        if not shown:
            return
        self._begin_fs, self._step_fs = min(series.start_fs for series in shown), state.truth.step_fs
        last = round((max(series.end_fs for series in shown) - self._begin_fs) / self._step_fs)
        index = round((state.time_fs - self._begin_fs) / self._step_fs)
        put(self.time, max=max(last, 1))
        put(self.time, value=min(max(index, 0), max(last, 1)))
        put(self.time_text, value=f"{state.time_fs:g} fs")


def _choice(state: State) -> tuple[Any, ...]:
    return state.trajectory, state.emulator, state.adapted, state.chosen, state.emulators, state.obstacle
