"""Observables kept by frame for the docks: the engine's own numbers, baselines by time, any step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from waves import CELL, FRAMES, GRID, STEP_FS, wave

from engine.observables import RELAXATION_SHELLS, electron_count, histogram, intermediate_scattering
from engine.scores import jsd, vrmse
from engine.trajectory import Trajectory
from ldm_viewer.frames import GrowingFrames, Series
from ldm_viewer.ledger import BLOCK, Ledger, Reading, divergences
from ldm_viewer.state import Origin, Run, Setup, State

START_FS = 20.0


def told(wave_file: Path, step_fs: float, frames: int, late_fs: float = 0.0) -> State:
    """A forecast that is the truth, only `late_fs` behind."""
    film = GrowingFrames(np.empty((frames, 1, *GRID), np.float32))
    for index in range(frames):
        film.append(wave(START_FS + (index + 1) * step_fs - late_fs)[None])
    run = Run(1, film, START_FS + step_fs, step_fs, CELL, Origin("", Setup()), None)
    trajectory = Trajectory(wave_file)
    series = Series.of(trajectory)
    return State(
        trajectory=trajectory,
        adapted=trajectory,
        truth=series,
        runs=(run,),
        shown=run,
        film=run.series(0),
        forecast=run.series(0, frames),
    )


def read_all(ledger: Ledger, state: State) -> Reading:
    reading = ledger.read(state)
    while reading.behind:
        reading = ledger.read(state)
    return reading


def test_reads_in_blocks_and_says_when_frames_wait(wave_file: Path) -> None:
    ledger, state = Ledger(), told(wave_file, STEP_FS, BLOCK + 3)
    first = ledger.read(state)
    assert (len(first.truth), len(first.page.record), first.behind) == (BLOCK, BLOCK, True)
    last = read_all(ledger, state)
    assert (len(last.truth), len(last.page.record)) == (FRAMES, BLOCK + 3)


@pytest.mark.parametrize("step_fs", [2.0, 10.0])
def test_errors_are_those_at_equal_times(wave_file: Path, step_fs: float) -> None:
    frames = 5
    state = told(wave_file, step_fs, frames, late_fs=4.0)
    page = read_all(Ledger(), state).page
    times = START_FS + step_fs * np.arange(1, frames + 1)
    np.testing.assert_allclose(page.times_fs, times)
    truth = np.stack([wave(STEP_FS * k) for k in range(FRAMES)])
    for index, time_fs in enumerate(times):
        late, now, first = wave(time_fs - 4.0), wave(time_fs), wave(START_FS)
        for name, field in (("forecast", late), ("persistence", first)):
            expected = np.sqrt(((field - now) ** 2).mean()) / truth.std()
            assert page.vrmse[name][index] == pytest.approx(expected, rel=1e-4)
        slope = (first - wave(START_FS - STEP_FS)) / STEP_FS
        moved = first + (time_fs - START_FS) * slope
        assert page.vrmse["linear"][index] == pytest.approx(
            vrmse(moved, now) * now.std() / truth.std(), rel=1e-3
        )
    np.testing.assert_allclose(page.record.electrons, electron_count(wave(0.0), CELL)[0], rtol=1e-5)


def test_a_perfect_forecast_has_no_error_and_beyond_the_truth_there_is_none(wave_file: Path) -> None:
    page = read_all(Ledger(), told(wave_file, 10.0, 8)).page
    known = START_FS + 10.0 * np.arange(1, 9) <= STEP_FS * (FRAMES - 1)
    np.testing.assert_allclose(page.vrmse["forecast"][known], 0.0, atol=1e-5)
    assert np.isnan(page.vrmse["forecast"][~known]).all() and (~known).any()
    assert np.isfinite(page.jsd["forecast"]).all()


def test_relaxation_is_the_engines(wave_file: Path) -> None:
    state = told(wave_file, STEP_FS, 20)
    reading = read_all(Ledger(), state)
    lags = np.array([0.0, 4.0, 20.0])
    shells = RELAXATION_SHELLS
    for record, series in ((reading.truth, state.truth), (reading.page.record, state.forecast)):
        expected = intermediate_scattering(np.asarray(series.frames[:]), CELL, STEP_FS, lags, shells)
        np.testing.assert_allclose(record.relaxation(lags), expected, rtol=1e-5)


def test_other_runs_are_read_too(wave_file: Path) -> None:
    state, other = told(wave_file, STEP_FS, 9), told(wave_file, 10.0, 4, late_fs=4.0)
    second = replace(other.shown, number=2)
    reading = read_all(Ledger(), replace(state, runs=(state.shown, second)))
    ((name, page),) = reading.others
    alone = read_all(Ledger(), other).page
    assert name == "run 2" and len(reading.page.record) == 9
    np.testing.assert_allclose(page.vrmse["forecast"], alone.vrmse["forecast"])


def test_divergences_are_the_engines() -> None:
    rows = np.random.default_rng(0).integers(0, 50, (6, 30))
    whole = rows.sum(axis=0)
    np.testing.assert_allclose(divergences(rows, whole), [jsd(row, whole) for row in rows])


def test_another_trajectory_begins_a_new_account(wave_file: Path) -> None:
    ledger = Ledger()
    read_all(ledger, told(wave_file, STEP_FS, 3))
    other = told(wave_file, STEP_FS, 3)
    assert len(ledger.read(other).truth) == BLOCK


def test_values_fall_into_the_bins_of_the_truth(wave_file: Path) -> None:
    reading = read_all(Ledger(), told(wave_file, STEP_FS, 4))
    edges = reading.truth.bins.value
    np.testing.assert_allclose(
        reading.page.record.value_density,
        histogram(np.stack([wave(START_FS + STEP_FS * (k + 1)) for k in range(4)]), edges),
    )
