"""What forecasters of one grid and step share: truth, training frames, AIMD blocks; made once for all."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from engine.recorder import Bins, Recorder
from engine.trajectory import Trajectory
from training import floors, memorised
from training.entry import Reference
from training.protocol import Bench, Forecaster, Progress, Protocol, history, whole
from training.unseen import before, start_frames, training_frames, unseen

BLOCK = 32  # frames read at once


class Benches:
    """The truth and its company for every forecaster of one judgement.

    All are judged from the same start times, those that the most demanding of them can answer.
    """

    def __init__(
        self,
        forecasters: Sequence[Forecaster],
        data: Trajectory,
        protocol: Protocol,
        *,
        train_data: Trajectory | None = None,
        reference: Trajectory | None = None,
        independent: bool = False,
    ) -> None:
        """Raises ValueError in words where nothing is unseen, or no start frame fits."""
        self.protocol, self.data, self.independent = protocol, data, independent
        self.train_data, self.reference = train_data, reference
        self.window = unseen(data, forecasters, independent)[: protocol.truth_frames]
        self._bins = _bins(forecasters[0].adapt(self.window))
        coarsest = max(forecasters, key=lambda f: f.delta_fs)
        truth = coarsest.adapt(self.window)
        # lead times take at most half of the window, so that start frames can spread over the other half
        half = len(truth) * truth.dt_fs / 2
        self.leads_fs = tuple(
            t for t in protocol.lead_times_fs if t <= half and any(whole(t, f.delta_fs) for f in forecasters)
        )
        answered = [t for t in self.leads_fs if any(whole(t, f.dt_fs) for f in forecasters)]
        longest = max([*answered, *(f.dt_fs for f in forecasters)])
        past = max(history(f) * f.delta_fs for f in forecasters)
        steps = [int(np.ceil(t / truth.dt_fs - 1e-6)) for t in (past, longest)]
        self.start_times_fs = truth.times_fs[start_frames(len(truth), protocol.starts, steps[1], steps[0])]
        self._made: dict[tuple, object] = {}

    def bench(self, forecaster: Forecaster) -> Generator[Progress, None, Bench]:
        """The truth on the grid and at the step of a forecaster."""
        key = ("bench", *_kind(forecaster))
        if key not in self._made:
            truth = forecaster.adapt(self.window)
            recorder = Recorder(truth.grid, truth.cell, truth.dt_fs, self._bins, step=forecaster.stride)
            for block in truth.blocks(BLOCK):
                recorder.update(block)
                yield Progress(forecaster.name, "truth", recorder.frames, len(truth))
            starts = np.array([np.abs(truth.times_fs - t).argmin() for t in self.start_times_fs])
            leads = tuple(t for t in self.leads_fs if whole(t, forecaster.dt_fs))
            self._made[key] = Bench(truth, recorder.record(), starts, leads, forecaster.dt_fs)
        return self._made[key]

    def seen(self, forecaster: Forecaster) -> Trajectory | None:
        """Frames the forecaster was trained on, adapted to it.

        None where none are at hand, and where the data is of another cell than they are.
        """
        frames = training_frames(self.data, forecaster, self.train_data, self.independent)
        return frames if frames and frames.grid == forecaster.adapt(self.window).grid else None

    def aimd(self, forecaster: Forecaster) -> Generator[Progress, None, Reference | None]:
        """Blocks for the floor: of the reference file, of earlier frames of the data, of training frames."""
        key = ("floor", *_kind(forecaster))
        if key not in self._made:
            bench = yield from self.bench(forecaster)
            if self.reference is not None:
                source = forecaster.adapt(self.reference)
            else:
                source = before(self.data, self.window, forecaster, self.independent) or self.seen(forecaster)
            source = source[: self.protocol.truth_frames] if source else None
            made = (yield from floors.reference(source, forecaster, bench)) if source else None
            self._made[key] = made
        return self._made[key]

    def nearest(self, forecaster: Forecaster, seen: Trajectory | None) -> Generator[Progress, None, dict]:
        """How close unseen AIMD comes to training frames; {} where none are at hand."""
        if seen is None:
            return {}
        key = ("nearest", *_kind(forecaster), str(seen.path), len(seen), float(seen.times_fs[0]))
        if key not in self._made:
            bench = yield from self.bench(forecaster)
            frames = memorised.truth_frames(bench.truth, self.protocol)
            self._made[key] = memorised.distances(frames, seen, float(frames.std()), self.protocol)
        return self._made[key]


def _kind(forecaster: Forecaster) -> tuple:
    return (*forecaster.grid, forecaster.delta_fs, forecaster.stride)


def _bins(truth: Trajectory) -> Bins:
    extremes = np.array([(block.min(), block.max()) for block in truth.blocks(BLOCK)])
    return Bins.of(float(extremes[:, 0].min()), float(extremes[:, 1].max()))
