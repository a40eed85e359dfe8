"""Row: samples a second of a training of the default recipe, beside a plain loop of the same model.

The plain loop is what one first writes: a `torch.utils.data.Dataset` that reads, resamples and normalises the
frames of a sample when it is asked for and turns them by its symmetry; a network of two real transforms and
1×1×1 convolutions, differentiated by autograd; float32. Optimiser, averaged weights, draws and loss are the
same, and so are the losses that both reach (`tests/test_bench_train.py`).
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from engine.dynamics import Draws
from engine.models import build
from engine.recipes import SPECTRAL, Recipe
from engine.samples import sample_path
from engine.spectral import SpectralNet
from engine.symmetry import Operation, apply, operations
from engine.trainer import Run, learning_rate, seeded
from engine.trajectory import Trajectory
from training.bench.timing import Row, Side

STEPS = 5
"""Steps of a repeat: some of them have own steps of the model, most have none."""

Key = tuple[int, bool, Operation, tuple[int, int, int]]
"""First frame of a chain, whether time runs backwards, the operation on its axes, its shift in voxels."""


def plain_network(network: SpectralNet, x: Tensor) -> Tensor:
    """`SpectralNet` as one first writes it, (B, inputs, …) → (B, outputs, …)."""

    def pointwise(layer: nn.Linear, x: Tensor) -> Tensor:
        return nn.functional.conv3d(x, layer.weight[:, :, None, None, None], layer.bias)

    grid, axes = x.shape[2:], (2, 3, 4)
    hats, hidden = network.hats(tuple(grid))[..., : grid[-1] // 2 + 1], pointwise(network.first, x)
    for block in network.blocks:
        waves = torch.fft.rfftn(hidden, dim=axes)
        kernels = torch.einsum("cjk,kxyz->jcxyz", block.filter.weight, hats)
        both = [torch.fft.irfftn(waves * kernel, s=grid, dim=axes) for kernel in kernels]
        value, gate = pointwise(block.mix, torch.stack(both, dim=2).flatten(1, 2)).chunk(2, dim=1)
        hidden = hidden + pointwise(block.out, value * nn.functional.silu(gate))
    return pointwise(network.last, hidden)


class Samples(torch.utils.data.Dataset):
    """Chains of states read from the file one by one, (steps + 1, 2, Nx, Ny, Nz)."""

    def __init__(self, run: Run, trajectory: Trajectory) -> None:
        frames = run.training.states_total + 1
        self.frames, self.normaliser = trajectory[:frames], run.normaliser
        self.stride, self.steps = run.training.stride, run.training.steps

    def __getitem__(self, key: Key) -> Tensor:
        """The chain from one frame on under its symmetry; backwards, a state's past is the frame after it."""
        index, back, operation, shift = key
        states = []
        for later in range(0, self.steps * self.stride + 1, self.stride):
            pair = self.frames.density(slice(index + later, index + later + 2))
            states.append(torch.from_numpy(self.normaliser.states(pair[::-1] if back else pair)[0]))
        return apply(torch.stack(states[::-1] if back else states), operation, shift)


class PlainLoop:
    """The loop, beginning with the weights and the place in training of a `Run` at its first step."""

    def __init__(self, run: Run, trajectory: Trajectory) -> None:
        recipe = run.recipe
        self.settings, self.chains_total = recipe.training, run.training.chains_total
        self.allowed = operations(trajectory.cell, recipe.data.grid)
        self.device, self.model = run.fabric.device, build(recipe).to(run.fabric.device)
        self.model.load_state_dict(run.model.state_dict())
        network = self.model.denoiser.network
        network.forward = lambda x: plain_network(network, x)
        settings = self.settings
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.generator = seeded(0)
        frames = Samples(run, trajectory.resampled(recipe.data.grid))
        self.batches = iter(torch.utils.data.DataLoader(frames, batch_sampler=self.keys(recipe)))
        self.step = 0

    def keys(self, recipe: Recipe) -> Iterator[list[Key]]:
        """What is drawn for the samples of every batch, as a `Run` draws it."""
        grid, pairs = recipe.data.grid, recipe.training.latent_pairs
        for step in itertools.count():
            draws = self.generator = seeded(recipe.training.seed, 0, step)
            index = torch.randint(self.chains_total, (pairs,), generator=draws).tolist()
            back = (torch.rand(pairs, generator=draws) < 0.5).tolist()
            keys = []
            for sample in range(pairs):
                operation = self.allowed[int(torch.randint(len(self.allowed), (), generator=draws))]
                shift = tuple(int(torch.randint(n, (), generator=draws)) for n in grid)
                keys.append((index[sample], back[sample], operation, shift))
            yield keys

    def update(self) -> float:
        """One step; its loss."""
        settings = self.settings
        chains = next(self.batches).transpose(0, 1).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, settings.latent_steps, settings.learning_rate)
        loss = self.model.forecast_losses(chains, Draws(self.generator, settings.latent_pairs))["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return loss.item()


class OurLoop:
    """The trainer's own steps, one by one."""

    def __init__(self, run: Run) -> None:
        self.run, self.model = run, run.begin(0)

    def update(self) -> float:
        """One step; its loss."""
        losses, _ = self.run.update(self.run.stages[0], self.model)
        self.run.step += 1
        return losses["loss"].item()


def loops(
    recipe: Recipe, trajectory: Trajectory, folder: Path, device: str = "cpu"
) -> tuple[OurLoop, PlainLoop]:
    """Both loops, at the first step of the same training."""
    ours = OurLoop(Run(recipe, trajectory, folder, device))
    return ours, PlainLoop(ours.run, trajectory)


def _training(device: str) -> tuple[Side, Side]:
    with tempfile.TemporaryDirectory() as folder:
        sides = loops(SPECTRAL, Trajectory(sample_path("li32_train.h5")), Path(folder), device)
    units = STEPS * SPECTRAL.training.latent_pairs
    work, rival = (Side(lambda loop=loop: [loop.update() for _ in range(STEPS)], units) for loop in sides)
    return work, rival


ROWS = (
    Row(
        *("training", "a sample of `spectral`, 24³", "plain eager loop, float32", 1.5, _training),
        seconds=20,
        gpu_bar=4,
    ),
)
