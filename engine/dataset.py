"""Training data: a time span of a trajectory as normalised fields, states made on demand.

Fields of all frames lie in memory, on the device of the training, up to `IN_MEMORY`; more lie in a file of
their own, from which a step reads the frames it needs: memory does not grow with the trajectory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from engine import processes
from engine.normalise import LogNormal
from engine.recipes import DataConfig
from engine.symmetry import Operation, operations
from engine.trajectory import Trajectory

IN_MEMORY = 2**30
"""Bytes of fields that are held in memory."""
BLOCK = 2**20
"""Voxels that are worked on at once where all frames are gone through."""


@dataclass(frozen=True)
class Split:
    """Consecutive, disjoint time spans of one trajectory; training never sees what comes after it."""

    train: Trajectory
    validation: Trajectory
    test: Trajectory


def split(trajectory: Trajectory, config: DataConfig) -> Split:
    """Cut by time as in the paper: the first part trains, the last is unseen (Appendix A.1).

    Raises ValueError when the training span cannot hold a single pair of states.
    """
    frames, times = len(trajectory), trajectory.times_fs
    begin = int(np.searchsorted(times, times[0] + config.equilibration_fs))
    end = round(frames * config.train_fraction)
    inner = end - round((end - begin) * config.validation_fraction)
    if inner - begin < config.stride + 2:
        raise ValueError(
            f"{frames} frames leave {inner - begin} for training after {config.equilibration_fs:g} fs of "
            f"equilibration; a stride of {config.stride} needs at least {config.stride + 2}"
        )
    return Split(trajectory[begin:inner], trajectory[inner:end], trajectory[end:])


class StoredFields:
    """Fields (T, Nx, Ny, Nz) in a file of raw float32, indexed like a tensor by a tensor.

    They are read, not mapped: mapped pages would count as memory of the process.
    """

    def __init__(self, file: BinaryIO, frames: int, grid: tuple[int, int, int]) -> None:
        self.file, self.frames, self.grid = file, frames, grid

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        """Fields (*index.shape, Nx, Ny, Nz)."""
        out = np.empty((index.numel(), *self.grid), dtype=np.float32)
        for row, frame in zip(out, index.flatten().tolist(), strict=True):
            if (
                os.preadv(self.file.fileno(), [row.reshape(-1).view(np.uint8)], frame * row.nbytes)
                < row.nbytes
            ):
                raise OSError(f"{self.file.name}, which holds the training frames, has become shorter")
        return torch.from_numpy(out).view(*index.shape, *self.grid)


def frames_at_once(grid: tuple[int, int, int]) -> int:
    """Frames that are worked on together where all are gone through."""
    return max(1, min(64, BLOCK // int(np.prod(grid))))


class Dataset:
    """Chains of `steps` + 1 states Δτ apart, held as one float32 field per frame (T, Nx, Ny, Nz).

    Fields that are more than `IN_MEMORY` go to `store`, a file that is gone with the process. `symmetries`
    are the point operations that a training may use, none unless `symmetric`; `latents` is set by who encodes
    the states.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        normaliser: LogNormal,
        stride: int,
        symmetric: bool = False,
        steps: int = 1,
        store: Path | None = None,
    ) -> None:
        self.normaliser, self.stride, self.steps = normaliser, stride, steps
        self.symmetries: list[Operation] = operations(trajectory.cell, trajectory.grid) if symmetric else []
        self.latents: torch.Tensor | None = None
        self.cell = trajectory.cell
        blocks = map(normaliser.forward, trajectory.blocks(frames_at_once(trajectory.grid)))
        size = 4 * len(trajectory) * int(np.prod(trajectory.grid))
        if store is None or size <= IN_MEMORY:
            self.field: torch.Tensor | StoredFields = torch.from_numpy(np.concatenate(list(blocks)))
        else:
            file = processes.written_once(store, lambda out: out.writelines(block.data for block in blocks))
            self.field = StoredFields(file, len(trajectory), trajectory.grid)
        self.states_total = len(self.field) - 1
        self.chains_total = self.states_total - steps * stride

    def to(self, device: torch.device) -> None:
        """Move what lies in memory to a device."""
        if isinstance(self.field, torch.Tensor):
            self.field = self.field.to(device)

    def blocks(self) -> Iterator[torch.Tensor]:
        """All fields in order, some frames at a time."""
        for index in torch.arange(len(self.field)).split(64):
            yield self.field[index]

    def states(self, index: torch.Tensor) -> torch.Tensor:
        """States (B, 2, Nx, Ny, Nz) of frames index + 1, since the first frame has no past (S8)."""
        return self._states(index + 1, index)

    def chains(self, index: torch.Tensor, back: torch.Tensor | None = None) -> torch.Tensor:
        """(steps + 1, B, 2, Nx, Ny, Nz): the states at `index` and those Δτ, 2Δτ … later.

        Where `back` (B,) is true, time runs backwards through the same frames: a state's past is then the
        frame that follows it.
        """
        steps = self.stride * torch.arange(self.steps + 1)[:, None]
        current, past = index + steps + 1, index + steps
        if back is not None:
            # the reversed film meets the same frames from last to first
            current, past = torch.where(back, past.flip(0), current), torch.where(back, current.flip(0), past)
        return self._states(current.flatten(), past.flatten()).unflatten(0, (self.steps + 1, -1))

    def _states(self, current: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        field = self.field[current]
        return torch.stack([field, self.normaliser.rate(self.field[past], field)], dim=1)
