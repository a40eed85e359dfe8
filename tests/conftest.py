"""Small real things for tests: a trajectory file with a moving wave, and an emulator with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from waves import CELL, FRAMES, GRID, STEP_FS, wave, write_wave

if TYPE_CHECKING:
    import torch
    from metronome import Metronome

    from ldm_viewer.session import Session


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
    from engine.emulator import save_emulator
    from engine.normalise import LogNormal
    from engine.pooled_dynamics import PooledDynamics
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
    save_emulator(folder, PooledDynamics(recipe), LogNormal.fit(blocks, STEP_FS), card)
    return folder


def pytest_collection_finish(session: pytest.Session) -> None:
    """Lend the device before the first gradient: torch counts devices but once."""
    if any("accelerator" in getattr(item, "fixturenames", ()) for item in session.items):
        import pretend

        pretend.lend()


@pytest.fixture
def accelerator() -> Iterator[torch.device]:
    """A device other than the processor (`tests/pretend.py`)."""
    import pretend
    import torch

    swap = torch.__future__.set_swap_module_params_on_conversion  # as on a GPU parameters stay themselves
    swap(True)
    yield pretend.lend()
    swap(False)


@pytest.fixture
def session(wave_file: Path, tiny_emulator_folder: Path) -> Iterator[Session]:
    """The wave and the tiny emulator, ready to forecast."""
    from ldm_viewer.session import Session

    session = Session()
    session.choose_emulator(tiny_emulator_folder)
    session.open_trajectory(wave_file)
    yield session
    session.close()


@pytest.fixture
def metronome(wave_file: Path, tiny_emulator_folder: Path) -> Iterator[tuple[Session, Metronome]]:
    """The same with frames that come when the test says so."""
    from metronome import Metronome

    from ldm_viewer.session import Session

    beat = Metronome()
    session = Session(beat)
    session.choose_emulator(tiny_emulator_folder)
    session.open_trajectory(wave_file)
    yield session, beat
    beat.beats.release(10_000)
    session.close()
