"""Fourier neural operator (Li et al., 2020), from the `neuraloperator` package: s(τ + Δτ) = s(τ) + G(s(τ)).

Deterministic. Without a positional embedding it commutes with every lattice translation of the torus.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.symmetry import augment, operations
from training.rivals.fitting import Losses, Progress, optimise
from training.rivals.material import Material
from training.rivals.rival import Forecaster, Streams


@dataclass(frozen=True)
class FnoConfig:
    """Shape and budget."""

    modes: int = 12
    """Fourier modes kept per axis, both signs together."""
    hidden: int = 16
    """Channels."""
    layers: int = 4
    """Fourier layers."""
    stride: int = 5
    """Stored frames per step."""
    steps: int = 1500
    """Training steps."""
    pairs: int = 4
    """Pairs (state, next state) per step, each batch under one random symmetry of the data."""
    learning_rate: float = 4e-3
    """Peak learning rate of AdamW."""


class FourierOperator(Forecaster):
    """Latents are states (K, 2, Nx, Ny, Nz)."""

    def __init__(self, config: FnoConfig) -> None:
        super().__init__()
        try:
            from neuralop.models import FNO
        except ModuleNotFoundError as error:
            raise ValueError(f"fno needs {error.name}: pip install 'ldm_viewer[rivals]'") from error
        self.operator = FNO(
            n_modes=(config.modes,) * 3,
            in_channels=2,
            out_channels=2,
            hidden_channels=config.hidden,
            n_layers=config.layers,
            positional_embedding=None,
        )

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The tensors alone: the package puts its arguments between them."""
        everything = super().state_dict(*args, **kwargs)
        return {name: value for name, value in everything.items() if isinstance(value, Tensor)}

    def forward(self, states: Tensor) -> Tensor:
        """The change of a state in a step, (K, 2, Nx, Ny, Nz) → the same."""
        return self.operator(states)

    def advance(self, latents: Tensor, streams: Streams) -> Tensor:
        """State s ↦ s + G(s); all members alike, for there is no noise."""
        return latents + self(latents)


def fit(config: FnoConfig, material: Material, seed: int) -> Generator[Progress, None, tuple]:
    """Least squares on the next state; returns (module, stride, errors of one step)."""
    torch.manual_seed(seed)
    model, states = FourierOperator(config), material.training()
    allowed = operations(material.cell, material.grid)

    def losses(draws: torch.Generator) -> Losses:
        index = torch.randint(len(states) - config.stride, (config.pairs,), generator=draws)
        pairs = torch.stack([states[index], states[index + config.stride]])
        now, later = augment(pairs, allowed, draws, chunks=1)
        return {"loss": (now + model(now) - later).square().mean()}

    yield from optimise("operator", model, losses, steps=config.steps, peak=config.learning_rate, seed=seed)
    errors = {
        "training_error": _error(model, states, config.stride),
        "validation_error": _error(model, material.validation(config.stride), config.stride),
    }
    return model, config.stride, errors


@torch.no_grad()
def _error(model: FourierOperator, states: Tensor, stride: int) -> float:
    """RMS error of ρ̃ over one step, from at most 32 evenly spread pairs."""
    starts = len(states) - stride
    index = torch.linspace(0, starts - 1, min(32, starts)).long()
    squares = []
    for part in index.split(4):
        now, later = states[part], states[part + stride]
        squares.append((now + model(now) - later)[:, 0].square().mean((1, 2, 3)))
    return float(torch.cat(squares).mean().sqrt())
