"""What the docks share: they compute beside the GUI thread, draw on it, and rest while hidden."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ldm_viewer.sheet import SUFFIXES, Pictures, Sheet
from ldm_viewer.stage import stage_of
from ldm_viewer.state import Status
from ldm_viewer.whereabouts import docked
from ldm_viewer.worker import background

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State


REST_S = 0.25  # of a dock between two pictures while a forecast runs: the canvas goes first
LEGEND_ALPHA = 140  # of 255


class LiveDock(QWidget):
    """Follows the session: `compute(state)` runs beside the GUI thread, `draw(result)` in it.

    Only the newest state is computed; what came in between is skipped. Docks of a window draw in turns.
    """

    suffixes: tuple[str, ...] = SUFFIXES  # of the files that it saves
    pool = background

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.stage = stage_of(napari_viewer)
        self.session = self.stage.session
        self.setLayout(QVBoxLayout())
        self.layout().setContentsMargins(4, 4, 4, 4)
        self.note = QLabel(wordWrap=True, visible=False)
        self.layout().addWidget(self.note)
        self.export = QToolButton(
            text="Export…", toolTip="Save what is shown as a table (CSV) or picture (PDF, PNG, SVG)"
        )
        self.export.setAutoRaise(True)
        self.export.clicked.connect(self._ask_where)
        self._saving: Future | None = None
        self._stale, self._rests_until = True, 0.0
        self._job: Future | None = None
        self.session.changed.connect(self._on_changed)
        napari_viewer.events.theme.connect(self._on_theme)
        QTimer.singleShot(0, self._on_theme)  # after the subclass has made its plots
        self.stage.turns.add(self._turn)
        self.stage.attend(self)

    @property
    def seen(self) -> bool:
        """Whether any of it can be seen: a dock behind another tab is "visible" to Qt, but has no region."""
        return self.isVisible() and not self.visibleRegion().isEmpty()

    def compute(self, state: State, request: Any) -> Any:
        """What `draw` needs, from a snapshot and this dock's `request()`; runs outside the GUI thread."""
        raise NotImplementedError

    def draw(self, result: Any) -> None:
        """Show what `compute` found."""
        raise NotImplementedError

    def sheet(self) -> Sheet | Pictures | None:
        """What is shown, ready to be saved; None before anything is, and for docks that save themselves."""
        return None

    def save(self, path: str | Path) -> None:
        """Save what is shown, beside the GUI thread; the dock says where it is, or why not."""
        shown = self.sheet()
        if shown is None:
            self._say("there is nothing to save yet")
        else:
            self._saving = self.pool.submit(shown.save, path)

    def request(self) -> Any:
        """The dock's own choices, read in the GUI thread."""
        return None

    def refresh(self, *_: Any) -> None:
        """Compute and draw again soon."""
        self._stale = True

    def _on_changed(self, state: State, old: State) -> None:
        if not docked(self):
            self.session.changed.disconnect(self._on_changed, missing_ok=True)
        elif (state.truth, state.forecast, state.time_fs) != (old.truth, old.forecast, old.time_fs):
            self._stale = True

    def _on_theme(self, _: Any = None) -> None:
        """Draw axes and text in the colour of napari's text, on its background."""
        viewer = self.stage.viewer
        if viewer is None or not isalive(self):
            return
        theme = get_theme(viewer.theme)
        color = theme.text.as_hex()
        for view in self.findChildren(pg.GraphicsView):
            view.setBackground(theme.background.as_hex())
        self.refresh()
        for item in self.plot_items():
            item.titleLabel.setText(item.titleLabel.text, color=color)
            if item.legend is not None:
                under = pg.mkColor(theme.background.as_hex())
                under.setAlpha(LEGEND_ALPHA)
                item.legend.setBrush(under)  # names stay readable where curves pass
                for _, label in item.legend.items:
                    label.setText(label.text, color=color)
        for axis in self.axes():
            axis.setPen(color)
            axis.setTextPen(color)

    def axes(self) -> list[pg.AxisItem]:
        """The axes to keep in napari's colours."""
        return [item.getAxis(side) for item in self.plot_items() for side in ("bottom", "left")]

    def plot_items(self) -> list[pg.PlotItem]:
        """The plots to keep in napari's colours."""
        return [self.plot.getPlotItem()]

    def _turn(self) -> bool:
        """Draw what is computed, or have the newest state computed; says whether anything was drawn."""
        if not docked(self):
            self.stage.turns.remove(self._turn)
            return False
        if self._saving is not None and self._saving.done():
            saving, self._saving = self._saving, None
            self._say(
                f"not saved: {saving.exception()}" if saving.exception() else f"saved {saving.result()}"
            )
        job, drawn = self._job, False
        if job is not None and job.done():
            self._job, drawn = None, True
            self._deliver(job)
        state = self.session.state
        resting = state.awaited or (state.status is Status.RUNNING and time.monotonic() < self._rests_until)
        if self._stale and self._job is None and self.seen and not resting:
            self._stale, self._rests_until = False, time.monotonic() + REST_S
            self._job = self.pool.submit(self.compute, state, self.request())
        return drawn

    def _deliver(self, job: Future) -> None:
        """Draw a result; what cannot be computed is said in the dock, not thrown into the event loop."""
        error = job.exception()
        if error is not None:
            self._say(f"cannot show this: {error}")
        else:
            if self.note.text().startswith("cannot show"):
                self._say("")
            self.draw(job.result())

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def choices(self) -> dict[str, Any]:
        """What is chosen in the dock's own controls, by their names."""
        return {box.objectName(): box.property(value) for box, value in self._controls()}

    def choose(self, choices: dict[str, Any]) -> None:
        """Choose again what `choices` told."""
        for box, value in self._controls():
            if box.objectName() in choices:
                box.setProperty(value, choices[box.objectName()])
        self.refresh()

    def _controls(self) -> list[tuple[QWidget, str]]:
        """Named controls and the property that holds their choice."""
        kinds = {QComboBox: "currentIndex", QSlider: "value", QLineEdit: "text", QCheckBox: "checked"}
        return [
            (box, value)
            for kind, value in kinds.items()
            for box in self.findChildren(kind)
            if box.objectName() and not box.objectName().startswith("qt_")
        ]

    def _ask_where(self) -> None:
        name = type(self).__name__.removesuffix("Dock").lower() + self.suffixes[0]
        kinds = ";;".join(f"{suffix[1:].upper()} (*{suffix})" for suffix in self.suffixes)
        path, kind = QFileDialog.getSaveFileName(self, "Save what is shown", name, kinds)
        if path:
            suffix = "." + kind.split(" ")[0].lower()
            self.save(path if Path(path).suffix.lower() in self.suffixes else path + suffix)
