"""Exact symmetries of a periodic simulation: lattice rolls and the cell's point operations (48 of a cube).

Time reversal, the third one, needs the frame after a state and is made where states are (`dataset`).
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import torch
from torch import Tensor

Operation = tuple[tuple[int, int, int], tuple[int, ...]]
"""Order of the axes, and the axes then flipped."""

TOLERANCE = 1e-3
"""Relative difference of the metric that still counts as equal: thermostats leave the cell alone."""


def operations(cell: np.ndarray, grid: tuple[int, int, int]) -> list[Operation]:
    """Signed permutations of the axes that leave cell (3, 3) and grid as they are, up to translation.

    48 of a cube, 8 or 16 of a brick, 2 (identity and inversion) of a general cell.
    """
    metric, found = cell @ cell.T, []
    for order in permutations(range(3)):
        if any(grid[a] != n for a, n in zip(order, grid, strict=True)):
            continue
        for signs in product((1, -1), repeat=3):
            turned = metric[np.ix_(order, order)] * np.outer(signs, signs)
            if np.abs(turned - metric).max() < TOLERANCE * np.abs(metric).max():
                found.append((order, tuple(axis for axis in range(3) if signs[axis] < 0)))
    return found


def apply(fields: Tensor, operation: Operation, shift: tuple[int, int, int]) -> Tensor:
    """(…, Nx, Ny, Nz) with axes reordered, flipped and rolled by `shift` voxels."""
    order, flips = operation
    lead = fields.ndim - 3
    turned = fields.permute(*range(lead), *(lead + a for a in order))
    if flips:
        turned = turned.flip([lead + a for a in flips])
    return turned.roll(shift, (-3, -2, -1))


def augment(pairs: Tensor, allowed: list[Operation], draws: torch.Generator, chunks: int = 8) -> Tensor:
    """States (n, B, 2, Nx, Ny, Nz), each of the B chains of n under one random symmetry: the same shape.

    `chunks` random symmetries serve the batch: one per chain would cost more than it teaches.
    """
    parts = []
    for part in pairs.chunk(chunks, dim=1):
        operation = allowed[int(torch.randint(len(allowed), (), generator=draws))]
        shift = tuple(int(torch.randint(n, (), generator=draws)) for n in pairs.shape[-3:])
        parts.append(apply(part, operation, shift))
    return torch.cat(parts, dim=1)
