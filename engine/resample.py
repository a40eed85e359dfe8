"""Periodic fields on another grid, exactly for what both grids can carry.

A field sampled on N points of a period is a trigonometric polynomial of degree N/2; reading that polynomial
at M other points is one real (M, N) matrix per axis. Waves beyond the Nyquist wave of the coarser grid are
dropped.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=64)
def resampling_matrix(old: int, new: int) -> np.ndarray:
    """R[m, n] = (1/N) (1 + Σₖ 2wₖ cos 2πk(m/M − n/N)), k = 1 … ⌊min(N, M)/2⌋, shape (new, old).

    wₖ = 1, but the Nyquist wave of the *old* grid stands for both of its signs at once, so there w = ½.
    """
    distance = np.arange(new)[:, None] / new - np.arange(old)[None, :] / old
    matrix = np.ones_like(distance)
    for k in range(1, min(old, new) // 2 + 1):
        matrix += (1.0 if 2 * k == old else 2.0) * np.cos(2.0 * np.pi * k * distance)
    matrix /= old
    matrix.flags.writeable = False
    return matrix


def fourier_resample(field: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Band-limited change of grid, (…, Nx, Ny, Nz) → (…, *grid), same unit; float16 comes back as float32.

    Real stays real and the mean is kept. Going up and back down is the identity; going down keeps exactly the
    waves that the coarse grid can carry. Raises ValueError when `grid` is not three positive integers.
    """
    grid = tuple(int(n) for n in grid)
    if len(grid) != 3 or min(grid) < 1:
        raise ValueError(f"A grid is three positive whole numbers, not {grid}.")
    field = np.asarray(field)
    x, y, z = (resampling_matrix(old, new) for old, new in zip(field.shape[-3:], grid, strict=True))
    # stacks of small products, which BLAS does on one thread: on a busy machine its threads cost tenfold
    out = y @ (field.astype(np.float64) @ z.T)
    out = (x @ out.swapaxes(-3, -2)).swapaxes(-3, -2)
    return np.ascontiguousarray(out, dtype=np.float64 if field.dtype == np.float64 else np.float32)
