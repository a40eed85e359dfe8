"""A block of the spectral network in training: real waves, channels last, and a backward of its own.

In a cell with right angles isotropic kernels are even along every axis, so that cosines and sines along x, y
and z are their eigenfunctions. Transforms are then products with small real matrices, kernels are real, and
no transform needs its channels moved. The backward keeps what it needs and nothing twice.
    n = nx·ny·nz points of B states, C channels; fields (B·n, C)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

LARGEST = 32
"""Points along an axis up to which matrices are used: their work grows with n⁴, an FFT's with n³ ln n."""


def real_waves(points: int) -> tuple[Tensor, list[int]]:
    """Orthonormal cosines and sines as rows (points, points), and the wave number of each."""
    x = 2 * math.pi * torch.arange(points, dtype=torch.float64) / points
    rows, numbers = [], []
    for number in range(points // 2 + 1):
        kinds = (torch.cos, torch.sin) if 0 < 2 * number < points else (torch.cos,)
        rows += [kind(number * x) for kind in kinds]
        numbers += [number] * len(kinds)
    waves = torch.stack(rows)
    return (waves / waves.norm(dim=1, keepdim=True)).float(), numbers


def right_angled(voxel: Tensor) -> bool:
    """Whether the rows of `voxel` (3, 3) are orthogonal."""
    metric = voxel.double() @ voxel.double().T
    return bool((metric - metric.diag().diag()).abs().max() < 1e-6 * metric.abs().max())


class Basis:
    """Waves of a grid, and the knots' shares in them, (n, knots), from those in plane waves."""

    def __init__(self, hats: Tensor) -> None:
        self.grid = tuple(hats.shape[1:])
        made = [real_waves(points) for points in self.grid]
        self.waves = [waves.to(hats) for waves, _ in made]
        x, y, z = (torch.tensor(numbers, device=hats.device) for _, numbers in made)
        self.shares = hats[:, x][:, :, y][:, :, :, z].flatten(1).T.contiguous()

    def to_waves(self, field: Tensor) -> Tensor:
        """(B·n, C) → amplitudes of the waves, (B·n, C)."""
        return self._along(self.waves, field)

    def to_points(self, amplitudes: Tensor, into: Tensor | None = None) -> Tensor:
        """The inverse; where there is `into` (2, B·n, C) it is written over, and its first part returned."""
        return self._along([waves.T for waves in self.waves], amplitudes, into)

    def _along(self, matrices: list[Tensor], field: Tensor, into: Tensor | None = None) -> Tensor:
        channels, before = field.shape[1], len(field) // math.prod(self.grid)
        for axis, (matrix, points) in enumerate(zip(matrices, self.grid, strict=True)):
            shape = (before, points, -1)
            out = None if into is None else into[axis % 2].view(shape)
            field = torch.matmul(matrix, field.reshape(shape), out=out)
            before *= points
        return field.view(-1, channels)


def gated(x: Tensor, kernels: Tensor, u: Tensor, c: Tensor, v: Tensor, basis: Basis, wide: Tensor) -> Tensor:
    """What `Gated` computes, of one state (n, C) and without gradients; `wide` (2, n, 2C) is written over.

    State by state in the same memory, everything stays in a processor's cache.
    """
    torch.mul(basis.to_waves(x).unsqueeze(1), kernels, out=wide[1].view(kernels.shape))
    filtered = basis.to_points(wide[1], wide)
    value, gate = torch.addmm(c, filtered, u.T, out=wide[1]).chunk(2, dim=1)
    return torch.addmm(x, functional.silu(gate).mul_(value), v.T)


class Gated(torch.autograd.Function):
    """x + V[a ⊙ SiLU(b)], (a, b) = U·(k * x) + c: `SpectralBlock` on fields (B·n, C).

    Kernels are (n, 2, C), U (2C, 2C) takes the outputs of the first kernels before those of the second, V is
    (C, C). With `half` the products over channels are in bfloat16, transforms never.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernels: Tensor, u: Tensor, c: Tensor, v: Tensor, basis: Basis, half: bool
    ) -> Tensor:
        """(B·n, C) → (B·n, C)."""
        channels, kind = x.shape[1], torch.bfloat16 if half else x.dtype
        u, c, v = u.to(kind), c.to(kind), v.to(kind)
        amplitudes = basis.to_waves(x)
        filtered = amplitudes.view(-1, len(kernels), 1, channels) * kernels
        filtered = basis.to_points(filtered.view(len(x), -1)).to(kind)
        mixed = torch.addmm(c, filtered, u.T)
        gate = functional.silu(mixed[:, channels:])
        product = mixed[:, :channels] * gate
        ctx.save_for_backward(kernels, u, v, amplitudes, filtered, mixed, gate, product)
        ctx.basis = basis
        return x + product @ v.T if half else torch.addmm(x, product, v.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, the kernels, U, c and V."""
        kernels, u, v, amplitudes, filtered, mixed, gate, product = ctx.saved_tensors
        channels, dtype, back = grad.shape[1], grad.dtype, grad.to(u.dtype)
        to_v, inner = back.T @ product, back @ v
        to_mixed = torch.empty_like(mixed)
        torch.mul(inner, gate, out=to_mixed[:, :channels])
        torch.ops.aten.silu_backward.grad_input(
            inner.mul_(mixed[:, :channels]), mixed[:, channels:], grad_input=to_mixed[:, channels:]
        )
        to_u, to_c = to_mixed.T @ filtered, to_mixed.sum(0, dtype=dtype)
        waves = ctx.basis.to_waves((to_mixed @ u).to(dtype)).view(-1, len(kernels), 2, channels)
        amplitudes = amplitudes.view(-1, len(kernels), 1, channels)
        to_kernels = waves[0] * amplitudes[0]
        for one, other in zip(waves[1:], amplitudes[1:], strict=True):
            to_kernels.addcmul_(one, other)
        inner = torch.addcmul(waves[:, :, 0] * kernels[:, 0], waves[:, :, 1], kernels[:, 1])
        to_x = grad + ctx.basis.to_points(inner.view(-1, channels))
        return to_x, to_kernels, to_u.to(dtype), to_c, to_v.to(dtype), None, None
