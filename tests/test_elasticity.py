"""A harmonic force on long waves, and the free runs that it is found from."""

import math
import shutil

import numpy as np
import pytest
import torch

from engine import equilibrium, symmetry
from engine.elasticity import Elasticity
from engine.emulator import Emulator
from engine.equilibrium import equilibrate
from engine.radial import hat_functions
from engine.samples import sample_path, shipped
from engine.stationarity import Mean
from engine.trajectory import Trajectory
from training.equilibrate import run

VOXEL = torch.eye(3) * 0.54


def elasticity(softness=(0.0, 0.2, 0.1, 0.0, 0.0)):
    module = Elasticity(5)
    module.softness.copy_(torch.tensor(softness))
    module.kick.copy_(torch.tensor([0.5, 2.0]))
    return module, hat_functions((8, 8, 8), VOXEL, 5)


def test_a_wave_is_pushed_along_itself():
    """ρ = cos qx gets ½ κ(q) cos qx, its rate 2 κ(q) cos qx; nothing else moves."""
    module, hats = elasticity()
    wave = (2 * math.pi * torch.arange(8) / 8).cos().view(8, 1, 1).expand(8, 8, 8)
    latent = torch.stack([wave, torch.randn(8, 8, 8)])[None]
    kappa = (module.softness * hats[:, 1, 0, 0]).sum().item()
    pushed = (module(latent, hats) - latent)[0]
    assert kappa > 0.1
    assert torch.allclose(pushed[0], 0.5 * kappa * wave, atol=1e-6)
    assert torch.allclose(pushed[1], 2.0 * kappa * wave, atol=1e-6)


def test_it_turns_with_the_crystal_and_moves_no_mean():
    module, hats = elasticity()
    latent = torch.randn(2, 2, 8, 8, 8) + 1
    plain = module(latent, hats)
    assert torch.allclose(plain.mean((2, 3, 4)), latent.mean((2, 3, 4)), atol=1e-6)
    for operation in symmetry.operations(VOXEL.numpy() * 8, (8, 8, 8))[::7]:
        turned = symmetry.apply(latent, operation, (2, 3, 4))
        assert torch.allclose(module(turned, hats), symmetry.apply(plain, operation, (2, 3, 4)), atol=1e-5)


def test_without_softness_nothing_is_pushed():
    latent = torch.randn(1, 2, 8, 8, 8)
    module, hats = elasticity((0.0,) * 5)
    assert module(latent, hats) is latent


def training_frames(emulator):
    return emulator.adapt(Trajectory(sample_path("li32_train.h5")))


def test_only_plane_waves_have_an_elasticity():
    emulator = Emulator.load(shipped()["paper"])
    with pytest.raises(ValueError, match="paper has no plane waves"):
        next(equilibrate(emulator, training_frames(emulator)))


def test_runs_that_break_are_told_and_nothing_is_written(tmp_path):
    folder = shutil.copytree(shipped()["spectral"], tmp_path / "broken")
    emulator = Emulator.load(folder)
    emulator.model.elasticity.softness[1:4] = 3.0
    with pytest.raises(ValueError, match="free runs of broken break within 400 fs"):
        for _ in equilibrate(emulator, training_frames(emulator), members=1, steps=40):
            pass


def test_no_more_is_mended_than_training_frames_can_tell(monkeypatch):
    """A difference d beside an error e of the wanted S(q) is mended by d²/(d² + e²) of it."""
    changes = {}
    monkeypatch.setattr(equilibrium, "SAMPLED", 8)
    for error in (0.0, 0.1, 1e6):
        monkeypatch.setattr(equilibrium, "time_mean", lambda x, e=error: Mean(1.0, e, 1.0, 1))
        emulator = Emulator.load(shipped()["spectral"])
        before = emulator.model.elasticity.softness.clone()
        rounds = equilibrate(emulator, training_frames(emulator), rounds=1, members=1, steps=10)
        off = next(1 - b.ratio for b in rounds if b.ratio is not None)
        list(rounds)
        changes[error] = (emulator.model.elasticity.softness - before)[1:4].numpy()
    assert np.abs(changes[0.0]).min() > 0 and np.allclose(changes[1e6], 0, atol=1e-6)
    assert np.allclose(changes[0.1], changes[0.0] * off**2 / (off**2 + 0.01), rtol=1e-3, atol=1e-7)


@pytest.mark.slow
def test_stiff_waves_are_softened():
    """Made a tenth stiffer than shipped, three long waves come back towards the S(q) of training."""
    emulator = Emulator.load(shipped()["spectral"])
    shipped_softness = emulator.model.elasticity.softness.clone()
    emulator.model.elasticity.softness[1:4] -= 0.1 * torch.tensor([0.12, 0.2, 0.18])
    rounds = equilibrate(emulator, training_frames(emulator), rounds=1, members=8, steps=300)
    before, after = (b.ratio for b in rounds if b.ratio is not None)
    assert np.abs(np.log(after)).mean() < np.abs(np.log(before)).mean()
    assert (emulator.model.elasticity.softness - shipped_softness)[1:4].abs().max() < 0.02


def test_the_command_writes_what_it_found(tmp_path):
    folder = shutil.copytree(shipped()["spectral"], tmp_path / "again")
    run(folder, sample_path("li32_train.h5"), rounds=1, members=1, steps=12)
    emulator = Emulator.load(folder)
    assert len(emulator.card["equilibrium"]) == 2 and len(emulator.card["equilibrium"][0]) == 3
    before = Emulator.load(shipped()["spectral"]).model.elasticity.softness
    assert not torch.equal(emulator.model.elasticity.softness, before)
