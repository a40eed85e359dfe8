"""The block with a backward of its own is the block of plane waves, and its gradients are exact."""

import pytest
import torch
from test_spectral import TINY, lithium

from engine.gated import Gated
from engine.radial import hat_functions
from engine.spectral import SpectralNet
from engine.trainer import train
from engine.waves import Basis, real_waves, right_angled

BRICK = torch.diag(torch.tensor([0.5, 0.54, 0.6]))
GRID = (6, 5, 8)


def net(voxel=BRICK, width=6):
    torch.manual_seed(4)
    network = SpectralNet(2, 2, width, blocks=2, knots=5)
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    network.voxel.copy_(voxel)
    return network


def learning(network, x):
    """Output and gradients; with gradients the network takes the block of this file, where it may."""
    x = x.clone().requires_grad_()
    out = network(x)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out.detach(), [x.grad, *(weight.grad for weight in network.parameters())]


@pytest.mark.parametrize("points", [1, 2, 5, 8])
def test_real_waves_are_orthonormal(points):
    waves, numbers = real_waves(points)
    assert torch.allclose(waves @ waves.T, torch.eye(points).double(), atol=1e-12)
    assert sorted(numbers) == sorted(min(k, points - k) for k in range(points))


def test_waves_and_points_are_inverse():
    basis, field = Basis(hat_functions(GRID, BRICK, 5)), torch.randn(2 * 240, 3)
    assert torch.allclose(basis.to_points(basis.to_waves(field)), field, atol=1e-5)


@pytest.mark.parametrize("width", [6, 32])  # the latter in compiled loops
@pytest.mark.parametrize("threads", [1, 3])
def test_with_gradients_and_without_the_network_is_that_of_plane_waves(monkeypatch, width, threads):
    x, before = torch.randn(4, 2, *GRID), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out, gradients = learning(net(width=width), x)
        with torch.no_grad():
            alone = net(width=width)(x)
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr("engine.spectral.quick_basis", lambda *x: None)
    planes, expected = learning(net(width=width), x)
    for made in (out, alone):
        assert torch.allclose(made, planes, rtol=1e-4, atol=1e-5 if width == 6 else 1e-6 * planes.abs().max())
    for mine, theirs in zip(gradients, expected, strict=True):
        assert (mine - theirs).norm() < 1e-5 * theirs.norm()


@pytest.mark.parametrize("grid", [GRID, (4, 7, 2), (12, 16, 1)])
@pytest.mark.parametrize("channels", [16, 3])
def test_compiled_transforms_are_those_of_matrices_but_for_the_order_of_waves(grid, channels):
    quick_waves = pytest.importorskip("engine.quick_waves")
    hats = hat_functions(grid, BRICK, 5)
    plain, quick, field = (
        Basis(hats),
        quick_waves.QuickBasis(hats),
        torch.randn(2 * hats[0].numel(), channels),
    )
    with torch.no_grad():
        waves = quick.to_waves(field).view(2, -1, channels)
        assert torch.allclose(waves[:, quick.row].flatten(0, 1), plain.to_waves(field), atol=1e-5)
        assert waves[:, quick.empty].abs().sum() == 0
        assert torch.allclose(quick.to_points(waves.flatten(0, 1)), field, atol=1e-5)


def test_kept_kernels_follow_the_weights():
    network, x = net(), torch.randn(1, 2, *GRID)
    with torch.no_grad():
        before = network(x)
        for block in network.blocks:
            block.filter.weight *= 2
        kept = network(x)
    assert not torch.allclose(kept, before) and torch.allclose(kept, learning(network, x)[0], atol=1e-5)


def test_its_gradients_are_those_of_finite_differences():
    basis = Basis(hat_functions((3, 4, 2), BRICK, 3).double())
    shapes = ((48, 2), (24, 2, 2), (4, 4), (4,), (2, 2))
    inputs = [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *x: Gated.apply(basis, *x), inputs)


def test_slanted_cells_keep_to_plane_waves(monkeypatch):
    slanted = BRICK + torch.tensor([[0, 0, 0], [0.1, 0, 0], [0, 0, 0]])
    assert right_angled(BRICK) and not right_angled(slanted)
    monkeypatch.setattr("engine.spectral.Gated.apply", lambda *x: 1 / 0)
    learning(net(slanted), torch.randn(1, 2, *GRID))
    with pytest.raises(ZeroDivisionError):
        learning(net(), torch.randn(1, 2, *GRID))


def test_short_numbers_where_autocast_asks_for_them(monkeypatch):
    """bfloat16 has eight bits: outputs agree to a few thousandths, gradients to a few hundredths."""
    monkeypatch.setattr("engine.spectral.quick_bfloat16", lambda device: True)
    x = torch.randn(3, 2, *GRID, generator=torch.Generator().manual_seed(0))
    out, gradients = learning(net(), x)
    with torch.autocast("cpu", torch.bfloat16):
        short, shorter = learning(net(), x)
    assert 0 < (short - out).norm() < 0.005 * out.norm() and short.dtype == torch.float32
    for mine, theirs in zip(shorter, gradients, strict=True):
        assert (mine - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.slow
def test_a_training_has_the_losses_of_the_plain_network(tmp_path, monkeypatch):
    losses = []
    for name in ("fast", "plain"):
        if name == "plain":
            monkeypatch.setattr("engine.spectral.quick_basis", lambda *x: None)
        events = train(TINY, lithium(), tmp_path / name, device="cpu")
        losses.append([event.losses["loss"] for event in events if hasattr(event, "losses")])
    assert len(losses[0]) == 6 and losses[0] == pytest.approx(losses[1], rel=1e-4)
