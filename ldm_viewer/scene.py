"""What a picture of isosurfaces is made of, and the scene of a session's state. No Qt, no VTK."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.palette import FORECAST, TRUTH
from ldm_viewer.state import Beside

if TYPE_CHECKING:
    from ldm_viewer.state import State

BOTH, DIFFERENCE = "truth and forecast", "difference"
SHARES = {
    BOTH: (0.35, 0.7),
    DIFFERENCE: (0.5,),
}  # default levels, of range and reach
DIFFERENCE_TITLE = "#7F7F7F"
DIFFERENCE_SHARE = 0.5  # of the density's range: what the colours of a difference span either way


@dataclass(frozen=True)
class View:
    """Where the camera stands: angles in degrees around the cell's middle, and its magnification."""

    azimuth: float = 30.0
    elevation: float = 20.0
    zoom: float = 1.0


@dataclass(frozen=True, eq=False)
class Field:
    """One density or difference (Nx, Ny, Nz) in Å⁻³, with the levels to draw and the range of its colours."""

    name: str
    values: np.ndarray
    levels: tuple[float, ...]
    limits: tuple[float, float]
    title_color: str
    signed: bool = False
    positions: np.ndarray | None = None
    """Atoms (N, 3) in Å, or None."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Fields side by side in one cell (rows: lattice vectors, Å), seen by one camera."""

    fields: tuple[Field, ...]
    cell: np.ndarray
    view: View = View()
    size: tuple[int, int] = (800, 400)
    background: str = "black"


def scene_of(
    state: State,
    *,
    what: str,
    levels: str,
    atoms: bool,
    view: View,
    size: tuple[int, int],
    limits: tuple[float, float],
    background: str,
) -> Scene | None:
    """What there is to draw at the slider, or None."""
    low, high = limits
    reach = DIFFERENCE_SHARE * (high - low)
    wanted = parse_levels(levels)
    ions = state.positions() if atoms else None
    if what == DIFFERENCE:
        third = None if state.film is None else replace(state, beside=Beside.DIFFERENCE).third()
        values = None if third is None else third.at(state.time_fs)
        sizes = wanted or tuple(share * reach for share in SHARES[what])
        both = tuple(sorted(sign * abs(level) for level in sizes for sign in (-1, 1)))
        field = Field(what, values, both, (-reach, reach), DIFFERENCE_TITLE, signed=True, positions=ions)
        fields = [] if values is None or not np.isfinite(values).all() else [field]
    else:
        chosen = wanted or tuple(low + share * (high - low) for share in SHARES[what])
        told = zip(("truth", "forecast"), state.pair(), (TRUTH, FORECAST), (ions, None), strict=True)
        fields = [
            Field(name, values, chosen, limits, color, positions=places)
            for name, values, color, places in told
            if values is not None
        ]
    return Scene(tuple(fields), state.truth.cell, view, size, background) if fields else None


def parse_levels(text: str) -> tuple[float, ...]:
    """Rising numbers from "0.1, 0.06"; none from an empty text. ValueError in words."""
    parts = text.replace(",", " ").replace(";", " ").split()
    try:
        return tuple(sorted(float(part) for part in parts))
    except ValueError:
        raise ValueError(f"levels are numbers in Å⁻³ such as 0.06 0.10, not {text!r}") from None
