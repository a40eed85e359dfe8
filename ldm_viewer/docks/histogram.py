"""Distribution of the density values P(ρ) of the frame at the slider: truth, forecast and their distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyqtgraph as pg

from engine.palette import FORECAST, TRUTH
from engine.scores import jsd
from ldm_viewer.docks.base import LiveDock
from ldm_viewer.docks.parts import TextLine, pen, plot, row
from ldm_viewer.sheet import Line, Sheet

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State

FILL = 60  # of 255


class Distributions(NamedTuple):
    """Edges in Å⁻³ and P in Å³; a curve is None where there is no frame."""

    edges: np.ndarray
    truth: np.ndarray | None
    forecast: np.ndarray | None

    @property
    def distance(self) -> float | None:
        """JSD in nats."""
        return None if self.truth is None or self.forecast is None else jsd(self.truth, self.forecast)


class HistogramDock(LiveDock):
    """P(ρ) in bins from 0 to 1.25 × the truth's maximum."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.plot = plot("ρ (Å⁻³)", "P(ρ) (Å³)")
        self.distance = TextLine("open a trajectory", "jsd")
        self.distance.setToolTip("Jensen–Shannon divergence of the two distributions, 0 … ln 2")
        self.layout().addWidget(row(self.distance, self.export))
        self.layout().addWidget(self.plot, 1)
        self.curves = {"truth": _curve("truth", TRUTH), "forecast": _curve("forecast", FORECAST)}
        self._shown: Distributions | None = None

    def sheet(self) -> Sheet | None:
        """Both distributions at the middles of their bins."""
        if self._shown is None:
            return None
        edges = self._shown.edges
        told = (("truth", self._shown.truth, TRUTH), ("forecast", self._shown.forecast, FORECAST))
        lines = [
            Line(name, (edges[1:] + edges[:-1]) / 2, values, color)
            for name, values, color in told
            if values is not None
        ]
        return Sheet("Distribution of density values", "ρ (Å⁻³)", "P(ρ) (Å³)", tuple(lines))

    def request(self) -> float:
        """Largest value to show, Å⁻³."""
        return self.stage.span[1]

    def compute(self, state: State, request: float) -> Distributions:
        """Both distributions at the slider."""
        from engine.observables import histogram, value_edges

        edges = value_edges(request)
        return Distributions(
            edges, *(None if frame is None else histogram(frame, edges) for frame in state.pair())
        )

    def draw(self, result: Distributions) -> None:
        """Set the curves and the distance."""
        self._shown = result
        if result.truth is not None and self.curves["truth"] not in self.plot.getPlotItem().items:
            self._show_curve(self.curves["forecast"], result.edges, None)  # the truth is named first
        for name, values in (("truth", result.truth), ("forecast", result.forecast)):
            self._show_curve(self.curves[name], result.edges, values)
        self.plot.getViewBox().prepareForPaint()  # else it is part of the paint, and causes another one
        distance = result.distance
        self.distance.setText(_sentence(result, distance))

    def _show_curve(self, curve: pg.PlotCurveItem, edges: np.ndarray, values: np.ndarray | None) -> None:
        """What is not there stands neither in the plot nor in its legend."""
        item = self.plot.getPlotItem()
        if values is not None:
            curve.setData(edges, values)
        if (values is not None) != (curve in item.items):
            item.removeItem(curve) if values is None else item.addItem(curve)
            self._on_theme()


def _curve(name: str, color: str) -> pg.PlotCurveItem:
    fill = pg.mkColor(color)
    fill.setAlpha(FILL)
    style = {"stepMode": "center", "fillLevel": 0, "pen": pen(color), "brush": fill}
    return pg.PlotCurveItem([0.0, 1.0], [0.0], name=name, **style)


def _sentence(result: Distributions, distance: float | None) -> str:
    if distance is not None:
        return f"JSD of this frame: {distance:.4f} nats"
    if result.truth is None and result.forecast is None:
        return "open a trajectory"
    return "no truth at this time" if result.truth is None else "no forecast at this time"
