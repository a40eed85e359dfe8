"""All rows, in the order of the table. A file of rows offers `ROWS`; importing it must be cheap."""

from __future__ import annotations

from training.bench import observe, train
from training.bench.timing import Row

ROWS: tuple[Row, ...] = (*observe.ROWS, *train.ROWS)
