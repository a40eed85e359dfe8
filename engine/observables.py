"""Density fields in, curves out: P(ρ), S(q) (S16–S18), F(q,t), S(q,ω), electron count, density maxima.

Pure functions of arrays that fit in memory; `engine.recorder` collects the same over runs of any length.
Densities are (T, Nx, Ny, Nz) in Å⁻³, cells (3, 3) in Å with lattice vectors as rows, times in fs, wave
vectors in Å⁻¹.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from engine.maxima import peaks
from engine.reciprocal import Shells, as_frames, modes, shells, voxel_volume

SHELLS = np.linspace(0.70, 5.95, 16)  # 15 shells of 0.35 Å⁻¹: those of the scores
FINE_SHELLS = np.linspace(0.65, 8.75, 55)  # 0.15 Å⁻¹: those of the plots
RELAXATION_SHELLS = np.array(
    [[0.7, 1.3], [1.3, 2.0], [2.2, 2.8], [2.8, 3.6]]
)  # sound, flank, main peak, beyond
LAGS_FS = np.arange(0.0, 401.0, 20.0)
VALUE_BINS = 250
IN_CACHE = 2**14
"""Values that are sorted into bins at a time."""


__all__ = [
    "FINE_SHELLS",
    "LAGS_FS",
    "RELAXATION_SHELLS",
    "SHELLS",
    "Curve",
    "counts",
    "dynamic_structure_factor",
    "electron_count",
    "histogram",
    "intermediate_scattering",
    "lag_frames",
    "peaks",
    "relaxation",
    "structure_factor",
    "value_edges",
]


class Curve(NamedTuple):
    """S(q): `q` (S,) in Å⁻¹ and `values` (T, S); a shell without wave vectors is NaN."""

    q: np.ndarray
    values: np.ndarray


def value_edges(maximum: float, bins: int = VALUE_BINS) -> np.ndarray:
    """Equal bins from 0 to 1.25 × the truth's `maximum`, rounded up to 1, 2.5 or 5 × 10ⁿ, (bins+1,) in Å⁻³.

    Rounding gives two runs of one liquid the same bins; liquid lithium (maximum 0.139 Å⁻³) gets [0, 0.25].
    """
    if not np.isfinite(maximum) or maximum <= 0:
        raise ValueError(f"largest density {maximum} Å⁻³ is not a positive number")
    target = 1.25 * maximum
    decade = 10.0 ** np.floor(np.log10(target))
    top = next(step * decade for step in (1.0, 2.5, 5.0, 10.0) if step * decade >= target * (1 - 1e-12))
    return np.linspace(0.0, top, bins + 1)


def counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Values per bin and frame, (T, …) → (T, bins), bins equal; beyond the edges the end bins count.

    Nothing is dropped, so a forecast cannot win by leaving the range; what is no number counts in the last
    bin. Values on a border belong to the bin above it. Raises ValueError for bins that are not equal.
    """
    bins, low, reach = len(edges) - 1, float(edges[0]), float(edges[-1]) - float(edges[0])
    if np.ptp(np.diff(edges)) > 1e-3 * reach / bins:
        raise ValueError("values are counted in equal bins only; these have several widths")
    scale = bins / reach
    frames = np.asarray(values).reshape(len(values), -1)
    found = np.zeros((len(frames), bins), dtype=np.intp)
    for frame, total in zip(frames, found, strict=True):
        for begin in range(0, len(frame), IN_CACHE):
            place = (frame[begin : begin + IN_CACHE] - low) * scale
            place = np.maximum(np.fmin(place, bins - 1), 0)  # fmin takes the number beside a NaN
            total += np.bincount(place.astype(np.intp), minlength=bins)
    return found


def histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Probability density P with Σ P·Δ = 1, (bins,) of one width; beyond the edges the end bins count."""
    edges = np.asarray(edges, dtype=float)
    values = np.asarray(values).reshape(1, -1)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("a histogram needs at least one value and no NaN or infinity")
    return counts(values, edges)[0] / (values.size * np.diff(edges))


def electron_count(density: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """∫ρ dV = Σ_r ρ(r) ΔV of every frame, (T,) electrons.

    GPAW's pseudo-density holds 36.79 e for 32 Li, not 32.
    """
    density = as_frames(density)
    return density.sum(axis=(1, 2, 3), dtype=np.float64) * voxel_volume(density.shape[1:], cell)


def structure_factor(
    density: np.ndarray,
    cell: np.ndarray,
    q_edges: np.ndarray = SHELLS,
    kind: Literal["amplitude", "intensity"] = "amplitude",
    electrons: float | None = None,
) -> Curve:
    """S(q) of every frame: ⟨|F|⟩ over a shell (S16–S18, the paper's) or ⟨|F|²⟩/N_e (the physicist's).

    N_e is `electrons`, else the mean of ∫ρ dV over these frames. Shells beyond π/spacing are not spheres
    any more.
    """
    if kind not in ("amplitude", "intensity"):
        raise ValueError(f"kind {kind!r} of structure factor is not 'amplitude' or 'intensity'")
    density = as_frames(density)
    shell = shells(density.shape[1:], cell, q_edges)
    strength = np.abs(shell.select(modes(density, cell)))
    if kind == "amplitude":
        return Curve(shell.q, shell.mean(strength))
    electrons = float(electron_count(density, cell).mean()) if electrons is None else electrons
    return Curve(shell.q, shell.mean(strength**2) / electrons)


def intermediate_scattering(
    density: np.ndarray,
    cell: np.ndarray,
    dt_fs: float,
    lags_fs: np.ndarray = LAGS_FS,
    bands: np.ndarray = RELAXATION_SHELLS,
) -> np.ndarray:
    """F(q,t)/F(q,0) with F(q,t) = Re⟨ρ_q(τ+t) ρ*_q(τ)⟩ over all origins τ and vectors of a shell.

    (lags, shells).
    """
    density = as_frames(density)
    shell = shells(density.shape[1:], cell, bands)
    return relaxation(shell.select(modes(density, cell)), shell, lag_frames(lags_fs, dt_fs, len(density)))


def lag_frames(lags_fs: np.ndarray, dt_fs: float, frames: int) -> np.ndarray:
    """Lags as whole numbers of frames, (lags,).

    ValueError where a lag falls between frames or beyond the last.
    """
    ratio = np.atleast_1d(np.asarray(lags_fs, dtype=float)) / dt_fs
    lags = np.rint(ratio).astype(int)
    if np.any(np.abs(ratio - lags) > 1e-6) or np.any(lags < 0):
        raise ValueError(
            f"lags {np.atleast_1d(lags_fs).tolist()} fs are not all multiples of the frame step {dt_fs} fs"
        )
    if lags.max() >= frames:
        raise ValueError(
            f"a lag of {lags.max() * dt_fs} fs needs more than {lags.max()} frames; there are {frames}"
        )
    return lags


def relaxation(selected: np.ndarray, shell: Shells, lags: np.ndarray) -> np.ndarray:
    """F(q,t)/F(q,0) from the modes (T, members) of a `Shells`, at `lags` in frames: (lags, shells)."""
    frames = len(selected)
    correlation = np.stack([_correlate(selected[lag:], selected[: frames - lag]) for lag in lags])
    return shell.mean(correlation) / shell.mean(_correlate(selected, selected)[None])


def _correlate(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Re⟨a(τ+t) a*(τ)⟩ over τ for every mode, (members,)."""
    return (
        np.einsum("tm,tm->m", later.real, earlier.real) + np.einsum("tm,tm->m", later.imag, earlier.imag)
    ) / len(later)


def dynamic_structure_factor(
    relaxation_curve: np.ndarray, lag_fs: float, frequencies: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """S(q,ω) = (1/π) ∫₀^∞ F(q,t) cos ωt dt by the trapezoid rule: ω (n,) in rad/fs and S (n, shells) in fs.

    `relaxation_curve` (lags, shells) at equal lags 0, lag_fs, …; with F(q,0) = 1 the integral of S over all
    ω is 1. A record that has not relaxed at its last lag ripples: multiply it by a taper first, and say so.
    """
    curve = np.asarray(relaxation_curve, dtype=float).reshape(len(relaxation_curve), -1)
    times = lag_fs * np.arange(len(curve))
    if frequencies is None:
        frequencies = np.linspace(0.0, np.pi / lag_fs, len(curve))
    weights = np.full(len(curve), lag_fs)
    weights[[0, -1]] *= 0.5
    return frequencies, np.cos(np.outer(frequencies, times)) @ (weights[:, None] * curve) / np.pi
