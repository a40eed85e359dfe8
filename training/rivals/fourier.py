"""POD + VAR with the symmetries of the data: over all translations, the orthogonal modes are plane waves.

Waves of different q are then uncorrelated, and those of equal |q| share a law (translations, inversion and
rotations of the cube give this exactly within a star, and nearly between stars of equal |q|):
y = (ρ̃_q, ρ̃̇_q), y(τ + Δτ) = A(|q|) y(τ) + ξ, ξ ~ N(0, Q(|q|)), A and Q real 2 × 2.
The best linear Gaussian forecast: right S(q), and whatever of F(q,t) two numbers per wave can hold.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.emulator import normal
from engine.reciprocal import multiplicity, wave_vectors
from training.rivals.fitting import Progress
from training.rivals.material import Material
from training.rivals.pod import leads_of_all, mean_errors, stable
from training.rivals.rival import Forecaster, Streams


@dataclass(frozen=True)
class FourierVarConfig:
    """What is tried; the mean forecast of the validation span decides."""

    strides: tuple[int, ...] = (1, 5)
    """Stored frames per step."""
    leads_fs: tuple[float, ...] = (10.0, 20.0, 50.0)
    """Lead times whose squared errors are added."""


class FourierVar(Forecaster):
    """Latents are states (K, 2, Nx, Ny, Nz); `shell` (Nx, Ny, Nz/2 + 1) is the shell of a wave vector."""

    def __init__(self, shell: Tensor, transition: Tensor, noise: Tensor) -> None:
        super().__init__()
        self.register_buffer("shell", shell)
        self.register_buffer("transition", transition)
        self.register_buffer("noise", noise)

    def advance(self, latents: Tensor, streams: Streams) -> Tensor:
        """Waves y ↦ A y + √Q ξ; white noise in space is white in waves, and real."""
        noise = normal(latents.shape[1:], streams).to(latents)
        return self.filtered(latents, self.transition) + self.filtered(noise, self.noise)

    def mean_step(self, latents: Tensor) -> Tensor:
        """Waves y ↦ A y, the best linear forecast."""
        return self.filtered(latents, self.transition)

    def filtered(self, states: Tensor, matrices: Tensor) -> Tensor:
        """Waves (ρ̃_q, ρ̃̇_q) of `states` (K, 2, Nx, Ny, Nz), each times its shell's matrix (shells, 2, 2)."""
        waves = torch.fft.rfftn(states, dim=(2, 3, 4))
        own = matrices[self.shell].to(waves.dtype)
        moved = torch.einsum("xyzij,kjxyz->kixyz", own, waves)
        return torch.fft.irfftn(moved, s=states.shape[2:], dim=(2, 3, 4))


def shells_of(grid: tuple[int, int, int], cell: np.ndarray) -> Tensor:
    """Number of the set of equal |q|, by |q|, of every half-space wave vector, (Nx, Ny, Nz/2 + 1)."""
    square = (wave_vectors(grid, cell) ** 2).sum(1)
    _, number = np.unique(np.round(square, 6), return_inverse=True)
    return torch.from_numpy(number.reshape(grid[0], grid[1], -1))


def autoregressions(
    states: Tensor, stride: int, shell: Tensor, grid: tuple[int, int, int]
) -> tuple[Tensor, Tensor, float]:
    """A and a root of Q of every shell (shells, 2, 2), and the largest spectral radius that an A had.

    Noise is in units of white noise of unit variance per voxel.
    """
    weights = torch.from_numpy(multiplicity(grid)).double()
    index, count = shell.flatten(), int(shell.max()) + 1
    sums = torch.zeros(3, 2, 2, count, dtype=torch.double)
    vectors = torch.zeros(count, dtype=torch.double).index_add(0, index, weights)
    for block in torch.arange(len(states) - stride).split(32):
        now, later = (
            torch.fft.rfftn(states[i].double(), dim=(2, 3, 4)).flatten(2) for i in (block, block + stride)
        )
        for k, (a, b) in enumerate(((now, now), (later, now), (later, later))):
            product = torch.einsum("tiq,tjq->ijq", a, b.conj()).real * weights
            sums[k] = sums[k].index_add(2, index, product)
    sums = (sums / (vectors * (len(states) - stride) * np.prod(grid))).permute(0, 3, 1, 2)
    before, across, after = sums
    tiny = 1e-12 * torch.eye(2, dtype=torch.double)
    transition, radius = stable(across @ torch.linalg.inv(before + tiny))
    turned = across @ transition.mT
    residual = after - turned - turned.mT + transition @ before @ transition.mT
    spread, axes = torch.linalg.eigh(residual)
    return transition, axes * spread.clamp(min=0).sqrt().unsqueeze(-2), radius


def fit(config: FourierVarConfig, material: Material, seed: int) -> Generator[Progress, None, tuple]:
    """Try every stride; returns (module, stride, what was chosen and how well it did)."""
    states, unseen = material.training(), material.validation(1)
    shell = shells_of(material.grid, material.cell)
    delta_fs = material.normaliser.delta_fs
    leads_fs = leads_of_all(config.leads_fs, config.strides, delta_fs, len(unseen))
    best, chosen = None, {}
    for number, stride in enumerate(config.strides, start=1):
        transition, noise, radius = autoregressions(states, stride, shell, material.grid)
        model = FourierVar(shell, transition.float(), noise.float())
        errors = mean_errors(model, unseen, stride, delta_fs, leads_fs)
        score = sum(error**2 for error in errors.values())
        if best is None or score < chosen["score"]:
            best, chosen = model, {"stride": stride, "spectral_radius": radius}
            chosen |= {"score": score, "validation_errors": errors}
        yield Progress("trials", number, len(config.strides), {"error": chosen["score"] ** 0.5})
    return best, chosen["stride"], chosen
