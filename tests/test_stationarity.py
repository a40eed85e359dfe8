"""Errors of correlated series: an AR(1) process, whose variance of the mean is known on paper."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import t as student

from engine import stationarity
from engine.recorder import Bins, Recorder

CELL = 8.66 * np.eye(3)


def autoregressive(runs, frames, memory, seed=0):
    """x_k = a x_{k−1} + ε with a = exp(−1/memory), stationary, unit variance, (runs, frames)."""
    a = np.exp(-1 / memory)
    noise = np.random.default_rng(seed).normal(0, np.sqrt(1 - a**2), (runs, frames + 400))
    return lfilter([1], [1, -a], noise, axis=1)[:, 400:]


def error_of_mean(frames, memory):
    """√Var of the mean of n frames: (1/n) Σ_k (1 − |k|/n) a^|k|."""
    a, k = np.exp(-1 / memory), np.arange(1, frames)
    return np.sqrt((1 + 2 * np.sum((1 - k / frames) * a**k)) / frames)


@pytest.mark.parametrize("memory", [0.1, 5.0, 20.0])
def test_block_bootstrap_error_of_the_mean_of_an_ar1_process(memory):
    means = [stationarity.time_mean(series) for series in autoregressive(100, 1000, memory)]
    assert np.mean([m.error for m in means]) == pytest.approx(error_of_mean(1000, memory), rel=0.15)


@pytest.mark.parametrize("memory", [0.1, 10.0])
def test_intervals_cover_the_true_mean_as_often_as_they_say(memory):
    hits = []
    for series in autoregressive(300, 1000, memory, seed=1):
        mean = stationarity.time_mean(series)
        hits.append(abs(mean.value) <= student.ppf(0.95, mean.freedom) * mean.error)
    assert 0.83 <= np.mean(hits) <= 0.95  # of 90 %; 300 draws know it to 0.017


def test_the_closed_form_is_what_resampling_gives():
    series = autoregressive(1, 400, 5.0, seed=2)[0]
    block, generator = 20, np.random.default_rng(0)
    starts = generator.integers(400, size=(20_000, 400 // block))
    wrapped = np.concatenate([series, series])
    sums = np.cumsum(np.concatenate([[0.0], wrapped]))
    resampled = ((sums[starts + block] - sums[starts]) / block).mean(axis=1)
    correction = np.sqrt(400 / (400 - block))
    assert stationarity.time_mean(series, block).error == pytest.approx(
        correction * resampled.std(), rel=0.02
    )


def test_blocks_grow_with_memory_and_a_constant_needs_none():
    lengths = [
        np.median([stationarity.block_length(s) for s in autoregressive(20, 2000, m)]) for m in (0.1, 5, 40)
    ]
    assert lengths[0] < lengths[1] < lengths[2]
    assert stationarity.time_mean(np.full(50, 36.8)).error == 0.0


def test_stationary_tenths_agree_and_shifted_ones_do_not():
    """False alarms stay near the level, and a shift of six errors is found."""
    runs, size, tests = 300, 1000, 10
    first, last = autoregressive(2 * runs, size, 10.0, seed=3).reshape(2, runs, size)
    shift = 6 * np.sqrt(2) * error_of_mean(size, 10.0)
    still = [stationarity.compare(a, b, 1.0, tests) for a, b in zip(first, last, strict=True)]
    moved = [stationarity.compare(a, b + shift, 1.0, tests) for a, b in zip(first, last, strict=True)]
    assert np.mean([not c.agree for c in still]) <= 3 * stationarity.LEVEL / tests
    assert np.mean([not c.agree for c in moved]) > 0.95
    assert np.mean([c.effect for c in moved]) == pytest.approx(shift, rel=0.1)


def liquid(frames, seed=0):
    """Frames of 8³ in Å⁻³ whose forty waves each follow an AR(1) process with a memory of 5 frames."""
    generator = np.random.default_rng(7)
    points = np.stack(np.meshgrid(*(np.arange(8) / 8,) * 3, indexing="ij"))
    numbers, phases = generator.integers(-3, 4, (40, 3)), generator.uniform(0, 2 * np.pi, 40)
    patterns = (
        np.cos(2 * np.pi * np.tensordot(numbers, points, axes=1) + phases[:, None, None, None])
        * numbers.any(axis=1)[:, None, None, None]
    )
    series = autoregressive(40, frames, 5.0, seed)
    return np.exp(-2.9 + 0.04 * np.einsum("kt,kxyz->txyz", series, patterns))


def record(frames):
    recorder = Recorder((8, 8, 8), CELL, 20.0, Bins.of(0.02, 0.15))
    recorder.update(frames)
    return recorder.record()


def test_a_stationary_run_has_equal_tenths_and_a_leaking_one_names_its_electrons():
    truth = record(liquid(800, seed=1))
    frames = liquid(1500, seed=2)
    fine = stationarity.tenths(record(frames), truth)
    assert fine["agree"] and fine["worst_z_over_limit"] <= 1
    assert {"mean of ln ρ", "electrons", "P(ρ), share of the tail"} <= set(fine["statistics"])
    assert any(name.startswith("F(q, 100 fs)") for name in fine["statistics"])
    assert any(name.startswith("S(q)") for name in fine["statistics"])
    leak = stationarity.tenths(record(frames * np.linspace(1, 0.97, 1500)[:, None, None, None]), truth)
    assert not leak["agree"]
    assert not leak["statistics"]["electrons"]["agree"]
    assert leak["statistics"]["electrons"]["last"] < leak["statistics"]["electrons"]["first"]


def test_electron_drift_finds_the_slope_within_its_error():
    frames = liquid(1000, seed=3)
    still = stationarity.electron_drift(record(frames))
    assert abs(still["slope_per_ps"]) < 4 * still["slope_per_ps_error"]
    electrons = record(frames).electrons
    growing = frames * (1 + 0.02 * np.arange(1000) / 1000)[:, None, None, None]
    drift = stationarity.electron_drift(record(growing))
    expected = 0.02 * electrons.mean() / 20.0  # per ps: 1000 frames of 20 fs
    assert drift["slope_per_ps"] - still["slope_per_ps"] == pytest.approx(expected, rel=0.02)
    assert drift["slope_per_ps_error"] < 0.3 * expected


def test_a_run_whose_tenths_are_shorter_than_a_picosecond_neither_agrees_nor_disagrees():
    truth = record(liquid(100, seed=1))
    short = stationarity.tenths(record(liquid(499, seed=2)), truth)
    assert short["statistics"] == {} and short["agree"] is None
    assert stationarity.tenths(record(liquid(500, seed=2)), truth)["agree"] is not None
