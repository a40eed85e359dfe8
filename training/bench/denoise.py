"""Rows: drawing the next latent of the shipped `paper`, one and many, beside plain ways to do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.emulator import Emulator
from engine.pooled_dynamics import PooledDynamics
from engine.rollout import member_stream
from engine.samples import shipped
from training.bench.timing import Row, Side, Skip, count_flops

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

MEMBERS = 64


def scheduler(model: PooledDynamics) -> DDPMScheduler:
    """The ancestral sampler of `diffusers`, set to the model's schedule."""
    try:
        from diffusers import DDPMScheduler
    except ImportError:
        raise Skip("diffusers is not installed") from None
    config = model.recipe.diffusion
    betas = {"beta_start": config.beta_start, "beta_end": config.beta_end, "beta_schedule": "linear"}
    made = DDPMScheduler(num_train_timesteps=config.steps, clip_sample=False, **betas)
    made.set_timesteps(config.steps)
    return made


@torch.no_grad()
def diffusers_loop(
    model: PooledDynamics, steps: DDPMScheduler, condition: Tensor, stream: torch.Generator
) -> Tensor:
    """z_0 (K, d) given c (K, d), as one writes it with `diffusers`."""
    z = torch.randn(condition.shape, generator=stream).to(condition)
    for t in steps.timesteps:
        epsilon = model.denoiser(z, t.expand(len(z)), condition)
        z = steps.step(epsilon, t, z, generator=stream).prev_sample
    return z


def _ours(device: str, members: int) -> Side:
    emulator, condition = _paper(device), torch.zeros(members, 32).to(device)
    streams = [member_stream(0, k) for k in range(members)]
    return Side(lambda: emulator.advance(condition, streams), members, flops=_flops(emulator.model))


def _flops(model: PooledDynamics) -> float:
    """Of one latent: the shares of t and c in the first layer are not computed again at every step."""
    first, latent = model.denoiser.first, model.recipe.autoencoder.latent
    return len(model.sampler) * (count_flops(model.denoiser.rest) + 2 * first.out_features * latent)


def _theirs(device: str) -> Side:
    model, condition, stream = _paper(device).model, torch.zeros(1, 32).to(device), member_stream(0, 0)
    steps = scheduler(model)
    return Side(lambda: diffusers_loop(model, steps, condition, stream))


def _paper(device: str = "cpu") -> Emulator:
    return Emulator.load(shipped()["paper"], device)


ROWS = (
    Row(
        "denoising",
        "latent step of `paper`, 1,000 evaluations",
        "diffusers' loop",
        10,
        lambda device: (_ours(device, 1), _theirs(device)),
        gpu_bar=20,
    ),
    Row(
        "members-diffusers",
        f"latent step of `paper`, per member of {MEMBERS}",
        "diffusers' loop, one member",
        10,
        lambda device: (_ours(device, MEMBERS), _theirs(device)),
    ),
    Row(
        "members-paper",
        f"latent step of `paper`, per member of {MEMBERS}",
        "the same code, one member",
        10,
        lambda device: (_ours(device, MEMBERS), _ours(device, 1)),
        gpu_bar=20,
    ),
)
