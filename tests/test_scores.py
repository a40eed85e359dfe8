"""Each score against a pair whose distance is known on paper, and the baselines against what they promise."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from engine import scores
from engine.recorder import Bins, Recorder

LN2 = np.log(2.0)
CELL = 8.66 * np.eye(3)


def test_jsd_of_equal_and_of_disjoint_distributions():
    assert scores.jsd(np.array([1, 2, 3]), np.array([2, 4, 6])) == pytest.approx(0.0, abs=1e-15)
    assert scores.jsd(np.array([1, 1, 0, 0]), np.array([0, 0, 5, 1])) == pytest.approx(LN2, abs=1e-12)


def test_jsd_of_two_coins_is_the_textbook_number():
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    entropy = lambda x: -np.sum(x * np.log(x))  # noqa: E731
    expected = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    assert scores.jsd(p, q) == pytest.approx(expected, abs=1e-12)
    assert scores.jsd(q, p) == pytest.approx(expected, abs=1e-12)


def test_jsd_of_histograms_of_two_gaussians_is_their_integral():
    edges = np.linspace(-9, 10, 4001)
    p, q = np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges, loc=1.0))

    def integrand(x):
        a, b = norm.pdf(x), norm.pdf(x, loc=1.0)
        return (a * np.log(2 * a / (a + b)) + b * np.log(2 * b / (a + b))) / 2

    assert scores.jsd(p, q) == pytest.approx(quad(integrand, -9, 10, epsabs=1e-10)[0], abs=1e-6)


def test_jsd_refuses_different_bins_and_empty_distributions():
    with pytest.raises(ValueError, match="same bins"):
        scores.jsd(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="positive sum"):
        scores.jsd(np.zeros(3), np.ones(3))


def test_relative_error_leaves_out_shells_that_do_not_exist():
    reference = np.array([np.nan, 2.0, 4.0])
    assert scores.relative_error(np.array([np.nan, 2.2, 3.0]), reference) == pytest.approx((0.1 + 0.25) / 2)


def test_a_denser_copy_has_the_relative_error_of_its_factor():
    """Scaling the fluctuation by 1.1 scales |F| by 1.1 and |F|² by 1.21 in every shell."""
    truth = random_frames(6)
    run = truth.mean() + 1.1 * (truth - truth.mean())
    result = scores.score(record(run), record(truth), np.array([2.0, 4.0]))
    assert result["sq_amplitude_rel_error"] == pytest.approx(0.1, abs=1e-9)
    assert result["sq_intensity_rel_error"] == pytest.approx(0.21, abs=1e-9)
    assert result["fqt_abs_error"] == pytest.approx(0.0, abs=1e-9)


def test_fqt_error_is_the_mean_distance():
    assert scores.fqt_error(np.zeros((4, 2)), np.full((4, 2), 0.3)) == pytest.approx(0.3)


def test_vrmse_of_the_mean_is_one_and_of_an_offset_is_offset_over_spread():
    truth = np.random.default_rng(0).normal(0.05, 0.01, (5, 8, 8, 8))
    assert scores.vrmse(np.full_like(truth, truth.mean()), truth) == pytest.approx(1.0, abs=1e-12)
    assert scores.vrmse(truth + 0.004, truth) == pytest.approx(0.004 / truth.std(), abs=1e-12)
    with pytest.raises(ValueError, match="constant"):
        scores.vrmse(truth, np.ones_like(truth))


def test_vrmse_over_start_frames_is_that_of_all_of_them_together():
    generator = np.random.default_rng(1)
    truth, forecast = generator.normal(size=(2, 7, 4, 4, 4))
    errors = scores.LeadErrors()
    for t, f in zip(truth, forecast, strict=True):
        errors.add(10.0, f, t)
    assert errors.vrmse() == {
        10.0: pytest.approx(np.sqrt(np.mean((truth - forecast) ** 2)) / truth.std(), rel=1e-12)
    }


def test_the_mean_of_two_opposite_members_is_perfect_while_each_is_not():
    truth = np.random.default_rng(2).normal(size=(6, 6, 6))
    errors = scores.LeadErrors()
    errors.add(2.0, np.stack([truth + 0.3, truth - 0.3]), truth)
    assert errors.vrmse()[2.0] == pytest.approx(0.3 / truth.std(), rel=1e-12)
    assert errors.vrmse(ensemble_mean=True)[2.0] == pytest.approx(0.0, abs=1e-12)


def test_persistence_of_a_travelling_wave_errs_by_twice_the_sine_of_half_its_phase():
    """⟨(cos(x − φ) − cos x)²⟩ = 2 sin²(φ/2)·…: VRMSE = 2 |sin(φ/2)|."""
    x = 2 * np.pi * np.arange(24) / 24 * np.ones((24, 24, 1))
    leads = np.array([2.0, 10.0, 50.0])
    fields = scores.persistence(0.05 + 0.01 * np.cos(x), leads)
    for lead, field in zip(leads, fields, strict=True):
        phase = 2 * np.pi * lead / 97.0
        truth = 0.05 + 0.01 * np.cos(x - phase)
        assert scores.vrmse(field, truth) == pytest.approx(2 * np.sin(phase / 2), abs=1e-6)


def test_linear_extrapolation_is_exact_for_steady_change_and_uses_no_later_frame():
    generator = np.random.default_rng(3)
    start, rate = generator.uniform(0.04, 0.06, (4, 4, 4)), generator.normal(0, 1e-4, (4, 4, 4))
    leads = np.array([2.0, 10.0, 50.0])
    fields = scores.linear_extrapolation(start, start - 2.0 * rate, leads, 2.0)
    for lead, field in zip(leads, fields, strict=True):
        assert np.abs(field - (start + lead * rate)).max() < 1e-12


def test_shuffled_deck_deals_every_frame_once_before_it_starts_again():
    deck = scores.shuffled(10, 25, seed=4)
    assert sorted(deck[:10]) == list(range(10)) and sorted(deck[10:20]) == list(range(10))
    assert not np.array_equal(deck[:10], np.arange(10))
    assert np.array_equal(deck, scores.shuffled(10, 25, seed=4))


def test_drift_names_what_changed_between_the_tenths():
    truth = random_frames(40)
    run = truth.copy()
    run[20:] *= 1.05
    result = scores.drift(record(run), record(truth))
    assert abs(result["first_tenth"]["log_mean_shift"]) < 0.01
    shift = result["last_tenth"]["log_mean_shift"] - result["first_tenth"]["log_mean_shift"]
    assert shift == pytest.approx(np.log(1.05), abs=0.02)
    assert result["last_tenth"]["electrons_mean"] == pytest.approx(
        1.05 * truth[36:].mean() * 8.66**3, rel=1e-9
    )


def test_a_run_too_short_for_the_lags_has_no_relaxation_score():
    frames = random_frames(3)
    assert np.isnan(scores.score(record(frames), record(frames), np.array([20.0]))["fqt_abs_error"])


def random_frames(count):
    """Smooth positive fields of 12³ that differ from frame to frame."""
    generator = np.random.default_rng(5)
    return 0.05 + 0.004 * generator.uniform(-1, 1, (count, 12, 12, 12))


def record(frames):
    recorder = Recorder(frames.shape[1:], CELL, 2.0, Bins.of(0.03, 0.08))
    recorder.update(frames)
    return recorder.record()
