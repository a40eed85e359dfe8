"""`ldm info` and `ldm convert`: what a trajectory holds, and other formats to and from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from engine.formats import Format, Unit
from engine.series import export_series, import_series
from engine.trajectory import Trajectory, TrajectoryError

TRAJECTORY_SUFFIXES = (".h5", ".hdf5", ".h5md")
SAMPLED_FRAMES = 256  # enough for the mean and spread of a summary, about a second of reading


def info(path: Path) -> None:
    """Print what a trajectory holds: system, cell, grid, times, ln ρ, electrons, temperature, provenance.

    Args:
        path: A trajectory file (*.h5).
    """
    with Trajectory(path) as trajectory:
        print(summary(trajectory))


def convert(
    inputs: tyro.conf.Positional[list[Path]],
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    *,
    dt_fs: float | None = None,
    to: Format | None = None,
    grid: tuple[int, int, int] | None = None,
    start_fs: float | None = None,
    stop_fs: float | None = None,
    every: int = 1,
    member: int | None = None,
    unit: Unit = "convention",
    floor: float | None = None,
    dtype: Literal["float16", "float32"] = "float32",
    progress: bool = True,
) -> None:
    """Make a trajectory of CUBE, CHGCAR or XSF files, such files of a trajectory, or cut a trajectory.

    Args:
        inputs: Files, folders of files or quoted patterns, taken in natural order; or one trajectory.
        output: A trajectory (*.h5), or a folder for a series.
        dt_fs: Time between the files of a series, in fs.
        to: Format of the series to write.
        grid: Fourier-resample to this grid.
        start_fs: First time to take.
        stop_fs: Time before which to stop.
        every: Take every n-th frame.
        member: Which member, if the trajectory is an ensemble.
        unit: What the values of CUBE or XSF files are, when not e/Bohr³ and e/Å³.
        floor: Lift densities below this many Å⁻³ to it; without it, zero and negative ones are refused.
        dtype: How a trajectory stores its density.
        progress: Show a bar.
    """
    from_files = not any(path.suffix.lower() in TRAJECTORY_SUFFIXES for path in inputs)
    to_files = output.suffix.lower() not in TRAJECTORY_SUFFIXES
    if from_files:
        _refuse("--to", to is not None, "a series is made of a trajectory")
        _refuse("--member", member is not None, "files are not an ensemble")
        cuts = (start_fs, stop_fs, grid) != (None, None, None) or every != 1
        _refuse("--start-fs, --stop-fs, --every, --grid", cuts, "make the trajectory first, then cut it")
        if to_files:
            raise TrajectoryError(f"A series of files becomes a trajectory; end {output.name} in .h5.")
        with _bar("reading", progress) as report:
            import_series(inputs, output, dt_fs=dt_fs, unit=unit, floor=floor, dtype=dtype, progress=report)
    else:
        series_only = dt_fs is not None or floor is not None or unit != "convention"
        _refuse("--dt-fs, --unit, --floor", series_only, "a trajectory knows its times and units")
        if len(inputs) != 1:
            raise TrajectoryError(f"One trajectory at a time, not {len(inputs)} inputs.")
        if to_files != (to is not None):
            raise TrajectoryError(
                "A series needs a folder and its format, --to cube, chgcar or xsf; *.h5 has none."
            )
        with Trajectory(inputs[0], member=member) as whole, _bar("writing", progress) as report:
            view = _cut(whole, start_fs, stop_fs, every, grid)
            if to is None:
                view.save(output, dtype, progress=report)
            else:
                export_series(view, output, to, progress=report)
    print(f"wrote {output}")


def summary(trajectory: Trajectory) -> str:
    """The lines that `info` prints; statistics of the density are over at most 256 evenly spaced frames."""
    rows = [("file", f"{trajectory.path} ({trajectory.path.stat().st_size / 2**20:.1f} MiB)")]
    rows += _system(trajectory) + _times(trajectory) + _density(trajectory) + _beside(trajectory)
    rows += [
        ("provenance" if i == 0 else "", line) for i, line in enumerate(_provenance(trajectory.parameters))
    ]
    return "\n".join(f"{name:21}{value}" for name, value in rows)


def _system(trajectory: Trajectory) -> list[tuple[str, str]]:
    cell, ions = trajectory.cell, trajectory.species
    lengths = np.linalg.norm(cell, axis=1)
    volume = abs(np.linalg.det(cell))
    unit = cell / lengths[:, None]
    angles = np.degrees(np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]))
    spacing = lengths / trajectory.grid
    ensemble = f", ensemble of {trajectory.members} members" if trajectory.is_ensemble else ""
    return [
        ("system", trajectory.formula + ("" if ions is None else f", {len(ions) / volume:.4f} ions/Å³")),
        (
            "cell",
            f"{_times_sign(lengths, '.4g')} Å, angles {_times_sign(angles, '.4g', ', ')}°, {volume:.2f} Å³",
        ),
        ("grid", f"{_times_sign(trajectory.grid, 'd')}, spacing {_times_sign(spacing, '.3f')} Å{ensemble}"),
    ]


def _times(trajectory: Trajectory) -> list[tuple[str, str]]:
    times = trajectory.times_fs
    try:
        step = f"every {trajectory.dt_fs:g} fs"
    except TrajectoryError:
        step = "not evenly spaced" if len(times) > 1 else "no time step"
    return [("frames", f"{len(times)}, {step}, from {times[0]:g} to {times[-1]:g} fs")]


def _density(trajectory: Trajectory) -> list[tuple[str, str]]:
    """Range, mean and deviation of ρ and ln ρ, and ∫ρ dV, accumulated frame by frame."""
    chosen = np.unique(np.linspace(0, len(trajectory) - 1, min(len(trajectory), SAMPLED_FRAMES)).astype(int))
    low, high, sums, electrons = np.inf, -np.inf, np.zeros(2), []
    volume = abs(np.linalg.det(trajectory.cell))
    for i in chosen:
        rho = trajectory.density(int(i)).astype(np.float64)
        logarithm = np.log(rho)
        low, high = min(low, rho.min()), max(high, rho.max())
        sums += logarithm.mean(), (logarithm**2).mean()
        electrons.append(rho.mean(axis=(-3, -2, -1)) * volume)
    mean, square = sums / len(chosen)
    over = (
        f"all {len(chosen)} frames"
        if len(chosen) == len(trajectory)
        else f"{len(chosen)} evenly spaced frames"
    )
    return [
        ("density", f"{low:.4g} to {high:.4g} Å⁻³, stored as {trajectory.storage} (over {over})"),
        ("ln density", f"mean {mean:.3f}, standard deviation {np.sqrt(max(square - mean**2, 0)):.3f}"),
        ("electrons", f"{np.mean(electrons):.3f} ± {np.std(electrons):.3f} (∫ρ dV)"),
    ]


def _beside(trajectory: Trajectory) -> list[tuple[str, str]]:
    rows = []
    for name in trajectory.scalars:
        values = trajectory.scalar(name)
        rows.append((name, f"{values.mean():.5g} ± {values.std():.2g} {trajectory.unit(name)}".rstrip()))
    ions = [
        name
        for name in ("positions", "velocities", "forces")
        if getattr(trajectory, name)(slice(0)) is not None
    ]
    return [*rows, ("ions", ", ".join(ions) or "not stored")]


def _provenance(parameters: dict[str, Any]) -> list[str]:
    return [f"{name}: {v if isinstance(v, str) else json.dumps(v)}" for name, v in parameters.items()] or [
        "none"
    ]


def _times_sign(numbers: Any, spec: str, sign: str = " × ") -> str:
    return sign.join(format(n, spec) for n in numbers)


def _cut(
    trajectory: Trajectory,
    start_fs: float | None,
    stop_fs: float | None,
    every: int,
    grid: tuple[int, int, int] | None,
) -> Trajectory:
    start, stop = (-np.inf if start_fs is None else start_fs), (np.inf if stop_fs is None else stop_fs)
    view, times = trajectory.between(start, stop)[::every], trajectory.times_fs
    if not len(view):
        raise TrajectoryError(
            f"No frame lies in {start:g} to {stop:g} fs; it holds {times[0]:g} to {times[-1]:g} fs."
        )
    return view if grid is None else view.resampled(grid)


def _refuse(options: str, given: bool, reason: str) -> None:
    if given:
        raise TrajectoryError(f"{options} cannot be used here: {reason}.")


@contextmanager
def _bar(what: str, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as the callback `(done, total)` that the engine knows."""
    from tqdm import tqdm

    with tqdm(desc=what, unit="frame", disable=not shown) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
