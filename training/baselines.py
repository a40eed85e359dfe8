"""The trivial forecasts a model must beat: nothing moves, everything moves on straight, a shuffled deck."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

import numpy as np

from engine import scores
from engine.recorder import Record, Recorder
from engine.trajectory import Trajectory
from training.protocol import Bench, Entry, Progress, Protocol

BLOCK = 32  # frames read at once

Forecast = Callable[[int, np.ndarray], Iterator[np.ndarray]]


def baselines(
    bench: Bench, protocol: Protocol, seen: Trajectory | None, training: Record | None
) -> Generator[Progress, None, list[Entry]]:
    """Entries of persistence, linear extrapolation and, where training frames are at hand.

    The shuffled deck.
    """
    truth = bench.truth

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
    errors, runs, spent = scores.LeadErrors(), [], 0.0
    lags = bench.lags_fs()
    spacing = lags[0] if len(lags) else bench.dt_fs
    times = spacing * np.arange(1, round(1.25 * lags[-1] / spacing) + 2 if len(lags) else 3)
    floor = float(np.exp(bench.record.bins.log[0]))  # a line may cross zero, a density may not
    for number, start in enumerate(map(int, bench.starts), start=1):
        for lead, density in zip(bench.leads_fs, forecast(start, np.array(bench.leads_fs)), strict=True):
            errors.add(lead, density, bench.at(start, lead))
        begun = time.perf_counter()
        fields = np.maximum(np.stack(list(forecast(start, times))), floor)
        spent += time.perf_counter() - begun
        recorder = Recorder(bench.truth.grid, bench.truth.cell, spacing, bench.record.bins)
        recorder.update(fields)
        runs.append(recorder.record())
        yield Progress(name, "forecasts", number, len(bench.starts))
    cost = spent / (len(bench.starts) * len(times))
    return Entry(name, "baseline", bench, tuple(runs), errors, cost)


def _shuffled(bench: Bench, protocol: Protocol, seen: Trajectory, training: Record) -> Entry:
    errors, begun = scores.LeadErrors(), time.perf_counter()
    draws = len(bench.starts) * len(bench.leads_fs)
    deck = iter(scores.shuffled(len(seen), max(draws, 1), protocol.seed + 1))
    for start in map(int, bench.starts):
        for lead in bench.leads_fs:
            errors.add(lead, seen.density(int(next(deck))), bench.at(start, lead))
    cost = (time.perf_counter() - begun) / max(draws, 1)
    return Entry("shuffled frames", "baseline", bench, (training,), errors, cost, nearest=0.0)
