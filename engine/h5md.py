"""One H5MD 1.1 file on disk: what it must hold, what it may hold, and words for what is wrong with it.

Nothing here knows about views; `Source` reads metadata when opened and single frames when asked.
    T frames, K members, N ions, grid (Nx, Ny, Nz); Å, fs, Å⁻³, eV, eV/Å
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

UNITS = {
    "density": "Angstrom-3",
    "edges": "Angstrom",
    "time": "fs",
    "position": "Angstrom",
    "velocity": "Angstrom fs-1",
    "force": "eV Angstrom-1",
}
IONS = {
    "position": "particles/ions/position",
    "velocity": "particles/ions/velocity",
    "force": "observables/ions/force",  # H5MD readers refuse eV/Å as the unit of a particle force
}
STEP_TOLERANCE = 1e-3  # of the step; above this, times are not uniform
CELL_TOLERANCE = 1e-5  # Å; a cell that moves more than this is a variable-cell run


class TrajectoryError(ValueError):
    """A trajectory that cannot be used, said in words: which file, which value, what would be right."""


class Source:
    """A file opened for reading: metadata in memory, frames on disk. Survives pickling and forking."""

    def __init__(self, path: Path, field: str) -> None:
        """Read and check the metadata of `field`, "density" or "density_all_electron"; or TrajectoryError."""
        self.path, self.field = path, field
        self._file: h5py.File | None = None
        self._owner = 0
        self._closed = False
        with self.words():
            self._read_metadata()

    def __getstate__(self) -> dict[str, Any]:
        """An open file cannot travel to another process; its path can."""
        return {**self.__dict__, "_file": None}

    @property
    def file(self) -> h5py.File:
        """The open file of this process."""
        if self._closed:
            raise TrajectoryError(f"{self.path.name} has been closed; open it again to read from it.")
        if self._file is None or self._owner != os.getpid():
            self._file, self._owner = _open(self.path), os.getpid()
        return self._file

    def close(self) -> None:
        """Close the file; every view on it ends."""
        if self._file is not None and self._owner == os.getpid():
            self._file.close()
        self._file, self._closed = None, True

    @contextmanager
    def words(self, what: str = "its metadata") -> Iterator[None]:
        """Turn what h5py says about a damaged file into a TrajectoryError."""
        try:
            yield
        except (OSError, KeyError, RuntimeError) as error:
            raise TrajectoryError(f"{self.path.name} is damaged: {what} cannot be read ({error}).") from error

    def frame(self, index: int, member: int | None) -> np.ndarray:
        """Density of one stored frame as float32 Å⁻³, (Nx, Ny, Nz), or (K, Nx, Ny, Nz) of an ensemble."""
        with self.words(f"frame {index}"):
            data = self._dataset[index] if member is None else self._dataset[index, member]
        return data.astype(np.float32, copy=False)  # by numpy: HDF5 converts float16 many times slower

    def series(self, location: str, frames: range) -> np.ndarray | None:
        """Any quantity stored per frame, (len(frames), …), or None where the file has none."""
        if f"{location}/value" not in self.file:
            return None
        with self.words(f"/{location}"):
            if not frames:
                return self.file[f"{location}/value"][:0]
            return self.file[f"{location}/value"][frames.start : frames[-1] + 1][:: frames.step]

    def unit(self, name: str) -> str:
        """Unit of a scalar observable, "" where the file does not say."""
        unit = self.file[f"observables/{name}/value"].attrs.get("unit", "")
        return unit.decode() if isinstance(unit, bytes) else str(unit)

    @property
    def _dataset(self) -> h5py.Dataset:
        return self.file[f"observables/{self.field}/value"]

    def _read_metadata(self) -> None:
        location = f"observables/{self.field}"
        if f"{location}/value" not in self.file:
            raise TrajectoryError(
                f"{self.path.name} is HDF5 but no density trajectory: it has no /{location}/value. "
                "Other formats are turned into one by `ldm convert`."
            )
        data = self._dataset
        if data.ndim not in (4, 5) or 0 in data.shape:
            raise TrajectoryError(
                f"{self.path.name}: the density has shape {data.shape}; (T, Nx, Ny, Nz), or "
                "(T, K, Nx, Ny, Nz) for an ensemble, none of them zero, is needed."
            )
        self._require_unit(data, "density")
        self.frames, self.grid = data.shape[0], tuple(int(n) for n in data.shape[-3:])
        self.members = int(data.shape[1]) if data.ndim == 5 else None
        self.dtype = str(data.dtype)
        self.times_fs = self._read_times(self.file[location])
        self.cell = self._read_cell()
        self.species = self._read_species()
        self.parameters = _read_parameters(self.file)
        self.scalars = tuple(
            sorted(n for n, g in self.file["observables"].items() if _is_scalar(g, self.frames))
        )
        self.has_ions = frozenset(name for name, place in IONS.items() if self._matches(place))

    def _matches(self, location: str) -> bool:
        if f"{location}/value" not in self.file:
            return False
        value = self.file[f"{location}/value"]
        ions = None if self.species is None else len(self.species)
        if value.shape != (self.frames, ions, 3):
            raise TrajectoryError(
                f"{self.path.name}: /{location} has shape {value.shape}; {(self.frames, ions, 3)} is needed "
                f"for {self.frames} frames and {ions} ions (from /particles/ions/species)."
            )
        self._require_unit(value, location.rsplit("/", 1)[-1])
        return True

    def _require_unit(self, dataset: h5py.Dataset, quantity: str) -> None:
        unit = dataset.attrs.get("unit")
        unit = unit.decode() if isinstance(unit, bytes) else unit
        if unit != UNITS[quantity]:
            raise TrajectoryError(
                f"{self.path.name}: {dataset.name} is in {unit or 'no stated unit'}; its `unit` attribute "
                f'must be "{UNITS[quantity]}".'
            )

    def _read_times(self, element: h5py.Group) -> np.ndarray:
        stored = element["time"]
        self._require_unit(stored, "time")
        times = np.asarray(stored[()], dtype=np.float64)
        if times.ndim == 0:  # H5MD's fixed increment
            times = float(stored.attrs.get("offset", 0.0)) + float(times) * np.arange(self.frames)
        if times.shape != (self.frames,):
            raise TrajectoryError(
                f"{self.path.name}: {self.frames} densities but times of shape {times.shape}."
            )
        wrong = ~np.isfinite(times)
        wrong[1:] |= ~(np.diff(times) > 0)
        if wrong.any():
            at = int(wrong.argmax())
            raise TrajectoryError(
                f"{self.path.name}: times must increase from frame to frame, but up to frame {at} they read "
                f"{times[max(at - 2, 0) : at + 1].tolist()} fs."
            )
        return times

    def _read_cell(self) -> np.ndarray:
        box = self.file.get("particles/ions/box")
        if box is None or "edges" not in box:
            raise TrajectoryError(f"{self.path.name} has no cell: /particles/ions/box/edges is missing.")
        boundary = [
            b.decode() if isinstance(b, bytes) else str(b) for b in np.atleast_1d(box.attrs["boundary"])
        ]
        if boundary != ["periodic"] * 3:
            raise TrajectoryError(
                f"{self.path.name}: the box is {', '.join(boundary)} along its axes; only cells periodic in "
                "all three can be used (densities are treated by Fourier transform)."
            )
        stored = box["edges"]["value"] if isinstance(box["edges"], h5py.Group) else box["edges"]
        self._require_unit(stored, "edges")
        edges = np.asarray(stored[()], dtype=np.float64)
        edges = edges[None] if isinstance(box["edges"], h5py.Dataset) else edges
        edges = edges[..., None] * np.eye(3) if edges.shape[1:] == (3,) else edges
        if edges.ndim != 3 or edges.shape[1:] != (3, 3) or not len(edges):
            raise TrajectoryError(
                f"{self.path.name}: box edges have shape {stored.shape}; (T, 3, 3) is needed."
            )
        self._check_cell(edges)
        return edges[0]

    def _check_cell(self, edges: np.ndarray) -> None:
        if not np.isfinite(edges).all() or not abs(np.linalg.det(edges[0])) > 0:
            raise TrajectoryError(f"{self.path.name}: {edges[0].tolist()} Å is not a cell with a volume.")
        moved = np.abs(edges - edges[0]).max(axis=(1, 2))
        if moved.max() > CELL_TOLERANCE:
            raise TrajectoryError(
                f"{self.path.name}: the cell changes by {moved.max():.3g} Å (frame {int(moved.argmax())}); "
                "only constant-volume runs (NVE, NVT) can be used."
            )

    def _read_species(self) -> np.ndarray | None:
        stored = self.file.get("particles/ions/species")
        if stored is None:
            return None
        species = np.asarray(stored[()])
        if (
            species.ndim != 1
            or not np.issubdtype(species.dtype, np.integer)
            or not np.all((0 < species) & (species < 119))
        ):
            raise TrajectoryError(
                f"{self.path.name}: /particles/ions/species must be atomic numbers, one per ion."
            )
        return species.astype(np.int64)


def uniform_step(times_fs: np.ndarray, name: str) -> float:
    """The one step between all times in fs; TrajectoryError, naming the frame, when there is none."""
    if len(times_fs) < 2:
        raise TrajectoryError(f"{name}: {len(times_fs)} frame(s) have no time step; at least 2 are needed.")
    steps = np.diff(times_fs)
    mean = (times_fs[-1] - times_fs[0]) / len(steps)
    usual = float(np.median(steps))
    worst = int(np.abs(steps - usual).argmax())
    if abs(steps[worst] - usual) > STEP_TOLERANCE * usual:
        raise TrajectoryError(
            f"{name}: frames are not evenly spaced in time: {steps[worst]:g} fs between frames {worst} and "
            f"{worst + 1}, {usual:g} fs elsewhere. Take an even part of it with between() or a slice."
        )
    return round(float(mean), 9)


def _open(path: Path) -> h5py.File:
    """Open for reading; the error says which of the ways of not being a file it is."""
    if not path.is_file():
        raise TrajectoryError(f"There is no file {path}.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        size = path.stat().st_size
        if "truncated" in str(error):
            raise TrajectoryError(
                f"{path.name} is truncated: it ends after {size:,} bytes, before the data it lists. "
                "Copy it again, or take the file from before the interruption."
            ) from error
        if not h5py.is_hdf5(path):
            raise TrajectoryError(
                f"{path.name} ({size:,} bytes) is not an HDF5 file. CUBE, CHGCAR and XSF series "
                "are turned into one by `ldm convert`."
            ) from error
        raise TrajectoryError(f"{path.name} cannot be opened: {error}.") from error


def _is_scalar(group: h5py.Group | h5py.Dataset, frames: int) -> bool:
    return isinstance(group, h5py.Group) and "value" in group and group["value"].shape == (frames,)


def _read_parameters(file: h5py.File) -> dict[str, Any]:
    """Everything under /parameters; the JSON text `provenance` is unpacked into it."""
    found: dict[str, Any] = {}
    group = file.get("parameters")
    if group is None:
        return found
    found.update({name: _plain(value) for name, value in group.attrs.items()})
    for name, item in group.items():
        if isinstance(item, h5py.Dataset) and name not in (
            "step",
            "time",
        ):  # some writers keep the time axis here
            found[name] = _plain(item[()])
    try:
        unpacked = json.loads(found["provenance"])
    except (KeyError, TypeError, ValueError):
        return found
    if isinstance(unpacked, dict):
        del found["provenance"]
        found.update(unpacked)
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
