"""Where the AIMD-to-AIMD floor comes from: blocks of AIMD that overlap no truth; and ratios to it."""

from __future__ import annotations

from collections.abc import Generator

from engine.floor import cut, floor_ratios
from engine.recorder import Recorder
from engine.trajectory import Trajectory
from training.entry import Entry, Reference
from training.protocol import Bench, Forecaster, Progress

BLOCK = 32  # frames read at once
SHORTEST = 10  # frames of a block that still has statistics
OVERLAP = 4  # AIMD is short: the next block starts a quarter of a block later


def reference(
    source: Trajectory, forecaster: Forecaster, bench: Bench
) -> Generator[Progress, None, Reference | None]:
    """Blocks of `source` (adapted, not the truth) as long as the unseen window, at the forecaster's step.

    Where `source` holds less than two such blocks, blocks and truth are cut to half of it. None where too
    little is left for statistics.
    """
    recorder = Recorder(source.grid, source.cell, source.dt_fs, bench.record.bins, step=forecaster.stride)
    for block in source.blocks(BLOCK):
        recorder.update(block)
        yield Progress(forecaster.name, "floor", recorder.frames, len(source))
    record = recorder.record().every(forecaster.stride)
    truth = bench.record
    frames = min(len(truth.every(forecaster.stride)), len(record) // 2)
    if frames < SHORTEST:
        return None
    # truth keeps its finer sampling: forecast and AIMD are both held against the same
    stretches = cut(truth, min(frames * forecaster.stride, len(truth)))
    return Reference(
        blocks=tuple(cut(record, frames, max(1, frames // OVERLAP))),
        truths=tuple(stretches),
        siblings=tuple(stretch.every(forecaster.stride).part(0, frames) for stretch in stretches),
        duration_fs=frames * bench.dt_fs,
        independent=len(record) / frames,
        source=_about(source),
    )


def over_floor(entry: Entry, aimd: Reference | None) -> dict:
    """Score over floor of an entry's free run, cut into blocks as AIMD is; {} where it is too short."""
    if aimd is None or not entry.runs:
        return {}
    frames = len(aimd.blocks[0])
    blocks = cut(entry.runs[0], frames)
    if not blocks or entry.runs[0].dt_fs != aimd.blocks[0].dt_fs:
        return {}
    lags = entry.bench.lags_fs(frames)
    worth = aimd.independent + (len(aimd.siblings) if len(aimd.siblings) > 1 else 0)
    return floor_ratios(blocks, aimd.blocks, aimd.truths, lags, (len(blocks), worth), aimd.siblings)


def _about(source: Trajectory) -> str:
    times = source.times_fs
    return f"{source.path.name}, {times[0]:g}–{times[-1]:g} fs"
