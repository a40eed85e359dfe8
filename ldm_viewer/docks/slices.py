"""Flat cuts at the slider: truth, forecast and forecast − truth, in Å and with shared limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QComboBox, QLabel, QSlider

from engine.palette import DIFFERENCE_COLORMAP, FIELD_COLORMAP
from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.parts import TextLine, label_axes, row
from ldm_viewer.planes import PLANES, Plane
from ldm_viewer.scene import DIFFERENCE_SHARE
from ldm_viewer.sheet import Pictures
from ldm_viewer.words import describe_time

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State

STEPS = 1000  # of the position slider, over the cell
LEFT, LEFT_BARE, BOTTOM, TITLE = 44, 26, 38, 26  # pixels around an image


class Cuts(NamedTuple):
    """Three images (across, up) in Å⁻³ and how to place them."""

    plane: Plane
    cell: np.ndarray
    edges: tuple[float, float, float, float]
    position: float
    moment: str
    truth: np.ndarray | None
    forecast: np.ndarray | None
    limits: tuple[float, float]

    @property
    def difference(self) -> np.ndarray | None:
        """Forecast − truth."""
        return None if self.truth is None or self.forecast is None else self.forecast - self.truth


class SlicesDock(LiveDock):
    """Truth | forecast | difference on a plane at right angles to x, y or z."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.plane = QComboBox(objectName="plane")
        self.plane.addItems(PLANES)
        self.position = QSlider(Qt.Orientation.Horizontal, objectName="position")
        self.position.setRange(0, STEPS)
        self.position.setValue(STEPS // 2)
        self.position.setMinimumWidth(160)
        self.where = QLabel()
        self.plane.currentTextChanged.connect(self.refresh)
        self.position.valueChanged.connect(self.refresh)
        self.moment = TextLine(name="moment", align=Qt.AlignmentFlag.AlignRight)
        self.layout().addWidget(
            row(QLabel("cut at"), self.plane, self.position, self.where, self.moment, self.export)
        )
        self.view = pg.GraphicsLayoutWidget()
        self.view.setBackground(None)
        self.view.ci.layout.setContentsMargins(0, 0, 0, 6)
        self.view.ci.layout.setHorizontalSpacing(6)
        self.layout().addWidget(self.view, 1)
        self._shown: Cuts | None = None
        self._build()

    def sheet(self) -> Pictures | None:
        """The cuts that are shown."""
        shown = self._shown
        if shown is None:
            return None
        cuts = {name: getattr(shown, name) for name in self.images if getattr(shown, name) is not None}
        title = f"{self.plane.currentText()} = {shown.position:.2f} Å, {shown.moment}"
        low, high = shown.limits
        labels = shown.plane.labels(shown.cell)
        return Pictures(title, cuts, shown.edges, labels, shown.limits, DIFFERENCE_SHARE * (high - low))

    def _build(self) -> None:
        self.images = {}
        self._edges = (0.0, 1.0, 0.0, 1.0)  # of the pictures, Å
        for column, name in enumerate(("truth", "forecast", "difference")):
            cell = self.view.addPlot(row=0, col=2 * column)
            cell.setAspectLocked(True)
            cell.setMenuEnabled(False)
            cell.hideButtons()
            cell.setDefaultPadding(0.0)
            cell.setTitle(name, size="10pt")
            cell.layout.setRowFixedHeight(0, TITLE)
            cell.getAxis("left").setWidth(LEFT if column == 0 else LEFT_BARE)
            cell.getAxis("bottom").setHeight(BOTTOM)
            self.images[name] = pg.ImageItem(axisOrder="col-major")
            cell.addItem(self.images[name])
        self.bar = self._bar(FIELD_COLORMAP, "ρ (Å⁻³)", 3, "truth", "forecast")
        self.difference_bar = self._bar(DIFFERENCE_COLORMAP, "Δρ (Å⁻³)", 5, "difference")

    def _bar(self, colormap: str, label: str, column: int, *names: str) -> pg.ColorBarItem:
        colors = pg.colormap.get(colormap, source="matplotlib")
        bar = pg.ColorBarItem(values=(0, 1), colorMap=colors, label=label, interactive=False, width=12)
        bar.axis.setStyle(maxTickLevel=0)
        bar.setImageItem([self.images[name] for name in names])
        self.view.addItem(bar, 0, column)
        return bar

    def plot_items(self) -> list[pg.PlotItem]:
        """The three plots."""
        return [_plot_of(item) for item in self.images.values()]

    def axes(self) -> list[pg.AxisItem]:
        """Those of the plots and of the colour bars."""
        bars = (self.bar, self.difference_bar)
        return [*super().axes(), *(bar.getAxis(side) for bar in bars for side in ("left", "right"))]

    def request(self) -> tuple[str, float, tuple[float, float]]:
        """Plane, position in fractions of the cell, limits."""
        return self.plane.currentText(), self.position.value() / STEPS, self.stage.limits

    def compute(self, state: State, request: tuple[str, float, tuple[float, float]]) -> Cuts | None:
        """The three cuts at the slider."""
        name, position, limits = request
        if state.truth is None:
            return None
        plane = Plane.named(name)
        index = plane.index(state.truth.grid, position)
        cuts = [None if frame is None else plane.picture(frame, index) for frame in state.pair()]
        cell, grid = state.truth.cell, state.truth.grid
        position = index / grid[plane.normal] * float(np.linalg.norm(cell[plane.normal]))
        return Cuts(plane, cell, plane.edges(cell, grid), position, describe_time(state), *cuts, limits)

    def draw(self, result: Cuts | None) -> None:
        """Set images, places and limits."""
        if result is None:
            return
        self._shown = result
        self.where.setText(f"= {result.position:.2f} Å")
        self.moment.setText(result.moment)
        low, high = result.limits
        reach = DIFFERENCE_SHARE * (high - low)
        self.bar.setLevels((low, high))
        self.difference_bar.setLevels((-reach, reach))
        if self._edges != result.edges:
            self._edges = result.edges
            self._fit_plots()
        for name, item in self.images.items():
            self._place(item, getattr(result, name), result)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Keep the plots as wide as their images are high."""
        super().resizeEvent(event)
        self._fit_plots()

    def _fit_plots(self) -> None:
        """Give each plot the shape of the cell, so that its axes end where the cell ends."""
        left, right, bottom, top = self._edges
        room = max(60, self.view.height() - BOTTOM - TITLE - 6)
        for name, item in self.images.items():
            plot = _plot_of(item)
            axis = LEFT if name == "truth" else LEFT_BARE
            plot.setMaximumWidth(axis + room * (right - left) / (top - bottom))
            plot.setRange(xRange=(left, right), yRange=(bottom, top), padding=0)

    def _place(self, item: pg.ImageItem, values: np.ndarray | None, result: Cuts) -> None:
        item.setVisible(values is not None)
        if values is None:
            return
        left, right, bottom, top = result.edges
        item.setImage(values, autoLevels=False)
        item.setRect(QRectF(left, bottom, right - left, top - bottom))
        across, up = result.plane.labels(result.cell)
        label_axes(_plot_of(item), across, up if item is self.images["truth"] else "")


def _plot_of(item: pg.ImageItem) -> pg.PlotItem:
    return item.getViewBox().parentItem()
