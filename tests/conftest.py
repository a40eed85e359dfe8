"""Small real things for tests: a trajectory file with a moving wave, and an emulator with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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


@pytest.fixture
def wave_file(tmp_path: Path) -> Path:
    """40 frames every 2 fs on 8³ points, 4 Å cube."""
    return write_wave(tmp_path / "wave.h5")


@pytest.fixture(scope="session")
def tiny_emulator_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained emulator for the wave's cell and grid: the real classes, a few thousand weights."""
    import torch

    from engine.autoencoder import PooledConfig
    from engine.diffusion import DiffusionConfig
    from engine.dynamics import LatentDynamics
    from engine.emulator import save_emulator
    from engine.normalise import LogNormal
    from engine.recipes import DataConfig, Recipe

    folder = tmp_path_factory.mktemp("emulators") / "tiny"
    torch.manual_seed(0)
    recipe = Recipe(
        "tiny",
        data=DataConfig(grid=GRID),
        autoencoder=PooledConfig(channels=(4, 8), latent=4),
        diffusion=DiffusionConfig(steps=4, width=16),
    )
    card = {"data": {"cell": CELL.tolist(), "composition": {"H": 1}}}
    blocks = [np.stack([wave(STEP_FS * k) for k in range(FRAMES)])]
    save_emulator(folder, LatentDynamics(recipe), LogNormal.fit(blocks, STEP_FS), card)
    return folder
