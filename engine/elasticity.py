"""A weak harmonic force on long waves, so that a forecast left alone has the S(q) of its training frames.

A cell holds few long waves, and a few picoseconds of AIMD show few of their swings: what a regression gets
wrong of them is too little to be seen in any one step, and yet the liquid that a long forecast settles in is
a few per cent too stiff. As effective pair potentials are found from a structure factor (Reatto, Levesque
and Weis, Phys. Rev. A 33, 3451, 1986), the force is mended until free runs and data agree.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.graphs import Kept


class Elasticity(nn.Module):
    """Δτ² ρ̈ = κ(|q|) ρ on latents of density and rate, (B, 2, nx, ny, nz); κ > 0 softens."""

    def __init__(self, knots: int) -> None:
        super().__init__()
        self.register_buffer("softness", torch.zeros(knots))
        self._kept = Kept()
        self.register_buffer("kick", torch.tensor([0.5, 0.0]))  # of Δτ² ρ̈, to the density and to its rate

    @torch.no_grad()
    def fit(self, scale: Tensor, stride: int) -> None:
        """Take the units of density and change over δ, (2,), and Δτ/δ."""
        self.kick[1] = scale[0] / scale[1] / stride

    def forward(self, latent: Tensor, hats: Tensor) -> Tensor:
        """The latent a step of that force later; `hats`: knots' shares in waves (knots, nx, ny, nz)."""
        kernel, grid = self._kept((self.softness, hats), lambda: self._kernel(hats)), latent.shape[2:]
        if kernel is None:
            return latent
        waves = torch.fft.rfftn(latent[:, :1], dim=(2, 3, 4)) * kernel
        return latent + self.kick.view(2, 1, 1, 1) * torch.fft.irfftn(waves, s=grid, dim=(2, 3, 4))

    def _kernel(self, hats: Tensor) -> Tensor | None:
        """κ of the waves that say it all, (nx, ny, nz // 2 + 1); None where there is no force."""
        half = hats[..., : hats.shape[-1] // 2 + 1]
        return torch.tensordot(self.softness, half, 1) if self.softness.any() else None
