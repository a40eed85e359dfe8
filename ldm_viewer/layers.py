"""From a `Series` to what napari draws.

Arrays are (T, Nx, Ny, Nz); napari's axes are (time, z, y, x), so that a 2-D view shows x to the right and y
upwards, and the slider beside time runs through z. World coordinates are fs and Å.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.palette import FIELD_COLORMAP
from ldm_viewer.frames import Series, shared_limits

AXES = ("time", "z", "y", "x")
UNITS = ("fs", "angstrom", "angstrom", "angstrom")


class ReversedFrames:
    """Frames (T, Nx, Ny, Nz) seen as (T, Nz, Ny, Nx), without a copy; what napari takes for an array."""

    ndim = 4

    def __init__(self, frames: Any) -> None:
        self.frames = frames
        time, nx, ny, nz = frames.shape
        self.shape = (time, nz, ny, nx)
        self.dtype = np.dtype(frames.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in [k for k in key if not isinstance(k, np.ndarray)]:
            at = next(i for i, k in enumerate(key) if k is Ellipsis)
            key = (*key[:at], *[slice(None)] * (4 - len(key) + 1), *key[at + 1 :])
        picked = np.asarray(self.frames[key[0] if key else slice(None)])
        swapped = np.swapaxes(picked, -1, -3)
        return swapped[(slice(None),) * (swapped.ndim - 3) + key[1:]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


def placement(series: Series) -> dict[str, Any]:
    """`scale`, `translate` and `affine` from voxels to world coordinates (fs, Å, Å, Å); any cell."""
    lengths = np.linalg.norm(series.cell, axis=1)
    spacing = (lengths / series.grid)[::-1]
    directions = (series.cell / lengths[:, None])[::-1, ::-1]  # rows and components in the order z, y, x
    affine = np.eye(5)
    affine[1:4, 1:4] = directions.T
    return {
        "scale": (series.step_fs, *spacing),
        "translate": (series.start_fs, 0.0, 0.0, 0.0),
        "affine": affine,
    }


def cell_of(grid: tuple[int, int, int], scale: Any, affine: Any) -> np.ndarray:
    """Lattice vectors (3, 3) in Å as rows of a layer of `grid` (Nx, Ny, Nz): the inverse of `placement`."""
    lengths = np.asarray(scale, dtype=float)[-3:][::-1] * grid
    directions = np.asarray(affine, dtype=float)[-4:-1, -4:-1].T[::-1, ::-1]
    return directions * lengths[:, None]


def scattered(positions: np.ndarray, cell: np.ndarray, repeats: int) -> np.ndarray:
    """Atoms (N, 3) in Å as napari's points (N·repeats³, 3) in z, y, x, moved into the cell and repeated."""
    inside = (positions @ np.linalg.inv(cell)) % 1.0
    images = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    return ((inside + images).reshape(-1, 3) @ cell)[:, ::-1]


def image(series: Series, name: str, limits: tuple[float, float], **more: Any) -> dict[str, Any]:
    """Arguments of `viewer.add_image` for a series; limits in Å⁻³."""
    return {
        "data": ReversedFrames(series.frames),
        "name": name,
        "axis_labels": AXES,
        "units": UNITS,
        "contrast_limits": limits,
        "colormap": FIELD_COLORMAP,
        **placement(series),
        **more,
    }


def still(density: np.ndarray, cell: np.ndarray, name: str) -> dict[str, Any]:
    """Arguments of `viewer.add_image` for one density (Nx, Ny, Nz) in Å⁻³ without a time."""
    series = Series(density[None], 0.0, 1.0, cell)
    described = image(series, name, shared_limits(series), data=np.asarray(density).transpose(2, 1, 0))
    for key in ("axis_labels", "units", "scale", "translate"):
        described[key] = described[key][1:]
    return {**described, "affine": described["affine"][1:, 1:]}
