"""Flat cuts through a density: arrays, extents and names of axes, for docks and movies alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PLANES = ("x", "y", "z")
FINER = 4  # points per grid point in a picture


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

    def picture(self, density: np.ndarray, index: int) -> np.ndarray:
        """The cut on a finer grid, (4·across, 4·up): periodic cubic splines."""
        from scipy.ndimage import zoom

        return zoom(self.cut(density, index), FINER, order=3, mode="grid-wrap", grid_mode=True)

    def index(self, grid: tuple[int, int, int], position: float) -> int:
        """Grid plane nearest to a position in fractions of the cell, 0 … 1."""
        return int(round(position * grid[self.normal])) % grid[self.normal]

    def edges(self, cell: np.ndarray, grid: tuple[int, int, int]) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of a picture in Å: voxel 0 has its centre at 0.

        Of a slanted cell, along its lattice vectors.
        """
        lengths = np.linalg.norm(cell, axis=1)
        halves = lengths / (2 * np.asarray(grid))
        return tuple(
            float(edge)
            for axis in (self.across, self.up)
            for edge in (-halves[axis], lengths[axis] - halves[axis])
        )

    def labels(self, cell: np.ndarray) -> tuple[str, str]:
        """Names of the two axes with unit: x, y, z where the cell is a box along them, else a, b, c."""
        names = "xyz" if is_box(cell) else "abc"
        return f"{names[self.across]} (Å)", f"{names[self.up]} (Å)"


class Oblique(NamedTuple):
    """A square cut anywhere: `middle` (3,) and `side` in Å, unit vectors to the right and upwards."""

    middle: np.ndarray
    across: np.ndarray
    up: np.ndarray
    side: float

    @classmethod
    def through(cls, points: np.ndarray, cell: np.ndarray) -> Oblique:
        """The plane of three atoms (3, 3) in Å, each at its image nearest to the first, which points right.

        As wide as the shortest lattice vector. ValueError where they lie on a line.
        """
        ways = (points[1:] - points[0]) @ np.linalg.inv(cell)
        ways = (ways - np.round(ways)) @ cell
        across = ways[0] / max(np.linalg.norm(ways[0]), 1e-12)
        rest = ways[1] - (ways[1] @ across) * across
        if np.linalg.norm(rest) < 1e-3 * np.linalg.norm(cell, axis=1).min():
            raise ValueError("these three atoms lie on one line; a plane needs three that do not")
        middle = points[0] + ways.sum(axis=0) / 3
        side = float(np.linalg.norm(cell, axis=1).min())
        return cls(middle, across, rest / np.linalg.norm(rest), side)

    def picture(self, density: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """The cut, (n, n) with n four times the grid's points: periodic cubic splines."""
        from scipy.ndimage import map_coordinates

        n = FINER * max(density.shape)
        steps = ((np.arange(n) + 0.5) / n - 0.5) * self.side
        places = self.middle + steps[:, None, None] * self.across + steps[None, :, None] * self.up
        voxels = (places @ np.linalg.inv(cell)) * density.shape
        return map_coordinates(density, np.moveaxis(voxels, -1, 0), order=3, mode="grid-wrap")

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top in Å, from the middle."""
        half = self.side / 2
        return -half, half, -half, half


def is_box(cell: np.ndarray) -> bool:
    """Whether the lattice vectors lie along x, y and z."""
    return bool(np.allclose(cell, np.diag(np.diag(cell)), atol=1e-6 * np.abs(cell).max()))
