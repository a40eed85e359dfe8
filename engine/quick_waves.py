"""Real waves on a processor, as compiled loops (numba): transforms in registers, one matrix for waves alike.

A line of points is transformed in one go, as sums and differences of points that mirror each other and what
is left of the matrix then, a quarter of it, written out number by number. Waves are kept in order of their
length: all of one length share kernels, so that U and those make one matrix, used while it is in cache.
    Fields (B·n, C) and amplitudes (B·m, C) in float32, C a multiple of LANES; m counts some rows of zeros that
    fill every length up to a multiple of ROWS. A grid is a tuple of as many zeros as points for each axis,
    since numba compiles by types.
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
"""Channels of a line, side by side."""
INT, WORD, FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
f4 = np.float32


def stages(points: int) -> tuple[list[list[tuple[int, int]]], np.ndarray]:
    """Two rounds of pairs (i, j), each to become (xᵢ + xⱼ, xᵢ − xⱼ), and the matrix that follows them.

    Points mirror each other in 0, then in a quarter of the line.
    """
    half, matrix = points // 2, real_waves(points)[0].numpy()
    rounds = [[(j, points - j) for j in range(1, (points + 1) // 2)], []]
    if points % 2 == 0:
        mirrored = [(j, half - j) for j in range((half + 1) // 2)]
        rounds[1] = mirrored + [(points - i, points - j) for i, j in mirrored[1:]]
    for pairs in rounds:
        for i, j in pairs:
            matrix[:, [i, j]] = (matrix[:, [i, j]] @ [[1, 1], [1, -1]]) / 2
    return rounds, np.where(abs(matrix) < 1e-12, 0, matrix)


def _pairs(b: ir.IRBuilder, pairs: list[tuple[int, int]], values: list[ir.Value]) -> list[ir.Value]:
    values = list(values)
    for i, j in pairs:
        values[i], values[j] = b.fadd(values[i], values[j]), b.fsub(values[i], values[j])
    return values


def _product(b: ir.IRBuilder, matrix: np.ndarray, values: list[ir.Value]) -> list[ir.Value]:
    sums = []
    for row in matrix:
        total = None
        for number, value in zip(row, values, strict=True):
            if number:
                term = b.fmul(ir.Constant(value.type, [float(f4(number))] * LINE), value, flags=("contract",))
                total = term if total is None else b.fadd(total, term, flags=("contract",))
        sums.append(total)
    return sums


def _pointer(b: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    return b.inttoptr(address, kind.as_pointer())


def _line(inverse: bool) -> Callable:
    """Lines of LINE channels: `line(grid, out, out_steps, x, x_steps)`, the last being tables of offsets."""

    def write(b: ir.IRBuilder, points: int, out: ir.Value, to: ir.Value, x: ir.Value, of: ir.Value) -> None:
        vector = ir.VectorType(FLOAT, LINE)

        def place(base: ir.Value, table: ir.Value, k: int) -> ir.Value:
            offset = b.load(_pointer(b, b.add(table, WORD(8 * k)), WORD))
            return _pointer(b, b.add(base, offset), vector)

        rounds, matrix = stages(points)
        values = [b.load(place(x, of, k), align=4) for k in range(points)]
        if inverse:
            values = _product(b, matrix.T, values)
            rounds = rounds[::-1]
        for pairs in rounds:
            values = _pairs(b, pairs, values)
        if not inverse:
            values = _product(b, matrix, values)
        for k, value in enumerate(values):
            b.store(value, place(out, to, k), align=4)

    @intrinsic
    def line(context, grid, out, to, x, of):  # noqa: ANN001, ANN202 (numba's)
        def generate(context: object, b: ir.IRBuilder, signature: object, args: list) -> ir.Constant:
            write(b, grid.count, *args[1:])
            return context.get_dummy_value()

        return types.void(grid, out, to, x, of), generate

    return line


_forward, _inverse = _line(False), _line(True)


@njit(**SETTINGS)
def _offsets(step: int, count: int) -> np.ndarray:
    return np.arange(count) * step


@njit(**SETTINGS)
def across(grid: tuple, rows: np.ndarray, x: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """Amplitudes (m, C) → the same along y and z only (n, C), in lines along x, `first` to `last` of ny·nz.

    `rows` (ny·nz, nx) are those of the waves. The inverse transform begins so, and `within` ends it.
    """
    count, number = len(grid[0]), 4 * x.shape[1]
    steps, table = _offsets(rows.shape[0] * number, count), np.empty(count, np.int64)
    a, o, to, of = x.ctypes.data, out.ctypes.data, steps.ctypes.data, table.ctypes.data
    for k in range(first, last):
        for i in range(count):
            table[i] = rows[k, i] * number
        for c in range(0, number, 4 * LINE):
            _inverse(grid[0], o + k * number + c, to, a + c, of)


@njit(**SETTINGS)
def across_back(grid: tuple, rows: np.ndarray, x: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """The inverse of `across`: the end of a transform to waves."""
    count, number = len(grid[0]), 4 * x.shape[1]
    steps, table = _offsets(rows.shape[0] * number, count), np.empty(count, np.int64)
    a, o, to, of = x.ctypes.data, out.ctypes.data, table.ctypes.data, steps.ctypes.data
    for k in range(first, last):
        for i in range(count):
            table[i] = rows[k, i] * number
        for c in range(0, number, 4 * LINE):
            _forward(grid[0], o + c, to, a + k * number + c, of)


@njit(**SETTINGS)
def within(grid: tuple, x: np.ndarray, first: int, last: int) -> None:
    """Waves along y and z → points, (n, C) in place, in planes `first` to `last` of nx."""
    ny, nz, number = len(grid[1]), len(grid[2]), 4 * x.shape[1]
    y, z = _offsets(nz * number, ny), _offsets(number, nz)
    a, along_y, along_z = x.ctypes.data, y.ctypes.data, z.ctypes.data
    for i in range(first, last):
        plane = a + i * ny * nz * number
        for at in range(plane, plane + nz * number, 4 * LINE):
            _inverse(grid[1], at, along_y, at, along_y)
        for line in range(plane, plane + ny * nz * number, nz * number):
            for at in range(line, line + number, 4 * LINE):
                _inverse(grid[2], at, along_z, at, along_z)


@njit(**SETTINGS)
def within_back(grid: tuple, x: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """The inverse of `within`, from (n, C) to another."""
    ny, nz, number = len(grid[1]), len(grid[2]), 4 * x.shape[1]
    y, z = _offsets(nz * number, ny), _offsets(number, nz)
    a, o, along_y, along_z = x.ctypes.data, out.ctypes.data, y.ctypes.data, z.ctypes.data
    for i in range(first, last):
        plane = i * ny * nz * number
        for line in range(plane, plane + ny * nz * number, nz * number):
            for at in range(line, line + number, 4 * LINE):
                _forward(grid[2], o + at, along_z, a + at, along_z)
        for at in range(o + plane, o + plane + nz * number, 4 * LINE):
            _forward(grid[1], at, along_y, at, along_y)


@intrinsic
def _tile(context, out, out_step, a, row, step, b, b_step, inputs, add):  # noqa: ANN001, ANN202
    """Σₖ a[r, k] b[k] to ROWS rows of LANES numbers, all by addresses and steps in bytes; `add` (bool): on top."""
    vector, fused = ir.VectorType(FLOAT, LANES), ("contract",)
    nothing, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(INT, LANES), None)

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
                one = builder.insert_element(nothing, builder.load(_pointer(builder, at, FLOAT)), INT(0))
                term = builder.fmul(builder.shuffle_vector(one, nothing, first), numbers, flags=fused)
                builder.store(builder.fadd(term, builder.load(total), flags=fused), total)
        for at, total in zip(outputs, sums, strict=True):
            builder.store(builder.load(total), at, align=4)
        return context.get_dummy_value()

    return types.void(out, out_step, a, row, step, b, b_step, inputs, add), generate


@intrinsic
def _blend(context, out, p, x, q, y):  # noqa: ANN001, ANN202
    """Out = p x + q y, LANES numbers; the loop itself would not become vectors."""
    vector, fused = ir.VectorType(FLOAT, LANES), ("contract",)
    nothing, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(INT, LANES), None)

    def generate(context: object, b: ir.IRBuilder, signature: object, args: list) -> ir.Constant:
        out, p, x, q, y = args
        terms = []
        for factor, numbers in ((p, x), (q, y)):
            one = b.shuffle_vector(b.insert_element(nothing, factor, INT(0)), nothing, first)
            terms.append(b.fmul(one, b.load(_pointer(b, numbers, vector), align=4), flags=fused))
        b.store(b.fadd(*terms, flags=fused), _pointer(b, out, vector), align=4)
        return context.get_dummy_value()

    return types.void(out, p, x, q, y), generate


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


@intrinsic
def _accumulate(context, out, x, y):  # noqa: ANN001, ANN202
    """Out += x y, LANES numbers."""
    vector, fused = ir.VectorType(FLOAT, LANES), ("contract",)

    def generate(context: object, b: ir.IRBuilder, signature: object, args: list) -> ir.Constant:
        out, x, y = (_pointer(b, at, vector) for at in args)
        term = b.fmul(b.load(x, align=4), b.load(y, align=4), flags=fused)
        b.store(b.fadd(term, b.load(out, align=4), flags=fused), out, align=4)
        return context.get_dummy_value()

    return types.void(out, x, y), generate


@njit("(f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], f4[:,::1], i8, i8)", **SETTINGS)
def mix_back(
    grad: np.ndarray,  # (B·m, O)
    kernels: np.ndarray,  # (lengths, 2, C)
    u: np.ndarray,  # (O, 2, C)
    starts: np.ndarray,
    out: np.ndarray,  # (B·m, C)
    first: int,
    last: int,
) -> None:
    """Gradient of x from that of `mix`, in the rows of lengths `first` to `last`."""
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
    grad: np.ndarray,  # (B·m, O)
    x: np.ndarray,  # (B·m, C)
    kernels: np.ndarray,  # (lengths, 2, C)
    u: np.ndarray,  # (O, 2, C)
    starts: np.ndarray,
    to_kernels: np.ndarray,
    to_u: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Add to the gradients of kernels and U what lengths `first` to `last` have to say, from that of `mix`."""
    outputs, channels, rows = grad.shape[1], x.shape[1], starts[-1]
    tile = np.empty((ROWS, LANES), f4)
    a, b, t = grad.ctypes.data, x.ctypes.data, tile.ctypes.data
    for g in range(first, last):
        count = starts[g + 1] - starts[g]
        for state in range(0, x.shape[0], rows):
            r = state + starts[g]
            for i in range(0, channels, LANES):
                for o in range(0, outputs, ROWS):
                    of, by = a + 4 * (r * outputs + o), b + 4 * (r * channels + i)
                    _tile(t, 4 * LANES, of, 4, 4 * outputs, by, 4 * channels, count, False)
                    for j in range(ROWS):
                        for k in range(2):
                            weight, kernel = 4 * ((2 * (o + j) + k) * channels + i), 4 * ((2 * g + k) * channels + i)
                            term = t + 4 * LANES * j
                            _accumulate(to_u.ctypes.data + weight, kernels.ctypes.data + kernel, term)
                            _accumulate(to_kernels.ctypes.data + kernel, u.ctypes.data + weight, term)


@njit("(f4[:,::1], f4[::1], f4[:,::1], i8, i8)", **SETTINGS)
def gate(mixed: np.ndarray, c: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """Rows `first` to `last` of a ⊙ SiLU(b), (a, b) = mixed + c."""
    channels = out.shape[1]
    for i in range(first, last):
        for j in range(channels):
            value, gate = mixed[i, j] + c[j], mixed[i, channels + j] + c[channels + j]
            out[i, j] = value * gate / (f4(1) + exponential(-gate))


@njit("(f4[:,::1], f4[:,::1], f4[::1], f4[:,::1], i8, i8)", **SETTINGS)
def gate_back(
    grad: np.ndarray, mixed: np.ndarray, c: np.ndarray, out: np.ndarray, first: int, last: int
) -> None:
    """Rows of the gradient of `mixed` from that of `gate`."""
    channels = grad.shape[1]
    for i in range(first, last):
        for j in range(channels):
            value, gate = mixed[i, j] + c[j], mixed[i, channels + j] + c[channels + j]
            share = f4(1) / (f4(1) + exponential(-gate))
            silu = gate * share
            out[i, j] = grad[i, j] * silu
            out[i, channels + j] = grad[i, j] * value * (share + silu * (f4(1) - share))


@njit(**SETTINGS)
def gated_planes(
    grid: tuple, mixed: np.ndarray, c: np.ndarray, out: np.ndarray, first: int, last: int
) -> None:
    """`within`, `gate` and `within_back` plane by plane: (n, 2C), which is written over, → (n, C)."""
    plane = len(grid[1]) * len(grid[2])
    for i in range(first, last):
        within(grid, mixed, i, i + 1)
        gate(mixed, c, out, i * plane, (i + 1) * plane)
        within_back(grid, out, out, i, i + 1)


@njit("(f4[:,::1], f4[:,::1], f4[:,:,::1], i8, i8)", **SETTINGS)
def add_product(out: np.ndarray, x: np.ndarray, v: np.ndarray, first: int, last: int) -> None:
    """Out += x·V in rows `first` to `last` of (m, C), multiples of ROWS; V as (C / LANES, C, LANES)."""
    channels = x.shape[1]
    a, o, w = x.ctypes.data, out.ctypes.data, v.ctypes.data
    for r in range(first, last, ROWS):
        for part in range(v.shape[0]):
            to, of = o + 4 * (r * channels + part * LANES), w + 4 * part * channels * LANES
            _tile(to, 4 * channels, a + 4 * r * channels, 4 * channels, 4, of, 4 * LANES, channels, True)


class QuickBasis(Basis):
    """`Basis` on a processor; `shares` are those of lengths, not of single waves."""

    multiple = LINE

    def __init__(self, hats: Tensor) -> None:
        super().__init__(hats)
        _, one, length = np.unique(self.shares.numpy().round(6), axis=0, return_index=True, return_inverse=True)
        self.shares, self.points = self.shares[one], math.prod(self.grid)
        counts, order = np.bincount(length.ravel()), np.argsort(length.ravel(), kind="stable")
        self.starts = np.concatenate([[0], np.cumsum(-(-counts // ROWS) * ROWS)])
        rows = np.empty(self.points, np.int64)
        rows[order] = np.repeat(self.starts[:-1] - np.cumsum(counts) + counts, counts) + np.arange(self.points)
        self.rows = np.ascontiguousarray(rows.reshape(self.grid[0], -1).T)
        self.size, self.row = int(self.starts[-1]), torch.from_numpy(rows)
        self.wave = torch.full((self.size,), self.points).index_copy(0, self.row, torch.arange(self.points))
        self.empty = (self.wave == self.points).nonzero().flatten()
        self.planes, self.lines = self.grid[0], self.points // self.grid[0]
        self.sizes = tuple((0,) * points for points in self.grid)

    def to_waves(self, field: Tensor) -> Tensor:
        """(B·n, C) → amplitudes of the waves, (B·m, C)."""
        channels = field.shape[1]
        if channels % LINE:
            waves = super().to_waves(field).view(-1, self.points, channels)
            return functional.pad(waves, (0, 0, 0, 1))[:, self.wave].flatten(0, 1)
        out = field.new_empty(len(field) // self.points, self.size, channels)
        out[:, self.empty] = 0
        states = [[_array(x) for x in state] for state in zip(field.split(self.points), out, strict=True)]
        between = [np.empty_like(x) for x, _ in states]
        self._in_parts(within_back, [(x, t) for (x, _), t in zip(states, between, strict=True)], self.planes)
        self._in_parts(across_back, [(self.rows, t, o) for (_, o), t in zip(states, between, strict=True)], self.lines)
        return out.flatten(0, 1)

    def to_points(self, amplitudes: Tensor) -> Tensor:
        """The inverse, which is the transpose."""
        channels = amplitudes.shape[1]
        if channels % LINE:
            return super().to_points(amplitudes.view(-1, self.size, channels)[:, self.row].flatten(0, 1))
        out = amplitudes.new_empty(len(amplitudes) // self.size, self.points, channels)
        states = [[_array(x) for x in state] for state in zip(amplitudes.split(self.size), out, strict=True)]
        self._in_parts(across, [(self.rows, x, o) for x, o in states], self.lines)
        self._in_parts(within, [(o,) for _, o in states], self.planes)
        return out.flatten(0, 1)

    def _in_parts(self, function: Callable, states: list[tuple], things: int) -> None:
        """A function of so many lines or planes of every state, in parts that keep threads at work."""
        threads = torch.get_num_threads()
        cuts = _cuts(np.arange(things + 1), 1 if len(states) % threads == 0 else threads)
        at_once([partial(function, self.sizes, *state, *cut) for state in states for cut in pairwise(cuts)])

    def block(self, x: Tensor, kernels: Tensor, u: Tensor, c: Tensor, v: Tensor) -> Tensor:
        """`Basis.block` of one state, written over x; what lies between stays in the same memory."""
        a, b = _room(self.size, len(u))
        narrow = a.reshape(2, self.size, -1)
        inner, waves = narrow[0, : self.points], narrow[1]
        array, weights = _array(x), _array(v.T.unflatten(1, (-1, LANES)).transpose(0, 1))
        self._by_length(mix, array, *map(_array, (kernels, u.T.unflatten(0, (2, -1)))), self.starts, a)
        self._in_parts(across, [(self.rows, a, b[: self.points])], self.lines)
        self._in_parts(gated_planes, [(b[: self.points], _array(c), inner)], self.planes)
        waves[self.empty] = 0
        self._in_parts(across_back, [(self.rows, inner, waves)], self.lines)
        self._by_row(add_product, array, waves, weights)
        return x

    def mix(self, x: Tensor, kernels: Tensor, u: Tensor) -> Tensor:
        """U·(k x): amplitudes (B·m, C), two kernels of each channel (lengths, 2, C), U (O, 2C) → (B·m, O)."""
        out = x.new_empty(len(x), len(u))
        arrays = map(_array, (x, kernels, u.T.unflatten(0, (2, -1))))
        self._by_length(mix, *arrays, self.starts, _array(out))
        return out

    def mix_back(self, grad: Tensor, x: Tensor, kernels: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, the kernels and U, from that of `mix`."""
        grad, x, kernels, u = map(_array, (grad, x, kernels, u.unflatten(1, (2, -1))))
        to_x, to_kernels = np.empty_like(x), np.zeros_like(kernels)
        to_u = np.zeros((torch.get_num_threads(), *u.shape), f4)
        self._by_length(mix_back, grad, kernels, u, self.starts, to_x)
        self._by_length(mix_weights, grad, x, kernels, u, self.starts, to_kernels, each=to_u)
        found = (to_x, to_kernels, to_u.sum(0).reshape(len(u), -1))
        return tuple(map(torch.from_numpy, found))

    def _by_length(self, function: Callable, *fixed: np.ndarray, each: np.ndarray | None = None) -> None:
        """A function of lengths, in parts of the same work for each thread; `each` has something for each."""
        parts = pairwise(_cuts(self.starts, torch.get_num_threads()))
        own = [()] * torch.get_num_threads() if each is None else [(one,) for one in each]
        at_once([partial(function, *fixed, *mine, *part) for mine, part in zip(own, parts, strict=False)])

    def gate(self, mixed: Tensor, c: Tensor) -> Tensor:
        """a ⊙ SiLU(b) of (a, b) = mixed + c, fields (B·n, 2C) → (B·n, C)."""
        out = mixed.new_empty(len(mixed), len(c) // 2)
        self._by_row(gate, *map(_array, (mixed, c, out)))
        return out

    def gate_back(self, grad: Tensor, mixed: Tensor, c: Tensor) -> Tensor:
        """Gradient of `mixed` from that of `gate`."""
        out = torch.empty_like(mixed)
        self._by_row(gate_back, *map(_array, (grad, mixed, c, out)))
        return out

    def _by_row(self, function: Callable, *arrays: np.ndarray) -> None:
        cuts = [ROWS * cut for cut in _cuts(np.arange(len(arrays[0]) // ROWS + 1), torch.get_num_threads())]
        cuts[-1] = len(arrays[0])
        at_once([partial(function, *arrays, *part) for part in pairwise(cuts)])


def _cuts(starts: np.ndarray, parts: int) -> list[int]:
    """Where to cut things that begin at `starts`, ascending from 0, into parts of about the same size."""
    return sorted({int(cut) for cut in np.searchsorted(starts, np.linspace(0, starts[-1], parts + 1))})


_kept = threading.local()


def _room(size: int, channels: int) -> np.ndarray:
    """Memory (2, size, channels) of this thread, for what is needed no longer: new pages take time."""
    if getattr(_kept, "room", np.empty(0)).size < 2 * size * channels:
        _kept.room = np.empty(2 * size * channels, f4)
    return _kept.room[: 2 * size * channels].reshape(2, size, channels)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
