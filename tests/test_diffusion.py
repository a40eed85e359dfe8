"""Diffusion is Ho et al.'s, with the steps of diffusers for every solver, and exact on a Gaussian."""

import sys
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from engine.chain import FEW, ReverseChain, chain, looped, scripted
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


def in_loop(module):
    one = looped(module)
    return lambda c, noise: torch.cat(
        [one(a, b) for a, b in zip(c.split(1), noise.split(1, dim=1), strict=True)]
    )


@pytest.mark.parametrize("how", [lambda module: module, scripted, in_loop], ids=["plain", "scripted", "loop"])
@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpm"])
def test_every_way_through_the_chain_is_sampling_step_by_step(how, sampler):
    torch.manual_seed(0)
    config = DiffusionConfig(steps=100, width=50, sampler=sampler)  # no multiple of four
    denoiser, schedule = Denoiser(config, 30).eval(), Schedule(config)
    for parameter in denoiser.parameters():  # zero-initialised layers would hide what they break
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    way = make(config, schedule)
    c, noise = draws(5, 30), draws(way.draws, 5, 30, seed=1)
    with torch.no_grad():
        stream = iter(noise)
        slow = sample(lambda z, t: denoiser(z, torch.full((5,), t), c), way, lambda: next(stream))
        fast = how(ReverseChain(denoiser, way))(c, noise)
        assert (fast - slow).abs().max() < 1e-4 * slow.abs().max()
        few = chain(denoiser, way)(c[:FEW], noise[:, :FEW])
        assert (few - slow[:FEW]).abs().max() < 1e-4 * slow.abs().max()


def test_without_numba_a_chain_runs_all_the_same(schedule, monkeypatch):
    denoiser = Denoiser(CONFIG, 8).eval()
    sampler, c = dpm_solver(schedule, 3), draws(1, 8)
    compiled = chain(denoiser, sampler)(c, draws(1, 1, 8))
    monkeypatch.setitem(sys.modules, "engine.kernels", None)
    assert looped(ReverseChain(denoiser, sampler)) is None
    assert torch.allclose(chain(denoiser, sampler)(c, draws(1, 1, 8)), compiled, rtol=1e-4)


def test_loss_is_zero_for_the_true_noise_and_one_for_silence(schedule):
    z, c, noise, t = draws(4000, 8), draws(4000, 8), draws(4000, 8, seed=2), torch.randint(1000, (4000,))
    assert denoising_loss(lambda *_: noise, schedule, z, c, t, noise) == 0
    assert denoising_loss(lambda x, *_: 0 * x, schedule, z, c, t, noise) == pytest.approx(1, abs=0.05)


def test_time_embedding_tells_all_steps_apart():
    embedding = time_embedding(torch.arange(1000), 128)
    assert embedding.shape == (1000, 128)
    distance = torch.cdist(embedding, embedding) + 10 * torch.eye(1000)
    assert distance.min() > 0.1
