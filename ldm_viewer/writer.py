"""Files out: density layers as a trajectory, or as a series of CUBE, CHGCAR or XSF files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.formats import FILE_NAMES, Format, Volume, write_volume
from engine.trajectory import Trajectory, TrajectoryError, TrajectoryWriter
from ldm_viewer.layers import cell_of


def write_trajectory(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """A layer (time, z, y, x) in Å⁻³ as H5MD, with its atoms where known. TrajectoryError in words."""
    moments = list(_times(data, meta))
    atoms = _trajectory(meta)
    if not moments:
        raise TrajectoryError("there is no frame to save yet")
    writer = TrajectoryWriter(
        path,
        grid=_grid(data),
        cell=_cell(data, meta),
        species=None if atoms is None else atoms.species,
        dtype="float32",
        parameters={"layer": meta.get("name", "")},
    )
    with writer:
        for index, time_fs in moments:
            writer.append(_frame(data, index), time_fs=time_fs, positions=_positions(atoms, time_fs))
    return [path]


def write_cubes(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """One CUBE file, or of a layer with times a folder of them; values in e/Bohr³."""
    return _series(path, data, meta, "cube")


def write_chgcars(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """One CHGCAR, or of a layer with times a folder of them; needs atoms."""
    return _series(path, data, meta, "chgcar")


def write_xsfs(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """One XSF file, or of a layer with times a folder of them; needs atoms."""
    return _series(path, data, meta, "xsf")


def _series(path: str, data: Any, meta: dict[str, Any], kind: Format) -> list[str]:
    """A series goes to the folder of the path's name without suffix, made aside and renamed."""
    cell, atoms = _cell(data, meta), _trajectory(meta)
    species = None if atoms is None else atoms.species

    def volume(index: int, time_fs: float) -> Volume:
        return Volume(_frame(data, index), cell, species, _positions(atoms, time_fs))

    if np.ndim(data) == 3:
        return [str(write_volume(path, volume(0, 0.0), kind))]
    folder = Path(path).with_suffix("")
    if folder.exists():
        raise TrajectoryError(f"{folder} is there already; choose another name")
    part = folder.with_name(f".{folder.name}.part")
    written = []
    for number, (index, time_fs) in enumerate(_times(data, meta)):
        name = FILE_NAMES[kind].format(number)
        write_volume(part / name, volume(index, time_fs), kind, f"electron density at {time_fs:g} fs")
        written.append(str(folder / name))
    if not written:
        raise TrajectoryError("there is no frame to save yet")
    os.replace(part, folder)
    return written


def _grid(data: Any) -> tuple[int, int, int]:
    return tuple(int(n) for n in data.shape[-3:][::-1])


def _cell(data: Any, meta: dict[str, Any]) -> np.ndarray:
    return cell_of(_grid(data), meta["scale"], meta["affine"])


def _frame(data: Any, index: int) -> np.ndarray:
    """(Nx, Ny, Nz) in Å⁻³ of the layer's frame."""
    return np.asarray(data if np.ndim(data) == 3 else data[index], dtype=np.float32).transpose(2, 1, 0)


def _times(data: Any, meta: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """Index and time (fs) of the frames that are ready."""
    if np.ndim(data) == 3:
        yield 0, 0.0
        return
    for index in range(len(data)):
        if not np.isfinite(_frame(data, index)[0, 0, 0]):
            return
        yield index, float(meta["translate"][0] + index * meta["scale"][0])


def _trajectory(meta: dict[str, Any]) -> Trajectory | None:
    """Whose atoms belong to the layer."""
    return meta.get("metadata", {}).get("trajectory")


def _positions(atoms: Trajectory | None, time_fs: float) -> np.ndarray | None:
    return None if atoms is None else atoms.positions(int(np.abs(atoms.times_fs - time_fs).argmin()))
