"""Rows: drawing the next latent of the shipped `paper`, one and many, beside plain ways to do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.emulator import Emulator
from engine.pooled_dynamics import PooledDynamics
from engine.rollout import member_stream
from engine.samples import shipped
from training.bench.timing import Row, Side, Skip

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
    z = torch.randn(condition.shape, generator=stream)
    for t in steps.timesteps:
        epsilon = model.denoiser(z, t.expand(len(z)), condition)
        z = steps.step(epsilon, t, z, generator=stream).prev_sample
    return z


def _one() -> tuple[Side, Side]:
    emulator, condition = _paper(), torch.zeros(1, 32)
    stream, steps = member_stream(0, 0), scheduler(emulator.model)
    return (
        Side(lambda: emulator.advance(condition, [stream])),
        Side(lambda: diffusers_loop(emulator.model, steps, condition, stream)),
    )


def _members(against_diffusers: bool) -> tuple[Side, Side]:
    work, rival = _one()
    emulator, condition = _paper(), torch.zeros(MEMBERS, 32)
    streams = [member_stream(0, k) for k in range(MEMBERS)]
    together = Side(lambda: emulator.advance(condition, streams), units=MEMBERS)
    return together, (rival if against_diffusers else work)


def _paper() -> Emulator:
    return Emulator.load(shipped()["paper"])


ROWS = (
    Row("denoising", "one latent step of `paper`, 1,000 evaluations", "diffusers' loop", 10, _one),
    Row(
        "members-diffusers",
        f"latent step of `paper`, per member of {MEMBERS}",
        "diffusers' loop, one member",
        10,
        lambda: _members(True),
    ),
    Row(
        "members-paper",
        f"latent step of `paper`, per member of {MEMBERS}",
        "our compiled loop, one member",
        10,
        lambda: _members(False),
    ),
)
