"""Training from the window: what to learn from, a process that does it, its curves and what it can do so far.

The process is not the window's: it goes on when napari is closed or killed, and is found by its folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from engine.jobs import Job
from ldm_viewer.arrange import place_below
from ldm_viewer.asking import SeriesDialog, ask
from ldm_viewer.docks.parts import TextLine, row
from ldm_viewer.docks.training_form import TrainingForm
from ldm_viewer.docks.training_views import TrainingCurves, TrainingPreview
from ldm_viewer.jobs import (
    Errand,
    Sight,
    Standing,
    describe_estimate,
    estimate,
    known_runs,
    last_words,
    look,
    pause,
    resume,
    start,
    stop,
)
from ldm_viewer.preview import best_step
from ldm_viewer.stage import stage_of
from ldm_viewer.whereabouts import docked

if TYPE_CHECKING:
    import subprocess
    import tempfile

    import napari

    from ldm_viewer.state import State

LOOK_MS = 500
FORM_WIDTH, HEIGHT = 340, 350  # pixels
NO_RUN = "no training yet"


class TrainingDock(QWidget):
    """Starts, pauses, resumes and stops trainings, and shows the one that is chosen."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.stage = stage_of(napari_viewer)
        self.session = self.stage.session
        self.form = TrainingForm()
        self.curves = TrainingCurves(napari_viewer)
        self.preview = TrainingPreview(napari_viewer)
        self.sight: Sight | None = None
        self._process: subprocess.Popen | None = None  # the run that is shown, if this window started it
        self._errand: tuple[Errand, tempfile.TemporaryDirectory] | None = None
        self._data: Path | None = None
        self._asking: SeriesDialog | None = None
        self._make_controls()
        self._lay_out()
        self._connect()
        self._take_open(self.session.state)
        self._list_runs()
        self._attach()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(LOOK_MS)
        self.stage.attend(self)
        QTimer.singleShot(0, lambda: isalive(self) and place_below(self, "Training", HEIGHT))

    # ---------------------------------------------------------------------------------------------- widgets

    def _make_controls(self) -> None:
        self.train = _button("Train", "Begin a new training, in a process of its own")
        self.time = _button("Estimate", "Time a few steps of every stage, in a process of its own")
        self.estimated = TextLine(name="estimate")
        self.runs = QComboBox()
        self.runs.setToolTip("Trainings that this window or an earlier one has started")
        self.runs.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.pause = _button("Pause", "Halt the process; Resume goes on, also after a kill or a restart")
        self.stop = _button("Stop", "Keep the best emulator so far and end; it can go on later")
        self.use = _button("Use", "Choose this training's best emulator for the forecast")
        self.bar = QProgressBar()
        self.bar.setRange(0, 1)
        self.bar.setValue(0)  # without a value it shows no text
        self.bar.setFormat(NO_RUN)
        self.bar.setMaximumHeight(18)
        self.bar.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def _lay_out(self) -> None:
        left = QWidget()
        left.setFixedWidth(FORM_WIDTH)
        left.setLayout(QVBoxLayout())
        left.layout().setContentsMargins(0, 0, 0, 0)
        left.layout().setSpacing(3)
        left.layout().addWidget(self.form, 1)
        left.layout().addWidget(row(self.train, self.time, self.estimated))
        views = QHBoxLayout()
        views.addWidget(self.curves, 4)
        views.addWidget(self.preview, 5)
        right = QVBoxLayout()
        right.setSpacing(2)
        right.addWidget(row(self.runs, self.pause, self.stop, self.use))
        right.addWidget(self.bar)
        right.addLayout(views, 1)
        self.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding
        )  # else napari adds room
        self.setLayout(QHBoxLayout())
        self.layout().setContentsMargins(4, 2, 4, 2)
        self.layout().addWidget(left)
        self.layout().addLayout(right, 1)

    def _connect(self) -> None:
        self.form.series_given.connect(self._ask_series)
        self.train.clicked.connect(lambda: self._try(self._start))
        self.time.clicked.connect(lambda: self._try(self._estimate))
        self.pause.clicked.connect(lambda: self._try(self._pause_or_resume))
        self.stop.clicked.connect(lambda: self._try(lambda: stop(self._fresh())))
        self.use.clicked.connect(lambda: self._try(self._use))
        self.runs.activated.connect(lambda index: self.show_run(Path(self.runs.itemData(index))))
        self.session.changed.connect(self._on_session)

    # --------------------------------------------------------------------------------------------- commands

    def _try(self, command: Callable[[], None]) -> None:
        """What is refused becomes a notification in words."""
        try:
            command()
        except (ValueError, OSError) as error:
            show_error(str(error))
        self._look()

    def _start(self) -> None:
        job = self.form.job()
        process = start(job)
        self._list_runs()
        self.show_run(job.folder, process)

    def _pause_or_resume(self) -> None:
        sight = self._fresh()
        if sight.standing in (Standing.TRAINING, Standing.MEASURING):
            pause(sight)
        else:
            self._process = resume(sight) or self._process

    def _use(self) -> None:
        folder = self._fresh().folder
        self.session.choose_emulator(self.session.offer_emulator(folder))

    def _fresh(self) -> Sight:
        if self.sight is None:
            raise ValueError(f"{NO_RUN}: choose data and press Train")
        return look(self.sight.folder, self._process)

    def _estimate(self) -> None:
        if self._errand is not None:
            self._errand[0].cancel()
            self._end_errand("")
            return
        self._errand = estimate(self.form.job())
        self.time.setText("Cancel")
        self.estimated.setText("timing a few steps…")

    def _end_errand(self, words: str) -> None:
        self._errand[1].cleanup()
        self._errand = None
        self.time.setText("Estimate")
        self.estimated.setText(words)
        self.estimated.setToolTip(words)

    # ------------------------------------------------------------------------------------------------ data

    def _ask_series(self, files: list[Path]) -> None:
        self._asking = ask(SeriesDialog(self, files, self._take_made), self._asking)

    def _take_made(self, path: Path) -> None:
        """A trajectory made of a series: show it, and learn from it."""
        self.form.take(path)
        self._try(lambda: self.session.open_trajectory(path))

    def _take_open(self, state: State) -> None:
        if state.trajectory is not None:
            self.form.take(state.trajectory.path)

    def _on_session(self, state: State, old: State) -> None:
        if not docked(self):
            self.session.changed.disconnect(self._on_session, missing_ok=True)
        elif state.trajectory is not old.trajectory and state.trajectory is not None:
            shown = "" if old.trajectory is None else str(old.trajectory.path)
            if self.form.data.value in ("", shown):  # not one that the user chose here
                self._take_open(state)

    # ------------------------------------------------------------------------------------------------- runs

    def show_run(self, folder: Path, process: subprocess.Popen | None = None) -> None:
        """Show another training; `process` is it, if this window started it just now."""
        self._process, self.sight, self._data = process, None, None
        with suppress(ValueError):
            self._data = Job.load(folder).data
        self.curves.watch(folder)
        self.runs.setCurrentIndex(self.runs.findData(str(folder)))
        self._take_sight(look(folder, process))

    def _attach(self) -> None:
        """Show the training that goes on, else the latest; what others left can be chosen for a forecast."""
        known = known_runs()
        for folder in known:
            self._offer(folder)
        live = [folder for folder in known if look(folder).standing.live]
        for folder in (*live, *known)[:1]:
            self.show_run(folder)
        if not known:
            self._show_controls(Standing.NONE)

    def _list_runs(self) -> None:
        self.runs.clear()
        for folder in known_runs():
            self.runs.addItem(folder.name, str(folder))
            self.runs.setItemData(self.runs.count() - 1, str(folder), Qt.ItemDataRole.ToolTipRole)

    def _offer(self, folder: Path) -> None:
        """An emulator there appears in the panel's list."""
        if best_step(folder):
            self.session.offer_emulator(folder)

    def _look(self) -> None:
        """Twice a second: what the run's small files say."""
        if not docked(self):
            self._timer.stop()
            return
        if self._errand is not None and self._errand[0].done:
            self._tell_estimate(self._errand[0])
        if self.sight is not None:
            self._take_sight(look(self.sight.folder, self._process))

    def _take_sight(self, sight: Sight) -> None:
        old, self.sight = self.sight, sight
        if old == sight:
            return
        self.bar.setFormat(sight.words().replace("%", "%%"))
        self.bar.setToolTip(sight.status.message or sight.words())
        self.bar.setMaximum(max(1, sight.status.steps))
        self.bar.setValue(sight.status.step)
        self._show_controls(sight.standing)
        if old is None or old.status.step != sight.status.step:
            self.curves.refresh()
        if old is None or old.status.best_step != sight.status.best_step or not sight.standing.live:
            self._offer(sight.folder)
            self.preview.watch(sight.folder, self._data, sight.standing.live)
        if old is not None and old.standing != sight.standing:
            self._tell_end(sight)

    def _show_controls(self, standing: Standing) -> None:
        works = standing in (Standing.TRAINING, Standing.MEASURING)
        self.pause.setText("Pause" if standing.live and standing is not Standing.PAUSED else "Resume")
        self.pause.setEnabled(works or standing.resumable)
        self.stop.setEnabled(works or standing is Standing.PAUSED)
        self.use.setEnabled(self.sight is not None and self.sight.status.best_step > 0)

    def _tell_end(self, sight: Sight) -> None:
        folder = sight.folder.name
        if sight.standing is Standing.FINISHED:
            show_info(f"the training {folder} is finished; its emulator is in the list")
        elif sight.standing is Standing.FAILED:
            show_error(f"the training {folder} failed: {sight.status.message or last_words(sight.folder)}")
        elif sight.standing is Standing.INTERRUPTED:
            said = last_words(sight.folder)
            show_error(
                f"the process of the training {folder} ended without a word at step {sight.status.step}; "
                "Resume goes on from at most a minute before" + (f". It said last:\n{said}" if said else "")
            )

    def _tell_estimate(self, errand: Errand) -> None:
        words = ""
        try:
            words = describe_estimate(json.loads(errand.result()))
        except ValueError as error:
            show_error(f"no estimate: {error}")
        self._end_errand(words)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button
