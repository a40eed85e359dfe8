"""The trivial forecasts a model must beat: nothing moves, everything moves on straight, a shuffled deck."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import numpy as np

from engine import scores
from engine.ensemble import LeadBands, LeadErrors
from engine.recorder import Record, Recorder
from engine.trajectory import Trajectory
from training.entry import Entry
from training.protocol import Bench, Progress, Protocol, whole

BLOCK = 32  # frames read at once

Forecast = Callable[[int, np.ndarray], Iterator[np.ndarray]]


def baselines(
    bench: Bench,
    protocol: Protocol,
    seen: Trajectory | None,
    training: Record | None,
    leads_fs: tuple[float, ...],
) -> Generator[Progress, None, list[Entry]]:
    """Entries of persistence, linear extrapolation and, where training frames are at hand, the shuffled deck.

    They answer at all of `leads_fs` that the truth has frames for, whatever the step of the model on `bench`.
    """
    truth = bench.truth
    bench = replace(bench, leads_fs=tuple(t for t in leads_fs if whole(t, truth.dt_fs)))

    def persistence(start: int, times: np.ndarray) -> Iterator[np.ndarray]:
        return scores.persistence(truth.density(start), times)

    def line(start: int, times: np.ndarray) -> Iterator[np.ndarray]:
        return scores.linear_extrapolation(truth.density(start), truth.density(start - 1), times, truth.dt_fs)

    entries = []
    for name, forecast in (("persistence", persistence), ("linear extrapolation", line)):
        entries.append((yield from _extrapolated(name, forecast, bench)))
    if seen is not None and training is not None:
        entries.append(_shuffled(bench, protocol, seen, training))
    return entries


def shuffled_record(seen: Trajectory, bench: Bench, protocol: Protocol) -> Generator[Progress, None, Record]:
    """The record of training frames in random order, at most as many as the free run has."""
    deck = scores.shuffled(len(seen), min(len(seen), max(protocol.free_frames, 100)), protocol.seed)
    recorder = bench.recorder()
    for begin in range(0, len(deck), BLOCK):
        recorder.update(seen.density(deck[begin : begin + BLOCK]))
        yield Progress("shuffled frames", "training frames", recorder.frames, len(deck))
    return recorder.record()


def _extrapolated(name: str, forecast: Forecast, bench: Bench) -> Generator[Progress, None, Entry]:
    """Errors and, from every start frame, a run just long enough for the longest lag of F(q,t).

    Longer runs would say nothing new: one stands still and the other leaves for infinity.
    """
    errors, bands, runs, spent = LeadErrors(), _bands(bench), [], 0.0
    lags = bench.lags_fs()
    spacing = lags[0] if len(lags) else bench.dt_fs
    times = spacing * np.arange(1, round(1.25 * lags[-1] / spacing) + 2 if len(lags) else 3)
    floor = float(np.exp(bench.record.bins.log[0]))  # a line may cross zero, a density may not
    for number, start in enumerate(map(int, bench.starts), start=1):
        for lead, density in zip(bench.leads_fs, forecast(start, np.array(bench.leads_fs)), strict=True):
            errors.add(lead, density, bench.at(start, lead))
            bands.add(lead, density, bench.at(start, lead))
        begun = time.perf_counter()
        fields = np.maximum(np.stack(list(forecast(start, times))), floor)
        spent += time.perf_counter() - begun
        recorder = Recorder(bench.truth.grid, bench.truth.cell, spacing, bench.record.bins)
        recorder.update(fields)
        runs.append(recorder.record())
        yield Progress(name, "forecasts", number, len(bench.starts))
    cost = spent / (len(bench.starts) * len(times))
    return Entry(name, "baseline", bench, tuple(runs), errors, bands, cost)


def _shuffled(bench: Bench, protocol: Protocol, seen: Trajectory, training: Record) -> Entry:
    """The climatology: every start frame gets its own random training frames as members, at all leads."""
    errors, bands, begun = LeadErrors(), _bands(bench), time.perf_counter()
    count = min(protocol.members, len(seen))
    deck = scores.shuffled(len(seen), count * len(bench.starts), protocol.seed + 1)
    for number, start in enumerate(map(int, bench.starts)):
        members = seen.density(deck[number * count : (number + 1) * count])
        for lead in bench.leads_fs:
            truth = bench.at(start, lead)
            errors.add(lead, members, truth)
            bands.add(lead, members, truth)
    cost = (time.perf_counter() - begun) / len(deck)
    nearest = {"closest_tenth": 0.0, "median": 0.0, "ratio": 0.0, "ratio_of_medians": 0.0}
    return Entry("shuffled frames", "baseline", bench, (training,), errors, bands, cost, nearest=nearest)


def _bands(bench: Bench) -> LeadBands:
    return LeadBands(bench.truth.grid, bench.truth.cell)
