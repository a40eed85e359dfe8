"""Densities to states and back: the log-normal transform (S6) and the causal time derivative (S8).

Symbols: ρ density in Å⁻³, ρ̃ = (ln ρ − μ)/σ dimensionless, δ the time between stored frames in fs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class LogNormal:
    """Mean μ and standard deviation σ of ln ρ, and the standard deviation of ∂ρ̃/∂τ in fs⁻¹ (S5, S6)."""

    mean: float
    std: float
    rate_std: float
    delta_fs: float

    @classmethod
    def fit(cls, blocks: Iterable[np.ndarray], delta_fs: float) -> LogNormal:
        """Fit to consecutive blocks of frames (n, Nx, Ny, Nz) in Å⁻³ that lie δ = `delta_fs` apart.

        The sums run in float64 over one block at a time, so memory stays flat.
        Raises ValueError where ρ ≤ 0 or is not finite, and when there are fewer than two frames.
        """
        count, total, square, rate_square, previous = 0, 0.0, 0.0, 0.0, None
        for block in blocks:
            log = _log(block)
            count, total, square = count + log.size, total + log.sum(), square + (log**2).sum()
            joined = log if previous is None else np.concatenate([previous, log])
            rate_square += (np.diff(joined, axis=0) ** 2).sum()
            previous = log[-1:]
        frames = 0 if previous is None else count // previous.size
        if frames < 2:
            raise ValueError(f"a normaliser needs at least two frames, this selection has {frames}")
        mean = total / count
        std = float(np.sqrt(square / count - mean**2))
        rate_std = float(np.sqrt(rate_square / (previous.size * (frames - 1)))) / (std * delta_fs)
        return cls(float(mean), std, rate_std, float(delta_fs))

    def forward(self, density: np.ndarray) -> np.ndarray:
        """ρ̃ = (ln ρ − μ)/σ (S6), any shape, Å⁻³ → float32. Raises ValueError where ρ ≤ 0."""
        return ((_log(density) - self.mean) / self.std).astype(np.float32)

    def inverse(self, normalised: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
        """ρ = exp(σ ρ̃ + μ) in Å⁻³, positive by construction (S6), any shape."""
        exponent = normalised * self.std + self.mean
        return exponent.exp() if isinstance(exponent, torch.Tensor) else np.exp(exponent)

    def rate(self, previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        """∂ρ̃/∂τ = (ρ̃(τ) − ρ̃(τ − δ))/δ in units of its training standard deviation; causal (S8)."""
        return (current - previous) / np.float32(self.delta_fs * self.rate_std)

    def states(self, density: np.ndarray) -> np.ndarray:
        """States (n, 2, Nx, Ny, Nz) of frames 1…n of `density` (n + 1, Nx, Ny, Nz) in Å⁻³ (S8)."""
        field = self.forward(density)
        return np.stack([field[1:], self.rate(field[:-1], field[1:])], axis=1)


def _log(density: np.ndarray) -> np.ndarray:
    smallest = float(np.min(density))
    if not smallest > 0 or not np.isfinite(np.max(density)):
        raise ValueError(
            f"ln ρ needs a positive, finite density, but its smallest value is {smallest:g} Å⁻³; "
            "use the pseudo-density without compensation charges, or import with a floor"
        )
    return np.log(density, dtype=np.float64)
