"""One step of a latent of plane waves: its best forecast, and noise of the colour of what that leaves.

Over 10 fs the next density is nearly determined by the last and its rate: a regression predicts it, and what
it leaves is small. Drawn with the right spectrum it keeps the variance of every wave, which the mean of a
forecast alone loses step by step; drawn with the right memory it lets members part as fast as they err.
Latents are (B, C, nx, ny, nz), those of the past (B, window · C, …), newest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

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
    """Values of |q| between which a convolution, and the colour of the noise, is interpolated."""
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
            x.movedim(1, -1).flatten(0, -2).double()
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
    """z(τ + Δτ) = linear forecast + s·[f(past) + r], f a network of isotropic products, r coloured noise."""

    memory_states = 2
    """Noise fields of the steps before that the next one depends on."""

    def __init__(self, config: PropagatorConfig, latent: int, window: int) -> None:
        super().__init__(latent, window)
        self.config = config
        self.network = SpectralNet(window * latent, latent, config.width, config.blocks, config.knots)
        self.register_buffer("color", torch.zeros(latent, latent, config.knots))
        self.register_buffer("memory", torch.zeros(self.memory_states, config.knots))

    def forward(self, past: Tensor) -> Tensor:
        """The expected z(τ + Δτ), (B, window · C, …) → (B, C, …)."""
        return self.straight(past) + self.spread * self.network(self.inputs(past))

    def loss(self, past: Tensor, following: Tensor, draws: Draws) -> Tensor:
        """Mean square of what the forecast leaves, in that of the linear forecast."""
        return ((following - self(past)) / self.spread).square().mean()

    @torch.no_grad()
    def settle(self, chains: Tensor) -> None:
        """Take colour and memory of what forecasts leave, from latents (window + 3, B, C, …), oldest first.

        The colour is a Cholesky factor of the channels' covariance at every knot, the memory the correlation
        with one and two steps before. White noise of unit variance has the covariance 1 at every wave.
        """
        window = len(chains) - 3
        left = torch.stack([self._left(chains[i : i + window + 1]) for i in range(3)])
        waves = torch.fft.fftn(left, dim=(3, 4, 5), norm="ortho")
        self._fit_memory(waves)
        self._fit_color(waves.flatten(0, 1))

    def _fit_memory(self, waves: Tensor) -> None:
        """Correlations of waves (3, B, C, nx, ny, nz) with those one and two steps before, at every knot."""
        hats = self.network.hats(tuple(waves.shape[3:]))
        power = torch.einsum("tbcxyz,kxyz->k", waves.abs().square(), hats).clamp(min=1e-9) / 3
        one, two = (
            torch.einsum("tbcxyz,kxyz->k", (waves[:-lag] * waves[lag:].conj()).real, hats) / (3 - lag) / power
            for lag in (1, 2)
        )
        one = one.clamp(-0.95, 0.95)
        two = torch.maximum(two, 2 * one.square() - 0.95).clamp(max=0.95)  # no process has others
        self.memory.copy_(torch.stack([one, two]))

    def _fit_color(self, waves: Tensor) -> None:
        """Factors of the covariance of waves (B, C, nx, ny, nz) at every knot."""
        wanted = self._factors(torch.einsum("bixyz,bjxyz->ijxyz", waves, waves.conj()).real / len(waves))
        self.color.copy_(wanted)
        for _ in range(5):  # between knots the factors are interpolated, not the covariance
            kernels = self.kernels(tuple(waves.shape[2:]))
            got = self._factors(torch.einsum("ikxyz,jkxyz->ijxyz", kernels, kernels))
            step = torch.linalg.solve_triangular(
                got.movedim(-1, 0), wanted.movedim(-1, 0), upper=False, left=False
            )
            self.color.copy_((step @ self.color.movedim(-1, 0)).movedim(0, -1))

    def _left(self, chain: Tensor) -> Tensor:
        """What the forecast of the last of (window + 1, B, C, …) leaves, in the usual deviation."""
        past, following = torch.cat(tuple(chain[:-1].flip(0)), dim=1), chain[-1]
        parts = zip(past.split(8), following.split(8), strict=True)
        return torch.cat([(after - self(before)) / self.spread for before, after in parts])

    def _factors(self, pairs: Tensor) -> Tensor:
        """Cholesky factors (C, C, knots) of waves' covariances (C, C, nx, ny, nz), averaged about knots."""
        hats = self.network.hats(tuple(pairs.shape[2:]))
        share = hats / hats.sum((1, 2, 3), keepdim=True).clamp(min=1e-9)
        covariance = torch.einsum("ijxyz,kxyz->kij", pairs, share).double()
        # channels that always go together, or waves that nothing is left of, have no factor of their own
        power = covariance.diagonal(dim1=1, dim2=2).mean(1).view(-1, 1, 1)
        floor = (1e-6 * power + 1e-12) * torch.eye(len(pairs), dtype=torch.double, device=pairs.device)
        return torch.linalg.cholesky(covariance + floor).float().movedim(0, -1)

    def kernels(self, grid: tuple[int, ...]) -> Tensor:
        """What white noise is multiplied with, (C, C, nx, ny, nz)."""
        hats = self.network.hats(grid)
        return (self.color.flatten(0, 1) @ hats.flatten(1)).view(*self.color.shape[:2], *grid)

    def sample(self, past: Tensor, noise: Tensor) -> Tensor:
        """Draw z(τ + Δτ) (B, C, …) given the past (B, window · C, …), from standard noise (B, C, …)."""
        if not self.config.inflation:
            return self(past)
        waves = torch.fft.fftn(noise, dim=(2, 3, 4))
        colored = torch.einsum("ijxyz,bjxyz->bixyz", self.kernels(tuple(noise.shape[2:])).to(waves), waves)
        colored = torch.fft.ifftn(colored, dim=(2, 3, 4)).real
        return self(past) + self.config.inflation * self.spread * colored

    def remember(self, noise: Tensor, before: Tensor) -> Tensor:
        """White noise (B, C, …) that goes on from that of the steps before (B, 2 C, …), newest first.

        An autoregression of second order with the measured correlations; zero is noise not yet drawn.
        """
        kept = before.unflatten(1, (self.memory_states, -1))
        rule = self._rules()[kept.flatten(2).any(2).sum(1)]
        hats = self.network.hats(tuple(noise.shape[2:]))
        kernels = (rule @ hats.flatten(1)).unflatten(2, tuple(noise.shape[2:])).unsqueeze(2)
        waves = torch.fft.fftn(torch.cat([kept, noise.unsqueeze(1)], dim=1), dim=(3, 4, 5))
        return torch.fft.ifftn((waves * kernels).sum(1), dim=(2, 3, 4)).real

    def _rules(self) -> Tensor:
        """Shares of the last noise, that before and new noise after none, one, two steps: (3, 3, knots)."""
        one, two = self.memory
        second = (two - one.square()) / (1 - one.square())
        first = one * (1 - second)
        fresh = (1 - first * one - second * two).clamp(min=0).sqrt()
        no, yes = torch.zeros_like(one), torch.ones_like(one)
        rows = ((no, no, yes), (one, no, (1 - one.square()).sqrt()), (first, second, fresh))
        return torch.stack([torch.stack(row) for row in rows])
