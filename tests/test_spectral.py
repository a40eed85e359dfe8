"""The spectral emulator commutes with every motion of the crystal and decodes to positive densities."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine import symmetry
from engine.emulator import Emulator
from engine.models import build
from engine.normalise import LogNormal
from engine.propagator import PropagatorConfig
from engine.radial import Closure, hat_functions
from engine.recipes import RECIPES, DataConfig, TrainingConfig, from_dict, to_dict
from engine.resample import fourier_resample
from engine.rollout import rollout
from engine.samples import sample_path, shipped
from engine.spectral import SpectralAutoencoder, SpectralConfig, SpectralNet, resample
from engine.trainer import train
from engine.trajectory import Trajectory

TINY = replace(
    RECIPES["spectral"],
    name="tiny-spectral",
    data=DataConfig(grid=(12, 12, 12), stride=3, symmetries=True),
    autoencoder=SpectralConfig(grid=(8, 8, 8)),
    diffusion=PropagatorConfig(width=6, blocks=1, knots=5),
    training=TrainingConfig(
        joint_steps=0, latent_steps=6, latent_pairs=4, log_every=1, checkpoint_every=3, precision="32-true"
    ),
)
VOXEL = torch.eye(3) * 0.54


def lithium(frames=40):
    return Trajectory(sample_path("li32_train.h5"))[:frames]


def net(inputs=2, outputs=2):
    torch.manual_seed(2)
    network = SpectralNet(inputs, outputs, width=6, blocks=2, knots=5)
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    network.voxel.copy_(VOXEL)
    return network.eval().requires_grad_(False)


def autoencoder(grid=(16, 16, 16), closure=True):
    normaliser = LogNormal.fit(lithium().blocks(64), 2.0)
    states = torch.from_numpy(normaliser.states(lithium().density()))
    module = SpectralAutoencoder(SpectralConfig(grid, closure=closure), (24, 24, 24))
    module.fit(states, normaliser, torch.tensor(lithium().cell))
    return module, states[::8]


@pytest.mark.parametrize("old", [(12, 12, 12), (8, 9, 12), (24, 16, 10)])
@pytest.mark.parametrize("new", [(12, 12, 12), (9, 8, 10), (16, 18, 24)])
def test_resampling_is_that_of_trajectories(old, new):
    field = torch.randn(2, *old, dtype=torch.float64)
    assert resample(field, new).numpy() == pytest.approx(fourier_resample(field.numpy(), new), abs=1e-10)


def test_what_the_coarse_grid_holds_comes_back():
    """One trip leaves out the short waves; a second leaves out nothing more."""
    module, states = autoencoder(grid=(15, 15, 15))
    once = module.decode(module.encode(states))
    again = module.decode(module.encode(once))
    assert torch.allclose(again[:, 0], once[:, 0], atol=2e-3)


def test_all_of_the_grid_loses_nothing():
    module, states = autoencoder(grid=(24, 24, 24))
    assert torch.allclose(module.decode(module.encode(states)), states, atol=2e-3)


def test_translations_and_symmetries_of_the_state_are_those_of_the_latent():
    """Three voxels of 24 are two points of 16; mirrors and exchanged axes go through as they are."""
    module, states = autoencoder()
    moved = module.encode(states.roll((3, -6, 9), (2, 3, 4)))
    assert torch.allclose(moved, module.encode(states).roll((2, -4, 6), (2, 3, 4)), atol=1e-4)
    turned = module.encode(symmetry.apply(states, ((2, 0, 1), ()), (0, 0, 0)))
    assert torch.allclose(
        turned, symmetry.apply(module.encode(states), ((2, 0, 1), ()), (0, 0, 0)), atol=1e-4
    )


def test_any_latent_decodes_to_a_positive_density():
    module, _ = autoencoder()
    decoded = module.decode(5 * torch.randn(2, 2, 16, 16, 16))
    assert decoded.isfinite().all() and (decoded[:, 0] * module.log[1] + module.log[0]).exp().min() > 0


def test_short_waves_that_follow_long_ones_are_found_exactly():
    """Of fields whose short waves are an isotropic filter of their square, nothing is missing."""
    fine, coarse, closure = (12, 12, 12), (8, 8, 8), Closure(knots=5)
    held = resample(resample(torch.randn(20, *fine), (7, 7, 7)), fine)
    hats = hat_functions(fine, VOXEL, 5)
    short = (torch.fft.fftfreq(12, 1 / 12).abs() >= 4).view(-1, 1, 1)
    short = short | short.view(1, -1, 1) | short.view(1, 1, -1)
    kernel = (torch.tensor([0.0, 0.0, 0.3, -0.2, 0.1]) @ hats.flatten(1)).view(fine) * short
    whole = held + torch.fft.ifftn(torch.fft.fftn(held**2, dim=(1, 2, 3)) * kernel, dim=(1, 2, 3)).real
    closure.fit(held[:16], whole[:16], coarse, VOXEL)
    assert torch.allclose(closure(held[16:], coarse), whole[16:], atol=1e-4)


def test_unseen_short_waves_are_found_but_for_a_part():
    """They are 4 % of an unseen density's standard deviation; less than a third of that is left."""
    truth = Trajectory(sample_path("li32_test.h5"))[100:120]

    def missing(module):
        states = torch.from_numpy(
            LogNormal(*module.log.tolist(), rate_std=0.04, delta_fs=2.0).states(truth.density())
        )
        made, real = (
            x[:, 0].mul(module.log[1]).exp() for x in (module.decode(module.encode(states)), states)
        )
        return ((made - real).square().mean() / real.var()).sqrt().item()

    without, closed = missing(autoencoder(closure=False)[0]), missing(autoencoder()[0])
    assert without == pytest.approx(0.044, abs=0.01) and closed < without / 3


def test_knots_share_every_wave():
    """Linear interpolation in |q|: shares add to one and give |q| itself back, on a slanted grid too."""
    voxel = torch.tensor([[0.5, 0.0, 0.0], [0.1, 0.6, 0.0], [0.0, 0.2, 0.55]])
    hats = hat_functions((6, 8, 10), voxel, 5).double()
    assert torch.allclose(hats.sum(0), torch.ones_like(hats[0]), atol=1e-6)
    q = 2 * np.pi * np.linalg.norm(np.array([1 / 6, -2 / 8, 3 / 10]) @ np.linalg.inv(voxel.numpy()).T)
    reach = np.pi * np.linalg.norm(1 / np.linalg.norm(voxel.numpy(), axis=1))
    assert (hats[:, 1, -2, 3] @ torch.linspace(0, reach, 5).double()).item() == pytest.approx(q, rel=1e-6)


def test_the_network_commutes_with_all_48_symmetries_and_with_translations():
    network = net()
    x = torch.randn(1, 2, 8, 8, 8)
    out = network(x)
    for operation in symmetry.operations(np.eye(3), (8, 8, 8))[::7]:
        turned = network(symmetry.apply(x, operation, (1, 2, 3)))
        assert torch.allclose(turned, symmetry.apply(out, operation, (1, 2, 3)), atol=1e-4)


def test_the_network_is_indifferent_to_how_often_the_cell_is_repeated():
    network, x = net(), torch.randn(1, 2, 6, 6, 6)
    twice = network(x.repeat(1, 1, 1, 2, 1))
    assert torch.allclose(twice, network(x).repeat(1, 1, 1, 2, 1), atol=1e-4)


def test_a_step_carries_its_noise_along():
    model = build(TINY)
    model.denoiser.forces.memory.fill_(0.5)
    model.denoiser.forces.deviation.fill_(1.0)
    latents = model.encode(torch.randn(2, 2, 12, 12, 12))
    noise = torch.randn(2, *model.noise_shape(latents.shape[1:]))
    after = model.advance(latents, noise)
    assert latents.shape == after.shape == (2, 6, 8, 8, 8)
    assert torch.allclose(after[:, 2:4], noise, atol=1e-5) and not after[:, 4:].any()
    again = model.advance(after, noise)
    assert torch.equal(again[:, 4:], after[:, 2:4])
    assert torch.equal(model.decode(after), model.decode(after[:, :2]))


def test_training_leaves_an_emulator_for_any_cell(tmp_path):
    for _ in train(TINY, lithium(), tmp_path, device="cpu"):
        pass
    emulator = Emulator.load(tmp_path)
    truth = emulator.adapt(lithium())
    frame = next(rollout(emulator, emulator.initial_state(truth, 1), 1, members=2))
    assert frame.time_fs == 6.0 and frame.density.shape == (2, 12, 12, 12) and (frame.density > 0).all()
    assert frame.density.mean() == pytest.approx(emulator.mean_density, rel=1e-5)
    double = torch.cat([emulator.initial_state(truth, 1)] * 2, dim=-1)
    one, two = (emulator.decode(emulator.encode(s)) for s in (emulator.initial_state(truth, 1), double))
    assert two == pytest.approx(np.concatenate([one, one], axis=-1), rel=1e-4)


def test_its_recipe_survives_a_card():
    assert from_dict(to_dict(TINY)) == TINY


def test_rates_are_those_of_successive_frames():
    """∫ρ̇ by the trapezoid rule is the change of ρ, but for the rule's own error at 10 fs and the noise."""
    emulator = Emulator.load(shipped()["spectral"])
    truth = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
    latents, draws = emulator.encode(emulator.initial_state(truth, 100)), [torch.Generator().manual_seed(0)]
    path = []
    for _ in range(20):
        latents = emulator.advance(latents, draws)
        path.append(latents[0, :2])
    density, change = (torch.stack(path) * emulator.model.autoencoder.scale.view(2, 1, 1, 1)).unbind(1)
    middle = density - change / 2  # where the change over the last δ belongs
    moved = middle.diff(dim=0)
    steps = emulator.dt_fs / emulator.delta_fs
    trapezoid = (change[1:] + change[:-1]) / 2 * steps
    assert ((moved - trapezoid).square().mean() / moved.square().mean()).sqrt() < 0.2
