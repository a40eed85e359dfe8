"""An emulator opens safely, meets the data it can serve, and refuses the rest in words."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch

from engine.emulator import Emulator, IncompatibleError
from engine.rollout import rollout
from engine.samples import emulator_folder, sample_path, shipped
from engine.scores import vrmse
from engine.trajectory import Trajectory, TrajectoryWriter
from tests.conftest import CELL, wave, write_wave


@pytest.fixture
def emulator(tiny_emulator_folder):
    return Emulator.load(tiny_emulator_folder)


@pytest.fixture
def copy(tiny_emulator_folder, tmp_path):
    return shutil.copytree(tiny_emulator_folder, tmp_path / "copy")


def test_an_emulator_says_what_it_is(emulator):
    assert (emulator.grid, emulator.dt_fs, emulator.delta_fs, emulator.stride) == ((8, 8, 8), 2.0, 2.0, 1)
    assert emulator.composition == {"H": 1}


def test_decoding_gives_positive_densities_of_the_grid(emulator):
    density = emulator.decode(torch.randn(3, 4))
    assert density.shape == (3, 8, 8, 8) and density.dtype == np.float32
    assert (density > 0).all()


def test_initial_state_is_that_of_its_frame(emulator, wave_file):
    truth = emulator.adapt(Trajectory(wave_file))
    state = emulator.initial_state(truth, 5)
    assert emulator.normaliser.inverse(state[0, 0]).numpy() == pytest.approx(wave(10.0), rel=1e-4)
    with pytest.raises(IncompatibleError, match="the one before"):
        emulator.initial_state(truth, 0)


def test_finer_data_is_brought_to_the_models_grid_and_step(emulator, tmp_path):
    """1 fs on 16³ becomes 2 fs on 8³, with the same band-limited density."""
    with TrajectoryWriter(
        tmp_path / "fine.h5", grid=(16,) * 3, cell=CELL, species=[1], dtype="float32"
    ) as writer:
        for time in range(9):
            writer.append(wave(time, (16,) * 3), time_fs=float(time))
    adapted = emulator.adapt(Trajectory(tmp_path / "fine.h5"))
    assert (adapted.grid, adapted.dt_fs, len(adapted)) == ((8, 8, 8), 2.0, 5)
    assert adapted.density(3) == pytest.approx(wave(6.0), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cell": CELL * 1.1}, r"knows the cell 4.000 × 4.000 × 4.000 Å .*4.400"),
        ({"step_fs": 3.0}, "every 2 fs.*every 3 fs, which does not divide it"),
        ({"step_fs": 4.0}, "every 2 fs.*every 4 fs, which does not divide it"),
    ],
)
def test_what_cannot_fit_is_refused_in_words(emulator, tmp_path, changes, words):
    trajectory = Trajectory(write_wave(tmp_path / "other.h5", **changes))
    with pytest.raises(IncompatibleError, match=words):
        emulator.adapt(trajectory)


def test_another_composition_is_refused_in_words(emulator):
    with pytest.raises(IncompatibleError, match="trained on H1, the trajectory holds Li32"):
        emulator.adapt(Trajectory(sample_path("li32_test.h5")))


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a checkpoint ran')",))


def test_nothing_in_a_checkpoint_is_executed(copy):
    (copy / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(IncompatibleError, match="damaged"):
        Emulator.load(copy)


def test_a_damaged_or_foreign_folder_is_refused_in_words(copy, tmp_path):
    with pytest.raises(IncompatibleError, match=r"card.json is missing"):
        Emulator.load(tmp_path)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(IncompatibleError, match="damaged"):
        Emulator.load(copy)
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps(card | {"format": "other 2"}))
    with pytest.raises(IncompatibleError, match="expected 'ldm_viewer emulator 1'"):
        Emulator.load(copy)


@pytest.mark.parametrize("name", ["spectral", "paper", "paper-no-sjsd"])
def test_shipped_emulators_know_the_shipped_data(name):
    emulator = Emulator.load(shipped()[name])
    unseen = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
    assert emulator.recipe.name == name
    first, last = emulator.card["data"]["test_fs"]
    assert first <= unseen.times_fs[0] and unseen.times_fs[-1] <= last
    assert (shipped()[name] / "model.safetensors").stat().st_size < 10 * 2**20


def test_the_one_that_forecasts_unseen_frames_is_the_default():
    assert list(shipped()) == ["spectral", "paper", "paper-no-sjsd"]


def test_the_default_forecasts_unseen_frames_better_than_a_straight_line():
    """VRMSE over 20 fs, one start: 0.2 is the bar, persistence has 0.7, linear extrapolation 0.55."""
    emulator = Emulator.load(shipped()["spectral"])
    truth = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
    frames = list(rollout(emulator, emulator.initial_state(truth, 100), 2, seed=1))
    assert frames[-1].time_fs == 20.0
    assert vrmse(frames[-1].density[0], truth.density(110)) < 0.2
    assert (
        vrmse(emulator.decode(emulator.encode(emulator.initial_state(truth, 100)))[0], truth.density(100))
        < 0.05
    )


@pytest.mark.parametrize(("lead_fs", "bar"), [(10, 0.08), (20, 0.2), (50, 0.6)])
def test_the_default_forecasts_a_cell_twice_as_large(lead_fs, bar):
    """Against AIMD of 64 atoms; the emulator learnt from 32 alone, and must keep the bars set for those."""
    emulator = Emulator.load(shipped()["spectral"])
    truth = emulator.adapt(Trajectory(sample_path("li64.h5")))
    assert truth.grid == (24, 24, 48)
    *_, frame = rollout(emulator, emulator.initial_state(truth, 5), lead_fs // 10, seed=1)
    assert vrmse(frame.density[0], truth.density(5 + lead_fs // 2)) < bar


def test_a_sampler_is_chosen_behind_the_name():
    emulator = Emulator.load(emulator_folder("paper@dpm:20"))
    assert emulator.name == "paper@dpm:20" and len(emulator.model.sampler) == 20
    truth = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
    frames = list(rollout(emulator, emulator.initial_state(truth, 1), 2, members=3))
    assert frames[-1].density.shape == (3, 24, 24, 24)
    assert len(Emulator.load(emulator_folder("paper@ancestral")).model.sampler) == 1000


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("paper@dpm", "'dpm' is no sampler"),
        ("paper@ddim:1001", "N from 1 to 1000"),
        ("paper@euler:5", "is no sampler"),
        ("spectral@dpm:20", "like the paper's"),
    ],
)
def test_a_sampler_that_there_is_not_is_refused_in_words(model, words):
    with pytest.raises(ValueError, match=words):
        Emulator.load(emulator_folder(model))
