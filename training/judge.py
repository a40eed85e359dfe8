"""Judge forecasts on data no model has seen, beside the trivial forecasts: one generator made of small parts.

    evaluation = finish(evaluate(emulators, Trajectory("li32.h5"), Protocol()))

Errors by lead time come from ensembles at several start frames; distribution, S(q), F(q,t) and drift from one
long free run; the floor from blocks of AIMD.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace

import numpy as np

from engine.trajectory import Trajectory
from training import floors, forecasts, memorised
from training.baselines import baselines, shuffled_record
from training.benches import Benches
from training.entry import Entry, Evaluation
from training.protocol import Bench, Forecaster, Progress, Protocol, middle_plane, whole

Clock = dict[str, dict[str, float]]


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
    emulators: Iterable[Forecaster],
    data: Trajectory,
    protocol: Protocol | None = None,
    *,
    train_data: Trajectory | None = None,
    reference: Trajectory | None = None,
    independent: bool = False,
) -> Generator[Progress, None, Evaluation]:
    """Judge `emulators` and the baselines on the unseen frames of `data`; the result is the return value.

    Baselines live on the grid of the first emulator. `train_data` holds the frames to shuffle where `data`
    does not; `reference` is a second AIMD run for the floor; `independent` says that `data` is another
    simulation than the one the models learnt from. Raises ValueError in words where nothing is unseen, or
    nothing fits.
    """
    emulators, protocol, clock = list(emulators), protocol or Protocol(), defaultdict(dict)
    if not emulators:
        raise ValueError("there is no emulator to judge; name at least one")
    sources = {"train_data": train_data, "reference": reference, "independent": independent}
    benches, first = Benches(emulators, data, protocol, **sources), emulators[0]
    for emulator in emulators:  # what does not fit is refused before hours are spent on the others
        yield from benches.bench(emulator)
    entries = []
    for emulator in emulators:
        entries.append((yield from _judge(emulator, benches, protocol, clock)))
    bench, seen = (yield from benches.bench(first)), benches.seen(first)
    aimd = yield from benches.aimd(first)
    training = (yield from shuffled_record(seen, bench, protocol)) if seen is not None else None
    trivial = yield from baselines(bench, protocol, seen, training, benches.leads_fs)
    entries += [replace(entry, floor=floors.over_floor(entry, aimd)) for entry in trivial]
    return Evaluation(
        protocol=protocol,
        data=_describe(benches, bench, seen),
        bench=bench,
        planes=_true_planes(bench, protocol),
        log_mean=first.normaliser.mean,
        log_std=first.normaliser.std,
        training=training,
        nearest=(yield from benches.nearest(first, seen)),
        reference=aimd,
        entries=tuple(entries),
        seconds=dict(clock),
    )


def _judge(
    emulator: Forecaster, benches: Benches, protocol: Protocol, clock: Clock
) -> Generator[Progress, None, Entry]:
    bench, seen = (yield from benches.bench(emulator)), benches.seen(emulator)
    clock = clock[emulator.name]
    errors, bands = yield from _timed(clock, "forecasts", forecasts.ensembles(emulator, bench, protocol))
    run = yield from _timed(clock, "free run", forecasts.free_run(emulator, bench, protocol))
    losses = forecasts.reconstructions(emulator, bench, protocol, seen)
    entry = Entry(
        name=emulator.name,
        kind="model",
        bench=bench,
        runs=(run.record,) if run.record else (),
        errors=errors,
        bands=bands,
        seconds_per_frame=run.seconds_per_frame,
        broken_at=run.broken_at,
        planes=run.planes,
        autoencoder=(yield from _timed(clock, "autoencoder", losses)),
        card=emulator.card,
    )
    floor = yield from _timed(clock, "floor", _floor(entry, emulator, benches))
    nearest = yield from _timed(clock, "memorisation", _nearest(run.compared, emulator, benches, seen))
    return replace(entry, floor=floor, nearest=nearest)


def _floor(entry: Entry, emulator: Forecaster, benches: Benches) -> Generator[Progress, None, dict]:
    return floors.over_floor(entry, (yield from benches.aimd(emulator)))


def _nearest(
    frames: np.ndarray, emulator: Forecaster, benches: Benches, seen: Trajectory | None
) -> Generator[Progress, None, dict]:
    yield Progress(emulator.name, "memorisation", 0, 1)
    truth = yield from benches.nearest(emulator, seen)
    result = {}
    if truth and np.isfinite(frames).all():
        bench = yield from benches.bench(emulator)
        spread = float(memorised.truth_frames(bench.truth, benches.protocol).std())
        result = memorised.beside(memorised.distances(frames, seen, spread, benches.protocol), truth)
    yield Progress(emulator.name, "memorisation", 1, 1)
    return result


def _timed(clock: dict[str, float], stage: str, events: Generator) -> Generator:
    begun = time.perf_counter()
    result = yield from events
    clock[stage] = time.perf_counter() - begun
    return result


def _true_planes(bench: Bench, protocol: Protocol) -> dict[float, np.ndarray]:
    """Truth's middle plane at the start (0) and at the slice times that the window still holds."""
    start = int(bench.starts[0])
    reach = (len(bench.truth) - 1 - start) * bench.truth.dt_fs
    times = [t for t in protocol.slice_times_fs if t <= reach + 1e-6 and whole(t, bench.dt_fs)]
    return {t: middle_plane(bench.at(start, t)) for t in (0.0, *times)}


def _describe(benches: Benches, bench: Bench, seen: Trajectory | None) -> dict:
    truth, window = bench.truth, benches.window
    return {
        "name": window.path.name,
        "digest": window.digest(),
        "unseen_fs": [float(truth.times_fs[0]), float(truth.times_fs[-1])],
        "unseen_frames": len(truth),
        "grid": list(truth.grid),
        "delta_fs": truth.dt_fs,
        "start_fs": benches.start_times_fs.tolist(),
        "training_frames_from": None if seen is None else seen.path.name,
    }
