"""Two small dialogs: how a series of files becomes a trajectory, and the user's preferences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from magicgui import widgets
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QProgressBar, QVBoxLayout, QWidget

from engine.formats import Unit, format_of
from ldm_viewer import preferences
from ldm_viewer.gather import Gathering, Order, free_name
from ldm_viewer.preferences import Preferences

if TYPE_CHECKING:
    from magicgui.widgets import Container

LOOK_MS = 100
DIALOG_WIDTH = 480  # pixels


def ask(dialog: QDialog, former: QDialog | None) -> QDialog:
    """Show a dialog; the former one goes, unless it is at work."""
    if former is not None and isalive(former) and getattr(former, "gathering", None) is None:
        former.close()
    dialog.show()
    return dialog


class SeriesDialog(QDialog):
    """Asks for the time between files, makes the trajectory in a process, and hands its path to `done`."""

    def __init__(self, parent: QWidget, files: Sequence[Path], done: Callable[[Path], None]) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("A trajectory from a series of files")
        self.setMinimumWidth(DIALOG_WIDTH)
        self._files, self._done, self.gathering = tuple(files), done, None
        kind = format_of(files[0]).upper()
        told = QLabel(f"{len(files)} {kind} files, {files[0].name} to {files[-1].name}, in this order.")
        told.setWordWrap(True)
        self.dt_fs = widgets.FloatSpinBox(
            value=1.0, min=1e-3, max=1e6, step=0.5, label="time between files (fs)"
        )
        self.unit = widgets.ComboBox(
            choices=get_args(Unit), label="values are in", tooltip="convention: e/Bohr³ in CUBE, e/Å³ in XSF"
        )
        self.unit.enabled = kind != "CHGCAR"
        self.floor = widgets.LineEdit(
            value="0",
            label="lift below (Å⁻³)",
            tooltip="PAW densities can be zero or negative; 1e-6 lifts those",
        )
        self.output = widgets.FileEdit(value=free_name(files), mode="w", label="trajectory", filter="*.h5")
        self.form = widgets.Container(widgets=[self.dt_fs, self.unit, self.floor, self.output], labels=True)
        self.bar = QProgressBar()
        self.bar.setRange(0, len(files))
        self.note = QLabel("")
        self.note.setWordWrap(True)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.make = self.buttons.addButton("Make trajectory", QDialogButtonBox.ButtonRole.ActionRole)
        self.make.clicked.connect(self._begin)
        self.buttons.rejected.connect(self.close)
        self.setLayout(QVBoxLayout())
        for part in (told, self.form.native, self.bar, self.note, self.buttons):
            self.layout().addWidget(part)
        self.output.choose_btn.native.setAutoDefault(False)  # else Enter in a field would press it
        self.make.setDefault(True)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)

    def _begin(self) -> None:
        try:
            order = Order(
                tuple(map(str, self._files)),
                str(Path(self.output.value).expanduser()),
                self.dt_fs.value,
                self.unit.value,
                float(self.floor.value or 0),
            )
        except ValueError as error:
            self.note.setText(str(error))
            return
        self.gathering = Gathering(order)
        self.note.setText("")
        self.form.enabled = False
        self.make.setEnabled(False)
        self._timer.start(LOOK_MS)

    def _look(self) -> None:
        at_work = self.gathering
        self.bar.setValue(at_work.done)
        if not at_work.over:
            return
        self._timer.stop()
        self.gathering = None
        self.form.enabled = True
        self.make.setEnabled(True)
        if at_work.error:
            self.note.setText(at_work.error)
        else:
            self.close()
            self._done(Path(at_work.order.output))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """Closing ends the process; nothing half written stays."""
        self._timer.stop()
        if self.gathering is not None:
            self.gathering.cancel()
            self.gathering = None
        super().closeEvent(event)


class PreferencesDialog(QDialog):
    """Fields of `Preferences`; OK keeps them and hands them to `done`."""

    def __init__(self, parent: QWidget, done: Callable[[Preferences], None]) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Preferences of LDM Viewer")
        now = preferences.load()
        choices = tuple(dict.fromkeys((*preferences.devices(), now.device)))
        self.device = widgets.ComboBox(value=now.device, choices=choices, label="device")
        self.redraws = widgets.SpinBox(value=now.redraws, min=1, max=60, label="redraws a second")
        self.threads = widgets.SpinBox(value=now.threads, min=0, max=256, label="threads (0: by itself)")
        for field, tip in (
            (self.device, "Where the next emulator that is chosen computes"),
            (self.redraws, "Views that may be drawn anew in a second; fewer leave more to the forecast"),
            (self.threads, "Processor threads of the next forecast; by itself: all but one, four at most"),
        ):
            field.tooltip = tip
        self.form: Container = widgets.Container(
            widgets=[self.device, self.redraws, self.threads], labels=True
        )
        self._done = done
        kinds = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(kinds.Ok | kinds.Cancel)
        self.buttons.accepted.connect(self._keep)
        self.buttons.rejected.connect(self.reject)
        self.setLayout(QVBoxLayout())
        self.layout().addWidget(self.form.native)
        self.layout().addWidget(self.buttons)

    def _keep(self) -> None:
        wanted = Preferences(self.device.value, self.redraws.value, self.threads.value)
        preferences.save(wanted)
        self._done(wanted)
        self.accept()
