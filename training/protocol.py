"""What a judgement consists of: the protocol, what a forecaster must offer, the truth it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from engine.observables import LAGS_FS
from engine.recorder import Record, Recorder
from engine.trajectory import Trajectory


@dataclass(frozen=True)
class Protocol:
    """How a forecast is judged."""

    starts: int = 16
    """Start frames, spread evenly over the unseen data; the same times for every forecaster."""
    members: int = 16
    """Members per start frame; VRMSE is that of one member, and of the ensemble mean beside it."""
    lead_times_fs: tuple[float, ...] = (2.0, 10.0, 20.0, 50.0, 100.0, 200.0, 300.0)
    """Lead times; a forecaster answers at those that are multiples of its step."""
    free_frames: int = 10_000
    """Frames of the free run, at the forecaster's step."""
    truth_frames: int = 10_000
    """At most as many frames of the truth, the first unseen ones, and of the AIMD that gives the floor: what
    is remembered of each takes 6 kB."""
    compared_frames: int = 64
    """Frames of the free run, and of the truth, that are compared with every training frame."""
    symmetric_frames: int = 16
    """How many of them are compared with all symmetry copies of training frames too; 0 leaves that out."""
    symmetric_training_frames: int = 200
    """At most as many training frames, evenly spread, stand for all of them there: 48 operations are dear."""
    autoencoder_frames: int = 400
    """At most as many unseen frames, a step apart, go through the autoencoder and back."""
    slice_times_fs: tuple[float, ...] = (2.0, 20.0, 50.0, 100.0, 200.0, 400.0)
    """Times of the free run whose middle plane is kept for the figures."""
    seed: int = 0
    """Seed of the noise: the free run draws from it, start frame number n from seed + 1 + n."""


QUICK = Protocol(starts=8, members=4, free_frames=2000, symmetric_frames=0, autoencoder_frames=64)
"""A look within minutes: too few members for spread–skill, too few frames for the comparison of tenths."""


class Forecaster(Interface):
    """What is judged: an `Emulator`, or anything that `engine.rollout.rollout` can drive as one.

    Latents are tensors (B, …) of any shape. An attribute `history` (1 where missing) says how many frames
    before the start its state needs.
    """

    name: str
    card: dict[str, Any]  # {} will do; `data` holds the spans it has seen, train_fs and validation_fs
    grid: tuple[int, int, int]
    stride: int  # stored frames per step
    delta_fs: float  # time between stored frames
    dt_fs: float  # its step, stride · delta_fs
    normaliser: Any  # with `mean` and `std` of ln ρ

    def adapt(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory on its grid, a frame every `delta_fs`; IncompatibleError in words."""
        ...

    def initial_state(self, trajectory: Trajectory, start: int) -> Tensor:
        """State (1, …) of frame `start` of an adapted trajectory; IncompatibleError with too little past."""
        ...

    def encode(self, states: Tensor) -> Tensor:
        """States (B, …) → latents (B, …)."""
        ...

    def advance(self, latents: Tensor, streams: list[torch.Generator]) -> Tensor:
        """One step Δτ of all members, latents (K, …); member k draws from `streams[k]`."""
        ...

    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents (B, …) → densities (B, Nx, Ny, Nz) in Å⁻³."""
        ...


def history(forecaster: Forecaster) -> int:
    """Frames before the start that its state needs."""
    return int(getattr(forecaster, "history", 1))


@dataclass(frozen=True)
class Progress:
    """What the judge is at: `done` of `total` frames of `stage` for `name`."""

    name: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Bench:
    """The truth on the grid of one forecaster, with the frames to start from."""

    truth: Trajectory
    record: Record
    starts: np.ndarray  # (S,) frames of `truth`
    leads_fs: tuple[float, ...]  # those of the protocol that the forecast's step and the truth's length allow
    dt_fs: float  # step of the forecast

    def at(self, start: int, lead_fs: float) -> np.ndarray:
        """The true density `lead_fs` after a start frame, (Nx, Ny, Nz) in Å⁻³."""
        return self.truth.density(int(start) + round(lead_fs / self.truth.dt_fs))

    def recorder(self) -> Recorder:
        """An empty recorder for a run at the forecast's step, on the truth's bins."""
        return Recorder(self.truth.grid, self.truth.cell, self.dt_fs, self.record.bins)

    def lags_fs(self, frames: int | None = None) -> np.ndarray:
        """Lags of F(q,t) that the forecast's step hits and that truth and a run of `frames` can average."""
        span = (len(self.record) - 1) * self.record.dt_fs
        span = span if frames is None else min(span, (frames - 1) * self.dt_fs)
        return np.array([t for t in LAGS_FS[1:] if whole(t, self.dt_fs) and t <= 0.8 * span])


def whole(duration_fs: float, step_fs: float) -> bool:
    """Whether a duration is a positive multiple of a step."""
    ratio = duration_fs / step_fs
    return round(ratio) >= 1 and abs(ratio - round(ratio)) < 1e-6


def middle_plane(density: np.ndarray) -> np.ndarray:
    """The middle plane along x of (Nx, Ny, Nz), as in Figure 2: (Ny, Nz)."""
    return np.array(density[density.shape[0] // 2])
