"""Periodic 3-D building blocks; the only file that knows about circular padding."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine import processes


class Wrap(torch.autograd.Function):
    """Periodic padding by one voxel on each side, (B, C, Nx, Ny, Nz) → (B, C, Nx + 2, Ny + 2, Nz + 2).

    Torch's own differentiates eight slices per axis, each into a zeroed array of full size: with it, padding
    took half of a training step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Copy the opposite faces around `x`."""
        return functional.pad(x, (1,) * 6, mode="circular")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Add what reached the copies to their originals, axis by axis."""
        for axis in (2, 3, 4):
            n = gradient.shape[axis] - 2
            inner = gradient.narrow(axis, 1, n).clone()
            inner.narrow(axis, n - 1, 1).add_(gradient.narrow(axis, 0, 1))
            inner.narrow(axis, 0, 1).add_(gradient.narrow(axis, n + 1, 1))
            gradient = inner
        return gradient


class PeriodicConv(nn.Conv3d):
    """3×3×3 convolution on a torus."""

    _folded: tuple[tuple[int, torch.dtype], list[Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Nx, Ny, Nz) → (B, C', Nx/stride, …)."""
        if torch.is_grad_enabled():
            return super().forward(Wrap.apply(x))
        padded, single = wrapped(x), x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        if not (single and ONEDNN and x.device.type == "cpu"):
            return super().forward(padded)
        # left to itself, torch does small grids by unfolding them, at half the speed
        shape = ([0] * 3, self.stride, self.dilation, 1)
        return torch.ops.aten.mkldnn_convolution(padded, self.weight, self.bias, *shape)

    def doubled(self, x: Tensor) -> Tensor:
        """The convolution of x enlarged to twice its grid by `nearest`, without gradients.

        Of 27 enlarged voxels those that are copies of one are one: each of a voxel's eight children is a
        2×2×2 convolution, of sums of weights, on the grid of x.
        """
        padded, grid = wrapped(x), x.shape[2:]
        made = None
        for weight, child in zip(self._children(x), product(range(2), repeat=3), strict=True):
            near = padded[(..., *(slice(c, c + n + 1) for c, n in zip(child, grid, strict=True)))]
            field = functional.conv3d(near, weight, self.bias)
            if made is None:
                made = channels_last(field.new_empty(*field.shape[:2], *(2 * n for n in grid)))
            made[(..., *(slice(c, None, 2) for c in child))] = field
        return made

    def _children(self, x: Tensor) -> list[Tensor]:
        """Weights (C', C, 2, 2, 2) of the eight, kept until the weights are others."""
        short = torch.is_autocast_enabled(x.device.type)
        key = self.weight._version, torch.get_autocast_dtype(x.device.type) if short else x.dtype
        if self._folded is None or self._folded[0] != key:
            sums = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])
            with torch.autocast(x.device.type, enabled=False):  # rounded once, when they are sums
                weights = torch.einsum("oiabc,pxa,qyb,rzc->pqroixyz", self.weight.float(), sums, sums, sums)
            self._folded = key, [channels_last(w) for w in weights.flatten(0, 2).to(key[1])]
        return self._folded[1]


ONEDNN = torch.backends.mkldnn.is_available()


def wrapped(x: Tensor) -> Tensor:
    """What `Wrap` returns, by one gather of voxels, with channels last in memory."""
    batch, channels, *grid = x.shape
    voxels = x.movedim(1, -1).reshape(batch, -1, channels)
    padded = voxels.index_select(1, _neighbours(*grid, device=x.device))
    return padded.view(batch, *(n + 2 for n in grid), channels).movedim(-1, 1)


def channels_last(x: Tensor) -> Tensor:
    """The same numbers in the order that `PeriodicConv` reads and writes them where no gradient is wanted."""
    return x.contiguous(memory_format=torch.channels_last_3d)


@lru_cache(maxsize=32)
def _neighbours(*grid: int, device: torch.device) -> Tensor:
    """Numbers of the voxels of a grid that a padded one is made of."""
    x, y, z = (torch.arange(-1, n + 1) % n for n in grid)
    return ((x[:, None, None] * grid[1] + y[:, None]) * grid[2] + z).flatten().to(device)


def quick_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices in bfloat16 at least twice as fast as in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    units = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, unit, bool)() for unit in units)


def conv(inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3) -> nn.Conv3d:
    """Convolution on a torus: a periodic shift of the input by `stride` voxels shifts the output by one."""
    if kernel == 1:
        return nn.Conv3d(inputs, outputs, 1, stride)
    return PeriodicConv(inputs, outputs, kernel, stride)


class Residual(nn.Module):
    """x + conv(ELU(conv(ELU(x)))), (B, C, Nx, Ny, Nz); the last convolution starts at zero (identity)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.ELU(), conv(channels, channels), nn.ELU(), conv(channels, channels))
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Nx, Ny, Nz) → the same."""
        return x + self.body(x)


def down(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Strided convolution to half the grid, then residual blocks."""
    return nn.Sequential(conv(inputs, outputs, stride=2), *(Residual(outputs) for _ in range(blocks)))


class Up(nn.Sequential):
    """1×1×1 convolution, nearest upsampling to twice the grid, then residual blocks.

    The channels are reduced before the upsampling: eight times fewer multiplications than after it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Nx, Ny, Nz) → (B, C', 2Nx, 2Ny, 2Nz)."""
        if torch.is_grad_enabled() or x.device.type != "cpu" or len(self) < 3:
            return super().forward(x)
        reduce, enlarge, block, *others = self
        elu, convolve, *rest = block.body
        x = reduce(x)
        inner = convolve.doubled(elu(x))
        for layer in rest:
            inner = layer(inner)
        x = enlarge(x) + inner
        for other in others:
            x = other(x)
        return x


def up(inputs: int, outputs: int, blocks: int) -> Up:
    """From one level of the grid to the next finer one."""
    enlarge = nn.Upsample(scale_factor=2, mode="nearest")
    return Up(conv(inputs, outputs, kernel=1), enlarge, *(Residual(outputs) for _ in range(blocks)))


def to_patches(x: Tensor, patch: int) -> Tensor:
    """Blocks of patch³ voxels as channels, (B, C, p·nx, p·ny, p·nz) → (B, C·p³, nx, ny, nz)."""
    batch, channels, *grid = x.shape
    nx, ny, nz = (n // patch for n in grid)
    x = x.reshape(batch, channels, nx, patch, ny, patch, nz, patch)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, -1, nx, ny, nz)


def from_patches(x: Tensor, patch: int) -> Tensor:
    """Inverse of `to_patches`, (B, C·p³, nx, ny, nz) → (B, C, p·nx, p·ny, p·nz)."""
    x = x.unflatten(1, (-1, patch, patch, patch))
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)


class SubPixel(nn.Module):
    """Final convolution, writing the eight voxels of a coarse one: (B, C, N, …) → (B, outputs, 2N, …).

    Always in float32: with its output in bf16 the histogram loss learns several times more slowly.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv(inputs, 8 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Nx, Ny, Nz) → (B, outputs, 2Nx, 2Ny, 2Nz)."""
        with torch.autocast(x.device.type, enabled=False):
            return from_patches(self.conv(x.float()), 2)


class Standardise(nn.Module):
    """(z − mean)/std per channel, statistics running over batch (and space), so latents keep unit scale.

    Running rather than batch statistics: a decoder that must tell frames apart cannot bear the jitter that
    the mean of a small batch adds. Without any, the denoising loss would be made small by shrinking z.
    """

    def __init__(self, channels: int, momentum: float = 0.02) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        """(B, C, …) → the same; in training mode the statistics follow the batch first."""
        if self.training:
            self.update(z.detach().float())
        shape = (1, -1) + (1,) * (z.ndim - 2)
        return (z - self.mean.view(shape)) * self.var.add(1e-8).rsqrt().view(shape)

    @torch.no_grad()
    def update(self, z: Tensor) -> None:
        """Move the running statistics towards those of `z` (B, C, …); the first batches count fully."""
        over = (0, *range(2, z.ndim))
        weight = max(self.momentum, 1 / (1 + self.seen.item()))
        mean = processes.mean(z.mean(over))  # a batch may be shared by several processes
        off = z - mean.view(1, -1, *(1,) * (z.ndim - 2))
        self.mean.lerp_(mean, weight)
        self.var.lerp_(processes.mean(off.square().mean(over)), weight)
        self.seen += 1

    @torch.no_grad()
    def fix(self, standardised: Tensor) -> None:
        """Make the statistics exact, given what the present ones return for all the data (n, C, …)."""
        over = (0, *range(2, standardised.ndim))
        std = self.var.add(1e-8).sqrt()
        self.mean += standardised.mean(over) * std
        self.var.copy_(standardised.var(over, unbiased=False) * std**2)
