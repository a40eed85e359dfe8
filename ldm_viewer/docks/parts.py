"""Small parts that docks are built of: plots, axes with units, lines of text, rows of controls."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

AXIS_WIDTH = 52  # pixels
LEFT = Qt.AlignmentFlag.AlignLeft


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


class TextLine(QWidget):
    """A line of changing text that asks for no layout, however long it grows.

    Every new text of a bare QLabel has the whole window laid out and painted again, some 10 ms each time.
    """

    def __init__(
        self, text: str = "", name: str = "", align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft
    ) -> None:
        super().__init__()
        self._label = QLabel(text, self, objectName=name)  # without a layout, its wishes end here
        self._label.setAlignment(align | Qt.AlignmentFlag.AlignVCenter)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def setText(self, text: str) -> None:  # noqa: N802 (as Qt's labels)
        """Show another text."""
        self._label.setText(text)

    def text(self) -> str:
        """What is shown."""
        return self._label.text()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """One line of text high."""
        return QSize(0, self._label.fontMetrics().height() + 4)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """The label fills the line."""
        self._label.resize(self.size())


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
