"""The reverse diffusion of up to 32 latents together as a compiled loop (numba), for one core of a processor.

Members lie side by side, fields are (width, 32), so that whatever is done to each is done to vectors of them.
Products W·x are most of the work, and a compiler's loops would reach a tenth of what is possible. With AMX
both factors are split into two numbers of bfloat16, W = W₁ + W₂ and x = x₁ + x₂, of which W₂·x₂ is left
out: that keeps 2⁻¹⁶ of a product, and is three times as quick as float32, which serves elsewhere.
    Operands x are (inputs, 32), filled by `put`; matrices (panels, inputs, rows of a panel), made by `pack`.
    With AMX both hold pairs of bfloat16 in as many bits, in the order that its tiles are read in.
The first import compiles, as that of `engine.kernels`. All is in one file since numba looks at no other when
it decides whether what it kept is still good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from engine.kernels import SETTINGS, exponential

MEMBERS = 32
FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")  # what numba compiles for
AMX = {"+amx-tile", "+amx-bf16"} <= set(FEATURES)
ROWS, FEW = (32, 4) if AMX else (8, 8) if "+avx512f" in FEATURES else (2, 24)
"""Rows of a panel, as registers allow; members that are quicker one by one than as a block."""
UNIT = 32
"""Inputs and outputs are padded to a multiple of this."""
if AMX and not getattr(torch.cpu, "_init_amx", bool)():  # which asks the system for the registers
    raise ImportError("the system does not lend its AMX registers")

BYTE, INT, WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)
LINE = 4 * MEMBERS  # bytes of one number of all members
CONFIGURATION = bytes([1] + [0] * 15 + [64, 0] * 8 + [0] * 16 + [16] * 8 + [0] * 8)  # 8 tiles, 16 × 64 bytes
f4, u4 = np.float32, np.uint32


def pack(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Matrices (inputs, outputs) of one shape for `product`, (matrices, panels, inputs, rows of a panel)."""
    inputs, outputs = (-(-n // UNIT) * UNIT for n in matrices[0].shape)
    whole = np.zeros((len(matrices), outputs, inputs), f4)
    for to, matrix in zip(whole, matrices, strict=True):
        to[: matrix.shape[1], : matrix.shape[0]] = matrix.T
    panels = whole.reshape(len(matrices), -1, ROWS, inputs).swapaxes(2, 3)
    if AMX:  # of 32 inputs and 16 outputs each, the small part first
        parts = np.stack(split(whole)[::-1]).reshape(2, len(matrices), -1, 2, 16, inputs // UNIT, UNIT)
        tiles = np.ascontiguousarray(parts.transpose(1, 2, 5, 0, 3, 4, 6))
        panels = tiles.view(f4).reshape(panels.shape)
    room = np.empty(panels.size + 16, f4)
    start = -room.ctypes.data % 64 // 4
    packed = room[start : start + panels.size].reshape(panels.shape)
    packed[:] = panels
    return packed


def padded(biases: Sequence[np.ndarray]) -> np.ndarray:
    """Biases (outputs,) with zeros behind them where `pack` has put some, (biases, …)."""
    return np.pad(np.stack(biases), ((0, 0), (0, -len(biases[0]) % UNIT)))


def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two numbers of bfloat16, as uint16, whose sum is nearest to x."""
    high = (x.view(u4) + u4(0x8000)) >> u4(16)
    rest = x - (high << u4(16)).view(f4)
    return high.astype(np.uint16), ((rest.view(u4) + u4(0x8000)) >> u4(16)).astype(np.uint16)


@njit(**SETTINGS)
def aligned(rows: int) -> np.ndarray:
    """Zeros (rows, 32) from a 64-byte boundary on."""
    room = np.zeros(rows * MEMBERS + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + rows * MEMBERS].reshape(rows, MEMBERS)


def _emit(kinds: tuple[types.Type, ...], body: Callable[..., None]) -> tuple:
    """What an intrinsic without a result returns to numba."""

    def generate(context: object, builder: ir.IRBuilder, signature: object, args: list) -> ir.Constant:
        body(builder, *args)
        return context.get_dummy_value()

    return types.void(*kinds), generate


def _call(b: ir.IRBuilder, name: str, *values: ir.Value) -> None:
    kind = ir.FunctionType(ir.VoidType(), [v.type for v in values])
    b.call(cgutils.get_or_insert_function(b.module, kind, name), values)


def _at(b: ir.IRBuilder, address: ir.Value, offset: int = 0, kind: ir.Type = BYTE) -> ir.Value:
    return b.inttoptr(b.add(address, WORD(offset)), kind.as_pointer())


@intrinsic
def borrow(context, kept):  # noqa: ANN001, ANN201 (numba's)
    """Set up the tiles, and leave at `kept` (64 bytes) how whoever had them before, oneDNN, wants them."""

    def body(b: ir.IRBuilder, kept: ir.Value) -> None:
        if AMX:
            _call(b, "llvm.x86.sttilecfg", _at(b, kept))
            wanted = cgutils.alloca_once_value(b, cgutils.make_bytearray(CONFIGURATION))
            _call(b, "llvm.x86.ldtilecfg", b.bitcast(wanted, BYTE.as_pointer()))

    return _emit((kept,), body)


@intrinsic
def give_back(context, kept):  # noqa: ANN001, ANN201
    """The tiles as they were."""

    def body(b: ir.IRBuilder, kept: ir.Value) -> None:
        if AMX:
            _call(b, "llvm.x86.ldtilecfg", _at(b, kept))

    return _emit((kept,), body)


@intrinsic
def _panel(context, out, panel, x, inputs):  # noqa: ANN001, ANN202
    """`product` of one panel, by addresses."""
    return _emit((out, panel, x, inputs), _tiles if AMX else _vectors)


def _tiles(b: ir.IRBuilder, out: ir.Value, panel: ir.Value, x: ir.Value, inputs: ir.Value) -> None:
    """Tiles 0 … 3 are 32 outputs × 32 members, 4 and 5 hold weights, 6 and 7 members."""

    def each(name: str, first: int, *places: ir.Value, stride: int) -> None:
        for tile, place in enumerate(places, first):
            _call(b, name, BYTE(tile), place, WORD(stride))

    def dots() -> None:
        for tile in range(4):
            _call(b, "llvm.x86.tdpbf16ps", BYTE(tile), BYTE(4 + tile // 2), BYTE(6 + tile % 2))

    outputs = [_at(b, out, 16 * LINE * (t // 2) + 64 * (t % 2)) for t in range(4)]
    each("llvm.x86.tileloadd64", 0, *outputs, stride=LINE)
    with cgutils.for_range(b, b.udiv(inputs, WORD(UNIT))) as loop:
        done = b.mul(loop.index, WORD(4096))
        w, v = b.add(panel, done), b.add(x, done)
        for weights, members in ((0, 0), (2048, None), (None, LINE)):  # W₂·x₁, W₁·x₁, W₁·x₂
            if weights is not None:
                each("llvm.x86.tileloaddt164", 4, _at(b, w, weights), _at(b, w, weights + 1024), stride=64)
            if members is not None:
                each("llvm.x86.tileloadd64", 6, _at(b, v, members), _at(b, v, members + 64), stride=2 * LINE)
            dots()
    each("llvm.x86.tilestored64", 0, *outputs, stride=LINE)


def _vectors(b: ir.IRBuilder, out: ir.Value, panel: ir.Value, x: ir.Value, inputs: ir.Value) -> None:
    """A row of all members is one vector, as wide as the registers or wider, and stays in them."""
    vector, fused = ir.VectorType(ir.FloatType(), MEMBERS), ("contract",)
    outputs = [_at(b, out, LINE * row, vector) for row in range(ROWS)]
    sums = [cgutils.alloca_once_value(b, b.load(place, align=64)) for place in outputs]
    nothing, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(INT, MEMBERS), None)
    with cgutils.for_range(b, inputs) as loop:
        w = b.add(panel, b.mul(loop.index, WORD(4 * ROWS)))
        v = b.load(_at(b, b.add(x, b.mul(loop.index, WORD(LINE))), 0, vector), align=64)
        for row, total in enumerate(sums):
            weight = b.insert_element(nothing, b.load(_at(b, w, 4 * row, ir.FloatType())), INT(0))
            product = b.fmul(b.shuffle_vector(weight, nothing, first), v, flags=fused)
            b.store(b.fadd(product, b.load(total), flags=fused), total)
    for place, total in zip(outputs, sums, strict=True):
        b.store(b.load(total), place, align=64)


@njit(**SETTINGS)
def product(out: np.ndarray, matrix: np.ndarray, x: np.ndarray) -> None:
    """Out += W·x, (outputs, 32) from `aligned`, with W from `pack` and x (inputs, 32) as `put` fills it."""
    panels, inputs, rows = matrix.shape
    for panel in range(panels):
        to, weights = panel * rows * LINE, 4 * panel * inputs * rows
        _panel(out.ctypes.data + to, matrix.ctypes.data + weights, x.ctypes.data, inputs)


if AMX:

    @njit(**SETTINGS)
    def put(x: np.ndarray, row: int, member: int, one: float, two: float) -> None:
        """Write the numbers of two rows, `row` (even) and the next, of one member's operand: split."""
        top = u4(0xFFFF0000)
        a, b = u4(f4(one).view(u4) + u4(0x8000)) & top, u4(f4(two).view(u4) + u4(0x8000)) & top
        c = u4(f4(one - u4(a).view(f4)).view(u4) + u4(0x8000))
        d = u4(f4(two - u4(b).view(f4)).view(u4) + u4(0x8000)) & top
        x[row, member] = u4(u4(u4(a) >> u4(16)) | u4(b)).view(f4)
        x[row + 1, member] = u4(u4(c >> u4(16)) | u4(d)).view(f4)

else:

    @njit(**SETTINGS)
    def put(x: np.ndarray, row: int, member: int, one: float, two: float) -> None:
        """Write the numbers of two rows, `row` (even) and the next, of one member's operand."""
        x[row, member], x[row + 1, member] = one, two


@njit(**SETTINGS)
def standardise(x: np.ndarray, bias: np.ndarray, width: int, out: np.ndarray) -> None:
    """X += bias, then out = (x − mean)/deviation over `width`; behind it x is zero."""
    rows, size, padding = x.shape[0], f4(width), f4(x.shape[0] - width)
    mean, scale = np.zeros(MEMBERS, f4), np.zeros(MEMBERS, f4)
    for j in range(0, rows, 4):
        for m in range(MEMBERS):
            a, b = x[j, m] + bias[j], x[j + 1, m] + bias[j + 1]
            c, d = x[j + 2, m] + bias[j + 2], x[j + 3, m] + bias[j + 3]
            x[j, m], x[j + 1, m], x[j + 2, m], x[j + 3, m] = a, b, c, d
            mean[m] += a + b + c + d
    for m in range(MEMBERS):
        mean[m] /= size
    for j in range(0, rows, 4):
        for m in range(MEMBERS):
            a, b, c, d = (
                x[j, m] - mean[m],
                x[j + 1, m] - mean[m],
                x[j + 2, m] - mean[m],
                x[j + 3, m] - mean[m],
            )
            scale[m] += a * a + b * b + c * c + d * d
    for m in range(MEMBERS):
        variance = (scale[m] - padding * mean[m] * mean[m]) / size
        scale[m] = f4(1) / np.sqrt(variance + f4(1e-5))
    for j in range(0, rows, 2):
        for m in range(MEMBERS):
            put(out, j, m, (x[j, m] - mean[m]) * scale[m], (x[j + 1, m] - mean[m]) * scale[m])


@njit(**SETTINGS)
def silu(x: np.ndarray, out: np.ndarray) -> None:
    """Out = x/(1 + exp(−x))."""
    for j in range(0, x.shape[0], 2):
        for m in range(MEMBERS):
            a, b = x[j, m], x[j + 1, m]
            put(out, j, m, a / (f4(1) + exponential(-a)), b / (f4(1) + exponential(-b)))


@njit(**SETTINGS)
def fill(x: np.ndarray, column: np.ndarray) -> None:
    """The same for all members, (width,) → (width, 32)."""
    for j in range(x.shape[0]):
        for m in range(MEMBERS):
            x[j, m] = column[j]


@njit(
    "f4[:,::1](f4[:,:,::1], f4[:,::1], f4[:,::1], f4[:,:,::1], f4[:,:,:,::1], f4[:,::1], f4[:,:,:,::1],"
    "f4[:,::1], f4[:,:,::1], f4[::1], f4[:,::1])",
    **SETTINGS,
)
def reverse_block(
    noise: np.ndarray,  # (K, 1 or N + 1, d)
    from_c: np.ndarray,  # (K, width): what c adds to the first layer
    from_t: np.ndarray,  # (N, width): what t adds
    first: np.ndarray,
    up: np.ndarray,  # (depth, …), and biases (depth, width)
    up_bias: np.ndarray,
    down: np.ndarray,
    down_bias: np.ndarray,
    last: np.ndarray,
    last_bias: np.ndarray,  # (d,)
    coefficients: np.ndarray,  # (N, 6): keep, push, carry, spread, 1/α, σ/α
) -> np.ndarray:
    """z_0 (K, d) of K ≤ 32 members: `kernels.reverse` of each. Biases are padded as the matrices are."""
    members, draws, latent = noise.shape
    width, padded = from_t.shape[1], up_bias.shape[1]
    rows = last.shape[0] * last.shape[2]
    tiles, none = aligned(1), np.zeros(padded, f4)
    z, before, epsilon, z_operand = aligned(rows), aligned(rows), aligned(rows), aligned(rows)
    x, inside, operand, start = aligned(padded), aligned(padded), aligned(padded), aligned(padded)
    for m in range(members):
        z[:latent, m], start[:width, m] = noise[m, 0], from_c[m]
    borrow(tiles.ctypes.data)
    for k in range(from_t.shape[0]):
        for j in range(width):
            for m in range(MEMBERS):
                x[j, m] = start[j, m] + from_t[k, j]
        for j in range(0, rows, 2):
            for m in range(MEMBERS):
                put(z_operand, j, m, z[j, m], z[j + 1, m])
        product(x, first, z_operand)
        bias = none
        for layer in range(up.shape[0]):
            standardise(x, bias, width, operand)
            fill(inside, up_bias[layer])
            product(inside, up[layer], operand)
            silu(inside, operand)
            product(x, down[layer], operand)
            bias = down_bias[layer]
        standardise(x, bias, width, operand)
        fill(epsilon, last_bias)
        product(epsilon, last, operand)
        keep, push, carry, spread, whole, part = coefficients[k]
        for j in range(latent):
            for m in range(MEMBERS):
                clean = whole * z[j, m] - part * epsilon[j, m]
                z[j, m] = keep * z[j, m] + push * epsilon[j, m] + carry * before[j, m]
                before[j, m] = clean
        if draws > 1:
            for m in range(members):
                for j in range(latent):
                    z[j, m] += spread * noise[m, k + 1, j]
    give_back(tiles.ctypes.data)
    return z[:latent, :members].T.copy()
