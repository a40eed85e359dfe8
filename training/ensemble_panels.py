"""Panels on ensembles by lead time: errors, spread–skill ratio, CRPS, agreement by band of q."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from engine import palette
from training.bars import SPREAD_SKILL
from training.entry import Entry, Evaluation

STYLES = ("-", "--", ":", "-.")  # of baselines, all in one colour
MARKERS = ("o", "s", "^", "x")  # of models: the next one where colours begin again


def lines(evaluation: Evaluation) -> list[tuple[Entry, dict]]:
    """Every entry with the colour of its model, or the line style of its baseline."""
    trivial = [entry for entry in evaluation.entries if entry.kind == "baseline"]
    styles = [
        {
            "color": palette.forecast_color(i),
            "marker": MARKERS[i // len(palette.FORECASTS) % len(MARKERS)],
            "ms": 4,
        }
        for i in range(len(evaluation.models))
    ]
    styles += [{"color": palette.BASELINE, "ls": STYLES[i % len(STYLES)]} for i in range(len(trivial))]
    return list(zip((*evaluation.models, *trivial), styles, strict=True))


def errors(ax: Axes, evaluation: Evaluation) -> None:
    """VRMSE of one member, and of the ensemble mean of models as a thin line."""
    for entry, style in lines(evaluation):
        _curve(ax, entry.scores["vrmse"], style | {"label": entry.name})
        if entry.kind == "model":
            _curve(ax, entry.scores["vrmse_ensemble_mean"], style | {"lw": 0.6, "marker": None})
    ax.axhline(np.sqrt(2), color=palette.NEUTRAL, lw=0.5, ls=":")
    ax.annotate("two unrelated frames", (0.02, np.sqrt(2)), xycoords=("axes fraction", "data"), fontsize=7)
    ax.set(title="VRMSE (thin: ensemble mean)", ylim=(0, 2))
    _leads(ax, evaluation)


def spread_skill(ax: Axes, evaluation: Evaluation) -> None:
    """Spread–skill ratio of models and of the deck; the band is where it is called calibrated."""
    ax.axhspan(*SPREAD_SKILL, color=palette.TRUTH, alpha=0.15, lw=0)
    ax.axhline(1, color=palette.TRUTH, lw=0.8)
    for entry, style in lines(evaluation):
        _curve(ax, entry.scores["spread_skill"], style | {"label": entry.name})
    ax.set(title="spread–skill ratio (1 is calibrated)", ylim=(0, 2))
    _leads(ax, evaluation)


def crps(ax: Axes, evaluation: Evaluation) -> None:
    """CRPS over the standard deviation of the truth; a point forecast pays its mean absolute error."""
    for entry, style in lines(evaluation):
        _curve(ax, entry.scores["crps_relative"], style | {"label": entry.name})
    ax.set(title="CRPS / σ of the truth", ylim=(0, 1.5))
    _leads(ax, evaluation)


def band(ax: Axes, evaluation: Evaluation, index: int, kind: str) -> None:
    """`kind` "power_ratio" or "cross_correlation" of band `index` of q by lead time."""
    for entry, style in lines(evaluation):
        curve = entry.scores["bands"][kind]
        _curve(ax, {lead: values[index] for lead, values in curve.items()}, style | {"label": entry.name})
    low, high = evaluation.entries[0].scores["bands"]["bands_per_A"][index]
    power = kind == "power_ratio"
    ax.axhline(1 if power else 0, color=palette.NEUTRAL, lw=0.5)
    ax.set(title=f"q = {low:g}–{high:g} Å⁻¹", ylim=(0, 2) if power else (-0.3, 1.05))
    _leads(ax, evaluation)


def _curve(ax: Axes, curve: dict[float, float], style: dict) -> None:
    if curve:
        ax.plot(list(curve), list(curve.values()), **({"lw": 1.3} | style))


def _leads(ax: Axes, evaluation: Evaluation) -> None:
    leads = sorted({lead for entry in evaluation.entries for lead in entry.scores["vrmse"]})
    ax.set(xscale="log", xlabel="lead time (fs)")
    ax.set_xticks(leads, [f"{lead:g}" for lead in leads])
    ax.minorticks_off()
