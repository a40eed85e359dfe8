"""Cost of a frame against its voxels, 24³ to 128³, and of a run against its frames: both are to be linear.

Larger cells are the sample's, repeated: the same liquid for the emulator, which takes any cell of its voxels.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.bench.timing import CPU, Row, Side

TILES = ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (5, 5, 6))
"""How often the cell of 24³ voxels is repeated; the last has the voxels of 128³."""
FRAMES = (100, 400, 1600)
"""Lengths of runs."""
Work = dict[str, Callable[[], object]]


def work_of_a_frame(tile: tuple[int, int, int]) -> tuple[int, Work]:
    """Voxels, and what is done for one frame of the repeated cell with the default emulator."""
    import torch

    from engine.emulator import Emulator
    from engine.recorder import Bins, Recorder
    from engine.rollout import member_stream
    from engine.samples import sample_path, shipped
    from engine.trajectory import Trajectory

    emulator = Emulator.load(next(iter(shipped().values())))
    truth = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
    state = emulator.initial_state(truth, 1).repeat(1, 1, *tile)
    latents, streams = emulator.encode(state), [member_stream(0, 0)]
    frame = np.tile(truth.density(1), tile)
    recorder = Recorder(frame.shape, truth.cell * np.array(tile)[:, None], 10.0, Bins.of(0.01, 0.2))
    torch.manual_seed(0)
    return frame.size, {
        "encoding": lambda: emulator.encode(state),
        "forecast": lambda: emulator.advance(latents, streams),
        "decoding": lambda: emulator.decode(latents),
        "observables": lambda: recorder.update(frame),
    }


def per_frame(repeats: int = 3, patience_s: float = 3.0) -> dict[str, list[tuple[int, float]]]:
    """Name of the work → (voxels, median seconds of a frame) for every one of `TILES`."""
    found: dict[str, list[tuple[int, float]]] = {}
    for tile in TILES:
        voxels, work = work_of_a_frame(tile)
        for name, call in work.items():
            call()
            times = [_timed(call)]
            while len(times) < repeats and sum(times) < patience_s:
                times.append(_timed(call))
            found.setdefault(name, []).append((voxels, statistics.median(times)))
    return found


def per_run() -> dict[str, list[tuple[int, float]]]:
    """Name of the work → (frames, seconds) of runs of all `FRAMES`, the sample's frames over and over."""
    from engine.normalise import LogNormal
    from engine.observables import LAGS_FS
    from engine.recorder import Bins, Recorder
    from engine.samples import sample_path
    from engine.trajectory import Trajectory

    data = Trajectory(sample_path("li32_train.h5"))

    def blocks(frames: int) -> list[slice]:
        return [slice(begin % 300, begin % 300 + 50) for begin in range(0, frames, 50)]

    def judged(frames: int) -> None:
        recorder = Recorder(data.grid, data.cell, data.dt_fs, Bins.of(0.01, 0.2))
        for part in blocks(frames):
            recorder.update(data.density(part))
        recorder.record().relaxation(np.array([t for t in LAGS_FS if t <= 100]))

    def prepared(frames: int) -> None:
        LogNormal.fit((data.density(part) for part in blocks(frames)), data.dt_fs)

    works = {"read and judged": judged, "read and normalised": prepared}
    return {
        name: [(n, _timed(lambda n=n, work=work: work(n))) for n in FRAMES] for name, work in works.items()
    }


def plot(out: Path) -> Path:
    """Measure both and draw them, doubly logarithmic, with the lines of linear cost. Takes minutes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    titles = ("voxels of a frame", "frames of a run, 24³")
    for ax, title, measured in zip(figure.subplots(1, 2), titles, (per_frame(), per_run()), strict=True):
        for name, points in measured.items():
            counts, seconds = np.array(points).T
            slope = np.polyfit(np.log(counts), np.log(seconds), 1)[0]
            (line,) = ax.loglog(counts, seconds, "o-", label=f"{name}: ∝ n^{slope:.2f}")
            ax.loglog(counts, seconds[0] * counts / counts[0], ":", color=line.get_color(), lw=0.8)
            print(f"{name}: {', '.join(f'{n:.0f}: {s:.3g} s' for n, s in points)}; n^{slope:.2f}", flush=True)
        ax.set(xlabel=title, ylabel="seconds")
        ax.legend(frameon=False, fontsize=8)
    part = out.with_name(f"{out.stem}.part{out.suffix}")
    figure.savefig(part, dpi=150)
    os.replace(part, out)
    return out


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _voxels(device: str) -> tuple[Side, Side]:
    sides = []
    for tile in ((4, 4, 4), (1, 1, 1)):
        voxels, work = work_of_a_frame(tile)
        calls = 1 if tile != (1, 1, 1) else 8
        sides.append(
            Side(
                lambda work=work, n=calls: [call() for _ in range(n) for call in work.values()],
                calls * voxels,
            )
        )
    return sides[0], sides[1]


ROWS = (Row("scaling", "a voxel of a frame at 96³", "a voxel at 24³", 0.5, _voxels, only=CPU),)
