"""Perceptron autoencoders on voxels or on Fourier coefficients, with the paper's latent diffusion.

First the autoencoder, on reconstruction and, for the physics-informed ones, electron count and gradients;
then the denoiser on its latents (S12). Neither sees sJSD.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from engine import samplers
from engine.chain import Chain, chain
from engine.diffusion import Denoiser, DiffusionConfig, Schedule, denoising_loss
from engine.emulator import normal
from engine.graphs import Replayed
from engine.layers import Standardise
from training.rivals.fitting import Losses, Progress, optimise
from training.rivals.material import Material
from training.rivals.physics import GradientLoss, charge_loss
from training.rivals.rival import Forecaster, Streams

Features = Literal["voxel", "fourier"]


@dataclass(frozen=True)
class MlpConfig:
    """Shape, losses and budget of the MLP autoencoders."""

    latent: int = 32
    """Numbers per state, as in the paper."""
    widths: tuple[int, ...] = (256, 128)
    """Hidden layers of the encoder; the decoder mirrors them."""
    cutoff: float = 8.0
    """Radius of the Fourier coefficients kept, in units of the cell's shortest wave vectors."""
    charge: float = 100.0
    """Weight of the electron count in the physics-informed ones: 1 % error costs 0.01."""
    gradient: float = 0.1
    """Weight of the gradients in the physics-informed ones, Å²."""
    latent_noise: float = 0.03
    """Standard deviation of noise on the latents that the decoder learns from, as in the paper's recipe."""
    stride: int = 1
    """Stored frames per step, as in the paper."""
    steps: int = 1200
    """Steps of the autoencoder."""
    batch: int = 32
    """States per step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW, in both stages."""
    latent_steps: int = 6000
    """Steps of the denoiser."""
    latent_pairs: int = 256
    """Pairs of latents per step of the denoiser."""
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)


class Voxels(nn.Module):
    """A state as the list of its values."""

    def __init__(self, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.grid, self.size = grid, 2 * int(np.prod(grid))

    def forward(self, states: Tensor) -> Tensor:
        """(B, 2, Nx, Ny, Nz) → (B, size)."""
        return states.flatten(1)

    def inverse(self, features: Tensor) -> Tensor:
        """(B, size) → (B, 2, Nx, Ny, Nz)."""
        return features.view(-1, 2, *self.grid)


class Coefficients(nn.Module):
    """A state as its Fourier coefficients with |n| ≤ cutoff, each divided by its standard deviation.

    Re F − Im F of the whole grid (the Hartley transform) holds real and imaginary parts of the half-space in
    an orthogonal, self-inverse way.
    """

    def __init__(self, grid: tuple[int, int, int], cutoff: float) -> None:
        super().__init__()
        counts = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in grid), indexing="ij")
        kept = torch.from_numpy(np.flatnonzero(sum(n**2 for n in counts) <= cutoff**2))
        self.grid, self.size = grid, 2 * len(kept)
        self.register_buffer("kept", kept)
        self.register_buffer("scale", torch.ones(2, len(kept)))

    @torch.no_grad()
    def standardise(self, states: Tensor) -> None:
        """Take the root mean square of every coefficient over `states` as its scale."""
        sums = sum(
            self.hartley(block).flatten(2)[..., self.kept].square().sum(0) for block in states.split(32)
        )
        self.scale.copy_((sums / len(states)).sqrt().clamp(min=1e-6))

    def hartley(self, states: Tensor) -> Tensor:
        """Orthonormal and its own inverse, (B, 2, Nx, Ny, Nz) → the same."""
        waves = torch.fft.fftn(states, dim=(2, 3, 4), norm="ortho")
        return waves.real - waves.imag

    def forward(self, states: Tensor) -> Tensor:
        """(B, 2, Nx, Ny, Nz) → (B, size)."""
        return (self.hartley(states).flatten(2)[..., self.kept] / self.scale).flatten(1)

    def inverse(self, features: Tensor) -> Tensor:
        """(B, size) → (B, 2, Nx, Ny, Nz), without the waves left out."""
        values = features.unflatten(1, (2, -1)) * self.scale
        full = values.new_zeros(len(values), 2, int(np.prod(self.grid)))
        full = full.index_copy(2, self.kept, values)
        return self.hartley(full.unflatten(2, self.grid))


class MlpLatentDiffusion(Forecaster):
    """Perceptrons to and from 32 numbers, and the paper's denoiser between them."""

    def __init__(self, features: Features, config: MlpConfig, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.features = Voxels(grid) if features == "voxel" else Coefficients(grid, config.cutoff)
        widths = (self.features.size, *config.widths)
        self.encoder = perceptron((*widths, config.latent))
        self.decoder = perceptron((config.latent, *reversed(widths)))
        self.standardise = Standardise(config.latent)
        self.denoiser = Denoiser(config.diffusion, config.latent)
        self.schedule = Schedule(config.diffusion)
        self.sampler = samplers.make(config.diffusion, self.schedule)

    def encode(self, states: Tensor) -> Tensor:
        """(B, 2, Nx, Ny, Nz) → (B, latent)."""
        return self.standardise(self.encoder(self.features(states)))

    def decode(self, latents: Tensor) -> Tensor:
        """(B, latent) → (B, 2, Nx, Ny, Nz)."""
        return self.features.inverse(self.decoder(latents))

    @cached_property
    def chain(self) -> Chain:
        """(current latents, noise) ↦ next latents (S10)."""
        return Replayed(chain(self.denoiser, self.sampler), self.denoiser)

    def advance(self, latents: Tensor, streams: Streams) -> Tensor:
        """z(τ + Δτ) ~ p(· | z(τ)) (S12)."""
        noise = normal((self.sampler.draws, *latents.shape[1:]), streams).to(latents)
        return self.chain(latents, noise.transpose(0, 1))


def perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers = [
        layer for pair in zip(widths, widths[1:], strict=False) for layer in (nn.Linear(*pair), nn.ReLU())
    ]
    return nn.Sequential(*layers[:-1])


def fit(
    features: Features, physics: bool, config: MlpConfig, material: Material, seed: int
) -> Generator[Progress, None, tuple]:
    """Autoencoder, then denoiser; returns (module, stride, reconstruction errors)."""
    torch.manual_seed(seed)
    model = MlpLatentDiffusion(features, config, material.grid)
    states = material.training()
    if features == "fourier":
        model.features.standardise(states)
    losses = reconstruction(model, states, config, material, physics)
    settings = {"peak": config.learning_rate, "seed": seed}
    model.denoiser.requires_grad_(False)
    yield from optimise("autoencoder", model, losses, steps=config.steps, **settings)
    with torch.no_grad():
        model.standardise.fix(torch.cat([model.encode(part) for part in states.split(64)]))
        latents = torch.cat([model.encode(part) for part in states.split(64)])
    losses = denoising(model, latents, config)
    model.denoiser.requires_grad_(True)
    yield from optimise("diffusion", model.denoiser, losses, steps=config.latent_steps, **settings)
    unseen = material.validation(config.stride)
    errors = {"training_error": _error(model, states), "validation_error": _error(model, unseen)}
    return model, config.stride, errors


def reconstruction(
    model: MlpLatentDiffusion, states: Tensor, config: MlpConfig, material: Material, physics: bool
) -> Callable[[torch.Generator], Losses]:
    """‖D(E(s) + noise) − s‖² per component, with the physics-informed terms on request."""
    gradients = GradientLoss(material.grid, material.cell)

    def losses(draws: torch.Generator) -> Losses:
        batch = states[torch.randint(len(states), (config.batch,), generator=draws)]
        latents = model.encode(batch)
        decoded = model.decode(latents + config.latent_noise * torch.randn(latents.shape, generator=draws))
        terms = {"reconstruction": (decoded - batch).square().mean()}
        terms["loss"] = terms["reconstruction"]
        if physics:
            terms["charge"] = charge_loss(decoded[:, 0], batch[:, 0], material.normaliser)
            terms["gradient"] = gradients(decoded, batch)
            terms["loss"] = (
                terms["loss"] + config.charge * terms["charge"] + config.gradient * terms["gradient"]
            )
        return terms

    return losses


def denoising(
    model: MlpLatentDiffusion, latents: Tensor, config: MlpConfig
) -> Callable[[torch.Generator], Losses]:
    """L_LDM on latents of τ and τ + Δτ, with the paper recipe's noise on the condition (S12)."""

    def losses(draws: torch.Generator) -> Losses:
        index = torch.randint(len(latents) - config.stride, (config.latent_pairs,), generator=draws)
        current, following = latents[index], latents[index + config.stride]
        t = torch.randint(model.schedule.steps, (len(index),), generator=draws)
        spread = config.diffusion.condition_noise * torch.rand((len(index), 1), generator=draws)
        condition = current + spread * torch.randn(current.shape, generator=draws)
        noise = torch.randn(following.shape, generator=draws)
        return {"loss": denoising_loss(model.denoiser, model.schedule, following, condition, t, noise)}

    return losses


@torch.no_grad()
def _error(model: MlpLatentDiffusion, states: Tensor) -> float:
    """RMS error of the reconstructed ρ̃."""
    squares = [(model.decode(model.encode(s)) - s)[:, 0].square().sum() for s in states.split(64)]
    return float((sum(squares) / states[:, 0].numel()).sqrt())
