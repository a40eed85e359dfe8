"""Autoregressive generation: a generator of frames, stopped, paused and resumed by whoever drives it.

state = emulator.initial_state(trajectory, start=1)
for frame in rollout(emulator, state, 300, members=4, seed=7):
    frame.density                        # (4, Nx, Ny, Nz) in Å⁻³, a time frame.time_fs after the start
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from engine.emulator import Emulator


@dataclass(frozen=True)
class Frame:
    """One forecast step of all members; `time_fs` is the lead time, `index` 0 the first step."""

    index: int
    time_fs: float
    latents: Tensor
    density: np.ndarray | None


def rollout(
    emulator: Emulator,
    state: Tensor,
    frames: int | None = None,
    *,
    members: int = 1,
    first_member: int = 0,
    seed: int = 0,
    decode_every: int = 1,
) -> Iterator[Frame]:
    """z(τ + Δτ) ~ p(· | z(τ)), endlessly or for `frames` steps, decoding every `decode_every`-th (S12).

    `state` is (1, 2, Nx, Ny, Nz), or one per member. Each member draws from a stream of its own, made from
    (seed, member number), so that it meets the same noise alone and in any batch.
    """
    streams = [member_stream(seed, first_member + k) for k in range(members)]
    latents = emulator.encode(state)
    latents = latents.expand(members, *latents.shape[1:]).contiguous()
    for index in range(frames) if frames is not None else count():
        latents = emulator.advance(latents, streams)
        density = emulator.decode(latents) if (index + 1) % decode_every == 0 else None
        yield Frame(index, (index + 1) * emulator.dt_fs, latents, density)


def member_stream(seed: int, member: int) -> torch.Generator:
    """The noise of one member: statistically independent streams for every (seed, member)."""
    word = np.random.SeedSequence([seed, member]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(word))
