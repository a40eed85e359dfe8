"""The whole models: autoencoder, latent diffusion, their objectives and the stages they are trained in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.autoencoder import PooledAutoencoder
from engine.corrections import Corrections
from engine.diffusion import Denoiser, ReverseChain, Schedule, denoising_loss, scripted
from engine.edm import SpatialDenoiser
from engine.losses import scaled_jsd
from engine.propagator import Propagator
from engine.recipes import Recipe
from engine.spatial import SpatialAutoencoder, SpatialConfig
from engine.spectral import SpectralAutoencoder, SpectralConfig
from engine.symmetry import augment

if TYPE_CHECKING:
    from engine.dataset import Dataset

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Stage:
    """A part of a training: which parameters move, on what loss of how many pairs.

    `losses(model, data, index, draws)` are those of the pairs at `index`; `prepare(model, training)` runs
    once before the first step, `settle` on the averaged weights whenever they are kept. A `cached` stage sees
    each state as the latent that `data.latents` holds.
    """

    name: str
    steps: int
    pairs: int
    precision: str
    parameters: Callable[[], Iterator[nn.Parameter]]
    losses: Callable[[Dynamics, Dataset, Tensor, torch.Generator], Losses]
    prepare: Callable[[Dynamics, Dataset], None]
    cached: bool = False
    settle: Callable[[Dynamics, Dataset], None] = lambda model, training: None


class Dynamics(nn.Module):
    """E, D and the conditional generator of the next latent, of one recipe.

    Random draws come from the caller's generator, so that a step repeats.
    """

    local = False
    """Whether other cells of the same spacing can be served."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def stages(self) -> tuple[Stage, ...]:
        """What a training does, in order."""
        raise NotImplementedError

    def noise_shape(self, latent_shape: torch.Size) -> tuple[int, ...]:
        """Shape of the standard normal numbers that one step of one member takes."""
        raise NotImplementedError

    def advance(self, latents: Tensor, noise: Tensor) -> Tensor:
        """One step Δτ: latents (K, …) and noise (K, *noise_shape) → latents (K, …)."""
        raise NotImplementedError

    def encode(self, states: Tensor) -> Tensor:
        """Latents (B, …) of states (B, 2·window, Nx, Ny, Nz), the newest first."""
        return self.autoencoder.encode(states)

    def decode(self, latents: Tensor) -> Tensor:
        """Newest states (B, 2, Nx, Ny, Nz) of latents."""
        return self.autoencoder.decode(latents)

    def encode_all(self, data: Dataset) -> Tensor:
        """Latents of all states of a data set, (states, …), in the order of time."""
        index = torch.arange(data.states_total)
        self.autoencoder.eval()
        with torch.no_grad():
            return torch.cat(
                [self.autoencoder.encode(data.states(part).to(self.device)) for part in index.split(64)]
            )


class LatentDynamics(Dynamics):
    """The paper's: a pooled latent (B, d), the joint objective (S15), 1,000 denoising steps."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.autoencoder = PooledAutoencoder(recipe.autoencoder, recipe.data.grid)
        self.denoiser = Denoiser(recipe.diffusion, recipe.autoencoder.latent)
        self.schedule = Schedule(recipe.diffusion)
        self._chain: Callable[[Tensor, Tensor], Tensor] | None = None

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

    def stages(self) -> tuple[Stage, ...]:
        """The joint objective (S15), then the denoiser alone on the finished encoder's latents (S12)."""
        settings = self.recipe.training

        def joint(model: LatentDynamics, data: Dataset, index: Tensor, draws: torch.Generator) -> Losses:
            return model.joint_losses(data.chains(index).flatten(0, 1).to(model.device), draws)

        def latent(model: LatentDynamics, data: Dataset, index: Tensor, draws: torch.Generator) -> Losses:
            return model.latent_losses(data.latents[index], data.latents[index + data.stride], draws)

        def fix_scale(model: LatentDynamics, data: Dataset) -> None:
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

    def noise_shape(self, latent_shape: torch.Size) -> tuple[int, ...]:
        """(T + 1, d): the start and one draw per denoising step (S10)."""
        return (self.schedule.steps + 1, *latent_shape)

    def advance(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Ancestral sampling z_T → z_0 (S10), latents (K, d), noise (K, T + 1, d)."""
        if self._chain is None:
            self._chain = scripted(ReverseChain(self.denoiser, self.schedule))
        return self._chain(latents, noise.transpose(0, 1).contiguous())


class SpatialDynamics(Dynamics):
    """Ours: latent fields of the last states, (B, window · C, nx, ny, nz), newest first.

    The next is their best linear forecast plus a remainder, sampled in a few steps.
    """

    local = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        waves = isinstance(recipe.autoencoder, SpectralConfig)
        encoder, step = (SpectralAutoencoder, Propagator) if waves else (SpatialAutoencoder, SpatialDenoiser)
        self.autoencoder = encoder(recipe.autoencoder, recipe.data.grid)
        self.denoiser = step(recipe.diffusion, recipe.autoencoder.latent, recipe.data.window)
        self.corrections = Corrections(recipe.corrections) if waves else nn.Identity()

    def stages(self) -> tuple[Stage, ...]:
        """The autoencoder alone, then the denoiser on the frozen encoder's latents."""
        settings = self.recipe.training

        def reconstruct(
            model: SpatialDynamics, data: Dataset, index: Tensor, draws: torch.Generator
        ) -> Losses:
            return model.reconstruction_losses(_chains(model, data, index, draws).flatten(0, 1), draws)

        def forecast(model: SpatialDynamics, data: Dataset, index: Tensor, draws: torch.Generator) -> Losses:
            return model.forecast_losses(_chains(model, data, index, draws), draws)

        learn = Stage(
            *("autoencoder", settings.joint_steps, settings.pairs, settings.precision),
            *(self.autoencoder.parameters, reconstruct, _fit_basis),
        )
        dream = Stage(
            *("latent", settings.latent_steps, settings.latent_pairs, settings.precision),
            *(self.denoiser.parameters, forecast, _fit_line),
            settle=_fit_color,
        )
        return (learn, dream) if any(True for _ in self.autoencoder.parameters()) else (dream,)

    def reconstruction_losses(self, states: Tensor, generator: torch.Generator) -> Losses:
        """Of states (B, 2, Nx, Ny, Nz) decoded from latents with a little noise; L_sJSD where asked for."""
        latent = self.autoencoder.encode(states)
        jitter = self.recipe.training.latent_noise * torch.randn(latent.shape, generator=generator)
        decoded = self.autoencoder.decode(latent + jitter.to(latent)).float()
        terms, weights = self.autoencoder.errors(decoded, states), self.recipe.loss
        if weights.sjsd:
            terms["sjsd"] = scaled_jsd(decoded[:, 0], states[:, 0], weights)
            terms["loss"] = terms["loss"] + weights.sjsd * terms["sjsd"]
        return terms

    def forecast_losses(self, chains: Tensor, generator: torch.Generator) -> Losses:
        """Denoising loss of what remains of the next state, (window + 1 + unroll, B, 2, …), oldest first.

        In half of the batches the model itself goes up to `unroll` steps first.
        """

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).to(chains)

        config, window = self.recipe.diffusion, self.recipe.data.window
        own = max(0, int(torch.randint(-config.unroll, config.unroll + 1, (), generator=generator)))
        with torch.no_grad():
            past, following = self.split(torch.cat([chains[:window], chains[window + own, None]]))
            for _ in range(own):
                past = self.advance(past, normal(*following.shape))
        shares = torch.rand((2, len(past), 1, 1, 1, 1), generator=generator).to(past)
        mix = config.condition_mix * shares[1]
        past = (past + mix * past.roll(1, 0)) / (1 + mix.square()).sqrt()
        past = past + config.condition_noise * shares[0] * normal(*past.shape)
        loss = self.denoiser.loss(past, following, generator)
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
        return self.autoencoder.decode(latents[:, : self.recipe.autoencoder.latent])

    def noise_shape(self, latent_shape: torch.Size) -> tuple[int, ...]:
        """One draw per number of the next latent: the sampler is deterministic after its start."""
        return (self.recipe.autoencoder.latent, *latent_shape[1:])

    def advance(self, latents: Tensor, noise: Tensor) -> Tensor:
        """The next latent joins, the oldest leaves, and so with the noise: (K, …) → the same shape.

        Latents without a memory, (K, window · C, …), stay so: their noise is new at every step.
        """
        width = self.recipe.data.window * self.recipe.autoencoder.latent
        past, before = latents[:, :width], latents[:, width:]
        if before.shape[1]:
            noise = self.denoiser.remember(noise, before)
        following = self.corrections(self.denoiser.sample(past, noise))
        past = torch.cat([following, past], dim=1)[:, :width]
        return torch.cat([past, torch.cat([noise, before], dim=1)[:, : before.shape[1]]], dim=1)


def build(recipe: Recipe) -> Dynamics:
    """The model of a recipe, told by its autoencoder's configuration."""
    kind = (
        SpatialDynamics if isinstance(recipe.autoencoder, SpatialConfig | SpectralConfig) else LatentDynamics
    )
    return kind(recipe)


def _chains(model: SpatialDynamics, data: Dataset, index: Tensor, draws: torch.Generator) -> Tensor:
    """States (steps + 1, B, 2, Nx, Ny, Nz) under random symmetries, half of them with time reversed."""
    back = torch.rand(len(index), generator=draws) < 0.5 if data.symmetries else None
    chains = data.chains(index, back)
    return (augment(chains, data.symmetries, draws) if data.symmetries else chains).to(model.device)


FITTED = 512
"""Chains that the linear parts are fitted to: 1e5 patches for 1e4 numbers."""


def _some_chains(model: SpatialDynamics, data: Dataset, number: int = FITTED) -> Iterator[Tensor]:
    draws = torch.Generator().manual_seed(model.recipe.training.seed)
    for index in torch.linspace(0, data.chains_total - 1, number).long().split(64):
        yield _chains(model, data, index, draws)


def _fit_basis(model: SpatialDynamics, data: Dataset) -> None:
    model.autoencoder.fit(torch.cat([chains[0] for chains in _some_chains(model, data)]))


@torch.no_grad()
def _fit_color(model: SpatialDynamics, data: Dataset) -> None:
    if isinstance(model.denoiser, Propagator):
        needed = model.recipe.data.window + 3
        parts = [model.latents(chains[:needed]) for chains in _some_chains(model, data, number=64)]
        model.denoiser.settle(torch.cat(parts, dim=1))


@torch.no_grad()
def _fit_line(model: SpatialDynamics, data: Dataset) -> None:
    model.autoencoder.eval()
    if isinstance(model.autoencoder, SpectralAutoencoder):  # nothing to learn there, only units to set
        states = torch.cat([chains[0] for chains in _some_chains(model, data)])
        cell = torch.tensor(data.cell)
        model.autoencoder.fit(states, data.normaliser, cell)
        coarse = cell / torch.tensor(model.recipe.autoencoder.grid)[:, None]
        model.denoiser.network.voxel.copy_(coarse)
    needed = model.recipe.data.window + 1
    parts = [model.split(chains[:needed]) for chains in _some_chains(model, data)]
    past, following = (torch.cat(part) for part in zip(*parts, strict=True))
    model.denoiser.fit(past, following)
    if isinstance(model.corrections, Corrections):
        model.corrections.fit(following, data.normaliser.delta_fs * data.stride)
