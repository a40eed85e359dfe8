"""Forecasts side by side: memory for them, the truth at their times, the state that a fork begins from."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from engine.rollout import rollout
from ldm_viewer.frames import GrowingFrames, Series
from ldm_viewer.state import Origin, Run, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.emulator import Emulator
    from engine.rollout import Frame
    from engine.trajectory import Trajectory

LARGEST_BUFFER = 4 * 2**30  # bytes of forecasts kept in memory


class SessionError(ValueError):
    """A command that cannot be carried out now; the text says why and what would help."""


def new_run(state: State, address: str, origin_fs: float, words: str, parent: Origin | None) -> Run:
    """The next forecast as it is set up, with room for its frames; `address` is its emulator's."""
    emulator, adapted, setup = state.emulator, state.adapted, state.setup
    film = empty_film(adapted.grid, max(1, setup.frames // setup.stride), setup.members)
    number, step_fs = state.run + 1, emulator.dt_fs * setup.stride
    label = f"run {number}: {state.chosen}, seed {setup.seed}, {words}"
    origin = Origin(address, setup, parent)
    return Run(number, film, origin_fs + step_fs, step_fs, adapted.cell, origin, emulator, label)


def frames_of(
    run: Run, make_rollout: Callable[..., Iterator[Frame]], make_first: Callable[[], torch.Tensor]
) -> Iterator[Frame]:
    """Its frames one after the other, from the first state; for the worker's thread."""
    setup = run.setup
    return make_rollout(
        run.maker,
        make_first(),
        len(run.film) * setup.stride,
        members=setup.members,
        seed=setup.seed,
        decode_every=setup.stride,
    )


def empty_film(grid: tuple[int, int, int], frames: int, members: int) -> GrowingFrames:
    """Room for a forecast; SessionError with a number that fits where it is too much."""
    size = 4 * frames * members * int(np.prod(grid))
    if size > LARGEST_BUFFER:
        most = frames * LARGEST_BUFFER // size
        raise SessionError(f"{frames} frames need {size / 2**30:.1f} GiB of memory; show at most {most}")
    return GrowingFrames(np.empty((frames, members, *grid), np.float32))


def with_room(runs: tuple[Run, ...], film: GrowingFrames) -> tuple[Run, ...]:
    """The latest runs that fit into memory together with a new one; the oldest go first."""
    kept: list[Run] = []
    size = film.buffer.nbytes
    for run in reversed(runs):
        size += run.film.buffer.nbytes
        if size > LARGEST_BUFFER:
            break
        kept.insert(0, run)
    return tuple(kept)


def truth_beside(adapted: Trajectory, run: Run) -> Series:
    """The truth at the run's times, and at the same step before and after: frame by frame at equal times."""
    dt_fs = adapted.dt_fs
    every = max(1, round(run.step_fs / dt_fs))
    if len(adapted) <= every:
        return Series.of(adapted)
    first = round((run.first_fs - float(adapted.times_fs[0])) / dt_fs) % every
    return Series.of(adapted[first::every])


def shown(state: State, run: Run) -> dict[str, Any]:
    """What changes in the state when a run is shown."""
    member = state.member if state.member is None or state.member < run.members else 0
    ready = run.film.ready
    return {
        "shown": run,
        "member": member,
        "film": run.series(member),
        "forecast": run.series(member, ready) if ready else None,
        "started_fs": run.first_fs - run.step_fs,
        "truth": truth_beside(state.adapted, run),
    }


def forked_state(run: Run, member: int | None, time_fs: float, emulator: Emulator) -> torch.Tensor:
    """State (1, 2, Nx, Ny, Nz) of a forecast's frame for an emulator, another one or the same.

    ρ is what the run shows; its rate ∂ln ρ/∂τ is the run's own, in the new emulator's units (S6, S8).
    """
    index = run.series(0).index_at(time_fs)
    if index is None or index >= run.film.ready:
        raise SessionError(f"the forecast has no frame at {time_fs:g} fs to fork from; move the slider")
    if member is None:
        raise SessionError("a mean of members is no state to go on from: show one member")
    latents = run.film.latents[index]
    if latents is None:
        raise SessionError("this forecast did not keep what a fork begins from")
    return _state_for(emulator, run.maker, run.film.buffer[index, member], latents[member : member + 1])


def replayed(
    origin: Origin, makers: dict[str, Emulator], trajectory: Trajectory, emulator: Emulator
) -> torch.Tensor:
    """The state that a fork of `origin` begins from, for `emulator`, computed again from the trajectory.

    A member meets the same noise alone as in its ensemble, so only that one is computed.
    """
    maker, setup = makers[origin.emulator], origin.setup
    if origin.parent is not None:
        first = replayed(origin.parent, makers, trajectory, maker)
    else:
        adapted = maker.adapt(trajectory)
        first = maker.initial_state(adapted, Series.of(adapted).index_at(setup.start_fs))
    steps = (origin.index + 1) * setup.stride
    frames = rollout(
        maker, first, steps, first_member=origin.member, seed=setup.seed, decode_every=setup.stride
    )
    (last,) = deque(frames, maxlen=1)
    return _state_for(emulator, maker, last.density[0], last.latents)


def _state_for(
    emulator: Emulator, maker: Emulator, density: np.ndarray, latents: torch.Tensor
) -> torch.Tensor:
    """State of a frame (Nx, Ny, Nz) of `maker` and its latents (1, …), in the units of `emulator`."""
    theirs, ours = maker.normaliser, emulator.normaliser
    decoded = maker.decode_states(latents)
    field = ours.forward(density)
    rate = decoded[0, 1].float().cpu().numpy() * (theirs.rate_std * theirs.std) / (ours.rate_std * ours.std)
    return torch.from_numpy(np.stack([field, rate])[None]).to(emulator.device)
