"""The reverse diffusion of one latent as a single compiled loop (numba), for a processor.

A step reads all weights once, and that is what it takes. Matrices are (inputs, outputs), float32. The first
import compiles, which takes seconds, and keeps the result beside this file or in the user's cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LOOSE = {"reassoc", "contract", "arcp", "afn", "nsz"}  # sums may be reordered; NaN stays NaN
SETTINGS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": LOOSE}


@njit(**SETTINGS)
def add_product(out: np.ndarray, x: np.ndarray, matrix: np.ndarray) -> None:
    """Out += x·matrix, (m,)·(m, n); four rows at a time, so that `out` is read and written less often."""
    rows = matrix.shape[0] // 4 * 4
    for j in range(0, rows, 4):
        a, b, c, d = x[j], x[j + 1], x[j + 2], x[j + 3]
        one, two, three, four = matrix[j], matrix[j + 1], matrix[j + 2], matrix[j + 3]
        for i in range(out.shape[0]):
            out[i] += a * one[i] + b * two[i] + c * three[i] + d * four[i]
    for j in range(rows, matrix.shape[0]):
        for i in range(out.shape[0]):
            out[i] += x[j] * matrix[j, i]


@njit(**SETTINGS)
def standardise(x: np.ndarray, out: np.ndarray) -> None:
    """Out = (x − mean)/deviation, (n,): LayerNorm without gain and bias."""
    size = np.float32(x.shape[0])
    total, square = np.float32(0), np.float32(0)
    for i in range(x.shape[0]):
        total += x[i]
    mean = total / size
    for i in range(x.shape[0]):
        square += (x[i] - mean) * (x[i] - mean)
    scale = np.float32(1) / np.sqrt(square / size + np.float32(1e-5))
    for i in range(x.shape[0]):
        out[i] = (x[i] - mean) * scale


@njit(**SETTINGS | {"fastmath": {"contract", "nsz"}})
def exponential(x: float) -> float:
    """Eˣ in float32 to 1e-7, x held to ±87: 2ⁿ times a polynomial (Cephes), so that loops become vectors.

    The library's own is a call for every number. NaN becomes something finite.
    """
    x = np.float32(x) if x > np.float32(-87) else np.float32(-87)
    x = x if x < np.float32(87) else np.float32(87)
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    total = np.float32(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        total = total * r + np.float32(c)
    total = total * r * r + r + np.float32(1)
    return total * np.int32(np.int32(np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(**SETTINGS)
def silu(x: np.ndarray) -> None:
    """x/(1 + exp(−x)) in place, (n,)."""
    for i in range(x.shape[0]):
        x[i] = x[i] / (np.float32(1) + exponential(-x[i]))


@njit(
    "f4[::1](f4[:,::1], f4[:,::1], f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1],"
    "f4[::1], f4[:,::1])",
    **SETTINGS,
)
def reverse(
    noise: np.ndarray,  # (1 or N + 1, d)
    start: np.ndarray,  # (N, width): what t and c add to the first layer
    first: np.ndarray,  # (d, width): what z adds to it
    up: np.ndarray,  # (depth, width, width), and their biases
    up_bias: np.ndarray,
    down: np.ndarray,
    down_bias: np.ndarray,
    last: np.ndarray,  # (width, d)
    last_bias: np.ndarray,
    coefficients: np.ndarray,  # (N, 6): keep, push, carry, spread, 1/α, σ/α
) -> np.ndarray:
    """z_0 (d,): `samplers.sample` with the denoiser written out."""
    z, before, epsilon = noise[0].copy(), np.zeros_like(noise[0]), np.empty_like(noise[0])
    x, hidden, inside = np.empty_like(start[0]), np.empty_like(start[0]), np.empty_like(start[0])
    for k in range(start.shape[0]):
        x[:] = start[k]
        add_product(x, z, first)
        for layer in range(up.shape[0]):
            standardise(x, hidden)
            inside[:] = up_bias[layer]
            add_product(inside, hidden, up[layer])
            silu(inside)
            x += down_bias[layer]
            add_product(x, inside, down[layer])
        standardise(x, hidden)
        epsilon[:] = last_bias
        add_product(epsilon, hidden, last)
        keep, push, carry, spread, whole, part = coefficients[k]
        for i in range(z.shape[0]):
            clean = whole * z[i] - part * epsilon[i]
            z[i] = keep * z[i] + push * epsilon[i] + carry * before[i]
            before[i] = clean
            if noise.shape[0] > 1:
                z[i] += spread * noise[k + 1, i]
    return z
