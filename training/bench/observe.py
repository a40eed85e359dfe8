"""Rows: what is computed of a frame for the plots, beside loops over shells, and beside decoding it."""

from __future__ import annotations

import numpy as np

from engine import observables
from engine.reciprocal import modes, shells
from training.bench.timing import CPU, Row, Side

CELL = 8.66 * np.eye(3)
CALLS = 8
"""Frames a turn: of a single millisecond a good part would be spent on what the other side left in cache."""


def naive_observables(frame: np.ndarray, start: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, ...]:
    """S(q), P(ρ) and one lag of F(q,t) of a frame (N, N, N) in Å⁻³ as one first writes them.

    Complex transforms of the whole grid, one for each curve, and a mask for every shell; `start` holds the
    modes (N, N, N) of the frame that F(q,t) is held against.
    """
    numbers = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in frame.shape), indexing="ij"), axis=-1)
    length = np.linalg.norm(2 * np.pi * numbers @ np.linalg.inv(cell).T, axis=-1)
    volume = abs(np.linalg.det(cell)) / frame.size

    def shell_means(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
        pairs = np.stack([edges[:-1], edges[1:]], axis=1) if edges.ndim == 1 else edges
        return np.array([values[(length >= a) & (length < b) & (length > 0)].mean() for a, b in pairs])

    structure = shell_means(observables.SHELLS, np.abs(np.fft.fftn(frame) * volume))
    wave = np.fft.fftn(frame) * volume
    relaxed = shell_means(observables.RELAXATION_SHELLS, (wave * start.conj()).real)
    norm = shell_means(observables.RELAXATION_SHELLS, (np.abs(start) ** 2 + np.abs(wave) ** 2) / 2)
    edges = observables.value_edges(frame.max())
    return structure, np.histogram(frame, edges, density=True)[0], relaxed / norm


def live_observables(frame: np.ndarray, start: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same from one real transform; `start` holds the modes of the relaxation shells."""
    shell = shells(frame.shape, cell, observables.SHELLS)
    slow = shells(frame.shape, cell, observables.RELAXATION_SHELLS)
    wave = modes(frame, cell)
    structure = shell.mean(np.abs(shell.select(wave)))[0]
    both = np.concatenate([start, slow.select(wave)])
    edges = observables.value_edges(frame.max())
    return structure, observables.histogram(frame, edges), observables.relaxation(both, slow, [1])[0]


def _shells(device: str) -> tuple[Side, Side]:
    draws = np.random.default_rng(0)
    fields = np.exp(0.27 * draws.standard_normal((2, 48, 48, 48)) - 2.9)
    start, frame = fields.astype(np.float32)  # as an emulator makes them
    slow = shells(frame.shape, CELL, observables.RELAXATION_SHELLS)
    waves = np.fft.fftn(start) * abs(np.linalg.det(CELL)) / start.size
    kept = slow.select(modes(start, CELL))
    return (
        Side(lambda: [live_observables(frame, kept, CELL) for _ in range(CALLS)], CALLS),
        Side(lambda: [naive_observables(frame, waves, CELL) for _ in range(CALLS)], CALLS),
    )


ROWS = (Row("observables", "S(q) + P(ρ) + F(q,t), 48³", "numpy, a loop over shells", 10, _shells, only=CPU),)
