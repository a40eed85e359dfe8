"""The loops of `engine.quick_waves`, compiled (numba): transforms of lines, products of tiles.

A line of points is transformed in registers: sums and differences of points that mirror each other, then what
the matrix leaves to do, a quarter of it, written out number by number. A tile of a product stays there too.
    Amplitudes (B·m, C) in float32, rows in order of the waves' lengths, of which each begins at a multiple of
    ROWS. States (rows, C); point (i, j, k) is in row i·steps[0] + j·steps[1] + k. C is a multiple of LANES,
    in transforms of LINE. A grid is a tuple of as many zeros as points for each axis: numba goes by types.
All is in one file since numba looks at no other when it decides whether what it kept is still good.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from engine.kernels import SETTINGS, exponential
from engine.waves import real_waves

FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")  # what numba compiles for
ROWS, LANES = (8, 32) if "+avx512f" in FEATURES else (4, 16)
"""Of a product's tile, as registers allow."""
LINE = 16
"""Channels of a line of points, side by side."""
INT, WORD, FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
FUSED = ("contract",)
f4 = np.float32


def stages(points: int) -> tuple[list[list[tuple[int, int]]], np.ndarray]:
    """Rounds of pairs (i, j), each to become (xᵢ + xⱼ, xᵢ − xⱼ), and the matrix that follows them.

    Points mirror each other in the middle of the line. Sums are then a line of cosines, which mirrors itself
    again for even wave numbers, and differences one of sines; and so on while lengths can be halved.
    """
    matrix, length = real_waves(points)[0].numpy().copy(), points // 2
    rounds = [[(j, points - j) for j in range(1, (points + 1) // 2)]]
    cosines, sines = list(range(length + 1)), [points - j for j in range(1, length)]
    while points % 2 == 0 and length % 2 == 0:
        pairs = [(cosines[j], cosines[length - j]) for j in range(length // 2)]
        mirrored = [(sines[j - 1], sines[length - j - 1]) for j in range(1, length // 2)]
        rounds.append(pairs + mirrored)
        length //= 2
        cosines, sines = cosines[: length + 1], [j for _, j in mirrored]
    for i, j in (pair for pairs in rounds for pair in pairs):
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


def _everywhere(b: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """A vector of the same number."""
    nothing = ir.Constant(ir.VectorType(FLOAT, LANES), ir.Undefined)
    first = ir.Constant(ir.VectorType(INT, LANES), None)
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

    `rows` (ny·nz, nx) are those of the waves.
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
                for n in range(channels):
                    value, gate = fields[r, n] + c[n], fields[r, channels + n] + c[channels + n]
                    out[r, n] = value * gate / (f4(1) + exponential(-gate))
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
                for n in range(channels):
                    value, gate = fields[r, n] + c[n], fields[r, channels + n] + c[channels + n]
                    share = f4(1) / (f4(1) + exponential(-gate))
                    silu = gate * share
                    out[r, n] = grad[r, n] * silu
                    out[r, channels + n] = grad[r, n] * value * (share + silu * (f4(1) - share))
                for n in range(2 * channels):
                    to_c[i, n] += out[r, n]
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
    w, to_w, k, to_k = u.ctypes.data, to_u.ctypes.data, kernels.ctypes.data, to_kernels.ctypes.data
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
                        _accumulate(to_w + weight, k + kernel, t + 4 * LANES * j)
                        _accumulate(to_k + kernel, w + weight, t + 4 * LANES * j)


@njit("(f4[:,::1], f4[:,::1], f4[:,:,::1], i8, i8)", **SETTINGS)
def add_product(out: np.ndarray, x: np.ndarray, v: np.ndarray, first: int, last: int) -> None:
    """Out += x·V in blocks of ROWS rows, `first` to `last`, of (m, C); V as (C / LANES, C, LANES)."""
    channels = x.shape[1]
    a, o, w = x.ctypes.data, out.ctypes.data, v.ctypes.data
    for r in range(ROWS * first, ROWS * last, ROWS):
        for part in range(v.shape[0]):
            to, by = o + 4 * (r * channels + part * LANES), w + 4 * part * channels * LANES
            _tile(to, 4 * channels, a + 4 * r * channels, 4 * channels, 4, by, 4 * LANES, channels, True)


def aligned(size: int) -> np.ndarray:
    """Float32 numbers from a 64-byte boundary on."""
    room = np.empty(size + 16, f4)
    return room[-room.ctypes.data % 64 // 4 :][:size]
