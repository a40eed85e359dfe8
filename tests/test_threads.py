"""Calls at once return what they return alone, each on one thread, in the caller's gradient mode."""

import threading

import pytest
import torch

from engine import dynamics
from engine.dynamics import in_parts
from engine.emulator import Emulator
from engine.rollout import rollout
from engine.samples import emulator_folder, sample_path
from engine.threads import at_once
from engine.trajectory import Trajectory


@pytest.fixture
def three():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def seen(number):
    return number, torch.get_num_threads(), torch.is_grad_enabled(), threading.get_ident()


@pytest.mark.parametrize("gradients", [True, False])
def test_each_has_a_thread_and_pytorch_no_others(three, gradients):
    with torch.set_grad_enabled(gradients):
        found = at_once([lambda n=n: seen(n) for n in range(20)])
    assert [f[:3] for f in found] == [(n, 1, gradients) for n in range(20)]
    assert threading.get_ident() not in {f[3] for f in found}
    assert torch.get_num_threads() == 3  # the caller keeps its own


def test_they_know_of_short_numbers(three):
    with torch.autocast("cpu", torch.bfloat16):
        found = at_once([lambda: (torch.eye(2) @ torch.eye(2)).dtype] * 2)
    assert found == [torch.bfloat16] * 2
    assert at_once([lambda: (torch.eye(2) @ torch.eye(2)).dtype]) == [torch.float32]


@pytest.mark.parametrize("large", [False, True])
def test_one_large_cell_has_the_callers_threads_and_a_small_one_a_thread(three, large, monkeypatch):
    monkeypatch.setattr(dynamics, "LARGE", 9 if large else 10)
    found = []
    assert in_parts(lambda x: found.append(seen(0)) or 2 * x, torch.ones(1, 10)).sum() == 20
    ((_, threads, _, identity),) = found
    assert (threads, identity == threading.get_ident()) == ((3, True) if large else (1, False))


def test_a_forecast_is_the_same_with_threads_that_share_it(three, monkeypatch):
    emulator = Emulator.load(emulator_folder("spectral"))
    state = emulator.initial_state(emulator.adapt(Trajectory(sample_path("li32_test.h5"))), 1)
    made = []
    for large in (10**9, 0):
        monkeypatch.setattr(dynamics, "LARGE", large)
        (*_, last) = rollout(emulator, state, 3, seed=1)
        made.append(torch.from_numpy(last.density))
    assert torch.allclose(*made, rtol=1e-4)


def test_calls_within_calls_do_not_wait_for_each_other(three):
    assert at_once([lambda: at_once([lambda n=n: n for n in range(3)])] * 4) == [[0, 1, 2]] * 4


def test_an_error_is_raised(three):
    with pytest.raises(ZeroDivisionError):
        at_once([lambda: 1, lambda: 1 / 0])
