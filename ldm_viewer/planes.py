"""Flat cuts through a density: arrays, extents and names of axes, for docks and movies alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PLANES = ("x", "y", "z")


class Plane(NamedTuple):
    """A cut at right angles to grid axis `normal`; `across` runs to the right and `up` upwards."""

    normal: int
    across: int
    up: int

    @classmethod
    def named(cls, name: str) -> Plane:
        """Make the y–z plane from "x", the x–z plane from "y", the x–y plane from "z"."""
        if name not in PLANES:
            raise ValueError(f"plane {name!r} is not one of x, y, z")
        normal = PLANES.index(name)
        across, up = (axis for axis in range(3) if axis != normal)
        return cls(normal, across, up)

    def cut(self, density: np.ndarray, index: int) -> np.ndarray:
        """(…, Nx, Ny, Nz) → (…, across, up) at grid plane `index`, which wraps around."""
        axis = density.ndim - 3 + self.normal
        return np.take(density, index % density.shape[axis], axis=axis)

    def index(self, grid: tuple[int, int, int], position: float) -> int:
        """Grid plane nearest to a position in fractions of the cell, 0 … 1."""
        return int(round(position * grid[self.normal])) % grid[self.normal]

    def extent(self, cell: np.ndarray) -> tuple[float, float]:
        """Lengths of the cut in Å, across and up; of a slanted cell, along its lattice vectors."""
        lengths = np.linalg.norm(cell, axis=1)
        return float(lengths[self.across]), float(lengths[self.up])

    def labels(self, cell: np.ndarray) -> tuple[str, str]:
        """Names of the two axes with unit: x, y, z where the cell is a box along them, else a, b, c."""
        names = "xyz" if is_box(cell) else "abc"
        return f"{names[self.across]} (Å)", f"{names[self.up]} (Å)"


def is_box(cell: np.ndarray) -> bool:
    """Whether the lattice vectors lie along x, y and z."""
    return bool(np.allclose(cell, np.diag(np.diag(cell)), atol=1e-6 * np.abs(cell).max()))
