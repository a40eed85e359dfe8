"""The reciprocal grid of a periodic cell: Fourier modes of a real field and spherical shells of wave vectors.

Fields are (T, Nx, Ny, Nz) in Å⁻³, cells (3, 3) in Å with lattice vectors as rows, wave vectors in Å⁻¹. A
real field has F(−q) = F(q)*, so only the half-space of `rfftn` is kept, and each of its vectors counts for
itself and its partner.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.sparse


def voxel_volume(grid: tuple[int, int, int], cell: np.ndarray) -> float:
    """ΔV = |det cell| / (Nx·Ny·Nz) in Å³ (S16), any periodic cell."""
    volume = abs(float(np.linalg.det(np.asarray(cell, dtype=float))))
    if volume < 1e-9:
        raise ValueError(
            f"cell {np.asarray(cell).tolist()} has no volume; three independent lattice vectors are needed"
        )
    return volume / float(np.prod(grid))


def modes(density: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """F(q) = Σ_r ρ(r) e^{−iq·r} ΔV (S16) on the half-space, (T, Nx·Ny·(Nz//2+1)) complex, electrons.

    F(0) = 0. In float32 where the density is, which takes half the time, else in float64.
    """
    density = as_frames(density)
    grid = density.shape[1:]
    kind = np.float32 if density.dtype == np.float32 else np.float64
    transform = scipy.fft.rfftn(density.astype(kind, copy=False), axes=(1, 2, 3)).reshape(len(density), -1)
    transform *= voxel_volume(grid, cell)
    transform[:, 0] = 0.0
    return transform


def as_frames(density: np.ndarray) -> np.ndarray:
    """View of `density` as (T, Nx, Ny, Nz); a single frame (Nx, Ny, Nz) becomes T = 1."""
    density = np.asarray(density)
    if density.ndim == 3:
        density = density[None]
    if density.ndim != 4:
        raise ValueError(f"density has shape {density.shape}; (T, Nx, Ny, Nz) or (Nx, Ny, Nz) is needed")
    return density


def wave_vectors(grid: tuple[int, int, int], cell: np.ndarray) -> np.ndarray:
    """Vectors q = 2π (n₁, n₂, n₃)·A⁻ᵀ of the half-space in the order of `modes`, (n, 3) in Å⁻¹."""
    counts = [
        np.fft.fftfreq(grid[0], 1 / grid[0]),
        np.fft.fftfreq(grid[1], 1 / grid[1]),
        np.arange(grid[2] // 2 + 1),
    ]
    numbers = np.stack(np.meshgrid(*counts, indexing="ij"), axis=-1).reshape(-1, 3)
    return 2 * np.pi * numbers @ np.linalg.inv(np.asarray(cell, dtype=float)).T


def multiplicity(grid: tuple[int, int, int]) -> np.ndarray:
    """How many vectors of the full grid each half-space vector stands for.

    2, or 1 on the planes n₃ = 0 and Nz/2.
    """
    weights = np.full((grid[0], grid[1], grid[2] // 2 + 1), 2.0)
    weights[..., 0] = 1.0
    if grid[2] % 2 == 0:
        weights[..., -1] = 1.0
    return weights.ravel()


class Shells:
    """Wave vectors of a grid sorted into shells low ≤ |q| < high.

    `q` (S,) is the mean |q| of a shell's members (the middle of an empty shell), `count` (S,) the number of
    vectors of the full reciprocal grid in it: N(q) of (S18). Empty shells average to NaN: a small cell has
    few wave vectors.
    """

    def __init__(self, grid: tuple[int, int, int], cell: np.ndarray, bands: np.ndarray) -> None:
        """`bands` are shell borders (S+1,) or separate shells (S, 2), in Å⁻¹."""
        bands = np.asarray(bands, dtype=float)
        bands = np.stack([bands[:-1], bands[1:]], axis=1) if bands.ndim == 1 else bands
        if (
            bands.size == 0
            or bands.shape[1:] != (2,)
            or np.any(bands[:, 1] <= bands[:, 0])
            or np.any(bands < 0)
        ):
            raise ValueError(f"shells {bands.tolist()} are not rising, non-negative borders in Å⁻¹")
        length = np.linalg.norm(wave_vectors(grid, cell), axis=1)
        inside = (length >= bands[:, :1]) & (length < bands[:, 1:]) & (length > 0)
        weights = inside * multiplicity(grid)
        self.bands = bands
        self.count = weights.sum(axis=1).astype(int)
        self.empty = self.count == 0
        share = weights / np.maximum(self.count, 1)[:, None]
        self.q = np.where(self.empty, bands.mean(axis=1), share @ length)
        self.members = np.flatnonzero(inside.any(axis=0))
        self._share = scipy.sparse.csr_array(share[:, self.members])

    def __len__(self) -> int:
        return len(self.q)

    def select(self, values: np.ndarray) -> np.ndarray:
        """The columns of (T, half-space) `values` that lie in any shell: (T, members)."""
        return values[:, self.members]

    def mean(self, selected: np.ndarray) -> np.ndarray:
        """Spherical mean (S18) of real (T, members) values over every vector of each shell.

        (T, S), NaN if empty.
        """
        averaged = (self._share @ selected.T).T
        return np.where(self.empty, np.nan, averaged)


def shells(grid: tuple[int, int, int], cell: np.ndarray, bands: np.ndarray) -> Shells:
    """The same `Shells`, remembered: a live plot asks for them with every frame."""
    bands = np.asarray(bands, dtype=float)
    cell = np.asarray(cell, dtype=float)
    return _remembered(tuple(int(n) for n in grid), cell.tobytes(), bands.tobytes(), bands.shape)


@lru_cache(maxsize=32)
def _remembered(grid: tuple[int, int, int], cell: bytes, bands: bytes, shape: tuple[int, ...]) -> Shells:
    return Shells(grid, np.frombuffer(cell).reshape(3, 3), np.frombuffer(bands).reshape(shape))
