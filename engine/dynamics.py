"""The whole model, autoencoder and latent diffusion, and its objective (S15)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.autoencoder import PooledAutoencoder
from engine.diffusion import Denoiser, Schedule, denoising_loss
from engine.losses import scaled_jsd
from engine.recipes import Recipe

Losses = dict[str, Tensor]


class LatentDynamics(nn.Module):
    """E, D and ε_θ of one recipe; random draws come from the caller's generator, so that a step repeats."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.autoencoder = PooledAutoencoder(recipe.autoencoder, recipe.data.grid)
        self.denoiser = Denoiser(recipe.diffusion, recipe.autoencoder.latent)
        self.schedule = Schedule(recipe.diffusion)

    def joint_losses(self, pairs: Tensor, generator: torch.Generator) -> Losses:
        """L = L_AE + λ1 L_LDM + λ2 L_sJSD, states (2B, 2, Nx, Ny, Nz): B, then those Δτ later (S15)."""
        weights = self.recipe.loss
        latent = self.autoencoder.encode(pairs)
        jitter = self.recipe.training.latent_noise * torch.randn(latent.shape, generator=generator)
        decoded = self.autoencoder.decode(latent + jitter.to(latent))
        terms = {"reconstruction": (decoded.float() - pairs).square().mean()}
        current, following = latent.float().chunk(2)
        terms |= self.latent_losses(current, following, generator)
        terms["loss"] = terms["reconstruction"] + weights.denoising * terms["denoising"]
        if weights.sjsd:
            terms["sjsd"] = scaled_jsd(decoded[:, 0], pairs[:, 0], weights)
            terms["loss"] = terms["loss"] + weights.sjsd * terms["sjsd"]
        return terms

    def latent_losses(self, current: Tensor, following: Tensor, generator: torch.Generator) -> Losses:
        """L_LDM alone, on latents (B, d) of τ and τ + Δτ (S12)."""

        def normal() -> Tensor:
            return torch.randn(following.shape, generator=generator).to(following)

        t = torch.randint(self.schedule.steps, (len(following),), generator=generator)
        spread = torch.rand((len(current), 1), generator=generator).to(current)
        condition = current + self.recipe.diffusion.condition_noise * spread * normal()
        loss = denoising_loss(self.denoiser, self.schedule, following, condition, t, normal())
        return {"loss": loss, "denoising": loss}
