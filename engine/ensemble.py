"""Ensembles against the truth by lead time: VRMSE, spread–skill ratio, CRPS, agreement by band of q.

Symbols: x_k is member k of K, x̄ their mean, s² their unbiased variance, y the truth, all in Å⁻³; ⟨ ⟩ is over
space and start frames. All are running sums: start frames come one by one, and nothing is kept of them.
"""

from __future__ import annotations

import numpy as np

from engine.reciprocal import as_frames, modes, shells

BANDS = np.array([[0.7, 2.0], [2.0, 3.5], [3.5, 6.0]])  # Å⁻¹: sound and flank, main peak, beyond


class LeadErrors:
    """What an ensemble is off by, and whether it knows, by lead time."""

    def __init__(self) -> None:
        self._sums: dict[float, np.ndarray] = {}
        self._members: dict[float, int] = {}

    def add(self, lead_fs: float, prediction: np.ndarray, truth: np.ndarray) -> None:
        """One start frame: `prediction` (K, …) or (…) and `truth` (…) at this lead, in Å⁻³.

        Raises ValueError when K differs from that of earlier start frames at this lead.
        """
        truth = np.asarray(truth, dtype=np.float64)
        members = np.asarray(prediction, dtype=np.float64).reshape(-1, *truth.shape)
        count = self._members.setdefault(lead_fs, len(members))
        if len(members) != count:
            raise ValueError(f"{len(members)} members at {lead_fs:g} fs after {count} at an earlier start")
        variance = members.var(axis=0, ddof=1).sum() if count > 1 else np.nan
        sums = np.array(
            [
                truth.size,
                truth.sum(),
                (truth**2).sum(),
                ((members - truth) ** 2).mean(axis=0).sum(),
                ((members.mean(axis=0) - truth) ** 2).sum(),
                variance,
                crps(members, truth).sum(),
            ]
        )
        self._sums[lead_fs] = self._sums.get(lead_fs, 0.0) + sums

    def vrmse(self, ensemble_mean: bool = False) -> dict[float, float]:
        """Lead time → √⟨(x − y)²⟩ / std(y) of one member; with `ensemble_mean`, of x̄."""
        term = "mean" if ensemble_mean else "member"
        return {lead: float(np.sqrt(m[term]) / m["std"]) for lead, m in self._means().items()}

    def spread_skill(self) -> dict[float, float]:
        """Lead time → √((K+1)/K) · √⟨s²⟩ / √⟨(x̄ − y)²⟩; 1 is calibrated, below 1 over-confident.

        The factor is that of a finite ensemble whose members and truth are exchangeable (Fortin et al.,
        J. Hydrometeorol. 15, 1708, 2014). NaN for a single member.
        """
        result = {}
        for lead, means in self._means().items():
            factor = 1 + 1 / self._members[lead]
            spread, skill = factor * means["variance"], means["mean"]
            result[lead] = float(np.sqrt(spread / skill)) if skill > 0 else float("nan")
        return result

    def crps(self, relative: bool = False) -> dict[float, float]:
        """Lead time → mean fair CRPS per voxel in Å⁻³; `relative` to std(y)."""
        return {lead: m["crps"] / (m["std"] if relative else 1.0) for lead, m in self._means().items()}

    def _means(self) -> dict[float, dict[str, float]]:
        result = {}
        for lead, (size, total, square, *rest) in sorted(self._sums.items()):
            variance = square / size - (total / size) ** 2
            if variance <= 0:
                raise ValueError("VRMSE needs a truth that varies; this one is constant")
            names = ("member", "mean", "variance", "crps")
            values = {name: float(value / size) for name, value in zip(names, rest, strict=True)}
            result[lead] = values | {"std": float(np.sqrt(variance))}
        return result


class LeadBands:
    """Power and phase of forecasts by band of q and lead time.

    Power ratio Σ|F̂|²/Σ|F|², and cross-correlation Re Σ F̂F* / √(Σ|F̂|² Σ|F|²), which is 1 for the truth and 0
    for an unrelated field. Sums run over the vectors of a band, members and start frames.
    """

    def __init__(self, grid: tuple[int, int, int], cell: np.ndarray, bands: np.ndarray = BANDS) -> None:
        """Grid and cell (Å) of the fields, bands (B, 2) in Å⁻¹."""
        self.cell, self.shell = np.asarray(cell, dtype=float), shells(tuple(grid), cell, bands)
        self._sums: dict[float, np.ndarray] = {}

    def add(self, lead_fs: float, prediction: np.ndarray, truth: np.ndarray) -> None:
        """One start frame: `prediction` (K, Nx, Ny, Nz) or (Nx, Ny, Nz), `truth` (Nx, Ny, Nz), in Å⁻³."""
        forecast = self.shell.select(modes(as_frames(prediction), self.cell))
        true = self.shell.select(modes(truth, self.cell))
        terms = (np.abs(forecast) ** 2, np.broadcast_to(np.abs(true) ** 2, forecast.shape))
        sums = [self.shell.mean(term).mean(axis=0) for term in (*terms, (forecast * true.conj()).real)]
        self._sums[lead_fs] = self._sums.get(lead_fs, 0.0) + np.stack(sums)

    def power_ratio(self) -> dict[float, np.ndarray]:
        """Lead time → power of the forecast over that of the truth, (B,)."""
        return {lead: forecast / truth for lead, (forecast, truth, _) in sorted(self._sums.items())}

    def correlation(self) -> dict[float, np.ndarray]:
        """Lead time → cross-correlation of forecast and truth, (B,), −1 … 1."""
        return {lead: c / np.sqrt(f * t) for lead, (f, t, c) in sorted(self._sums.items())}

    def as_dict(self) -> dict:
        """Both by band, as plain values for scores.json."""
        return {
            "bands_per_A": self.shell.bands.tolist(),
            "power_ratio": {lead: values.tolist() for lead, values in self.power_ratio().items()},
            "cross_correlation": {lead: values.tolist() for lead, values in self.correlation().items()},
        }


def crps(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Fair CRPS per voxel, members (K, …) and truth (…): ⟨|x_k − y|⟩ − Σ_{i<j} |x_i − x_j| / (K(K−1)).

    Its expectation does not depend on K (Ferro, Q. J. R. Meteorol. Soc. 140, 1917, 2014). A single member is
    a point forecast, and gets |x − y|.
    """
    members = np.asarray(members, dtype=np.float64)
    count = len(members)
    error = np.abs(members - truth).mean(axis=0)
    if count == 1:
        return error
    # of sorted members, Σ_{i<j} |x_i − x_j| = Σ_k (2k − K + 1) x_(k) with k from 0
    weights = 2 * np.arange(count) - count + 1
    return error - np.tensordot(weights, np.sort(members, axis=0), axes=1) / (count * (count - 1))
