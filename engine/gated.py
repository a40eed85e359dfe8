"""A block of the spectral network on amplitudes of real waves, with a backward of its own.

Between blocks a state stays in waves, where an isotropic convolution is a number for each: its two kernels of
every channel and the product over channels U that follows are then one matrix for all waves of a length, at
half the work. Only the product of fields is done at the points of the grid.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.waves import Basis


class Gated(torch.autograd.Function):
    """x + V[a ⊙ SiLU(b)], (a, b) = U·(k * x) + c: `SpectralBlock` on amplitudes (B·m, C).

    Kernels are (shares of the basis, 2, C), U (2C, 2C) takes the outputs of the first kernels before those of
    the second, V is (C, C).
    """

    @staticmethod
    def forward(
        ctx: Any, basis: Basis, x: Tensor, kernels: Tensor, u: Tensor, c: Tensor, v: Tensor
    ) -> Tensor:
        """(B·m, C) → (B·m, C)."""
        inner, fields = basis.gate(basis.mix(x, kernels, u), c)
        ctx.basis = basis
        ctx.save_for_backward(x, kernels, u, c, v, inner, fields)
        return torch.addmm(x, inner, v.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, the kernels, U, c and V."""
        x, kernels, u, c, v, inner, fields = ctx.saved_tensors
        to_mixed, to_c = ctx.basis.gate_back(grad @ v, fields, c)
        to_x, to_kernels, to_u = ctx.basis.mix_back(to_mixed, x, kernels, u)
        return None, to_x.add_(grad), to_kernels, to_u, to_c, grad.T @ inner
