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
    slow as the simulation's own: a fast one takes from a forecast the temperature that it started with. Not
    random (Bussi et al., J. Chem. Phys. 126, 014101, 2007), since the random forces are already: with chance
    in both, temperature and P(ρ) wandered from picosecond to picosecond by twice what those of AIMD do."""
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
        self.register_buffer("range", torch.tensor([-torch.inf, torch.inf]))
        self.register_buffer("step_fs", torch.ones(()))

    @torch.no_grad()
    def fit(self, latents: Tensor, step_fs: float) -> None:
        """Take mean, mean square rate and range from latents of training frames (n, 2, nx, ny, nz)."""
        self.mean.copy_(latents.mean((0, 2, 3, 4)).view(2, 1, 1, 1))
        self.motion.copy_(latents[:, 1].square().mean())
        self.range.copy_(torch.stack(latents[:, 0].aminmax()))
        self.step_fs.fill_(step_fs)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, 2, nx, ny, nz) → the same, corrected."""
        config = self.config
        if config.conserve:
            latent = latent - latent.mean((2, 3, 4), keepdim=True) + self.mean
        density, rate = latent[:, :1], latent[:, 1:]
        if config.thermostat_fs:
            now, wanted = rate.square().mean((1, 2, 3, 4), keepdim=True), config.heat * self.motion
            share = (self.step_fs / config.thermostat_fs).clamp(max=1)
            rate = rate * ((now + share * (wanted - now)) / now).sqrt()
        if config.margin >= 0:
            room = config.margin * (self.range[1] - self.range[0])
            density = density.clamp(self.range[0] - room, self.range[1] + room)
        return torch.cat([density, rate], dim=1)
