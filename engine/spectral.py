"""A latent of plane waves, and a network that commutes with every motion of the crystal.

The latent is the density itself, in ρ and not in ln ρ, since it is ρ that is band-limited, with its rate,
on a coarser grid by Fourier resampling: (B, 2, N³) → (B, 2, n³). Nothing is learnt there, and any translation
of the state, also by a part of a voxel, is the same translation of the latent. The network's convolutions
depend on |q| alone: rotations and reflections come for free, and so does any other cell of the same spacing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.gated import Gated
from engine.layers import quick_bfloat16
from engine.normalise import LogNormal
from engine.radial import Closure, RadialFilter, hat_functions
from engine.resample import resampling_matrix
from engine.threads import at_once
from engine.waves import Basis, quick_basis, right_angled


@dataclass(frozen=True)
class SpectralConfig:
    """Size of the latent."""

    grid: tuple[int, int, int] = (16, 16, 16)
    """Points of the latent in the training cell: waves up to q = 5.8 Å⁻¹ along an axis for our lithium; what
    is beyond is less than 5 % of an unseen density's standard deviation."""
    closure: bool = True
    """Decode shorter waves too, as what they are on average beside the longer ones."""
    floor: float = 0.5
    """Decoded densities bend away from zero below this fraction of the smallest density seen in training."""

    @property
    def latent(self) -> int:
        """Channels: the density and its rate."""
        return 2


ENOUGH = 64
"""Frames that the closure is fitted to."""


class SpectralAutoencoder(nn.Module):
    """E: standardised ρ and ρ̇ on the coarse grid; D: back to the state (ρ̃ and its rate), positive."""

    def __init__(self, config: SpectralConfig, grid: tuple[int, int, int]) -> None:
        super().__init__()
        if any(n > m for n, m in zip(config.grid, grid, strict=True)):
            raise ValueError(f"latent grid {config.grid} must not be finer than the model's grid {grid}")
        shared = [math.gcd(n, m) for n, m in zip(config.grid, grid, strict=True)]
        self.ratio = tuple((n // g, m // g) for n, m, g in zip(config.grid, grid, shared, strict=True))
        self.unit = math.lcm(*(fine for _, fine in self.ratio))
        self.config = config
        self.register_buffer("log", torch.tensor([0.0, 1.0]))  # μ and σ of ln ρ
        self.register_buffer("step", torch.ones(()))  # one rate, times δ, in ρ̃
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("smallest", torch.tensor(1e-3))
        self.closure = Closure() if config.closure else None

    @torch.no_grad()
    def fit(self, states: Tensor, normaliser: LogNormal, cell: Tensor) -> None:
        """Take the units of `normaliser`, mean and deviations of ρ and its change over δ, and the closure.

        Rows of `cell` are the lattice vectors in Å.
        """
        self.log.copy_(torch.tensor([normaliser.mean, normaliser.std]))
        self.step.fill_(normaliser.delta_fs * normaliser.rate_std)
        density, change = self._physical(states)
        self.center.copy_(density.mean())
        self.scale.copy_(torch.stack([density.std(), change.std()]))
        self.smallest.copy_(density.min())
        if self.closure is not None:
            fields = ((density - self.center) / self.scale[0])[:: max(1, len(density) // ENOUGH)]
            fine, grid = fields.shape[1:], self.config.grid
            voxel = cell / torch.tensor(fine)[:, None]
            self.closure.fit(resample(resample(fields, grid), fine), fields, grid, voxel)

    def _physical(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """ρ(τ) and ρ(τ) − ρ(τ − δ) in Å⁻³, exactly those the states were made of."""
        now, before = states[:, 0], states[:, 0] - self.step * states[:, 1]
        density, past = (torch.exp(x * self.log[1] + self.log[0]) for x in (now, before))
        return density, density - past

    def encode(self, state: Tensor) -> Tensor:
        """Latent z = E(s), (B, 2, Nx, Ny, Nz) → (B, 2, nx, ny, nz)."""
        density, change = self._physical(state.float())
        fields = torch.stack([(density - self.center) / self.scale[0], change / self.scale[1]], dim=1)
        grid = tuple(n * a // b for n, (a, b) in zip(fields.shape[-3:], self.ratio, strict=True))
        return resample(fields, grid)

    def decode(self, latent: Tensor) -> Tensor:
        """State s̃ = D(z), (B, 2, nx, ny, nz) → (B, 2, Nx, Ny, Nz)."""
        now, change = latent.float().unbind(1)
        before = now - change * (self.scale[1] / self.scale[0])
        field, past = self._field(torch.cat([now, before])).chunk(2)
        return torch.stack([field, (field - past) / self.step], dim=1)

    def decode_field(self, latent: Tensor) -> Tensor:
        """The field ρ̃ of `decode` alone, (B, Nx, Ny, Nz), in half the time."""
        return self._field(latent[:, 0].float())

    def _field(self, coarse: Tensor) -> Tensor:
        """ρ̃ (B, Nx, Ny, Nz) of densities (B, nx, ny, nz) in latent units."""
        fine = tuple(n * b // a for n, (a, b) in zip(coarse.shape[1:], self.ratio, strict=True))
        field = resample(coarse, fine)
        if self.closure is not None:
            field = self.closure(field, tuple(coarse.shape[1:]))
        density = self._positive(field * self.scale[0] + self.center)
        return (density.log() - self.log[0]) / self.log[1]

    def _positive(self, density: Tensor) -> Tensor:
        """Above the floor the density itself, below it an exponential that joins smoothly."""
        floor = self.config.floor * self.smallest
        return torch.where(density > floor, density, floor * torch.exp(density / floor - 1).clamp(min=1e-3))


def resample(fields: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Periodic fields (…, Nx, Ny, Nz) on another grid, band-limited as `fourier_resample`, on any device."""
    kind = fields.dtype, fields.device
    x, y, z = (_matrix(old, new, *kind) for old, new in zip(fields.shape[-3:], grid, strict=True))
    out = y @ (fields @ z.T)
    return (x @ out.transpose(-3, -2)).transpose(-3, -2)


@lru_cache(maxsize=64)
def _matrix(old: int, new: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`resampling_matrix` where the fields lie."""
    return torch.tensor(resampling_matrix(old, new), dtype=dtype).to(device)


class SpectralBlock(nn.Module):
    """x + V[a ⊙ SiLU(b)], (a, b) = U·(K * x).

    Products of isotropic convolutions are enough for forces between pairs: ∇ρ·∇φ is a sum of such. Starts as
    the identity.
    """

    def __init__(self, width: int, knots: int) -> None:
        super().__init__()
        self.filter = RadialFilter(width, knots)
        self.mix = nn.Linear(2 * width, 2 * width)
        self.out = nn.Linear(width, width, bias=False)  # the next block's and the last bias do for it
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, hats: Tensor) -> Tensor:
        """(B, width, …) → (B, width, …); `hats` as in `RadialFilter`."""
        value, gate = pointwise(self.mix, self.filter(x, hats)).chunk(2, dim=1)
        inner = (value * nn.functional.silu(gate)).flatten(2)
        return torch.baddbmm(x.flatten(2), self.out.weight.expand(len(x), -1, -1), inner).view_as(x)

    def matrices(self, basis: Basis) -> tuple[Tensor, ...]:
        """Kernels, U, c and V as `Gated` takes them."""
        mix = self.mix.weight.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1)
        return self.filter.factors(basis.shares), mix, self.mix.bias, self.out.weight


def pointwise(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer over channels, (B, C, …) → (B, C', …)."""
    return torch.baddbmm(
        layer.bias.view(1, -1, 1), layer.weight.expand(len(x), -1, -1), x.flatten(2)
    ).unflatten(2, x.shape[2:])


class SpectralNet(nn.Module):
    """Blocks of isotropic spectral convolutions and pointwise products, (B, inputs, …) → (B, outputs, …)."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int, knots: int) -> None:
        super().__init__()
        self.knots = knots
        self.register_buffer("voxel", torch.eye(3))
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(SpectralBlock(width, knots) for _ in range(blocks))
        self.last = nn.Linear(width, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self._hats: dict[tuple, Tensor] = {}
        self._bases: dict[tuple, Basis | None] = {}

    def hats(self, grid: tuple[int, ...]) -> Tensor:
        """The knots' shares in the waves of a grid, made once for each place that the weights lie in."""
        key = (*grid, self.voxel.device)
        if key not in self._hats:
            self._hats[key] = hat_functions(grid, self.voxel, self.knots).to(self.voxel.device)
        return self._hats[key]

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, …) → (B, outputs, …), transforms in float32: FFTs know no shorter numbers.

        Under autocast products over channels are in bfloat16, where that is quick.
        """
        half = torch.is_autocast_enabled(x.device.type) and quick_bfloat16(x.device)
        with torch.autocast(x.device.type, enabled=False):
            x, basis = x.float(), self._basis(tuple(x.shape[2:]), half)
            if basis is not None:
                return self._in_waves(x, basis)
            hats, hidden = self.hats(tuple(x.shape[2:])), pointwise(self.first, x)
            for block in self.blocks:
                hidden = block(hidden, hats)
            return pointwise(self.last, hidden)

    def _basis(self, grid: tuple[int, ...], half: bool) -> Basis | None:
        """Real waves, where they are eigenfunctions of isotropic kernels and the quicker way."""
        hats = self.hats(grid)
        if not (half or torch.is_grad_enabled() or hats.device.type == "cpu"):
            return None  # a GPU's FFTs
        key = (*grid, hats.device, half)
        if key not in self._bases:
            right = right_angled(self.voxel)
            self._bases[key] = quick_basis(hats, self.first.out_features, half) if right else None
        return self._bases[key]

    def _in_waves(self, x: Tensor, basis: Basis) -> Tensor:
        """The same on amplitudes of waves; without gradients state by state, which then stay in cache."""
        if not torch.is_grad_enabled() and x.device.type == "cpu" and len(x) > 1:
            return torch.cat(at_once([partial(self._in_waves, state, basis) for state in x.split(1)]))
        learning = torch.is_grad_enabled()
        multiple = 1 if learning else basis.multiple
        fields = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).movedim(1, -1).flatten(0, 3)
        first = torch.cat([self.first.weight, self.first.bias[:, None]], dim=1)
        hidden = basis.to_waves(_filled(fields, multiple)) @ _filled(first, multiple).T
        for block in self.blocks:
            step = partial(Gated.apply, basis) if learning else basis.block
            hidden = step(hidden, *block.matrices(basis))
        fields = basis.to_points(hidden @ _filled(self.last.weight.T, multiple))
        fields = fields[:, : self.last.out_features] + self.last.bias
        return fields.view(len(x), *basis.grid, -1).movedim(-1, 1)


def _filled(x: Tensor, multiple: int) -> Tensor:
    """Zeros behind the columns of x, up to a multiple of so many."""
    return functional.pad(x, (0, -x.shape[1] % multiple))
