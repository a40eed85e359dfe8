"""Linear rivals: least squares finds the process that made the data, modes are the best there are."""

import numpy as np
import pytest
import torch

from training.rivals.fourier import FourierVar, autoregressions, shells_of
from training.rivals.pod import LARGEST_RADIUS, PodVar, autoregression, modes_of, stable

CUBE = 4.0 * np.eye(3)


def rotation(angle: float, radius: float) -> torch.Tensor:
    c, s = np.cos(angle), np.sin(angle)
    return radius * torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def test_autoregression_finds_a_known_process():
    generator = torch.Generator().manual_seed(0)
    transition, noise = rotation(0.3, 0.95), torch.tensor([[0.5, 0.0], [0.2, 0.1]], dtype=torch.float64)
    draws = torch.randn(40_000, 2, generator=generator, dtype=torch.float64) @ noise.T
    x = [torch.zeros(2, dtype=torch.float64)]
    for draw in draws:
        x.append(transition @ x[-1] + draw)
    x = torch.stack(x)
    found, root, radius = autoregression(x[:-1], x[1:])
    torch.testing.assert_close(found, transition, atol=0.01, rtol=0)
    torch.testing.assert_close(root @ root.T, noise @ noise.T, atol=0.005, rtol=0)
    assert radius == pytest.approx(0.95, abs=0.01)


def test_noise_covariance_is_corrected_for_the_fitted_coefficients():
    generator = torch.Generator().manual_seed(1)
    traces = []
    for _ in range(50):  # pure noise of unit variance, 20 coefficients from 40 pairs
        x, following = torch.randn(2, 40, 20, generator=generator, dtype=torch.float64)
        root = autoregression(x, following)[1]
        traces.append(float((root @ root.T).trace()) / 20)
    assert np.mean(traces) == pytest.approx(1, abs=0.05)


def test_growing_directions_are_drawn_back_and_the_others_left_alone():
    growing = torch.block_diag(rotation(0.4, 1.05), rotation(1.0, 0.7))
    held, radius = stable(growing)
    assert radius == pytest.approx(1.05)
    torch.testing.assert_close(held[:2, :2], rotation(0.4, LARGEST_RADIUS))
    torch.testing.assert_close(held[2:, 2:], growing[2:, 2:])


def test_modes_leave_exactly_the_small_singular_values():
    fields = torch.randn(12, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    mean, modes = modes_of(fields, rank=5)
    model = PodVar(mean, modes, torch.eye(10), torch.zeros(10, 10))
    states = torch.stack([fields, fields - mean], dim=1)
    once = model.decode(model.encode(states))
    torch.testing.assert_close(model.decode(model.encode(once)), once, atol=1e-5, rtol=0)
    left = torch.linalg.svdvals((fields - mean).flatten(1))[5:].square().sum()
    assert float((once - states)[:, 0].square().sum()) == pytest.approx(float(left), rel=1e-4)


def test_shells_hold_wave_vectors_of_equal_length():
    shell = shells_of((4, 4, 4), CUBE)
    assert shell[0, 0, 0] == 0
    assert shell[1, 0, 0] == shell[0, 3, 0] == shell[0, 0, 1] == 1
    assert shell[1, 1, 0] == shell[0, 3, 1] == 2
    assert shell.max() == 9  # 0, 1, 2, 3, 4, 5, 6, 8, 9, 12


@pytest.fixture(scope="module")
def damped_waves() -> FourierVar:
    """Every shell a damped rotation of its own, with noise of its own size."""
    shell = shells_of((4, 4, 4), CUBE)
    shells = range(int(shell.max()) + 1)
    transition = torch.stack([rotation(0.2 + 0.1 * s, 0.8) for s in shells]).float()
    noise = torch.stack([torch.tensor([[0.3, 0.0], [0.1, 0.2]]) / (1 + s) for s in shells])
    return FourierVar(shell, transition, noise)


def test_waves_are_fitted_shell_by_shell(damped_waves):
    stream, states = torch.Generator().manual_seed(3), [torch.zeros(1, 2, 4, 4, 4)]
    for _ in range(6000):
        states.append(damped_waves.advance(states[-1], [stream]))
    states = torch.cat(states[50:])
    transition, root, radius = autoregressions(states, 1, damped_waves.shell, (4, 4, 4))
    torch.testing.assert_close(transition.float(), damped_waves.transition, atol=0.06, rtol=0)
    made = damped_waves.noise @ damped_waves.noise.mT
    torch.testing.assert_close((root @ root.mT).float(), made, atol=0.005, rtol=0.1)
    assert radius == pytest.approx(0.8, abs=0.05)


def test_wave_forecast_moves_with_the_lattice(damped_waves):
    states = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(4))
    rolled = damped_waves.mean_step(states.roll((1, 2, 3), (2, 3, 4)))
    torch.testing.assert_close(rolled, damped_waves.mean_step(states).roll((1, 2, 3), (2, 3, 4)))
