"""A trajectory whose every value is known: a wave that moves along x over a wave at rest along y."""

from __future__ import annotations

from pathlib import Path

import numpy as np

GRID = (8, 8, 8)
CELL = np.diag([4.0, 4.0, 4.0])
STEP_FS = 2.0
FRAMES = 40


def wave(time_fs: float, grid: tuple[int, int, int] = GRID) -> np.ndarray:
    """ρ = 0.05 (1 + 0.4 cos 2π(x − t/100 fs) + 0.2 cos 2πy), (Nx, Ny, Nz) in Å⁻³."""
    x, y, _ = np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij")
    return 0.05 * (1 + 0.4 * np.cos(2 * np.pi * (x - time_fs / 100)) + 0.2 * np.cos(2 * np.pi * y))


def write_wave(
    path: Path, *, cell: np.ndarray = CELL, frames: int = FRAMES, step_fs: float = STEP_FS
) -> Path:
    """A trajectory file of the wave, hydrogen at the corner."""
    from engine.trajectory import TrajectoryWriter

    with TrajectoryWriter(path, grid=GRID, cell=cell, species=[1], dtype="float32") as writer:
        for time_fs in step_fs * np.arange(frames):
            writer.append(wave(time_fs), time_fs=float(time_fs))
    return path
