"""Diffusion is Ho et al.'s, with the steps of diffusers for every solver, and exact on a Gaussian."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from engine.chain import ReverseChain, blocked, chain, looped, scripted
from engine.diffusion import Denoiser, DiffusionConfig, Schedule, denoising_loss, time_embedding
from engine.samplers import ancestral, ddim, dpm_solver, make, sample

CONFIG = DiffusionConfig()


@pytest.fixture(scope="module")
def schedule():
    return Schedule(CONFIG)


def in_float64(kind, **settings):
    """A scheduler of diffusers with its tables in float64.

    In float32, as it makes them, 1 − ᾱ loses four digits at small t: its own step is then off by up to 2e-4.
    """
    scheduler = kind(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", **settings)
    scheduler.betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    return scheduler


@pytest.fixture(scope="module")
def reference():
    return in_float64(DDPMScheduler, clip_sample=False)


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_noising_is_that_of_diffusers(schedule, reference):
    z, noise, t = draws(64, 32), draws(64, 32, seed=1), torch.linspace(0, 999, 64).long()
    assert torch.allclose(schedule.add_noise(z, noise, t), reference.add_noise(z, noise, t), atol=1e-6)


def wavy(z, t):
    """A denoiser whose answer is no line in z, so that a solver's order shows."""
    return torch.sin(2 * z + t / 300)


def follow(scheduler, z, steps, generator=None):
    """What a scheduler of diffusers makes of z in its first steps."""
    extra = {"generator": generator} if generator else {}
    for t in scheduler.timesteps[:steps]:
        z = scheduler.step(wavy(z, int(t)), t, z, **extra).prev_sample
    return z


def begin(sampler, steps):
    """The first steps of a sampler."""
    return replace(sampler, **{name: x[:steps] for name, x in vars(sampler).items()})


@pytest.mark.parametrize("steps", [1, 2, 500, 1000])
def test_ancestral_steps_are_those_of_diffusers(schedule, reference, steps):
    reference.set_timesteps(1000)
    z, noise = draws(16, 32).double(), torch.Generator().manual_seed(7)
    theirs = follow(reference, z, steps, noise)
    stream = torch.Generator().manual_seed(7)
    rest = (torch.randn(16, 32, generator=stream, dtype=torch.float64) for _ in range(steps))
    ours = sample(
        wavy, begin(ancestral(schedule), steps), lambda start=[z]: start.pop() if start else next(rest)
    )
    assert (ours - theirs).abs().max() < 1e-6 * theirs.abs().max()


@pytest.mark.parametrize("evaluations", [1, 2, 20, 50])
@pytest.mark.parametrize("ours", [ddim, dpm_solver])
def test_every_step_of_a_solver_is_that_of_diffusers(schedule, ours, evaluations):
    if ours is ddim:
        theirs = in_float64(DDIMScheduler, clip_sample=False, timestep_spacing="trailing")
    else:
        theirs = in_float64(DPMSolverMultistepScheduler, timestep_spacing="trailing")
    sampler, z = ours(schedule, evaluations), draws(16, 32).double()
    for steps in {1, 2, evaluations // 2, evaluations} - {0}:
        theirs.set_timesteps(evaluations)
        if ours is dpm_solver:  # which it rounds to float32
            alpha = theirs.alphas_cumprod[theirs.timesteps].sqrt()
            theirs.sigmas = torch.cat([(1 - alpha**2).sqrt() / alpha, alpha.new_zeros(1)])
        assert sampler.times.tolist() == theirs.timesteps.tolist()
        expected = follow(theirs, z, steps)
        got = sample(wavy, begin(sampler, steps), lambda: z)
        assert (got - expected).abs().max() < 1e-6 * expected.abs().max(), steps


@pytest.mark.parametrize(
    "how",
    [DiffusionConfig(sampler=name, evaluations=100) for name in ("ancestral", "ddim", "dpm")],
    ids=lambda how: how.sampler,
)
def test_a_gaussian_is_recovered_from_its_exact_denoiser(schedule, how):
    """For z_0 ~ N(m, s²), ε* = √(1 − ᾱ)(z_t − √ᾱ m)/(ᾱ s² + 1 − ᾱ); sampling with it returns N(m, s²)."""
    mean, std = torch.tensor([1.5, -0.7]), torch.tensor([0.5, 1.2])

    def exact(z, t):
        signal, noise = float(schedule.signal[t]), float(schedule.noise[t])
        return noise * (z - signal * mean) / (signal**2 * std**2 + noise**2)

    generator, n = torch.Generator().manual_seed(0), 20000
    z = sample(exact, make(how, schedule), lambda: torch.randn(n, 2, generator=generator))
    assert z.mean(0) == pytest.approx(mean, abs=0.04)  # 5 standard errors are 0.042 at most
    assert z.std(0) == pytest.approx(std, rel=0.03)


def test_the_second_order_errs_less(schedule):
    """Few evaluations of DPM-Solver++ come nearer to many than as many of DDIM."""
    z = draws(500, 4).double()
    fine = sample(wavy, ddim(schedule, 1000), lambda: z)
    first, second = (
        (sample(wavy, solver(schedule, 50), lambda: z) - fine).square().mean()
        for solver in (ddim, dpm_solver)
    )
    assert second < 0.5 * first


@pytest.mark.parametrize("evaluations", [0, 1001])
def test_impossible_numbers_of_evaluations_are_refused(schedule, evaluations):
    with pytest.raises(ValueError, match="not between 1 and the 1000"):
        dpm_solver(schedule, evaluations)


def in_arrays(way):
    """A way through the chain for arrays, as one for tensors."""

    def make(module):
        def sample(c, noise):
            return torch.from_numpy(
                way(module)((c @ module.for_c).numpy(), noise.movedim(1, 0).contiguous().numpy())
            )

        return sample

    return make


def one_by_one(*_):
    raise AssertionError("this is not how a block goes")


def shaken(config, latent):
    """A denoiser without the zeros that its layers start from, which would hide what they break."""
    torch.manual_seed(0)
    denoiser = Denoiser(config, latent).eval()
    for parameter in denoiser.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return denoiser


MEMBERS = 63
"""No multiple of a block, with a rest that is no few."""
WAYS = {
    "plain": lambda module: module,
    "scripted": scripted,
    "loop": in_arrays(looped),
    "blocks": in_arrays(lambda module: blocked(module, one_by_one)),
}


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpm"])
@torch.no_grad()
def test_every_way_through_the_chain_is_sampling_step_by_step(how, sampler):
    config = DiffusionConfig(steps=100, width=50, sampler=sampler)  # no multiple of four
    denoiser, schedule = shaken(config, 30), Schedule(config)
    way, n = make(config, schedule), MEMBERS
    c, noise = draws(n, 30), draws(way.draws, n, 30, seed=1)
    stream = iter(noise)
    slow = sample(lambda z, t: denoiser(z, torch.full((n,), t), c), way, lambda: next(stream))
    fast = how(ReverseChain(denoiser, way))(c, noise)
    assert (fast - slow).abs().max() < 1e-4 * slow.abs().max()
    for few in (1, 2, 5):
        some = chain(denoiser, way)(c[:few], noise[:, :few])
        assert (some - slow[:few]).abs().max() < 1e-4 * slow[:few].abs().max()


@torch.no_grad()
def test_a_member_is_the_same_in_any_company_and_on_any_number_of_threads():
    config = DiffusionConfig(steps=50, width=64)
    denoiser = shaken(config, 32)
    ways = chain(denoiser, ancestral(Schedule(config)))
    c, noise = draws(100, 32), draws(51, 100, 32, seed=1)
    threads, whole = torch.get_num_threads(), ways(c, noise)
    try:
        torch.set_num_threads(3)
        assert torch.equal(ways(c, noise), whole)
    finally:
        torch.set_num_threads(threads)
    back = torch.arange(99, -1, -1)
    assert (ways(c[back], noise[:, back]) - whole[back]).abs().max() < 1e-5 * whole.abs().max()
    assert (ways(c[7:8], noise[:, 7:8]) - whole[7:8]).abs().max() < 1e-4 * whole.abs().max()


@torch.no_grad()
def test_what_is_no_number_stays_so_and_with_its_member():
    config = DiffusionConfig(steps=20, width=64)
    sampler = ancestral(Schedule(config))
    denoiser, n = shaken(config, 32), 40
    c, noise = draws(n, 32), draws(21, n, 32, seed=1)
    c[3, 0], noise[5, 33, 2], noise[0, 34, 1] = float("nan"), float("nan"), float("inf")
    for way in (chain(denoiser, sampler), in_arrays(looped)(ReverseChain(denoiser, sampler))):
        bad = ~way(c, noise).isfinite().all(1)
        assert bad.nonzero().flatten().tolist() == [3, 33, 34]


def test_the_exponential_is_that_of_the_library():
    kernels = pytest.importorskip("engine.kernels")
    x = np.linspace(-86, 86, 2001, dtype=np.float32)
    ours = np.array([kernels.exponential(value) for value in x])
    assert np.abs(ours / np.exp(x.astype(np.float64)) - 1).max() < 2e-7


@pytest.mark.slow
@pytest.mark.parametrize(
    "features", ["", "+avx2,+fma,+avx", "+avx512f,+avx512dq,+avx512bw,+avx512vl,+avx2,+fma,+avx"]
)
def test_blocks_of_other_processors(features, tmp_path):
    """The same with what older processors have, as far as this one has it too."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if any(feature[1:] not in flags for feature in features.split(",")):
        pytest.skip("this processor lacks them")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        __file__,
        "-k",
        "blocks and step_by_step or company or number",
    ]
    settings = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_without_numba_a_chain_runs_all_the_same(schedule, monkeypatch):
    denoiser = Denoiser(CONFIG, 8).eval()
    sampler, c = dpm_solver(schedule, 3), draws(1, 8)
    compiled = chain(denoiser, sampler)(c, draws(1, 1, 8))
    monkeypatch.setitem(sys.modules, "engine.kernels", None)
    assert looped(ReverseChain(denoiser, sampler)) is None
    assert torch.allclose(chain(denoiser, sampler)(c, draws(1, 1, 8)), compiled, rtol=1e-4)


def test_without_blocks_members_go_one_by_one(schedule, monkeypatch):
    denoiser = shaken(CONFIG, 8)
    sampler, c, noise = dpm_solver(schedule, 3), draws(40, 8), draws(1, 40, 8, seed=1)
    compiled = chain(denoiser, sampler)(c, noise)
    monkeypatch.setitem(sys.modules, "engine.blocks", None)
    assert (chain(denoiser, sampler)(c, noise) - compiled).abs().max() < 1e-4 * compiled.abs().max()


def test_loss_is_zero_for_the_true_noise_and_one_for_silence(schedule):
    z, c, noise, t = draws(4000, 8), draws(4000, 8), draws(4000, 8, seed=2), torch.randint(1000, (4000,))
    assert denoising_loss(lambda *_: noise, schedule, z, c, t, noise) == 0
    assert denoising_loss(lambda x, *_: 0 * x, schedule, z, c, t, noise) == pytest.approx(1, abs=0.05)


def test_time_embedding_tells_all_steps_apart():
    embedding = time_embedding(torch.arange(1000), 128)
    assert embedding.shape == (1000, 128)
    distance = torch.cdist(embedding, embedding) + 10 * torch.eye(1000)
    assert distance.min() > 0.1
