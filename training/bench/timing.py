"""A row of the benchmark, and how it is timed.

Both sides run by turns in one process, so that whatever else the machine does, or how hot it is, meets both.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

SECONDS = 6.0
"""Time that a row may take, once it is set up."""
REPEATS = 25
CPU, GPU = "cpu", "gpu"


@dataclass(frozen=True)
class Side:
    """One of two things compared: a call that does `units` of the row's unit of work.

    A call that has been timed elsewhere, such as in a process of its own, returns its seconds.
    """

    call: Callable[[], object]
    units: float = 1.0
    timed: bool = False
    """Whether `call` returns its own seconds."""
    flops: float = 0.0
    """Float32 operations in products of matrices per unit, where these are most of the work; 0: not known."""

    def seconds(self) -> float:
        """Seconds per unit, of one call."""
        finish()
        start = time.perf_counter()
        returned = self.call()
        finish()
        return (float(returned) if self.timed else time.perf_counter() - start) / self.units


def finish() -> None:
    """Wait for what a GPU, if there is one at work, has been asked for."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Row:
    """Work against its rival, with the bar that the ratio of their times has to clear.

    `make(device)` sets both sides up when the row's turn comes: (work, rival). It raises Skip, in words,
    where something is missing. Without a rival the bar is a limit in seconds.
    """

    name: str
    work: str
    rival: str
    bar: float | None
    make: Callable[[str], tuple[Side, Side | None]]
    seconds: float = SECONDS
    least: int = 3
    """Repeats, at least, however long they take."""
    gpu_bar: float | None = None
    """The bar on a GPU."""
    only: str | None = None
    """CPU or GPU, where the row says something of one of them alone."""

    def on(self, device: str) -> bool:
        """Whether the row says something of a device."""
        return self.only in (None, CPU if device == "cpu" else GPU)


class Skip(Exception):
    """A row that cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Result:
    """What a row came to: median seconds per unit of both sides, and the ratios of the single repeats."""

    name: str
    work: str
    rival: str
    bar: float | None
    work_s: float | None = None
    rival_s: float | None = None
    ratio: float | None = None
    low: float | None = None
    """Quartiles of the ratio over repeats."""
    high: float | None = None
    repeats: int = 0
    limit: float | None = None
    """The ratio at the pace of the largest float32 products, without a rival to the work as it is; None where
    operations are not known."""
    skipped: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is cleared; None without a bar, or where nothing was measured."""
        if self.work_s is None or self.bar is None:
            return None
        return self.work_s <= self.bar if self.ratio is None else self.ratio >= self.bar


def measure(row: Row, device: str = "cpu") -> Result:
    """Set a row up, run both sides once for nothing, then by turns until its time is over.

    A row that fails tells why, and leaves the others their turn.
    """
    about = Result(row.name, row.work, row.rival, row.bar if device == "cpu" else row.gpu_bar)
    try:
        return _timed(row, about, [side for side in row.make(device) if side is not None], device)
    except Skip as reason:
        return replace(about, skipped=str(reason))
    except Exception as error:
        return replace(about, skipped=f"failed: {type(error).__name__}: {error}")


def _timed(row: Row, about: Result, sides: list[Side], device: str) -> Result:
    for side in sides:
        side.call()
    best = sides[0].flops / peak_flops(device) if sides[0].flops else None
    times, end = [], time.perf_counter() + row.seconds
    while len(times) < row.least or (len(times) < REPEATS and time.perf_counter() < end):
        times.append([side.seconds() for side in sides])
    work, *rival = (statistics.median(side) for side in zip(*times, strict=True))
    if not rival:
        return replace(about, work_s=work, repeats=len(times), limit=best and work / best)
    ratios = [theirs / ours for ours, theirs in times]
    low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return replace(
        about,
        work_s=work,
        rival_s=rival[0],
        ratio=ratio,
        low=low,
        high=high,
        repeats=len(times),
        limit=best and rival[0] / best,
    )


@lru_cache(maxsize=2)
def peak_flops(device: str = "cpu", size: int = 2048) -> float:
    """Float32 operations a second of the best of ten products of large matrices, on torch's threads."""
    import torch

    matrix = torch.randn(size, size).to(device)
    return 2 * size**3 / min(Side(lambda: matrix @ matrix).seconds() for _ in range(10))


def count_flops(layers: nn.Module, rows: int = 1) -> float:
    """Operations of the products of `rows` vectors with the matrices of all linear layers in a module."""
    from torch import nn

    return 2.0 * rows * sum(x.weight.numel() for x in layers.modules() if isinstance(x, nn.Linear))
