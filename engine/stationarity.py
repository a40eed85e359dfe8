"""Does a run drift? Statistics of its first and last tenth, with errors that know of correlated frames.

The error of a time mean is that of the circular block bootstrap, which for a mean needs no resampling: with
blocks of b of n frames, Var = (b/n) · Var(means of all n circular blocks), here times n/(n − b) for the mean
having been taken from the same frames (Politis & Romano 1992; Lahiri 2003).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import t as student

from engine.ensemble import BANDS
from engine.recorder import Record

SHORTEST_FS = 1000.0  # of a tenth: errors cannot know of correlations that are longer than what they see
LAG_FS = 100.0  # the main peak of F(q,t) has halved by then
LEVEL = 0.05  # nominal chance that a stationary run fails in any of its statistics; AR(1) runs measure 0.09
PATIENCE = 3.0  # blocks longer than the mean-square optimum: less bias, paid for by a wider limit


@dataclass(frozen=True)
class Mean:
    """A time mean with its standard error; `freedom` is the number of degrees of freedom of that error."""

    value: float
    error: float
    freedom: float
    block: int


@dataclass(frozen=True)
class Tenths:
    """One statistic in the first and the last tenth of a run.

    `z` is the difference over its standard error; the tenths agree when |z| ≤ `limit`. `effect` is the
    difference in standard deviations of single frames of the truth: how large, where z says how sure.
    """

    first: float
    last: float
    error: float
    z: float
    limit: float
    effect: float

    @property
    def agree(self) -> bool:
        """Whether the difference is within its error."""
        return bool(abs(self.z) <= self.limit)


def block_length(series: np.ndarray) -> int:
    """Frames per block for the circular block bootstrap of the mean of `series` (n,), from its correlation.

    Politis & White, Econometric Reviews 23, 53 (2004), as corrected by Patton, Politis & White (28, 372,
    2009): b³ = 2 G² n / (4/3 g²) with flat-top estimates of g = Σ R(k) and G = Σ |k| R(k).
    """
    n = len(series)
    deviation = np.asarray(series, dtype=float) - np.mean(series)
    power = float(np.mean(deviation**2))
    if n < 8 or power <= 1e-24 * max(1.0, float(np.mean(series)) ** 2):
        return 1
    reach = max(5, int(np.ceil(np.sqrt(np.log10(n)))))
    most = min(int(np.ceil(np.sqrt(n))) + reach, n - 1)
    spectrum = np.abs(np.fft.rfft(deviation, 2 * n)) ** 2
    covariance = np.fft.irfft(spectrum)[: most + 1] / n
    small = np.abs(covariance[1:]) < 2 * np.sqrt(np.log10(n) / n) * power
    quiet = (k for k in range(most - reach + 1) if small[k : k + reach].all())
    lags = np.arange(1, min(2 * max(next(quiet, most), 1), most) + 1)
    taper = np.minimum(1.0, 2 * (1 - lags / lags[-1]))
    total = power + 2 * float(taper @ covariance[lags])
    moment = 2 * float((taper * lags) @ covariance[lags])
    if total <= 0:
        return 1
    length = (2 * moment**2 / (4 / 3 * total**2) * n) ** (1 / 3)
    return int(np.clip(np.ceil(PATIENCE * length), 1, max(1, min(np.ceil(6 * np.sqrt(n)), n // 4))))


def time_mean(series: np.ndarray, block: int | None = None) -> Mean:
    """Mean of `series` (n,) with its block-bootstrap error; blocks as long as its correlation asks for."""
    series = np.asarray(series, dtype=float)
    n = len(series)
    block = block_length(series) if block is None else block
    if n < 2:
        return Mean(float(series.mean()), float("nan"), float("nan"), block)
    centred = series - series[0]  # so that a constant has an error of exactly zero
    total = np.cumsum(np.concatenate([[0.0], centred, centred[: block - 1]]))
    means = (total[block:] - total[:-block]) / block
    variance = block / n * means.var() * n / (n - block)
    # of as many separate blocks: overlapping ones know their variance better, but not their own length
    freedom = max(n / block - 1, 1.0)
    return Mean(float(series.mean()), float(np.sqrt(variance)), freedom, block)


def compare(first: np.ndarray, last: np.ndarray, deviation: float, tests: int = 1) -> Tenths:
    """Two stretches of one statistic, (n,) and (m,), of `tests` that are looked at together.

    `deviation` is that of single frames of the truth. The limit is Student's at LEVEL / `tests` (Bonferroni),
    with Welch's degrees of freedom.
    """
    a, b = time_mean(first), time_mean(last)
    variance = a.error**2 + b.error**2
    difference, error = b.value - a.value, float(np.sqrt(variance))
    freedom = variance**2 / max(a.error**4 / a.freedom + b.error**4 / b.freedom, 1e-300)
    still = error == 0 or not np.isfinite(error)
    z = (0.0 if difference == 0 else float("inf")) if still else difference / error
    limit = float(student.ppf(1 - LEVEL / (2 * tests), max(freedom, 1.0)))
    effect = difference / deviation if deviation > 0 else float("nan")
    return Tenths(a.value, b.value, error, z, limit, effect)


def tenths(run: Record, truth: Record) -> dict:
    """Every statistic of `statistics` in the first and last tenth of a run, and whether all agree.

    A run whose tenths are shorter than SHORTEST_FS has none, and neither agrees nor disagrees (None).
    """
    if len(run) // 10 * run.dt_fs < SHORTEST_FS:
        return {"statistics": {}, "agree": None, "worst_z_over_limit": None}
    edge = _upper_edge(truth)
    known, mine = statistics(truth, edge), statistics(run, edge)
    mine = {name: series for name, series in mine.items() if name in known}
    result = {}
    for name, series in mine.items():
        size = len(series) // 10
        deviation = float(np.std(known[name]))
        result[name] = compare(series[:size], series[-size:], deviation, len(mine))
    rows = {name: asdict(row) | {"agree": row.agree} for name, row in result.items()}
    worst = max(abs(row.z) / row.limit for row in result.values())
    return {"statistics": rows, "agree": all(r.agree for r in result.values()), "worst_z_over_limit": worst}


def statistics(record: Record, upper_edge: float) -> dict[str, np.ndarray]:
    """One number per frame for everything that should not drift, each (n,).

    `upper_edge` (Å⁻³) is where the tail of P(ρ) begins.
    """
    first, second = record.log_moments.T
    electrons = record.electrons
    voxels = record.value_counts.sum(axis=1)
    tail = record.value_counts[:, record.bins.value[:-1] >= upper_edge].sum(axis=1)
    result = {
        "mean of ln ρ": first,
        "spread of ln ρ": np.sqrt(np.maximum(second - first**2, 0)),
        "P(ρ), share of the tail": tail / voxels,
        "electrons": electrons,
        "electrons, squared deviation": (electrons - electrons.mean()) ** 2,
        "frame-to-frame change": record.change[np.isfinite(record.change)],
    }
    for low, high in BANDS:
        inside = (record.shell.q >= low) & (record.shell.q < high) & ~record.shell.empty
        if inside.any():
            weights = record.shell.count[inside] / record.shell.count[inside].sum()
            result[f"S(q), q = {low:g}–{high:g} Å⁻¹"] = record.strength[:, 1, inside] @ weights / electrons
    return result | _memories(record)


def electron_drift(record: Record) -> dict[str, float]:
    """Mean, spread and slope per ps of ∫ρ dV along a run with block-bootstrap errors, in electrons."""
    electrons = record.electrons
    mean = time_mean(electrons)
    squares = time_mean((electrons - mean.value) ** 2)
    spread = float(np.sqrt(squares.value))
    time = record.dt_fs * np.arange(len(electrons)) / 1e3
    centred = time - time.mean()
    slope = float(centred @ electrons / (centred @ centred)) if len(time) > 1 else float("nan")
    residual = time_mean(electrons - mean.value - slope * centred)
    # Var(slope) = long-run variance / Σ(t − t̄)², and the long-run variance is n times that of the mean
    scatter = residual.error * np.sqrt(len(time) / max(float(centred @ centred), 1e-300))
    return {
        "mean": mean.value,
        "mean_error": mean.error,
        "std": spread,
        "std_error": squares.error / (2 * spread) if spread > 0 else 0.0,
        "slope_per_ps": slope,
        "slope_per_ps_error": float(scatter),
    }


def _memories(record: Record) -> dict[str, np.ndarray]:
    """The products that average to F(q, 100 fs), origin by origin, over the run's mean power of the shell."""
    lag = round(LAG_FS / record.dt_fs)
    if abs(lag * record.dt_fs - LAG_FS) > 1e-6 or lag < 1 or lag >= len(record):
        return {}
    shell, wave = record.slow_shell, record.slow_modes
    products = shell.mean((wave[lag:] * wave[:-lag].conj()).real)
    power = shell.mean(np.abs(wave) ** 2).mean(axis=0)
    return {
        f"F(q, {LAG_FS:g} fs), q = {low:g}–{high:g} Å⁻¹": products[:, index] / power[index]
        for index, (low, high) in enumerate(shell.bands)
        if not shell.empty[index]
    }


def _upper_edge(truth: Record) -> float:
    """The border of bins above which the truth holds at most a twentieth of its values."""
    counts = truth.value_counts.sum(axis=0, dtype=np.int64)
    above = np.cumsum(counts[::-1])[::-1] / counts.sum()
    return float(truth.bins.value[int(np.argmax(above <= 0.05))])
