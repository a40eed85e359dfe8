"""A rollout is a Markov chain in the latent, repeatable by seed and member, and written with flat memory."""

import itertools

import numpy as np
import pytest
import torch

from engine.diffusion import DiffusionConfig, Schedule
from engine.dynamics import TOGETHER, in_parts
from engine.emulator import Emulator
from engine.rollout import member_stream, rollout
from engine.samplers import ancestral, sample
from engine.trajectory import Trajectory
from training.rollout import write_rollout


@pytest.fixture
def emulator(tiny_emulator_folder):
    return Emulator.load(tiny_emulator_folder)


@pytest.fixture
def state(emulator, wave_file):
    return emulator.initial_state(emulator.adapt(Trajectory(wave_file)), 1)


def densities(*args, **kwargs):
    return np.stack([frame.density for frame in rollout(*args, **kwargs)])


def test_frames_count_time_from_the_start(emulator, state):
    frames = list(rollout(emulator, state, 3))
    assert [(f.index, f.time_fs) for f in frames] == [(0, 2.0), (1, 4.0), (2, 6.0)]


def test_same_seed_same_forecast_other_seed_another(emulator, state):
    assert np.array_equal(densities(emulator, state, 4, seed=3), densities(emulator, state, 4, seed=3))
    assert not np.allclose(densities(emulator, state, 4, seed=3), densities(emulator, state, 4, seed=4))


def test_a_member_meets_the_same_noise_alone_and_in_a_batch(emulator, state):
    batch = densities(emulator, state, 5, members=4, seed=1)
    alone = densities(emulator, state, 5, members=1, first_member=2, seed=1)
    assert alone[:, 0] == pytest.approx(batch[:, 2], rel=1e-4)
    assert not np.allclose(batch[:, 0], batch[:, 1])


def test_pausing_changes_nothing(emulator, state):
    steps = rollout(emulator, state, 6)
    before = [frame.density for frame in itertools.islice(steps, 3)]
    torch.randn(100)  # whatever else happens meanwhile
    after = [frame.density for frame in steps]
    assert np.array_equal(np.stack(before + after), densities(emulator, state, 6))


def test_decoding_less_leaves_the_latents_alone(emulator, state):
    all_frames, some = list(rollout(emulator, state, 6)), list(rollout(emulator, state, 6, decode_every=3))
    assert [f.density is not None for f in some] == [False, False, True, False, False, True]
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(all_frames, some, strict=True))


def test_an_endless_rollout_runs_until_it_is_closed(emulator, state):
    steps = rollout(emulator, state, None)
    assert [next(steps).index for _ in range(30)] == list(range(30))
    steps.close()


def test_member_streams_are_independent():
    draws = torch.stack(
        [torch.randn(4000, generator=member_stream(s, m)) for s, m in [(0, 0), (0, 1), (1, 0)]]
    )
    correlation = torch.corrcoef(draws) - torch.eye(3)
    assert correlation.abs().max() < 5 / 4000**0.5


def test_a_linear_gaussian_chain_keeps_its_stationary_law():
    """z' = a z + √(1 − a²) ξ, sampled through its exact denoiser, stays N(0, 1) with lag-one a."""
    schedule, a = Schedule(DiffusionConfig(steps=200, beta_end=0.1)), 0.8
    spread = 1 - a**2
    z, generator, previous = (
        torch.randn(4000, 1, generator=torch.Generator().manual_seed(5)),
        torch.Generator().manual_seed(1),
        None,
    )
    for _ in range(6):

        def exact(x, t, mean=a * z):
            signal, noise = float(schedule.signal[t]), float(schedule.noise[t])
            return noise * (x - signal * mean) / (signal**2 * spread + noise**2)

        previous, z = z, sample(exact, ancestral(schedule), lambda: torch.randn(4000, 1, generator=generator))
    assert z.std().item() == pytest.approx(1, abs=0.06)
    assert torch.corrcoef(torch.cat([previous, z], 1).T)[0, 1].item() == pytest.approx(a, abs=0.03)


def test_a_forecast_is_written_as_a_trajectory(emulator, wave_file, tmp_path):
    out, data = tmp_path / "forecast.h5", Trajectory(wave_file)
    steps = list(write_rollout(emulator, data, out, start=4, frames=5, members=3, seed=2))
    forecast = Trajectory(out)
    assert steps == [1, 2, 3, 4, 5]
    assert (len(forecast), forecast.members, forecast.grid, forecast.formula) == (
        5,
        3,
        (8, 8, 8),
        data.formula,
    )
    assert forecast.times_fs == pytest.approx([10, 12, 14, 16, 18])
    state = emulator.initial_state(emulator.adapt(data), 4)
    expected = densities(emulator, state, 5, members=3, seed=2)
    assert forecast.density() == pytest.approx(expected, rel=1e-3)  # stored in half precision
    assert forecast.parameters["seed"] == 2


def test_an_interrupted_forecast_keeps_its_frames_and_leaves_no_half_file(emulator, wave_file, tmp_path):
    steps = write_rollout(
        emulator, Trajectory(wave_file), tmp_path / "f.h5", start=1, frames=50, members=1, seed=0
    )
    for done in steps:
        if done == 7:
            steps.close()
    assert len(Trajectory(tmp_path / "f.h5")) == 7
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


@pytest.mark.parametrize("members", [2 * TOGETHER + 1, 1])
def test_members_done_a_few_at_a_time_are_those_done_at_once(members):
    x = torch.randn(members, 3)
    assert torch.equal(in_parts(lambda a, b: a.cumsum(1) * b, x, -x), x.cumsum(1) * -x)
    seen = []
    in_parts(lambda a: seen.append(len(a)) or a, x)
    assert max(seen) <= TOGETHER and sum(seen) == members
