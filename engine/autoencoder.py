"""The paper's autoencoder: states (B, 2, Nx, Ny, Nz) → latents (B, 32) → states (Appendix A.2).

The encoder ends in global average pooling, so its code is the same for a state and for that state shifted
by a multiple of the total stride, and the decoder can place what it draws only where it saw it in training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from engine.layers import Residual, Standardise, conv, down, up


@dataclass(frozen=True)
class PooledConfig:
    """Shape of the pooled autoencoder; the paper gives `latent` and leaves the rest open."""

    channels: tuple[int, ...] = (12, 48, 96, 96)
    """Channels at the full grid and after each halving. 24³ → 3³ in three; the widths put the work at 12³ and
    6³, where 24³ of a band-limited density has all its information, so that two cores can train it."""
    blocks: int = 1
    """Residual blocks per level."""
    latent: int = 32
    """Numbers per state (paper: 32)."""


class PooledAutoencoder(nn.Module):
    """E: strided periodic convolutions, ELU residual blocks, global average pooling; D: its mirror image."""

    def __init__(self, config: PooledConfig, grid: tuple[int, int, int]) -> None:
        super().__init__()
        stride = 2 ** (len(config.channels) - 1)
        if any(n % stride for n in grid):
            raise ValueError(f"grid {grid} must be a multiple of {stride} = 2^{len(config.channels) - 1} voxels")
        self.stride = stride
        self.coarse = tuple(n // stride for n in grid)
        first, *_, last = config.channels
        pairs = list(zip(config.channels, config.channels[1:], strict=False))
        self.trunk = nn.Sequential(
            conv(2, first), *(down(a, b, config.blocks) for a, b in pairs), nn.ELU(), conv(last, config.latent, kernel=1)
        )
        self.standardise = Standardise(config.latent)
        self.project = nn.Linear(config.latent, last * math.prod(self.coarse))
        self.branches = nn.Sequential(
            Residual(last), *(up(b, a, config.blocks) for a, b in reversed(pairs)), nn.ELU(), conv(first, 2)
        )

    def encode(self, state: Tensor) -> Tensor:
        """z = pool(E(s)), (B, 2, Nx, Ny, Nz) → (B, latent), invariant under shifts by `stride` voxels."""
        return self.standardise(self.trunk(state).mean((2, 3, 4)))

    def decode(self, latent: Tensor) -> Tensor:
        """s̃ = D(z), (B, latent) → (B, 2, Nx, Ny, Nz)."""
        return self.branches(self.project(latent).unflatten(1, (-1, *self.coarse)))
