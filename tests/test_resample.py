"""Fourier resampling: exact for what both grids can carry, real, and the mean kept."""

import numpy as np
import pytest
from triclinic import GRID, points

from engine.resample import fourier_resample


@pytest.mark.parametrize("new", [(6, 8, 10), (12, 9, 10), (5, 6, 7), (24, 3, 11)], ids=str)
def test_resampling_a_band_limited_wave_is_exact(new):
    x, y, z = points((9, 11, 12))
    u, v, w = points(new)

    def wave(a, b, c):
        return 1.5 + np.cos(2 * np.pi * (a + b - 2 * c) + 0.4) + 0.2 * np.sin(2 * np.pi * (2 * a - c))

    if min(new) > 4:
        np.testing.assert_allclose(fourier_resample(wave(x, y, z), new), wave(u, v, w), atol=1e-12)
    else:  # too coarse for these waves: what is left is the part that fits
        coarse = fourier_resample(np.cos(2 * np.pi * (x + y)) + np.cos(2 * np.pi * 4 * y), new)
        np.testing.assert_allclose(coarse, np.cos(2 * np.pi * (u + v)), atol=1e-12)


@pytest.mark.parametrize("new", [(12, 16, 20), (7, 9, 11), (4, 6, 8), (3, 5, 7), (6, 9, 4)], ids=str)
def test_resampling_noise_keeps_the_mean_and_real_numbers(new):
    field = np.random.default_rng(1).normal(size=(2, 3, *GRID))
    resampled = fourier_resample(field, new)
    assert resampled.shape == (2, 3, *new) and resampled.dtype == np.float64
    np.testing.assert_allclose(resampled.mean(axis=(-3, -2, -1)), field.mean(axis=(-3, -2, -1)), atol=1e-14)


@pytest.mark.parametrize("up", [(7, 9, 11), (12, 16, 20), (6, 8, 10), (13, 8, 12)], ids=str)
def test_up_then_down_is_the_identity(up):
    field = np.random.default_rng(2).normal(size=GRID)  # noise, so the Nyquist waves are full
    np.testing.assert_allclose(fourier_resample(fourier_resample(field, up), GRID), field, atol=1e-13)


def test_resampling_commutes_with_shifts_by_common_points():
    field = np.random.default_rng(3).normal(size=(8, 8, 8))
    shifted = fourier_resample(np.roll(field, 4, axis=1), (4, 4, 4))
    np.testing.assert_allclose(shifted, np.roll(fourier_resample(field, (4, 4, 4)), 2, axis=1), atol=1e-13)
