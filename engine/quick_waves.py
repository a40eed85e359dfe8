"""Real waves on a processor, by compiled loops (numba).

Waves are in order of their length: all of one length share kernels, so that these and U make one matrix,
which is used while it is in cache. Rows of zeros fill up every length to a whole number of tiles, and gaps
between lines and planes of states keep points apart that would meet in the same lines of a cache.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine import wave_loops as loops
from engine.threads import at_once
from engine.wave_loops import LANES, LINE, ROWS
from engine.waves import Basis


class QuickBasis(Basis):
    """`Basis` on a processor; `shares` are those of lengths, not of single waves."""

    multiple = LINE

    def __init__(self, hats: Tensor) -> None:
        super().__init__(hats)
        place = self.shares.numpy() @ np.arange(self.shares.shape[1])  # among the knots
        _, one, length = np.unique(place.round(5), return_index=True, return_inverse=True)
        self.shares, self.points = self.shares[one], math.prod(self.grid)
        counts, order = np.bincount(length), np.argsort(length, kind="stable")
        self.starts = np.concatenate([[0], np.cumsum(-(-counts // ROWS) * ROWS)])
        rows = np.empty(self.points, np.int64)
        filled = self.starts[:-1] - np.concatenate([[0], np.cumsum(counts)[:-1]])  # rows of zeros before
        rows[order] = np.arange(self.points) + np.repeat(filled, counts)
        self.rows = np.ascontiguousarray(rows.reshape(self.grid[0], -1).T)
        self.size, self.row = int(self.starts[-1]), torch.from_numpy(rows)
        self.wave = torch.full((self.size,), self.points).index_copy(0, self.row, torch.arange(self.points))
        self.empty = (self.wave == self.points).nonzero().flatten().numpy()
        self.axes = tuple((0,) * points for points in self.grid)
        _, ny, nz = self.grid
        self.dense = (ny * nz, nz)
        self.loose = (ny * (nz + 1) + 1, nz + 1)  # rows of gaps: powers of two meet in the same cache lines

    def to_waves(self, field: Tensor) -> Tensor:
        """(B·n, C) → amplitudes of the waves, (B·m, C); for LINE channels without gradients compiled."""
        channels = field.shape[1]
        if channels % LINE or torch.is_grad_enabled():
            waves = super().to_waves(field).view(-1, self.points, channels)
            return functional.pad(waves, (0, 0, 0, 1))[:, self.wave].flatten(0, 1)
        states = _array(field.clone()).reshape(-1, self.points, channels)
        self._in_parts(loops.within_back, [(self.dense, x) for x in states], self.grid[0])
        return self._gathered(self.dense, states)

    def _gathered(self, steps: tuple[int, int], states: np.ndarray) -> Tensor:
        """The end of a transform to waves."""
        out = np.empty((len(states), self.size, states.shape[2]), np.float32)
        out[:, self.empty] = 0
        calls = [(steps, self.rows, *pair) for pair in zip(states, out, strict=True)]
        self._in_parts(loops.across_back, calls, len(self.rows))
        return torch.from_numpy(out).flatten(0, 1)

    def to_points(self, amplitudes: Tensor) -> Tensor:
        """The inverse, which is the transpose."""
        channels = amplitudes.shape[1]
        if channels % LINE or torch.is_grad_enabled():
            return super().to_points(amplitudes.view(-1, self.size, channels)[:, self.row].flatten(0, 1))
        out = np.empty((len(amplitudes) // self.size, self.points, channels), np.float32)
        self._scattered(_array(amplitudes), self.dense, out)
        self._in_parts(loops.within, [(self.dense, x) for x in out], self.grid[0])
        return torch.from_numpy(out).flatten(0, 1)

    def _scattered(self, amplitudes: np.ndarray, steps: tuple[int, int], states: np.ndarray) -> None:
        """The beginning of a transform to points."""
        waves = amplitudes.reshape(-1, self.size, amplitudes.shape[1])
        calls = [(steps, self.rows, *pair) for pair in zip(waves, states, strict=True)]
        self._in_parts(loops.across, calls, len(self.rows))

    def _in_parts(self, function: Callable, states: list[tuple], things: int) -> None:
        """A function of so many lines or planes of every state, in parts that keep threads at work."""
        threads = torch.get_num_threads()
        cuts = _cuts(np.arange(things + 1), 1 if len(states) % threads == 0 else threads)
        at_once([partial(function, self.axes, *state, *cut) for state in states for cut in pairwise(cuts)])

    def _by_length(self, function: Callable, *fixed: np.ndarray, each: np.ndarray | None = None) -> None:
        """A function of lengths, in parts of the same work for each thread; `each` has something for each."""
        parts = list(pairwise(_cuts(self.starts, torch.get_num_threads())))
        own = [()] * len(parts) if each is None else [(one,) for one in each[: len(parts)]]
        at_once([partial(function, *fixed, *mine, *part) for mine, part in zip(own, parts, strict=True)])

    def mix(self, x: Tensor, kernels: Tensor, u: Tensor) -> Tensor:
        """U·(k x), (B·m, C) → (B·m, O), with two kernels of each channel (lengths, 2, C) and U (O, 2C)."""
        out = x.new_empty(len(x), len(u))
        self._mix(_array(x), kernels, u, _array(out))
        return out

    def _mix(self, x: np.ndarray, kernels: Tensor, u: Tensor, out: np.ndarray) -> None:
        self._by_length(loops.mix, x, _array(kernels), _array(u.T.unflatten(0, (2, -1))), self.starts, out)

    def mix_back(self, grad: Tensor, x: Tensor, kernels: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, the kernels and U, from that of `mix`."""
        grad, x, kernels, u = map(_array, (grad, x, kernels, u.unflatten(1, (2, -1))))
        to_x, to_kernels = np.empty_like(x), np.zeros_like(kernels)
        to_u = np.zeros((torch.get_num_threads(), *u.shape), np.float32)
        self._by_length(loops.mix_back, grad, kernels, u, self.starts, to_x)
        self._by_length(loops.mix_weights, grad, x, kernels, u, self.starts, to_kernels, each=to_u)
        found = (to_x, to_kernels, to_u.sum(0).reshape(len(u), -1))
        return tuple(map(torch.from_numpy, found))

    def gate(self, mixed: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Waves of a ⊙ SiLU(b), (a, b) = fields of `mixed` + c: (B·m, 2C) → (B·m, C); fields without c."""
        states, channels = len(mixed) // self.size, mixed.shape[1]
        fields, inner = self._states(states, channels), self._states(states, channels // 2)
        self._scattered(_array(mixed), self.loose, fields)
        calls = [(self.loose, x, _array(c), to) for x, to in zip(fields, inner, strict=True)]
        self._in_parts(loops.gated, calls, self.grid[0])
        return self._gathered(self.loose, inner), torch.from_numpy(fields)

    def gate_back(self, grad: Tensor, fields: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of `mixed` and c from that of the waves."""
        states, channels = len(fields), grad.shape[1]
        back, out = self._states(states, channels), self._states(states, 2 * channels)
        to_c = np.zeros((states, self.grid[0], 2 * channels), np.float32)
        self._scattered(_array(grad), self.loose, back)
        parts = zip(back, fields.numpy(), out, to_c, strict=True)
        calls = [(self.loose, g, x, _array(c), o, t) for g, x, o, t in parts]
        self._in_parts(loops.gated_back, calls, self.grid[0])
        return self._gathered(self.loose, out), torch.from_numpy(to_c.sum((0, 1)))

    def _states(self, number: int, channels: int) -> np.ndarray:
        """Memory for states, (number, rows, C)."""
        rows = self.grid[0] * self.loose[0]
        return loops.aligned(number * rows * channels).reshape(number, rows, channels)

    def block(self, x: Tensor, kernels: Tensor, u: Tensor, c: Tensor, v: Tensor) -> Tensor:
        """`Gated` without gradients of one state, written over x; what is between has its place in cache."""
        wide, fields, inner = self._places(len(c))
        self._mix(_array(x), kernels, u, wide)
        self._scattered(wide, self.loose, fields)
        self._in_parts(loops.gated, [(self.loose, fields[0], _array(c), inner[0])], self.grid[0])
        waves = wide.reshape(2, self.size, -1)[0]
        waves[self.empty] = 0
        self._in_parts(loops.across_back, [(self.loose, self.rows, inner[0], waves)], len(self.rows))
        weights = _array(v.T.unflatten(1, (-1, LANES)).transpose(0, 1))
        cuts = _cuts(np.arange(self.size // ROWS + 1), torch.get_num_threads())
        at_once([partial(loops.add_product, _array(x), waves, weights, *cut) for cut in pairwise(cuts)])
        return x

    def _places(self, channels: int) -> tuple[np.ndarray, ...]:
        """Memory of this thread for `block`: amplitudes (m, 2C), a state of 2C and one of C channels."""
        key = (self.grid, self.size, channels)
        if getattr(_kept, "key", None) != key:
            wide = loops.aligned(self.size * channels).reshape(self.size, channels)
            _kept.key, _kept.places = key, (wide, self._states(1, channels), self._states(1, channels // 2))
        return _kept.places


_kept = threading.local()


def _cuts(starts: np.ndarray, parts: int) -> list[int]:
    """Where to cut things that begin at `starts`, ascending from 0, into parts of about the same size."""
    if parts == 1:
        return [0, len(starts) - 1]
    return sorted({int(cut) for cut in np.searchsorted(starts, np.linspace(0, starts[-1], parts + 1))})


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
