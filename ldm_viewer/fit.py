"""What trajectory, emulator and setup come to together: the truth to show, the frame to start from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ldm_viewer.frames import Series
from ldm_viewer.runs import SessionError

if TYPE_CHECKING:
    from engine.emulator import Emulator
    from engine.trajectory import Trajectory
    from ldm_viewer.state import Setup, State


def fit(trajectory: Trajectory | None, emulator: Emulator | None) -> dict[str, Any]:
    """`adapted`, `truth` and `obstacle` of a state for a pair of trajectory and emulator."""
    if trajectory is None:
        return {"adapted": None, "truth": None, "obstacle": ""}
    if emulator is None:
        return {"adapted": None, "truth": Series.of(trajectory), "obstacle": ""}
    try:
        adapted = emulator.adapt(trajectory)
    except ValueError as error:  # IncompatibleError, and what the trajectory itself refuses
        return {"adapted": None, "truth": Series.of(trajectory), "obstacle": str(error)}
    return {"adapted": adapted, "truth": Series.of(adapted), "obstacle": ""}


def settled(setup: Setup, truth: Series | None, start_fs: float) -> Setup:
    """The setup with its start inside the trajectory; not its first frame: that has no derivative."""
    if truth is None or len(truth) < 2:
        return setup
    return replace(setup, start_fs=float(min(max(start_fs, truth.time_at(1)), truth.end_fs)))


def start_of(state: State) -> tuple[Emulator, Trajectory, int]:
    """Emulator, adapted trajectory and its frame to start from; SessionError says what is missing."""
    if state.trajectory is None:
        raise SessionError("there is no trajectory to start from: open one, or take the sample")
    if state.emulator is None:
        raise SessionError("no emulator is chosen: pick one from the list, or open its folder")
    if state.adapted is None:
        raise SessionError(state.obstacle)
    series = Series.of(state.adapted)
    index = series.index_at(state.setup.start_fs)
    if index is None or index < 1:
        raise SessionError(
            f"a forecast cannot start at {state.setup.start_fs:g} fs: "
            f"choose a frame from {series.time_at(1):g} to {series.end_fs:g} fs"
        )
    return state.emulator, state.adapted, index
