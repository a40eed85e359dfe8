"""One step of a latent of plane waves: its best forecast, and random forces that leave what that leaves.

Over 10 fs the next density is nearly determined by the last and its rate: a regression predicts it, and what
it leaves is small. Random forces of the right spectrum and memory let members part as fast as they err.
Latents are (B, C, nx, ny, nz), those of the past (B, window · C, …), newest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.forces import RandomForces, wave_vectors
from engine.spectral import SpectralNet

if TYPE_CHECKING:
    from engine.dynamics import Draws


@dataclass(frozen=True)
class PropagatorConfig:
    """Network of a step, and what it learns from."""

    width: int = 64
    """Channels of the isotropic convolutions."""
    blocks: int = 4
    """Blocks of isotropic convolutions and pointwise products."""
    knots: int = 16
    """Values of |q| between which a convolution, and the spectrum of the noise, is interpolated."""
    condition_noise: float = 0.01
    """White noise on the past in training, deviation from 0 to this for each chain, in latent units."""
    condition_mix: float = 0.2
    """Share of another state mixed into the past in training, 0 to this for each chain, at equal variance: an
    error in the colour of the liquid. With white noise alone forecasts left what is liquid after some
    picoseconds, and broke."""
    unroll: int = 2
    """Steps that the model itself has made, at most, to the past it learns from; most batches have none.
    What it learns then is the way back to the truth from where its own errors lead."""
    inflation: float = 1.0
    """Standard deviation of the noise, in that of what forecasts of the training frames leave."""

    @property
    def ahead(self) -> int:
        """States after the next that training needs: the noise's memory is that of three steps."""
        return max(self.unroll, 2)


class LinearForecast(nn.Module):
    """z(τ) + A·[z(τ), z(τ − Δτ), …] with A by least squares, and the deviation of what remains."""

    def __init__(self, latent: int, window: int) -> None:
        super().__init__()
        self.register_buffer("line", torch.zeros(latent, window * latent))
        self.register_buffer("spread", torch.ones(latent, 1, 1, 1))

    @torch.no_grad()
    def fit(self, past: Tensor, following: Tensor) -> None:
        """Set A to the least-squares forecast of `following` from `past`, and each channel's deviation."""
        inputs, changes = (
            x.movedim(1, -1).flatten(0, -2).cpu().double()
            for x in (past, following - past[:, : following.shape[1]])
        )
        self.line.copy_(torch.linalg.lstsq(inputs, changes).solution.T)
        square = (following - self.straight(past)).square().mean((0, 2, 3, 4))
        self.spread[:] = square.sqrt().view(-1, 1, 1, 1)

    def straight(self, past: Tensor) -> Tensor:
        """The linear forecast, (B, window · C, …) → (B, C, …), in float32."""
        with torch.autocast(past.device.type, enabled=False):
            past = past.float()
            return past[:, : len(self.line)] + torch.einsum("kc,bcxyz->bkxyz", self.line, past)

    def inputs(self, past: Tensor) -> Tensor:
        """The past as a network sees it: older states as differences, small beside the states themselves."""
        latent = len(self.line)
        older = [(z - past[:, :latent]) / self.spread for z in past.split(latent, dim=1)[1:]]
        return torch.cat([past[:, :latent], *older], dim=1)


class Propagator(LinearForecast):
    """z(τ + Δτ) = linear forecast + s·[f(past) + r], f a network of isotropic products, r random forces."""

    memory_states = RandomForces.memory_states

    def __init__(self, config: PropagatorConfig, latent: int, window: int) -> None:
        super().__init__(latent, window)
        self.config = config
        self.network = SpectralNet(window * latent, latent, config.width, config.blocks, config.knots)
        self.forces = RandomForces(latent, config.knots)
        self._vectors: dict[tuple, Tensor] = {}

    def forward(self, past: Tensor) -> Tensor:
        """The expected z(τ + Δτ), (B, window · C, …) → (B, C, …)."""
        return self.straight(past) + self.spread * self.network(self.inputs(past))

    def loss(self, past: Tensor, following: Tensor, draws: Draws) -> Tensor:
        """Mean square of what the forecast leaves, in that of the linear forecast."""
        return ((following - self(past)) / self.spread).square().mean()

    @torch.no_grad()
    def settle(self, chains: Tensor) -> None:
        """Fit the noise to what forecasts leave, from latents (window + 3, B, C, …), oldest first."""
        window, grid = len(chains) - 3, tuple(chains.shape[3:])
        left = torch.stack([self._left(chains[i : i + window + 1]) for i in range(3)])
        self.forces.settle(left, chains[-2, :, :1], *self._waves(grid))

    def _left(self, chain: Tensor) -> Tensor:
        """What the forecast of the last of (window + 1, B, C, …) leaves, in the usual deviation."""
        past, following = torch.cat(tuple(chain[:-1].flip(0)), dim=1), chain[-1]
        parts = zip(past.split(8), following.split(8), strict=True)
        return torch.cat([(after - self(before)) / self.spread for before, after in parts])

    def _waves(self, grid: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The knots' shares in the waves of a grid, and their vectors."""
        voxel = self.network.voxel
        key = (*grid, voxel.device)
        if key not in self._vectors:
            self._vectors[key] = wave_vectors(grid, voxel).to(voxel.device)
        return self.network.hats(grid), self._vectors[key]

    def sample(self, past: Tensor, noise: Tensor) -> Tensor:
        """Draw z(τ + Δτ) (B, C, …) given the past (B, window · C, …), from standard noise (B, C, …)."""
        expected = self(past)
        if not self.config.inflation:
            return expected
        forced = self.forces(expected[:, :1], noise, *self._waves(tuple(noise.shape[2:])))
        return expected + self.config.inflation * self.spread * forced

    def remember(self, noise: Tensor, before: Tensor) -> Tensor:
        """White noise (B, C, …) that goes on from that of the steps before (B, 2 C, …), newest first."""
        return self.forces.remember(noise, before, self.network.hats(tuple(noise.shape[2:])))
