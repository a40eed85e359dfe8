"""Few-step diffusion of a latent field's change: preconditioning, loss and sampler of Karras et al. (2022).

What is sampled is x = (z(τ + Δτ) − z(τ))/s given z(τ), s the change's standard deviation: over a short Δτ it
is nearly determined, so few steps do. Latents are (B, C, nx, ny, nz); σ is the noise level of x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.diffusion import time_embedding
from engine.layers import conv


@dataclass(frozen=True)
class EDMConfig:
    """Denoiser of a latent field and its sampler."""

    width: int = 128
    """Channels of the convolutions."""
    blocks: int = 3
    """Residual blocks of two 3³ convolutions: seven together see a whole cell of 6³ patches."""
    embedding: int = 64
    """Dimensions of the embedding of ln σ."""
    log_mean: float = -0.7
    """Mean of ln σ in training: around the uncertainty of a step, where the network has most to learn."""
    log_std: float = 1.3
    """Standard deviation of ln σ in training."""
    condition_noise: float = 0.03
    """Noise on z(τ) in training, standard deviation from 0 to this for each pair, in units of the state's: a
    rollout feeds the model its own slightly wrong latents."""
    sigma_max: float = 10.0
    """Noise that sampling starts from, against a change of unit variance."""
    sigma_min: float = 0.02
    """Last noise level before none."""
    steps: int = 5
    """Evaluations of the network per forecast step."""


class Block(nn.Module):
    """x + conv(SiLU(m·conv(SiLU(x)) + b)) with m and b from the embedded noise; starts as the identity."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)
        self.modulate = nn.Linear(embedding, 2 * width)
        for layer in (self.second, self.modulate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, width, …), (B, embedding) → (B, width, …)."""
        gain, bias = self.modulate(level)[..., None, None, None].chunk(2, dim=1)
        inner = self.first(nn.functional.silu(x)) * (1 + gain) + bias
        return x + self.second(nn.functional.silu(inner))


class SpatialDenoiser(nn.Module):
    """D_θ(x; σ, z): the change without its noise, from periodic convolutions over noisy change and z."""

    def __init__(self, config: EDMConfig, latent: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("change", torch.ones(()))
        """s, the standard deviation of z(τ + Δτ) − z(τ)."""
        self.embed = nn.Sequential(nn.Linear(config.embedding, config.embedding), nn.SiLU())
        self.first = conv(2 * latent, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.embedding) for _ in range(config.blocks))
        self.last = conv(config.width, latent)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Denoise x + σn (B, C, …) at σ (B,), given z (B, C, …); preconditioned for σ_data = 1 (eq. 7)."""
        wide = sigma.view(-1, 1, 1, 1, 1)
        norm = 1 + wide.square()
        level = self.embed(time_embedding(250 * (sigma.log() / 4 + 1), self.config.embedding).to(noisy))
        hidden = self.first(torch.cat([noisy * norm.rsqrt(), condition], dim=1))
        for block in self.blocks:
            hidden = block(hidden, level)
        with torch.autocast(noisy.device.type, enabled=False):
            out = self.last(nn.functional.silu(hidden.float()))
        return noisy / norm + wide * norm.rsqrt() * out

    def loss(self, change: Tensor, condition: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """E λ(σ)‖D_θ(x + σn) − x‖² with λ = (1 + σ²)/σ², so that every σ counts alike (Karras, eq. 8)."""
        wide = sigma.view(-1, 1, 1, 1, 1)
        error = self(change + wide * noise, sigma, condition) - change
        return (error.square() * (1 + wide.square()) / wide.square()).mean()

    def levels(self) -> list[float]:
        """σ of the sampler, falling in equal steps of ln σ, then 0."""
        c = self.config
        if c.steps == 1:
            return [c.sigma_max, 0.0]
        ratio = math.log(c.sigma_min / c.sigma_max) / (c.steps - 1)
        return [c.sigma_max * math.exp(k * ratio) for k in range(c.steps)] + [0.0]

    @torch.no_grad()
    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Draw x given z from standard noise (B, C, …): DPM-Solver++(2M), one evaluation per step.

        Lu et al. (2022), algorithm 2, in σ for a variance-exploding process: x moves towards the prediction
        extrapolated from the last two.
        """
        levels = self.levels()
        x, before = levels[0] * noise, None
        for i, (sigma, following) in enumerate(zip(levels, levels[1:], strict=False)):
            predicted = self(x, x.new_full((len(x),), sigma), condition)
            target = predicted
            if before is not None and following > 0:
                ratio = math.log(levels[i - 1] / sigma) / math.log(sigma / following)
                target = predicted + (predicted - before) / (2 * ratio)
            x = (following / sigma) * x + (1 - following / sigma) * target
            before = predicted
        return x
