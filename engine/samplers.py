"""Ways through the reverse diffusion: ancestral (S10), DDIM and DPM-Solver++ (2M).

All three are one linear recursion over the noise ε that a denoiser sees in z at the steps t, and the clean
latent x̂ = (z − σ ε)/α that follows from it; they differ in its coefficients alone.
    z ← keep·z + push·ε + carry·x̂ of the step before + spread·ξ,   α² = ᾱ_t, σ² = 1 − ᾱ_t, ξ ~ N(0, I)
Ho et al. (2020), algorithm 2; Song et al. (2021), eq. 12 with η = 0; Lu et al. (2022), algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.diffusion import DiffusionConfig, Schedule


@dataclass(frozen=True)
class Sampler:
    """Diffusion steps, from T − 1 down to 0, and the coefficients of each, (N,) in float64."""

    times: Tensor
    keep: Tensor
    push: Tensor
    carry: Tensor
    spread: Tensor
    signal: Tensor
    """α at `times`."""
    noise: Tensor
    """σ at `times`."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def draws(self) -> int:
        """Standard normal vectors that one sample takes: the start, and one for each step that adds noise."""
        return 1 + (len(self) if self.spread.any() else 0)


def ancestral(schedule: Schedule) -> Sampler:
    """All T steps of q(z_{t−1} | z_t, x̂) (S10): the paper's, and the one that the model was trained for."""
    times = torch.arange(schedule.steps - 1, -1, -1)
    shrink, remove, spread = (x[times] for x in (schedule.shrink, schedule.remove, schedule.spread))
    alpha, sigma = schedule.signal[times], schedule.noise[times]
    return Sampler(times, shrink, -shrink * remove, torch.zeros_like(shrink), spread, alpha, sigma)


def ddim(schedule: Schedule, evaluations: int) -> Sampler:
    """Deterministic, first order: along x̂ as it is now to the next of `evaluations` steps."""
    return _solver(schedule, evaluations, order=1)


def dpm_solver(schedule: Schedule, evaluations: int) -> Sampler:
    """Deterministic, second order: along x̂ extrapolated in ln α/σ from this step and the one before."""
    return _solver(schedule, evaluations, order=2)


def _solver(schedule: Schedule, evaluations: int, order: int) -> Sampler:
    """Equally spaced steps from T − 1 on; the last ends at α = 1, σ = 0, and is of first order."""
    if not 1 <= evaluations <= schedule.steps:
        raise ValueError(f"{evaluations} evaluations are not between 1 and the {schedule.steps} of training")
    ratio = schedule.steps / evaluations
    times = (schedule.steps - ratio * torch.arange(evaluations, dtype=torch.float64)).round().long() - 1
    alpha, sigma = schedule.signal[times], schedule.noise[times]
    after, rest = torch.cat([alpha[1:], alpha.new_ones(1)]), torch.cat([sigma[1:], sigma.new_zeros(1)])
    weight = torch.zeros_like(alpha)  # of the difference between this x̂ and the one before
    if order == 2:
        step = (alpha.log() - sigma.log()).diff()
        weight[1:-1] = step[1:] / (2 * step[:-1])
    toward = after - rest * alpha / sigma
    keep = rest / sigma + toward * (1 + weight) / alpha
    push = -toward * (1 + weight) * sigma / alpha
    return Sampler(times, keep, push, -toward * weight, torch.zeros_like(alpha), alpha, sigma)


def make(config: DiffusionConfig, schedule: Schedule) -> Sampler:
    """The sampler that a recipe asks for."""
    if config.sampler == "ancestral":
        return ancestral(schedule)
    return (ddim if config.sampler == "ddim" else dpm_solver)(schedule, config.evaluations)


def by_name(config: object, way: str) -> DiffusionConfig:
    """A recipe's diffusion with the sampler that a user names: "ancestral", "ddim:50" or "dpm:20".

    Raises ValueError for other names, and for a diffusion that has no such choice.
    """
    kind, _, number = way.partition(":")
    if not isinstance(config, DiffusionConfig):
        raise ValueError(f"only models like the paper's take a sampler, such as {way}; this one has its own")
    if kind == "ancestral" and not number:
        return replace(config, sampler=kind)
    if kind not in ("ddim", "dpm") or not number.isdecimal() or not 1 <= int(number) <= config.steps:
        raise ValueError(f"{way!r} is no sampler: ancestral, ddim:N or dpm:N with N from 1 to {config.steps}")
    return replace(config, sampler=kind, evaluations=int(number))


@torch.no_grad()
def sample(predict: Callable[[Tensor, int], Tensor], sampler: Sampler, noise: Callable[[], Tensor]) -> Tensor:
    """z_T ~ N(0, I) → z_0, step by step; `predict(z, t)` is ε (B, d), `noise()` the next N(0, I) (B, d)."""
    z, before = noise(), None
    coefficients = zip(*(x.tolist() for x in vars(sampler).values()), strict=True)
    for t, keep, push, carry, spread, signal, scale in coefficients:
        epsilon = predict(z, t)
        clean = (z - scale * epsilon) / signal
        z = keep * z + push * epsilon
        if carry:
            z = z + carry * before
        if sampler.draws > 1:
            z = z + spread * noise()
        before = clean
    return z
