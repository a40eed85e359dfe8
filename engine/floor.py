"""A score over its floor: how far a forecast is from AIMD, against how far AIMD is from itself.

Both are cut into blocks of one duration and one sampling step, every block is scored against the truth, and
the ratio of the medians is 1 for a forecast that cannot be told from another AIMD run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.recorder import Record
from engine.scores import score

SCORES = ("jsd_nats", "sq_amplitude_rel_error", "sq_intensity_rel_error", "fqt_abs_error")
RESAMPLES = 2000


def cut(run: Record, frames: int, hop: int | None = None) -> list[Record]:
    """Blocks of `frames` frames, each `hop` frames after the one before; without `hop` side by side."""
    starts = range(0, len(run) - frames + 1, hop or frames)
    return [run.part(start, start + frames) for start in starts]


def block_scores(blocks: Sequence[Record], truths: Sequence[Record], lags_fs: np.ndarray) -> np.ndarray:
    """SCORES of every block against every stretch of truth, (blocks, truths, 4)."""
    rows = [[score(block, truth, lags_fs) for truth in truths] for block in blocks]
    return np.array([[[cell[name] for name in SCORES] for cell in row] for row in rows]).reshape(
        len(blocks), len(truths), len(SCORES)
    )


def ratio_of_medians(
    forecast: np.ndarray,
    reference: np.ndarray,
    independent: tuple[float, float],
    seed: int = 0,
) -> dict[str, float]:
    """Median of `forecast` (n, …) over median of `reference` (m, …), with a 90 % bootstrap interval.

    NaN in `reference` is a pair that does not count; in `forecast` it is a broken run, and so is the ratio.
    Whole blocks are drawn, as many as there are `independent` ones (of forecast, of reference): overlapping
    blocks sharpen the median but are not worth as many. One independent block has no interval (NaN).
    """
    generator = np.random.default_rng(seed)
    draws = []
    medians = (np.median, np.nanmedian)
    for median, values, count in zip(medians, (forecast, reference), independent, strict=True):
        count = int(np.clip(round(count), 1, len(values)))
        picks = generator.integers(len(values), size=(RESAMPLES, count))
        draws.append(median(values[picks].reshape(RESAMPLES, -1), axis=1))
    low, high = np.quantile(draws[0] / draws[1], [0.05, 0.95])
    alone = min(len(forecast), len(reference), *independent) < 2
    middle = float(np.median(forecast)), float(np.nanmedian(reference))
    return {
        "ratio": middle[0] / middle[1] if middle[1] > 0 else float("nan"),
        "low": float("nan") if alone else float(low),
        "high": float("nan") if alone else float(high),
        "score": middle[0],
        "floor": middle[1],
    }


def floor_ratios(
    blocks: Sequence[Record],
    references: Sequence[Record],
    truths: Sequence[Record],
    lags_fs: np.ndarray,
    independent: tuple[float, float],
    siblings: Sequence[Record] = (),
) -> dict[str, dict[str, float]]:
    """Each of SCORES, blocks of a forecast over blocks of AIMD, both against the same stretches of truth.

    `siblings` are the `truths` at the step of the blocks: stretches of truth are AIMD too, and each is held
    against the others.
    """
    mine = block_scores(blocks, truths, lags_fs)
    floor = block_scores(references, truths, lags_fs)
    if len(siblings) > 1:
        among = block_scores(siblings, truths, lags_fs)
        among[np.arange(len(truths)), np.arange(len(truths))] = np.nan
        floor = np.concatenate([floor, among])
    return {name: ratio_of_medians(mine[..., k], floor[..., k], independent) for k, name in enumerate(SCORES)}
