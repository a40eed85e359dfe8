"""Distances to training frames: a copy is found, however it was shifted and turned."""

import numpy as np
import pytest

from engine.nearest import nearest, nearest_copy, orientations


def deck(count=12, seed=0):
    return np.random.default_rng(seed).uniform(0.04, 0.06, (count, 6, 6, 6))


def test_nearest_finds_the_closest_of_all_blocks():
    frames = deck(30)
    shifted = frames[[3, 17, 29]] + np.array([0.0, 0.001, -0.002])[:, None, None, None]
    found = nearest(shifted, (frames[:10], frames[10:]), spread=0.005)
    assert found == pytest.approx([0, 0.2, 0.4], abs=1e-6)


def test_a_rolled_frame_is_at_distance_zero_and_without_rolls_it_is_far():
    frames = deck()
    rolled = np.roll(frames[[2, 7]], (1, 4, 3), axis=(1, 2, 3)).astype(np.float32)
    frames = frames.astype(np.float32)
    assert np.array_equal(nearest_copy(rolled, (frames[:5], frames[5:]), frames.std()), [0.0, 0.0])
    assert nearest(rolled, (frames,), frames.std()).min() > 0.5


def test_a_turned_and_rolled_frame_is_found_with_the_cube_operations_alone():
    frames = deck().astype(np.float32)
    turned = np.roll(np.flip(np.transpose(frames[4], (2, 0, 1)), 1), (2, 0, 5), axis=(0, 1, 2))[None]
    assert nearest_copy(turned, (frames,), frames.std(), cube=True) == pytest.approx([0.0], abs=1e-12)
    assert nearest_copy(turned, (frames,), frames.std())[0] > 0.5


def test_the_nearest_copy_is_the_smallest_over_every_roll():
    frames, others = deck(2, seed=1).astype(np.float32), deck(3, seed=2).astype(np.float32)
    rolls = [(i, j, k) for i in range(6) for j in range(6) for k in range(6)]
    brute = [
        min(np.sqrt(np.mean((f - np.roll(o, r, (0, 1, 2))) ** 2)) for o in others for r in rolls)
        for f in frames
    ]
    assert nearest_copy(frames, (others,), 0.01) == pytest.approx(np.array(brute) / 0.01, rel=1e-4)


def test_the_cube_group_has_48_different_elements():
    images = np.stack(list(orientations(deck(1)[0])))
    assert len(np.unique(images.reshape(48, -1), axis=0)) == 48
