"""What every rival learns from: the same spans of the same file, and the same normaliser, as an emulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.dataset import Split, split
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

    def training(self) -> Tensor:
        """All training states (n, 2, Nx, Ny, Nz) in the order of time, δ apart."""
        return self._states(self.parts.train)

    def validation(self, stride: int) -> Tensor:
        """All validation states likewise; ValueError where no two are `stride` · δ apart."""
        if len(self.parts.validation) < stride + 2:
            raise ValueError(
                f"{len(self.parts.validation)} validation frames hold no pair of states {stride} apart; "
                "take a longer file or a larger data.validation_fraction"
            )
        return self._states(self.parts.validation)

    def _states(self, part: Trajectory) -> Tensor:
        fields = np.concatenate([self.normaliser.forward(block) for block in part.blocks(64)])
        rates = self.normaliser.rate(fields[:-1], fields[1:])
        return torch.from_numpy(np.stack([fields[1:], rates], axis=1))
