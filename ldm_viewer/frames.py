"""Densities on a regular time axis, as the viewer shows them.

A `Series` pairs an array-like (T, Nx, Ny, Nz) in Å⁻³ with its times in fs. Truth is read from its file
frame by frame (`LazyFrames`), a forecast is the written part of its buffer: both answer the same questions.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.formats import read_volume

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from engine.trajectory import Trajectory

CACHE_BYTES = 64 * 2**20  # scrubbing back and forth then reads nothing, and a 10 GB file costs no more


class FrameWise:
    """An array-like (T, Nx, Ny, Nz) whose frames are made when they are asked for."""

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def frame(self, index: int) -> np.ndarray:
        """One frame, (Nx, Ny, Nz) float32 in Å⁻³, for 0 ≤ index < T."""
        raise NotImplementedError

    def __getitem__(self, key: Any) -> np.ndarray:
        """Numpy's indexing, with one frame made per time that the first index names."""
        key = key if isinstance(key, tuple) else (key,)
        times = np.arange(len(self))[key[0]] if key and key[0] is not Ellipsis else np.arange(len(self))
        rest = key[1:] if key and key[0] is not Ellipsis else key
        if np.ndim(times) == 0:
            return self.frame(int(times))[rest]
        if len(times) == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        return np.stack([self.frame(int(time))[rest] for time in times])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


class LazyFrames(FrameWise):
    """Density of a trajectory, read when indexed; recent frames are kept."""

    def __init__(self, trajectory: Trajectory) -> None:
        super().__init__((len(trajectory), *trajectory.grid))
        self._trajectory = trajectory
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._keep = max(2, CACHE_BYTES // (4 * int(np.prod(trajectory.grid))))
        self._lock = threading.Lock()  # the docks compute beside the GUI thread

    def frame(self, index: int) -> np.ndarray:
        """One frame, read or remembered."""
        with self._lock:
            if index not in self._kept:
                self._kept[index] = np.asarray(self._trajectory.density(index), dtype=self.dtype)
                while len(self._kept) > self._keep:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(index)
            return self._kept[index]


class FileFrames(FrameWise):
    """A series of single files, each read when its frame is asked for; all on the grid of the `first`."""

    def __init__(self, files: Sequence[Path], first: np.ndarray) -> None:
        super().__init__((len(files), *first.shape))
        self._files = tuple(files)
        self._kept = {0: np.asarray(first, self.dtype)}

    def frame(self, index: int) -> np.ndarray:
        """One frame, read or remembered. TrajectoryError in words."""
        if index not in self._kept:
            if len(self._kept) * self._kept[0].nbytes > CACHE_BYTES:
                self._kept = {0: self._kept[0]}
            self._kept[index] = np.asarray(read_volume(self._files[index]).density, self.dtype)
        return self._kept[index]


class GrowingFrames:
    """A buffer (T, K, Nx, Ny, Nz) of K members that a worker fills; its shape is final from the start."""

    def __init__(self, buffer: np.ndarray) -> None:
        self.buffer = buffer
        self.latents: list[Any] = []  # of each frame, to go on from it
        self.ready = 0
        self.empty = np.full(buffer.shape[2:], np.nan, np.float32)

    def __len__(self) -> int:
        return len(self.buffer)

    @property
    def members(self) -> int:
        """Members of the ensemble."""
        return self.buffer.shape[1]

    def append(self, frame: np.ndarray, latents: Any = None) -> None:
        """Write the next frame (K, Nx, Ny, Nz), then count it: a reader never sees half of one."""
        self.buffer[self.ready] = frame
        self.latents.append(latents)
        self.ready += 1


class MemberFrames(FrameWise):
    """One member of a forecast, or with None the ensemble's mean; frames not ready read as NaN: not drawn.

    `length` cuts off what was not ready at some moment.
    """

    def __init__(self, film: GrowingFrames, member: int | None, length: int | None = None) -> None:
        super().__init__((len(film) if length is None else length, *film.buffer.shape[2:]))
        self._film, self._member = film, member

    def frame(self, index: int) -> np.ndarray:
        """The member's field, or the mean."""
        if index >= self._film.ready:
            return self._film.empty
        if self._member is None:
            return self._film.buffer[index].mean(axis=0)
        return self._film.buffer[index, self._member]


class SpreadFrames(FrameWise):
    """Standard deviation over the members of a forecast (divisor K − 1), in Å⁻³; NaN where not ready."""

    def __init__(self, film: GrowingFrames) -> None:
        super().__init__((len(film), *film.buffer.shape[2:]))
        self._film = film

    def frame(self, index: int) -> np.ndarray:
        """The spread of one moment."""
        if index >= self._film.ready:
            return self._film.empty
        return self._film.buffer[index].std(axis=0, ddof=1)


class DifferenceFrames(FrameWise):
    """Forecast − truth at the forecast's times, whatever the truth's step; NaN where either is missing."""

    def __init__(self, forecast: Series, truth: Series) -> None:
        super().__init__(forecast.frames.shape)
        self._forecast, self._truth = forecast, truth

    def frame(self, index: int) -> np.ndarray:
        """The difference of one moment."""
        forecast = self._forecast.frames.frame(index)
        truth = self._truth.at(self._forecast.time_at(index))
        return np.full(forecast.shape, np.nan, np.float32) if truth is None else forecast - truth


class RepeatedFrames(FrameWise):
    """Frames with their periodic images, `repeats` cells along each axis."""

    def __init__(self, frames: Any, repeats: int) -> None:
        super().__init__((len(frames), *(repeats * n for n in frames.shape[1:])))
        self._frames, self._repeats = frames, repeats

    def frame(self, index: int) -> np.ndarray:
        """One frame, repeated."""
        return np.tile(np.asarray(self._frames[index]), (self._repeats,) * 3)


@dataclass(frozen=True, eq=False)
class Series:
    """Frames (T, Nx, Ny, Nz) in Å⁻³, frame i at start_fs + i·step_fs; cell rows: lattice vectors, Å."""

    frames: Any
    start_fs: float
    step_fs: float
    cell: np.ndarray

    def __len__(self) -> int:
        return self.frames.shape[0]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Grid points along the three lattice vectors."""
        return tuple(self.frames.shape[1:])

    @property
    def end_fs(self) -> float:
        """Time of the last frame."""
        return self.time_at(len(self) - 1)

    def time_at(self, index: int) -> float:
        """Time of frame `index` in fs."""
        return self.start_fs + index * self.step_fs

    def index_at(self, time_fs: float) -> int | None:
        """The frame nearest to a time, or None half a step and more outside."""
        index = int(np.floor((time_fs - self.start_fs) / self.step_fs + 0.5))
        return index if 0 <= index < len(self) else None

    def at(self, time_fs: float) -> np.ndarray | None:
        """Density (Nx, Ny, Nz) at the frame nearest to a time, or None outside."""
        index = self.index_at(time_fs)
        return None if index is None else np.asarray(self.frames[index])

    def repeated(self, repeats: int) -> Series:
        """The same with its periodic images, `repeats` cells along each lattice vector."""
        if repeats == 1:
            return self
        return replace(self, frames=RepeatedFrames(self.frames, repeats), cell=repeats * self.cell)

    @classmethod
    def of(cls, trajectory: Trajectory) -> Series:
        """The series of a trajectory: nothing is read yet."""
        return cls(LazyFrames(trajectory), float(trajectory.times_fs[0]), trajectory.dt_fs, trajectory.cell)


def shared_limits(series: Series, samples: int = 6) -> tuple[float, float]:
    """Display limits (low, high) in Å⁻³: percentiles 0.1 and 99.9 over a few evenly spaced frames.

    One pair serves truth and forecast in every view, so that equal colours mean equal densities.
    """
    picks = np.unique(np.linspace(0, len(series) - 1, samples).astype(int))
    low, high = np.percentile([series.frames[int(pick)] for pick in picks], (0.1, 99.9))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1e-6)
