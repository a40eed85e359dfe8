"""A trajectory as a series of single files (CUBE, CHGCAR, XSF), both ways, with one frame in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from engine.formats import FILE_NAMES, Format, Unit, Volume, format_of, read_volume, write_volume
from engine.h5md import CELL_TOLERANCE, TrajectoryError
from engine.trajectory import Trajectory, TrajectoryWriter

SERIES_CELL_TOLERANCE = max(
    CELL_TOLERANCE, 1e-4
)  # Å; text formats round cells to as few as 6 decimals of a voxel
Progress = Callable[[int, int], None]


def find_series(inputs: Iterable[str | Path]) -> list[Path]:
    """Files of a series in natural order (…9, 10, 11): named files, glob patterns, or folders of them.

    A folder stands for the *.cube, *.xsf or *CHGCAR* in it, or in its subfolders when it has none itself.
    Raises TrajectoryError when nothing is found or formats are mixed.
    """
    inputs = [Path(item) for item in inputs]
    found = [path for item in inputs for path in _expand(item)]
    if not found:
        raise TrajectoryError(
            f"No *.cube, *.xsf or *CHGCAR* is in {', '.join(map(str, inputs)) or 'nothing'}."
        )
    kinds = {str(format_of(path)): path for path in found}
    if len(kinds) > 1:
        examples = ", ".join(f"{path} ({kind})" for kind, path in kinds.items())
        raise TrajectoryError(
            f"A series has one format, but these are several: {examples}. Name the files you mean."
        )
    return sorted(dict.fromkeys(found), key=_natural)


def import_series(
    inputs: Iterable[str | Path],
    output: str | Path,
    *,
    dt_fs: float | None = None,
    unit: Unit = "convention",
    floor: float | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Path:
    """Write a series of files as one trajectory; frame i is at i·dt_fs.

    `floor` (Å⁻³) lifts smaller densities to itself; without it ρ ≤ 0 is refused. Raises TrajectoryError,
    naming the file, for another grid, cell or ions than in the first, and what `read_volume` refuses.
    """
    files = find_series(inputs)
    if dt_fs is None and len(files) > 1:
        raise TrajectoryError(
            f"{len(files)} files, and none says when: give the time between them with --dt-fs."
        )
    if dt_fs is not None and not 0 < dt_fs < np.inf:
        raise TrajectoryError(f"The time between frames must be positive, not {dt_fs} fs.")
    if floor is not None and not 0 < floor < np.inf:
        raise TrajectoryError(f"A floor of the density must be positive, not {floor} Å⁻³.")
    first = read_volume(files[0], unit)
    writer = TrajectoryWriter(
        output,
        grid=first.density.shape,
        cell=first.cell,
        species=first.species,
        dtype=dtype,
        parameters=_provenance(files, dt_fs, unit, floor),
    )
    with writer:
        for i, path in enumerate(files):
            volume = first if i == 0 else read_volume(path, unit)
            _require_same(volume, first, path, files[0])
            writer.append(
                lifted(volume.density, floor, path.name),
                time_fs=i * (dt_fs or 0.0),
                positions=volume.positions,
                forces=volume.forces,
            )
            if progress is not None:
                progress(i + 1, len(files))
    return Path(output)


def export_series(
    trajectory: Trajectory, folder: str | Path, kind: Format, *, progress: Progress | None = None
) -> list[Path]:
    """Write every frame as a numbered file of the given format; returns their paths.

    Raises TrajectoryError for an ensemble (choose a member), and for CHGCAR and XSF without ions.
    """
    if kind not in FILE_NAMES:
        raise TrajectoryError(f"{kind!r} is none of {', '.join(FILE_NAMES)}.")
    if trajectory.is_ensemble:
        raise TrajectoryError(
            f"{trajectory.path.name} holds {trajectory.members} members; choose one to export."
        )
    if not len(trajectory):
        raise TrajectoryError(f"No frame of {trajectory.path.name} is left to export.")
    written = []
    for i, time_fs in enumerate(trajectory.times_fs):
        positions, forces = trajectory.positions(i), trajectory.forces(i)
        species = None if positions is None else trajectory.species
        volume = Volume(trajectory.density(i), trajectory.cell, species, positions, forces)
        path = Path(folder) / FILE_NAMES[kind].format(i)
        written.append(
            write_volume(path, volume, kind, f"{trajectory.formula} electron density at {time_fs:g} fs")
        )
        if progress is not None:
            progress(i + 1, len(trajectory))
    return written


def lifted(density: np.ndarray, floor: float | None, name: str) -> np.ndarray:
    """The density with values below `floor` (Å⁻³) lifted to it; without one, ρ ≤ 0 is refused."""
    if floor is not None:
        return np.maximum(density, floor)
    share = float((density <= 0).mean())
    if share:
        raise TrajectoryError(
            f"{name}: {100 * share:.3g} % of the voxels are zero or negative, the lowest "
            f"{density.min():.3g} Å⁻³, and ln ρ does not exist there (usual for PAW densities and vacuum). "
            "--floor 1e-6 would lift everything below 1e-6 Å⁻³ to that value."
        )
    return density


def _expand(item: Path) -> list[Path]:
    if item.is_dir():
        here = [path for path in sorted(item.iterdir()) if path.is_file() and _in_folder(path)]
        return here or [path for path in sorted(item.glob("*/*")) if path.is_file() and _in_folder(path)]
    if not item.exists() and re.search(r"[*?\[]", str(item)):
        base = Path(item.anchor) if item.is_absolute() else Path()
        return [path for path in base.glob(str(item.relative_to(item.anchor))) if path.is_file()]
    if not item.is_file():
        raise TrajectoryError(f"There is no file or folder {item}.")
    return [item]


def _in_folder(path: Path) -> bool:
    """Only the density proper: a VASP run leaves CHG and AECCAR beside its CHGCAR."""
    kind = format_of(path)
    return kind is not None and (kind != "chgcar" or "chgcar" in path.name.lower())


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", str(path)) if part]


def _require_same(volume: Volume, first: Volume, path: Path, reference: Path) -> None:
    """Refuse a file that belongs to another calculation."""
    if volume.density.shape != first.density.shape:
        raise TrajectoryError(
            f"{path}: its grid is {volume.density.shape}, that of {reference.name} {first.density.shape}."
        )
    moved = np.abs(volume.cell - first.cell).max()
    if moved > SERIES_CELL_TOLERANCE:
        raise TrajectoryError(
            f"{path}: its cell differs from that of {reference.name} by {moved:.3g} Å; only "
            "constant-volume runs can be used."
        )
    theirs, ours = (None if v.species is None else v.species.tolist() for v in (volume, first))
    if theirs != ours:
        raise TrajectoryError(
            f"{path}: its ions (number, elements or order) are not those of {reference.name}."
        )


def _provenance(files: list[Path], dt_fs: float | None, unit: Unit, floor: float | None) -> dict[str, object]:
    found: dict[str, object] = {
        "converted_from": f"{len(files)} {format_of(files[0])} files, {files[0].name} to {files[-1].name}",
        "dt_fs": dt_fs,
        "unit_read": unit,
    }
    return found if floor is None else {**found, "floor_A-3": floor}
