"""Laws of the log-normal transform (S6) and of the causal state (S8)."""

import numpy as np
import pytest

from engine.normalise import LogNormal
from engine.samples import sample_path
from engine.trajectory import Trajectory


@pytest.fixture(scope="module")
def density():
    return Trajectory(sample_path("li32_train.h5")).density(slice(0, 12))


@pytest.fixture(scope="module")
def normaliser(density):
    return LogNormal.fit([density[:5], density[5:]], 2.0)


def test_transform_and_inverse_are_each_others_inverse(density, normaliser):
    np.testing.assert_allclose(normaliser.inverse(normaliser.forward(density)), density, rtol=1e-5)


def test_fit_standardises_field_and_rate(density, normaliser):
    states = normaliser.states(density)
    field = normaliser.forward(density)
    assert field.mean() == pytest.approx(0, abs=1e-5) and field.std() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((states[:, 1] ** 2).mean()) == pytest.approx(1, rel=1e-4)


def test_blocks_do_not_matter(density, normaliser):
    whole = LogNormal.fit([density], 2.0)
    assert vars(whole) == pytest.approx(vars(normaliser), rel=1e-9)


def test_nothing_after_a_frame_enters_its_state(density, normaliser):
    later = density.copy()
    later[7:] = density[0] * 1.5
    assert np.array_equal(normaliser.states(density)[:6], normaliser.states(later)[:6])
    assert not np.array_equal(normaliser.states(density)[6], normaliser.states(later)[6])


def test_rate_of_a_known_motion(normaliser):
    """ρ̃ that grows by 0.3 per fs everywhere has that rate, in units of the rate's standard deviation."""
    field = np.array([1.0, 1.6], dtype=np.float32)[:, None, None, None] * np.ones((2, 4, 4, 4))
    rate = normaliser.states(normaliser.inverse(field))[0, 1]
    assert rate == pytest.approx(0.3 / normaliser.rate_std, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, -0.1, np.nan])
def test_a_density_without_logarithm_is_refused_in_words(density, normaliser, value):
    bad = density.copy()
    bad[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match="positive, finite density"):
        normaliser.forward(bad)


@pytest.mark.parametrize("name", ["li32_train.h5", "li32_test.h5"])
def test_lithium_has_the_papers_log_normal(name):
    """The paper prints μ = −2.911 and σ = 0.271 for its liquid lithium at 800 K (S6, Figure S1)."""
    log = np.log(Trajectory(sample_path(name)).density(slice(0, None, 5)).astype(float))
    assert log.mean() == pytest.approx(-2.91, abs=0.02)
    assert log.std() == pytest.approx(0.27, abs=0.02)
