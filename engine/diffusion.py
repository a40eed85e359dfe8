"""Conditional latent diffusion: schedule (S9), denoiser and its loss (S12); `engine.samplers` draws.

Symbols: z_t noisy next latent at diffusion step t = 0…T−1 (the paper's 1…T), c the current latent, ε noise,
β_t the variance schedule, ᾱ_t = Π(1 − β). Latents are (B, d) with unit variance per channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class DiffusionConfig:
    """Denoising diffusion of the next latent."""

    steps: int = 1000
    """T (paper: 1,000)."""
    beta_start: float = 1e-4
    """First β of the linear schedule; the paper is silent, this is Ho et al. (2020)."""
    beta_end: float = 0.02
    """Last β, Ho et al. (2020)."""
    time_dim: int = 128
    """Dimensions of the sinusoidal embedding of t (paper: 128)."""
    width: int = 256
    """Hidden width of the MLP; its weights stay in the cache of one core, which sets the sampling speed."""
    depth: int = 3
    """Residual layers of the MLP. A plain one of the same width left two to three times more error per step,
    and free runs left the latents that the decoder knows."""
    condition_noise: float = 0.5
    """Noise on c in training, standard deviation drawn from 0 to this for each pair, in units of the latent's
    own: a rollout feeds the model its own slightly wrong latents, and with 0.05 free runs diverged."""
    sampler: Literal["ancestral", "ddim", "dpm"] = "ancestral"
    """How the next latent is drawn: all T steps (the paper's), DDIM or DPM-Solver++(2M) in a few."""
    evaluations: int = 20
    """Evaluations of the network per draw of DDIM and DPM-Solver++; the ancestral sampler takes T."""


class Schedule(nn.Module):
    """Linear variance schedule and the quantities derived from it, in float64 until used (S9)."""

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.steps = config.steps
        betas = torch.linspace(config.beta_start, config.beta_end, config.steps, dtype=torch.float64)
        alpha_bar = torch.cumprod(1 - betas, 0)
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        self.signal, self.noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        # mean of q(z_{t−1} | z_t, ẑ_0), ẑ_0 eliminated, and its standard deviation: Ho et al., eqs. 6, 7, 11
        self.shrink = 1 / (1 - betas).sqrt()
        self.remove = betas / self.noise
        self.spread = (betas * (1 - before) / (1 - alpha_bar)).sqrt()

    def add_noise(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t = √ᾱ_t z_0 + √(1 − ᾱ_t) ε, (B, d) with t (B,) (S9)."""
        signal, scale = (x[t].to(z).view(-1, *(1,) * (z.ndim - 1)) for x in (self.signal, self.noise))
        return signal * z + scale * noise


def time_embedding(t: Tensor, dim: int) -> Tensor:
    """(sin ωₖt, cos ωₖt), ωₖ = 10⁴^(−2k/dim), (B,) → (B, dim)."""
    omega = torch.exp(-math.log(1e4) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    phase = t.float()[:, None] * omega
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


class ResidualLayer(nn.Module):
    """x + W₂ SiLU(W₁ LayerNorm(x)), (B, width); starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) → the same."""
        return x + self.body(x)


class Denoiser(nn.Module):
    """ε_θ(z_t, t, c): an MLP over the concatenation of z_t, c and the embedded t (S12)."""

    def __init__(self, config: DiffusionConfig, latent: int) -> None:
        super().__init__()
        self.time_dim = config.time_dim
        self.first = nn.Linear(2 * latent + config.time_dim, config.width)
        self.rest = nn.Sequential(
            *(ResidualLayer(config.width) for _ in range(config.depth)),
            nn.LayerNorm(config.width),
            nn.Linear(config.width, latent),
        )

    def forward(self, z: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """(B, d), (B,), (B, d) → (B, d)."""
        return self.rest(
            self.first(torch.cat([z, condition, time_embedding(t, self.time_dim).to(z)], dim=-1))
        )


def denoising_loss(
    denoiser: nn.Module, schedule: Schedule, z: Tensor, c: Tensor, t: Tensor, noise: Tensor
) -> Tensor:
    """E‖ε − ε_θ(z_t(τ + Δτ), t, z_0(τ))‖² per component, scalar (S12)."""
    return (denoiser(schedule.add_noise(z, noise, t), t, c) - noise).square().mean()
