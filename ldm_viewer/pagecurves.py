"""The curves of a page: P(ρ), S(q), VRMSE beside the trivial forecasts, electron count. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engine.observables import FINE_SHELLS, electron_count, histogram, structure_factor
from engine.palette import BASELINE, FORECAST, TRUTH
from ldm_viewer.footage import Footage
from ldm_viewer.ledger import baselines

COLORS = {"truth": TRUTH, "forecast": FORECAST}
BINS = 100
NONE = 65535  # the 16-bit number that stands for NaN


class Curves:
    """Takes the footage frame by frame."""

    def __init__(self, footage: Footage, largest: float) -> None:
        """`largest` density in e/Å³, to choose bins by."""
        self.footage = footage
        self.edges = np.linspace(0.0, 1.4 * largest, BINS + 1)
        self.names = [name for name in COLORS if getattr(footage, name) is not None]
        self.values: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        self.factors: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        self.electrons: dict[str, list[float]] = {name: [] for name in self.names}
        self.errors: dict[str, list[float]] = {"forecast": [], "persistence": [], "linear": []}
        self.spread: list[float] = []

    def add(self, number: int) -> None:
        """Take frame `number`."""
        time_fs, cell = self.footage.times_fs[number], self.footage.known.cell
        for name in self.names:
            density = self.footage.at(name, time_fs)
            found = np.full(BINS, np.nan), np.full(len(FINE_SHELLS) - 1, np.nan), np.nan
            if density is not None:
                found = (
                    histogram(density, self.edges),
                    structure_factor(density[None], cell, FINE_SHELLS).values[0],
                    float(electron_count(density[None], cell)[0]),
                )
            for kept, value in zip((self.values, self.factors, self.electrons), found, strict=True):
                kept[name].append(value)
        self._compare(time_fs)

    def _compare(self, time_fs: float) -> None:
        """RMS errors of forecast, start at rest, and start moved along its derivative, e/Å³."""
        real, made = self.footage.at("truth", time_fs), self.footage.at("forecast", time_fs)
        start_fs, truth = self.footage.zero_fs, self.footage.truth
        rivals = {} if truth is None or made is None else baselines(truth, start_fs, time_fs - start_fs)
        rivals["forecast"] = made
        for name, errors in self.errors.items():
            known = real is not None and rivals.get(name) is not None
            errors.append(float(np.sqrt(np.mean((rivals[name] - real) ** 2))) if known else np.nan)
        if real is not None:
            self.spread.append(float(real.std()))

    def plots(self, pack: Callable[[np.ndarray], str]) -> list[dict[str, Any]]:
        """What the page's script draws; `pack` makes text of an array."""
        middle = (self.edges[1:] + self.edges[:-1]) / 2
        shells = (FINE_SHELLS[1:] + FINE_SHELLS[:-1]) / 2
        plots = [
            self._framewise("values", "Values", middle, "ρ (e/Å³)", "P(ρ) (Å³)", self.values),
            self._framewise("sq", "Structure factor", shells, "q (Å⁻¹)", "⟨|F(q)|⟩ (e)", self.factors),
        ]
        times = self.footage.times_fs - self.footage.zero_fs
        if np.isfinite(self.errors["forecast"]).any():
            plots.append(self._error_plot(times))
        if len(times) > 1:
            lines = [_line(name, COLORS[name], values) for name, values in self.electrons.items()]
            plots.append(_plot("electrons", "Electrons ∫ρ dV", times, "time (fs)", "e", lines, marked=True))
        for plot in plots:
            for line in plot["lines"]:
                line.update(_quantised(line.pop("y"), pack))
        return plots

    def _framewise(
        self,
        key: str,
        title: str,
        x: np.ndarray,
        x_name: str,
        y_name: str,
        curves: dict[str, list[np.ndarray]],
    ) -> dict[str, Any]:
        lines = []
        for name, rows in curves.items():
            told = np.asarray(rows)
            filled = np.isfinite(told).any(axis=0)
            mean = np.full(told.shape[1], np.nan)
            mean[filled] = np.nanmean(told[:, filled], axis=0)
            lines += [_line(f"{name}, mean", COLORS[name], mean), _line("", COLORS[name], told)]
        return _plot(key, f"{title} (thin: this frame)", x, x_name, y_name, lines, from_zero=True)

    def _error_plot(self, times: np.ndarray) -> dict[str, Any]:
        spread = float(np.mean(self.spread))
        looks = {
            "forecast": ("forecast", FORECAST, 0),
            "persistence": ("persistence (dashes)", BASELINE, 1),
            "linear": ("linear extrapolation (dots)", BASELINE, 2),
        }
        lines = [
            _line(looks[name][0], looks[name][1], np.asarray(errors) / spread, looks[name][2])
            for name, errors in self.errors.items()
            if np.isfinite(errors).any()
        ]
        title = "Error in spreads of the truth"
        return _plot("vrmse", title, times, "time (fs)", "VRMSE", lines, marked=True, from_zero=True)


def _line(name: str, color: str, y: np.ndarray | list[float], free: int = 0) -> dict[str, Any]:
    """`free`: 1 dashed, 2 dotted; such lines may leave the picture."""
    return {"name": name, "color": color, "y": np.asarray(y, dtype=float), "free": free}


def _plot(
    key: str,
    title: str,
    x: np.ndarray,
    x_name: str,
    y_name: str,
    lines: list[dict[str, Any]],
    marked: bool = False,
    from_zero: bool = False,
) -> dict[str, Any]:
    shown = np.isfinite(np.vstack([np.atleast_2d(line["y"]) for line in lines])).any(axis=0)
    ends = [float(x[shown].min()), float(x[shown].max())]
    return {
        **{"id": key, "title": title, "x": x.tolist(), "x_name": x_name, "y_name": y_name},
        **{"x_limits": ends, "lines": lines, "marked": marked, "from_zero": from_zero},
    }


def _quantised(y: np.ndarray, pack: Callable[[np.ndarray], str]) -> dict[str, Any]:
    """As 16-bit numbers between the curve's own ends."""
    known = np.isfinite(y)
    low, high = float(y[known].min()), float(y[known].max())
    scaled = np.full(y.shape, NONE, "<u2")
    scaled[known] = np.rint(65534 * (y[known] - low) / ((high - low) or 1.0))
    return {"values": pack(scaled), "low": low, "high": high}
