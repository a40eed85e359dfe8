"""What a judgement consists of.

The protocol, the truth it is held against, and what every forecast earned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from engine import scores
from engine.observables import LAGS_FS
from engine.recorder import Record, Recorder
from engine.trajectory import Trajectory

CURVE_SCORES = (
    *("jsd_nats", "sq_amplitude_rel_error", "sq_intensity_rel_error", "fqt_abs_error"),
    *("electrons_mean", "electrons_std"),
)


@dataclass(frozen=True)
class Protocol:
    """How a forecast is judged."""

    starts: int = 8
    """Start frames, spread evenly over the unseen data."""
    members: int = 4
    """Members per start frame; VRMSE is that of one member, and of the ensemble mean beside it."""
    lead_times_fs: tuple[float, ...] = (2.0, 10.0, 20.0, 50.0, 100.0, 200.0)
    """Lead times of VRMSE; a model answers at those that are multiples of its step."""
    free_frames: int = 2000
    """Frames of the free run."""
    compared_frames: int = 64
    """Frames of the free run, and of the truth, that are compared with every training frame."""
    slice_times_fs: tuple[float, ...] = (2.0, 20.0, 50.0, 100.0, 200.0, 400.0)
    """Times of the free run whose middle plane is kept for the figures."""
    seed: int = 0
    """Seed of the noise: the free run draws from it, start frame number n from seed + 1 + n."""


@dataclass(frozen=True)
class Progress:
    """What the judge is at: `done` of `total` frames of `stage` for `name`."""

    name: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Bench:
    """The truth on the grid of one emulator, with the frames to start from."""

    truth: Trajectory
    record: Record
    starts: np.ndarray  # (S,) frames of `truth`
    leads_fs: tuple[float, ...]  # those of the protocol that the forecast's step and the truth's length allow
    dt_fs: float  # step of the forecast

    def at(self, start: int, lead_fs: float) -> np.ndarray:
        """The true density `lead_fs` after a start frame, (Nx, Ny, Nz) in Å⁻³."""
        return self.truth.density(int(start) + round(lead_fs / self.truth.dt_fs))

    def recorder(self) -> Recorder:
        """An empty recorder for a run at the forecast's step, on the truth's bins."""
        return Recorder(self.truth.grid, self.truth.cell, self.dt_fs, self.record.bins)

    def lags_fs(self, frames: int | None = None) -> np.ndarray:
        """Lags of F(q,t) that the forecast's step hits and that the truth, and a run of `frames`.

        Can average.
        """
        span = (len(self.record) - 1) * self.record.dt_fs
        span = span if frames is None else min(span, (frames - 1) * self.dt_fs)
        return np.array([t for t in LAGS_FS[1:] if whole(t, self.dt_fs) and t <= 0.8 * span])


@dataclass(frozen=True)
class Entry:
    """What one model or baseline earned.

    Its free runs, judged against `bench`, and its errors by lead time.
    """

    name: str
    kind: str  # "model" or "baseline"
    bench: Bench
    runs: tuple[Record, ...]  # empty when already the first frame was broken
    errors: scores.LeadErrors
    seconds_per_frame: float
    broken_at: int | None = None
    planes: dict[float, np.ndarray] = field(default_factory=dict)
    compared: np.ndarray | None = None  # (n, Nx, Ny, Nz) in Å⁻³, evenly spread over the free run
    nearest: float = float("nan")  # VRMSE to the closest training frame, of the tenth that comes closest
    card: dict = field(default_factory=dict)

    @cached_property
    def scores(self) -> dict:
        """The row of scores.json; of several free runs the mean of their scores."""
        rows = [scores.score(run, self.bench.record, self.bench.lags_fs(len(run))) for run in self.runs]
        names = rows[0] if rows else CURVE_SCORES
        row = {name: float(np.mean([r[name] for r in rows])) if rows else float("nan") for name in names}
        return row | {
            "vrmse": self.errors.vrmse(),
            "vrmse_ensemble_mean": self.errors.vrmse(ensemble_mean=True),
            "nearest_training_vrmse": self.nearest,
            "seconds_per_frame": self.seconds_per_frame,
        }

    @cached_property
    def free_run(self) -> dict:
        """Length, health and drift of a model's free run, and the bars it met; empty for a baseline."""
        if self.kind != "model":
            return {}
        healthy = {"frames": sum(map(len, self.runs)), "broken_at": self.broken_at}
        if not self.runs:
            return healthy | {"met": {"no_nan": False}}
        drift = scores.drift(self.runs[0], self.bench.record)
        tenths = list(drift.values())
        met = {
            "no_nan": self.broken_at is None,
            "log_mean_within_0.02": all(abs(t["log_mean_shift"]) <= 0.02 for t in tenths),
            "log_std_within_15_percent": all(abs(t["log_std_ratio"] - 1) <= 0.15 for t in tenths),
            "sq_intensity_within_factor_2": all(t["sq_intensity_ratio_worst"] <= 2 for t in tenths),
        }
        steps = {"step_vrmse": self.runs[0].step_vrmse, "step_vrmse_truth": self.bench.record.step_vrmse}
        return healthy | drift | steps | {"met": met}


@dataclass(frozen=True)
class Evaluation:
    """Entries in order (models, then baselines) and the truth on the first model's grid."""

    protocol: Protocol
    data: dict  # what was judged on what
    bench: Bench
    planes: dict[float, np.ndarray]  # truth after the free run's start: middle planes, (Ny, Nz) in Å⁻³
    log_mean: float  # μ and σ of (S6), of the first model
    log_std: float
    training: Record | None  # training frames in random order
    nearest: float  # as `Entry.nearest`, of the truth
    entries: tuple[Entry, ...]

    @property
    def models(self) -> tuple[Entry, ...]:
        """The emulators, without the baselines."""
        return tuple(e for e in self.entries if e.kind == "model")


def whole(duration_fs: float, step_fs: float) -> bool:
    """Whether a duration is a positive multiple of a step."""
    ratio = duration_fs / step_fs
    return round(ratio) >= 1 and abs(ratio - round(ratio)) < 1e-6


def middle_plane(density: np.ndarray) -> np.ndarray:
    """The middle plane along x of (Nx, Ny, Nz), as in Figure 2: (Ny, Nz)."""
    return np.array(density[density.shape[0] // 2])
