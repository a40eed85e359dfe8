"""Everything that drives a forecaster: ensembles, one long free run, the truth through its autoencoder.

Each is a generator of `Progress` that returns what it gathered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np

from engine import scores
from engine.ensemble import LeadBands, LeadErrors
from engine.recorder import Record
from engine.rollout import rollout
from engine.trajectory import Trajectory
from training.protocol import Bench, Forecaster, Progress, Protocol, history, middle_plane


@dataclass(frozen=True)
class FreeRun:
    """What a free run left behind; `record` is None when already its first frame was broken."""

    record: Record | None
    broken_at: int | None
    planes: dict[float, np.ndarray]
    compared: np.ndarray
    seconds_per_frame: float


def ensembles(
    forecaster: Forecaster, bench: Bench, protocol: Protocol
) -> Generator[Progress, None, tuple[LeadErrors, LeadBands]]:
    """Ensembles from every start frame, compared with the truth at the lead times."""
    errors, bands = LeadErrors(), LeadBands(bench.truth.grid, bench.truth.cell)
    steps = {round(lead / bench.dt_fs): lead for lead in bench.leads_fs}
    if not steps:
        return errors, bands
    length = max(steps)
    for number, start in enumerate(map(int, bench.starts)):
        state, seed = forecaster.initial_state(bench.truth, start), protocol.seed + 1 + number
        # latents come for nothing, densities do not: only those of the lead times are decoded
        never = {"decode_every": length + 1}
        for frame in rollout(forecaster, state, length, members=protocol.members, seed=seed, **never):
            if frame.index + 1 in steps:
                lead = steps[frame.index + 1]
                density, truth = forecaster.decode(frame.latents), bench.at(start, lead)
                errors.add(lead, density, truth)
                bands.add(lead, density, truth)
            done = number * length + frame.index + 1
            yield Progress(forecaster.name, "forecasts", done, length * len(bench.starts))
    return errors, bands


def free_run(forecaster: Forecaster, bench: Bench, protocol: Protocol) -> Generator[Progress, None, FreeRun]:
    """One member for `protocol.free_frames` steps from the first start frame, or until it breaks."""
    recorder, planes, spent, total = bench.recorder(), {}, 0.0, protocol.free_frames
    compared, every = [], max(1, total // protocol.compared_frames)
    state = forecaster.initial_state(bench.truth, int(bench.starts[0]))
    begun = time.perf_counter()
    for frame in rollout(forecaster, state, total, seed=protocol.seed):
        spent += time.perf_counter() - begun
        recorder.update(frame.density)
        if frame.index + 1 == total or any(abs(frame.time_fs - t) < 1e-6 for t in protocol.slice_times_fs):
            planes[frame.time_fs] = middle_plane(frame.density[0])
        if frame.index % every == 0:
            compared.append(frame.density[0])
        yield Progress(forecaster.name, "free run", frame.index + 1, total)
        if recorder.broken_at is not None:
            break
        begun = time.perf_counter()
    return FreeRun(
        record=recorder.record() if recorder.frames else None,
        broken_at=recorder.broken_at,
        planes=planes,
        compared=np.stack(compared),
        seconds_per_frame=spent / (frame.index + 1),
    )


def reconstructions(
    forecaster: Forecaster, bench: Bench, protocol: Protocol, seen: Trajectory | None
) -> Generator[Progress, None, dict]:
    """D(E(truth)), the forecast of nothing: what the autoencoder alone loses.

    VRMSE on `unseen` frames one step apart and on `training` frames, and the scores that D(E(truth)) of the
    unseen frames earns as a free run: no forecast in this latent can be expected to do better.
    """
    past, result = history(forecaster), {}
    unseen = range(past, len(bench.truth), forecaster.stride)[: protocol.autoencoder_frames]
    recorder, errors = bench.recorder(), LeadErrors()
    yield from _reconstruct(forecaster, bench.truth, unseen, errors, recorder.update)
    result["unseen"] = errors.vrmse()[0.0]
    if recorder.frames and recorder.broken_at is None:
        record = recorder.record()
        result |= scores.score(record, bench.record, bench.lags_fs(len(record)))
    if seen is not None and len(seen) > past:
        count = min(protocol.compared_frames, protocol.autoencoder_frames)
        picks = np.unique(np.linspace(past, len(seen) - 1, count).astype(int))
        errors = LeadErrors()
        yield from _reconstruct(forecaster, seen, map(int, picks), errors)
        result["training"] = errors.vrmse()[0.0]
    return result


def _reconstruct(
    forecaster: Forecaster,
    truth: Trajectory,
    frames: Iterable[int],
    errors: LeadErrors,
    record: Callable[[np.ndarray], None] = lambda density: None,
) -> Generator[Progress, None, None]:
    frames = list(frames)
    for done, index in enumerate(frames, start=1):
        density = forecaster.decode(forecaster.encode(forecaster.initial_state(truth, index)))
        errors.add(0.0, density[0], truth.density(index))
        record(density)
        yield Progress(forecaster.name, "autoencoder", done, len(frames))
