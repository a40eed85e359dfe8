"""Isotropic filters: what multiplies a plane wave is a function of |q| alone.

Such a filter commutes with translations, rotations and reflections, and means the same in every cell.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from engine.graphs import Kept


def hat_functions(grid: tuple[int, ...], voxel: Tensor, knots: int) -> Tensor:
    """Shares of equally spaced knots of |q| in every plane wave of a grid, (knots, nx, ny, nz).

    Rows of `voxel` are the grid's basis vectors in Å; knots reach to the corner of the zone.
    """
    axes = [torch.fft.fftfreq(n, dtype=torch.float64) for n in grid]
    fraction = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    voxel = voxel.cpu().double()
    q = 2 * math.pi * (fraction @ torch.linalg.inv(voxel).T).norm(dim=-1)
    reach = math.pi * voxel.norm(dim=1).reciprocal().norm()
    distance = (q / reach).clamp(max=1) * (knots - 1) - torch.arange(knots, dtype=torch.float64).view(
        -1, 1, 1, 1
    )
    return (1 - distance.abs()).clamp(min=0).float()


class RadialFilter(nn.Module):
    """Every channel convolved with two kernels of its own, (B, C, n³) → (B, 2 C, n³).

    A kernel is a real function of |q| in Å⁻¹, linear between knots.
    """

    def __init__(self, channels: int, knots: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + torch.randn(channels, 2, knots))
        self._kept = Kept()

    def forward(self, x: Tensor, hats: Tensor) -> Tensor:
        """Multiply waves by kernels; `hats` (knots, nx, ny, nz) are the knots' shares in a wave.

        Both convolutions of a channel go through one complex transform, one as its real part, the other as
        its imaginary part: the kernels are even, so that neither leaks into the other.
        """
        waves = torch.fft.fftn(x, dim=(2, 3, 4)) * self.kernels(hats)
        both = torch.view_as_real(torch.fft.ifftn(waves, dim=(2, 3, 4)))
        return both.movedim(-1, 2).flatten(1, 2)

    def kernels(self, hats: Tensor) -> Tensor:
        """One kernel plus i times the other, (C, nx, ny, nz)."""

        def make() -> Tensor:
            weight = self.weight.transpose(0, 1).flatten(0, 1)
            one, other = (weight @ hats.flatten(1)).view(2, -1, *hats.shape[1:])
            return torch.complex(one, other)

        return self._kept((self.weight, hats), make)

    def factors(self, shares: Tensor) -> Tensor:
        """Both kernels at waves that the knots have `shares` (n, knots) in, (n, 2, C)."""
        return self._kept(
            (self.weight, shares),
            lambda: (shares @ self.weight.permute(2, 1, 0).flatten(1)).unflatten(1, (2, -1)),
        )


class Closure(nn.Module):
    """Waves too short for a coarse grid, from isotropic filters of the powers of the field it holds.

    An ion's density is nearly the same wherever it sits, so that short waves follow long ones: what a
    band-limited lithium density lacks is found again but for a tenth. Fitted by least squares.
    """

    powers = 3

    def __init__(self, knots: int = 16) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(self.powers, knots))
        self.register_buffer("voxel", torch.eye(3))
        self._hats: dict[tuple, Tensor] = {}
        self._kept = Kept()

    @torch.no_grad()
    def fit(self, coarse: Tensor, field: Tensor, grid: tuple[int, ...], voxel: Tensor) -> None:
        """Fit to fields (B, Nx, Ny, Nz) and the part of them, on the same points, that `grid` holds.

        In float64, and so on the processor: not every GPU has it.
        """
        self.voxel.copy_(voxel)
        hats = self.hats(coarse.shape[1:], grid).cpu().double()
        shape = (self.powers * len(hats),) * 2
        matrix, target = hats.new_zeros(shape), hats.new_zeros(shape[:1])
        for held, whole in zip(coarse.cpu().double(), field.cpu().double(), strict=True):
            waves = (self._waves(held[None])[0, :, None] * hats).flatten(0, 1).flatten(1)
            missing = torch.fft.rfftn(whole - held).flatten()
            matrix += (waves @ waves.mH).real
            target += (waves.conj() @ missing).real
        # what is at the level of rounding, such as waves that `grid` holds anyway, explains nothing
        matrix += (1e-5) ** 2 * matrix.diagonal().max() * torch.eye(len(matrix)).to(matrix)
        self.weight.copy_(torch.linalg.solve(matrix, target).view_as(self.weight))

    def forward(self, coarse: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Fields (B, Nx, Ny, Nz) with the waves that `grid`, which they were on, could not hold."""
        hats = self.hats(coarse.shape[1:], grid)
        kernels = self._kept((self.weight, hats), lambda: torch.tensordot(self.weight, hats, 1))
        missing = (self._waves(coarse) * kernels).sum(1)
        return coarse + torch.fft.irfftn(missing, s=coarse.shape[1:], dim=(1, 2, 3))

    def _waves(self, field: Tensor) -> Tensor:
        powers = [field]
        for _ in range(self.powers - 1):
            powers.append(powers[-1] * field)
        return torch.fft.rfftn(torch.stack(powers, dim=1), dim=(2, 3, 4))

    def hats(self, fine: tuple[int, ...], grid: tuple[int, ...]) -> Tensor:
        """Knots' shares in the waves of `fine` that `grid` does not hold, (knots, Nx, Ny, Nz // 2 + 1)."""
        key = (*fine, *grid, self.voxel.device)
        if key not in self._hats:
            waves = [torch.fft.fftfreq(n, 1 / n).abs() >= m / 2 for n, m in zip(fine, grid, strict=True)]
            x, y, z = torch.meshgrid(*waves, indexing="ij")
            hats = hat_functions(fine, self.voxel, self.weight.shape[1]) * (x | y | z)
            self._hats[key] = hats[..., : fine[-1] // 2 + 1].to(self.voxel.device)
        return self._hats[key]
