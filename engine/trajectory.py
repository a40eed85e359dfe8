"""A trajectory of the electron density: frames of ρ(r) in Å⁻³ on a periodic grid, with the ions where known.

`Trajectory` is a lazy, immutable view of an H5MD file: opening it reads metadata; slicing, resampling and
cutting read nothing; density is read frame by frame when it is asked for.
    T frames, K members of an ensemble, N ions, grid (Nx, Ny, Nz); rows of the cell are lattice vectors in Å
"""

from __future__ import annotations

import copy
import hashlib
import operator
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from engine.elements import composition, formula
from engine.h5md import IONS, Source, TrajectoryError, uniform_step
from engine.resample import fourier_resample
from engine.trajectory_writer import TrajectoryWriter, copy_trajectory

__all__ = ["Trajectory", "TrajectoryError", "TrajectoryWriter", "fourier_resample"]

TIME_SLACK_FS = 1e-6  # rounding of a stored time must not move a frame across a cut

Index = int | slice | Sequence[int] | np.ndarray


class Trajectory:
    """An immutable, lazy view of an H5MD density trajectory: opening reads metadata, density comes per frame.

    Views made by slicing, `between`, `resampled` and `at_member` share one open file. It may be read from any
    thread, pickled, and used in a forked process.
    """

    def __init__(self, path: str | Path, *, member: int | None = None, field: str = "density") -> None:
        """Open `path`; `member` picks one of an ensemble, `field` may be "density_all_electron".

        Raises TrajectoryError for what is no HDF5, truncated, foreign, not periodic or inconsistent.
        """
        self._source = Source(Path(path), field)
        self._frames = range(self._source.frames)
        self._member: int | None = None
        self._grids: tuple[tuple[int, int, int], ...] = (self._source.grid,)
        if member is not None:
            self._member = self._checked_member(member)

    def __repr__(self) -> str:
        """Li32, 1708 frames of 32 × 32 × 32, 0–3414 fs."""
        span = f", {self.times_fs[0]:g}–{self.times_fs[-1]:g} fs" if len(self) else ""
        ensemble = f", {self.members} members" if self.members > 1 else ""
        grid = " × ".join(map(str, self.grid))
        return f"<Trajectory {self.path.name}: {self.formula}, {len(self)} frames of {grid}{ensemble}{span}>"

    def __enter__(self) -> Self:
        """The trajectory itself; leaving the block closes its file."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file that this view and all its relatives read from."""
        self._source.close()

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._source.path

    def __len__(self) -> int:
        """Number of frames T of this view."""
        return len(self._frames)

    @property
    def grid(self) -> tuple[int, int, int]:
        """(Nx, Ny, Nz) of this view, after resampling."""
        return self._grids[-1]

    @property
    def members(self) -> int:
        """1, or K when the file holds an ensemble and no member of it was chosen."""
        return 1 if self._source.members is None or self._member is not None else self._source.members

    @property
    def is_ensemble(self) -> bool:
        """Whether `density` has a member axis: the file holds an ensemble and no member of it was chosen."""
        return self._source.members is not None and self._member is None

    @property
    def times_fs(self) -> np.ndarray:
        """Times of the frames in fs, (T,)."""
        frames = self._frames
        return self._source.times_fs[frames.start : frames.stop : frames.step].copy()

    @property
    def dt_fs(self) -> float:
        """Uniform time between frames in fs; raises TrajectoryError when there is no such thing."""
        return uniform_step(self.times_fs, self.path.name)

    @property
    def cell(self) -> np.ndarray:
        """Lattice vectors in Å as rows, (3, 3)."""
        return self._source.cell.copy()

    @property
    def species(self) -> np.ndarray | None:
        """Atomic numbers, (N,), or None when the ions are not known."""
        return None if self._source.species is None else self._source.species.copy()

    @property
    def composition(self) -> dict[str, int] | None:
        """{"Li": 32}, or None when the ions are not known."""
        return None if self._source.species is None else composition(self._source.species)

    @property
    def formula(self) -> str:
        """Li32, or "unknown" without ions."""
        return formula(self.composition)

    @property
    def parameters(self) -> dict[str, Any]:
        """Provenance: code, version, functional, cutoff, k-points, thermostat, seed, which density."""
        return copy.deepcopy(self._source.parameters)

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names that `scalar` knows in this file."""
        return self._source.scalars

    def unit(self, name: str) -> str:
        """Unit of a scalar, "" where the file does not say."""
        return self._source.unit(name)

    @property
    def storage(self) -> str:
        """Number type on disk, "float16" or "float32"."""
        return self._source.dtype

    def density(self, index: Index = slice(None)) -> np.ndarray:
        """ρ in Å⁻³ as float32: (n, Nx, Ny, Nz), without n for one frame; (n, K, Nx, Ny, Nz) of an ensemble.

        Raises TrajectoryError for a frame that cannot be read or holds anything but positive, finite numbers.
        """
        chosen = self._chosen(index)
        if isinstance(chosen, int):
            return self._frame(chosen)
        shape = (self.members, *self.grid) if self.is_ensemble else self.grid
        out = np.empty((len(chosen), *shape), dtype=np.float32)
        for row, frame in enumerate(chosen):
            out[row] = self._frame(frame)
        return out

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """All densities in order, at most `size` frames at a time, so that memory stays flat."""
        for start in range(0, len(self), _positive(size, "block size")):
            yield self.density(slice(start, start + size))

    def positions(self, index: Index = slice(None)) -> np.ndarray | None:
        """Positions of the ions in Å, (n, N, 3), or None."""
        return self._ions("position", index)

    def velocities(self, index: Index = slice(None)) -> np.ndarray | None:
        """Velocities of the ions in Å/fs, (n, N, 3), or None."""
        return self._ions("velocity", index)

    def forces(self, index: Index = slice(None)) -> np.ndarray | None:
        """Forces on the ions in eV/Å, (n, N, 3), or None."""
        return self._ions("force", index)

    def scalar(self, name: str) -> np.ndarray | None:
        """One number per frame, (T,): "temperature" in K, "potential_energy" in eV, …, or None."""
        return self._source.series(f"observables/{name}", self._frames) if name in self.scalars else None

    def __getitem__(self, frames: slice) -> Trajectory:
        """A sub-range or stride of the frames, lazily, forward in time. One frame is `density(i)`."""
        if not isinstance(frames, slice):
            raise TypeError(
                f"A trajectory is sliced, as in trajectory[10:20]; frame {frames} is density({frames})."
            )
        if frames.step is not None and frames.step < 1:
            raise TrajectoryError(
                f"The step of a slice must be 1 or more, not {frames.step}: time runs forward."
            )
        return self._view(_frames=self._frames[frames])

    def between(self, start_fs: float, stop_fs: float) -> Trajectory:
        """Frames with start_fs ≤ time < stop_fs."""
        edges = np.array([start_fs, stop_fs], dtype=np.float64) - TIME_SLACK_FS
        first, last = np.searchsorted(self.times_fs, edges, side="left")
        return self[int(first) : int(last)]

    def resampled(self, grid: Sequence[int]) -> Trajectory:
        """The same field on another grid, by Fourier resampling of each frame as it is read."""
        grid = tuple(operator.index(n) for n in grid)
        if len(grid) != 3 or min(grid) < 2:
            raise TrajectoryError(f"A grid is three whole numbers of at least 2, not {grid}.")
        return self if grid == self.grid else self._view(_grids=(*self._grids, grid))

    def at_member(self, member: int) -> Trajectory:
        """One member of an ensemble; of a simulation, member 0 is the simulation itself."""
        return self._view(_member=self._checked_member(member))

    def windows(self, length: int, step: int = 1) -> Iterator[Trajectory]:
        """Every run of `length` consecutive frames, the next starting `step` frames later."""
        last = len(self) - _positive(length, "window length")
        for start in range(0, last + 1, _positive(step, "window step")):
            yield self[start : start + length]

    def save(
        self, path: str | Path, dtype: str = "float16", progress: Callable[[int, int], None] | None = None
    ) -> Path:
        """Write this view as a file of its own, frame by frame, aside and then renamed; returns its path.

        `progress(done, total)` is called after each frame. A second density beside this one is not copied.
        """
        return copy_trajectory(self, Path(path), dtype, progress)

    def digest(self) -> str:
        """SHA-256 of grid, cell, times and the density of at most 64 evenly spaced frames, in hexadecimal.

        It depends on values, not on storage: a float32 copy of a float16 file has the same digest.
        """
        sha = hashlib.sha256()
        for part, kind in (
            ((len(self), self.members, *self.grid), "<i8"),
            (self.cell, "<f8"),
            (self.times_fs, "<f8"),
        ):
            sha.update(np.ascontiguousarray(part, dtype=kind).tobytes())
        for i in np.unique(np.linspace(0, len(self) - 1, min(len(self), 64)).round().astype(int)):
            sha.update(np.ascontiguousarray(self.density(int(i)), dtype="<f4").tobytes())
        return sha.hexdigest()

    def _view(self, **changed: Any) -> Trajectory:  # noqa: ANN401
        view = copy.copy(self)
        view.__dict__.update(changed)
        return view

    def _chosen(self, index: Index) -> int | range | np.ndarray:
        """Frames of the file that `index` means in this view."""
        if isinstance(index, slice):
            return self._frames[index]
        if np.ndim(index) == 0:
            try:
                return self._frames[operator.index(index)]
            except IndexError:
                raise IndexError(f"Frame {index} is not among the {len(self)} frames of {self!r}.") from None
        return np.asarray(self._frames)[np.asarray(index)]

    def _frame(self, stored: int) -> np.ndarray:
        frame = self._source.frame(int(stored), self._member)
        self._require_density(frame, stored, "")
        for grid in self._grids[1:]:
            frame = fourier_resample(frame, grid)
        if len(self._grids) > 1:
            self._require_density(frame, stored, f" after resampling to {self.grid}")
        return frame

    def _require_density(self, frame: np.ndarray, stored: int, when: str) -> None:
        low, high = frame.min(), frame.max()  # NaN wins both, and fails both comparisons
        if not (low > 0 and high < np.inf):
            raise TrajectoryError(
                f"{self.path.name}: frame {stored} holds {low:g} to {high:g} Å⁻³{when}; a density must "
                "be positive and finite everywhere, because the model works with ln ρ."
            )

    def _ions(self, name: str, index: Index) -> np.ndarray | None:
        if name not in self._source.has_ions:
            return None
        chosen = self._chosen(index)
        if isinstance(chosen, int):
            return self._source.series(IONS[name], range(chosen, chosen + 1))[0]
        if isinstance(chosen, range) and chosen.step > 0:
            return self._source.series(IONS[name], chosen)
        return self._source.series(IONS[name], self._frames)[index]

    def _checked_member(self, member: int) -> int | None:
        available = 1 if self._source.members is None else self._source.members
        if not 0 <= member < available:
            raise TrajectoryError(
                f"{self.path.name} has members 0 to {available - 1}; there is no member {member}."
            )
        return None if self._source.members is None else operator.index(member)


def _positive(number: int, name: str) -> int:
    if number < 1:
        raise TrajectoryError(f"The {name} must be 1 or more, not {number}.")
    return number
