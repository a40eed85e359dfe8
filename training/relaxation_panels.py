"""Panels on dynamics: F(q,t) and S(q,ω) of truth, free runs and blocks of AIMD, all at the same lags."""

from __future__ import annotations

from math import lcm

import numpy as np
from matplotlib.axes import Axes

from engine import palette
from engine.observables import RELAXATION_SHELLS
from engine.recorder import Record
from engine.scores import spectrum as spectrum_of
from training.entry import Evaluation
from training.panels import forecasts
from training.protocol import Bench

FINEST_LAG_FS = 4.0  # of the curves in plots; scores use their own lags
FREQUENCIES = np.linspace(0, 0.15, 100)  # rad/fs


def relaxation(ax: Axes, evaluation: Evaluation, shell: int) -> None:
    """F(q,t)/F(q,0) of one shell; frames in random order would drop to zero at once."""
    times, band = _blocks(evaluation)
    if len(band):
        low, high = band[:, :, shell].min(axis=0), band[:, :, shell].max(axis=0)
        ax.fill_between(times, low, high, color=palette.TRUTH, alpha=0.2, lw=0, label="AIMD, other blocks")
    for record, bench, color, name in _curves(evaluation):
        times = lag_times(evaluation, record, bench)
        if len(times):
            ax.plot(times, record.relaxation(times)[:, shell], color=color, lw=1.4, label=name)
    low, high = RELAXATION_SHELLS[shell]
    ax.axhline(0, color=palette.NEUTRAL, lw=0.5)
    ax.set(xlabel="t (fs)", ylabel="F(q,t) / F(q,0)", title=f"q = {low:g}–{high:g} Å⁻¹", ylim=(-0.6, 1.05))


def spectrum(ax: Axes, evaluation: Evaluation, shell: int) -> None:
    """S(q,ω) of one shell: the cosine transform of F(q,t) under a Hann taper."""
    times, band = _blocks(evaluation)
    if len(band):
        powers = np.stack([_power(times, curve)[:, shell] for curve in band])
        low, high = powers.min(axis=0), powers.max(axis=0)
        ax.fill_between(1e3 * FREQUENCIES, low, high, color=palette.TRUTH, alpha=0.2, lw=0)
    for record, bench, color, _ in _curves(evaluation):
        times = lag_times(evaluation, record, bench)
        if len(times) > 2:
            power = _power(times, record.relaxation(times))[:, shell]
            ax.plot(1e3 * FREQUENCIES, power, color=color, lw=1.2)
    ax.set(xlabel="ω (rad/ps)", ylabel="S(q,ω) (fs)")


def lag_times(evaluation: Evaluation, record: Record, bench: Bench) -> np.ndarray:
    """Lags from 0 to the last that `bench` scores, spaced as every step hits them, in fs.

    A cosine transform depends on the spacing, so forecasts with different steps need one that fits all.
    """
    last = bench.lags_fs(len(record) if record is not bench.record else None)
    steps = [evaluation.bench.record.dt_fs, *(entry.bench.dt_fs for entry in evaluation.models)]
    spacing = lcm(*(round(1e6 * step) for step in steps)) / 1e6
    spacing *= int(np.ceil(FINEST_LAG_FS / spacing))
    return spacing * np.arange(int(last[-1] / spacing + 1e-6) + 1) if len(last) else np.array([])


def _curves(evaluation: Evaluation) -> list[tuple[Record, Bench, str, str]]:
    runs = [(e.runs[0], e.bench, color, e.name) for e, color in forecasts(evaluation)]
    return [(evaluation.bench.record, evaluation.bench, palette.TRUTH, "AIMD, unseen"), *runs]


def _blocks(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Lags (n,) and F(q,t) of every block of AIMD, (blocks, n, shells); both empty without blocks."""
    if evaluation.reference is None:
        return np.array([]), np.array([])
    blocks = evaluation.reference.blocks
    times = lag_times(evaluation, blocks[0], evaluation.bench)
    return times, np.stack([block.relaxation(times) for block in blocks]) if len(times) else np.array([])


def _power(times: np.ndarray, curve: np.ndarray) -> np.ndarray:
    return spectrum_of(curve, float(times[1]), FREQUENCIES)[1]
