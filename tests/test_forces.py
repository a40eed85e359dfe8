"""Random forces move the density there is: the spectrum, correlation and memory of what forecasts leave."""

import math

import pytest
import torch

from engine import symmetry
from engine.forces import RandomForces, wave_vectors
from engine.propagator import Propagator, PropagatorConfig
from engine.radial import hat_functions

VOXEL = torch.eye(3) * 0.54


def propagator(inflation=1.0):
    """One whose network does something, though nothing was learnt."""
    torch.manual_seed(3)
    module = Propagator(PropagatorConfig(width=6, blocks=1, knots=5, inflation=inflation), 2, 1)
    for weight in module.network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    module.network.voxel.copy_(VOXEL)
    return module.eval().requires_grad_(False)


def forces(channels=2, grid=(8, 8, 8)):
    """Random forces with nothing fitted, and what they need to know of the waves of a grid."""
    module = RandomForces(channels, 5)
    module.contrast.fill_(0.5)
    return module, hat_functions(grid, VOXEL, 5), wave_vectors(grid, VOXEL)


def fade(module):
    """Potentials whose waves fade with |q|, and hang together."""
    module.deviation.copy_(torch.tensor([0.0, 2e-2, 1e-2, 6e-3, 4e-3]))
    module.correlation.copy_(torch.tensor([[1.0, 0.6], [0.6, 1.0]])[..., None])


def remainder(module, density, generator):
    """What such potentials make of a density."""
    fade(module)
    noise = torch.randn(len(density), 2, *density.shape[2:], generator=generator)
    return module(density, noise, *forces()[1:])


def test_the_remainders_scale_is_one_for_each_channel():
    module, past = propagator(), torch.randn(32, 2, 6, 6, 6)
    noise = torch.tensor([0.1, 0.5]).view(2, 1, 1, 1)
    module.fit(past, past.flip(1) + noise * torch.randn_like(past))
    assert module.spread.flatten().tolist() == pytest.approx([0.1, 0.5], rel=0.05)


def test_potentials_move_the_density_along_their_gradient():
    """−∇·[(1 + cos kx) ∇cos kx] = k² (cos kx + cos 2kx), and nothing moves without a potential."""
    module, _, q = forces()
    module.contrast.fill_(1.0)
    phase = 2 * math.pi * torch.arange(8).view(8, 1, 1).expand(8, 8, 8) / 8
    k = 2 * math.pi / (8 * VOXEL[0, 0].item())
    wave = phase.cos()[None, None]
    moved = module._moved(wave, torch.fft.rfftn(wave, dim=(2, 3, 4)), q)
    assert torch.allclose(moved[0, 0], k**2 * (phase.cos() + (2 * phase).cos()), atol=1e-4)
    assert not module._moved(wave, torch.zeros(1, 1, 8, 8, 5, dtype=torch.cfloat), q).any()


def test_the_noise_has_the_spectrum_of_what_the_forecast_leaves():
    """Covariance of the channels, and power at every wave, to the error of their estimate."""
    module, draws = propagator(), torch.Generator().manual_seed(4)
    made, hats, q = forces()
    module.forces.contrast.copy_(made.contrast)
    chain, lefts = [torch.randn(64, 2, 8, 8, 8, generator=draws)], []
    for _ in range(3):
        expected = module(chain[-1])
        lefts.append(remainder(made, expected[:, :1], draws))
        chain.append(expected + lefts[-1])
    module.settle(torch.stack(chain))
    assert module.forces.memory.abs().max() < 0.3  # every remainder was a new one
    past, left = chain[1], lefts[1]
    drawn = module.sample(past, torch.randn(64, 2, 8, 8, 8, generator=draws)) - module(past)
    for x, y in ((0, 0), (0, 1), (1, 1)):
        wanted, got = ((a[:, x] * a[:, y]).mean().item() for a in (left, drawn))
        assert got == pytest.approx(wanted, rel=0.1)
    power = [torch.fft.fftn(a[:, 0], dim=(1, 2, 3)).abs().square().mean(0) for a in (left, drawn)]
    for share in hats[1:4]:
        assert (power[1] * share).sum().item() == pytest.approx((power[0] * share).sum().item(), rel=0.15)


def test_noise_makes_no_electrons_and_turns_with_the_crystal():
    module, hats, q = forces()
    fade(module)
    draws, density = torch.Generator().manual_seed(1), torch.randn(2, 1, 8, 8, 8)
    noise = torch.randn(2, 2, 8, 8, 8, generator=draws)
    plain = module(density, noise, hats, q)
    assert plain.mean((2, 3, 4)).abs().max() < 1e-6 * plain.std()
    for operation in symmetry.operations(VOXEL.numpy() * 8, (8, 8, 8))[::9]:
        turned = [symmetry.apply(x, operation, (2, 3, 4)) for x in (density, noise)]
        wanted = symmetry.apply(plain, operation, (2, 3, 4))
        assert torch.allclose(module(*turned, hats, q), wanted, atol=1e-4)


def test_what_has_no_colour_of_its_own_is_no_obstacle():
    """Channels that always go together, and forecasts that leave nothing, have singular covariances."""
    module, draws = propagator(), torch.Generator().manual_seed(6)
    chain = [torch.randn(8, 2, 8, 8, 8, generator=draws)]
    for _ in range(3):
        same = torch.randn(8, 1, 8, 8, 8, generator=draws).expand(-1, 2, -1, -1, -1)
        chain.append(module(chain[-1]) + same)
    module.settle(torch.stack(chain))
    noise = torch.randn(8, 2, 8, 8, 8, generator=draws)
    drawn = module.sample(chain[0], noise) - module(chain[0])
    assert drawn.isfinite().all() and torch.allclose(drawn[:, 0], drawn[:, 1], atol=0.05 * drawn.std().item())
    for step in range(3):
        chain[step + 1] = module(chain[step])
    module.settle(torch.stack(chain))
    assert torch.allclose(module.sample(chain[0], noise), module(chain[0]), atol=1e-3)


def test_noise_remembers_two_steps_and_stays_white():
    """Unit variance from the first step on, with the correlations asked for after one and two steps."""
    (module, hats, _), draws = forces(), torch.Generator().manual_seed(5)
    module.memory.copy_(torch.tensor([[0.6], [0.1]]).expand(2, 5))
    kept, fields = torch.zeros(16, 4, 8, 8, 8), []
    for _ in range(12):
        noise = module.remember(torch.randn(16, 2, 8, 8, 8, generator=draws), kept, hats)
        kept = torch.cat([noise, kept], dim=1)[:, :4]
        fields.append(noise)
    for early, late in ((0, 1), (6, 7)):
        assert fields[early].std().item() == pytest.approx(1, abs=0.02)
        assert (fields[early] * fields[late]).mean().item() == pytest.approx(0.6, abs=0.02)
    for early, late in ((0, 2), (8, 10)):
        assert (fields[early] * fields[late]).mean().item() == pytest.approx(0.1, abs=0.02)


def test_inflation_widens_the_noise_about_the_same_mean():
    past, noise = torch.randn(4, 2, 8, 8, 8), torch.randn(4, 2, 8, 8, 8)
    modules = [propagator(k) for k in (0.0, 1.0, 2.0)]
    for module in modules:
        module.forces.deviation.fill_(1.0)
    still, once, twice = (module.sample(past, noise) for module in modules)
    assert torch.equal(still, modules[0](past))
    assert torch.allclose(twice - still, 2 * (once - still), atol=1e-4)
