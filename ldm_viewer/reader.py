"""Files in: the napari reader, the sample-data menu, and `open_any` behind every door of the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py

from engine.formats import format_of, read_volume
from engine.trajectory import Trajectory
from ldm_viewer.frames import Series, shared_limits
from ldm_viewer.layers import image, still

SAMPLE = "ldm://sample/"  # napari takes sample data for a file unless it has scheme and host
HDF5 = (".h5", ".hdf5", ".h5md")


def open_any(path: str | Path) -> Trajectory:
    """Open a trajectory file, or a sample by its address; raises TrajectoryError in words.

    Of an ensemble the first member is shown.
    """
    trajectory = Trajectory(resolve(path))
    return trajectory.at_member(0) if trajectory.is_ensemble else trajectory


def resolve(path: str | Path) -> Path:
    """The file behind a path or a sample's address."""
    if str(path).startswith(SAMPLE):
        from engine.samples import sample_path

        return Path(sample_path(str(path).removeprefix(SAMPLE)))
    return Path(path).expanduser()


def is_trajectory(path: str | Path) -> bool:
    """Whether a file looks like one of ours, without opening more than its first groups."""
    file = resolve(path)
    if file.suffix.lower() not in HDF5 or not file.is_file() or not h5py.is_hdf5(file):
        return False
    with h5py.File(file, "r") as content:
        return "observables/density" in content


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[tuple]] | None:
    """Answer napari's question whether we read `path`; None for foreign HDF5, which others may want."""
    first = path if isinstance(path, str) else path[0]
    if format_of(first) is not None:
        return read_still
    return read if is_trajectory(first) else None


def read_still(path: str | Sequence[str]) -> list[tuple]:
    """One CUBE, CHGCAR or XSF file as an image layer in Å⁻³; `ldm convert` makes a trajectory of a series."""
    first = Path(path if isinstance(path, str) else path[0])
    volume = read_volume(first)
    described = still(volume.density, volume.cell, first.name)
    return [(described.pop("data"), described, "image")]


def read(path: str | Sequence[str]) -> list[tuple]:
    """Open in the panel where one is open (napari then adds no layer itself), else as one image layer."""
    first = path if isinstance(path, str) else path[0]
    stage = _stage_of_current_viewer()
    if stage is not None:
        stage.session.open_trajectory(first)
        return [(None,)]  # napari's sign for "read, and nothing to add"
    series = Series.of(open_any(first))
    described = image(series, resolve(first).stem, shared_limits(series), metadata={"ldm_viewer": str(first)})
    return [(described.pop("data"), described, "image")]


def _stage_of_current_viewer() -> Any:
    import napari

    from ldm_viewer.stage import existing_stage

    viewer = napari.current_viewer()
    return None if viewer is None else existing_stage(viewer)
