"""What the docks share: they compute beside the GUI thread, draw on it, and rest while hidden."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyqtgraph as pg
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ldm_viewer.stage import stage_of
from ldm_viewer.worker import step_aside

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State

REDRAW_MS = 100

_pool = ThreadPoolExecutor(1, "docks", initializer=step_aside)


class LiveDock(QWidget):
    """Follows the session: `compute(state)` runs beside the GUI thread, `draw(result)` in it, at most 10 Hz.

    Only the newest state is computed; what came in between is skipped.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.stage = stage_of(napari_viewer)
        self.session = self.stage.session
        self.setLayout(QVBoxLayout())
        self.layout().setContentsMargins(4, 4, 4, 4)
        self.note = QLabel(wordWrap=True, visible=False)
        self.layout().addWidget(self.note)
        self._stale = True
        self._job: Future | None = None
        self.session.changed.connect(self._on_changed)
        self._clock = QTimer(self)
        self._clock.timeout.connect(self._tick)
        self._clock.start(REDRAW_MS)

    def compute(self, state: State, request: Any) -> Any:
        """What `draw` needs, from a snapshot and this dock's `request()`; runs outside the GUI thread."""
        raise NotImplementedError

    def draw(self, result: Any) -> None:
        """Show what `compute` found."""
        raise NotImplementedError

    def request(self) -> Any:
        """The dock's own choices, read in the GUI thread."""
        return None

    def refresh(self, *_: Any) -> None:
        """Compute and draw again soon."""
        self._stale = True

    def _on_changed(self, state: State, old: State) -> None:
        if not isalive(self):
            self.session.changed.disconnect(self._on_changed, missing_ok=True)
        elif (state.truth, state.forecast, state.time_fs) != (old.truth, old.forecast, old.time_fs):
            self._stale = True

    def _tick(self) -> None:
        if self._job is not None and self._job.done():
            job, self._job = self._job, None
            self._deliver(job)
        if self._stale and self._job is None and self.isVisible():
            self._stale = False
            self._job = _pool.submit(self.compute, self.session.state, self.request())

    def _deliver(self, job: Future) -> None:
        """Draw a result; what cannot be computed is said in the dock, not thrown into the event loop."""
        error = job.exception()
        self.note.setText(f"cannot show this: {error}" if error else "")
        self.note.setVisible(error is not None)
        if error is None:
            self.draw(job.result())


def plot(x: str, y: str) -> pg.PlotWidget:
    """A plot with labelled axes, a legend and no menu."""
    widget = pg.PlotWidget(background=None)
    label_axes(widget.getPlotItem(), x, y)
    widget.addLegend(offset=(-8, 8), labelTextSize="9pt")
    widget.setMenuEnabled(False)
    widget.hideButtons()
    return widget


def label_axes(item: pg.PlotItem, x: str, y: str) -> None:
    """Names with units; values are never rescaled by powers of 1000."""
    for side, text in (("bottom", x), ("left", y)):
        axis = item.getAxis(side)
        axis.enableAutoSIPrefix(False)
        axis.setLabel(text)


def pen(color: str) -> Any:
    """A line that stays readable on both themes."""
    return pg.mkPen(color, width=2)


def row(*widgets: QWidget) -> QWidget:
    """Small controls side by side, left-aligned."""
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    layout.addStretch()
    return holder
