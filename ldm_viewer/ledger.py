"""Observables of every frame of truth and forecast, taken a few frames at a time. No Qt.

The docks ask one `Ledger`, from one thread beside the window; what it has read of a run it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import rel_entr

from engine.observables import counts
from engine.recorder import Bins, Record, Recorder
from engine.scores import linear_extrapolation
from ldm_viewer.frames import Series

if TYPE_CHECKING:
    from ldm_viewer.state import Run, State

BLOCK = 6  # frames read at one request: some 20 ms, beside a window that must stay fluid
SAMPLES = 8  # frames whose smallest and largest values set the histograms' range
LONGEST = 4000  # frames of the truth: what is kept of each would else fill the memory
KEPT = 8  # forecasts, or members of one, that are remembered
BASELINES = ("persistence", "linear")


@dataclass(frozen=True)
class Page:
    """Beside the record of a forecast, frame by frame: errors at equal times, NaN where there is no truth."""

    record: Record
    times_fs: np.ndarray
    vrmse: dict[str, np.ndarray]  # "forecast" and the baselines → (T,)
    jsd: dict[str, np.ndarray]  # to the truth's distribution over all its frames, nats


@dataclass
class _Account:
    """What was read of one series."""

    series: Series
    recorder: Recorder
    squares: dict[str, list[float]] = field(default_factory=dict)  # ⟨(ρ̂ − ρ)²⟩ in Å⁻⁶
    counts: dict[str, list[np.ndarray]] = field(default_factory=dict)  # of baselines, (bins,)
    page: Page | None = None
    version: tuple[int, int] = (0, 0)  # frames of forecast and truth that the page knows

    @property
    def read(self) -> int:
        return self.recorder.frames

    def behind(self, until: int) -> bool:
        return self.recorder.broken_at is None and self.read < until


@dataclass(frozen=True)
class Reading:
    """What is known now; `behind` says that frames wait for the next request."""

    truth: Record | None
    truth_times_fs: np.ndarray
    page: Page | None
    behind: bool
    others: tuple[tuple[str, Page], ...] = ()
    """The first members of the runs that are not shown, with the names of their runs."""


class Ledger:
    """Reads on at every request, a block of frames of each series."""

    def __init__(self) -> None:
        self._truth: _Account | None = None
        self._forecasts: dict[tuple[int, int | None], _Account] = {}
        self._basis: object = None
        self._whole: Series | None = None  # the truth in its full length, to compare with

    def read(self, state: State) -> Reading:
        """Truth: the file or its first 4000 frames, at the emulator's step. Page: the shown forecast."""
        truth = self._account_of_truth(state)
        if truth is None:
            return Reading(None, np.empty(0), None, False)
        for frame in _next(truth, len(truth.series)):
            truth.recorder.update(frame)
        if not truth.read:
            return Reading(None, np.empty(0), None, False)
        record, behind = truth.recorder.record(), truth.behind(len(truth.series))
        times = truth.series.start_fs + truth.series.step_fs * np.arange(len(record))
        page, others = None, []
        for run in state.runs[-KEPT:]:
            shown = run is state.shown
            ready = state.ready if shown else run.film.ready
            account = self._account_of(run, state.member if shown else 0)
            for index, frame in enumerate(_next(account, ready), start=account.read):
                account.recorder.update(frame)
                if account.recorder.broken_at is not None:
                    break
                _compare(account, frame, index, self._whole)
            behind = behind or account.behind(ready)
            if account.read and shown:
                page = _page(account, record)
            elif account.read:
                others.append((f"run {run.number}", _page(account, record)))
        return Reading(record, times, page, behind, tuple(others))

    def _account_of_truth(self, state: State) -> _Account | None:
        basis = state.trajectory if state.adapted is None else state.adapted
        if basis is None:
            self._truth = self._basis = None
        elif basis is not self._basis:
            series, self._whole = Series.of(basis[:LONGEST]), Series.of(basis)
            self._truth, self._basis = _Account(series, _recorder(series, _bins(series))), basis
            self._forecasts.clear()
        return self._truth

    def _account_of(self, run: Run, member: int | None) -> _Account:
        key = (run.number, member)
        if key not in self._forecasts:
            while len(self._forecasts) >= 2 * KEPT:
                self._forecasts.pop(next(iter(self._forecasts)))
            series = run.series(member)
            self._forecasts[key] = _Account(series, _recorder(series, self._truth.recorder.bins))
        return self._forecasts[key]


def _next(account: _Account, until: int) -> list[np.ndarray]:
    return [account.series.frames[index] for index in range(account.read, min(account.read + BLOCK, until))]


def _bins(series: Series) -> Bins:
    picks = np.unique(np.linspace(0, len(series) - 1, SAMPLES).astype(int))
    frames = [series.frames[int(pick)] for pick in picks]
    return Bins.of(float(max(np.min(frames), 1e-9)), float(np.max(frames)))


def _recorder(series: Series, bins: Bins) -> Recorder:
    return Recorder(series.grid, series.cell, series.step_fs, bins)


def _compare(account: _Account, frame: np.ndarray, index: int, truth: Series) -> None:
    """Squared errors of forecast and baselines at this frame's time, and what the baselines' values are."""
    start_fs = account.series.start_fs - account.series.step_fs
    real = truth.at(account.series.time_at(index))
    rivals = {"forecast": frame, **baselines(truth, start_fs, (index + 1) * account.series.step_fs)}
    for name, values in rivals.items():
        error = np.nan if real is None else float(((values - real) ** 2).mean(dtype=np.float64))
        account.squares.setdefault(name, []).append(error)
        if name in BASELINES:
            account.counts.setdefault(name, []).append(counts(values[None], account.recorder.bins.value)[0])


def baselines(truth: Series, start_fs: float, lead_fs: float) -> dict[str, np.ndarray]:
    """The truth where the run began, at rest and moved along its derivative; none beyond the truth's end."""
    index = truth.index_at(start_fs)
    if index is None or index < 1:
        return {}
    current, previous = np.asarray(truth.frames[index]), np.asarray(truth.frames[index - 1])
    (moved,) = linear_extrapolation(current, previous, np.array([lead_fs]), truth.step_fs)
    return {"persistence": current, "linear": moved}


def _page(account: _Account, reference: Record) -> Page:
    """The page, made anew only when there is news of the forecast or of the truth."""
    version = account.read, len(reference)
    if account.page is None or account.version != version:
        account.page, account.version = _written(account, reference), version
    return account.page


def _written(account: _Account, reference: Record) -> Page:
    record = account.recorder.record()
    mean, square = reference.moments.mean(axis=0)
    spread = float(np.sqrt(max(square - mean**2, 1e-30)))
    whole = reference.value_counts.sum(axis=0)
    told = {"forecast": record.value_counts, **account.counts}
    return Page(
        record,
        account.series.start_fs + account.series.step_fs * np.arange(len(record)),
        {name: np.sqrt(values) / spread for name, values in account.squares.items()},
        {name: divergences(np.asarray(rows), whole) for name, rows in told.items()},
    )


def divergences(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`engine.scores.jsd` of many distributions (T, bins) to one (bins,) at once, (T,) nats."""
    p = rows / rows.sum(axis=1, keepdims=True)
    q = reference / reference.sum()
    middle = (p + q) / 2
    return (rel_entr(p, middle).sum(axis=1) + rel_entr(q, middle).sum(axis=1)) / 2
