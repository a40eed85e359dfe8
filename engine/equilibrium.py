"""Equilibration: free runs of an emulator, and its elasticity mended until their S(q) is that of training.

for balance in equilibrate(emulator, emulator.adapt(trajectory.between(*train_fs))):
    ...                                  # balance.ratio at the end of every free run
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.emulator import Emulator
from engine.rollout import member_stream
from engine.stationarity import time_mean
from engine.trajectory import Trajectory

SETTLING = 10
"""One part in so many of a free run, its beginning, is not counted."""
SAMPLED = 256
"""Training frames that S(q) is taken from, at most."""
BROKEN = 10.0
"""Power of long waves, in that of training, of what is no liquid any more; or its inverse."""


@dataclass(frozen=True)
class Balance:
    """Where an equilibration stands; at the end of a free run `ratio` (knots,) is its S over the wanted."""

    step: int
    steps: int
    ratio: np.ndarray | None = None


@torch.no_grad()
def equilibrate(
    emulator: Emulator,
    training: Trajectory,
    *,
    rounds: int = 2,
    members: int = 8,
    steps: int = 600,
    seed: int = 0,
) -> Iterator[Balance]:
    """Mend the softness of long waves by free runs from `training` frames.

    Long are those longer than the slowest, which lie at the main peak of S(q) (de Gennes narrowing). A
    difference d is mended by the part d²/(d² + e²), e the error of S(q) from so few frames: no more than they
    can tell.

    One free run of `members` for every round, and one that shows what came of it. `training` is adapted, and
    holds the frames that the emulator learnt from. Raises ValueError, in words, for an emulator of another
    kind, and for free runs that do not last.
    """
    if not hasattr(emulator.model, "elasticity"):
        raise ValueError(f"{emulator.name} has no plane waves whose elasticity could be mended")
    elasticity = emulator.model.elasticity
    wanted, doubt = _spectrum(emulator, training)
    swing = wanted[1] / wanted[0] / elasticity.kick[1].square()  # (ω Δτ)², in harmonic motion
    longer = slice(1, 1 + int(swing[1:].argmin()))
    starts = np.linspace(emulator.history, len(training) - 1, members, dtype=int)
    states = torch.cat([emulator.initial_state(training, i) for i in starts])
    settling, total = steps // SETTLING, (rounds + 1) * steps
    for lap in range(rounds + 1):
        found = torch.zeros_like(wanted)
        for step, latents in enumerate(_free_run(emulator, states, steps, seed + lap)):
            found += _power(emulator, latents) if step >= settling else 0
            yield Balance(lap * steps + step + 1, total)
        ratio = (found / (steps - settling) / wanted)[0, longer]
        if not ((ratio > 1 / BROKEN) & (ratio < BROKEN)).all():
            raise ValueError(
                f"free runs of {emulator.name} break within {steps * emulator.dt_fs:g} fs: there is no "
                "equilibrium to mend; train it longer"
            )
        if lap < rounds:
            off = 1 - ratio
            elasticity.softness[longer] += off**3 / (off**2 + doubt[longer] ** 2) * swing[longer]
        yield Balance((lap + 1) * steps, total, ratio.cpu().numpy())


def _spectrum(emulator: Emulator, training: Trajectory) -> tuple[Tensor, Tensor]:
    """`_power` of the training frames, and for density the relative error of that mean (knots,)."""
    frames = np.linspace(emulator.history, len(training) - 1, min(SAMPLED, len(training) // 2), dtype=int)
    powers = [_power(emulator, emulator.encode(emulator.initial_state(training, i))) for i in frames]
    series = torch.stack(powers)
    means = [time_mean(knot) for knot in series[:, 0].T.cpu().numpy()]
    doubt = [mean.error / max(mean.value, 1e-30) for mean in means]
    return series.mean(0), torch.tensor(doubt).to(series)


def _free_run(emulator: Emulator, states: Tensor, steps: int, seed: int) -> Iterator[Tensor]:
    """Latents of every step from each of the states (B, 2, Nx, Ny, Nz), one member each."""
    streams = [member_stream(seed, k) for k in range(len(states))]
    latents = emulator.encode(states)
    for _ in range(steps):
        latents = emulator.advance(latents, streams)
        yield latents


def _power(emulator: Emulator, latents: Tensor) -> Tensor:
    """Mean square of the waves of density and rate about every knot, (2, knots)."""
    hats = emulator.model.denoiser.network.hats(tuple(latents.shape[2:]))
    waves = torch.fft.fftn(latents[:, :2], dim=(2, 3, 4)).abs().square().mean(0)
    return torch.einsum("cxyz,kxyz->ck", waves, hats) / hats.sum((1, 2, 3)).clamp(min=1e-9)
