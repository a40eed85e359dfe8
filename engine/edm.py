"""Few-step diffusion of the next latent field: preconditioning, loss and sampler of Karras et al. (2022).

What is sampled is x, the remainder of a linear forecast: z(τ + Δτ) = z(τ) + A·[z(τ), z(τ − Δτ), …] + s·x. A
is fitted by least squares, s is the remainder's standard deviation. Over a short Δτ x is nearly determined,
so few steps do. Latents are (B, C, nx, ny, nz), those of the past (B, window · C, …), newest first; σ is the
noise level of x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.diffusion import time_embedding
from engine.layers import conv
from engine.propagator import LinearForecast

if TYPE_CHECKING:
    from engine.dynamics import Draws


@dataclass(frozen=True)
class EDMConfig:
    """Denoiser of a latent field and its sampler."""

    width: int = 128
    """Channels of the convolutions."""
    blocks: int = 3
    """Residual blocks of two 3³ convolutions, which see a whole cell of 6³ patches."""
    embedding: int = 64
    """Dimensions of the embedding of ln σ."""
    log_mean: float = -0.4
    """Mean of ln σ in training: around the uncertainty of a step, where the network has most to learn."""
    log_std: float = 1.2
    """Standard deviation of ln σ in training."""
    condition_noise: float = 0.05
    """Noise on the past in training, standard deviation from 0 to this for each chain, in latent units: a
    rollout feeds the model its own slightly wrong latents."""
    condition_mix: float = 0.2
    """Share of another state mixed into the past in training, 0 to this for each chain, at equal variance: an
    error in the colour of the liquid. With white noise alone forecasts left what is liquid after some
    picoseconds, and broke."""
    unroll: int = 0
    """Steps that the model itself has made, at most, to the past it learns from; most batches have none.
    What it learns then is the way back to the truth from where its own errors lead."""
    sigma_max: float = 10.0
    """Noise that sampling starts from, against a change of unit variance."""
    sigma_min: float = 0.02
    """Last noise level before none."""
    steps: int = 5
    """Evaluations of the network per forecast step."""

    @property
    def ahead(self) -> int:
        """States after the next that training needs."""
        return self.unroll


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


class ConvNet(nn.Module):
    """Residual 3³ convolutions, (B, inputs, …) → (B, outputs, …)."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int, embedding: int) -> None:
        super().__init__()
        self.first = conv(inputs, width, kernel=1)
        self.blocks = nn.ModuleList(Block(width, embedding) for _ in range(blocks))
        self.last = conv(width, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, inputs, …), (B, embedding) → (B, outputs, …); the last convolution in float32."""
        hidden = self.first(x)
        for block in self.blocks:
            hidden = block(hidden, level)
        with torch.autocast(x.device.type, enabled=False):
            return self.last(nn.functional.silu(hidden.float()))


class SpatialDenoiser(LinearForecast):
    """D_θ(x; σ, past): x without its noise, from a network over noisy x and the past latents."""

    memory_states = 0
    """Noise fields of the steps before that the next one depends on."""

    def __init__(self, config: EDMConfig, latent: int, window: int) -> None:
        super().__init__(latent, window)
        self.config = config
        self.embed = nn.Sequential(nn.Linear(config.embedding, config.embedding), nn.SiLU())
        shape = ((window + 1) * latent, latent, config.width, config.blocks, config.embedding)
        self.network = ConvNet(*shape)

    @torch.no_grad()
    def fit(self, past: Tensor, following: Tensor) -> None:
        """As a linear forecast, with one deviation for the numbers of a patch, which share one unit."""
        super().fit(past, following)
        self.spread[:] = self.spread.square().mean().sqrt()

    def forward(self, noisy: Tensor, sigma: Tensor, past: Tensor) -> Tensor:
        """Denoise x + σn (B, C, …) at σ (B,); preconditioned for σ_data = 1 (Karras, eq. 7)."""
        wide = sigma.view(-1, 1, 1, 1, 1)
        norm = 1 + wide.square()
        level = self.embed(time_embedding(250 * (sigma.log() / 4 + 1), self.config.embedding).to(noisy))
        out = self.network(torch.cat([noisy * norm.rsqrt(), self.inputs(past)], dim=1), level)
        return noisy / norm + wide * norm.rsqrt() * out

    def loss(self, past: Tensor, following: Tensor, draws: Draws) -> Tensor:
        """E λ(σ)‖D_θ(x + σn) − x‖² with λ = (1 + σ²)/σ², so that every σ counts alike (Karras, eq. 8)."""
        sigma = draws.mine(self.noise_levels(draws.batch, draws.generator)).to(past)
        noise = draws.normal(following.shape).to(past)
        wide, x = sigma.view(-1, 1, 1, 1, 1), (following - self.straight(past)) / self.spread
        error = self(x + wide * noise, sigma, past) - x
        return (error.square() * (1 + wide.square()) / wide.square()).mean()

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """σ of `count` chains in training, log-normal, one from each of `count` equally likely parts."""
        part = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        normal = torch.special.ndtri(part.clamp(1e-6, 1 - 1e-6))
        return torch.exp(self.config.log_mean + self.config.log_std * normal)

    def sample(self, past: Tensor, noise: Tensor) -> Tensor:
        """Draw z(τ + Δτ) (B, C, …) given the past (B, window · C, …), from standard noise (B, C, …)."""
        return self.straight(past) + self.spread * self.sample_remainder(past, noise)

    def levels(self) -> list[float]:
        """σ of the sampler, falling in equal steps of ln σ, then 0."""
        c = self.config
        if c.steps == 1:
            return [c.sigma_max, 0.0]
        ratio = math.log(c.sigma_min / c.sigma_max) / (c.steps - 1)
        return [c.sigma_max * math.exp(k * ratio) for k in range(c.steps)] + [0.0]

    @torch.no_grad()
    def sample_remainder(self, past: Tensor, noise: Tensor) -> Tensor:
        """Draw x given the past from standard noise (B, C, …): DPM-Solver++(2M), one evaluation per step.

        Lu et al. (2022), algorithm 2, in σ for a variance-exploding process: x moves towards the prediction
        extrapolated from the last two.
        """
        levels = self.levels()
        x, before = levels[0] * noise, None
        for i, (sigma, following) in enumerate(zip(levels, levels[1:], strict=False)):
            predicted = self(x, x.new_full((len(x),), sigma), past)
            target = predicted
            if before is not None and following > 0:
                ratio = math.log(levels[i - 1] / sigma) / math.log(sigma / following)
                target = predicted + (predicted - before) / (2 * ratio)
            x = (following / sigma) * x + (1 - following / sigma) * target
            before = predicted
        return x
