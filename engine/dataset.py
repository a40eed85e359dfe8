"""Training data: a time span of a trajectory as normalised fields in memory, states made on demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from engine.normalise import LogNormal
from engine.recipes import DataConfig
from engine.symmetry import Operation, operations
from engine.trajectory import Trajectory


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


class Dataset:
    """Chains of `steps` + 1 states Δτ apart, held as one float32 field per frame (T, Nx, Ny, Nz).

    `symmetries` are the point operations that a training may use, none unless `symmetric`; `latents` is set
    by who encodes the states.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        normaliser: LogNormal,
        stride: int,
        symmetric: bool = False,
        steps: int = 1,
    ) -> None:
        self.normaliser, self.stride, self.steps = normaliser, stride, steps
        self.symmetries: list[Operation] = operations(trajectory.cell, trajectory.grid) if symmetric else []
        self.latents: torch.Tensor | None = None
        self.cell = trajectory.cell
        self.field = torch.from_numpy(
            np.concatenate([normaliser.forward(block) for block in trajectory.blocks(64)])
        )
        self.states_total = len(self.field) - 1
        self.chains_total = self.states_total - steps * stride

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
