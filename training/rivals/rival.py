"""What a fitted rival looks like to the judge: an emulator around a small module, saved as a folder.

The rival's own part is a `Forecaster`, tensors and one step of them; the rest is an emulator's.
"""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.emulator import Emulator, write_card
from engine.graphs import Replayed
from engine.normalise import LogNormal

FORMAT = "ldm_viewer rival 1"
Streams = list[torch.Generator]


class Forecaster(nn.Module):
    """What makes the forecast; latents are (K, …), one row per member, and states unless it says."""

    local = False
    """Whether it runs in other cells than its own; none does here."""

    def encode(self, states: Tensor) -> Tensor:
        """(K, 2, Nx, Ny, Nz) → latents."""
        return states

    def decode(self, latents: Tensor) -> Tensor:
        """Latents → (K, 2, Nx, Ny, Nz)."""
        return latents

    def decode_field(self, latents: Tensor) -> Tensor:
        """The field ρ̃ alone, (K, Nx, Ny, Nz)."""
        return self.decode(latents)[:, 0]

    def advance(self, latents: Tensor, streams: Streams) -> Tensor:
        """Latents a time Δτ later, member k with noise from `streams[k]` alone."""
        raise NotImplementedError


class Rival(Emulator):
    """A rival in the units of the lab, with an emulator's attributes and methods except the recipe."""

    def __init__(
        self, model: Forecaster, normaliser: LogNormal, card: dict[str, Any], name: str = ""
    ) -> None:
        # not Emulator's own: that one reads grid and stride from a recipe, which a rival does not have
        self.model = model.eval().requires_grad_(False)
        self.normaliser, self.card = normaliser, card
        self.name = name or card["rival"]
        self.grid = tuple(card["grid"])
        self.cell = np.asarray(card["data"]["cell"], dtype=float)
        self.composition: dict[str, int] | None = card["data"]["composition"]
        self.delta_fs = normaliser.delta_fs
        self.stride = int(card["stride"])
        self.dt_fs = self.delta_fs * self.stride
        self.window = self.history = 1  # a state and the frame before it
        self.mean_density: float | None = card["data"].get("mean_density")
        self.hold_electrons = False  # a rival is shown as it is
        self._draw = Replayed(self._density, model)

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return next(chain(self.model.parameters(), self.model.buffers())).device

    @torch.no_grad()
    def encode(self, states: Tensor) -> Tensor:
        """(K, 2, Nx, Ny, Nz) → latents (K, …)."""
        return self.model.encode(states.to(self.device))

    @torch.no_grad()
    def decode_states(self, latents: Tensor) -> Tensor:
        """Latents (K, …) → states (K, 2, Nx, Ny, Nz): ρ̃ and its rate."""
        return self.model.decode(latents)

    @torch.no_grad()
    def advance(self, latents: Tensor, streams: Streams) -> Tensor:
        """One step Δτ of all members."""
        return self.model.advance(latents, streams)


def save(folder: Path, model: nn.Module, card: dict[str, Any]) -> None:
    """Write tensors, then the card: a folder with a card is a finished rival."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.part")
    (folder / "model.part").chmod(0o644)  # safetensors keeps its files to their owner
    os.replace(folder / "model.part", folder / "model.safetensors")
    write_card(folder, {"format": FORMAT} | card)
