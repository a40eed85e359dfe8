"""`ldm movie` and `ldm page`: truth and forecast, two trajectory files, over the time that both cover."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tqdm import tqdm

from engine.trajectory import Trajectory

if TYPE_CHECKING:
    from ldm_viewer.encoder import Progress
    from ldm_viewer.footage import Footage
    from ldm_viewer.movie import Shot


def run(
    truth: Path, forecast: Path, out: Path, shot: Shot | None = None, *, every: int = 1, member: int = 0
) -> Path:
    """Write a slice movie with a frame at every time of the file with the finer step; the other is splined.

    ValueError where the files have no time in common.
    """
    from ldm_viewer.movie import Shot, slice_movie

    footage, about = open_footage(truth, forecast, every=every, member=member)
    shot = shot or Shot()
    with _bar("movie") as progress:
        return slice_movie(out, footage, shot if shot.title else replace(shot, title=about), progress)


def run_surface(
    truth: Path,
    forecast: Path,
    out: Path,
    motion: str,
    look: dict[str, Any],
    *,
    show: tuple[str, ...],
    every: int = 1,
    member: int = 0,
) -> Path:
    """Write a movie of isosurfaces: `motion` is turn, time or both; `look` are fields of a `Ride`.

    Of the difference where `show` is that alone. Through time it goes by the forecast's own frames.
    """
    from ldm_viewer.frames import shared_limits
    from ldm_viewer.scene import BOTH, DIFFERENCE
    from ldm_viewer.state import State
    from ldm_viewer.turntable import TIME, TURN, TURN_AND_TIME, Ride, surface_movie

    footage, about = open_footage(truth, forecast, every=every, member=member, smooth=False)
    both = {"truth": footage.truth, "forecast": footage.forecast, "film": footage.forecast}
    state = State(trajectory=Trajectory(truth), time_fs=float(footage.times_fs[0]), **both)
    motions = {"turn": TURN, "time": TIME, "both": TURN_AND_TIME}
    what = DIFFERENCE if show == (DIFFERENCE,) else BOTH
    look = look | {"title": look.get("title") or about, "limits": shared_limits(footage.truth)}
    ride = Ride(motion=motions[motion], what=what, **look)
    with _bar("movie") as progress:
        return surface_movie(out, state, footage.times_fs, ride, footage.zero_fs, progress)


def run_page(
    truth: tyro.conf.Positional[Path],
    forecast: tyro.conf.Positional[Path],
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    *,
    title: str = "",
    every: int = 1,
    member: int = 0,
) -> Path:
    """Write two trajectory files as one HTML page: slices with a slider, curves, an isosurface; no network.

    Args:
        truth: trajectory file of the simulation.
        forecast: trajectory file written by `ldm rollout`.
        out: page to write: .html.
        title: words above; without them system, emulator and file.
        every: show every n-th frame.
        member: member, if the forecast is an ensemble.
    """
    from ldm_viewer.page import write_page

    footage, about = open_footage(truth, forecast, every=every, member=member, smooth=False)
    with _bar("page") as progress:
        return write_page(out, footage, title=title or about, progress=progress)


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


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """A progress bar, as what writers call after each frame."""
    with tqdm(unit="frame", desc=name) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def _span(trajectory: Trajectory) -> str:
    return f"{trajectory.times_fs[0]:g}–{trajectory.times_fs[-1]:g} fs"
