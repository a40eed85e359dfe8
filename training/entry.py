"""What every forecast earned, and the evaluation that gathers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from engine import scores
from engine.ensemble import LeadBands, LeadErrors
from engine.floor import SCORES
from engine.recorder import Record
from engine.stationarity import electron_drift, tenths
from training.protocol import Bench, Protocol

CURVE_SCORES = (*SCORES, "sqw_rel_error", "electrons_mean", "electrons_std")


@dataclass(frozen=True)
class Reference:
    """Blocks of AIMD that overlap no truth, for the floor, on one grid and at one sampling step.

    `truths` are the stretches of the unseen window, of the same duration, that blocks are scored against;
    `siblings` the same stretches at the step of the blocks, each scored against the others.
    """

    blocks: tuple[Record, ...]
    truths: tuple[Record, ...]
    siblings: tuple[Record, ...]
    duration_fs: float
    independent: float  # how many blocks would fit side by side
    source: str


@dataclass(frozen=True)
class Entry:
    """What one model or baseline earned.

    Its free runs, judged against `bench`, and its errors by lead time.
    """

    name: str
    kind: str  # "model" or "baseline"
    bench: Bench
    runs: tuple[Record, ...]  # empty when already the first frame was broken
    errors: LeadErrors
    bands: LeadBands
    seconds_per_frame: float
    broken_at: int | None = None
    planes: dict[float, np.ndarray] = field(default_factory=dict)
    nearest: dict = field(default_factory=dict)  # see `training.memorised`
    autoencoder: dict = field(default_factory=dict)  # see `training.forecasts.reconstructions`
    floor: dict = field(default_factory=dict)  # see `training.floors`
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
            "spread_skill": self.errors.spread_skill(),
            "crps": self.errors.crps(),
            "crps_relative": self.errors.crps(relative=True),
            "bands": self.bands.as_dict(),
            "autoencoder_vrmse": {k: self.autoencoder.get(k) for k in ("unseen", "training")},
            "autoencoder": self.autoencoder,
            "floor_ratio": self.floor,
            "nearest_training_vrmse": self.nearest.get("closest_tenth", float("nan")),
            "nearest_training_ratio": self.nearest.get("ratio"),
            "nearest_training": self.nearest,
            "tenths": self.tenths,
            "electrons": electron_drift(self.runs[0]) if self.kind == "model" and self.runs else {},
            "curves": curves(self.runs[0], self.bench) if self.runs else {},
            "seconds_per_frame": self.seconds_per_frame,
        }

    @cached_property
    def tenths(self) -> dict:
        """First against last tenth of a model's free run; empty for a baseline."""
        if self.kind != "model" or not self.runs:
            return {}
        return tenths(self.runs[0], self.bench.record)

    @cached_property
    def free_run(self) -> dict:
        """Length, health and drift of a model's free run, and the bars it met; empty for a baseline."""
        if self.kind != "model":
            return {}
        healthy = {"frames": sum(map(len, self.runs)), "broken_at": self.broken_at}
        if not self.runs:
            return healthy | {"met": {"no_nan": False}}
        drift = scores.drift(self.runs[0], self.bench.record)
        parts = list(drift.values())
        met = {
            "no_nan": self.broken_at is None,
            "log_mean_within_0.02": all(abs(t["log_mean_shift"]) <= 0.02 for t in parts),
            "log_std_within_15_percent": all(abs(t["log_std_ratio"] - 1) <= 0.15 for t in parts),
            "sq_intensity_within_factor_2": all(t["sq_intensity_ratio_worst"] <= 2 for t in parts),
            "tenths_agree": self.tenths["agree"] is not False,
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
    nearest: dict  # as `Entry.nearest`, of the truth
    reference: Reference | None  # blocks of AIMD on the first model's grid and step
    entries: tuple[Entry, ...]
    seconds: dict[str, dict[str, float]]  # by name and stage

    @property
    def models(self) -> tuple[Entry, ...]:
        """The forecasters, without the baselines."""
        return tuple(e for e in self.entries if e.kind == "model")


def curves(run: Record, bench: Bench) -> dict:
    """S(q), F(q,t) and S(q,ω) of a run at the shells and lags of the scores, for whoever draws them."""
    result = {"q_per_A": run.shell.q, "sq_amplitude": run.amplitude, "sq_intensity": run.intensity}
    lags = bench.lags_fs(len(run))
    if len(lags) < 2 or not np.allclose(np.diff(lags), lags[0]):
        return result
    times = np.concatenate([[0.0], lags])
    relaxation = run.relaxation(times)
    omega, power = scores.spectrum(relaxation, float(lags[0]))
    return result | {
        "relaxation_q_per_A": run.slow_shell.q,
        "lags_fs": times,
        "fqt": relaxation,
        "omega_rad_per_fs": omega,
        "sqw_fs": power,
    }
