"""Physics-informed losses on a reconstructed state, ρ̃ in channel 0: electron count and spatial gradients.

The paper names both terms and gives neither formula nor weight; these are the plain ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.normalise import LogNormal
from engine.reciprocal import multiplicity, wave_vectors


def charge_loss(prediction: Tensor, target: Tensor, normaliser: LogNormal) -> Tensor:
    """⟨(N̂/N − 1)²⟩ with N = ∫ρ dV, of ρ̃ fields (B, Nx, Ny, Nz): zero where the electron counts agree."""
    electrons = [normaliser.inverse(field.float()).flatten(1).mean(1) for field in (prediction, target)]
    return (electrons[0] / electrons[1] - 1).square().mean()


class GradientLoss:
    """⟨|∇(ŝ − s)|²⟩ in Å⁻² over channels and space, by Parseval: Σ |q|² |ŝ_q − s_q|²."""

    def __init__(self, grid: tuple[int, int, int], cell: np.ndarray) -> None:
        weights = (wave_vectors(grid, cell) ** 2).sum(1) * multiplicity(grid) / np.prod(grid) ** 2
        self.weights = torch.from_numpy(weights).float().view(grid[0], grid[1], -1)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """States (B, C, Nx, Ny, Nz) → scalar."""
        waves = torch.fft.rfftn(prediction.float() - target, dim=(-3, -2, -1))
        power = waves.real.square() + waves.imag.square()
        return (power * self.weights.to(power.device)).sum((-3, -2, -1)).mean()
