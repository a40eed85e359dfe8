"""Judge forecasts on data no model has seen, beside the trivial forecasts: one generator made of small parts.

    evaluation = finish(evaluate(emulators, Trajectory("li32.h5"), Protocol()))

VRMSE by lead time comes from several start frames; distribution, S(q), F(q,t) and drift from one long free
run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace

import numpy as np

from engine import scores
from engine.emulator import Emulator
from engine.recorder import Bins, Recorder
from engine.rollout import rollout
from engine.scores import LeadErrors
from engine.trajectory import Trajectory
from training.baselines import baselines, shuffled_record
from training.protocol import Bench, Entry, Evaluation, Progress, Protocol, middle_plane, whole
from training.unseen import start_frames, training_frames, unseen

BLOCK = 32  # frames read at once


def finish(
    events: Generator[Progress, None, Evaluation], show: Callable[[Progress], None] = lambda event: None
) -> Evaluation:
    """Run a judgement to its end, pass every event to `show`, and return the result."""
    while True:
        try:
            show(next(events))
        except StopIteration as end:
            return end.value


def evaluate(
    emulators: Iterable[Emulator],
    data: Trajectory,
    protocol: Protocol | None = None,
    *,
    train_data: Trajectory | None = None,
    independent: bool = False,
) -> Generator[Progress, None, Evaluation]:
    """Judge `emulators` and the baselines on the unseen frames of `data`; the result is the return value.

    Baselines live on the grid and step of the first emulator. `train_data` holds the frames to shuffle where
    `data` does not; `independent` says that `data` is another simulation than the one the models learnt from.
    Raises ValueError in words where nothing is unseen, or nothing fits.
    """
    emulators, protocol = list(emulators), protocol or Protocol()
    if not emulators:
        raise ValueError("there is no emulator to judge; name at least one")
    first, window = emulators[0], unseen(data, emulators, independent)
    bins, benches, entries = _bins(first.adapt(window)), [], []
    for emulator in emulators:
        benches.append((yield from _bench(emulator, window, bins, protocol)))
    for emulator, bench in zip(emulators, benches, strict=True):
        entries.append((yield from _judge(emulator, bench, protocol)))
    seen, training = training_frames(data, first, train_data, independent), None
    if seen is not None:
        training = yield from shuffled_record(seen, benches[0], protocol)
    nearest, entries = _memorised(entries, benches[0], protocol, seen)
    entries += yield from baselines(benches[0], protocol, seen, training)
    return Evaluation(
        protocol=protocol,
        data=_describe(window, benches[0], seen),
        bench=benches[0],
        planes=_true_planes(benches[0], protocol),
        log_mean=first.normaliser.mean,
        log_std=first.normaliser.std,
        training=training,
        nearest=nearest,
        entries=tuple(entries),
    )


def _bins(truth: Trajectory) -> Bins:
    extremes = np.array([(block.min(), block.max()) for block in truth.blocks(BLOCK)])
    return Bins.of(float(extremes[:, 0].min()), float(extremes[:, 1].max()))


def _bench(
    emulator: Emulator, window: Trajectory, bins: Bins, protocol: Protocol
) -> Generator[Progress, None, Bench]:
    truth = emulator.adapt(window)
    # lead times take at most half of the window, so that start frames can spread over the other half
    half = (len(truth) - 1) * truth.dt_fs / 2
    leads = tuple(t for t in protocol.lead_times_fs if t <= half and whole(t, emulator.dt_fs))
    longest = round(max(leads, default=emulator.dt_fs) / truth.dt_fs)
    starts = start_frames(len(truth), protocol.starts, longest)
    recorder = Recorder(truth.grid, truth.cell, truth.dt_fs, bins, step=emulator.stride)
    for block in truth.blocks(BLOCK):
        recorder.update(block)
        yield Progress(emulator.name, "truth", recorder.frames, len(truth))
    return Bench(truth, recorder.record(), starts, leads, emulator.dt_fs)


def _judge(emulator: Emulator, bench: Bench, protocol: Protocol) -> Generator[Progress, None, Entry]:
    errors = yield from _forecasts(emulator, bench, protocol)
    recorder, planes, spent, total = bench.recorder(), {}, 0.0, protocol.free_frames
    compared, every = [], max(1, total // protocol.compared_frames)
    state = emulator.initial_state(bench.truth, int(bench.starts[0]))
    begun = time.perf_counter()
    for frame in rollout(emulator, state, total, seed=protocol.seed):
        spent += time.perf_counter() - begun
        recorder.update(frame.density)
        if frame.index + 1 == total or any(abs(frame.time_fs - t) < 1e-6 for t in protocol.slice_times_fs):
            planes[frame.time_fs] = middle_plane(frame.density[0])
        if frame.index % every == 0:
            compared.append(frame.density[0])
        yield Progress(emulator.name, "free run", frame.index + 1, total)
        if recorder.broken_at is not None:
            break
        begun = time.perf_counter()
    return Entry(
        name=emulator.name,
        kind="model",
        bench=bench,
        runs=(recorder.record(),) if recorder.frames else (),
        errors=errors,
        seconds_per_frame=spent / (frame.index + 1),
        broken_at=recorder.broken_at,
        planes=planes,
        compared=np.stack(compared),
        card=emulator.card,
    )


def _forecasts(emulator: Emulator, bench: Bench, protocol: Protocol) -> Generator[Progress, None, LeadErrors]:
    """Ensembles from every start frame, compared with the truth at the lead times."""
    errors, steps = LeadErrors(), {round(lead / bench.dt_fs): lead for lead in bench.leads_fs}
    if not steps:
        return errors
    every, length = int(np.gcd.reduce(list(steps))), max(steps)
    for number, start in enumerate(map(int, bench.starts)):
        state, seed = emulator.initial_state(bench.truth, start), protocol.seed + 1 + number
        frames = rollout(emulator, state, length, members=protocol.members, seed=seed, decode_every=every)
        for frame in frames:
            if frame.index + 1 in steps:
                lead = steps[frame.index + 1]
                errors.add(lead, frame.density, bench.at(start, lead))
            done = number * length + frame.index + 1
            yield Progress(emulator.name, "forecasts", done, length * len(bench.starts))
    return errors


def _memorised(
    entries: list[Entry], bench: Bench, protocol: Protocol, seen: Trajectory | None
) -> tuple[float, list[Entry]]:
    """How close the truth and every free run come to a training frame; NaN where none is at hand.

    The tenth part that comes closest, since the frames at hand may be only some of those trained on.
    """
    if seen is None:
        return float("nan"), entries
    picks = np.unique(np.linspace(0, len(bench.truth) - 1, protocol.compared_frames).astype(int))
    truth = bench.truth.density(picks)
    spread = float(truth.std())

    def closest(frames: np.ndarray | None) -> float:
        if frames is None or frames.shape[1:] != seen.grid:
            return float("nan")
        return float(np.quantile(scores.nearest(frames, seen.blocks(BLOCK), spread), 0.1))

    return closest(truth), [replace(entry, nearest=closest(entry.compared)) for entry in entries]


def _true_planes(bench: Bench, protocol: Protocol) -> dict[float, np.ndarray]:
    """Truth's middle plane at the start (0) and at the slice times that the window still holds."""
    start = int(bench.starts[0])
    reach = (len(bench.truth) - 1 - start) * bench.truth.dt_fs
    times = [t for t in protocol.slice_times_fs if t <= reach + 1e-6 and whole(t, bench.dt_fs)]
    return {t: middle_plane(bench.at(start, t)) for t in (0.0, *times)}


def _describe(window: Trajectory, bench: Bench, seen: Trajectory | None) -> dict:
    truth = bench.truth
    return {
        "name": window.path.name,
        "digest": window.digest(),
        "unseen_fs": [float(truth.times_fs[0]), float(truth.times_fs[-1])],
        "unseen_frames": len(truth),
        "grid": list(truth.grid),
        "delta_fs": truth.dt_fs,
        "start_fs": truth.times_fs[bench.starts].tolist(),
        "training_frames_from": None if seen is None else seen.path.name,
    }
