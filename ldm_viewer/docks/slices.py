"""Flat cuts at the slider: truth, forecast and forecast − truth, in Å and with shared limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSlider,
    QToolButton,
    QWidget,
)

from engine.palette import DIFFERENCE_COLORMAP, FIELD_COLORMAP, FORECAST, TRUTH, color_table
from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.parts import TextLine, label_axes, pen, plot, row, tell_under_cursor
from ldm_viewer.planes import PLANES, Oblique, Plane
from ldm_viewer.scene import DIFFERENCE_SHARE
from ldm_viewer.sheet import Pictures
from ldm_viewer.words import describe_time

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State

STEPS = 1000  # of the position slider, over the cell
ATOMS = "three atoms"
OBLIQUE_LABELS = ("along atoms 1 and 2 (Å)", "across (Å)")
PROFILE_WIDTH = 300  # pixels
LINE_PEN = pg.mkPen("#E69F00", width=1)
LEFT, LEFT_BARE, BOTTOM, TITLE, GAP = 44, 26, 38, 26, 6  # pixels around an image


class Cuts(NamedTuple):
    """Three images (across, up) in Å⁻³ and how to place them."""

    labels: tuple[str, str]
    edges: tuple[float, float, float, float]
    where: str
    moment: str
    truth: np.ndarray | None
    forecast: np.ndarray | None
    limits: tuple[float, float]

    @property
    def difference(self) -> np.ndarray | None:
        """Forecast − truth."""
        return None if self.truth is None or self.forecast is None else self.forecast - self.truth


class Request(NamedTuple):
    """What is chosen: plane, position in fractions of the cell, three atoms counted from 1, limits."""

    plane: str
    position: float
    atoms: str
    limits: tuple[float, float]


class View(pg.GraphicsLayoutWidget):
    """Says when it has another size."""

    resized = Signal()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Qt's own, then tell."""
        super().resizeEvent(event)
        self.resized.emit()


class SlicesDock(LiveDock):
    """Truth | forecast | difference on a plane at right angles to x, y or z, or through three atoms.

    A profile shows the values along a line that can be dragged.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.plane = QComboBox(objectName="plane")
        self.plane.addItems((*PLANES, ATOMS))
        self.atoms = QLineEdit("1 2 3", objectName="atoms", visible=False)
        self.atoms.setToolTip("Numbers of three atoms, the first of the file is 1")
        self.atoms.setMaximumWidth(110)
        self.atoms.editingFinished.connect(self.refresh)
        self.position = QSlider(Qt.Orientation.Horizontal, objectName="position")
        self.position.setRange(0, STEPS)
        self.position.setValue(STEPS // 2)
        self.position.setMinimumWidth(160)
        self.where = QLabel()
        self.plane.currentTextChanged.connect(self._on_plane)
        self.along = QToolButton(text="Profile", checkable=True, objectName="along")
        self.along.setToolTip("Values along the line, which can be dragged")
        self.along.toggled.connect(self._on_along)
        self.position.valueChanged.connect(self.refresh)
        self.moment = TextLine(name="moment", align=Qt.AlignmentFlag.AlignRight)
        self.layout().addWidget(
            row(
                QLabel("cut at"),
                self.plane,
                self.atoms,
                self.position,
                self.where,
                self.moment,
                self.along,
                self.export,
            )
        )
        self.view = View()
        self.view.setBackground(None)
        self.view.ci.layout.setContentsMargins(0, 0, 0, GAP)
        self.view.ci.layout.setHorizontalSpacing(GAP)
        tell_under_cursor(self.view, self.words_at)
        self.profile = plot("along the line (Å)", "ρ (Å⁻³)")
        self.profile.setVisible(False)
        self.profile.setMaximumWidth(PROFILE_WIDTH)
        beside = QWidget()  # no bare layout: napari puts a stretch below where it sees no expanding widget
        beside.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        beside.setLayout(QHBoxLayout())
        beside.layout().setContentsMargins(0, 0, 0, 0)
        beside.layout().addWidget(self.view, 3)
        beside.layout().addWidget(self.profile, 1)
        self.layout().addWidget(beside, 1)
        self._shown: Cuts | None = None
        self._build()
        self.view.resized.connect(self._fit_plots)

    def sheet(self) -> Pictures | None:
        """The cuts that are shown."""
        shown = self._shown
        if shown is None:
            return None
        cuts = {name: getattr(shown, name) for name in self.images if getattr(shown, name) is not None}
        low, high = shown.limits
        reach = DIFFERENCE_SHARE * (high - low)
        title = f"{shown.where}, {shown.moment}"
        return Pictures(title, cuts, shown.edges, shown.labels, shown.limits, reach)

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
        self.lines = {
            name: pg.InfiniteLine(0.0, 0, LINE_PEN, movable=name == "truth") for name in self.images
        }
        for name, line in self.lines.items():
            line.setVisible(False)
            _plot_of(self.images[name]).addItem(line, ignoreBounds=True)
        self.lines["truth"].sigPositionChanged.connect(self._draw_profile)
        self.curves = {
            name: self.profile.plot(name=name, pen=pen(color))
            for name, color in (("truth", TRUTH), ("forecast", FORECAST))
        }
        self.bar = self._bar(FIELD_COLORMAP, "ρ (Å⁻³)", 3, "truth", "forecast")
        self.difference_bar = self._bar(DIFFERENCE_COLORMAP, "Δρ (Å⁻³)", 5, "difference")

    def _bar(self, colormap: str, label: str, column: int, *names: str) -> pg.ColorBarItem:
        colors = pg.ColorMap(None, color_table(colormap))
        bar = pg.ColorBarItem(values=(0, 1), colorMap=colors, label=label, interactive=False, width=12)
        bar.axis.setStyle(maxTickLevel=0)
        bar.setImageItem([self.images[name] for name in names])
        self.view.addItem(bar, 0, column)
        return bar

    def plot_items(self) -> list[pg.PlotItem]:
        """The three plots and the profile."""
        return [*(_plot_of(item) for item in self.images.values()), self.profile.getPlotItem()]

    def axes(self) -> list[pg.AxisItem]:
        """Those of the plots and of the colour bars."""
        bars = (self.bar, self.difference_bar)
        return [*super().axes(), *(bar.getAxis(side) for bar in bars for side in ("left", "right"))]

    def _on_plane(self, name: str) -> None:
        self.atoms.setVisible(name == ATOMS)
        self.position.setVisible(name != ATOMS)
        self.refresh()

    def _on_along(self, shown: bool) -> None:
        self.profile.setVisible(shown)
        for line in self.lines.values():
            line.setVisible(shown)
        self._draw_profile()
        self._fit_plots()

    def request(self) -> Request:
        """What is chosen, and the limits that all views share."""
        position = self.position.value() / STEPS
        return Request(self.plane.currentText(), position, self.atoms.text(), self.stage.limits)

    def compute(self, state: State, request: Request) -> Cuts | None:
        """The three cuts at the slider."""
        if state.truth is None:
            return None
        cell, grid = state.truth.cell, state.truth.grid
        if request.plane == ATOMS:
            chosen = three(request.atoms, state.positions())
            cut = Oblique.through(chosen, cell)
            pictures = [None if frame is None else cut.picture(frame, cell) for frame in state.pair()]
            placed = (OBLIQUE_LABELS, cut.edges, f"atoms {request.atoms}")
        else:
            plane = Plane.named(request.plane)
            index = plane.index(grid, request.position)
            pictures = [None if frame is None else plane.picture(frame, index) for frame in state.pair()]
            height = index / grid[plane.normal] * float(np.linalg.norm(cell[plane.normal]))
            placed = (plane.labels(cell), plane.edges(cell, grid), f"{request.plane} = {height:.2f} Å")
        return Cuts(*placed, describe_time(state), *pictures, request.limits)

    def draw(self, result: Cuts | None) -> None:
        """Set images, places and limits."""
        if result is None:
            return
        self._shown = result
        self.where.setText(result.where)
        self.moment.setText(result.moment)
        low, high = result.limits
        reach = DIFFERENCE_SHARE * (high - low)
        self.bar.setLevels((low, high))
        self.difference_bar.setLevels((-reach, reach))
        if self._edges != result.edges:
            self._edges = result.edges
            self.lines["truth"].setValue((result.edges[2] + result.edges[3]) / 2)  # the profile's, to drag
            self._fit_plots()
        for name, item in self.images.items():
            self._place(item, getattr(result, name), result)
        self._draw_profile()

    def words_at(self, place: QPointF) -> str:
        """Where a place of the scene is in the cell, and all that is known there."""
        boxes = (item.getViewBox() for item in self.images.values())
        box = next((box for box in boxes if box.sceneBoundingRect().contains(place)), None)
        shown = self._shown
        if shown is None or box is None:
            return ""
        left, right, bottom, top = shown.edges
        at = box.mapSceneToView(place)
        share = (at.x() - left) / (right - left), (at.y() - bottom) / (top - bottom)
        if not all(0 <= part < 1 for part in share):
            return ""
        lines = [
            f"{label.removesuffix(' (Å)')} = {value:.2f} Å"
            for label, value in zip(shown.labels, (at.x(), at.y()), strict=True)
        ]
        for name in self.images:
            cut = getattr(shown, name)
            if cut is not None:
                value = cut[tuple(int(part * count) for part, count in zip(share, cut.shape, strict=True))]
                lines.append(f"{name} {value:.4f} Å⁻³")
        return "\n".join(lines)

    def _draw_profile(self) -> None:
        """Values of both densities along the line, at the pictures' points."""
        shown = self._shown
        if shown is None or not self.along.isChecked():
            return
        left, right, bottom, top = shown.edges
        height = min(max(float(self.lines["truth"].value()), bottom), top)
        for line in self.lines.values():
            line.setValue(height)
        for name, curve in self.curves.items():
            cut = getattr(shown, name)
            if cut is None:
                curve.setData([], [])
                continue
            across, up = cut.shape
            row_of = min(int((height - bottom) / (top - bottom) * up), up - 1)
            curve.setData(left + (np.arange(across) + 0.5) * (right - left) / across, cut[:, row_of])
        label_axes(self.profile.getPlotItem(), shown.labels[0], "ρ (Å⁻³)")

    def _fit_plots(self) -> None:
        """Give the plots one size and the shape of the cell, so that their axes end where the cell ends."""
        left, right, bottom, top = self._edges
        shape = (right - left) / (top - bottom)
        hint = Qt.SizeHint.PreferredSize
        bars = sum(bar.effectiveSizeHint(hint).width() for bar in (self.bar, self.difference_bar))
        across = (self.view.width() - LEFT - 2 * LEFT_BARE - bars - 4 * GAP) / len(self.images)
        high = max(60, min(self.view.height() - BOTTOM - TITLE - GAP, across / shape))
        for name, item in self.images.items():
            axis = LEFT if name == "truth" else LEFT_BARE
            _plot_of(item).setMaximumSize(axis + high * shape, TITLE + high + BOTTOM)
        for bar in (self.bar, self.difference_bar):
            bar.setMaximumHeight(TITLE + high + BOTTOM)
        self.view.ci.setGeometry(self.view.range)  # else plots that may now be larger stay as they are
        for item in self.images.values():
            _plot_of(item).setRange(xRange=(left, right), yRange=(bottom, top), padding=0)

    def _place(self, item: pg.ImageItem, values: np.ndarray | None, result: Cuts) -> None:
        item.setVisible(values is not None)
        if values is None:
            return
        left, right, bottom, top = result.edges
        item.setImage(values, autoLevels=False)
        item.setRect(QRectF(left, bottom, right - left, top - bottom))
        across, up = result.labels
        label_axes(_plot_of(item), across, up if item is self.images["truth"] else "")


def three(text: str, positions: np.ndarray | None) -> np.ndarray:
    """Positions (3, 3) in Å of the atoms that "1 5 9" names; ValueError in words."""
    if positions is None:
        raise ValueError("no atoms are known at this moment; choose x, y or z")
    parts = text.replace(",", " ").split()
    if len(parts) != 3 or not all(part.isdigit() and 1 <= int(part) <= len(positions) for part in parts):
        raise ValueError(f"name three atoms from 1 to {len(positions)}, such as 1 2 3, not {text!r}")
    return positions[[int(part) - 1 for part in parts]]


def _plot_of(item: pg.ImageItem) -> pg.PlotItem:
    return item.getViewBox().parentItem()
