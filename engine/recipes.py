"""Recipes: everything that decides a training, as one frozen dataclass each; the paper's and its ablation.

Command-line flags, forms in the window and the card beside the weights are all made from these fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from cattrs import ClassValidationError, Converter, transform_error
from cattrs.strategies import configure_tagged_union

from engine.autoencoder import PooledConfig
from engine.corrections import CorrectionsConfig
from engine.diffusion import DiffusionConfig
from engine.edm import EDMConfig
from engine.losses import LossConfig
from engine.propagator import PropagatorConfig
from engine.spatial import SpatialConfig
from engine.spectral import SpectralConfig


@dataclass(frozen=True)
class DataConfig:
    """Which frames, on which grid."""

    grid: tuple[int, int, int] = (24, 24, 24)
    """Voxels the model works on: (48, 48, 48) in the paper, 24³ for two cores; data is resampled to it."""
    stride: int = 1
    """Stored time steps from one state to the next, Δτ = stride · δ; the paper forecasts frame by frame."""
    window: int = 1
    """States that the next one is forecast from, Δτ apart: the paper's has one; a second tells how things
    accelerate."""
    symmetries: bool = False
    """Train on lattice rolls, the cell's point operations (48 of a cube) and reversed time as well."""
    equilibration_fs: float = 0.0
    """Time at the start of the file to leave out while the simulation still relaxes, fs."""
    train_fraction: float = 0.8
    """Share of the file, from its start, that training may see (paper: 8 of 10 ps); the rest is the test."""
    validation_fraction: float = 0.05
    """Share at the end of the training span kept for the validation loss."""


@dataclass(frozen=True)
class TrainingConfig:
    """Optimisation; the paper is silent on all of it."""

    joint_steps: int = 3000
    """Steps of the first stage: a pooled model's full objective (S15), a spatial one's autoencoder."""
    latent_steps: int = 20000
    """Steps on the denoiser alone afterwards, on the finished encoder's cached latents, which stand still."""
    pairs: int = 8
    """Pairs (state, next state) per step of the first stage; both states of a pair are reconstructed."""
    latent_pairs: int = 256
    """Pairs per latent step."""
    latent_noise: float = 0.03
    """Standard deviation of Gaussian noise on the latents that the decoder learns from: less than the latent
    moves in one step, so that nearby latents decode to nearby fields."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW, warmed up over 200 steps, then a cosine to zero in each stage."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    clip: float = 1.0
    """Largest gradient norm."""
    ema: float = 0.99
    """Decay of the moving average of the weights; the average is what is evaluated and saved."""
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    """Arithmetic of convolutions; bf16 is three times faster on processors with AMX and on GPUs."""
    seed: int = 0
    """Seed of weights, batches and noise; batch and noise of step n depend on (seed, stage, n) alone."""
    log_every: int = 10
    """Steps between rows of log.csv."""
    checkpoint_every: int = 200
    """Steps between validations; each also writes what a killed run resumes from."""
    monitor: Literal["training", "validation"] = "training"
    """Loss that decides which weights are kept. A pooled code cannot reconstruct an unseen frame, whatever
    the training, so by the validation loss it would be stopped before it had learnt the training frames."""


@dataclass(frozen=True)
class Recipe:
    """A model and how it is trained."""

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    autoencoder: PooledConfig | SpatialConfig | SpectralConfig = field(default_factory=PooledConfig)
    diffusion: DiffusionConfig | EDMConfig | PropagatorConfig = field(default_factory=DiffusionConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    corrections: CorrectionsConfig = field(default_factory=CorrectionsConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


PAPER = Recipe("paper")
SPECTRAL = Recipe(
    "spectral",
    data=DataConfig(stride=5, symmetries=True),
    autoencoder=SpectralConfig(),
    diffusion=PropagatorConfig(inflation=1.6),
    loss=LossConfig(sjsd=0.0),
    corrections=CorrectionsConfig(heat=1.02),
    training=TrainingConfig(
        joint_steps=0,
        latent_steps=13000,
        latent_pairs=3,
        learning_rate=2e-3,
        weight_decay=1e-3,
        ema=0.998,
        precision="32-true",
        monitor="validation",
    ),
)
SPATIAL = Recipe(
    "spatial",
    data=DataConfig(stride=5, window=2, symmetries=True),
    autoencoder=SpatialConfig(),
    diffusion=EDMConfig(),
    loss=LossConfig(sjsd=0.0),
    training=TrainingConfig(
        joint_steps=1000,
        latent_steps=6000,
        pairs=6,
        latent_pairs=32,
        latent_noise=0.02,
        learning_rate=5e-4,
        weight_decay=1e-2,
        ema=0.998,
        monitor="validation",
    ),
)
RECIPES = {
    recipe.name: recipe
    for recipe in (PAPER, replace(PAPER, name="paper-no-sjsd", loss=LossConfig(sjsd=0.0)), SPATIAL, SPECTRAL)
}

_CONVERTER = Converter(forbid_extra_keys=True)
# cards written before there was a choice say nothing of the kind: they are the paper's
configure_tagged_union(
    PooledConfig | SpatialConfig | SpectralConfig, _CONVERTER, tag_name="kind", default=PooledConfig
)
configure_tagged_union(
    DiffusionConfig | EDMConfig | PropagatorConfig, _CONVERTER, tag_name="kind", default=DiffusionConfig
)


def to_dict(recipe: Recipe) -> dict:
    """Plain, nested values of a recipe, as they stand in a card."""
    return _CONVERTER.unstructure(recipe)


def from_dict(values: dict) -> Recipe:
    """A recipe from its plain values; an unknown or ill-typed field raises ValueError naming it."""
    try:
        return _CONVERTER.structure(values, Recipe)
    except ClassValidationError as error:
        raise ValueError("; ".join(transform_error(error, path="recipe"))) from None
