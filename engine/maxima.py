"""Density maxima: where electrons gather.

Found on the grid and placed between its points by the Fourier series.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.ndimage

from engine.reciprocal import as_frames, multiplicity


def peaks(density: np.ndarray, cell: np.ndarray, steps: int = 6) -> list[np.ndarray]:
    """Density maxima of every frame inside the cell, list of (n, 3) in Å.

    Voxels above the mean that top their 26 periodic neighbours, moved by Newton steps on the field's own
    Fourier series: exact for a band-limited field. In liquid lithium every ion has one within 0.05 Å and some
    ten weaker ones lie between the ions. A plateau counts once per voxel.
    """
    return [_frame_peaks(frame, np.asarray(cell, dtype=float), steps) for frame in as_frames(density)]


def _frame_peaks(frame: np.ndarray, cell: np.ndarray, steps: int) -> np.ndarray:
    frame = frame.astype(np.float64, copy=False)
    top = (frame == scipy.ndimage.maximum_filter(frame, size=3, mode="wrap")) & (frame > frame.mean())
    grid = np.array(frame.shape)
    start = np.argwhere(top) / grid
    if not len(start):
        return np.empty((0, 3))
    series = scipy.fft.rfftn(frame) / frame.size * multiplicity(frame.shape).reshape(*frame.shape[:2], -1)
    points = start
    for _ in range(steps):
        slope, curvature = _derivatives(series, frame.shape, points)
        scale = np.abs(curvature).max(
            axis=(1, 2), keepdims=True
        )  # keeps a flat direction from dividing by zero
        step = np.linalg.solve(curvature - 1e-9 * (scale + 1e-300) * np.eye(3), slope[..., None])[..., 0]
        points = np.clip(points - np.clip(step, -0.5 / grid, 0.5 / grid), start - 1 / grid, start + 1 / grid)
    return (points % 1.0) @ cell


def _derivatives(
    series: np.ndarray, grid: tuple[int, ...], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slope (P, 3) and curvature (P, 3, 3) of the series at fractional `points` (P, 3).

    One axis after the other.
    """
    numbers = [
        np.fft.fftfreq(grid[0], 1 / grid[0]),
        np.fft.fftfreq(grid[1], 1 / grid[1]),
        np.arange(grid[2] // 2 + 1.0),
    ]
    waves = []  # per axis (3, P, n): e^{2πi n x}, its first and its second derivative
    for axis, number in enumerate(numbers):
        number[np.abs(number) * 2 == grid[axis]] = 0  # a Nyquist wave has no known slope
        factor = 2j * np.pi * number
        waves.append(
            np.stack([np.exp(np.outer(points[:, axis], factor)) * factor**order for order in range(3)])
        )
    folded = np.einsum("xyz,opz->opxy", series, waves[2], optimize=True)

    def derivative(first: int, second: int, third: int) -> np.ndarray:
        along_y = np.einsum("pxy,py->px", folded[third], waves[1][second])
        return np.einsum("px,px->p", along_y, waves[0][first]).real

    slope = np.stack([derivative(1, 0, 0), derivative(0, 1, 0), derivative(0, 0, 1)], axis=-1)
    xy, xz, yz = derivative(1, 1, 0), derivative(1, 0, 1), derivative(0, 1, 1)
    rows = [[derivative(2, 0, 0), xy, xz], [xy, derivative(0, 2, 0), yz], [xz, yz, derivative(0, 0, 2)]]
    return slope, np.moveaxis(np.array(rows), -1, 0)
