"""What physics says of a forecast whatever the network thinks: charge, temperature, range. Each can be off.

They act on the latent of plane waves, (B, 2, nx, ny, nz): the standardised density and its rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CorrectionsConfig:
    """Corrections of every forecast step."""

    conserve: bool = True
    """Hold the mean of density and rate at that of the training frames: electrons neither come nor go, and
    nothing else would bring the mean back."""
    thermostat_fs: float = 100.0
    """Relaxation time of ⟨ρ̇²⟩ towards that of the training frames; 0 leaves it alone. By equipartition
    ⟨|ρ̇_q|²⟩ ∝ q² k_B T/m, so this is a thermostat: without, a forecast may lose its motion and freeze. As
    slow as the simulation's own: a fast one takes from a forecast the temperature that it started with."""
    fluctuate: bool = True
    """Let the thermostat be random, as that of canonical simulations is (Bussi et al., J. Chem. Phys. 126,
    014101, 2007), with as many degrees of freedom as ⟨ρ̇²⟩ of the training frames shows."""
    heat: float = 1.0
    """What ⟨ρ̇²⟩ relaxes to, in that of the training frames: above 1 where noise in ρ̇ counts as motion."""
    elastic: bool = True
    """Mend the stiffness of long waves by what `ldm equilibrate` has found, if anything."""
    margin: float = 0.1
    """How far the density may leave the range of the training frames, as a part of it; below 0: anywhere."""


class Corrections(nn.Module):
    """The corrections, with what they hold a forecast to."""

    def __init__(self, config: CorrectionsConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(2, 1, 1, 1))
        self.register_buffer("motion", torch.ones(()))
        self.register_buffer("freedom", torch.tensor(torch.inf))  # degrees of it, per point of the latent
        self.register_buffer("range", torch.tensor([-torch.inf, torch.inf]))
        self.register_buffer("step_fs", torch.ones(()))

    @torch.no_grad()
    def fit(self, latents: Tensor, step_fs: float) -> None:
        """Take mean, mean square rate and range from latents of training frames (n, 2, nx, ny, nz)."""
        self.mean.copy_(latents.mean((0, 2, 3, 4)).view(2, 1, 1, 1))
        motion = latents[:, 1].square().mean((1, 2, 3))
        self.motion.copy_(motion.mean())
        if len(motion) > 1:
            spread = motion.var() / motion.mean().square()  # 2/n for n degrees of freedom
            self.freedom.copy_(2 / spread.clamp(min=1e-6) / latents[0, 1].numel())
        self.range.copy_(torch.stack(latents[:, 0].aminmax()))
        self.step_fs.fill_(step_fs)

    def forward(self, latent: Tensor, luck: Tensor | None = None) -> Tensor:
        """Latents (B, 2, nx, ny, nz) → the same, corrected; `luck` (B, 2), normal, is the thermostat's."""
        config = self.config
        if config.conserve:
            latent = latent - latent.mean((2, 3, 4), keepdim=True) + self.mean
        density, rate = latent[:, :1], latent[:, 1:]
        if config.thermostat_fs:
            rate = rate * self._rescaling(rate, luck if config.fluctuate else None).view(-1, 1, 1, 1, 1)
        if config.margin >= 0:
            room = config.margin * (self.range[1] - self.range[0])
            density = density.clamp(self.range[0] - room, self.range[1] + room)
        return torch.cat([density, rate], dim=1)

    def _rescaling(self, rate: Tensor, luck: Tensor | None) -> Tensor:
        """Factor (B,) of rates (B, 1, nx, ny, nz): stochastic rescaling, or its mean without luck."""
        now, wanted = rate.square().mean((1, 2, 3, 4)), self.config.heat * self.motion
        share = min(1.0, self.step_fs.item() / self.config.thermostat_fs)
        after = now + share * (wanted - now)
        if luck is not None and self.freedom.isfinite():
            degrees = self.freedom * rate[0].numel()
            one, rest = luck.T
            excess = (
                one.square() - 1 + (2 * (degrees - 1).clamp(min=0)).sqrt() * rest
            )  # of the sum of squares
            after = after + share * wanted * excess / degrees
            after = after + 2 * one * ((1 - share) * share * now * wanted / degrees).sqrt()
        return (after / now).clamp(min=0).sqrt()
