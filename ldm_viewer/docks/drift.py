"""What drifts: one number per frame against time, beside the truth and the trivial forecasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from qtpy.QtWidgets import QComboBox

from engine.palette import BASELINE, FORECAST, FORECASTS, TRUTH
from ldm_viewer.docks.curves import CurveDock
from ldm_viewer.ledger import BASELINES, divergences
from ldm_viewer.sheet import Line, Sheet

if TYPE_CHECKING:
    import napari

    from engine.recorder import Record
    from ldm_viewer.ledger import Page
    from ldm_viewer.state import State


class Quantity(NamedTuple):
    """Title and axis; per frame of the truth, and of a forecast by name ("forecast" and baselines)."""

    title: str
    label: str
    truth: Callable[[Record], np.ndarray] | None
    forecast: Callable[[Page], dict[str, np.ndarray]]


QUANTITIES = {
    "error (VRMSE)": Quantity("Error at equal times", "VRMSE", None, lambda page: page.vrmse),
    "values (JSD)": Quantity(
        "Distance of values from all of the truth",
        "JSD (nats)",
        lambda record: divergences(record.value_counts, record.value_counts.sum(axis=0)),
        lambda page: page.jsd,
    ),
    "electron count": Quantity(
        "Electron count",
        "∫ρ dV (e)",
        lambda record: record.electrons,
        lambda page: {"forecast": page.record.electrons},
    ),
    "mean of ln ρ": Quantity(
        "Mean of ln ρ",
        "⟨ln ρ⟩ (ρ in Å⁻³)",
        lambda record: record.log_moments[:, 0],
        lambda page: {"forecast": page.record.log_moments[:, 0]},
    ),
}


class DriftDock(CurveDock):
    """Errors, values, electron count and mean of ln ρ over time."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        self.quantity = QComboBox(objectName="quantity")
        self.quantity.addItems(list(QUANTITIES))
        super().__init__(napari_viewer, self.quantity)
        self.plot.getPlotItem().legend.setOffset((-8, -8))  # errors grow: below them is room
        self.quantity.currentTextChanged.connect(self.refresh)

    def request(self) -> str:
        """Name of the quantity."""
        return self.quantity.currentText()

    def compute(self, state: State, request: str) -> Sheet:
        """Truth, forecast and baselines, and where the slider is."""
        quantity, reading = QUANTITIES[request], self.read(state)
        truth, page = reading.truth, reading.page
        lines = []
        if truth is not None and quantity.truth is not None:
            lines.append(Line("truth", reading.truth_times_fs, quantity.truth(truth), TRUTH, thin=True))
        for index, (name, other) in enumerate(reading.others):
            values = quantity.forecast(other)["forecast"]
            lines.append(replace(_line("forecast", other.times_fs, values), **_beside(name, index)))
        if page is not None:
            lines += [_line(name, page.times_fs, values) for name, values in quantity.forecast(page).items()]
        return Sheet(quantity.title, "time (fs)", quantity.label, tuple(lines), mark=state.time_fs)


def _beside(name: str, index: int) -> dict[str, object]:
    return {"name": name, "color": FORECASTS[1 + index % (len(FORECASTS) - 1)], "thin": True}


def _line(name: str, times_fs: np.ndarray, values: np.ndarray) -> Line:
    known = np.isfinite(values)
    baseline = name in BASELINES
    return Line(
        name,
        times_fs[: len(values)][known],
        values[known],
        BASELINE if baseline else FORECAST,
        thin=baseline,
        dashed=name == "linear",
    )
