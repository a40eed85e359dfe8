"""A dock that draws the curves of a `Sheet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.parts import label_axes, plot, row
from ldm_viewer.sheet import Band, Line, Sheet

if TYPE_CHECKING:
    import napari

    from ldm_viewer.ledger import Reading
    from ldm_viewer.state import State

BAND_ALPHA = 60  # of 255


class CurveDock(LiveDock):
    """A plot of the `Sheet` that `compute` returns; a curve stays while its name is in it."""

    def __init__(self, napari_viewer: napari.Viewer, *controls: QWidget | None) -> None:
        super().__init__(napari_viewer)
        self.plot = plot("", "")
        self.layout().addWidget(row(*controls, None, self.export))
        self.layout().addWidget(self.plot, 1)
        self.curves: dict[str, pg.PlotDataItem] = {}
        self.band: tuple[pg.PlotCurveItem, pg.PlotCurveItem] | None = None
        self.mark = pg.InfiniteLine(angle=90)
        self.mark.setVisible(False)
        self.plot.addItem(self.mark, ignoreBounds=True)
        self._sheet: Sheet | None = None

    def read(self, state: State) -> Reading:
        """The observables of all frames so far, for `compute`; where frames wait, it is called again."""
        reading = self.session.ledger.read(state)
        if reading.behind:
            self.refresh()
        return reading

    def sheet(self) -> Sheet | None:
        """What is shown."""
        return self._sheet

    def draw(self, result: Sheet) -> None:
        """Set curves, band, labels and the slider's mark."""
        self._sheet = result
        label_axes(self.plot.getPlotItem(), result.x_label, result.y_label)
        self._draw_band(result.band)
        shown = {line.name: line for line in result.lines}
        for name in shown:
            if name not in self.curves:
                self.curves[name] = self._add(shown[name])
                self._on_theme()
        for name in set(self.curves) - set(shown):
            self.plot.removeItem(self.curves.pop(name))
        for name, curve in self.curves.items():
            curve.setData(shown[name].x, shown[name].y)
        self.plot.getViewBox().prepareForPaint()  # else it is part of the paint, and causes another one
        self.mark.setVisible(result.mark is not None)
        if result.mark is not None:
            self.mark.setValue(result.mark)

    def _on_theme(self, _: Any = None) -> None:
        super()._on_theme()
        self.mark.setPen(self.plot.getAxis("bottom").textPen())  # seen on either theme

    def _add(self, line: Line) -> pg.PlotDataItem:
        style = Qt.PenStyle.DashLine if line.dashed else Qt.PenStyle.SolidLine
        curve = pg.PlotDataItem(
            name=line.name, pen=pg.mkPen(line.color, width=1 if line.thin else 2, style=style)
        )
        curve.setZValue(0 if line.thin else 1)
        self.plot.addItem(curve, ignoreBounds=line.dashed)
        return curve

    def _draw_band(self, band: Band | None) -> None:
        if band is None and self.band is None:
            return
        if self.band is None:
            color = pg.mkColor(band.color)
            color.setAlpha(BAND_ALPHA)
            self.band = pg.PlotCurveItem(), pg.PlotCurveItem()
            filled = pg.FillBetweenItem(*self.band, brush=color)
            filled.setZValue(-1)
            self.plot.addItem(filled)
        sides = ([], []) if band is None else (band.low, band.high)
        for curve, values in zip(self.band, sides, strict=True):
            curve.setData([] if band is None else band.x, values)
