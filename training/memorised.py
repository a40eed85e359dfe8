"""Learnt by heart? How close forecasts come to training frames, beside how close unseen AIMD comes."""

from __future__ import annotations

import numpy as np

from engine.nearest import nearest, nearest_copy
from engine.trajectory import Trajectory
from training.protocol import Protocol

BLOCK = 32  # frames read at once


def distances(frames: np.ndarray, seen: Trajectory, spread: float, protocol: Protocol) -> dict:
    """VRMSE from `frames` (n, Nx, Ny, Nz) to the nearest training frame; {} where the grids differ.

    `closest_tenth` is that of the tenth that comes closest, since the frames at hand may be only some of
    those trained on; `median` of all. `copies` holds the same, for some frames, to the nearest of all lattice
    rolls (and cube operations, where the cell is a cube) of training frames.
    """
    if frames.shape[1:] != seen.grid:
        return {}
    result = _summary(nearest(frames, seen.blocks(BLOCK), spread))
    if protocol.symmetric_frames:
        some = frames[_spread(len(frames), protocol.symmetric_frames)]
        thin = seen[:: -(-len(seen) // protocol.symmetric_training_frames)]
        cube = is_cube(seen)
        found = nearest_copy(some, thin.blocks(BLOCK), spread, cube=cube)
        about = {"frames": len(some), "training_frames": len(thin), "operations": 48 if cube else 1}
        result["copies"] = _summary(found) | about
    return result


def beside(mine: dict, truth: dict) -> dict:
    """`mine` with its ratios to the distances of unseen AIMD; below 1 is closer than AIMD ever comes."""
    if not mine or not truth:
        return mine
    result = mine | {
        "ratio": mine["closest_tenth"] / truth["closest_tenth"],
        "ratio_of_medians": mine["median"] / truth["median"],
    }
    if "copies" in mine and "copies" in truth:
        result["copies"] = beside(mine["copies"], truth["copies"])
    return result


def truth_frames(truth: Trajectory, protocol: Protocol) -> np.ndarray:
    """Frames of the truth to compare with, evenly spread."""
    return truth.density(_spread(len(truth), protocol.compared_frames))


def is_cube(trajectory: Trajectory) -> bool:
    """Whether the 48 cube operations are symmetries of grid and cell."""
    cell = trajectory.cell
    return len(set(trajectory.grid)) == 1 and np.allclose(cell, cell[0, 0] * np.eye(3), atol=1e-6)


def _spread(length: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, length - 1, count).astype(int))


def _summary(found: np.ndarray) -> dict:
    return {"closest_tenth": float(np.quantile(found, 0.1)), "median": float(np.median(found))}
