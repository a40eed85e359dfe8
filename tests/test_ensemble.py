"""Ensemble scores against a Gaussian, whose spread–skill ratio and CRPS are known on paper."""

import numpy as np
import pytest
from scipy.stats import norm

from engine.ensemble import LeadBands, LeadErrors, crps

GRID, CELL = (12, 12, 12), 8.66 * np.eye(3)


def gaussian(members, centre=0.0, spread=1.0, starts=12, size=4000, seed=0):
    """Scores of ensembles N(centre, spread²) when the truth is N(0, 1) and each start has its own mean."""
    generator = np.random.default_rng(seed)
    errors = LeadErrors()
    for _ in range(starts):
        mean = generator.normal(0, 3, size)
        truth = mean + generator.normal(0, 1, size)
        errors.add(20.0, mean + centre + spread * generator.normal(0, 1, (members, size)), truth)
    return errors


@pytest.mark.parametrize("members", [2, 4, 16])
def test_an_ensemble_drawn_from_the_law_of_the_truth_has_spread_skill_one_for_any_size(members):
    assert gaussian(members).spread_skill()[20.0] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_spread_skill_of_a_wrong_spread_is_its_closed_form(spread):
    members = 8
    # ⟨(x̄ − y)²⟩ = spread²/K + 1
    expected = np.sqrt((1 + 1 / members) * spread**2 / (spread**2 / members + 1))
    assert gaussian(members, spread=spread).spread_skill()[20.0] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("members", [2, 16])
@pytest.mark.parametrize(("centre", "spread"), [(0.0, 1.0), (0.7, 1.0), (0.0, 0.4)])
def test_crps_is_that_of_the_gaussian_for_any_number_of_members(members, centre, spread):
    """E CRPS of N(m, s²) over y ~ N(0, 1): w g(m/w) − s/√π, w² = s² + 1, g(u) = u(2Φ(u) − 1) + 2φ(u)."""
    width = np.sqrt(spread**2 + 1)
    u = centre / width
    expected = width * (u * (2 * norm.cdf(u) - 1) + 2 * norm.pdf(u)) - spread / np.sqrt(np.pi)
    measured = gaussian(members, centre, spread, seed=1)
    assert measured.crps()[20.0] == pytest.approx(expected, abs=0.015)
    assert measured.crps(relative=True)[20.0] == pytest.approx(expected / np.sqrt(10), abs=0.006)


def test_crps_is_the_sum_over_all_pairs():
    generator = np.random.default_rng(2)
    members, truth = generator.normal(size=(5, 3)), generator.normal(size=3)
    pairs = np.abs(members[:, None] - members[None]).sum(axis=(0, 1)) / (2 * 5 * 4)
    assert crps(members, truth) == pytest.approx(np.abs(members - truth).mean(axis=0) - pairs, abs=1e-12)
    assert crps(members[:1], truth) == pytest.approx(np.abs(members[0] - truth), abs=1e-12)


def test_a_single_member_has_no_spread():
    errors = LeadErrors()
    errors.add(2.0, np.zeros(4), np.arange(4.0))
    assert np.isnan(errors.spread_skill()[2.0])
    assert errors.crps()[2.0] == pytest.approx(1.5)


def test_start_frames_with_different_numbers_of_members_are_refused():
    errors = LeadErrors()
    errors.add(2.0, np.zeros((3, 4)), np.arange(4.0))
    with pytest.raises(ValueError, match="2 members at 2 fs after 3"):
        errors.add(2.0, np.zeros((2, 4)), np.arange(4.0))


def waves(numbers, phase):
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in GRID), indexing="ij"))
    return np.cos(2 * np.pi * np.tensordot(numbers, points, axes=1) + phase)


def test_bands_see_power_and_phase_of_the_waves_that_lie_in_them():
    """q of (1,0,0) is 0.73, of (3,2,1) 2.7 and of (5,0,2) 3.9 Å⁻¹: one wave for each band."""
    numbers = [(1, 0, 0), (3, 2, 1), (5, 0, 2)]
    truth = 0.05 + sum(0.004 * waves(n, 0.3) for n in numbers)
    changes = [(1.0, 0.0), (0.5, np.pi / 3), (2.0, np.pi)]
    forecast = 0.05 + sum(
        0.004 * a * waves(n, 0.3 + turn) for n, (a, turn) in zip(numbers, changes, strict=True)
    )
    bands = LeadBands(GRID, CELL)
    bands.add(10.0, np.stack([forecast, forecast]), truth)
    assert bands.power_ratio()[10.0] == pytest.approx([1.0, 0.25, 4.0], abs=1e-9)
    assert bands.correlation()[10.0] == pytest.approx([1.0, 0.5, -1.0], abs=1e-9)


def test_unrelated_fields_do_not_correlate_and_sums_run_over_start_frames():
    generator = np.random.default_rng(3)
    bands, copies = LeadBands(GRID, CELL), LeadBands(GRID, CELL)
    for _ in range(20):
        forecast, truth = generator.normal(0.05, 0.01, (2, 4, *GRID))
        bands.add(20.0, forecast, truth[0])
        copies.add(20.0, truth[:1], truth[0])
    assert np.abs(bands.correlation()[20.0]).max() < 0.05
    assert bands.power_ratio()[20.0] == pytest.approx([1, 1, 1], abs=0.1)
    assert copies.correlation()[20.0] == pytest.approx([1, 1, 1], abs=1e-12)
