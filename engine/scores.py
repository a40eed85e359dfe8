"""Curves in, numbers out: how far a forecast is from the truth, and the trivial forecasts it must beat.

Densities in Å⁻³ with shapes (…, Nx, Ny, Nz), times in fs, divergences in nats. `score` turns the `Record`
of a run and that of the truth into the row of `scores.json`; the formulas are those of the functions above
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.special import rel_entr

from engine.recorder import Record


def jsd(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen–Shannon divergence ½ KL(P‖M) + ½ KL(Q‖M), M = (P + Q)/2, in nats, 0 … ln 2.

    `p` and `q` (bins,) are densities or counts on the same equal bins; each is normalised to one first.
    """
    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    if p.shape != q.shape:
        raise ValueError(
            f"distributions with {p.shape} and {q.shape} bins cannot be compared; use the same bins"
        )
    if p.sum() <= 0 or q.sum() <= 0 or p.min() < 0 or q.min() < 0:
        raise ValueError("a distribution needs non-negative bins with a positive sum")
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return float(rel_entr(p, middle).sum() + rel_entr(q, middle).sum()) / 2


def relative_error(curve: np.ndarray, reference: np.ndarray) -> float:
    """Mean over shells of |S/S_ref − 1|; shells empty (NaN) in both are left out."""
    curve, reference = np.asarray(curve, dtype=float), np.asarray(reference, dtype=float)
    known = ~(np.isnan(curve) & np.isnan(reference))
    return float(np.abs(curve[known] / reference[known] - 1).mean())


def fqt_error(curve: np.ndarray, reference: np.ndarray) -> float:
    """Mean over lags and shells of |F(q,t) − F_ref(q,t)|, both (lags, shells).

    Leave out t = 0, where both are 1.
    """
    return float(np.nanmean(np.abs(np.asarray(curve) - np.asarray(reference))))


def nearest(frames: np.ndarray, others: Iterable[np.ndarray], spread: float) -> np.ndarray:
    """VRMSE from each frame (n, Nx, Ny, Nz) to the closest of `others`, blocks (m, Nx, Ny, Nz) in Å⁻³: (n,).

    `spread` is the truth's standard deviation. A forecast closer to the training frames than unseen truth is
    repeats them. Pairs are compared through |a|² − 2 a·b + |b|², one block at a time.
    """
    a = frames.reshape(len(frames), -1).astype(np.float64)
    closest = np.full(len(a), np.inf)
    for block in others:
        b = block.reshape(len(block), -1).astype(np.float64)
        square = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
        closest = np.minimum(closest, square.min(1))
    return np.sqrt(np.maximum(closest, 0) / a.shape[1]) / spread


def vrmse(prediction: np.ndarray, truth: np.ndarray) -> float:
    """√⟨(ρ̂ − ρ)²⟩ / std(ρ) over all axes; shapes equal, or `prediction` with more leading axes (members)."""
    errors = LeadErrors()
    errors.add(0.0, prediction, truth)
    return errors.vrmse()[0.0]


class LeadErrors:
    """VRMSE by lead time from running sums: start frames come one by one, nothing is kept of them."""

    def __init__(self) -> None:
        self._sums: dict[float, np.ndarray] = {}

    def add(self, lead_fs: float, prediction: np.ndarray, truth: np.ndarray) -> None:
        """One start frame: `prediction` (K, …) or (…) and `truth` (…) at this lead, in Å⁻³."""
        truth = np.asarray(truth, dtype=np.float64)
        members = np.asarray(prediction, dtype=np.float64).reshape(-1, *truth.shape)
        single = ((members - truth) ** 2).mean(axis=0).sum()
        middle = ((members.mean(axis=0) - truth) ** 2).sum()
        sums = np.array([single, middle, truth.sum(), (truth**2).sum(), truth.size])
        self._sums[lead_fs] = self._sums.get(lead_fs, 0.0) + sums

    def vrmse(self, ensemble_mean: bool = False) -> dict[float, float]:
        """Lead time → √⟨(ρ̂ − ρ)²⟩ / std(ρ) of one member, over space and start frames.

        With `ensemble_mean`, of the mean over members.
        """
        result = {}
        for lead, (single, middle, total, square, size) in sorted(self._sums.items()):
            variance = square / size - (total / size) ** 2
            if variance <= 0:
                raise ValueError("VRMSE needs a truth that varies; this one is constant")
            result[lead] = float(np.sqrt((middle if ensemble_mean else single) / size / variance))
        return result


def persistence(current: np.ndarray, leads_fs: np.ndarray) -> Iterator[np.ndarray]:
    """The forecast that nothing moves: ρ̂(τ + t) = ρ(τ), one field per lead."""
    for _ in leads_fs:
        yield current


def linear_extrapolation(
    current: np.ndarray, previous: np.ndarray, leads_fs: np.ndarray, delta_fs: float
) -> Iterator[np.ndarray]:
    """The field moved along its causal derivative: ρ(τ) + t·(ρ(τ) − ρ(τ − δ))/δ, one field per lead in Å⁻³.

    Done in ρ, not in ln ρ: it is the stronger baseline (VRMSE 0.55 against 0.60 at 20 fs in liquid
    lithium). It turns negative where it runs too far.
    """
    current = np.asarray(current, dtype=np.float64)
    slope = (current - previous) / delta_fs
    for lead in leads_fs:
        yield current + lead * slope


def shuffled(frames: int, count: int, seed: int) -> np.ndarray:
    """`count` frame numbers below `frames` in random order, none twice before all were drawn: (count,)."""
    generator = np.random.default_rng(seed)
    decks = [generator.permutation(frames) for _ in range(-(-count // frames))]
    return np.concatenate(decks)[:count]


def score(run: Record, truth: Record, lags_fs: np.ndarray) -> dict[str, float]:
    """The distances of a run from the truth, and its electron count; see the functions of the same names."""
    relaxes = len(lags_fs) > 0 and lags_fs[-1] / run.dt_fs < len(run)
    return {
        "jsd_nats": jsd(run.value_density, truth.value_density),
        "sq_amplitude_rel_error": relative_error(run.amplitude, truth.amplitude),
        "sq_intensity_rel_error": relative_error(run.intensity, truth.intensity),
        "fqt_abs_error": fqt_error(run.relaxation(lags_fs), truth.relaxation(lags_fs))
        if relaxes
        else float("nan"),
        "electrons_mean": float(run.electrons.mean()),
        "electrons_std": float(run.electrons.std()),
    }


def drift(run: Record, truth: Record) -> dict[str, dict[str, float]]:
    """First and last tenth of a free run beside the truth: shift of ⟨ln ρ⟩, ratios of its spread and of S(q).

    `sq_intensity_ratio_worst` is the largest factor, up or down, over the shells.
    """
    reference = truth.intensity
    result = {}
    for name, part in (("first_tenth", run.tenth()), ("last_tenth", run.tenth(last=True))):
        factor = np.abs(np.log(part.intensity / reference))
        result[name] = {
            "log_mean_shift": part.log_mean - truth.log_mean,
            "log_std_ratio": part.log_std / truth.log_std,
            "sq_intensity_ratio_worst": float(np.exp(np.nanmax(factor))),
            "step_vrmse": part.step_vrmse,
            "electrons_mean": float(part.electrons.mean()),
        }
    return result
