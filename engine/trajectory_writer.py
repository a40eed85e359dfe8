"""Writing a trajectory as H5MD 1.1, one frame at a time, aside and renamed when it is complete.

T frames, K members of an ensemble, N ions, grid (Nx, Ny, Nz); Å, fs, Å⁻³, eV, eV/Å
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from engine.h5md import IONS, UNITS, TrajectoryError

if TYPE_CHECKING:
    from engine.trajectory import Trajectory

SCALAR_UNITS = {
    "temperature": "K",
    "potential_energy": "eV",
    "kinetic_energy": "eV",
    "total_energy": "eV",
    "energy_extrapolated": "eV",
    "electrons": "e",
}


class TrajectoryWriter:
    """Append frames to `<path>.part`; close() renames it to `path`, abort() removes it.

    As a context manager it closes at the end of the block. An exception aborts, unless frames were written
    and `keep_partial` is set: then what was written is kept as a complete, shorter trajectory.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        grid: Sequence[int],
        cell: np.ndarray,
        species: Sequence[int] | np.ndarray | None = None,
        members: int | None = None,
        dtype: str = "float16",
        parameters: Mapping[str, Any] | None = None,
        author: str | None = None,
        keep_partial: bool = False,
        units: Mapping[str, str] | None = None,
    ) -> None:
        """Lay out the file. `cell` (3, 3) Å; `parameters` anything JSON can say; `units` of other scalars."""
        self.path, self.part = Path(path), Path(f"{path}.part")
        self.grid = tuple(int(n) for n in grid)
        self.shape = self.grid if members is None else (int(members), *self.grid)
        self.cell = np.asarray(cell, dtype=np.float64)
        self.species = None if species is None else np.asarray(species, dtype=np.int32)
        self.dtype = np.dtype(dtype)
        self.keep_partial, self.frames, self.last_time_fs = keep_partial, 0, -np.inf
        self._units = {**SCALAR_UNITS, **(units or {})}
        self._columns: dict[str, h5py.Dataset] = {}
        self._check_layout()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: h5py.File | None = h5py.File(self.part, "w", libver=("earliest", "v110"))
        self._lay_out(author, parameters or {})

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close; after an exception abort, or keep what was written if that was asked for."""
        if kind is None or (self.keep_partial and self.frames):
            self.close()
        else:
            self.abort()

    def append(
        self,
        density: np.ndarray,
        *,
        time_fs: float,
        positions: np.ndarray | None = None,
        velocities: np.ndarray | None = None,
        forces: np.ndarray | None = None,
        scalars: Mapping[str, float] | None = None,
        density_all_electron: np.ndarray | None = None,
    ) -> None:
        """Add a frame: density Å⁻³ (Nx, Ny, Nz) or (K, Nx, Ny, Nz); (N, 3) in Å, Å/fs, eV/Å of the ions.

        Raises TrajectoryError, and writes nothing, for NaN, ρ ≤ 0, a time that does not increase, or a frame
        that brings other quantities than the first one did.
        """
        if self._file is None:
            raise TrajectoryError(f"{self.path.name} has been closed; no frame can be added to it.")
        if not time_fs > self.last_time_fs:
            raise TrajectoryError(
                f"Frame {self.frames} is at {time_fs} fs, but the one before it at {self.last_time_fs}."
            )
        row = {"observables/density": self._storable(density, self.shape, "density")}
        if density_all_electron is not None:
            shape = np.shape(density_all_electron)
            row["observables/density_all_electron"] = self._storable(
                density_all_electron, shape, "density_all_electron"
            )
        for name, values in (("position", positions), ("velocity", velocities), ("force", forces)):
            if values is not None:
                row[IONS[name]] = self._ion_values(values, name)
        row |= {f"observables/{name}": np.float64(value) for name, value in (scalars or {}).items()}
        self._require_same_columns(row)
        for location, values in row.items():
            self._put(location, values)
        self._put("particles/ions/box/edges", self.cell)
        _extend(self._axes["step"], self.frames)
        _extend(self._axes["time"], time_fs)
        self.frames, self.last_time_fs = self.frames + 1, float(time_fs)

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> Path:
        """Finish the file and give it its name; raises TrajectoryError when it has no frame."""
        if self._file is None:
            return self.path
        if not self.frames:
            self.abort()
            raise TrajectoryError(f"No frame was written; {self.path.name} has not been made.")
        for column in (*self._columns.values(), *self._axes.values()):
            if len(column) > self.frames:  # an interrupt in the middle of append() leaves half a frame
                column.resize(self.frames, axis=0)
        self._file.close()
        self._file = None
        os.replace(self.part, self.path)
        return self.path

    def abort(self) -> None:
        """Give up: close and remove the unfinished file."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self.part.unlink(missing_ok=True)

    def _check_layout(self) -> None:
        if len(self.grid) != 3 or min(self.shape) < 1:
            raise TrajectoryError(f"A grid is three positive whole numbers, not {self.grid}.")
        if self.cell.shape != (3, 3) or not abs(np.linalg.det(self.cell)) > 0:
            raise TrajectoryError(
                f"A cell is three lattice vectors in Å with a volume, not {self.cell.tolist()}."
            )
        if self.dtype not in (np.float16, np.float32):
            raise TrajectoryError(f"Densities are stored as float16 or float32, not {self.dtype}.")

    def _lay_out(self, author: str | None, parameters: Mapping[str, Any]) -> None:
        file = self._file
        file.create_group("h5md").attrs["version"] = np.array([1, 1], dtype=np.int32)
        file.create_group("h5md/author").attrs["name"] = author or "unknown"
        creator = file.create_group("h5md/creator")
        creator.attrs["name"], creator.attrs["version"] = "ldm_viewer", _version()
        box = file.create_group("particles/ions/box")
        box.attrs["dimension"] = 3
        box.attrs["boundary"] = np.array(["periodic"] * 3, dtype="S8")
        if self.species is not None:
            file["particles/ions/species"] = self.species
        density = file.create_group("observables/density")
        axis = {"shape": (0,), "maxshape": (None,), "chunks": (1024,)}
        self._axes = {
            "step": density.create_dataset("step", dtype=np.int64, **axis),
            "time": density.create_dataset("time", dtype=np.float64, **axis),
        }
        self._axes["time"].attrs["unit"] = UNITS["time"]
        file.create_group("parameters")["provenance"] = json.dumps(dict(parameters), default=_jsonable)

    def _storable(self, density: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
        """The density in the number type of the file, or a refusal that names frame and value."""
        density = np.asarray(density)
        if density.shape != shape or len(shape) not in (3, 4):
            raise TrajectoryError(
                f"Frame {self.frames}: the {name} has shape {density.shape}; {shape} is needed."
            )
        low, high = density.min(), density.max()  # NaN wins both, and fails both comparisons
        if not (low > 0 and high < np.inf):
            raise TrajectoryError(
                f"Frame {self.frames}: the {name} runs from {low:g} to {high:g} Å⁻³; it must be "
                "positive and finite."
            )
        with np.errstate(over="ignore", under="ignore"):
            stored = density.astype(self.dtype)
        if not (stored.min() > 0 and stored.max() < np.inf):
            raise TrajectoryError(
                f"Frame {self.frames}: the {name} runs from {low:g} to {high:g} Å⁻³, more than "
                f"{self.dtype} can hold" + ("; write float32." if self.dtype == np.float16 else ".")
            )
        return stored

    def _ion_values(self, values: np.ndarray, name: str) -> np.ndarray:
        if self.species is None:
            raise TrajectoryError(f"A {name} needs to know of which ions: give `species` to the writer.")
        values = np.asarray(values, dtype=np.float32)
        if values.shape != (len(self.species), 3) or not np.isfinite(values).all():
            raise TrajectoryError(
                f"Frame {self.frames}: the {name} must be {len(self.species)} × 3 finite numbers; its shape "
                f"is {values.shape} with {int((~np.isfinite(values)).sum())} not finite."
            )
        return values

    def _require_same_columns(self, row: Mapping[str, np.ndarray]) -> None:
        known = set(self._columns) - {"particles/ions/box/edges"}
        if self.frames and set(row) != known:
            raise TrajectoryError(
                f"Frame {self.frames} brings {sorted(set(row) - known)} too much and lacks "
                f"{sorted(known - set(row))}: every frame must hold the same quantities."
            )
        for location in set(row) & known:
            if np.shape(row[location]) != self._columns[location].shape[1:]:
                raise TrajectoryError(f"Frame {self.frames}: /{location} changes its shape.")
        for name in row:
            if name.startswith("observables/") and name.count("/") == 1 and "density" not in name:
                if name.split("/")[1] not in self._units:
                    raise TrajectoryError(f"No unit is known for {name}; give it in `units` of the writer.")

    def _put(self, location: str, values: np.ndarray) -> None:
        """Add a row to a quantity, making its H5MD element on first use."""
        if location not in self._columns:
            self._columns[location] = self._create(location, np.asarray(values))
        _extend(self._columns[location], values)

    def _create(self, location: str, values: np.ndarray) -> h5py.Dataset:
        """An element {step, time, value}; step and time are links to those of the density, as H5MD allows."""
        group, name = self._file.require_group(location), location.rsplit("/", 1)[-1]
        field = name.startswith("density")
        if field:  # one chunk is what a reader wants at once: a frame of one member
            chunk = (1,) * (values.ndim - 2) + values.shape[-3:]
        else:
            chunk = (max(1, min(1024, 65536 // max(values.nbytes, 1))), *values.shape)
        data = group.create_dataset(
            "value",
            shape=(0, *values.shape),
            maxshape=(None, *values.shape),
            dtype=values.dtype,
            chunks=chunk,
            compression="gzip",
            shuffle=True,
        )
        data.attrs["unit"] = UNITS["density"] if field else UNITS.get(name) or self._units[name]
        for shared, axis in self._axes.items():
            if shared not in group:
                group[shared] = axis
        return data


def copy_trajectory(
    view: Trajectory, path: Path, dtype: str, progress: Callable[[int, int], None] | None
) -> Path:
    """Write a view of a trajectory to a file of its own, one frame in memory at a time."""
    if not len(view):
        raise TrajectoryError(f"No frame of {view.path.name} is left in this view; there is nothing to save.")
    ions = {"positions": view.positions(), "velocities": view.velocities(), "forces": view.forces()}
    scalars = {name: view.scalar(name) for name in view.scalars}
    times = view.times_fs
    writer = TrajectoryWriter(
        path,
        grid=view.grid,
        cell=view.cell,
        species=view.species,
        members=view.members if view.is_ensemble else None,
        dtype=dtype,
        parameters=view.parameters,
        units={name: view.unit(name) for name in scalars},
    )
    with writer:
        for i in range(len(view)):
            writer.append(
                view.density(i),
                time_fs=float(times[i]),
                scalars={name: float(values[i]) for name, values in scalars.items()},
                **{name: None if values is None else values[i] for name, values in ions.items()},
            )
            if progress is not None:
                progress(i + 1, len(view))
    return writer.path


def _extend(dataset: h5py.Dataset, values: np.ndarray | float) -> None:
    dataset.resize(len(dataset) + 1, axis=0)
    dataset[-1] = values


def _version() -> str:
    try:
        return metadata.version("ldm_viewer")
    except metadata.PackageNotFoundError:
        return "0"


def _jsonable(value: Any) -> Any:  # noqa: ANN401
    """Numpy numbers and arrays, paths and the like, as JSON."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
