"""Files in: the napari reader, the sample-data menu, and `open_any` behind every door of the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py

from engine.formats import format_of, read_volume
from engine.series import find_series
from engine.trajectory import Trajectory
from ldm_viewer.frames import FileFrames, Series, shared_limits
from ldm_viewer.layers import image, still

SAMPLE = "ldm://sample/"  # napari takes sample data for a file unless it has scheme and host
HDF5 = (".h5", ".hdf5", ".h5md")
GIVEN, SERIES = "ldm_viewer", "ldm_viewer_series"  # metadata of layers that were read before a panel opened
NOTHING = [(None,)]  # napari's sign for "read, and nothing to add"


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


def series_of(paths: Sequence[str | Path]) -> list[Path]:
    """Files of a series in natural order: several files of one format, or a folder of them; else none."""
    paths = [Path(path) for path in paths]
    folder = len(paths) == 1 and paths[0].is_dir()
    if not folder and not (len(paths) > 1 and all(format_of(path) for path in paths)):
        return []
    try:
        return find_series(paths)
    except (ValueError, OSError):
        return []


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[tuple]] | None:
    """Answer napari's question whether we read `path`; None for foreign HDF5, which others may want."""
    paths = [path] if isinstance(path, str) else list(path)
    if series_of(paths):
        return read_series
    if format_of(paths[0]) is not None and not Path(paths[0]).is_dir():
        return read_still
    return read if is_trajectory(paths[0]) else None


def read_still(path: str | Sequence[str]) -> list[tuple]:
    """One CUBE, CHGCAR or XSF file as an image layer in Å⁻³."""
    first = Path(path if isinstance(path, str) else path[0])
    volume = read_volume(first)
    described = still(volume.density, volume.cell, first.name)
    return [(described.pop("data"), described, "image")]


def read_series(path: str | Sequence[str]) -> list[tuple]:
    """Have the panel ask how a series becomes a trajectory; without one, files are read as they are shown."""
    files = series_of([path] if isinstance(path, str) else path)
    stage = _stage_of_current_viewer()
    if stage is not None and stage.panel is not None:
        stage.panel.ask_series(files)
        return NOTHING
    first = read_volume(files[0])
    series = Series(FileFrames(files, first.density), 0.0, 1.0, first.cell)
    limits = shared_limits(Series(first.density[None], 0.0, 1.0, first.cell))
    described = image(series, files[0].parent.name, limits, metadata={SERIES: list(map(str, files))})
    return [(described.pop("data"), described, "image")]


def read(path: str | Sequence[str]) -> list[tuple]:
    """Open in the panel where one is open (napari then adds no layer itself), else as one image layer."""
    first = path if isinstance(path, str) else path[0]
    stage = _stage_of_current_viewer()
    if stage is not None:
        stage.session.open_trajectory(first)
        return NOTHING
    series = Series.of(open_any(first))
    described = image(series, resolve(first).stem, shared_limits(series), metadata={GIVEN: str(first)})
    return [(described.pop("data"), described, "image")]


def _stage_of_current_viewer() -> Any:
    import napari

    from ldm_viewer.stage import existing_stage

    viewer = napari.current_viewer()
    return None if viewer is None else existing_stage(viewer)
