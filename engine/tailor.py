"""A recipe cut to what there is: a grid for a cell, a stride for a time step, steps for a budget."""

from __future__ import annotations

import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from engine import processes
from engine.autoencoder import PooledConfig
from engine.recipes import Recipe
from engine.spectral import SpectralConfig
from engine.trainer import Run
from engine.trajectory import Trajectory

SPACING_A = 0.36
"""Between voxels, for a valence pseudo-density like lithium's: what 24³ are in its 8.66 Å cell."""
STEP_FS = 10.0
"""Of a recipe that does not go frame by frame."""
CHECKPOINTS, ROWS = 10, 50  # at least so many in a training, however short
AVERAGED = 10  # the moving average of the weights forgets within this part of a short training


@dataclass(frozen=True)
class Pace:
    """What one stage of `steps` costs, measured: seconds per step, per checkpoint, and before the first."""

    stage: str
    steps: int
    step_s: float
    checkpoint_s: float
    prepare_s: float


@dataclass(frozen=True)
class Estimate:
    """Paces of all stages, seconds to load the data, and the most memory of the process meanwhile."""

    paces: tuple[Pace, ...]
    load_s: float
    memory_mib: float
    device_memory_mib: float
    parameters: int

    def seconds(self, recipe: Recipe) -> float:
        """What the recipe takes on the machine of the measurement."""
        settings = recipe.training
        steps = {"latent": settings.latent_steps}
        total = self.load_s
        for pace in self.paces:
            count = steps.get(pace.stage, settings.joint_steps)
            total += pace.prepare_s + count * pace.step_s
            total += math.ceil(count / settings.checkpoint_every) * pace.checkpoint_s
        return total


def measure(
    recipe: Recipe,
    trajectory: Trajectory,
    device: str = "auto",
    seconds: float = 5.0,
    place: Path | None = None,
) -> Estimate:
    """Train each stage for some `seconds` in a folder that is thrown away, on the data and device proper.

    That folder is made in `place`, which several processes must all see.
    """
    processes.fabric(device)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        begun = time.perf_counter()
        run = Run(recipe, trajectory, Path(processes.agree(folder)), device)
        load_s = time.perf_counter() - begun
        paces = tuple(_pace(run, number, seconds) for number in range(len(run.stages)))
        on_device = 0
        if run.fabric.device.type == "cuda":
            on_device = torch.cuda.max_memory_allocated(run.fabric.device) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss, per MiB
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return Estimate(paces, load_s, memory, on_device, sum(p.numel() for p in run.model.parameters()))


def _pace(run: Run, number: int, seconds: float) -> Pace:
    """Time one stage; its first step, which warms caches and compiles, counts as preparation."""
    stage = run.stages[number]
    prepare_s = _timed(lambda: setattr(run, "measured", run.begin(number)))
    model = run.measured
    prepare_s += _timed(lambda: run.update(stage, model))
    count, spent = 0, 0.0
    while processes.agree(count < 3 or spent < seconds):
        run.step += 1  # steps differ in what they draw, and so in what they cost
        spent += _timed(lambda: run.update(stage, model))
        count += 1
    return Pace(stage.name, stage.steps, spent / count, _timed(lambda: run.checkpoint(stage)), prepare_s)


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """`steps` in all, shared among the stages as before; average and checkpoints suit a short run."""
    before = recipe.training
    joint = round(steps * before.joint_steps / (before.joint_steps + before.latent_steps))
    stages = [count for count in (joint, steps - joint) if count]
    if not stages:
        raise ValueError("a training needs at least one step")
    training = replace(
        before,
        joint_steps=joint,
        latent_steps=steps - joint,
        ema=max(0.0, min(before.ema, 1 - AVERAGED / min(stages))),
        checkpoint_every=max(1, min(before.checkpoint_every, max(stages) // CHECKPOINTS)),
        log_every=max(1, min(before.log_every, max(stages) // ROWS)),
    )
    return replace(recipe, training=training)


def within(recipe: Recipe, estimate: Estimate, seconds: float) -> Recipe:
    """The recipe with as many steps as end, learning rate and all, after these `seconds`."""
    low, high = 1, 2
    while estimate.seconds(with_steps(recipe, high)) < seconds:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        fits = estimate.seconds(with_steps(recipe, middle)) <= seconds
        low, high = (middle, high) if fits else (low, middle)
    return with_steps(recipe, low)


def on_grid(recipe: Recipe, grid: tuple[int, int, int]) -> Recipe:
    """The recipe on other voxels; a latent of plane waves keeps its share of them."""
    data = replace(recipe.data, grid=tuple(grid))
    if not isinstance(recipe.autoencoder, SpectralConfig):
        return replace(recipe, data=data)
    shares = zip(grid, recipe.autoencoder.grid, recipe.data.grid, strict=True)
    latent = tuple(max(1, n * coarse // fine) for n, coarse, fine in shares)
    return replace(recipe, data=data, autoencoder=replace(recipe.autoencoder, grid=latent))


def fitted(recipe: Recipe, trajectory: Trajectory) -> Recipe:
    """The recipe with a grid and a stride that suit a trajectory's cell, grid and time step."""
    unit = math.lcm(2, _unit(recipe))
    lengths = np.linalg.norm(trajectory.cell, axis=1)
    points = np.minimum(lengths / SPACING_A, trajectory.grid)
    recipe = on_grid(recipe, tuple(unit * max(1, round(n / unit)) for n in points))
    if recipe.data.stride == 1:
        return recipe
    stride = max(1, round(STEP_FS / trajectory.dt_fs))
    return replace(recipe, data=replace(recipe.data, stride=stride))


def _unit(recipe: Recipe) -> int:
    """Voxels that the grid must be a multiple of."""
    config = recipe.autoencoder
    if isinstance(config, SpectralConfig):
        return math.lcm(*(m // math.gcd(n, m) for n, m in zip(config.grid, recipe.data.grid, strict=True)))
    return 2 ** len(config.channels) if isinstance(config, PooledConfig) else config.patch
