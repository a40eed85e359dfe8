"""`ldm movie`: truth and forecast, two trajectory files, over the time that both cover."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from engine.trajectory import Trajectory

if TYPE_CHECKING:
    from ldm_viewer.footage import Footage
    from ldm_viewer.movie import Shot


def run(
    truth: Path,
    forecast: Path,
    out: Path,
    shot: Shot | None = None,
    *,
    every: int = 1,
    member: int | None = 0,
) -> Path:
    """Write a movie with a frame at every time of the file with the finer step; the other one is splined.

    ValueError where the files have no time in common.
    """
    from ldm_viewer.movie import Shot, slice_movie

    footage, about = open_footage(truth, forecast, every=every, member=member)
    shot = shot or Shot()
    with tqdm(total=len(footage), unit="frame", desc="movie") as bar:

        def progress(done: int, total: int) -> None:
            bar.update(done - bar.n)

        return slice_movie(out, footage, shot if shot.title else replace(shot, title=about), progress)


def open_footage(
    truth: Path, forecast: Path, *, every: int = 1, member: int = 0, smooth: bool = True
) -> tuple[Footage, str]:
    """Both files on the forecast's grid where both have frames, and a title; ValueError where none has."""
    from ldm_viewer.footage import Footage
    from ldm_viewer.frames import Series

    made = Trajectory(forecast)
    made = made.at_member(member) if made.is_ensemble else made
    real = Trajectory(truth).resampled(made.grid)
    if max(real.times_fs[0], made.times_fs[0]) > min(real.times_fs[-1], made.times_fs[-1]):
        raise ValueError(f"{truth} ({_span(real)}) and {forecast} ({_span(made)}) have no time in common")
    both = (Series.of(real), Series.of(made))
    footage = Footage.of(*both, smooth=smooth, common=True, every=every)
    return (
        footage,
        f"{made.formula}: {made.parameters.get('emulator', forecast.stem)} beside {real.path.stem}",
    )


def _span(trajectory: Trajectory) -> str:
    return f"{trajectory.times_fs[0]:g}–{trajectory.times_fs[-1]:g} fs"
