"""An autoencoder whose latent keeps position: states (B, 2, N³) → (B, C, (N/p)³) → states.

A patch of p³ voxels and both its fields becomes C numbers. The linear part is the best there is, the
Karhunen–Loève basis of the patches, and stays fixed; periodic convolutions add what neighbours and
nonlinearity tell. A shift of the state by p voxels shifts the latent by one, and any cell of the same spacing
will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.layers import Residual, conv, from_patches, to_patches


@dataclass(frozen=True)
class SpatialConfig:
    """Shape of the spatial autoencoder."""

    patch: int = 4
    """Voxels along the edge of a patch: 24³ → 6³. All convolutions run at 6³ with many channels, which two
    cores do ten times faster than few channels at 24³."""
    latent: int = 64
    """Numbers per patch."""
    width: int = 96
    """Channels of the convolutions."""
    blocks: int = 1
    """Residual blocks of encoder and decoder each."""
    rate_weight: float = 0.5
    """Weight of the time derivative's squared error beside the field's: over 10 fs, an error of the
    derivative moves the field 0.4 times as much."""


class SpatialAutoencoder(nn.Module):
    """E and D, each a linear map of patches plus a convolutional correction that starts at zero."""

    def __init__(self, config: SpatialConfig, grid: tuple[int, int, int]) -> None:
        super().__init__()
        patch, size, width = config.patch, 2 * config.patch**3, config.width
        if any(n % patch for n in grid):
            raise ValueError(f"grid {grid} must be a multiple of the patch, {patch} voxels")
        self.config, self.unit = config, patch
        self.register_buffer("scale", torch.tensor([1.0, config.rate_weight**0.5]).view(1, 2, 1, 1, 1))
        self.register_buffer("basis", torch.linalg.qr(torch.randn(size, config.latent))[0].T.contiguous())
        self.look = _correction(size, width, config.latent, config.blocks)
        self.draw = _correction(config.latent, width, size, config.blocks)

    @torch.no_grad()
    def fit(self, states: Tensor) -> None:
        """Set the linear part to the leading eigenvectors of the patches' covariance over `states`."""
        patches = to_patches(states * self.scale, self.config.patch).movedim(1, -1).flatten(0, -2)
        patches = patches.cpu().double()
        self.basis.copy_(torch.linalg.eigh(patches.T @ patches)[1][:, -self.config.latent :].T)

    def encode(self, state: Tensor) -> Tensor:
        """Latent z = E(s), (B, 2, Nx, Ny, Nz) → (B, C, Nx/p, Ny/p, Nz/p)."""
        patches = to_patches(state * self.scale, self.config.patch)
        with torch.autocast(state.device.type, enabled=False):
            straight = torch.einsum("kc,bcxyz->bkxyz", self.basis, patches)
        return straight + self.look(patches)

    def decode(self, latent: Tensor) -> Tensor:
        """State s̃ = D(z), (B, C, nx, ny, nz) → (B, 2, p·nx, p·ny, p·nz)."""
        with torch.autocast(latent.device.type, enabled=False):
            straight = torch.einsum("kc,bkxyz->bcxyz", self.basis, latent.float())
        return from_patches(straight + self.draw(latent), self.config.patch) / self.scale

    def errors(self, decoded: Tensor, state: Tensor) -> dict[str, Tensor]:
        """Mean squares of s̃ − s for the field and its rate, and their weighted sum, the loss."""
        density, rate = (decoded - state).square().mean((0, 2, 3, 4))
        return {"reconstruction": density, "rate": rate, "loss": density + self.config.rate_weight * rate}


def _correction(inputs: int, width: int, outputs: int, blocks: int) -> nn.Sequential:
    last = conv(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(conv(inputs, width), *(Residual(width) for _ in range(blocks)), nn.ELU(), last)
