"""What every rival learns from: the same spans of the same file, and the same normaliser, as an emulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.dataset import Dataset, Split, split
from engine.normalise import LogNormal
from engine.provenance import describe_data
from engine.recipes import DataConfig
from engine.trajectory import Trajectory


@dataclass(frozen=True)
class Material:
    """A trajectory cut by time, on the grid of the rivals."""

    parts: Split
    normaliser: LogNormal
    cell: np.ndarray
    grid: tuple[int, int, int]
    about: dict[str, Any]

    @classmethod
    def of(cls, trajectory: Trajectory, config: DataConfig) -> Material:
        """Resample, cut and fit the normaliser to the training span. Raises ValueError for too few frames."""
        parts = split(trajectory.resampled(config.grid), config)
        normaliser = LogNormal.fit(parts.train.blocks(64), trajectory.dt_fs)
        about = describe_data(trajectory, parts)
        return cls(parts, normaliser, trajectory.cell, tuple(config.grid), about)

    def training(self, stride: int) -> Dataset:
        """Pairs of training states `stride` · δ apart."""
        return Dataset(self.parts.train, self.normaliser, stride)

    def validation(self, stride: int) -> Dataset:
        """Pairs of validation states `stride` · δ apart; ValueError where the span holds none."""
        if len(self.parts.validation) < stride + 2:
            raise ValueError(
                f"{len(self.parts.validation)} validation frames hold no pair of states {stride} apart; "
                "take a longer file or a larger data.validation_fraction"
            )
        return Dataset(self.parts.validation, self.normaliser, stride)

    @property
    def cubic(self) -> bool:
        """Whether axes may be exchanged and mirrored: a cubic cell on a cubic grid."""
        side = self.cell[0, 0]
        return len(set(self.grid)) == 1 and bool(np.allclose(self.cell, side * np.eye(3), atol=1e-6 * side))


def all_states(data: Dataset) -> Tensor:
    """Every state (T − 1, 2, Nx, Ny, Nz) of a data set, in the order of time."""
    return data.states(torch.arange(data.states_total))


def moved(states: Tensor, draws: torch.Generator, *, cubic: bool) -> Tensor:
    """The same states (B, 2, Nx, Ny, Nz) under one random roll and, in a cube, one of its 48 symmetries."""
    shifts = [int(torch.randint(n, (), generator=draws)) for n in states.shape[2:]]
    if cubic:
        states = states.permute(0, 1, *(torch.randperm(3, generator=draws) + 2).tolist())
        mirrored = [axis + 2 for axis in range(3) if torch.rand((), generator=draws) < 0.5]
        states = states.flip(mirrored)
    return states.roll(shifts, (2, 3, 4))
