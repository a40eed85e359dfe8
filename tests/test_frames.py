"""The arrays behind the views: read lazily, indexed like numpy's, placed as the cell says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from waves import CELL, GRID

from ldm_viewer.frames import LazyFrames, Series, shared_limits
from ldm_viewer.layers import ReversedFrames, placement


def test_lazy_frames_index_like_the_array_they_stand_for(wave_file: Path) -> None:
    from engine.trajectory import Trajectory

    trajectory = Trajectory(wave_file)
    whole, lazy = trajectory.density(), LazyFrames(trajectory)
    reverse = ReversedFrames(lazy)
    flipped = whole.transpose(0, 3, 2, 1)
    for key in (
        3,
        slice(2, 5),
        (4, 2),
        (slice(0, 9, 4), slice(None), 3),
        (-1, ..., 2),
        (slice(1, 3), 2, slice(1, 4), 5),
    ):
        np.testing.assert_array_equal(lazy[key], whole[key])
        np.testing.assert_array_equal(reverse[key], flipped[key])
    assert reverse.shape == flipped.shape


def test_series_finds_the_nearest_frame_and_nothing_outside() -> None:
    series = Series(np.zeros((4, *GRID)), 10.0, 2.0, CELL)
    assert [series.index_at(t) for t in (8.9, 9.1, 10.9, 11.1, 16.9, 17.1)] == [None, 0, 0, 1, 3, None]


def test_limits_span_the_values_of_all_frames(wave_file: Path) -> None:
    from engine.trajectory import Trajectory

    low, high = shared_limits(Series.of(Trajectory(wave_file)))
    assert 0.0199 < low < 0.022 and 0.078 < high <= 0.08


def test_placement_puts_a_voxel_where_the_cell_says() -> None:
    cell = np.array([[4.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.5, 0.25, 5.0]])
    place = placement(Series(np.zeros((2, 4, 6, 10)), 7.0, 2.0, cell))
    index = np.array([1, 5, 3, 2])  # time, z, y, x
    world = place["affine"] @ np.append(index * place["scale"] + place["translate"], 1.0)
    expected = (2 / 4) * cell[0] + (3 / 6) * cell[1] + (5 / 10) * cell[2]
    np.testing.assert_allclose(world[:4], [9.0, *expected[::-1]])
