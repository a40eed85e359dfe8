"""Rivals with weights: their symmetries, bases and losses, each against an exact answer."""

import math

import numpy as np
import pytest
import torch

from engine.normalise import LogNormal
from training.rivals.fno import FnoConfig, FourierOperator
from training.rivals.mlp import Coefficients, MlpConfig, MlpLatentDiffusion
from training.rivals.physics import GradientLoss, charge_loss

GRID = (8, 8, 8)
NORMALISER = LogNormal(mean=-2.9, std=0.27, rate_std=0.04, delta_fs=2.0)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_neural_operator_moves_with_the_lattice():
    pytest.importorskip("neuralop")
    torch.manual_seed(0)
    model = FourierOperator(FnoConfig(modes=4, hidden=4, layers=2)).eval()
    states = noise(1, 2, *GRID)
    with torch.no_grad():
        ahead, rolled = model.advance(states, []), model.advance(states.roll((3, 1, 6), (2, 3, 4)), [])
    assert (ahead - states).abs().max() > 1e-3
    torch.testing.assert_close(rolled, ahead.roll((3, 1, 6), (2, 3, 4)), atol=1e-5, rtol=0)


def test_fourier_coefficients_return_what_they_hold():
    basis = Coefficients(GRID, cutoff=2.0)
    assert basis.size == 2 * 33  # vectors of integers within radius 2
    states = noise(2, 2, *GRID)
    basis.standardise(states)
    features = basis(states)
    torch.testing.assert_close(features.square().mean(0), torch.ones(basis.size), atol=1e-4, rtol=0)
    kept = basis.inverse(features)
    torch.testing.assert_close(basis.inverse(basis(kept)), kept, atol=1e-5, rtol=0)
    assert float(((states - kept) * kept).sum()) == pytest.approx(0, abs=1e-2)  # orthogonal projection
    x = torch.arange(8) / 8
    wave = torch.cos(2 * math.pi * (x[:, None, None] - 2 * x[None, :, None] + 0.0 * x)).expand(1, 2, *GRID)
    wide = Coefficients(GRID, cutoff=2.5)
    torch.testing.assert_close(wide.inverse(wide(wave)), wave, atol=1e-5, rtol=0)


def test_charge_loss_sees_the_electron_count_and_nothing_else():
    field = noise(2, *GRID)
    assert float(charge_loss(field.roll(3, 1), field, NORMALISER)) < 1e-12
    more = field + math.log(1.02) / NORMALISER.std
    assert float(charge_loss(more, field, NORMALISER)) == pytest.approx(0.02**2, rel=1e-3)


@pytest.mark.parametrize("cell", [np.diag([4.0, 5.0, 6.0]), np.array([[4.0, 0, 0], [1, 5, 0], [0.5, 1, 6]])])
def test_gradient_loss_of_a_plane_wave(cell):
    target, numbers = noise(1, 2, *GRID), np.array([1, -2, 3])
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in GRID), indexing="ij")
    wave = 0.1 * np.cos(2 * np.pi * (x - 2 * y + 3 * z))
    q = 2 * np.pi * np.linalg.inv(cell) @ numbers
    found = GradientLoss(GRID, cell)(target + torch.from_numpy(wave).float(), target)
    assert float(found) == pytest.approx(0.1**2 * float(q @ q) / 2, rel=1e-4)


def test_losses_lead_a_perceptron_back_to_the_electron_count():
    field = noise(1, *GRID)
    shift = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        (100 * charge_loss(field + 0.2 + shift, field, NORMALISER)).backward()
        optimizer.step()
    assert float(shift.detach()) == pytest.approx(-0.2, abs=1e-3)


def test_a_member_meets_the_same_noise_alone_and_in_a_batch():
    torch.manual_seed(0)
    config = MlpConfig(latent=4, widths=(8,))
    model = MlpLatentDiffusion("fourier", config, GRID).eval()
    latents = noise(3, 4)

    def stream(k: int) -> torch.Generator:
        return torch.Generator().manual_seed(k)

    together = model.advance(latents, [stream(0), stream(1), stream(2)])
    alone = model.advance(latents[1:2], [stream(1)])
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)
