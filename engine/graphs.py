"""A function's kernels as one graph, which a GPU replays without Python in between.

A frame is a few hundred small operations; a GPU is done with most of them before the next has been asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

Replay = Callable[[], None]
Capture = Callable[[Callable[[], Tensor], torch.device], tuple[Replay, Tensor]]


def capture_cuda(function: Callable[[], Tensor], device: torch.device) -> tuple[Replay, Tensor]:
    """What does the same again, on the same places in memory, and the tensor where its result will be."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = function()
    return graph.replay, made


CAPTURES: dict[str, Capture] = {"cuda": capture_cuda}
"""How a kind of device captures; others do without."""
WARM = 3
"""Calls with the same shapes before a capture: by then all that is kept has been made."""
TOLERANCE = 1e-2
"""Relative difference of a replay that is taken for rounding in bfloat16, and not for a stale number."""


class Kept:
    """What is made of some tensors, kept where no gradient is wanted until they are others."""

    def __init__(self) -> None:
        self.last: tuple[tuple, Any] = ((), None)

    def __call__(self, sources: tuple[Tensor, ...], make: Callable[[], Any]) -> Any:
        """What `make` returns, for these tensors as they are now."""
        if torch.is_grad_enabled():
            return make()
        key = tuple((x._version, x.data_ptr(), x.shape) for x in sources)
        found, made = self.last
        if found != key:
            made = make()
            self.last = key, made
        return made


class Replayed:
    """A function of tensors, which after some calls with the same shapes is replayed.

    A graph is made on blank inputs, and believed if its first replay returns what the function does: what
    cannot be captured stays as it was, with a warning. `module` holds the weights; when they change, or the
    shapes do, the graph is made anew. It writes to its own places, so that only the first thread has it.
    """

    def __init__(self, function: Callable[..., Tensor], module: nn.Module) -> None:
        self.function, self.module = function, module
        self._key: tuple = ()
        self._calls = 0
        self._weights: list[Tensor] = []
        self._graph: tuple[tuple[Tensor, ...], Replay, Tensor] | None = None
        self._held: list[Any] = []
        self._refused = False
        self._thread: int | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The function of `inputs`; the result is the caller's own."""
        capture = CAPTURES.get(inputs[0].device.type)
        if capture is None or self._refused or torch.is_grad_enabled():
            return self.function(*inputs)
        self._thread = self._thread or get_ident()
        if self._thread != get_ident():
            return self.function(*inputs)
        self._notice(inputs)
        if self._graph is not None:
            return self._replay(inputs)
        made = self.function(*inputs)
        if self._calls > WARM:
            self._capture(capture, inputs, made)
        return made

    def _notice(self, inputs: tuple[Tensor, ...]) -> None:
        """Count calls with the same shapes and weights; others leave no graph."""
        self._weights = self._weights or [*self.module.parameters(), *self.module.buffers()]
        versions: Any = sum(weight._version for weight in self._weights)  # which only grow
        key = (versions, *((x.shape, x.dtype) for x in inputs))
        if key != self._key:
            self._key, self._calls, self._graph = key, 0, None
        self._calls += 1

    def _capture(self, capture: Capture, inputs: tuple[Tensor, ...], expected: Tensor) -> None:
        try:
            places = tuple(torch.zeros_like(x) for x in inputs)
            self._graph = (places, *capture(lambda: self.function(*places), inputs[0].device))
            # the graph reads what was kept, also when something else is by then
            parts = (kept for module in self.module.modules() for kept in vars(module).values())
            self._held = [kept.last for kept in parts if isinstance(kept, Kept)]
            difference = (self._replay(inputs) - expected).abs().max()
            if not difference <= TOLERANCE * expected.abs().max():  # nor where it is no number
                raise RuntimeError(f"its replay differs by {float(difference):.2g}")
        except RuntimeError as error:  # out of memory among them
            self._graph, self._refused = None, True
            warnings.warn(f"forecasts go on without a graph of the GPU's work: {error}", stacklevel=3)

    def _replay(self, inputs: tuple[Tensor, ...]) -> Tensor:
        places, replay, made = self._graph
        for place, given in zip(places, inputs, strict=True):
            place.copy_(given)
        replay()
        return made.clone()
