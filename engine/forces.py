"""Random forces: noise that moves the density there is, and adds none.

What a forecast leaves looks as if forces had been slightly off: electrons displaced, δρ = −∇·(ρ u), as in
fluctuating hydrodynamics (Dean, J. Phys. A 29, L613, 1996). Noise of the same spectrum simply added to the
density is that of no liquid: the network takes it for an error and removes it, so that members of an ensemble
part more slowly than they err.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from engine.graphs import Kept


def wave_vectors(grid: tuple[int, ...], voxel: Tensor) -> Tensor:
    """Q of every plane wave of a grid in Å⁻¹, (3, nx, ny, nz); 0 along an axis where it has no known sign.

    Rows of `voxel` are the grid's basis vectors in Å.
    """
    axes = [torch.fft.fftfreq(n, dtype=torch.float64) for n in grid]
    for axis, n in zip(axes, grid, strict=True):
        axis[axis.abs() * 2 == 1] = 0 if n > 1 else axis[0]
    fraction = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    return (2 * math.pi * fraction @ torch.linalg.inv(voxel.cpu().double()).T).movedim(-1, 0).float()


class RandomForces(nn.Module):
    """r = −∇·(n∇φ), n the density in its mean, φ Gaussian potentials of fitted spectrum and memory.

    One potential displaces, one accelerates, and they hang together. `hats` (knots, nx, ny, nz) are the
    knots' shares in a wave, `q` (3, nx, ny, nz) its vector.
    """

    memory_states = 2
    """Noise fields of the steps before that the next one depends on."""

    def __init__(self, channels: int, knots: int) -> None:
        super().__init__()
        self.register_buffer("deviation", torch.zeros(channels, knots))
        self.register_buffer("correlation", torch.eye(channels)[..., None].repeat(1, 1, knots))
        self.register_buffer("memory", torch.zeros(self.memory_states, knots))
        self.register_buffer("contrast", torch.ones(()))  # one latent unit of density, in the mean density
        self._kept = Kept()

    def forward(self, density: Tensor, noise: Tensor, hats: Tensor, q: Tensor) -> Tensor:
        """The noise (B, C, …) of a latent density (B, 1, …), from white noise (B, C, …)."""
        waves = torch.fft.rfftn(noise, dim=(2, 3, 4))
        potentials = (self.kernels(hats) * waves.unsqueeze(1)).sum(2)
        return self._moved(density, potentials, q)

    def _moved(self, density: Tensor, potentials: Tensor, q: Tensor) -> Tensor:
        """−∇·(n∇φ) of waves of φ (B, C, …), the half of them that says it all, since φ is real."""
        grid = tuple(density.shape[2:])
        slope = 1j * q[..., : potentials.shape[-1]]
        gradient = torch.fft.irfftn(slope * potentials[:, :, None], s=grid, dim=(3, 4, 5))
        flux = torch.fft.rfftn((1 + self.contrast * density)[:, :, None] * gradient, dim=(3, 4, 5))
        return -torch.fft.irfftn((slope * flux).sum(2), s=grid, dim=(2, 3, 4))

    def kernels(self, hats: Tensor) -> Tensor:
        """What white noise is multiplied with, (C, C, nx, ny, nz // 2 + 1): a Cholesky factor a wave."""
        return self._kept((self.deviation, self.correlation, hats), lambda: self._factors(hats))

    def _factors(self, hats: Tensor) -> Tensor:
        hats = hats[..., : hats.shape[-1] // 2 + 1]
        covariance = self.correlation * self.deviation[:, None] * self.deviation[None]
        wanted = torch.einsum("ijk,kxyz->xyzij", covariance.cpu().double(), hats.cpu().double())
        # channels that always go together, or waves that nothing is left of, have no factor of their own
        power = wanted.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        floor = (1e-6 * power + 1e-16) * torch.eye(wanted.shape[-1]).to(wanted)
        factors = torch.linalg.cholesky(wanted + floor).float().permute(3, 4, 0, 1, 2)
        return factors.contiguous().to(hats.device)

    @torch.no_grad()
    def settle(self, left: Tensor, density: Tensor, hats: Tensor, q: Tensor) -> None:
        """Fit to what forecasts leave, (3, B, C, …) in successive steps, of latent densities (B, 1, …)."""
        waves = torch.fft.fftn(left, dim=(3, 4, 5), norm="ortho")
        self._fit_memory(waves, hats)
        share = hats / hats.sum((1, 2, 3), keepdim=True).clamp(min=1e-9)
        pairs = torch.einsum("tbixyz,tbjxyz,kxyz->ijk", waves, waves.conj(), share.to(waves)).real
        wanted = (pairs / waves[:, :, 0, 0, 0, 0].numel()).cpu().double()
        response = self._response(density, hats, share, q)
        power = torch.stack([_positive(response, each) for each in wanted.diagonal().T])
        self.deviation.copy_(power.sqrt())
        scale = wanted.diagonal().T.clamp(min=1e-12).sqrt()
        self.correlation.copy_((wanted / (scale[:, None] * scale[None])).clamp(-1, 1))

    def _response(self, density: Tensor, hats: Tensor, share: Tensor, q: Tensor) -> Tensor:
        """Power about knot k of the noise from a potential of unit power about knot j, (knots k, knots j)."""
        draws, columns = torch.Generator().manual_seed(0), []
        for hat in hats:
            white = torch.randn(density.shape, generator=draws).to(density)
            potential = torch.fft.rfftn(white, dim=(2, 3, 4)) * hat[..., : hat.shape[-1] // 2 + 1].sqrt()
            moved = self._moved(density, potential, q)
            power = torch.fft.fftn(moved, dim=(2, 3, 4), norm="ortho").abs().square().mean((0, 1))
            columns.append(torch.einsum("xyz,kxyz->k", power, share))
        return torch.stack(columns, dim=1).cpu().double()

    def _fit_memory(self, waves: Tensor, hats: Tensor) -> None:
        """Correlations of waves (3, B, C, nx, ny, nz) with those one and two steps before, at every knot."""
        power = torch.einsum("tbcxyz,kxyz->k", waves.abs().square(), hats).clamp(min=1e-9) / 3
        one, two = (
            torch.einsum("tbcxyz,kxyz->k", (waves[:-lag] * waves[lag:].conj()).real, hats) / (3 - lag) / power
            for lag in (1, 2)
        )
        one = one.clamp(-0.95, 0.95)
        two = torch.maximum(two, 2 * one.square() - 0.95).clamp(max=0.95)  # no process has others
        self.memory.copy_(torch.stack([one, two]))

    def remember(self, noise: Tensor, before: Tensor, hats: Tensor) -> Tensor:
        """White noise (B, C, …) that goes on from that of the steps before (B, 2 C, …), newest first.

        An autoregression of second order with the measured correlations; zero is noise not yet drawn.
        """
        kept = before.unflatten(1, (self.memory_states, -1))
        rule, grid = self._rules()[kept.flatten(2).any(2).sum(1)], tuple(noise.shape[2:])
        hats = hats[..., : grid[-1] // 2 + 1]
        kernels = (rule @ hats.flatten(1)).unflatten(2, tuple(hats.shape[1:])).unsqueeze(2)
        waves = torch.fft.rfftn(torch.cat([kept, noise.unsqueeze(1)], dim=1), dim=(3, 4, 5))
        return torch.fft.irfftn((waves * kernels).sum(1), s=grid, dim=(2, 3, 4))

    def _rules(self) -> Tensor:
        """Shares of the last noise, that before and new noise after none, one, two steps: (3, 3, knots)."""
        one, two = self.memory
        second = (two - one.square()) / (1 - one.square())
        first = one * (1 - second)
        fresh = (1 - first * one - second * two).clamp(min=0).sqrt()
        no, yes = torch.zeros_like(one), torch.ones_like(one)
        rows = ((no, no, yes), (one, no, (1 - one.square()).sqrt()), (first, second, fresh))
        return torch.stack([torch.stack(row) for row in rows])


def _positive(response: Tensor, wanted: Tensor) -> Tensor:
    """Powers ≥ 0 of potentials that give the `wanted` power of the noise (knots,), each to its own scale."""
    from scipy.optimize import nnls  # slow to import, and only a training fits

    weight = 1 / np.maximum(wanted.numpy(), 1e-12)
    # the mean of a field has no power to give: −∇·(n∇φ) moves electrons and makes none
    return torch.from_numpy(nnls(response.numpy() * weight[:, None], np.ones(len(weight)))[0])
