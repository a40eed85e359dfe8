"""The soft histogram is S13, differentiable; the divergence is S14, with its known values and bounds."""

import math

import pytest
import torch

from engine.losses import LossConfig, jensen_shannon, scaled_jsd, soft_histogram

CONFIG = LossConfig(bins=24, low=-3, high=3)


def dense_histogram(x, config):
    """S13 as printed: every value weighed into every bin."""
    bins = torch.linspace(config.low, config.high, config.bins, dtype=x.dtype)
    sigma = config.width * (config.high - config.low) / (config.bins - 1)
    mass = torch.exp(-((x.clamp(config.low, config.high)[..., None] - bins) ** 2) / (2 * sigma**2)).sum(-2)
    return mass / mass.sum(-1, keepdim=True)


@pytest.mark.parametrize("width", [0.5, 1.0, 2.5])
def test_soft_histogram_is_the_papers_sum(width):
    config = LossConfig(bins=24, low=-3, high=3, width=width)
    x = 2 * torch.randn(3, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(soft_histogram(x, config), dense_histogram(x, config), atol=1e-7, rtol=0)


def test_gradient_of_the_soft_histogram_is_its_finite_difference():
    x = torch.linspace(-2.91, 2.87, 31, dtype=torch.float64)[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda y: soft_histogram(y, CONFIG), (x,), eps=1e-6, atol=1e-6)


def test_divergence_of_disjoint_distributions_is_ln_2_and_scaled_is_2():
    far, near = torch.full((1, 8, 8, 8), -2.5), torch.full((1, 8, 8, 8), 2.5)
    p, q = soft_histogram(far.reshape(1, -1), CONFIG), soft_histogram(near.reshape(1, -1), CONFIG)
    assert jensen_shannon(p, q).item() == pytest.approx(math.log(2), rel=1e-5)
    assert scaled_jsd(far, near, CONFIG).item() == pytest.approx(2, rel=1e-5)  # Z = ½ ln 2


def test_divergence_is_symmetric_and_zero_only_for_equals():
    p, q = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.5, 0.25, 0.25])
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))
    assert jensen_shannon(p, p).item() == pytest.approx(0, abs=1e-7)
    by_hand = 0.5 * sum(
        a * math.log(2 * a / (a + b)) + b * math.log(2 * b / (a + b))
        for a, b in zip(p.tolist(), q.tolist(), strict=True)
    )
    assert jensen_shannon(p, q).item() == pytest.approx(by_hand, rel=1e-5)


def test_divergence_has_a_finite_gradient_where_bins_are_empty():
    x = torch.full((1, 4, 4, 4), -2.0, requires_grad=True)
    scaled_jsd(x, torch.full((1, 4, 4, 4), 2.0), CONFIG).backward()
    assert torch.isfinite(x.grad).all()


def test_gradient_moves_a_narrow_distribution_towards_a_wide_one():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(1, 16, 16, 16, generator=generator)
    x = (0.3 * torch.randn(1, 16, 16, 16, generator=generator)).requires_grad_()
    scaled_jsd(x, target, CONFIG).backward()
    outwards = -(x.grad * x.detach()).sum()
    assert outwards > 0
