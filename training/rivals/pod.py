"""POD + VAR: fields in the leading singular vectors of the training frames, coefficients as a linear process.

Symbols: Φ orthonormal modes of ρ̃ (r, Nx, Ny, Nz), a = Φᵀ(ρ̃ − ⟨ρ̃⟩), b = Φᵀρ̃̇, x = (a, b);
x(τ + Δτ) = A x(τ) + ξ, ξ ~ N(0, Q). Knowing ρ̃ and its backward difference, it is an autoregression on two
frames. Modes of one trajectory know where its ions were: they are not invariant under translation.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from engine.emulator import normal
from training.rivals.fitting import Progress
from training.rivals.material import Material
from training.rivals.rival import Forecaster, Streams

LARGEST_RADIUS = 0.999
"""Largest modulus of an eigenvalue of A: a process of longer memory than 1,000 steps is not in the data."""


@dataclass(frozen=True)
class PodConfig:
    """What is tried; the mean forecast of the validation span decides."""

    ranks: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    """Numbers of modes."""
    strides: tuple[int, ...] = (1, 5)
    """Stored frames per step."""
    ridges: tuple[float, ...] = (1e-4, 1e-2, 1e-1)
    """Ridge in units of the mean variance of x."""
    leads_fs: tuple[float, ...] = (10.0, 20.0, 50.0)
    """Lead times whose squared errors are added."""


class PodVar(Forecaster):
    """Latents x (K, 2r); nothing is trained by gradients."""

    def __init__(self, mean: Tensor, modes: Tensor, transition: Tensor, noise: Tensor) -> None:
        super().__init__()
        for name, tensor in (("mean", mean), ("modes", modes), ("transition", transition), ("noise", noise)):
            self.register_buffer(name, tensor)

    def encode(self, states: Tensor) -> Tensor:
        """Latents x = (Φᵀ(ρ̃ − ⟨ρ̃⟩), Φᵀρ̃̇), (K, 2, Nx, Ny, Nz) → (K, 2r)."""
        centred = torch.stack([states[:, 0] - self.mean, states[:, 1]], dim=1)
        return (centred.flatten(2) @ self.modes.flatten(1).T).flatten(1)

    def decode(self, latents: Tensor) -> Tensor:
        """ρ̃ = ⟨ρ̃⟩ + Φa, ρ̃̇ = Φb, (K, 2r) → (K, 2, Nx, Ny, Nz)."""
        fields = torch.einsum("kcr,rxyz->kcxyz", latents.unflatten(1, (2, -1)), self.modes)
        return torch.stack([fields[:, 0] + self.mean, fields[:, 1]], dim=1)

    def advance(self, latents: Tensor, streams: Streams) -> Tensor:
        """Latents x ↦ A x + √Q ξ."""
        return self.mean_step(latents) + normal(latents.shape[1:], streams).to(latents) @ self.noise.T

    def mean_step(self, latents: Tensor) -> Tensor:
        """Latents x ↦ A x, the best linear forecast."""
        return latents @ self.transition.T


def modes_of(fields: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Mean (Nx, Ny, Nz) and the `rank` leading modes (rank, Nx, Ny, Nz) of fields (T, Nx, Ny, Nz)."""
    mean = fields.mean(0)
    _, _, right = torch.linalg.svd((fields - mean).flatten(1), full_matrices=False)
    return mean, right[:rank].unflatten(1, fields.shape[1:]).contiguous()


def autoregression(x: Tensor, following: Tensor, ridge: float = 0.0) -> tuple[Tensor, Tensor, float]:
    """Least-squares A and a root of Q from pairs (n, d), and the spectral radius that A had.

    A is made stable. Q is the residual covariance, corrected for the d coefficients fitted per component.
    """
    x, following = x.double(), following.double()
    size, dimension = x.shape
    gram = x.T @ x
    gram = gram + ridge * gram.diagonal().mean() * torch.eye(dimension, dtype=x.dtype)
    transition = torch.linalg.solve(gram, x.T @ following).T
    transition, radius = stable(transition)
    residual = following - x @ transition.T
    spread, axes = torch.linalg.eigh(residual.T @ residual / max(size - dimension, 1))
    return transition, axes * spread.clamp(min=0).sqrt(), radius


def stable(transition: Tensor) -> tuple[Tensor, float]:
    """A (…, d, d) with eigenvalues beyond LARGEST_RADIUS drawn back to it, and the largest modulus before."""
    values, vectors = torch.linalg.eig(transition)
    size = values.abs()
    if float(size.max()) > LARGEST_RADIUS:
        values = values * (LARGEST_RADIUS / size).clamp(max=1.0)
        transition = (vectors @ torch.diag_embed(values) @ torch.linalg.inv(vectors)).real
    return transition, float(size.max())


def fit(config: PodConfig, material: Material, seed: int) -> Generator[Progress, None, tuple]:
    """Try every rank, stride and ridge; returns (module, stride, what was chosen and how well it did)."""
    states, unseen = material.training(), material.validation(1)
    limit = len(states) // 4  # 2r coefficients per component want twice as many pairs
    ranks = [rank for rank in config.ranks if rank <= limit]
    if not ranks:
        raise ValueError(f"{len(states)} training states allow ranks up to {limit}, not {config.ranks}")
    delta_fs = material.normaliser.delta_fs
    leads_fs = leads_of_all(config.leads_fs, config.strides, delta_fs, len(unseen))
    mean, modes = modes_of(states[:, 0], max(ranks))
    trials = list(product(ranks, config.strides, config.ridges))
    best, chosen = None, {}
    for number, (rank, stride, ridge) in enumerate(trials, start=1):
        probe = PodVar(mean, modes[:rank], torch.empty(0), torch.empty(0))
        x = probe.encode(states)
        transition, noise, radius = autoregression(x[:-stride], x[stride:], ridge)
        model = PodVar(mean, modes[:rank].clone(), transition.float(), noise.float())
        errors = mean_errors(model, unseen, stride, delta_fs, leads_fs)
        score = sum(error**2 for error in errors.values())
        if best is None or score < chosen["score"]:
            best = model
            chosen = {"rank": rank, "stride": stride, "ridge": ridge, "spectral_radius": radius}
            chosen |= {"score": score, "validation_errors": errors}
        yield Progress("trials", number, len(trials), {"error": chosen["score"] ** 0.5})
    return best, chosen["stride"], chosen


def mean_errors(
    model: nn.Module, states: Tensor, stride: int, delta_fs: float, leads_fs: tuple[float, ...]
) -> dict[str, float]:
    """RMS error of ρ̃ of the noiseless forecast from every state that has a future, by lead time in fs."""
    errors = {}
    for lead in leads_fs:
        ahead = round(lead / delta_fs)
        latents = model.encode(states[:-ahead])
        for _ in range(ahead // stride):
            latents = model.mean_step(latents)
        error = model.decode(latents)[:, 0] - states[ahead:, 0]
        errors[f"{lead:g}"] = float(error.square().mean().sqrt())
    return errors


def leads_of_all(
    leads_fs: tuple[float, ...], strides: tuple[int, ...], delta_fs: float, states: int
) -> tuple[float, ...]:
    """Lead times that every stride meets and `states` states hold, so that all trials answer the same."""
    steps = np.lcm.reduce(strides) * delta_fs
    fitting = tuple(t for t in leads_fs if abs(t / steps - round(t / steps)) < 1e-6 and t < states * delta_fs)
    if not fitting:
        raise ValueError(
            f"no lead time of {leads_fs} fs is a multiple of {steps:g} fs within {states} states"
        )
    return fitting
