"""Figures of an evaluation: the paper's 2, 3, S1 and S2, relaxation and drift, and one summary page.

Each takes an `Evaluation` and returns a matplotlib Figure without touching pyplot's global state, so that a
thread may draw it. Truth and forecasts keep the colours of `engine.palette` throughout.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from engine import ensemble, palette
from engine.observables import RELAXATION_SHELLS
from engine.recorder import Record
from training import ensemble_panels, panels, relaxation_panels, tables
from training.entry import Evaluation
from training.page import write_page

DPI = 150
LEAD_TIMES = (
    "Ensembles by lead time: error of one member and of the ensemble mean; spread over skill with the "
    "correction for a finite ensemble; continuous ranked probability score, fair in the number of members."
)
BANDS = (
    "Forecast against truth in bands of q: power ratio above, cross-correlation below. A forecast may keep "
    "its power (above) long after it has lost the phase (below)."
)
RELAXATION = (
    "Relaxation F(q,t) and its cosine transform S(q,ω) under a Hann taper, all at the same lags. The band "
    "spans blocks of AIMD as long as those of the floor: how far AIMD is from itself."
)

Log = list[dict[str, str]]


def write_report(folder: Path, evaluation: Evaluation, logs: dict[str, Log] | None = None) -> list[Path]:
    """Draw every figure into `folder` as PNG, and all with the tables into report.html and report.png.

    `logs` are the rows of log.csv by model name.
    """
    drawn = figures(evaluation, logs)
    paths = [save(figure, folder / f"{name}.png") for name, (figure, _) in drawn.items()]
    pictures = {name: (path.read_bytes(), drawn[name][1]) for name, path in zip(drawn, paths, strict=True)}
    page = write_page(folder / "report.html", evaluation, pictures)
    return [*paths, page, summary(folder / "report.png", evaluation)]


def figures(evaluation: Evaluation, logs: dict[str, Log] | None = None) -> dict[str, tuple[Figure, str]]:
    """Every figure by file name, with its caption."""
    drawn = {
        "figure2_slices": (figure2(evaluation), "Figure 2 of the paper: a free run from an unseen frame."),
        "lead_times": (lead_times(evaluation), LEAD_TIMES),
        "bands": (bands(evaluation), BANDS),
        "figure3_statistics": (figure3(evaluation), "Figure 3 of the paper: P(ρ) and S(q) of the free runs."),
        "relaxation": (relaxation(evaluation), RELAXATION),
        "drift": (drift(evaluation), "Along the free runs; the band is AIMD's mean ± 2 standard deviations."),
        "figureS1_distribution": (figure_s1(evaluation), "Figure S1 of the paper: the log-normal law of ρ."),
    }
    if logs:
        drawn["figureS2_training"] = (figure_s2(logs), "Figure S2 of the paper: the terms of the loss.")
    return drawn


def save(figure: Figure, path: Path) -> Path:
    """Write a figure aside, then rename it."""
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    figure.savefig(part, dpi=DPI)
    os.replace(part, path)
    return path


def read_log(folder: Path) -> Log:
    """Rows of the log.csv beside an emulator; none where it was not kept."""
    path = folder / "log.csv"
    return list(csv.DictReader(path.open())) if path.exists() else []


def figure2(evaluation: Evaluation) -> Figure:
    """Figure 2: slices through time, truth above the free runs, ρ̃ (S6) in the middle plane along x."""
    rows = [("AIMD", evaluation.planes), *((e.name, e.planes) for e in evaluation.models)]
    times = sorted(set().union(*(planes for _, planes in rows)))
    figure = Figure(figsize=(1.5 * len(times) + 1.6, 1.6 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), len(times), squeeze=False)
    for (name, planes), line in zip(rows, axes, strict=True):
        for time, ax in zip(times, line, strict=True):
            panels.bare(ax)
            ax.set_box_aspect(1)
            plane = evaluation.planes[0.0] if time == 0 else planes.get(time)
            if plane is None:
                ax.text(
                    0.5, 0.5, "none\nthis late", ha="center", va="center", color=palette.NEUTRAL, fontsize=8
                )
                continue
            image = ax.imshow(
                panels.normalised(plane, evaluation).T, origin="lower", cmap=palette.FIELD_COLORMAP
            )
            image.set_clim(-3, 3)
        line[0].set_ylabel(name)
    for time, ax in zip(times, axes[0], strict=True):
        ax.set_title(f"{time:g} fs", fontsize=9)
    figure.colorbar(image, ax=axes, label="normalised density ρ̃", shrink=0.8)
    figure.suptitle("Free run from an unseen frame, middle plane along x", fontsize=10)
    return figure


def figure3(evaluation: Evaluation) -> Figure:
    """Figure 3: P(ρ) and S(q) of truth and free runs; the paper's amplitude, and the intensity beside it."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    panels.values(left, evaluation)
    panels.structure(middle, evaluation, "amplitude")
    panels.structure(right, evaluation, "intensity")
    return figure


def figure_s1(evaluation: Evaluation) -> Figure:
    """Figure S1: ρ and ρ̃ of the training frames (of the truth where there are none), the log-normal law."""
    record = evaluation.training or evaluation.bench.record
    label = "AIMD, training frames" if evaluation.training else "AIMD, unseen"
    mean, std = evaluation.log_mean, evaluation.log_std
    figure = Figure(figsize=(5, 6), layout="constrained")
    top, bottom = figure.subplots(2, 1)
    style = {"fill": True, "color": palette.TRUTH, "alpha": 0.4, "label": label}
    density = panels.middles(record.bins.value)
    law = np.exp(-(((np.log(density) - mean) / std) ** 2) / 2) / (density * std * np.sqrt(2 * np.pi))
    top.stairs(record.value_density, record.bins.value, **style)
    top.plot(density, law, color=palette.NEUTRAL, label=f"log-normal, μ = {mean:.3f}, σ = {std:.3f}")
    top.set(xlabel="ρ (Å⁻³)", ylabel="P(ρ) (Å³)", xlim=(0, np.exp(mean + 5 * std)))
    bottom.stairs(record.log_density * std, (record.bins.log - mean) / std, **style)
    scaled = np.linspace(-5, 5, 400)
    bottom.plot(scaled, np.exp(-(scaled**2) / 2) / np.sqrt(2 * np.pi), color=palette.NEUTRAL, label="N(0, 1)")
    bottom.set(xlabel="ρ̃", ylabel="P(ρ̃)", xlim=(-5, 5))
    for ax in (top, bottom):
        ax.legend(frameon=False, fontsize=8)
    return figure


def figure_s2(logs: dict[str, Log]) -> Figure:
    """Figure S2: reconstruction error of the training frames at each step, and the other terms of (S15)."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for term, ax in zip(("reconstruction", "sjsd", "denoising"), axes, strict=True):
        for index, (name, log) in enumerate(logs.items()):
            points = [(float(row["step"]), float(row[term])) for row in log if row.get(term)]
            steps, losses = np.array(points).reshape(-1, 2).T
            ax.plot(steps, losses, color=palette.forecast_color(index), lw=0.7, label=name)
        ax.set(xlabel="optimisation step", ylabel=term, yscale="log")
    axes[-1].legend(frameon=False, fontsize=8)
    return figure


def lead_times(evaluation: Evaluation) -> Figure:
    """VRMSE, spread–skill ratio and CRPS by lead time."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, panel in zip(
        axes, (ensemble_panels.errors, ensemble_panels.spread_skill, ensemble_panels.crps), strict=True
    ):
        panel(ax, evaluation)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def bands(evaluation: Evaluation) -> Figure:
    """Power ratio and cross-correlation in bands of q by lead time."""
    kinds = ("power_ratio", "cross_correlation")
    figure = Figure(figsize=(13, 6), layout="constrained")
    axes = figure.subplots(len(kinds), len(ensemble.BANDS))
    for row, kind in zip(axes, kinds, strict=True):
        for index, ax in enumerate(row):
            ensemble_panels.band(ax, evaluation, index, kind)
        row[0].set_ylabel(kind.replace("_", " "))
    axes[0, 0].legend(frameon=False, fontsize=8)
    return figure


def relaxation(evaluation: Evaluation) -> Figure:
    """F(q,t) per shell, and S(q,ω) below it."""
    figure = Figure(figsize=(14, 6), layout="constrained")
    axes = figure.subplots(2, len(RELAXATION_SHELLS))
    for shell in range(len(RELAXATION_SHELLS)):
        relaxation_panels.relaxation(axes[0, shell], evaluation, shell)
        relaxation_panels.spectrum(axes[1, shell], evaluation, shell)
    axes[0, 0].legend(frameon=False, fontsize=8)
    return figure


def drift(evaluation: Evaluation) -> Figure:
    """Mean and spread of ln ρ and electrons along the free runs; the band is truth's mean ± 2 deviations."""
    truth = _timeline(evaluation.bench.record)
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    axes = figure.subplots(1, len(truth))
    for ax, (name, known) in zip(axes, truth.items(), strict=True):
        middle, width = known.mean(), 2 * known.std()
        ax.axhspan(middle - width, middle + width, color=palette.TRUTH, alpha=0.25, lw=0, label="AIMD ± 2σ")
        for entry, color in panels.forecasts(evaluation):
            series = _timeline(entry.runs[0])[name]
            time = np.arange(1, len(series) + 1) * entry.runs[0].dt_fs / 1e3
            ax.plot(time, series, color=color, lw=0.6, label=entry.name)
        ax.set(xlabel="time (ps)", ylabel=name)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def summary(path: Path, evaluation: Evaluation) -> Path:
    """One page: slices truth | forecast | difference, P(ρ), S(q), F(q,t) and the tables, as PNG."""
    figure = Figure(figsize=(17, 17), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    grid = figure.add_gridspec(5, 4, height_ratios=(1, 1, 1, 0.7, 1))
    panels.slices([figure.add_subplot(grid[0, column]) for column in range(3)], evaluation)
    panels.values(figure.add_subplot(grid[0, 3]), evaluation)
    panels.structure(figure.add_subplot(grid[1, :2]), evaluation, "amplitude")
    panels.structure(figure.add_subplot(grid[1, 2:]), evaluation, "intensity")
    for shell in range(4):
        relaxation_panels.relaxation(figure.add_subplot(grid[2, shell]), evaluation, shell)
    panels.score_table(figure.add_subplot(grid[3, :]), *tables.table(evaluation))
    panels.score_table(figure.add_subplot(grid[4, :]), *tables.free_table(evaluation))
    figure.suptitle(tables.caption(evaluation), fontsize=11)
    return save(figure, path)


def _timeline(record: Record) -> dict[str, np.ndarray]:
    first, second = record.log_moments.T
    return {
        "mean of ln ρ": first,
        "spread of ln ρ": np.sqrt(np.maximum(second - first**2, 0)),
        "electrons": record.electrons,
    }
