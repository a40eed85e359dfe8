"""What the docks share: they compute beside the GUI thread, draw on it, and rest while hidden."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ldm_viewer.stage import docked, stage_of
from ldm_viewer.worker import step_aside

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State

AXIS_WIDTH = 52  # pixels

_pool = ThreadPoolExecutor(1, "docks", initializer=step_aside)


class LiveDock(QWidget):
    """Follows the session: `compute(state)` runs beside the GUI thread, `draw(result)` in it.

    Only the newest state is computed; what came in between is skipped. Docks of a window draw in turns.
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
        """Draw axes and text in the colour of napari's text."""
        viewer = self.stage.viewer
        if viewer is None or not isalive(self):
            return
        color = get_theme(viewer.theme).text.as_hex()
        for item in self.plot_items():
            item.titleLabel.setText(item.titleLabel.text, color=color)
            for _, label in item.legend.items if item.legend is not None else ():
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
        job, drawn = self._job, False
        if job is not None and job.done():
            self._job, drawn = None, True
            self._deliver(job)
        if self._stale and self._job is None and self.seen:
            self._stale = False
            self._job = _pool.submit(self.compute, self.session.state, self.request())
        return drawn

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
    widget.getAxis("left").setWidth(AXIS_WIDTH)  # an axis that fits itself lays out and paints the plot twice
    widget.getPlotItem().layout.setContentsMargins(0, 6, 6, 4)  # room for the last numbers of the axes
    widget.addLegend(offset=(-8, 8), labelTextSize="9pt")
    widget.setMenuEnabled(False)
    widget.hideButtons()
    return widget


def label_axes(item: pg.PlotItem, x: str, y: str) -> None:
    """Names with units; values are never rescaled by powers of 1000."""
    for side, text in (("bottom", x), ("left", y)):
        axis = item.getAxis(side)
        axis.enableAutoSIPrefix(False)
        if axis.labelText != text:
            axis.setLabel(text)


def pen(color: str) -> Any:
    """A line that stays readable on both themes."""
    return pg.mkPen(color, width=2)


def line(text: str = "", name: str = "") -> QLabel:
    """A line of changing text: however long, it leaves the window's layout alone (laying out costs 50 ms)."""
    label = QLabel(text, objectName=name)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def row(*widgets: QWidget | None) -> QWidget:
    """Small controls side by side; None, or a `line`, pushes what follows to the right."""
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    pushed = False
    for widget in widgets:
        pushes = widget is None or widget.sizePolicy().horizontalPolicy() is QSizePolicy.Policy.Ignored
        layout.addStretch() if widget is None else layout.addWidget(widget, int(pushes))
        pushed |= pushes
    if not pushed:
        layout.addStretch()
    return holder
