"""The model of a recipe, told by its autoencoder's configuration."""

from __future__ import annotations

from engine.dynamics import Dynamics
from engine.field_dynamics import PatchDynamics, WaveDynamics
from engine.pooled_dynamics import PooledDynamics
from engine.recipes import Recipe
from engine.spatial import SpatialConfig
from engine.spectral import SpectralConfig

KINDS = {SpatialConfig: PatchDynamics, SpectralConfig: WaveDynamics}


def build(recipe: Recipe) -> Dynamics:
    """A model with random weights."""
    return KINDS.get(type(recipe.autoencoder), PooledDynamics)(recipe)
