"""Structure factor S(q) of the frame at the slider: truth and forecast, amplitude (paper) or intensity."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from qtpy.QtWidgets import QComboBox, QLabel

from engine.observables import FINE_SHELLS, structure_factor
from engine.palette import FORECAST, TRUTH
from ldm_viewer.docks.base import LiveDock, label_axes, pen, plot, row

if TYPE_CHECKING:
    import napari

    from ldm_viewer.state import State

KINDS = {
    "amplitude ⟨|F|⟩ (paper)": ("amplitude", "⟨|F(q)|⟩ (e)"),
    "intensity ⟨|F|²⟩/Nₑ": ("intensity", "⟨|F(q)|²⟩ / Nₑ (e)"),
}


class Curves(NamedTuple):
    """q in Å⁻¹ and S(q); a curve is None where there is no frame."""

    kind: str
    q: np.ndarray | None
    truth: np.ndarray | None
    forecast: np.ndarray | None


class StructureDock(LiveDock):
    """Shell means of the Fourier amplitudes (S16–S18), q = 0 left out."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.kind = QComboBox(objectName="kind")
        self.kind.addItems(list(KINDS))
        self.kind.currentTextChanged.connect(self.refresh)
        self.plot = plot("q (Å⁻¹)", "")
        self.layout().addWidget(row(QLabel("S(q) as"), self.kind))
        self.layout().addWidget(self.plot, 1)
        self.curves = {
            name: self.plot.plot(
                pen=pen(color), name=name, symbol="o", symbolSize=4, symbolBrush=color, symbolPen=None
            )
            for name, color in (("truth", TRUTH), ("forecast", FORECAST))
        }

    def request(self) -> str:
        """Name of the convention."""
        return self.kind.currentText()

    def compute(self, state: State, request: str) -> Curves:
        """Both curves at the slider."""
        kind, _ = KINDS[request]
        curves = [self._curve(frame, state, kind) for frame in state.pair()]
        q = next((curve[0] for curve in curves if curve is not None), None)
        return Curves(request, q, *(None if curve is None else curve[1] for curve in curves))

    @staticmethod
    def _curve(frame: np.ndarray | None, state: State, kind: str) -> tuple[np.ndarray, np.ndarray] | None:
        if frame is None:
            return None
        curve = structure_factor(frame[None], state.truth.cell, FINE_SHELLS, kind)
        filled = np.isfinite(curve.values[0])  # small cells have no wave vector in some shells
        return curve.q[filled], curve.values[0][filled]

    def draw(self, result: Curves) -> None:
        """Set the curves and name the axis."""
        label_axes(self.plot.getPlotItem(), "q (Å⁻¹)", KINDS[result.kind][1])
        for name, values in (("truth", result.truth), ("forecast", result.forecast)):
            self.curves[name].setData(*([], []) if values is None else (result.q, values))
