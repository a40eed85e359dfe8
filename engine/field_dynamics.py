"""Our models: latent fields that keep position, and the step from the last ones to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.corrections import Corrections
from engine.dynamics import Draws, Dynamics, Losses, Stage, in_parts
from engine.edm import SpatialDenoiser
from engine.elasticity import Elasticity
from engine.losses import scaled_jsd
from engine.propagator import Propagator
from engine.recipes import Recipe
from engine.spatial import SpatialAutoencoder
from engine.spectral import SpectralAutoencoder
from engine.symmetry import augment

if TYPE_CHECKING:
    from engine.dataset import Dataset

FITTED = 512
"""Chains that linear parts are fitted to: 1e5 patches for 1e4 numbers."""
SETTLED = 64
"""Chains that tell what forecasts leave."""


class FieldDynamics(Dynamics):
    """Latent fields of the last states, (B, window · C, nx, ny, nz), newest first; then their noise, if kept.

    Subclasses set `autoencoder` and `denoiser`.
    """

    local = True

    def stages(self) -> tuple[Stage, ...]:
        """The step, on the latents of an encoder that stands still."""
        settings = self.recipe.training

        def losses(model: FieldDynamics, data: Dataset, index: Tensor, draws: Draws) -> Losses:
            return model.forecast_losses(model.chains(data, index, draws.generator), draws)

        return (
            Stage(
                *("latent", settings.latent_steps, settings.latent_pairs, settings.precision),
                *(self.denoiser.parameters, losses, lambda model, data: model.fit(data)),
                settle=lambda model, data: model.settle(data),
            ),
        )

    def chains(self, data: Dataset, index: Tensor, draws: torch.Generator) -> Tensor:
        """States (steps + 1, B, 2, Nx, Ny, Nz) under random symmetries, half of them with time reversed."""
        back = torch.rand(len(index), generator=draws) < 0.5 if data.symmetries else None
        chains = data.chains(index, back).to(self.device)
        return augment(chains, data.symmetries, draws) if data.symmetries else chains

    def some_chains(self, data: Dataset, number: int) -> Iterator[Tensor]:
        """As many chains, evenly spread over the data, in parts of 64."""
        draws = torch.Generator().manual_seed(self.recipe.training.seed)
        for index in torch.linspace(0, data.chains_total - 1, number).long().split(64):
            yield self.chains(data, index, draws)

    @torch.no_grad()
    def fit(self, data: Dataset) -> None:
        """Set what is not learnt: here the linear forecast."""
        self.autoencoder.eval()
        needed = self.recipe.data.window + 1
        parts = [self.split(chains[:needed]) for chains in self.some_chains(data, FITTED)]
        past, following = (torch.cat(part) for part in zip(*parts, strict=True))
        self.denoiser.fit(past, following)

    def settle(self, data: Dataset) -> None:
        """Set what depends on the learnt weights."""

    def forecast_losses(self, chains: Tensor, draws: Draws) -> Losses:
        """Loss of the forecast of the next state, (window + 1 + unroll, B, 2, …), oldest first.

        In up to half of the batches the model itself goes 1 to `unroll` steps first, in the rest none.
        """
        config, window, generator = self.recipe.diffusion, self.recipe.data.window, draws.generator
        own = max(0, int(torch.randint(-config.unroll, config.unroll + 1, (), generator=generator)))
        chains = torch.cat([chains[:window], chains[window + own, None]])
        batch = torch.arange(draws.batch)
        mine, beside = draws.mine(batch), draws.mine(batch.roll(1))  # each is mixed with the one before it
        needed, where = torch.cat([mine, beside]).unique(return_inverse=True)
        with torch.no_grad():
            past, following = self.split(chains[:, needed])
            for _ in range(own):
                noise = torch.randn((draws.batch, *following.shape[1:]), generator=generator)
                past = self.advance(past, noise[needed].to(past))
        mine, beside = where.chunk(2)
        past, other, following = past[mine], past[beside], following[mine]
        shares = draws.mine(torch.rand((2, draws.batch, 1, 1, 1, 1), generator=generator), 1).to(past)
        mix = config.condition_mix * shares[1]
        past = (past + mix * other) / (1 + mix.square()).sqrt()
        past = past + config.condition_noise * shares[0] * draws.normal(past.shape).to(past)
        loss = self.denoiser.loss(past, following, draws)
        return {"loss": loss / (1 + own) ** 2}  # what its own steps have lost cannot be won back

    def latents(self, chains: Tensor) -> Tensor:
        """Latents (n, B, C, …) of states (n, B, 2, Nx, Ny, Nz), in float32."""
        return self.autoencoder.encode(chains.flatten(0, 1)).float().unflatten(0, chains.shape[:2])

    def split(self, chains: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, window · C, …) of all states but the last, newest first, and (B, C, …) of the last."""
        latents = self.latents(chains)
        return torch.cat(tuple(latents[:-1].flip(0)), dim=1), latents[-1]

    def encode(self, states: Tensor) -> Tensor:
        """Latents (B, (window + memory) · C, …) of states (B, 2·window, Nx, Ny, Nz), the newest first.

        Behind those of the states stands the noise of the steps before, zero where there was none.
        """
        past = [self.autoencoder.encode(s) for s in states.split(2, dim=1)]
        return torch.cat(past + [torch.zeros_like(past[0])] * self.denoiser.memory_states, dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """Newest states (B, 2, Nx, Ny, Nz) of latents (B, window · C, …)."""
        return in_parts(self.autoencoder.decode, latents[:, : self.recipe.autoencoder.latent])

    def noise_shape(self, latent_shape: torch.Size) -> tuple[int, ...]:
        """One draw per number of the next latent, which is deterministic but for these."""
        return (self.recipe.autoencoder.latent, *latent_shape[1:])

    def advance(self, latents: Tensor, noise: Tensor) -> Tensor:
        """The next latent joins, the oldest leaves, and so with the noise: (K, …) → the same shape.

        Latents without a memory, (K, window · C, …), stay so: their noise is new at every step.
        """
        return in_parts(self._advance, latents, noise)

    def _advance(self, latents: Tensor, noise: Tensor) -> Tensor:
        width = self.recipe.data.window * self.recipe.autoencoder.latent
        past, before = latents[:, :width], latents[:, width:]
        if before.shape[1]:
            noise = self.denoiser.remember(noise, before)
        following = self.correct(self.denoiser.sample(past, noise))
        past = torch.cat([following, past], dim=1)[:, :width]
        return torch.cat([past, torch.cat([noise, before], dim=1)[:, : before.shape[1]]], dim=1)

    def correct(self, latent: Tensor) -> Tensor:
        """What physics says of a forecast (B, C, …) whatever the network thinks."""
        return latent


class PatchDynamics(FieldDynamics):
    """Patches of voxels and convolutions; the next latent is sampled in a few steps of diffusion."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.autoencoder = SpatialAutoencoder(recipe.autoencoder, recipe.data.grid)
        self.denoiser = SpatialDenoiser(recipe.diffusion, recipe.autoencoder.latent, recipe.data.window)

    def stages(self) -> tuple[Stage, ...]:
        """The autoencoder alone, then the step on its frozen latents."""
        settings = self.recipe.training

        def losses(model: PatchDynamics, data: Dataset, index: Tensor, draws: Draws) -> Losses:
            return model.reconstruction_losses(model.chains(data, index, draws.generator), draws)

        def fit_basis(model: PatchDynamics, data: Dataset) -> None:
            model.autoencoder.fit(torch.cat([chains[0] for chains in model.some_chains(data, FITTED)]))

        learn = Stage(
            *("autoencoder", settings.joint_steps, settings.pairs, settings.precision),
            *(self.autoencoder.parameters, losses, fit_basis),
        )
        return (learn, *super().stages())

    def reconstruction_losses(self, chains: Tensor, draws: Draws) -> Losses:
        """Of states (n, B, 2, Nx, Ny, Nz) decoded from latents with a little noise; L_sJSD if asked for."""
        chains = draws.mine(chains, 1)
        states = chains.flatten(0, 1)
        latent = self.autoencoder.encode(states)
        jitter = draws.normal((*chains.shape[:2], *latent.shape[1:]), 1).flatten(0, 1)
        jitter = self.recipe.training.latent_noise * jitter
        decoded = self.autoencoder.decode(latent + jitter.to(latent)).float()
        terms, weights = self.autoencoder.errors(decoded, states), self.recipe.loss
        if weights.sjsd:
            terms["sjsd"] = scaled_jsd(decoded[:, 0], states[:, 0], weights)
            terms["loss"] = terms["loss"] + weights.sjsd * terms["sjsd"]
        return terms


class WaveDynamics(FieldDynamics):
    """Plane waves and isotropic convolutions; the next latent is a regression and random forces."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.autoencoder = SpectralAutoencoder(recipe.autoencoder, recipe.data.grid)
        self.denoiser = Propagator(recipe.diffusion, recipe.autoencoder.latent, recipe.data.window)
        self.corrections = Corrections(recipe.corrections)
        self.elasticity = Elasticity(recipe.diffusion.knots)

    @torch.no_grad()
    def fit(self, data: Dataset) -> None:
        """Set units and closure of the autoencoder, the linear forecast, and what corrections hold it to."""
        states = torch.cat([chains[0] for chains in self.some_chains(data, FITTED)])
        cell = torch.tensor(data.cell)
        self.autoencoder.fit(states, data.normaliser, cell)
        self.denoiser.network.voxel.copy_(cell / torch.tensor(self.recipe.autoencoder.grid)[:, None])
        self.denoiser.forces.contrast.copy_(self.autoencoder.scale[0] / self.autoencoder.center)
        super().fit(data)
        self.elasticity.fit(self.autoencoder.scale, data.stride)
        self.corrections.fit(self.autoencoder.encode(states), data.normaliser.delta_fs * data.stride)

    @torch.no_grad()
    def settle(self, data: Dataset) -> None:
        """Set spectrum and memory of the noise."""
        needed = self.recipe.data.window + 3
        chains = [self.latents(chains[:needed]) for chains in self.some_chains(data, SETTLED)]
        self.denoiser.settle(torch.cat(chains, dim=1))

    def decode_field(self, latents: Tensor) -> Tensor:
        """The newest field ρ̃ alone, (B, Nx, Ny, Nz)."""
        return in_parts(self.autoencoder.decode_field, latents[:, : self.recipe.autoencoder.latent])

    def correct(self, latent: Tensor) -> Tensor:
        """Stiffness, charge, temperature, range: see `Elasticity` and `Corrections`."""
        if self.corrections.config.elastic:
            latent = self.elasticity(latent, self.denoiser.network.hats(tuple(latent.shape[2:])))
        return self.corrections(latent)
