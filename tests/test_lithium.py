"""The shipped AIMD of liquid lithium seen through our own observables: numbers that are known beforehand."""

import numpy as np
import pytest

from engine import observables as obs
from engine import scores
from engine.samples import sample_path
from engine.trajectory import Trajectory


@pytest.fixture(scope="module", params=["li32_train.h5", "li32_test.h5"])
def lithium(request):
    with Trajectory(sample_path(request.param)) as trajectory:
        yield trajectory


def test_log_density_has_the_mean_and_spread_the_paper_prints(lithium):
    """The paper: −2.911 and 0.271 (below S6)."""
    logarithm = np.log(lithium.density(slice(None, None, 5)))
    assert logarithm.mean() == pytest.approx(-2.91, abs=0.02)
    assert logarithm.std() == pytest.approx(0.27, abs=0.02)


def test_the_pseudo_density_holds_the_same_number_of_electrons_in_every_frame(lithium):
    electrons = obs.electron_count(lithium.density(slice(None, None, 10)), lithium.cell)
    assert electrons.mean() == pytest.approx(36.788, abs=0.01)
    assert electrons.std() < 0.01


def test_every_ion_sits_under_a_density_peak(lithium):
    for index in (0, len(lithium) - 1):
        (peaks,) = obs.peaks(lithium.density(index), lithium.cell)
        ions = lithium.positions(slice(index, index + 1))[0]
        apart = (ions[:, None] - peaks[None]) @ np.linalg.inv(lithium.cell)
        apart = np.linalg.norm((apart - np.rint(apart)) @ lithium.cell, axis=-1)
        assert apart.min(axis=1).max() < 0.1


def test_a_line_beats_standing_still_over_one_step_and_loses_over_twenty_five(lithium):
    """The ladder of trivial forecasts: 0.08 and 0.012 at 2 fs, about 1.3 and 2.2 at 50 fs."""
    starts = np.arange(1, len(lithium) - 26, 9)
    errors = {"still": scores.LeadErrors(), "line": scores.LeadErrors()}
    for start in map(int, starts):
        before, now = lithium.density(slice(start - 1, start + 1))
        for lead, moved in zip(
            (2.0, 50.0), scores.linear_extrapolation(now, before, [2.0, 50.0], 2.0), strict=True
        ):
            truth = lithium.density(start + int(lead / 2))
            errors["still"].add(lead, now, truth)
            errors["line"].add(lead, moved, truth)
    still, line = errors["still"].vrmse(), errors["line"].vrmse()
    assert still[2.0] == pytest.approx(0.08, abs=0.005) and line[2.0] == pytest.approx(0.012, abs=0.001)
    assert still[50.0] == pytest.approx(1.3, abs=0.1) and line[50.0] == pytest.approx(2.2, abs=0.2)


def test_structure_relaxes_near_100_fs_at_the_main_peak_and_swings_at_long_waves(lithium):
    density = lithium.density(slice(None, None, 5))
    curve = obs.intermediate_scattering(density, lithium.cell, 10.0, np.arange(0.0, 201.0, 10.0))
    main = np.interp(0.5, curve[::-1, 2], np.arange(200.0, -1.0, -10.0))
    assert 60 < main < 160
    assert curve[:, 1].min() < -0.1  # q ≈ 1.6: sound
    assert 30 < 10 * np.argmax(curve[:, 1] < 0) < 60
