"""The rivals by name: how each is fitted, and how its folder is opened again."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cattrs import Converter
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.devices import device_named
from engine.emulator import IncompatibleError
from engine.normalise import LogNormal
from engine.recipes import DataConfig
from training.rivals import fno, fourier, mlp, pod
from training.rivals.material import Material
from training.rivals.rival import FORMAT, Forecaster, Rival

CONVERTER = Converter(forbid_extra_keys=True)


@dataclass(frozen=True)
class RivalsConfig:
    """Data and settings of all rivals."""

    data: DataConfig = field(default_factory=lambda: DataConfig(equilibration_fs=750.0))
    pod: pod.PodConfig = field(default_factory=pod.PodConfig)
    fourier: fourier.FourierVarConfig = field(default_factory=fourier.FourierVarConfig)
    fno: fno.FnoConfig = field(default_factory=fno.FnoConfig)
    mlp: mlp.MlpConfig = field(default_factory=mlp.MlpConfig)
    seed: int = 0
    """Seed of weights, batches and noise."""


@dataclass(frozen=True)
class Kind:
    """One rival: the part of RivalsConfig it reads, its fit, and an empty module for its saved tensors."""

    part: str
    fit: Callable[[Any, Material, int], Generator]
    empty: Callable[[Any, tuple[int, int, int], dict[str, Tensor]], Forecaster]


def _mlp(features: mlp.Features, physics: bool) -> Kind:
    return Kind(
        "mlp",
        partial(mlp.fit, features, physics),
        lambda config, grid, tensors: mlp.MlpLatentDiffusion(features, config, grid),
    )


RIVALS = {
    "pod-var": Kind("pod", pod.fit, lambda config, grid, tensors: pod.PodVar(**tensors)),
    "fourier-var": Kind("fourier", fourier.fit, lambda config, grid, tensors: fourier.FourierVar(**tensors)),
    "fno": Kind("fno", fno.fit, lambda config, grid, tensors: fno.FourierOperator(config)),
    "mlp-voxel": _mlp("voxel", physics=False),
    "mlp-voxel-pinn": _mlp("voxel", physics=True),
    "mlp-fourier": _mlp("fourier", physics=False),
    "mlp-fourier-pinn": _mlp("fourier", physics=True),
}


def config_of(name: str, values: dict[str, Any]) -> object:
    """The settings of rival `name` from their plain values."""
    part = RIVALS[name].part
    return CONVERTER.structure({part: values}, RivalsConfig).__getattribute__(part)


def load(folder: str | Path, device: str | torch.device = "cpu") -> Rival:
    """Open a folder written by `ldm rivals`. Raises IncompatibleError, in words, for anything else."""
    folder = Path(folder)
    try:
        card = json.loads((folder / "card.json").read_text())
        if card.get("format") != FORMAT:
            raise IncompatibleError(
                f"{folder}/card.json has format {card.get('format')!r}, expected {FORMAT!r}"
            )
        tensors = load_file(folder / "model.safetensors")
        config = config_of(card["rival"], card["config"])
        model = RIVALS[card["rival"]].empty(config, tuple(card["grid"]), tensors)
        model.load_state_dict(tensors)
        normaliser = LogNormal(**card["normaliser"])
    except FileNotFoundError as error:
        raise IncompatibleError(f"{folder} is no rival: {Path(error.filename).name} is missing") from None
    except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise IncompatibleError(f"{folder} is damaged or from another version: {error}") from error
    return Rival(model.to(device_named(device)), normaliser, card, folder.name)
