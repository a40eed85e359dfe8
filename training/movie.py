"""`ldm movie`: truth | forecast | difference of two trajectory files, where their times meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
    """Write an MP4; frames are those times, in fs, that both files hold. ValueError where there are none."""
    from ldm_viewer.movie import slice_movie

    made = Trajectory(forecast)
    made = made.at_member(member) if made.is_ensemble else made
    real = Trajectory(truth).resampled(made.grid)
    times = np.intersect1d(real.times_fs.round(3), made.times_fs.round(3))[::every]
    if not len(times):
        raise ValueError(f"{truth} ({_span(real)}) and {forecast} ({_span(made)}) have no time in common")
    chosen = [np.searchsorted(t.times_fs.round(3), times) for t in (real, made)]
    with tqdm(total=len(times), unit="frame", desc="movie") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(done - bar.n)

        return slice_movie(
            out,
            real.density(chosen[0]),
            made.density(chosen[1]),
            cell=made.cell,
            times_fs=times - (made.times_fs[0] - made.dt_fs),
            plane=plane,
            position=position,
            fps=fps,
            size=size,
            title=f"{made.formula}: {made.parameters.get('emulator', forecast.stem)} beside {real.path.stem}",
            progress=progress,
        )


def _span(trajectory: Trajectory) -> str:
    return f"{trajectory.times_fs[0]:g}–{trajectory.times_fs[-1]:g} fs"
