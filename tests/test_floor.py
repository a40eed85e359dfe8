"""A process against itself is at its floor; a wrong one is above it by the factor of its distance."""

import numpy as np
import pytest
from test_stationarity import liquid, record

from engine import floor
from engine.scores import score

LAGS = np.arange(20.0, 201.0, 20.0)
FRAMES = 60


@pytest.fixture(scope="module")
def truth():
    return record(liquid(FRAMES, seed=11))


@pytest.fixture(scope="module")
def reference():
    return floor.cut(record(liquid(10 * FRAMES, seed=12)), FRAMES)


def test_another_run_of_the_same_process_is_at_the_floor(truth, reference):
    blocks = floor.cut(record(liquid(20 * FRAMES, seed=13)), FRAMES)
    ratios = floor.floor_ratios(blocks, reference, [truth], LAGS, (20, 10))
    for name in floor.SCORES:
        assert 0.7 < ratios[name]["ratio"] < 1.4
        assert ratios[name]["low"] < 1 < ratios[name]["high"]


def test_a_run_with_too_much_power_and_no_memory_is_above_the_floor(truth, reference):
    frames = liquid(10 * FRAMES, seed=14)
    loud = np.exp(1.3 * (np.log(frames) + 2.9) - 2.9)[np.random.default_rng(0).permutation(len(frames))]
    ratios = floor.floor_ratios(floor.cut(record(loud), FRAMES), reference, [truth], LAGS, (10, 10))
    for name in ("sq_intensity_rel_error", "fqt_abs_error", "jsd_nats"):
        assert ratios[name]["low"] > 1.5


def test_the_ratio_is_that_of_the_medians_of_the_scores(truth, reference):
    blocks = reference[:3]
    ratios = floor.floor_ratios(blocks, reference, [truth], LAGS, (3, 10))
    scores = [score(block, truth, LAGS)["jsd_nats"] for block in reference]
    assert ratios["jsd_nats"]["floor"] == pytest.approx(np.median(scores))
    assert ratios["jsd_nats"]["ratio"] == pytest.approx(np.median(scores[:3]) / np.median(scores))


def test_stretches_of_truth_are_held_against_each_other_and_none_against_itself(reference):
    """The floor of stretches a, b, c and a block d: the median over d|a, d|b, d|c and six pairs of three."""
    truths, block = reference[:3], reference[4]
    ratios = floor.floor_ratios([block], [block], truths, LAGS, (1, 4), truths)
    pairs = [(block, t) for t in truths] + [(s, t) for s in truths for t in truths if s is not t]
    for name in floor.SCORES:
        scores = [score(one, other, LAGS)[name] for one, other in pairs]
        assert ratios[name]["floor"] == pytest.approx(np.median(scores))
    alone, without = (
        floor.floor_ratios([block], reference, truths[:1], LAGS, (1, 10), *siblings)["jsd_nats"]["floor"]
        for siblings in ((truths[:1],), ())
    )
    assert alone == without


def test_the_interval_covers_the_true_ratio_of_two_exponential_laws():
    """Medians of 1.5·Exp and of Exp, so a ratio of 1.5, in nine of ten intervals."""
    generator, hits = np.random.default_rng(4), []
    for seed in range(200):
        forecast, reference = 1.5 * generator.exponential(size=(40, 1)), generator.exponential(size=(40, 1))
        row = floor.ratio_of_medians(forecast, reference, (40, 40), seed)
        hits.append(row["low"] <= 1.5 <= row["high"])
    assert 0.83 <= np.mean(hits) <= 0.97


def test_overlapping_blocks_widen_the_interval_and_one_block_has_none():
    generator = np.random.default_rng(5)
    forecast, reference = generator.exponential(size=(40, 1)), generator.exponential(size=(12, 1))
    separate = floor.ratio_of_medians(forecast, reference, (40, 12))
    overlapping = floor.ratio_of_medians(forecast, reference, (40, 3))
    assert overlapping["ratio"] == separate["ratio"]
    assert overlapping["high"] - overlapping["low"] > 1.3 * (separate["high"] - separate["low"])
    alone = floor.ratio_of_medians(forecast, reference[:1], (40, 1))
    assert np.isnan(alone["low"]) and np.isnan(alone["high"])


def test_blocks_lie_side_by_side_or_overlap_and_keep_their_step_when_thinned(truth):
    run = record(liquid(10, seed=1))
    assert [len(block) for block in floor.cut(run, 4)] == [4, 4]
    assert len(floor.cut(run, 4, hop=2)) == 4
    thin = run.every(3)
    assert thin.dt_fs == 60.0 and len(thin) == 4
    assert np.array_equal(thin.moments, run.moments[::3])
