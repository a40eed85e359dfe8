"""How close a frame comes to any training frame: what tells a forecast from a recital.

Distances are VRMSE: √⟨(a − b)²⟩ / std of the truth. Pairs are compared through |a|² − 2 a·b + |b|², one block
at a time; with lattice rolls a·b becomes the largest value of a cross-correlation, by Fourier transform.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations, product

import numpy as np
import scipy.fft

SPACE = (-3, -2, -1)


def nearest(frames: np.ndarray, others: Iterable[np.ndarray], spread: float) -> np.ndarray:
    """From each frame (n, Nx, Ny, Nz) to the closest of `others`, blocks (m, Nx, Ny, Nz) in Å⁻³: (n,).

    `spread` is the truth's standard deviation.
    """
    a = frames.reshape(len(frames), -1).astype(np.float64)
    closest = np.full(len(a), np.inf)
    for block in others:
        b = block.reshape(len(block), -1).astype(np.float64)
        square = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
        closest = np.minimum(closest, square.min(1))
    return np.sqrt(np.maximum(closest, 0) / a.shape[1]) / spread


def nearest_copy(
    frames: np.ndarray, others: Iterable[np.ndarray], spread: float, *, cube: bool = False
) -> np.ndarray:
    """As `nearest`, to the closest of all lattice rolls of `others`: (n,).

    With `cube`, of their 48 cube operations as well (grid and cell must be cubes): the symmetries that a
    model may have been shown as augmentation.
    """
    middle = float(frames.mean())  # of large equal parts, single precision would not see the difference
    fields = frames.astype(np.float32) - np.float32(middle)
    images = [np.stack(list(orientations(field))) if cube else field[None] for field in fields]
    waves = [scipy.fft.rfftn(image, axes=SPACE) for image in images]
    closest = np.full(len(frames), np.inf)
    for block in others:
        for other in block.astype(np.float32) - np.float32(middle):
            wave = scipy.fft.rfftn(other).conj()
            for index, (image, turned) in enumerate(zip(images, waves, strict=True)):
                overlap = scipy.fft.irfftn(turned * wave, s=other.shape, axes=SPACE)
                which, *shift = np.unravel_index(overlap.argmax(), overlap.shape)
                difference = image[which] - np.roll(other, shift, axis=SPACE)
                closest[index] = min(closest[index], float((difference.astype(np.float64) ** 2).mean()))
    return np.sqrt(closest) / spread


def orientations(field: np.ndarray) -> Iterator[np.ndarray]:
    """The 48 images of a field (N, N, N) under the cube group: every order of the axes, every mirror."""
    for axes in permutations(range(3)):
        turned = np.transpose(field, axes)
        for signs in product((False, True), repeat=3):
            yield np.flip(turned, [axis for axis, flip in enumerate(signs) if flip])
