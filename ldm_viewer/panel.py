"""The main panel, read like a sentence: data → emulator → start → run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui import widgets
from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from ldm_viewer.arrange import DropTarget, open_docks
from ldm_viewer.form import OTHER, Form
from ldm_viewer.reader import SAMPLE
from ldm_viewer.stage import docked, stage_of
from ldm_viewer.state import State, Status
from ldm_viewer.statefile import SUFFIX, open_state, save_state
from ldm_viewer.words import describe_emulator, describe_run, describe_trajectory

if TYPE_CHECKING:
    import napari

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
        self.stage = stage_of(napari_viewer)
        self.session = self.stage.session
        self._connect()
        self.setAcceptDrops(True)
        self._drops = DropTarget(self, lambda path: self.tell(self.session.open_trajectory, path))
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
        except (ValueError, OSError) as error:
            show_error(str(error))
            self._restore()
            return False
        return True

    def _configure(self, name: str, value: float) -> None:
        self.tell(self.session.configure, **{name: value})

    def _on_path(self, path: Path) -> None:
        if path.is_file() and path != self._shown_path():
            self.tell(self.session.open_trajectory, path)

    def _on_typed(self) -> None:
        path = Path(self.data.line_edit.value)
        if path != self._shown_path() and not path.is_file():
            show_error(f"there is no file {path}")
            self._restore()

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
        return self.tell(lambda: self.stage.set_view(open_state(path, self.session)))

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
        member = None if name == MEAN else _members(self.session.state).index(name)
        self.tell(self.session.show_member, member)

    def _on_run(self) -> None:
        status = self.session.state.status
        command = {Status.RUNNING: self.session.pause, Status.PAUSED: self.session.resume}
        self.tell(command.get(status, self.session.start))

    def _on_shown(self) -> None:
        """Fill the form so that one click forecasts: the file given to napari, or the sample."""
        if not isalive(self):
            return
        state = self.session.state
        if state.emulator is None and state.emulators:
            self.tell(self.session.choose_emulator, state.emulators[0])
        if state.trajectory is None:
            self.tell(self.session.open_trajectory, self._given_file() or SAMPLE_FILE)
        open_docks(self.stage, self)
        self._drops.watch_window()
        if os.environ.get(AUTOSTART) == "1":
            self.stage.turns.when_quiet(lambda: self.tell(self.session.start))

    def _given_file(self) -> str | None:
        """A trajectory that napari's command line has opened already."""
        return next(
            (
                layer.metadata["ldm_viewer"]
                for layer in self.stage.viewer.layers
                if "ldm_viewer" in layer.metadata
            ),
            None,
        )

    # ------------------------------------------------------------------------------------- session → panel

    def _on_changed(self, state: State, old: State) -> None:
        if not docked(self):
            self.session.changed.disconnect(self._on_changed, missing_ok=True)
            return
        self._show(state)
        if state.status is Status.FAILED and old.status is not Status.FAILED:
            show_error(f"the forecast ended: {state.message}")
        if state.obstacle and state.obstacle != old.obstacle:
            show_error(state.obstacle)

    def _restore(self) -> None:
        """Fields that the user has changed in vain show the state again."""
        self._shown = None
        self._show(self.session.state)

    def _show(self, state: State) -> None:
        with _silent(self):
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
            _put(self.data.line_edit, value=str(state.trajectory.path))
            _put(self.start_fs, step=(state.trajectory if state.adapted is None else state.adapted).dt_fs)
        _put(self.data_info, value=describe_trajectory(state))
        _put(self.emulator, choices=(*state.emulators, OTHER))
        if state.emulator is not None:
            _put(self.emulator, value=state.chosen)
        _put(self.emulator_info, value=describe_emulator(state))

    def _show_setup(self, state: State) -> None:
        for name in SETUP:
            _put(getattr(self, name), value=getattr(state.setup, name))

    def _show_run(self, state: State) -> None:
        _put(self.follow, value=state.follow)
        _put(self.progress, max=max(state.total, 1))
        _put(self.progress, value=state.ready)
        _put(self.run, text=RUN_WORDS.get(state.status, "Forecast"), enabled=state.adapted is not None)
        _put(self.step, enabled=state.adapted is not None)
        _put(self.stop, enabled=state.status.active)
        _put(self.here, enabled=state.truth is not None)
        _put(self.status, value=describe_run(state))

    def _show_views(self, state: State) -> None:
        _put(self.chosen_run, choices=tuple(run.label for run in state.runs) or ("none yet",))
        if state.shown is not None:
            _put(self.chosen_run, value=state.shown.label)
        _put(self.chosen_run, enabled=len(state.runs) > 1)
        _put(self.fork, enabled=state.forecast is not None and state.adapted is not None)
        names = _members(state)
        _put(self.member, choices=(*names, MEAN) if len(names) > 1 else tuple(names))
        _put(self.member, value=MEAN if state.member is None else names[min(state.member, len(names) - 1)])
        _put(self.member, enabled=len(names) > 1)
        _put(self.beside, value=state.beside)

    def _show_time(self, state: State) -> None:
        """The slider runs over truth and forecast together, in their common step."""
        shown = [series for series in (state.truth, state.film) if series is not None]
        _put(self.time, enabled=bool(shown))
        if not shown:
            return
        self._begin_fs, self._step_fs = min(series.start_fs for series in shown), state.truth.step_fs
        last = round((max(series.end_fs for series in shown) - self._begin_fs) / self._step_fs)
        index = round((state.time_fs - self._begin_fs) / self._step_fs)
        _put(self.time, max=max(last, 1))
        _put(self.time, value=min(max(index, 0), max(last, 1)))
        _put(self.time_text, value=f"{state.time_fs:g} fs")


def _members(state: State) -> list[str]:
    count = 1 if state.shown is None else state.shown.members
    return [f"member {number + 1}" for number in range(count)]


def _choice(state: State) -> tuple[Any, ...]:
    return state.trajectory, state.emulator, state.adapted, state.chosen, state.emulators, state.obstacle


def _put(widget: widgets.Widget, **values: Any) -> None:
    """Set what differs: each setting costs a repaint of a window that OpenGL composes."""
    for name, value in values.items():
        if getattr(widget, name) != value:
            setattr(widget, name, value)


@contextmanager
def _silent(panel: MainPanel) -> Iterator[None]:
    """While the form shows the state, its fields give no commands.

    A progress bar repaints itself at once for every value otherwise, and the whole window with it.
    """
    fields = (
        panel.time,
        panel.data,
        panel.emulator,
        panel.start_fs,
        panel.seed,
        panel.members,
        panel.member,
        panel.chosen_run,
        panel.beside,
        panel.frames,
        panel.stride,
        panel.follow,
    )
    panel.progress.native.setUpdatesEnabled(False)
    with ExitStack() as stack:
        for field in fields:
            stack.enter_context(field.changed.blocked())
        yield
    panel.progress.native.setUpdatesEnabled(True)
