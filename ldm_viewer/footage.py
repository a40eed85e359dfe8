"""What is filmed: truth and forecast at the movie's moments, splined in time between frames. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from ldm_viewer.frames import Series

TRUTH, FORECAST, DIFFERENCE = "truth", "forecast", "difference"
VIEWS = (TRUTH, FORECAST, DIFFERENCE)
SAME_FS = 1e-3  # two times that are one
AROUND = 4  # frames on either side that a spline goes through


@dataclass(frozen=True, eq=False)
class Footage:
    """Truth and forecast on one grid and in one cell, either may be None, and the moments to film (T,) in fs.

    `zero_fs` is where the time stamp counts from: a forecast's start.
    """

    truth: Series | None
    forecast: Series | None
    times_fs: np.ndarray
    zero_fs: float = 0.0

    def __len__(self) -> int:
        return len(self.times_fs)

    @property
    def known(self) -> Series:
        """Truth, or the forecast where there is none."""
        return self.forecast if self.truth is None else self.truth

    def at(
        self, view: str, time_fs: float, pick: Callable[[np.ndarray], np.ndarray] = np.asarray
    ) -> np.ndarray | None:
        """What `pick` takes of truth, forecast or forecast − truth (Nx, Ny, Nz), Å⁻³.

        None outside its frames. `pick` is linear, such as a cut.
        """
        if view == DIFFERENCE:
            real, made = self.at(TRUTH, time_fs, pick), self.at(FORECAST, time_fs, pick)
            return None if real is None or made is None else made - real
        series = {TRUTH: self.truth, FORECAST: self.forecast}[view]
        return None if series is None else between(series, time_fs, pick)

    @classmethod
    def of(
        cls,
        truth: Series | None,
        forecast: Series | None,
        *,
        smooth: bool = True,
        span_fs: tuple[float, float] = (-np.inf, np.inf),
        common: bool = False,
        every: int = 1,
    ) -> Footage:
        """Every `every`-th moment inside `span_fs` (both ends in) of the forecast, or of the truth alone.

        With `smooth` in the finer of the two steps; with `common` only where both have frames.
        ValueError where nothing is left.
        """
        shown = [series for series in (truth, forecast) if series is not None and len(series)]
        if not shown:
            raise ValueError("there is nothing to export yet: open a trajectory, or make a forecast")
        main = forecast if forecast in shown else shown[0]
        step = min(series.step_fs for series in shown) if smooth else main.step_fs
        basis = next(series for series in reversed(shown) if series.step_fs == step)
        whole = [series for series in shown if common or series is main]
        low = max(span_fs[0], *(series.start_fs for series in whole)) - SAME_FS
        high = min(span_fs[1], *(series.end_fs for series in whole)) + SAME_FS
        first, last = np.ceil((low - basis.start_fs) / step), np.floor((high - basis.start_fs) / step)
        times = basis.start_fs + step * np.arange(first, last + 1)[::every]
        if not len(times):
            raise ValueError(f"there is no frame to export between {low:g} and {high:g} fs")
        return cls(truth, forecast, times, 0.0 if main is not forecast else main.start_fs - main.step_fs)


def between(
    series: Series, time_fs: float, pick: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> np.ndarray | None:
    """What `pick` takes of this time's frame, else of a cubic spline through those around, not below them.

    None before the first frame and after the last.
    """
    place = (time_fs - series.start_fs) / series.step_fs
    nearest = round(place)
    if 0 <= nearest < len(series) and abs(place - nearest) * series.step_fs < SAME_FS:
        return pick(series.frames[nearest])
    if not 0 < place < len(series) - 1:
        return None
    numbers = np.arange(max(0, int(place) + 1 - AROUND), min(len(series), int(place) + 1 + AROUND))
    frames = np.stack([pick(series.frames[int(number)]) for number in numbers])
    return np.maximum(CubicSpline(numbers, frames)(place), frames.min()).astype(np.float32)
