"""One pass over a trajectory of any length, block by block: every observable the scores need, frame by frame.

A frame leaves a few thousand numbers behind instead of its field, so that 10,000 frames stay below 150 MB;
one Fourier transform per frame serves S(q) and F(q,t). Blocks, bootstraps and tenths of a run are slices of
a `Record`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine import observables
from engine.reciprocal import Shells, as_frames, modes, shells, voxel_volume


@dataclass(frozen=True)
class Bins:
    """Histogram borders shared by all runs that are compared: of ρ in Å⁻³ and of ln ρ, (bins+1,) each."""

    value: np.ndarray
    log: np.ndarray

    @classmethod
    def of(cls, minimum: float, maximum: float) -> Bins:
        """Bins around a truth with this smallest and largest density in Å⁻³.

        Ln ρ gets 0.5 of room on both sides.
        """
        if not 0 < minimum < maximum:
            raise ValueError(f"densities from {minimum} to {maximum} Å⁻³ are not a positive range")
        low, high = np.floor(np.log(minimum) - 0.5), np.ceil(np.log(maximum) + 0.5)
        return cls(observables.value_edges(maximum), np.linspace(low, high, observables.VALUE_BINS + 1))


@dataclass(frozen=True)
class Record:
    """What T frames left behind. Means over frames are properties.

    `part` is a run's first tenth, a block, …
    """

    dt_fs: float
    volume: float  # Å³
    bins: Bins
    value_counts: np.ndarray  # (T, bins)
    log_counts: np.ndarray  # (T, bins)
    log_moments: np.ndarray  # (T, 2): means of ln ρ and (ln ρ)² over space
    moments: np.ndarray  # (T, 2): means of ρ and ρ² over space, Å⁻³ and Å⁻⁶
    change: np.ndarray  # (T,): mean of (ρ − ρ one step before)², Å⁻⁶; NaN where there is no earlier frame
    shell: Shells
    strength: np.ndarray  # (T, 2, S): shell means of |F| and of |F|²
    fine_shell: Shells
    fine_strength: np.ndarray  # (T, 2, S')
    slow_shell: Shells
    slow_modes: np.ndarray  # (T, members) complex, electrons: the modes that F(q,t) follows

    def __len__(self) -> int:
        return len(self.moments)

    def part(self, start: int | None, stop: int | None) -> Record:
        """Frames start ≤ i < stop, as slices count."""
        return self._sliced(slice(start, stop))

    def every(self, step: int) -> Record:
        """Every `step`-th frame, as a model of this stride would have left them.

        `change` stays that of the recorder's own step, which should be the same.
        """
        return replace(self._sliced(slice(None, None, step)), dt_fs=self.dt_fs * step)

    def tenth(self, last: bool = False) -> Record:
        """The first or last tenth of the run, at least one frame."""
        size = max(1, len(self) // 10)
        return self.part(-size, None) if last else self.part(0, size)

    @property
    def value_density(self) -> np.ndarray:
        """P(ρ) of all frames, (bins,) in Å³."""
        return _density(self.value_counts, self.bins.value)

    @property
    def log_density(self) -> np.ndarray:
        """P(ln ρ) of all frames, (bins,); P(ρ̃) is this times σ over (ln ρ − μ)/σ."""
        return _density(self.log_counts, self.bins.log)

    @property
    def log_mean(self) -> float:
        """Mean of ln ρ over space and time."""
        return float(self.log_moments[:, 0].mean())

    @property
    def log_std(self) -> float:
        """Standard deviation of ln ρ over space and time."""
        first, second = self.log_moments.mean(axis=0)
        return float(np.sqrt(max(second - first**2, 0.0)))

    @property
    def electrons(self) -> np.ndarray:
        """∫ρ dV of every frame, (T,)."""
        return self.moments[:, 0] * self.volume

    @property
    def amplitude(self) -> np.ndarray:
        """Time mean of ⟨|F|⟩ per score shell (S18), (S,) electrons."""
        return self.strength[:, 0].mean(axis=0)

    @property
    def intensity(self) -> np.ndarray:
        """Time mean of ⟨|F|²⟩/N_e per score shell, (S,)."""
        return self.strength[:, 1].mean(axis=0) / self.electrons.mean()

    @property
    def fine_amplitude(self) -> np.ndarray:
        """The amplitude on the finer shells of plots, (S',) electrons."""
        return self.fine_strength[:, 0].mean(axis=0)

    @property
    def fine_intensity(self) -> np.ndarray:
        """The intensity on the finer shells of plots, (S',)."""
        return self.fine_strength[:, 1].mean(axis=0) / self.electrons.mean()

    @property
    def step_vrmse(self) -> float:
        """Step-to-step VRMSE: RMS change of ρ over one step, over its standard deviation.

        NaN for a single frame.
        """
        first, second = self.moments.mean(axis=0)
        known = self.change[np.isfinite(self.change)]
        return float(np.sqrt(known.mean() / (second - first**2))) if len(known) else float("nan")

    def relaxation(self, lags_fs: np.ndarray) -> np.ndarray:
        """F(q,t)/F(q,0), (lags, shells); ValueError where lags do not fit the frame step or the length."""
        lags = observables.lag_frames(lags_fs, self.dt_fs, len(self))
        return observables.relaxation(self.slow_modes, self.slow_shell, lags)

    def _sliced(self, window: slice) -> Record:
        return replace(self, **{name: getattr(self, name)[window] for name in PER_FRAME})


PER_FRAME = (
    *("value_counts", "log_counts", "log_moments", "moments", "change"),
    *("strength", "fine_strength", "slow_modes"),
)


class Recorder:
    """Feed blocks of consecutive frames to `update`, take the `Record` from `record`.

    `broken_at` is the index of the first frame with a NaN, an infinity or ρ ≤ 0; it and all later ones are
    left out, since a broken frame has no statistics. It stays None in a healthy run.
    """

    def __init__(
        self, grid: tuple[int, int, int], cell: np.ndarray, dt_fs: float, bins: Bins, step: int = 1
    ) -> None:
        """Grid and cell (Å) of the frames, their time step, the histogram borders to compare on.

        `step` frames make the step of `Record.step_vrmse`: a truth stored every 2 fs beside a forecast
        every 10 fs has step 5.
        """
        self.grid, self.cell, self.dt_fs, self.bins = tuple(grid), np.asarray(cell, dtype=float), dt_fs, bins
        self.step = step
        self.shell = shells(self.grid, self.cell, observables.SHELLS)
        self.fine_shell = shells(self.grid, self.cell, observables.FINE_SHELLS)
        self.slow_shell = shells(self.grid, self.cell, observables.RELAXATION_SHELLS)
        self.broken_at: int | None = None
        self.frames = 0
        self._before = np.full((step, *self.grid), np.nan)  # the frames one step back
        self._blocks: list[dict[str, np.ndarray]] = []

    def update(self, density: np.ndarray) -> None:
        """Take the next frames, (n, Nx, Ny, Nz) or (Nx, Ny, Nz) in Å⁻³."""
        block = as_frames(density)
        if block.shape[1:] != self.grid:
            raise ValueError(f"frames of grid {block.shape[1:]} were given to a recorder of grid {self.grid}")
        if self.broken_at is not None:
            return
        healthy = (block.min(axis=(1, 2, 3)) > 0) & (block.max(axis=(1, 2, 3)) < np.inf)  # NaN is neither
        if not healthy.all():
            first = int(np.argmin(healthy))
            self.broken_at, block = self.frames + first, block[:first]
        if len(block):
            extended = np.concatenate([self._before, block])  # in float64
            self._blocks.append(self._measure(block, extended[: len(block)]))
            self._before, self.frames = extended[-self.step :], self.frames + len(block)

    def _measure(self, frames: np.ndarray, before: np.ndarray) -> dict[str, np.ndarray]:
        wave = modes(frames, self.cell)
        block = frames.astype(np.float64)
        logarithm = np.log(block)
        space = (1, 2, 3)
        number = np.min_scalar_type(int(np.prod(self.grid)))  # the smallest that can count every voxel
        return {
            "value_counts": observables.counts(frames, self.bins.value).astype(number),
            "log_counts": observables.counts(logarithm, self.bins.log).astype(number),
            "log_moments": np.stack([logarithm.mean(space), (logarithm**2).mean(space)], axis=1),
            "moments": np.stack([block.mean(space), (block**2).mean(space)], axis=1),
            "change": ((block - before) ** 2).mean(space),
            "strength": _strength(self.shell, wave),
            "fine_strength": _strength(self.fine_shell, wave),
            "slow_modes": self.slow_shell.select(wave).astype(np.complex128),
        }

    def record(self) -> Record:
        """Everything taken so far; ValueError before the first healthy frame."""
        if not self._blocks:
            raise ValueError("no frame without NaN, infinity or ρ ≤ 0 has been recorded")
        fields = {name: np.concatenate([b[name] for b in self._blocks]) for name in self._blocks[0]}
        volume = voxel_volume(self.grid, self.cell) * float(np.prod(self.grid))
        return Record(
            dt_fs=self.dt_fs,
            volume=volume,
            bins=self.bins,
            shell=self.shell,
            fine_shell=self.fine_shell,
            slow_shell=self.slow_shell,
            **fields,
        )


def _strength(shell: Shells, wave: np.ndarray) -> np.ndarray:
    """Shell means of |F| and |F|², (T, 2, S)."""
    size = np.abs(shell.select(wave))
    return np.stack([shell.mean(size), shell.mean(size**2)], axis=1)


def _density(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=0, dtype=np.int64)
    return total / (total.sum() * np.diff(edges))
