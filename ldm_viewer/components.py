"""Principal components of latents: the truth's encoded a few frames at a time, the forecast's own. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.emulator import IncompatibleError

if TYPE_CHECKING:
    from engine.emulator import Emulator
    from engine.trajectory import Trajectory
    from ldm_viewer.state import Run, State

MOST_FRAMES = 100  # of the truth: enough for two directions of a few hundred femtoseconds
BLOCK = 4  # frames encoded at one request, beside a window that must stay fluid
KEPT = 2**15  # numbers of a latent that are looked at: an evenly spaced choice where it is larger


@dataclass(frozen=True, eq=False)
class Plane:
    """The two directions in which the truth's latents vary most."""

    mean: np.ndarray  # (D,)
    directions: np.ndarray  # (2, D), orthonormal
    shares: np.ndarray  # (2,) of the variance

    @classmethod
    def of(cls, latents: np.ndarray) -> Plane:
        """From (T, D), T ≥ 3, through the T × T matrix of products: D is large."""
        mean = latents.mean(axis=0)
        centred = latents - mean
        values, vectors = np.linalg.eigh(centred @ centred.T)
        values, vectors = values[::-1], vectors[:, ::-1]
        directions = (vectors[:, :2].T @ centred) / np.sqrt(np.maximum(values[:2], 1e-30))[:, None]
        signs = np.sign(directions[np.arange(2), np.abs(directions).argmax(axis=1)])
        return cls(mean, directions * signs[:, None], values[:2] / max(values.sum(), 1e-30))

    def project(self, latents: np.ndarray) -> np.ndarray:
        """(T, D) → (T, 2)."""
        return (latents - self.mean) @ self.directions.T


@dataclass(frozen=True)
class Paths:
    """Truth and forecast in the plane, (T, 2) each with times in fs; `behind` says that frames wait."""

    truth: np.ndarray
    truth_times_fs: np.ndarray
    forecast: np.ndarray
    shares: np.ndarray
    behind: bool


class Encoder:
    """Reads on at every request; asked from one thread."""

    def __init__(self) -> None:
        self._basis: tuple[object, object] = (None, None)
        self._rows: list[np.ndarray] = []
        self._index = np.empty(0, int)
        self._plane: Plane | None = None
        self._projected: dict[tuple[int, int], np.ndarray] = {}

    def read(self, state: State) -> Paths | None:
        """What is known now; None without data and an emulator, and before three frames are encoded."""
        emulator, adapted = state.emulator, state.adapted
        if emulator is None or adapted is None:
            return None
        if self._basis != (emulator, adapted):
            self._begin(emulator, adapted)
        for index in self._index[len(self._rows) : len(self._rows) + BLOCK]:
            self._rows.append(_flat(emulator.encode(emulator.initial_state(adapted, int(index)))[0]))
        behind = len(self._rows) < len(self._index)
        if len(self._rows) < 3:
            return (
                Paths(np.empty((0, 2)), np.empty(0), np.empty((0, 2)), np.zeros(2), behind)
                if behind
                else None
            )
        if not behind and self._plane is None:
            self._plane = Plane.of(np.stack(self._rows))
            self._projected.clear()
        plane = self._plane or Plane.of(np.stack(self._rows))
        times = adapted.times_fs[self._index[: len(self._rows)]]
        forecast = self._of_run(plane, state)
        return Paths(plane.project(np.stack(self._rows)), times, forecast, plane.shares, behind)

    def _begin(self, emulator: Emulator, adapted: Trajectory) -> None:
        first = emulator.history
        if len(adapted) <= first:
            raise IncompatibleError(f"{emulator.name} needs {first + 1} frames before it can encode one")
        count = min(MOST_FRAMES, len(adapted) - first)
        self._basis = emulator, adapted
        self._index = np.unique(np.linspace(first, len(adapted) - 1, count).astype(int))
        self._rows, self._plane, self._projected = [], None, {}

    def _of_run(self, plane: Plane, state: State) -> np.ndarray:
        """The shown member's latents that are ready; a run of another emulator has none in this plane."""
        run: Run | None = state.shown
        if run is None or run.maker is not state.emulator:
            return np.empty((0, 2))
        member = state.member or 0
        key = run.number, member
        done = self._projected.get(key, np.empty((0, 2))) if self._plane is not None else np.empty((0, 2))
        fresh = [
            _flat(latents[member])
            for latents in run.film.latents[len(done) : state.ready]
            if latents is not None
        ]
        points = np.concatenate([done, plane.project(np.stack(fresh))]) if fresh else done
        if self._plane is not None:
            self._projected[key] = points
        return points


def _flat(latents: object) -> np.ndarray:
    values = latents.detach().float().cpu().numpy().ravel()
    return values[:: max(1, -(-len(values) // KEPT))]
