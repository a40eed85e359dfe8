"""The panels that figures are composed of.

Each draws one comparison of truth and free runs into given axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from engine import palette
from engine.recorder import Record
from training.entry import Entry, Evaluation

KINK = 4.0  # Å⁻¹, 2π over the diameter of a lithium atom: the paper's mark in S(q)


def forecasts(evaluation: Evaluation) -> Iterator[tuple[Entry, str]]:
    """Models with at least one healthy frame, with their colours."""
    for index, entry in enumerate(evaluation.models):
        if entry.runs:
            yield entry, palette.forecast_color(index)


def normalised(plane: np.ndarray, evaluation: Evaluation) -> np.ndarray:
    """ρ̃ of a plane of ρ in Å⁻³ (S6)."""
    return (np.log(plane) - evaluation.log_mean) / evaluation.log_std


def middles(edges: np.ndarray) -> np.ndarray:
    """Centres of bins, (bins,)."""
    return (edges[1:] + edges[:-1]) / 2


def values(ax: Axes, evaluation: Evaluation) -> None:
    """P(ρ) of truth and free runs, with the divergence of each."""
    truth = evaluation.bench.record
    ax.stairs(
        truth.value_density, truth.bins.value, fill=True, color=palette.TRUTH, alpha=0.4, label="AIMD, unseen"
    )
    for entry, color in forecasts(evaluation):
        label = f"{entry.name}, JSD {entry.scores['jsd_nats']:.4f} nats"
        ax.stairs(entry.runs[0].value_density, truth.bins.value, color=color, lw=1.4, label=label)
    filled = truth.value_counts.sum(axis=0)
    ax.set_xlim(0, 1.25 * truth.bins.value[np.flatnonzero(filled)[-1] + 1])
    ax.set_ylim(0, 1.35 * ax.get_ylim()[1])  # room for the legend
    ax.set(xlabel="ρ (Å⁻³)", ylabel="P(ρ) (Å³)", title="value distribution")
    _legend(ax)


def structure(ax: Axes, evaluation: Evaluation, kind: Literal["amplitude", "intensity"]) -> None:
    """S(q) as points per shell, with the kink of the paper marked."""
    truth = evaluation.bench.record
    known = ~truth.fine_shell.empty
    style = {"color": palette.TRUTH, "ms": 7, "mfc": "none", "lw": 0.8, "label": "AIMD, unseen"}
    ax.plot(truth.fine_shell.q[known], _curve(truth, kind)[known], "o-", **style)
    for entry, color in forecasts(evaluation):
        there = ~entry.runs[0].fine_shell.empty
        label = f"{entry.name}, error {entry.scores[f'sq_{kind}_rel_error']:.3f}"
        q, curve = entry.runs[0].fine_shell.q[there], _curve(entry.runs[0], kind)[there]
        ax.plot(q, curve, "s-", color=color, ms=3, lw=0.8, label=label)
    ax.axvline(KINK, color=palette.NEUTRAL, ls=":", lw=1)
    ax.annotate(
        "q = 4 Å⁻¹", (KINK, 0.97), xycoords=("data", "axes fraction"), fontsize=8, va="top", rotation=90
    )
    unit = "⟨|F(q)|⟩ (e)" if kind == "amplitude" else "⟨|F(q)|²⟩ / Nₑ"
    ax.set(xlabel="q (Å⁻¹)", ylabel=unit, yscale="log", title=f"structure factor, {kind}")
    _legend(ax)


def slices(axes: Sequence[Axes], evaluation: Evaluation) -> None:
    """Truth | forecast | difference of ρ in the middle plane, at the time nearest to 20 fs that both have."""
    entry = next((e for e in evaluation.models if set(e.planes) & set(evaluation.planes)), None)
    for ax in axes:
        bare(ax)
    if entry is None:
        axes[0].set_title("no time that truth and forecast share")
        return
    time = min(set(entry.planes) & set(evaluation.planes), key=lambda t: abs(t - 20))
    truth, forecast = evaluation.planes[time], entry.planes[time]
    for ax, plane, title in zip(axes, (truth, forecast), ("AIMD", entry.name), strict=False):
        image = ax.imshow(
            plane.T, origin="lower", cmap=palette.FIELD_COLORMAP, vmin=truth.min(), vmax=truth.max()
        )
        ax.set_title(f"{title}, {time:g} fs")
        ax.figure.colorbar(image, ax=ax, label="ρ (Å⁻³)", shrink=0.8)
    if truth.shape == forecast.shape:
        limit = np.ptp(truth) / 2
        image = axes[2].imshow((forecast - truth).T, origin="lower", cmap=palette.DIFFERENCE_COLORMAP)
        image.set_clim(-limit, limit)
        axes[2].figure.colorbar(image, ax=axes[2], label="Δρ (Å⁻³)", shrink=0.8)
        axes[2].set_title("forecast − AIMD")


def score_table(ax: Axes, head: list[str], rows: list[list[str]]) -> None:
    """A table of scores, as text."""
    ax.axis("off")
    titles = [title.replace(" ", "\n", 1) for title in head]
    rows = [[cell.replace(" (", "\n(", 1) for cell in row] for row in rows]
    drawn = ax.table(rows, colLabels=titles, loc="center", cellLoc="center")
    drawn.set_in_layout(False)  # a wide table must not squeeze the panels above it
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    drawn.auto_set_column_width(list(range(len(head))))
    for (row, _), cell in drawn.get_celld().items():
        cell.set_linewidth(0.3)
        tall = row == 0 or any("\n" in text for text in rows[row - 1])
        cell.set_height(cell.get_height() * (2.2 if tall else 1.3))


def bare(ax: Axes) -> None:
    """No ticks."""
    ax.set(xticks=[], yticks=[])


def _curve(record: Record, kind: str) -> np.ndarray:
    return record.fine_amplitude if kind == "amplitude" else record.fine_intensity


def _legend(ax: Axes) -> None:
    ax.legend(frameon=False, fontsize=8)
