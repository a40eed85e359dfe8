"""Densities on a regular time axis, as the viewer shows them.

A `Series` pairs an array-like (T, Nx, Ny, Nz) in Å⁻³ with its times in fs. Truth is read from its file
frame by frame (`LazyFrames`), a forecast is the written part of its buffer: both answer the same questions.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from engine.trajectory import Trajectory

CACHE_BYTES = 64 * 2**20  # scrubbing back and forth then reads nothing, and a 10 GB file costs no more


class LazyFrames:
    """Density of a trajectory as an array-like (T, Nx, Ny, Nz), read when indexed; recent frames are kept."""

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, trajectory: Trajectory) -> None:
        self.shape = (len(trajectory), *trajectory.grid)
        self._trajectory = trajectory
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._keep = max(2, CACHE_BYTES // (4 * int(np.prod(trajectory.grid))))
        self._lock = threading.Lock()  # the docks compute beside the GUI thread

    def __len__(self) -> int:
        return self.shape[0]

    def frame(self, index: int) -> np.ndarray:
        """One frame, (Nx, Ny, Nz) float32 in Å⁻³."""
        with self._lock:
            if index not in self._kept:
                self._kept[index] = np.asarray(self._trajectory.density(index), dtype=self.dtype)
                while len(self._kept) > self._keep:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(index)
            return self._kept[index]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Numpy's indexing, with one read per frame that the first index names."""
        key = key if isinstance(key, tuple) else (key,)
        times = np.arange(len(self))[key[0]] if key and key[0] is not Ellipsis else np.arange(len(self))
        rest = key[1:] if key and key[0] is not Ellipsis else key
        if np.ndim(times) == 0:
            return self.frame(int(times))[rest]
        if len(times) == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        return np.stack([self.frame(int(time))[rest] for time in times])


class GrowingFrames:
    """A buffer (T, Nx, Ny, Nz) that a worker fills; frames from `ready` on read as NaN: nothing drawn.

    Its shape is final from the start, so that a view of it is set up once.
    """

    ndim = 4

    def __init__(self, buffer: np.ndarray) -> None:
        self.buffer, self.shape, self.dtype = buffer, buffer.shape, buffer.dtype
        self.ready = 0
        self._empty = np.full(buffer.shape[1:], np.nan, buffer.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def append(self, frame: np.ndarray) -> None:
        """Write the next frame, then count it: a reader never sees half of one."""
        self.buffer[self.ready] = frame
        self.ready += 1

    def __getitem__(self, key: Any) -> np.ndarray:
        key = key if isinstance(key, tuple) else (key,)
        times = np.arange(len(self))[key[0]]
        if np.ndim(times) == 0:
            return (self.buffer[times] if times < self.ready else self._empty)[key[1:]]
        return np.stack([self[(int(time), *key[1:])] for time in times])


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
