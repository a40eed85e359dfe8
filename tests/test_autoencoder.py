"""Symmetries of the periodic blocks and of the pooled autoencoder."""

import pytest
import torch
from torch import nn

from engine.autoencoder import PooledAutoencoder, PooledConfig
from engine.emulator import Emulator
from engine.layers import Residual, Standardise, SubPixel, Wrap, channels_last, conv, down, up, wrapped
from engine.samples import sample_path, shipped
from engine.trajectory import Trajectory

CONFIG = PooledConfig(channels=(6, 8), latent=5)


def shifted(x, *voxels):
    return torch.roll(x, voxels, (2, 3, 4))


@pytest.fixture
def field():
    return torch.randn(2, 6, 8, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    net = PooledAutoencoder(CONFIG, (8, 8, 12)).eval()
    for parameter in net.parameters():  # zero-initialised layers would hide what they break
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return net


def test_periodic_convolution_and_its_gradients_are_torchs(field):
    ours, theirs = conv(6, 4), nn.Conv3d(6, 4, 3, padding=1, padding_mode="circular")
    theirs.load_state_dict(ours.state_dict())
    a, b = field.clone().requires_grad_(), field.clone().requires_grad_()
    ours(a).square().sum().backward()
    theirs(b).square().sum().backward()
    assert torch.allclose(ours(field), theirs(field), atol=1e-5)
    assert torch.allclose(a.grad, b.grad, atol=1e-3)


@pytest.mark.parametrize("stride", [1, 2])
def test_without_gradients_a_convolution_is_the_same(stride):
    layer = conv(3, 5, stride=stride)
    x = torch.randn(2, 3, 4, 6, 8)
    plain = layer(x).detach()
    with torch.no_grad():
        assert torch.allclose(layer(x), plain, rtol=1e-4, atol=1e-5)
        assert torch.allclose(layer(channels_last(x)), plain, rtol=1e-4, atol=1e-5)
        assert torch.equal(wrapped(x), Wrap.apply(x))


@pytest.mark.parametrize("grid", [(4, 6, 8), (1, 2, 3)])
def test_convolving_what_was_enlarged_is_done_before_it_is(grid):
    layer, x = conv(3, 5), torch.randn(2, 3, *grid)
    with torch.no_grad():
        for _ in range(2):
            enlarged = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            assert torch.allclose(layer.doubled(x), layer(enlarged), rtol=1e-4, atol=1e-5)
            layer.weight += 1  # what is kept of the weights follows them


def test_without_gradients_the_code_and_the_field_are_the_same(autoencoder):
    state = torch.randn(2, 2, 8, 8, 12)
    code = autoencoder.encode(state)
    field = autoencoder.decode(code)
    with torch.no_grad():
        assert torch.allclose(autoencoder.encode(state), code, rtol=1e-4, atol=1e-5)
        assert torch.allclose(autoencoder.decode(code), field, rtol=1e-4, atol=1e-5)


def test_densities_decoded_in_bfloat16_stay_what_they_are():
    """Where that pays they move by less than a hundredth of their spread: a frame of 2 fs moves by 8."""
    emulator = Emulator.load(shipped()["paper"])
    truth = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
    latent = emulator.encode(emulator.initial_state(truth, 9))
    whole = emulator.normaliser.inverse(emulator.model.autoencoder.decode(latent)[:, 0].detach()).numpy()
    with torch.autocast("cpu", torch.bfloat16):  # also on a processor that does not gain by it
        short = emulator.decode(latent)
    assert 0 < (short - whole).std() < 0.01 * whole.std()
    assert short.mean() == pytest.approx(whole.mean(), rel=2e-4)


@pytest.mark.parametrize(
    ("block", "factor"), [(Residual(6), 1), (down(6, 4, 1), 1 / 2), (up(6, 4, 1), 2), (SubPixel(6, 2), 2)]
)
def test_blocks_move_with_what_they_see(field, block, factor):
    by = (2, 4, -2)
    after = [round(v * factor) for v in by]
    assert torch.allclose(block(shifted(field, *by)), shifted(block(field), *after), atol=1e-5)


def test_code_is_the_same_for_shifts_by_the_stride_and_not_for_others(autoencoder):
    state = torch.randn(1, 2, 8, 8, 12)
    code, stride = autoencoder.encode(state), autoencoder.stride
    assert torch.allclose(autoencoder.encode(shifted(state, stride, 0, -2 * stride)), code, atol=1e-5)
    assert (autoencoder.encode(shifted(state, 1, 0, 0)) - code).abs().max() > 1e-3


def test_feature_maps_before_pooling_move_by_one_for_each_stride(autoencoder):
    state = torch.randn(1, 2, 8, 8, 12)
    moved = autoencoder.trunk(shifted(state, autoencoder.stride, 0, 0))
    assert torch.allclose(moved, shifted(autoencoder.trunk(state), 1, 0, 0), atol=1e-5)


def test_decoder_returns_the_grid(autoencoder):
    assert autoencoder.decode(torch.zeros(3, CONFIG.latent)).shape == (3, 2, 8, 8, 12)


def test_a_grid_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        PooledAutoencoder(CONFIG, (8, 8, 10))


def test_standardise_is_exact_once_fixed():
    layer, z = Standardise(3), 5 + 2 * torch.randn(400, 3)
    for part in z.split(40):
        layer(part)
    layer.eval()
    layer.fix(layer(z))
    assert layer(z).mean(0) == pytest.approx(torch.zeros(3), abs=1e-5)
    assert layer(z).var(0, unbiased=False) == pytest.approx(torch.ones(3), rel=1e-4)
