"""Relaxation F(q,t) of density waves: the truth's over all of its file, the forecast's as frames arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QComboBox

from engine.observables import LAGS_FS, RELAXATION_SHELLS
from engine.palette import FORECAST, TRUTH
from ldm_viewer.docks.curves import CurveDock
from ldm_viewer.sheet import Line, Sheet

if TYPE_CHECKING:
    import napari

    from engine.recorder import Record
    from ldm_viewer.state import State

MAIN_PEAK = 2  # of the shells: where the liquid's structure is


class RelaxationDock(CurveDock):
    """F(q,t)/F(q,0) over all origins and vectors of a shell; late times have few origins at first."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        self.shell = QComboBox(objectName="shell")
        self.shell.addItems([f"q = {low:g}–{high:g} Å⁻¹" for low, high in RELAXATION_SHELLS])
        self.shell.setCurrentIndex(MAIN_PEAK)
        super().__init__(napari_viewer, self.shell)
        self.shell.currentIndexChanged.connect(self.refresh)

    def request(self) -> int:
        """Number of the shell."""
        return self.shell.currentIndex()

    def compute(self, state: State, request: int) -> Sheet:
        """Both curves, as long as frames allow."""
        reading = self.read(state)
        truth, page = reading.truth, reading.page
        told = (("truth", truth, TRUTH), ("forecast", None if page is None else page.record, FORECAST))
        lines = [_curve(name, record, request, color) for name, record, color in told if record is not None]
        low, high = RELAXATION_SHELLS[request]
        title = f"Relaxation at q = {low:g}–{high:g} Å⁻¹"
        return Sheet(title, "t (fs)", "F(q,t) / F(q,0)", tuple(line for line in lines if line))


def lags_of(record: Record) -> np.ndarray:
    """Lags (fs) near every 20 fs to 400 fs that are whole steps of the record and leave two origins."""
    step = record.dt_fs * max(1, round(LAGS_FS[1] / record.dt_fs))
    last = min(LAGS_FS[-1], (len(record) - 2) * record.dt_fs)
    return step * np.arange(int(last / step + 1e-9) + 1)


def _curve(name: str, record: Record, shell: int, color: str) -> Line | None:
    if len(record) < 3 or record.slow_shell.empty[shell]:
        return None
    lags = lags_of(record)
    return Line(name, lags, record.relaxation(lags)[:, shell], color)
