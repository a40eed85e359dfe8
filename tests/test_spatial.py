"""The spatial emulator keeps the symmetries of a periodic simulation, and its sampler the distribution."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine import symmetry
from engine.dataset import Dataset
from engine.edm import EDMConfig, SpatialDenoiser
from engine.emulator import Emulator, IncompatibleError
from engine.layers import from_patches, to_patches
from engine.losses import LossConfig
from engine.models import build
from engine.normalise import LogNormal
from engine.recipes import RECIPES, DataConfig, Recipe, TrainingConfig
from engine.rollout import rollout
from engine.samples import sample_path
from engine.spatial import SpatialAutoencoder, SpatialConfig
from engine.trainer import train
from engine.trajectory import Trajectory, TrajectoryWriter

TINY = Recipe(
    "tiny-spatial",
    data=DataConfig(grid=(8, 8, 8), stride=3, window=2, symmetries=True),
    autoencoder=SpatialConfig(latent=12, width=8, blocks=1),
    diffusion=EDMConfig(width=8, blocks=1, embedding=8),
    loss=LossConfig(sjsd=0.0),
    training=TrainingConfig(
        joint_steps=6, latent_steps=6, pairs=4, latent_pairs=4, log_every=1, checkpoint_every=3, ema=0.5
    ),
)


def lithium(frames=40):
    return Trajectory(sample_path("li32_train.h5"))[:frames]


def stirred(module):
    """Weights that are zero at the start hide what they multiply: give every weight a value."""
    torch.manual_seed(1)
    for weight in module.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return module.eval().requires_grad_(False)


def test_patches_go_there_and_back():
    x = torch.randn(2, 2, 8, 12, 4)
    assert torch.equal(from_patches(to_patches(x, 4), 4), x)
    assert to_patches(x, 4).shape == (2, 128, 2, 3, 1)
    assert torch.equal(to_patches(x, 4)[0, :64, 1, 0, 0].view(4, 4, 4), x[0, 0, 4:8, 0:4, 0:4])


def test_a_shift_by_a_patch_shifts_the_latent_by_one():
    autoencoder = stirred(SpatialAutoencoder(SpatialConfig(latent=12, width=8, blocks=1), (12, 12, 12)))
    x = torch.randn(2, 2, 12, 12, 12)
    latent, shift = autoencoder.encode(x), (4, 8, -4)
    moved = autoencoder.encode(x.roll(shift, (2, 3, 4)))
    assert torch.allclose(moved, latent.roll((1, 2, -1), (2, 3, 4)), rtol=1e-4, atol=1e-4)
    assert torch.allclose(
        autoencoder.decode(moved), autoencoder.decode(latent).roll(shift, (2, 3, 4)), rtol=1e-4, atol=1e-4
    )


def denoiser():
    module = SpatialDenoiser(EDMConfig(width=8, blocks=1, embedding=8), 4, 2)
    module.line.normal_()
    return stirred(module)


def test_the_sampler_is_equivariant_and_indifferent_to_the_cell():
    """A cell repeated twice is the same physics: the result is repeated too."""
    past, noise = torch.randn(2, 8, 3, 3, 3), torch.randn(2, 4, 3, 3, 3)
    sampler = denoiser()
    following = sampler.sample(past, noise)
    assert torch.allclose(sampler.sample(past.roll(1, 3), noise.roll(1, 3)), following.roll(1, 3), atol=1e-3)
    twice = sampler.sample(past.repeat(1, 1, 1, 1, 2), noise.repeat(1, 1, 1, 1, 2))
    assert torch.allclose(twice, following.repeat(1, 1, 1, 1, 2), atol=1e-3)


def test_the_straight_forecast_is_the_least_squares_one():
    """Where the next state is linear in the past it is exact; the remainder's scale is what noise is left."""
    past, rule = torch.randn(64, 8, 3, 3, 3), torch.randn(4, 8)
    following = torch.einsum("kc,bcxyz->bkxyz", rule, past)
    sampler = SpatialDenoiser(EDMConfig(width=8, blocks=1, embedding=8), 4, 2)
    sampler.fit(past, following + 0.1 * torch.randn_like(following))
    assert torch.allclose(sampler.straight(past), following, atol=0.05)
    assert sampler.spread.flatten().tolist() == pytest.approx([0.1] * 4, rel=0.05)


def test_the_linear_part_is_the_best_of_its_rank():
    """Its squared error is the sum of the eigenvalues left out, and keeping all of them loses nothing."""
    data = Dataset(lithium(), LogNormal.fit(lithium().blocks(64), 2.0), 5)
    states = data.states(torch.arange(0, 30, 3))
    config = SpatialConfig(latent=20, width=4, blocks=0)
    some = SpatialAutoencoder(config, (24,) * 3)
    some.fit(states)
    patches = to_patches(states * some.scale, 4).movedim(1, -1).flatten(0, -2).double()
    left_out = torch.linalg.eigvalsh(patches.T @ patches)[:-20].sum()
    error = ((some.decode(some.encode(states)) - states) * some.scale).square().sum()
    assert error.item() == pytest.approx(left_out.item(), rel=1e-3)
    everything = SpatialAutoencoder(replace(config, latent=128), (24,) * 3)
    everything.fit(states)
    assert torch.allclose(everything.decode(everything.encode(states)), states, atol=1e-4)


def test_the_sampler_recovers_an_exact_gaussian():
    """For x ~ N(m, s²) the perfect denoiser is known; many steps give its mean and spread."""
    mean, spread = 0.7, 0.25

    class Perfect(SpatialDenoiser):
        def forward(self, noisy, sigma, condition):
            s2 = sigma.view(-1, 1, 1, 1, 1) ** 2
            return (spread**2 * noisy + s2 * mean) / (spread**2 + s2)

    noise = torch.randn(4, 4, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    for steps, tolerance in ((5, 0.2), (40, 0.02)):
        sampler = Perfect(EDMConfig(width=8, blocks=1, embedding=8, steps=steps, sigma_min=0.005), 4, 1)
        x = sampler.sample_remainder(torch.zeros_like(noise), noise)
        assert x.mean().item() == pytest.approx(mean, abs=0.03)
        assert x.std().item() == pytest.approx(spread, rel=tolerance)


def test_a_cube_has_48_operations_a_brick_8_a_slanted_cell_2():
    cube = np.eye(3) * 8.0
    assert len(symmetry.operations(cube, (8, 8, 8))) == 48
    assert len(symmetry.operations(cube, (8, 8, 16))) == 16
    assert len(symmetry.operations(np.diag([8.0, 9.0, 10.0]), (8, 8, 8))) == 8
    slanted = np.array([[8.0, 0, 0], [1.0, 9.0, 0], [0.5, 2.0, 10.0]])
    assert symmetry.operations(slanted, (8, 8, 8)) == [((0, 1, 2), ()), ((0, 1, 2), (0, 1, 2))]


def test_symmetries_leave_every_distance_in_the_density_alone():
    """The periodic autocorrelation at a given distance is what an isometry keeps."""
    field = torch.from_numpy(lithium(1).density())
    power = torch.fft.fftn(field[0] - field.mean()).abs() ** 2
    index = torch.fft.fftfreq(24, 1 / 24).round().long() ** 2
    shell = (index[:, None, None] + index[:, None] + index).flatten()
    spectrum = torch.zeros(shell.max() + 1).index_add(0, shell, power.flatten())
    for operation in symmetry.operations(np.eye(3), (24,) * 3)[::5]:
        turned = symmetry.apply(field, operation, (3, 5, 7))[0]
        again = torch.fft.fftn(turned - turned.mean()).abs() ** 2
        assert torch.allclose(
            torch.zeros_like(spectrum).index_add(0, shell, again.flatten()), spectrum, rtol=1e-3, atol=1e-6
        )


def test_augmented_chains_keep_their_relation():
    """All states of a chain go through one operation: their difference is that of the chain, turned."""
    chains, draws = torch.randn(2, 6, 2, 4, 4, 4), torch.Generator().manual_seed(0)
    allowed = symmetry.operations(np.eye(3), (4, 4, 4))
    turned = symmetry.augment(chains, allowed, draws, chunks=3)
    assert not torch.equal(turned, chains)
    before, after = ((p[1] - p[0]).flatten(2).sort().values for p in (chains, turned))
    assert torch.allclose(before, after)


def test_reversed_chains_are_those_of_the_reversed_film():
    trajectory = lithium(20)
    normaliser = LogNormal.fit(trajectory.blocks(64), 2.0)
    data, index = Dataset(trajectory, normaliser, 5, steps=2), torch.tensor([2, 6])
    film = Dataset(trajectory, normaliser, 5, steps=2)
    film.field = film.field.flip(0)
    # states n, n + 5, n + 10 use frames n … n + 11: 8 − n … 19 − n of the reversed film of 20 frames
    assert torch.equal(data.chains(index, torch.tensor([True, True])), film.chains(8 - index))
    mixed = data.chains(index, torch.tensor([True, False]))
    assert torch.equal(mixed[:, 1], data.chains(index)[:, 1])
    assert not torch.equal(mixed[:, 0], data.chains(index)[:, 0])


def test_the_newest_state_comes_first(tiny):
    """A forecast decodes the state it started from, and remembers the one Δτ before."""
    truth = tiny.adapt(lithium())
    now, before = tiny.initial_state(truth, 9), tiny.initial_state(truth, 6)
    assert torch.equal(now[:, 2:], before[:, :2])
    assert torch.equal(tiny.encode(now)[:, 12:], tiny.encode(before)[:, :12])
    assert np.array_equal(tiny.decode(tiny.encode(now)), tiny.decode(tiny.encode(now)[:, :12]))
    with pytest.raises(IncompatibleError, match="4 … 39.*the 4 before"):
        tiny.initial_state(truth, 3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spatial")
    for _ in train(TINY, lithium(), folder, device="cpu"):
        pass
    return Emulator.load(folder)


def test_training_leaves_an_emulator_that_forecasts_at_its_stride(tiny):
    truth = tiny.adapt(lithium())
    frames = list(rollout(tiny, tiny.initial_state(truth, 4), 3, members=2, seed=4))
    assert [frame.time_fs for frame in frames] == [6.0, 12.0, 18.0]
    alone = next(rollout(tiny, tiny.initial_state(truth, 4), 1, first_member=1, seed=4))
    assert frames[0].density[1] == pytest.approx(alone.density[0], rel=1e-4)
    assert not np.allclose(frames[0].density[0], frames[0].density[1])


def test_held_electrons_are_those_of_the_training_frames(tiny):
    seen = tiny.adapt(lithium()).between(*tiny.card["data"]["train_fs"])
    frame = next(rollout(tiny, tiny.initial_state(seen, 4), 1))
    assert frame.density.mean() == pytest.approx(seen.density().mean(), rel=1e-5)
    tiny.hold_electrons = False
    free = next(rollout(tiny, tiny.initial_state(seen, 4), 1)).density.mean()
    tiny.hold_electrons = True
    assert free != pytest.approx(frame.density.mean(), rel=1e-6)


def repeated(path, scale=(1, 1, 2), stretch=1.0, atoms=None):
    frames, old = lithium(8).density(), lithium(1)
    numbers = [3] * (atoms or 32 * int(np.prod(scale)))
    cell = old.cell * np.array(scale)[:, None] * stretch
    grid = tuple(n * s for n, s in zip(old.grid, scale, strict=True))
    with TrajectoryWriter(path, grid=grid, cell=cell, species=numbers) as writer:
        for number, frame in enumerate(frames):
            writer.append(np.tile(frame, scale), time_fs=2.0 * number)
    return Trajectory(path)


def test_one_model_serves_other_cells_of_its_spacing(tiny, tmp_path):
    """Twice the cell, filled with two copies: encoded and decoded, it is two copies of the small one."""
    small, double = tiny.adapt(lithium(8)), tiny.adapt(repeated(tmp_path / "double.h5"))
    assert double.grid == (8, 8, 16)
    one, two = (tiny.decode(tiny.encode(tiny.initial_state(t, 4)))[0] for t in (small, double))
    assert two == pytest.approx(np.tile(one, (1, 1, 2)), rel=1e-3)
    assert next(rollout(tiny, tiny.initial_state(double, 4), 1)).density.shape == (1, 8, 8, 16)


def test_cells_and_densities_it_does_not_know_are_refused_in_words(tiny, tmp_path):
    with pytest.raises(IncompatibleError, match="multiple of 4 voxels"):
        tiny.adapt(repeated(tmp_path / "stretched.h5", stretch=1.02))
    with pytest.raises(IncompatibleError, match="Li32.*holds Li50 in a cell 2 times as large"):
        tiny.adapt(repeated(tmp_path / "thin.h5", atoms=50))


def test_recipes_of_both_kinds_build_their_models():
    kinds = {name: type(build(recipe)).__name__ for name, recipe in RECIPES.items()}
    assert kinds["paper"] == "PooledDynamics" and kinds["spatial"] == "PatchDynamics"
