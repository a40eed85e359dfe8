"""Real waves on a processor, in compiled loops (numba).

A line of points is transformed in registers: sums and differences of points that mirror each other, then what
the matrix leaves to do, a quarter of it, written out number by number. Waves are in order of their length: all
of one length share kernels, so that these and U make one matrix, which is used while it is in cache.
    Amplitudes (B·m, C) in float32, C a multiple of LANES; m counts rows of zeros as well, which fill up every
    length to a multiple of ROWS. A grid is a tuple of as many zeros as points for each axis: numba compiles
    by types. All is in one file since numba looks at no other when it decides whether what it kept is good.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from torch import Tensor
from torch.nn import functional

from engine.kernels import SETTINGS, exponential
from engine.threads import at_once
from engine.waves import Basis, real_waves

FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")  # what numba compiles for
ROWS, LANES = (8, 32) if "+avx512f" in FEATURES else (4, 16)
"""Of a product's tile, as registers allow."""
LINE = 16
"""Channels of a line of points, side by side."""
INT, WORD, FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
FUSED = ("contract",)
f4 = np.float32


def stages(points: int) -> tuple[list[list[tuple[int, int]]], np.ndarray]:
    """Two rounds of pairs (i, j), each to become (xᵢ + xⱼ, xᵢ − xⱼ), and the matrix that follows them.

    Points mirror each other in the first, then in a quarter of the line.
    """
    half, matrix = points // 2, real_waves(points)[0].numpy().copy()
    rounds = [[(j, points - j) for j in range(1, (points + 1) // 2)], []]
    if points % 2 == 0:
        mirrored = [(j, half - j) for j in range((half + 1) // 2)]
        rounds[1] = mirrored + [(points - i, points - j) for i, j in mirrored[1:]]
    for i, j in rounds[0] + rounds[1]:
        matrix[:, [i, j]] = matrix[:, [i, j]] @ [[0.5, 0.5], [0.5, -0.5]]
    return rounds, np.where(abs(matrix) < 1e-12, 0, matrix)


def _paired(b: ir.IRBuilder, pairs: list[tuple[int, int]], values: list[ir.Value]) -> list[ir.Value]:
    values = list(values)
    for i, j in pairs:
        values[i], values[j] = b.fadd(values[i], values[j]), b.fsub(values[i], values[j])
    return values


def _multiplied(b: ir.IRBuilder, matrix: np.ndarray, values: list[ir.Value]) -> list[ir.Value]:
    sums = []
    for row in matrix:
        total = None
        for number, value in zip(row, values, strict=True):
            if number:
                term = b.fmul(ir.Constant(value.type, [float(f4(number))] * LINE), value, flags=FUSED)
                total = term if total is None else b.fadd(total, term, flags=FUSED)
        sums.append(total)
    return sums


def _pointer(b: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    return b.inttoptr(address, kind.as_pointer())


def _everywhere(b: ir.IRBuilder, number: ir.Value, lanes: int = LANES) -> ir.Value:
    """A vector of the same number."""
    nothing = ir.Constant(ir.VectorType(FLOAT, lanes), ir.Undefined)
    first = ir.Constant(ir.VectorType(INT, lanes), None)
    return b.shuffle_vector(b.insert_element(nothing, number, INT(0)), nothing, first)


def _line(inverse: bool) -> Callable:
    """Of LINE channels: `line(axis, out, to, x, of)`, where `to` and `of` are tables of points' offsets."""

    def write(b: ir.IRBuilder, points: int, out: ir.Value, to: ir.Value, x: ir.Value, of: ir.Value) -> None:
        def place(base: ir.Value, table: ir.Value, k: int) -> ir.Value:
            offset = b.load(_pointer(b, b.add(table, WORD(8 * k)), WORD))
            return _pointer(b, b.add(base, offset), ir.VectorType(FLOAT, LINE))

        rounds, matrix = stages(points)
        values = [b.load(place(x, of, k), align=4) for k in range(points)]
        if inverse:
            values = _multiplied(b, matrix.T, values)
        for pairs in rounds[::-1] if inverse else rounds:
            values = _paired(b, pairs, values)
        if not inverse:
            values = _multiplied(b, matrix, values)
        for k, value in enumerate(values):
            b.store(value, place(out, to, k), align=4)

    @intrinsic
    def line(context, axis, out, to, x, of):  # noqa: ANN001, ANN202 (numba's)
        def generate(context: object, b: ir.IRBuilder, signature: object, args: list) -> ir.Constant:
            write(b, axis.count, *args[1:])
            return context.get_dummy_value()

        return types.void(axis, out, to, x, of), generate

    return line


_forward, _inverse = _line(False), _line(True)


@intrinsic
def _tile(context, out, out_step, a, row, step, b, b_step, inputs, add):  # noqa: ANN001, ANN202
    """Σₖ a[r, k] b[k] to ROWS rows of LANES numbers, all by addresses and steps in bytes; `add`: on top."""
    vector = ir.VectorType(FLOAT, LANES)

    def generate(context: object, builder: ir.IRBuilder, signature: object, args: list) -> ir.Constant:
        out, out_step, a, row, step, b, b_step, inputs, add = args
        outputs = [builder.add(out, builder.mul(out_step, WORD(r))) for r in range(ROWS)]
        outputs = [_pointer(builder, at, vector) for at in outputs]
        factors = [builder.add(a, builder.mul(row, WORD(r))) for r in range(ROWS)]
        adds, zero = builder.icmp_unsigned("!=", add, add.type(0)), ir.Constant(vector, None)
        starts = [builder.select(adds, builder.load(at, align=4), zero) for at in outputs]
        sums = [cgutils.alloca_once_value(builder, start) for start in starts]
        with cgutils.for_range(builder, inputs) as loop:
            at = builder.add(b, builder.mul(b_step, loop.index))
            numbers = builder.load(_pointer(builder, at, vector), align=4)
            for factor, total in zip(factors, sums, strict=True):
                at = builder.add(factor, builder.mul(step, loop.index))
                one = _everywhere(builder, builder.load(_pointer(builder, at, FLOAT)))
                term = builder.fmul(one, numbers, flags=FUSED)
                builder.store(builder.fadd(term, builder.load(total), flags=FUSED), total)
        for at, total in zip(outputs, sums, strict=True):
            builder.store(builder.load(total), at, align=4)
        return context.get_dummy_value()

    return types.void(out, out_step, a, row, step, b, b_step, inputs, add), generate


@intrinsic
def _blend(context, out, p, x, q, y):  # noqa: ANN001, ANN202
    """Out = p x + q y, LANES numbers; a loop of so few does not become vectors by itself."""
    vector = ir.VectorType(FLOAT, LANES)

    def generate(context: object, b: ir.IRBuilder, signature: object, args: list) -> ir.Constant:
        out, p, x, q, y = args
        terms = [
            b.fmul(_everywhere(b, factor), b.load(_pointer(b, at, vector), align=4), flags=FUSED)
            for factor, at in ((p, x), (q, y))
        ]
        b.store(b.fadd(*terms, flags=FUSED), _pointer(b, out, vector), align=4)
        return context.get_dummy_value()

    return types.void(out, p, x, q, y), generate


@intrinsic
def _accumulate(context, out, x, y):  # noqa: ANN001, ANN202
    """Out += x y, LANES numbers."""
    vector = ir.VectorType(FLOAT, LANES)

    def generate(context: object, b: ir.IRBuilder, signature: object, args: list) -> ir.Constant:
        out, x, y = (_pointer(b, at, vector) for at in args)
        term = b.fmul(b.load(x, align=4), b.load(y, align=4), flags=FUSED)
        b.store(b.fadd(term, b.load(out, align=4), flags=FUSED), out, align=4)
        return context.get_dummy_value()

    return types.void(out, x, y), generate


@njit(**SETTINGS)
def _steps(step: int, count: int) -> np.ndarray:
    return np.arange(count) * step


@njit(**SETTINGS)
def across(
    grid: tuple, steps: tuple, rows: np.ndarray, x: np.ndarray, out: np.ndarray, first: int, last: int
) -> None:
    """Amplitudes (m, C) → the same along y and z only, lines along x `first` to `last` of ny·nz.

    `rows` (ny·nz, nx) are those of the waves; point (i, j, k) of `out` is in row i·steps[0] + j·steps[1] + k.
    """
    nx, nz, number = len(grid[0]), len(grid[2]), 4 * x.shape[1]
    points, table = _steps(steps[0] * number, nx), np.empty(nx, np.int64)
    a, o, to, of = x.ctypes.data, out.ctypes.data, points.ctypes.data, table.ctypes.data
    for k in range(first, last):
        for i in range(nx):
            table[i] = rows[k, i] * number
        at = o + (k // nz * steps[1] + k % nz) * number
        for c in range(0, number, 4 * LINE):
            _inverse(grid[0], at + c, to, a + c, of)


@njit(**SETTINGS)
def across_back(
    grid: tuple, steps: tuple, rows: np.ndarray, x: np.ndarray, out: np.ndarray, first: int, last: int
) -> None:
    """The inverse of `across`: a state → amplitudes (m, C)."""
    nx, nz, number = len(grid[0]), len(grid[2]), 4 * x.shape[1]
    points, table = _steps(steps[0] * number, nx), np.empty(nx, np.int64)
    a, o, of, to = x.ctypes.data, out.ctypes.data, points.ctypes.data, table.ctypes.data
    for k in range(first, last):
        for i in range(nx):
            table[i] = rows[k, i] * number
        at = a + (k // nz * steps[1] + k % nz) * number
        for c in range(0, number, 4 * LINE):
            _forward(grid[0], o + c, to, at + c, of)


@njit(**SETTINGS)
def within(grid: tuple, steps: tuple, x: np.ndarray, first: int, last: int) -> None:
    """Waves along y and z → points, in planes `first` to `last` of a state."""
    ny, nz, number = len(grid[1]), len(grid[2]), 4 * x.shape[1]
    of_y, of_z = _steps(steps[1] * number, ny), _steps(number, nz)
    a, y, z = x.ctypes.data, of_y.ctypes.data, of_z.ctypes.data
    for i in range(first, last):
        plane = a + i * steps[0] * number
        for at in range(plane, plane + nz * number, 4 * LINE):
            _inverse(grid[1], at, y, at, y)
        for j in range(ny):
            line = plane + j * steps[1] * number
            for at in range(line, line + number, 4 * LINE):
                _inverse(grid[2], at, z, at, z)


@njit(**SETTINGS)
def within_back(grid: tuple, steps: tuple, x: np.ndarray, first: int, last: int) -> None:
    """The inverse of `within`."""
    ny, nz, number = len(grid[1]), len(grid[2]), 4 * x.shape[1]
    of_y, of_z = _steps(steps[1] * number, ny), _steps(number, nz)
    a, y, z = x.ctypes.data, of_y.ctypes.data, of_z.ctypes.data
    for i in range(first, last):
        plane = a + i * steps[0] * number
        for j in range(ny):
            line = plane + j * steps[1] * number
            for at in range(line, line + number, 4 * LINE):
                _forward(grid[2], at, z, at, z)
        for at in range(plane, plane + nz * number, 4 * LINE):
            _forward(grid[1], at, y, at, y)


@njit(**SETTINGS)
def gated(
    grid: tuple, steps: tuple, fields: np.ndarray, c: np.ndarray, out: np.ndarray, first: int, last: int
) -> None:
    """Planes of (a, b), 2C channels, to points, and a ⊙ SiLU(b), (a, b) + c, of them back to waves."""
    channels = out.shape[1]
    for i in range(first, last):
        within(grid, steps, fields, i, i + 1)
        for j in range(len(grid[1])):
            row = i * steps[0] + j * steps[1]
            for r in range(row, row + len(grid[2])):
                for l in range(channels):
                    value, gate = fields[r, l] + c[l], fields[r, channels + l] + c[channels + l]
                    out[r, l] = value * gate / (f4(1) + exponential(-gate))
        within_back(grid, steps, out, i, i + 1)


@njit(**SETTINGS)
def gated_back(
    grid: tuple,
    steps: tuple,
    grad: np.ndarray,
    fields: np.ndarray,
    c: np.ndarray,
    out: np.ndarray,
    to_c: np.ndarray,  # (nx, 2C)
    first: int,
    last: int,
) -> None:
    """From the gradient of what `gated` returns, C channels, that of its fields and of c, by planes."""
    channels = grad.shape[1]
    for i in range(first, last):
        within(grid, steps, grad, i, i + 1)
        for j in range(len(grid[1])):
            row = i * steps[0] + j * steps[1]
            for r in range(row, row + len(grid[2])):
                for l in range(channels):
                    value, gate = fields[r, l] + c[l], fields[r, channels + l] + c[channels + l]
                    share = f4(1) / (f4(1) + exponential(-gate))
                    silu = gate * share
                    out[r, l] = grad[r, l] * silu
                    out[r, channels + l] = grad[r, l] * value * (share + silu * (f4(1) - share))
                for l in range(2 * channels):
                    to_c[i, l] += out[r, l]
        within_back(grid, steps, out, i, i + 1)


@njit("(f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], f4[:,::1], i8, i8)", **SETTINGS)
def mix(
    x: np.ndarray,  # (B·m, C)
    kernels: np.ndarray,  # (lengths, 2, C)
    u: np.ndarray,  # (2, C, O)
    starts: np.ndarray,  # (lengths + 1,): the first row of a length
    out: np.ndarray,  # (B·m, O)
    first: int,
    last: int,
) -> None:
    """Out = U·(k x) in the rows of lengths `first` to `last`."""
    channels, outputs, rows = u.shape[1], u.shape[2], starts[-1]
    matrix = np.empty((channels, LANES), f4)
    a, o, w, t = x.ctypes.data, out.ctypes.data, u.ctypes.data, matrix.ctypes.data
    for g in range(first, last):
        for part in range(0, outputs, LANES):
            for i in range(channels):
                one, two = w + 4 * (i * outputs + part), w + 4 * ((channels + i) * outputs + part)
                _blend(t + 4 * LANES * i, kernels[g, 0, i], one, kernels[g, 1, i], two)
            for state in range(0, x.shape[0], rows):
                for r in range(state + starts[g], state + starts[g + 1], ROWS):
                    to, of = o + 4 * (r * outputs + part), a + 4 * r * channels
                    _tile(to, 4 * outputs, of, 4 * channels, 4, t, 4 * LANES, channels, False)


@njit("(f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], f4[:,::1], i8, i8)", **SETTINGS)
def mix_back(
    grad: np.ndarray,  # (B·m, O)
    kernels: np.ndarray,
    u: np.ndarray,  # (O, 2, C)
    starts: np.ndarray,
    out: np.ndarray,  # (B·m, C)
    first: int,
    last: int,
) -> None:
    """Gradient of x from that of `mix`."""
    outputs, channels, rows = u.shape[0], u.shape[2], starts[-1]
    matrix = np.empty((outputs, LANES), f4)
    a, o, w, k, t = grad.ctypes.data, out.ctypes.data, u.ctypes.data, kernels.ctypes.data, matrix.ctypes.data
    for g in range(first, last):
        for part in range(0, channels, LANES):
            matrix[:] = 0
            for j in range(outputs):
                for kind in range(2):
                    kernel, weight = (2 * g + kind) * channels + part, (2 * j + kind) * channels + part
                    _accumulate(t + 4 * LANES * j, k + 4 * kernel, w + 4 * weight)
            for state in range(0, grad.shape[0], rows):
                for r in range(state + starts[g], state + starts[g + 1], ROWS):
                    to, of = o + 4 * (r * channels + part), a + 4 * r * outputs
                    _tile(to, 4 * channels, of, 4 * outputs, 4, t, 4 * LANES, outputs, False)


@njit(
    "(f4[:,::1], f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], f4[:,:,::1], f4[:,:,::1], i8, i8)", **SETTINGS
)
def mix_weights(
    grad: np.ndarray,
    x: np.ndarray,
    kernels: np.ndarray,
    u: np.ndarray,  # (O, 2, C)
    starts: np.ndarray,
    to_kernels: np.ndarray,
    to_u: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Add to the gradients of kernels and U what lengths `first` to `last` have to say."""
    outputs, channels, rows = grad.shape[1], x.shape[1], starts[-1]
    tile = np.empty((ROWS, LANES), f4)
    a, b, t = grad.ctypes.data, x.ctypes.data, tile.ctypes.data
    weights, to_weights, ks, to_ks = (
        u.ctypes.data,
        to_u.ctypes.data,
        kernels.ctypes.data,
        to_kernels.ctypes.data,
    )
    for g in range(first, last):
        count = starts[g + 1] - starts[g]
        for i in range(0, channels, LANES):
            for o in range(0, outputs, ROWS):
                for state in range(0, x.shape[0], rows):
                    r = state + starts[g]
                    of, by = a + 4 * (r * outputs + o), b + 4 * (r * channels + i)
                    _tile(t, 4 * LANES, of, 4, 4 * outputs, by, 4 * channels, count, state > 0)
                for j in range(ROWS):
                    for kind in range(2):
                        weight = 4 * ((2 * (o + j) + kind) * channels + i)
                        kernel = 4 * ((2 * g + kind) * channels + i)
                        _accumulate(to_weights + weight, ks + kernel, t + 4 * LANES * j)
                        _accumulate(to_ks + kernel, weights + weight, t + 4 * LANES * j)


@njit("(f4[:,::1], f4[:,::1], f4[:,:,::1], i8, i8)", **SETTINGS)
def add_product(out: np.ndarray, x: np.ndarray, v: np.ndarray, first: int, last: int) -> None:
    """Out += x·V in blocks of ROWS rows, `first` to `last`, of (m, C); V as (C / LANES, C, LANES)."""
    channels = x.shape[1]
    a, o, w = x.ctypes.data, out.ctypes.data, v.ctypes.data
    for r in range(ROWS * first, ROWS * last, ROWS):
        for part in range(v.shape[0]):
            to, by = o + 4 * (r * channels + part * LANES), w + 4 * part * channels * LANES
            _tile(to, 4 * channels, a + 4 * r * channels, 4 * channels, 4, by, 4 * LANES, channels, True)


class QuickBasis(Basis):
    """`Basis` on a processor; `shares` are those of lengths, not of single waves."""

    multiple = LINE

    def __init__(self, hats: Tensor) -> None:
        super().__init__(hats)
        _, one, length = np.unique(
            self.shares.numpy().round(6), axis=0, return_index=True, return_inverse=True
        )
        self.shares, self.points = self.shares[one], math.prod(self.grid)
        counts, order = np.bincount(length.ravel()), np.argsort(length.ravel(), kind="stable")
        self.starts = np.concatenate([[0], np.cumsum(-(-counts // ROWS) * ROWS)])
        rows = np.empty(self.points, np.int64)
        rows[order] = np.repeat(self.starts[:-1] - np.cumsum(counts) + counts, counts) + np.arange(
            self.points
        )
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
        self._in_parts(within_back, [(self.dense, x) for x in states], self.grid[0])
        return self._gathered(self.dense, states)

    def _gathered(self, steps: tuple[int, int], states: np.ndarray) -> Tensor:
        """The end of a transform to waves."""
        out = np.empty((len(states), self.size, states.shape[2]), f4)
        out[:, self.empty] = 0
        calls = [(steps, self.rows, *pair) for pair in zip(states, out, strict=True)]
        self._in_parts(across_back, calls, len(self.rows))
        return torch.from_numpy(out).flatten(0, 1)

    def to_points(self, amplitudes: Tensor) -> Tensor:
        """The inverse, which is the transpose."""
        channels = amplitudes.shape[1]
        if channels % LINE or torch.is_grad_enabled():
            return super().to_points(amplitudes.view(-1, self.size, channels)[:, self.row].flatten(0, 1))
        out = np.empty((len(amplitudes) // self.size, self.points, channels), f4)
        self._scattered(_array(amplitudes), self.dense, out)
        self._in_parts(within, [(self.dense, x) for x in out], self.grid[0])
        return torch.from_numpy(out).flatten(0, 1)

    def _scattered(self, amplitudes: np.ndarray, steps: tuple[int, int], states: np.ndarray) -> None:
        """The beginning of a transform to points."""
        waves = amplitudes.reshape(-1, self.size, amplitudes.shape[1])
        calls = [(steps, self.rows, *pair) for pair in zip(waves, states, strict=True)]
        self._in_parts(across, calls, len(self.rows))

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
        self._by_length(mix, x, _array(kernels), _array(u.T.unflatten(0, (2, -1))), self.starts, out)

    def mix_back(self, grad: Tensor, x: Tensor, kernels: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, the kernels and U, from that of `mix`."""
        grad, x, kernels, u = map(_array, (grad, x, kernels, u.unflatten(1, (2, -1))))
        to_x, to_kernels = np.empty_like(x), np.zeros_like(kernels)
        to_u = np.zeros((torch.get_num_threads(), *u.shape), f4)
        self._by_length(mix_back, grad, kernels, u, self.starts, to_x)
        self._by_length(mix_weights, grad, x, kernels, u, self.starts, to_kernels, each=to_u)
        found = (to_x, to_kernels, to_u.sum(0).reshape(len(u), -1))
        return tuple(map(torch.from_numpy, found))

    def gate(self, mixed: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Waves of a ⊙ SiLU(b), (a, b) = fields of `mixed` + c: (B·m, 2C) → (B·m, C); fields without c."""
        states, channels = len(mixed) // self.size, mixed.shape[1]
        fields, inner = self._states(states, channels), self._states(states, channels // 2)
        self._scattered(_array(mixed), self.loose, fields)
        self._in_parts(
            gated, [(self.loose, x, _array(c), to) for x, to in zip(fields, inner, strict=True)], self.grid[0]
        )
        return self._gathered(self.loose, inner), torch.from_numpy(fields)

    def gate_back(self, grad: Tensor, fields: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of `mixed` and c from that of the waves."""
        states, channels = len(fields), grad.shape[1]
        back, out = self._states(states, channels), self._states(states, 2 * channels)
        to_c = np.zeros((states, self.grid[0], 2 * channels), f4)
        self._scattered(_array(grad), self.loose, back)
        parts = zip(back, fields.numpy(), out, to_c, strict=True)
        self._in_parts(
            gated_back, [(self.loose, g, x, _array(c), o, t) for g, x, o, t in parts], self.grid[0]
        )
        return self._gathered(self.loose, out), torch.from_numpy(to_c.sum((0, 1)))

    def _states(self, number: int, channels: int) -> np.ndarray:
        """Memory for states, (number, rows, C)."""
        rows = self.grid[0] * self.loose[0]
        return _aligned(number * rows * channels).reshape(number, rows, channels)

    def block(self, x: Tensor, kernels: Tensor, u: Tensor, c: Tensor, v: Tensor) -> Tensor:
        """`Gated` without gradients of one state, written over x; what comes between has its place in cache."""
        wide, fields, inner = self._places(len(c))
        self._mix(_array(x), kernels, u, wide)
        self._scattered(wide, self.loose, fields)
        self._in_parts(gated, [(self.loose, fields[0], _array(c), inner[0])], self.grid[0])
        waves = wide.reshape(2, self.size, -1)[0]
        waves[self.empty] = 0
        self._in_parts(across_back, [(self.loose, self.rows, inner[0], waves)], len(self.rows))
        weights = _array(v.T.unflatten(1, (-1, LANES)).transpose(0, 1))
        cuts = _cuts(np.arange(self.size // ROWS + 1), torch.get_num_threads())
        at_once([partial(add_product, _array(x), waves, weights, *cut) for cut in pairwise(cuts)])
        return x

    def _places(self, channels: int) -> tuple[np.ndarray, ...]:
        """This thread's memory for `block`: amplitudes (m, 2C), a state of 2C and one of C channels."""
        key = (self.grid, self.size, channels)
        if getattr(_kept, "key", None) != key:
            wide = _aligned(self.size * channels).reshape(self.size, channels)
            _kept.key, _kept.places = key, (wide, self._states(1, channels), self._states(1, channels // 2))
        return _kept.places


_kept = threading.local()


def _aligned(size: int) -> np.ndarray:
    """Float32 numbers from a 64-byte boundary on."""
    room = np.empty(size + 16, f4)
    return room[-room.ctypes.data % 64 // 4 :][:size]


def _cuts(starts: np.ndarray, parts: int) -> list[int]:
    """Where to cut things that begin at `starts`, ascending from 0, into parts of about the same size."""
    return sorted({int(cut) for cut in np.searchsorted(starts, np.linspace(0, starts[-1], parts + 1))})


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
