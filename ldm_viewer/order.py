"""What is to be exported, as plain data, and the footage of a session's state for it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ldm_viewer.footage import Footage
from ldm_viewer.frames import Series

if TYPE_CHECKING:
    from ldm_viewer.movie import Shot
    from ldm_viewer.state import State
    from ldm_viewer.turntable import Ride

SLICES, SURFACES, CANVAS, PAGE = WHATS = ("slices", "isosurfaces", "napari's 3-D canvas", "web page (HTML)")


@dataclass(frozen=True)
class Order:
    """What the form says."""

    what: str
    """One of `WHATS`."""
    shot: Shot
    ride: Ride
    span_fs: tuple[float, float]
    """After the start."""
    smooth: bool


def footage_of(state: State, order: Order) -> Footage:
    """Truth and shown forecast in the chosen time; ValueError in words where there is nothing."""
    truth = state.truth if state.adapted is None else Series.of(state.adapted)
    run = state.shown
    zero = 0.0 if run is None else run.first_fs - run.step_fs
    whole = order.span_fs == (-np.inf, np.inf)
    span = order.span_fs if whole else (order.span_fs[0] + zero, order.span_fs[1] + zero)
    smooth = order.smooth and order.what == SLICES
    return Footage.of(truth, state.forecast, smooth=smooth, span_fs=span)


def title_of(state: State) -> str:
    """System, file and run, for a page without a title of its own."""
    name = "" if state.trajectory is None else f"{state.trajectory.formula}, {state.trajectory.path.stem}"
    return name if state.shown is None else f"{name}: {state.shown.label}"


def about_page(footage: Footage) -> str:
    """What will be written, in words."""
    return (
        f"{len(footage)} frames in one file that any browser opens without a network: slices with a slider, "
        "curves, an isosurface to turn."
    )


def fitted(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The same shape inside `room`, in even pixels."""
    share = min(1.0, room[0] / size[0], room[1] / size[1])
    return tuple(max(160, 2 * round(side * share / 2)) for side in size)
