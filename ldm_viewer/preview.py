"""The best emulator of a training on frames it has not seen: rebuilt, and forecast a little. No Qt.

T starts as one batch; leads in fs; cuts are planes through the middle of the first start's frames, in Å⁻³.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.emulator import Emulator
from engine.rollout import rollout
from engine.scores import LeadErrors
from engine.trajectory import Trajectory

if TYPE_CHECKING:
    from torch import Tensor

STARTS, STEPS, REACH_FS = 4, 20, 100.0  # at most; as far as liquids can be foretold
LOOK_FS = 50.0  # lead time of the pictures


class PreviewError(ValueError):
    """Why there is nothing to show, in words."""


@dataclass(frozen=True, eq=False)
class Preview:
    """Scores and pictures of the emulator as of `step`."""

    step: int
    span: str
    reconstruction: float
    """VRMSE of frames through encoder and decoder."""
    leads_fs: np.ndarray
    forecast: np.ndarray
    """VRMSE by lead."""
    persistence: np.ndarray
    """VRMSE by lead of the forecast that nothing moves."""
    look_fs: float
    """Lead of the pictures."""
    cuts: dict[str, np.ndarray]
    """(Nx, Ny) of "truth", "forecast", and "rebuilt", the truth through encoder and decoder."""
    edges: tuple[float, float, float, float]

    def words(self) -> str:
        """As in: VRMSE rebuilt 0.030, after 50 fs 0.290 (no motion 1.280), on unseen 480–500 fs."""
        at = int(np.argmin(np.abs(self.leads_fs - self.look_fs)))
        return (
            f"VRMSE rebuilt {self.reconstruction:.3f}, after {self.look_fs:g} fs {self.forecast[at]:.3f} "
            f"(no motion {self.persistence[at]:.3f}), on {self.span}"
        )


def preview(folder: Path, data: Path) -> Preview:
    """Judge the emulator in `folder` on the part of `data` that its training left out."""
    torch.set_num_threads(1)  # the training wants the other cores
    emulator = Emulator.load(folder)
    with Trajectory(data) as trajectory:
        return _judge(emulator, emulator.adapt(trajectory))


def best_step(folder: Path) -> int:
    """Step of the emulator in `folder`; 0 without one."""
    try:
        return int(json.loads((folder / "card.json").read_text())["training"]["step"])
    except (OSError, KeyError, json.JSONDecodeError):
        return 0


def _judge(emulator: Emulator, truth: Trajectory) -> Preview:
    first, last, span = _unseen(emulator, truth)
    steps = min(STEPS, max(1, round(REACH_FS / emulator.dt_fs)), (last - first) // emulator.stride)
    if steps < 1:
        raise PreviewError("too few frames are left out of this training for a preview")
    starts = np.unique(np.linspace(first, last - steps * emulator.stride, STARTS).astype(int))
    state = torch.cat([emulator.initial_state(truth, int(start)) for start in starts])
    now = _frames(truth, starts)
    forecast, persistence = LeadErrors(), LeadErrors()
    look = min(steps, max(1, round(LOOK_FS / emulator.dt_fs)))
    films = rollout(emulator, state, steps, members=len(starts), seed=0)
    for number, frame in enumerate(films, start=1):
        later = _frames(truth, starts + number * emulator.stride)
        forecast.add(frame.time_fs, frame.density, later)
        persistence.add(frame.time_fs, now, later)
        if number == look:
            cuts = _cuts(
                truth=later[0],
                forecast=frame.density[0],
                rebuilt=_rebuilt(emulator, truth, starts[:1] + look * emulator.stride)[0],
            )
    lengths = np.linalg.norm(truth.cell, axis=1)
    rebuilt = LeadErrors()
    rebuilt.add(0.0, emulator.decode(emulator.encode(state)), now)
    scores = forecast.vrmse()
    return Preview(
        step=int(emulator.card.get("training", {}).get("step", 0)),
        span=span,
        reconstruction=rebuilt.vrmse()[0.0],
        leads_fs=np.array(list(scores)),
        forecast=np.array(list(scores.values())),
        persistence=np.array(list(persistence.vrmse().values())),
        look_fs=look * emulator.dt_fs,
        cuts=cuts,
        edges=(0.0, float(lengths[0]), 0.0, float(lengths[1])),
    )


def _unseen(emulator: Emulator, truth: Trajectory) -> tuple[int, int, str]:
    """First and last frame to start from or end at: of the test span, else of the validation span."""
    about, times, slack = emulator.card["data"], truth.times_fs, 1e-3
    for name in ("test_fs", "validation_fs"):
        span = about.get(name)
        if span is None:
            continue
        inside = np.flatnonzero((times >= span[0] - slack) & (times <= span[1] + slack))
        first = max(inside[0] if len(inside) else 0, emulator.history)
        if len(inside) and inside[-1] - first >= emulator.stride:
            return int(first), int(inside[-1]), f"unseen {times[first]:g}–{times[inside[-1]]:g} fs"
    raise PreviewError("this training leaves no frames out that a preview could be made on")


def _frames(truth: Trajectory, index: Iterable[int]) -> np.ndarray:
    return np.stack([truth.density(int(number)) for number in index])


def _rebuilt(emulator: Emulator, truth: Trajectory, index: Iterable[int]) -> np.ndarray:
    states: list[Tensor] = [emulator.initial_state(truth, int(number)) for number in index]
    return emulator.decode(emulator.encode(torch.cat(states)))


def _cuts(**fields: np.ndarray) -> dict[str, np.ndarray]:
    return {name: field[:, :, field.shape[2] // 2] for name, field in fields.items()}
