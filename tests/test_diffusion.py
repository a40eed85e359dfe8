"""The diffusion process is Ho et al.'s: step by step as in diffusers, and exact on a Gaussian."""

import pytest
import torch
from diffusers import DDPMScheduler

from engine.diffusion import (
    Denoiser,
    DiffusionConfig,
    ReverseChain,
    Schedule,
    denoising_loss,
    sample,
    scripted,
    time_embedding,
)

CONFIG = DiffusionConfig()


@pytest.fixture(scope="module")
def schedule():
    return Schedule(CONFIG)


@pytest.fixture(scope="module")
def reference():
    """diffusers' scheduler with its tables in float64.

    In float32, as it makes them, 1 − ᾱ loses four digits at small t: its own step is then off by up to 2e-4.
    """
    scheduler = DDPMScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False)
    scheduler.betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    return scheduler


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_noising_is_that_of_diffusers(schedule, reference):
    z, noise, t = draws(64, 32), draws(64, 32, seed=1), torch.linspace(0, 999, 64).long()
    assert torch.allclose(schedule.add_noise(z, noise, t), reference.add_noise(z, noise, t), atol=1e-6)


@pytest.mark.parametrize("t", [999, 500, 100, 50, 10, 5, 1, 0])
def test_a_reverse_step_is_that_of_diffusers(schedule, reference, t):
    z, epsilon = draws(16, 32), draws(16, 32, seed=1)
    theirs = reference.step(epsilon, t, z, generator=torch.Generator().manual_seed(7)).prev_sample
    noise = draws(16, 32, seed=7)
    assert (schedule.step(z, epsilon, t, noise) - theirs).abs().max() < 1e-6 * theirs.abs().max()


def test_a_gaussian_is_recovered_from_its_exact_denoiser(schedule):
    """For z_0 ~ N(m, s²), ε* = √(1 − ᾱ)(z_t − √ᾱ m)/(ᾱ s² + 1 − ᾱ); sampling with it returns N(m, s²)."""
    mean, std = torch.tensor([1.5, -0.7]), torch.tensor([0.5, 1.2])

    def exact(z, t):
        signal, noise = float(schedule.signal[t]), float(schedule.noise[t])
        return noise * (z - signal * mean) / (signal**2 * std**2 + noise**2)

    generator, n = torch.Generator().manual_seed(0), 20000
    z = sample(exact, schedule, lambda: torch.randn(n, 2, generator=generator))
    assert z.mean(0) == pytest.approx(mean, abs=0.04)  # 5 standard errors are 0.042 at most
    assert z.std(0) == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize("how", [lambda chain: chain, scripted], ids=["plain", "scripted"])
def test_the_whole_chain_is_sampling_step_by_step(how):
    torch.manual_seed(0)
    config = DiffusionConfig(steps=100)
    denoiser, schedule = Denoiser(config, 32).eval(), Schedule(config)
    for parameter in denoiser.parameters():  # zero-initialised layers would hide what they break
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    c, noise = draws(5, 32), draws(101, 5, 32, seed=1)
    with torch.no_grad():
        stream = iter(noise)
        slow = sample(lambda z, t: denoiser(z, torch.full((5,), t), c), schedule, lambda: next(stream))
        fast = how(ReverseChain(denoiser, schedule))(c, noise)
    assert (fast - slow).abs().max() < 1e-4 * slow.abs().max()


def test_loss_is_zero_for_the_true_noise_and_one_for_silence(schedule):
    z, c, noise, t = draws(4000, 8), draws(4000, 8), draws(4000, 8, seed=2), torch.randint(1000, (4000,))
    assert denoising_loss(lambda *_: noise, schedule, z, c, t, noise) == 0
    assert denoising_loss(lambda x, *_: 0 * x, schedule, z, c, t, noise) == pytest.approx(1, abs=0.05)


def test_time_embedding_tells_all_steps_apart():
    embedding = time_embedding(torch.arange(1000), 128)
    assert embedding.shape == (1000, 128)
    distance = torch.cdist(embedding, embedding) + 10 * torch.eye(1000)
    assert distance.min() > 0.1
