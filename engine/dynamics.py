"""What a whole model offers: encoder, decoder, a step of the latent, and the stages it is trained in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.recipes import Recipe
from engine.threads import at_once

if TYPE_CHECKING:
    from engine.dataset import Dataset

Losses = dict[str, Tensor]


class Draws:
    """The random numbers of a step, for all chains of its batch; a process takes those of the `rows` it has.

    So a chain meets the same numbers however many processes share the batch.
    """

    def __init__(self, generator: torch.Generator, batch: int, rows: slice = slice(None)) -> None:
        self.generator, self.batch, self.rows = generator, batch, rows

    def normal(self, shape: tuple[int, ...], axis: int = 0) -> Tensor:
        """Standard normal numbers of this process's `shape`, whose `axis` counts chains."""
        whole = (*shape[:axis], self.batch, *shape[axis + 1 :])
        return self.mine(torch.randn(whole, generator=self.generator), axis)

    def mine(self, tensor: Tensor, axis: int = 0) -> Tensor:
        """The part of a tensor of the whole batch, chains along `axis`."""
        return tensor[(slice(None),) * axis + (self.rows,)]


@dataclass(frozen=True)
class Stage:
    """A part of a training: which parameters move, on what loss of how many pairs.

    `losses(model, data, index, draws)` are those of the pairs at `index[draws.rows]`, `index` being the whole
    batch; `prepare(model, training)` runs once before the first step, `settle` on the averaged weights
    whenever they are kept. A `cached` stage sees each state as the latent that `data.latents` holds.
    """

    name: str
    steps: int
    pairs: int
    precision: str
    parameters: Callable[[], Iterator[nn.Parameter]]
    losses: Callable[[Dynamics, Dataset, Tensor, Draws], Losses]
    prepare: Callable[[Dynamics, Dataset], None]
    cached: bool = False
    settle: Callable[[Dynamics, Dataset], None] = lambda model, training: None


TOGETHER = 8
"""Members that a processor does at once: more leave its cache, and take two and a half times as long each."""


LARGE = 2**17
"""Numbers of a latent whose smallest operations are long enough to be shared by threads."""


def in_parts(function: Callable[..., Tensor], *members: Tensor) -> Tensor:
    """`function` of tensors (K, …), on a processor a few members at a time, and as many times as threads."""
    number = len(members[0])
    if members[0].device.type != "cpu" or (number == 1 and members[0].numel() > LARGE):
        return function(*members)
    size = min(TOGETHER, -(-number // torch.get_num_threads()))
    parts = zip(*(tensor.split(size) for tensor in members), strict=True)
    return torch.cat(at_once([partial(function, *part) for part in parts]))


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

    def forward(self, compute: Callable[[Dynamics], Losses]) -> Losses:
        """`compute(self)`: whatever wraps the model, for precision or many processes, wraps calls of it."""
        return compute(self)

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

    def decode_field(self, latents: Tensor) -> Tensor:
        """The newest field ρ̃ alone, (B, Nx, Ny, Nz)."""
        return self.decode(latents)[:, 0]

    def encode_all(self, data: Dataset) -> Tensor:
        """Latents of all states of a data set, (states, …), in the order of time."""
        index = torch.arange(data.states_total)
        self.autoencoder.eval()
        with torch.no_grad():
            return torch.cat(
                [self.autoencoder.encode(data.states(part).to(self.device)) for part in index.split(64)]
            )
