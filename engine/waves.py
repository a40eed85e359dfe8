"""Real waves of a grid, and what a block of the spectral network does with their amplitudes.

In a cell with right angles isotropic kernels are even along every axis, so that cosines and sines along x, y
and z are their eigenfunctions: transforms are real, and so are kernels.
    n points of B states, m waves of each; fields (B·n, C), amplitudes (B·m, C)
"""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional

LARGEST = 96
"""Points along an axis up to which real waves are used; compiling longer lines takes too long."""
DENSE = 32
"""The same where transforms are products with matrices: their work grows with n⁴, an FFT's with n³ ln n."""


def real_waves(points: int) -> tuple[Tensor, list[int]]:
    """Orthonormal cosines and sines as rows (points, points) in float64, and the wave number of each."""
    x = 2 * math.pi * torch.arange(points, dtype=torch.float64) / points
    rows, numbers = [], []
    for number in range(points // 2 + 1):
        kinds = (torch.cos, torch.sin) if 0 < 2 * number < points else (torch.cos,)
        rows += [kind(number * x) for kind in kinds]
        numbers += [number] * len(kinds)
    waves = torch.stack(rows)
    return waves / waves.norm(dim=1, keepdim=True), numbers


def right_angled(voxel: Tensor) -> bool:
    """Whether the rows of `voxel` (3, 3) are orthogonal."""
    metric = voxel.cpu().double() @ voxel.cpu().double().T
    return bool((metric - metric.diag().diag()).abs().max() < 1e-6 * metric.abs().max())


class Basis:
    """Waves of the grid of `hats` (knots, nx, ny, nz), which are the knots' shares in plane waves.

    `shares` (m, knots) are those in its own waves. This is how PyTorch does it, on any device and with any
    numbers; with `half` products over channels are in bfloat16, transforms never.
    """

    multiple = 1
    """Of channels that transforms without gradients take quickest."""

    def __init__(self, hats: Tensor, half: bool = False) -> None:
        self.grid, self.half = tuple(hats.shape[1:]), half
        made = [real_waves(points) for points in self.grid]
        self.waves = [waves.to(hats) for waves, _ in made]
        x, y, z = (torch.tensor(numbers).to(hats.device) for _, numbers in made)
        self.shares = hats[:, x][:, :, y][:, :, :, z].flatten(1).T.contiguous()

    def to_waves(self, field: Tensor) -> Tensor:
        """(B·n, C) → amplitudes of the waves, (B·m, C)."""
        return self._along(self.waves, field)

    def to_points(self, amplitudes: Tensor) -> Tensor:
        """The inverse, which is the transpose."""
        return self._along([waves.T for waves in self.waves], amplitudes)

    def _along(self, matrices: list[Tensor], field: Tensor) -> Tensor:
        channels, before = field.shape[1], len(field) // math.prod(self.grid)
        for matrix, points in zip(matrices, self.grid, strict=True):
            field = torch.matmul(matrix, field.reshape(before, points, -1))
            before *= points
        return field.view(-1, channels)

    def mix(self, x: Tensor, kernels: Tensor, u: Tensor) -> Tensor:
        """U·(k x), (B·m, C) → (B·m, O), with two kernels of each channel (shares, 2, C) and U (O, 2C)."""
        return (self._short(self._filtered(x, kernels)) @ self._short(u).T).to(x.dtype)

    def mix_back(self, grad: Tensor, x: Tensor, kernels: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, the kernels and U, from that of `mix`."""
        short = self._short(grad)
        to_u = (short.T @ self._short(self._filtered(x, kernels))).to(grad.dtype)
        waves = (short @ self._short(u)).to(grad.dtype).view(-1, *kernels.shape)
        states = x.view(len(waves), len(kernels), 1, -1)
        to_kernels = waves[0] * states[0]
        for one, other in zip(waves[1:], states[1:], strict=True):
            to_kernels.addcmul_(one, other)
        to_x = torch.addcmul(waves[:, :, 0] * kernels[:, 0], waves[:, :, 1], kernels[:, 1])
        return to_x.view_as(x), to_kernels, to_u

    def _filtered(self, x: Tensor, kernels: Tensor) -> Tensor:
        return (x.view(-1, len(kernels), 1, x.shape[1]) * kernels).view(len(x), -1)

    def _short(self, x: Tensor) -> Tensor:
        return x.bfloat16() if self.half else x

    def gate(self, mixed: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Waves of a ⊙ SiLU(b), (a, b) = fields of `mixed` + c: (B·m, 2C) → (B·m, C), and those fields."""
        fields = self.to_points(mixed).add_(c)
        value, gate = fields.chunk(2, dim=1)
        return self.to_waves(functional.silu(gate).mul_(value)), fields

    def gate_back(self, grad: Tensor, fields: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of `mixed` and c from that of the waves."""
        (value, gate), grad = fields.chunk(2, dim=1), self.to_points(grad)
        back = torch.empty_like(fields)
        to_value, to_gate = back.chunk(2, dim=1)
        torch.mul(grad, functional.silu(gate), out=to_value)
        torch.ops.aten.silu_backward.grad_input(grad.mul_(value), gate, grad_input=to_gate)
        return self.to_waves(back), back.sum(0)

    def block(self, x: Tensor, kernels: Tensor, u: Tensor, c: Tensor, v: Tensor) -> Tensor:
        """`Gated` without gradients; x (B·m, C) may be written over."""
        return torch.addmm(x, self.gate(self.mix(x, kernels, u), c)[0], v.T)


def quick_basis(hats: Tensor, channels: int, half: bool = False) -> Basis | None:
    """The quickest basis for that many channels where `hats` lie; None where FFTs are quicker than any.

    On a processor with numba that is one of compiled loops.
    """
    grid, quick = tuple(hats.shape[1:]), None if half else _quick_waves()
    plain = hats.device.type == "cpu" and hats.dtype == torch.float32
    if quick and plain and max(grid) <= LARGEST and channels % quick.LANES == 0:
        return quick.QuickBasis(hats)
    return Basis(hats, half) if max(grid) <= DENSE else None


@cache
def _quick_waves() -> ModuleType | None:
    """The compiled loops; None where there is no numba, or no place for what it compiles (RuntimeError)."""
    try:
        return import_module("engine.quick_waves")
    except (ImportError, RuntimeError):
        return None
