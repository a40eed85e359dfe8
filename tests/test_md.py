"""What a simulation may be, and the words for what it may not. No GPAW needed."""

import sys

import numpy as np
import pytest

from training import md
from training.md import PRESETS, SimulationConfig, SimulationError
from training.simulate import command, simulate


def test_velocities_have_the_temperature_of_the_first_stage():
    """⟨T⟩ over seeds is the melt's, its spread T √(2 / 93); the centre of mass rests."""
    config, atoms = md.prepare(PRESETS["small"], None)
    temperatures = []
    for seed in range(400):
        atoms.set_momenta(np.zeros((32, 3)))
        md.start(atoms, config, np.random.default_rng(seed))
        temperatures.append(atoms.get_temperature())
        assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12
    assert np.mean(temperatures) == pytest.approx(1600, rel=0.03)
    assert np.std(temperatures) == pytest.approx(1600 * np.sqrt(2 / 93), rel=0.15)
    before = atoms.get_momenta()
    md.start(atoms, config, np.random.default_rng(0))  # a file's own velocities stay
    np.testing.assert_array_equal(atoms.get_momenta(), before)


def test_grids_are_fine_enough_and_suit_the_fourier_transform():
    rng = np.random.default_rng(0)
    for lengths in rng.uniform(3, 30, (50, 3)):
        spacing = rng.uniform(0.1, 0.4)
        grid = md.fitting_grid(lengths, spacing)
        assert np.all(lengths / grid <= spacing * (1 + 1e-6)) and not np.any(np.array(grid) % 2)
        assert all(30**20 % n == 0 for n in grid)  # no prime beyond 5
    assert md.prepare(PRESETS["small"], None)[0].grid == (32, 32, 32)
    assert md.prepare(PRESETS["paper"], None)[0].grid == (48, 48, 48)


def test_a_density_that_has_no_logarithm_is_refused():
    field = np.full((2, 2, 2), 0.05)
    field[0, 1, 0] = -0.6
    with pytest.raises(SimulationError, match=r"from -0\.6 to 0\.05"):
        md.storable(field, "float16", "pseudo density")
    field[0, 1, 0] = 1e-9
    with pytest.raises(SimulationError, match="float32"):
        md.storable(field, "float16", "pseudo density")
    assert md.storable(field, "float32", "pseudo density").min() > 0


def test_what_cannot_run_is_refused_in_words(tmp_path):
    from ase import Atoms

    with pytest.raises(SimulationError, match="dt_fs is 0"):
        SimulationConfig(dt_fs=0)
    with pytest.raises(SimulationError, match="cutoff of 2000 eV needs at most"):
        md.prepare(SimulationConfig(ecut_eV=2000), None)
    Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], cell=[5, 5, 5], pbc=[1, 1, 0]).write(tmp_path / "slab.xyz")
    with pytest.raises(SimulationError, match="periodic in all three"):
        md.prepare(SimulationConfig(), tmp_path / "slab.xyz")
    (tmp_path / "text.cif").write_text("no crystal at all")
    with pytest.raises(SimulationError, match="cannot be read as a structure"):
        md.prepare(SimulationConfig(), tmp_path / "text.cif")
    with pytest.raises(SimulationError, match="no simulation"):
        command(SimulationConfig(), tmp_path / "none.h5", merge_only=True)


def test_without_gpaw_the_words_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpaw", None)
    monkeypatch.setitem(sys.modules, "gpaw.mpi", None)
    with pytest.raises(SimulationError, match=r"libxc-dev.*ldm_viewer\[gpaw\]"):
        next(simulate(SimulationConfig(), tmp_path / "x.h5"))
