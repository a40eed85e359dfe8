"""The bundle a user loads: weights, card and what they need to meet a trajectory.

A folder with `model.safetensors` (tensors only) and `card.json` (plain values): loading runs no code from it.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.devices import device_named, enough_memory
from engine.dynamics import Dynamics
from engine.graphs import Replayed
from engine.models import build
from engine.normalise import LogNormal
from engine.recipes import from_dict, to_dict
from engine.samplers import by_name

if TYPE_CHECKING:
    from engine.trajectory import Trajectory

FORMAT = "ldm_viewer emulator 1"
SPACING_TOLERANCE = 0.01
"""Relative difference of lattice vectors that a model still accepts: far below one voxel over the cell."""

ELSEWHERE = "Close what else is in it, or choose another device."
FEWER = "Fewer members at a time, or another device, would do."


class IncompatibleError(ValueError):
    """A trajectory, or a file, that this emulator cannot serve; the message says what would fit."""


class Emulator:
    """A trained model in the units of the lab: densities in Å⁻³ in and out, time in fs."""

    def __init__(self, model: Dynamics, normaliser: LogNormal, card: dict[str, Any], name: str = "") -> None:
        self.model = model.eval().requires_grad_(False)
        self.normaliser, self.card = normaliser, card
        self.recipe = model.recipe
        self.name = name or self.recipe.name
        self.grid = tuple(self.recipe.data.grid)
        self.cell = np.asarray(card["data"]["cell"], dtype=float)
        self.composition: dict[str, int] | None = card["data"]["composition"]
        self.delta_fs = normaliser.delta_fs
        self.stride = self.recipe.data.stride
        self.dt_fs = self.delta_fs * self.stride
        self.window = self.recipe.data.window
        self.history = 1 + self.stride * (self.window - 1)
        """Frames before the start that a state needs."""
        self.mean_density: float | None = card["data"].get("mean_density")
        self.hold_electrons = self.model.local
        """Whether `decode` corrects the electron count; the paper's model is shown as it is."""
        self._step, self._draw = Replayed(self._advanced, model), Replayed(self._density, model)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Emulator:
        """Open a folder written by a training. Raises IncompatibleError, in words, for anything else.

        A name such as "paper@dpm:20" opens "paper" with another sampler (ValueError for one that there
        is not; `engine.samplers.by_name`). `device` is one of `device_named`.
        """
        device = device_named(device)
        name, folder, way = Path(folder).name, Path(folder), ""
        if not folder.exists():
            base, _, way = name.partition("@")
            folder = folder.with_name(base or name)
        try:
            card = json.loads((folder / "card.json").read_text())
            if card.get("format") != FORMAT:
                raise IncompatibleError(
                    f"{folder}/card.json has format {card.get('format')!r}, expected {FORMAT!r}"
                )
            recipe = from_dict(card["recipe"])
            if way:
                recipe = replace(recipe, diffusion=by_name(recipe.diffusion, way))
            model = build(recipe)
            model.load_state_dict(load_file(folder / "model.safetensors"))
            normaliser = LogNormal(**card["normaliser"])
        except FileNotFoundError as error:
            raise IncompatibleError(
                f"{folder} is no emulator: {Path(error.filename).name} is missing "
                "(a folder made by `ldm train` has model.safetensors and card.json)"
            ) from None
        except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
            raise IncompatibleError(f"{folder} is damaged or from another version: {error}") from error
        with enough_memory(ELSEWHERE):
            return cls(model.to(device), normaliser, card, name)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.model.device

    def adapt(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory on this model's grid and stored time step δ; frames are dropped, never invented.

        A local model also takes other cells that its voxels fill. Raises IncompatibleError for another
        composition or cell, or a time step that does not divide δ.
        """
        ours, theirs = self.composition, trajectory.composition
        if ours and theirs and (ours.keys() != theirs.keys() or not (self.model.local or ours == theirs)):
            self._refuse(theirs)
        grid = self._grid_for(trajectory)
        if ours and theirs:
            self._check_density(theirs, np.prod(grid) / np.prod(self.grid))
        every = self.delta_fs / trajectory.dt_fs
        if abs(every - round(every)) > 1e-3 or round(every) < 1:
            raise IncompatibleError(
                f"{self.name} needs frames every {self.delta_fs:g} fs, the trajectory has one every "
                f"{trajectory.dt_fs:g} fs, which does not divide it"
            )
        return trajectory[:: round(every)].resampled(grid)

    def _check_density(self, theirs: dict[str, int], size: float) -> None:
        """A local model answers for the atoms that the cell, `size` times its own, holds at its density."""
        if any(abs(n / (size * self.composition[k]) - 1) > SPACING_TOLERANCE for k, n in theirs.items()):
            self._refuse(theirs, f" in a cell {size:.3g} times as large")

    def _refuse(self, theirs: dict[str, int], where: str = "") -> None:
        raise IncompatibleError(
            f"{self.name} was trained on {_formula(self.composition)}, the trajectory holds "
            f"{_formula(theirs)}{where}; choose one of the same, or train on this one"
        )

    def _grid_for(self, trajectory: Trajectory) -> tuple[int, ...]:
        """Voxels that the model puts into the trajectory's cell."""
        voxel = self.cell / np.array(self.grid)[:, None]
        grid, unit = self.grid, 1
        if self.model.local:
            lengths = np.linalg.norm(trajectory.cell, axis=1) / np.linalg.norm(voxel, axis=1)
            unit = self.model.autoencoder.unit
            grid = tuple(max(1, round(n / unit)) * unit for n in lengths)
        difference = np.abs(trajectory.cell - voxel * np.array(grid)[:, None]).max()
        if difference > SPACING_TOLERANCE * np.abs(trajectory.cell).max():
            reason = (
                f"cells of that shape and a multiple of {unit} voxels along each axis would do"
                if self.model.local
                else "a pooled latent draws one cell only"
            )
            raise IncompatibleError(
                f"{self.name} knows the cell {_lengths(self.cell)} Å ({_spacing(self.cell, self.grid)} Å "
                f"between voxels), the trajectory has {_lengths(trajectory.cell)} Å; {reason}"
            )
        return grid

    def initial_state(self, trajectory: Trajectory, start: int) -> Tensor:
        """State (1, 2·window, Nx, Ny, Nz) of frame `start` ≥ `history` of an adapted trajectory.

        The window's states lie Δτ apart, newest first; each is ρ̃ and its causal rate.
        """
        if not self.history <= start < len(trajectory):
            raise IncompatibleError(
                f"start frame {start} is outside {self.history} … {len(trajectory) - 1}: "
                f"{self.name} needs its frame and the {self.history} before"
                if self.history > 1
                else f"start frame {start} is outside 1 … {len(trajectory) - 1}: "
                "a state needs its frame and the one before"
            )
        states = [
            self.normaliser.states(trajectory.density(slice(frame - 1, frame + 1)))
            for frame in range(start, start - self.stride * self.window, -self.stride)
        ]
        return torch.from_numpy(np.concatenate(states, axis=1)).to(self.device)

    @torch.no_grad()
    def encode(self, states: Tensor) -> Tensor:
        """(B, 2·window, Nx, Ny, Nz) → latents (B, …)."""
        with enough_memory(ELSEWHERE):
            return self.model.encode(states.to(self.device))

    @torch.no_grad()
    def advance(self, latents: Tensor, streams: list[torch.Generator]) -> Tensor:
        """One step Δτ of all members, (K, …) → (K, …), member k drawing from `streams[k]`."""
        noise = normal(self.model.noise_shape(latents.shape[1:]), streams)
        with enough_memory(FEWER):
            return self._step(latents, noise.to(latents))

    def _advanced(self, latents: Tensor, noise: Tensor) -> Tensor:
        return self.model.advance(latents, noise)

    @torch.no_grad()
    def decode_states(self, latents: Tensor) -> Tensor:
        """Latents (B, …) → newest states (B, 2, Nx, Ny, Nz): ρ̃ and its rate."""
        return self.model.decode(latents)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> np.ndarray:
        """Latents (B, …) → densities (B, Nx, Ny, Nz) in Å⁻³, positive by construction (S6).

        With `hold_electrons`, scaled to the mean electron count of the training frames: AIMD's count
        fluctuates by 1e-4 of it only, a network's by more.
        """
        with enough_memory(FEWER):
            return self._draw(latents).cpu().numpy()

    def _density(self, latents: Tensor) -> Tensor:
        density = self.normaliser.inverse(self.model.decode_field(latents).float())
        if self.hold_electrons and self.mean_density:
            density = density * (self.mean_density / density.mean((1, 2, 3), keepdim=True))
        return density


def normal(shape: tuple[int, ...], streams: list[torch.Generator]) -> Tensor:
    """Standard normal numbers (K, *shape), member k's from `streams[k]`.

    They come from the processor wherever they go, so that a forecast is the same on every device.
    """
    return torch.stack([torch.randn(shape, generator=stream) for stream in streams])


def save_emulator(folder: Path, model: Dynamics, normaliser: LogNormal, card: dict[str, Any]) -> None:
    """Write weights in half precision, then the card, each aside and renamed.

    Eleven bits are far more than the noise of a sampled forecast, and halve what everyone who clones carries.
    """
    weights = {name for name, _ in model.named_parameters()}
    tensors = {
        name: (tensor.half() if name in weights else tensor).detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "recipe": to_dict(model.recipe),
        "normaliser": vars(normaliser),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.part")
    (folder / "model.part").chmod(0o644)  # safetensors keeps its files to their owner
    os.replace(folder / "model.part", folder / "model.safetensors")
    write_card(folder, header | card)


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Replace the card of an emulator as a whole."""
    (folder / "card.part").write_text(json.dumps(card, indent=1) + "\n")
    os.replace(folder / "card.part", folder / "card.json")


def _formula(composition: dict[str, int]) -> str:
    return "".join(f"{symbol}{count}" for symbol, count in composition.items())


def _lengths(cell: np.ndarray) -> str:
    return " × ".join(f"{length:.3f}" for length in np.linalg.norm(cell, axis=1))


def _spacing(cell: np.ndarray, grid: tuple[int, ...]) -> str:
    return " × ".join(
        f"{length / n:.3f}" for length, n in zip(np.linalg.norm(cell, axis=1), grid, strict=True)
    )
