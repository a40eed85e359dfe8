"""Small parts that docks are built of: plots, axes with units, lines of text, rows of controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QToolTip, QWidget

AXIS_WIDTH = 52  # pixels
LOOKS = 20  # at the cursor, a second
NEAR = 40  # pixels from the cursor to the point of a curve that it is asked about


class Axis(pg.AxisItem):
    """Where it is logarithmic, it names 1, 2 and 5 of a decade: all nine would not fit."""

    def logTickStrings(  # noqa: N802 (pyqtgraph's name)
        self, values: list[float], scale: float, spacing: float
    ) -> list[str]:
        """Pyqtgraph's own, most of them left out."""
        names = super().logTickStrings(values, scale, spacing)
        return [
            name if f"{10**value:e}"[0] in "125" else "" for name, value in zip(names, values, strict=True)
        ]


def plot(x: str, y: str) -> pg.PlotWidget:
    """A plot with labelled axes, a legend and no menu."""
    widget = pg.PlotWidget(background=None, axisItems={"left": Axis("left")})
    label_axes(widget.getPlotItem(), x, y)
    widget.getAxis("left").setWidth(AXIS_WIDTH)  # an axis that fits itself lays out and paints the plot twice
    widget.getPlotItem().layout.setContentsMargins(0, 6, 6, 4)  # room for the last numbers of the axes
    widget.addLegend(offset=(-8, 8), labelTextSize="9pt")
    widget.setMenuEnabled(False)
    widget.hideButtons()
    tell_under_cursor(widget, lambda place: nearest(widget.getPlotItem(), place))
    return widget


def tell_under_cursor(view: pg.GraphicsView, words: Callable[[QPointF], str]) -> None:
    """Say in a tooltip what is at a place of the scene: a window of its own, so nothing else is painted."""

    def tell(event: tuple[QPointF]) -> None:
        QToolTip.showText(view.mapToGlobal(view.mapFromScene(event[0])), words(event[0]), view)

    view.cursor_proxy = pg.SignalProxy(view.scene().sigMouseMoved, rateLimit=LOOKS, slot=tell)


def nearest(item: pg.PlotItem, place: QPointF) -> str:
    """Name and values of the point of a curve next to a place of the scene, or nothing."""
    box = item.getViewBox()
    if not box.sceneBoundingRect().contains(place):
        return ""
    at, pixel = box.mapSceneToView(place), box.viewPixelSize()
    found = (NEAR, "")
    for curve in item.listDataItems():
        x, y = curve.getData()
        if not curve.name() or not curve.isVisible() or y is None or not len(y):
            continue
        x = (x[1:] + x[:-1]) / 2 if len(x) > len(y) else x  # steps between the edges of bins
        distances = np.hypot((x - at.x()) / pixel[0], (y - at.y()) / pixel[1])
        index = int(np.argmin(distances))
        if distances[index] < found[0]:
            found = distances[index], _point(item, curve.name(), float(x[index]), float(y[index]))
    return found[1]


def _point(item: pg.PlotItem, name: str, x: float, y: float) -> str:
    """As in: truth, q = 2.1 Å⁻¹, ⟨|F(q)|⟩ = 0.83 e, in three lines."""
    lines = [name]
    for side, value in (("bottom", x), ("left", y)):
        axis = item.getAxis(side)
        label, _, unit = axis.labelText.partition(" (")
        unit = "" if " " in unit or not unit else " " + unit.removesuffix(")")  # not a remark in brackets
        lines.append(f"{label} = {10**value if axis.logMode else value:.4g}{unit}")
    return "\n".join(lines)


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


class TextLine(QWidget):
    """A line of changing text that asks for no layout, however long it grows.

    Every new text of a bare QLabel has the whole window laid out and painted again, some 10 ms each time.
    """

    def __init__(
        self, text: str = "", name: str = "", align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft
    ) -> None:
        super().__init__()
        self._text = text
        self._label = QLabel(text, self, objectName=name)  # without a layout, its wishes end here
        self._label.setAlignment(align | Qt.AlignmentFlag.AlignVCenter)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def setText(self, text: str) -> None:  # noqa: N802 (as Qt's labels)
        """Show another text; of one that does not fit, the beginning."""
        self._text = text
        metrics, mode = self._label.fontMetrics(), Qt.TextElideMode.ElideRight
        self._label.setText(text if "<" in text else metrics.elidedText(text, mode, self.width()))

    def text(self) -> str:
        """What there is to say."""
        return self._text

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """One line of text high."""
        return QSize(0, self._label.fontMetrics().height() + 4)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """The label fills the line."""
        self._label.resize(self.size())
        self.setText(self._text)


def row(*widgets: QWidget | None) -> QWidget:
    """Small controls side by side; None, or a `TextLine`, pushes what follows to the right."""
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
