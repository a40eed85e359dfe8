"""`ldm movie`: truth | forecast | difference of two trajectory files, over the time that both cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from tqdm import tqdm

from engine.trajectory import Trajectory


def run(
    truth: Path,
    forecast: Path,
    out: Path,
    *,
    plane: str = "x",
    position: float = 0.5,
    fps: int = 25,
    size: tuple[int, int] = (1280, 720),
    every: int = 1,
    member: int = 0,
) -> Path:
    """Write an MP4 with a frame at every time of the file with the finer step.

    The other one is splined in time, frame by frame of its own it stays as it is. ValueError where the files
    have no time in common.
    """
    from ldm_viewer.movie import slice_movie

    made = Trajectory(forecast)
    made = made.at_member(member) if made.is_ensemble else made
    real = Trajectory(truth).resampled(made.grid)
    finer = min(real, made, key=lambda t: t.dt_fs if len(t) > 1 else np.inf).times_fs
    begin, end = (f(g(t.times_fs) for t in (real, made)) for f, g in ((max, np.min), (min, np.max)))
    times = finer[(finer >= begin - 1e-3) & (finer <= end + 1e-3)][::every]
    if not len(times):
        raise ValueError(f"{truth} ({_span(real)}) and {forecast} ({_span(made)}) have no time in common")
    with tqdm(total=len(times), unit="frame", desc="movie") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(done - bar.n)

        return slice_movie(
            out,
            _at(real, times),
            _at(made, times),
            cell=made.cell,
            times_fs=times - (made.times_fs[0] - made.dt_fs),
            plane=plane,
            position=position,
            fps=fps,
            size=size,
            title=f"{made.formula}: {made.parameters.get('emulator', forecast.stem)} beside {real.path.stem}",
            progress=progress,
        )


def _at(trajectory: Trajectory, times: np.ndarray) -> np.ndarray:
    """Densities (len(times), Nx, Ny, Nz): the frames of these times, or splines through those around them."""
    own = trajectory.times_fs
    nearest = np.abs(own[:, None] - times).argmin(0)
    if np.allclose(own[nearest], times, atol=1e-3):
        return trajectory.density(nearest)
    low, high = np.searchsorted(own, [times[0], times[-1]])
    part = slice(max(0, low - 3), high + 4)
    density = trajectory.density(part)
    return np.maximum(CubicSpline(own[part], density)(times), density.min()).astype(np.float32)


def _span(trajectory: Trajectory) -> str:
    return f"{trajectory.times_fs[0]:g}–{trajectory.times_fs[-1]:g} fs"
