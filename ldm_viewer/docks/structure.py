"""Structure factor S(q): the frame at the slider, the forecast's running mean, the truth's mean and band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QComboBox

from engine.observables import FINE_SHELLS, structure_factor
from engine.palette import FORECAST, TRUTH
from ldm_viewer.docks.curves import CurveDock
from ldm_viewer.sheet import Band, Line, Sheet

if TYPE_CHECKING:
    import napari

    from engine.recorder import Record
    from ldm_viewer.state import State

KINDS = {
    "amplitude ⟨|F|⟩ (paper)": ("amplitude", "⟨|F(q)|⟩ (e)"),
    "intensity ⟨|F|²⟩/Nₑ": ("intensity", "⟨|F(q)|²⟩ / Nₑ (e)"),
}
PERCENT = (5, 95)  # of the truth's single frames inside the band


class StructureDock(CurveDock):
    """Shell means of the Fourier amplitudes (S16–S18), q = 0 left out."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        self.kind = QComboBox(objectName="kind")
        self.kind.addItems(list(KINDS))
        super().__init__(napari_viewer, self.kind)
        self.kind.currentTextChanged.connect(self.refresh)

    def request(self) -> str:
        """Name of the convention."""
        return self.kind.currentText()

    def compute(self, state: State, request: str) -> Sheet:
        """Frames at the slider as thin lines, means over time as thick ones."""
        kind, label = KINDS[request]
        reading = self.read(state)
        truth, page = reading.truth, reading.page
        lines = [_frame(*told, state, kind) for told in zip(("truth", "forecast"), state.pair(), strict=True)]
        if truth is not None:
            lines.append(_mean("truth, mean", truth, kind, TRUTH))
        if page is not None:
            lines.append(_mean("forecast, mean so far", page.record, kind, FORECAST))
        band = None if truth is None else _band(truth, kind)
        return Sheet("Structure factor", "q (Å⁻¹)", label, tuple(line for line in lines if line), band)


def _frame(name: str, frame: np.ndarray | None, state: State, kind: str) -> Line | None:
    if frame is None:
        return None
    curve = structure_factor(frame[None], state.truth.cell, FINE_SHELLS, kind)
    filled = np.isfinite(curve.values[0])  # small cells have no wave vector in some shells
    color = TRUTH if name == "truth" else FORECAST
    return Line(name, curve.q[filled], curve.values[0][filled], color, thin=True)


def _mean(name: str, record: Record, kind: str, color: str) -> Line:
    values = record.fine_amplitude if kind == "amplitude" else record.fine_intensity
    filled = np.isfinite(values)
    return Line(name, record.fine_shell.q[filled], values[filled], color)


def _band(record: Record, kind: str) -> Band:
    """Where single frames of the truth lie."""
    values = record.fine_strength[:, 0 if kind == "amplitude" else 1]
    values = values if kind == "amplitude" else values / record.electrons.mean()
    filled = np.isfinite(values[0])
    low, high = np.percentile(values[:, filled], PERCENT, axis=0)
    name = f"truth, {PERCENT[0]}–{PERCENT[1]} % of frames"
    return Band(name, record.fine_shell.q[filled], low, high, TRUTH)
