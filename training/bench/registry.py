"""All rows, in the order of the table. A file of rows offers `ROWS`; importing it must be cheap."""

from __future__ import annotations

from training.bench import aimd, denoise, frames, observe, scaling, start, train
from training.bench.timing import Row

ROWS: tuple[Row, ...] = (
    *denoise.ROWS,
    *aimd.ROWS,
    *frames.ROWS,
    *observe.ROWS,
    *train.ROWS,
    *scaling.ROWS,
    *start.ROWS,
)
