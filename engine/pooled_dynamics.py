"""The paper's model: a pooled latent and 1,000 denoising steps, with its objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine import samplers
from engine.autoencoder import PooledAutoencoder
from engine.chain import Chain, chain
from engine.diffusion import Denoiser, Schedule, denoising_loss
from engine.dynamics import Draws, Dynamics, Losses, Stage, in_parts
from engine.layers import quick_bfloat16
from engine.losses import scaled_jsd
from engine.recipes import Recipe

if TYPE_CHECKING:
    from engine.dataset import Dataset


class PooledDynamics(Dynamics):
    """The paper's: a pooled latent (B, d), the joint objective (S15), 1,000 denoising steps."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.autoencoder = PooledAutoencoder(recipe.autoencoder, recipe.data.grid)
        self.denoiser = Denoiser(recipe.diffusion, recipe.autoencoder.latent)
        self.schedule = Schedule(recipe.diffusion)
        self.sampler = samplers.make(recipe.diffusion, self.schedule)
        self._chain: Chain | None = None

    def joint_losses(self, pairs: Tensor, draws: Draws) -> Losses:
        """L = L_AE + λ1 L_LDM + λ2 L_sJSD, states (2B, 2, Nx, Ny, Nz): B, then those Δτ later (S15)."""
        weights = self.recipe.loss
        latent = self.autoencoder.encode(pairs)
        jitter = draws.normal((2, len(latent) // 2, latent.shape[1]), 1).flatten(0, 1)
        jitter = self.recipe.training.latent_noise * jitter
        decoded = self.autoencoder.decode(latent + jitter.to(latent))
        terms = {"reconstruction": (decoded.float() - pairs).square().mean()}
        current, following = latent.float().chunk(2)
        terms |= self.latent_losses(current, following, draws)
        terms["loss"] = terms["reconstruction"] + weights.denoising * terms["denoising"]
        if weights.sjsd:
            terms["sjsd"] = scaled_jsd(decoded[:, 0], pairs[:, 0], weights)
            terms["loss"] = terms["loss"] + weights.sjsd * terms["sjsd"]
        return terms

    def latent_losses(self, current: Tensor, following: Tensor, draws: Draws) -> Losses:
        """L_LDM alone, on latents (B, d) of τ and τ + Δτ (S12)."""

        def normal() -> Tensor:
            return draws.normal(following.shape).to(following)

        t = draws.mine(torch.randint(self.schedule.steps, (draws.batch,), generator=draws.generator))
        spread = draws.mine(torch.rand((draws.batch, 1), generator=draws.generator)).to(current)
        condition = current + self.recipe.diffusion.condition_noise * spread * normal()
        loss = denoising_loss(self.denoiser, self.schedule, following, condition, t, normal())
        return {"loss": loss, "denoising": loss}

    def stages(self) -> tuple[Stage, ...]:
        """The joint objective (S15), then the denoiser alone on the finished encoder's latents (S12)."""
        settings = self.recipe.training

        def joint(model: PooledDynamics, data: Dataset, index: Tensor, draws: Draws) -> Losses:
            chains = data.chains(draws.mine(index))
            return model.joint_losses(chains.flatten(0, 1).to(model.device), draws)

        def latent(model: PooledDynamics, data: Dataset, index: Tensor, draws: Draws) -> Losses:
            index = draws.mine(index)
            return model.latent_losses(data.latents[index], data.latents[index + data.stride], draws)

        def fix_scale(model: PooledDynamics, data: Dataset) -> None:
            model.autoencoder.standardise.fix(model.encode_all(data))

        return (
            Stage(
                *("joint", settings.joint_steps, settings.pairs, settings.precision),
                *(self.parameters, joint, lambda model, data: None),
            ),
            Stage(
                *("latent", settings.latent_steps, settings.latent_pairs, "32-true"),
                *(self.denoiser.parameters, latent, fix_scale),
                cached=True,
            ),
        )

    def decode(self, latents: Tensor) -> Tensor:
        """Newest states (B, 2, Nx, Ny, Nz) of latents, in bf16 where that pays.

        The decoder was trained in it: densities move by 0.3 % of their spread, where a frame moves by 8 %.
        """
        device = latents.device
        with torch.autocast(device.type, torch.bfloat16, enabled=quick_bfloat16(device)):
            if len(latents) == 1:
                return self.autoencoder.decode(latents).float()
            return in_parts(lambda part: self.autoencoder.decode(part).float(), latents)

    def noise_shape(self, latent_shape: torch.Size) -> tuple[int, ...]:
        """(1, d), the start, or (N + 1, d) where the sampler's steps draw as well (S10)."""
        return (self.sampler.draws, *latent_shape)

    def advance(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Reverse diffusion z_T → z_0 (S10), latents (K, d), noise (K, *noise_shape)."""
        if self._chain is None:
            self._chain = chain(self.denoiser, self.sampler)
        return self._chain(latents, noise.transpose(0, 1))
