"""Lines of text under the panel's fields, made from the session's state."""

from __future__ import annotations

import numpy as np

from ldm_viewer.state import State, Status


def describe_trajectory(state: State) -> str:
    """Li32, 300 frames every 2 fs, 24³ points in (8.66)³ Å."""
    trajectory = state.trajectory
    if trajectory is None:
        return "drop a trajectory here, or take the sample"
    return (
        f"{trajectory.formula}, {len(trajectory)} frames every {trajectory.dt_fs:g} fs,\n"
        f"{_times(trajectory.grid)} points in {_lengths(trajectory.cell)} Å"
    )


def describe_emulator(state: State) -> str:
    """What the emulator does with this data, or why it cannot."""
    if state.emulator is None:
        return "choose the folder of an emulator" if not state.emulators else ""
    if state.obstacle:
        return "does not fit this data (see the notification)"
    return f"steps of {state.emulator.dt_fs:g} fs on {_times(state.emulator.grid)} points"


def describe_run(state: State) -> str:
    """Where the forecast stands: running: 37 of 200 frames, 4.1 a second."""
    if state.status is Status.IDLE:
        return "ready" if state.adapted is not None else "needs data and an emulator"
    if not state.ready:
        return {Status.RUNNING: "starting…", Status.FAILED: "failed"}.get(state.status, state.status.value)
    speed = f", {state.ready / state.seconds:.1f} a second" if state.seconds > 0 else ""
    return f"{state.status.value}: {state.ready} of {state.total} frames{speed}"


def describe_time(state: State) -> str:
    """2830 fs (start + 14 fs)."""
    if state.forecast is None:
        return f"{state.time_fs:g} fs"
    lead = state.time_fs - state.started_fs
    return f"{state.time_fs:g} fs (start {'+' if lead >= 0 else '−'} {abs(lead):g} fs)"


def members_of(state: State) -> list[str]:
    """Names of the shown run's members."""
    count = 1 if state.shown is None else state.shown.members
    return [f"member {number + 1}" for number in range(count)]


def _times(numbers: tuple[int, ...]) -> str:
    return "×".join(map(str, numbers)) if len(set(numbers)) > 1 else f"{numbers[0]}³"


def _lengths(cell: np.ndarray) -> str:
    lengths = [f"{length:.2f}" for length in np.linalg.norm(cell, axis=1)]
    return " × ".join(lengths) if len(set(lengths)) > 1 else f"({lengths[0]})³"
