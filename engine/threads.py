"""Several independent calls at once, on as many threads as PyTorch has.

Whole calls on one thread each beat one call whose every small operation is shared: nothing waits in between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

Result = TypeVar("Result")


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """What the calls return; each has a thread for itself, on which PyTorch takes no others.

    Also one alone: threads that share small operations take longer than one of them would.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return [call() for call in calls]
    gradients, short = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    kind = torch.get_autocast_dtype("cpu")

    def run(call: Callable[[], Result]) -> Result:  # every thread has modes of its own
        with torch.set_grad_enabled(gradients), torch.autocast("cpu", kind, enabled=short):
            return call()

    return list(_pool(threads, os.getpid()).map(run, calls))


@lru_cache(maxsize=2)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """As many threads, each at work with one; a process made by fork has none of its parent's."""
    pool, met = ThreadPoolExecutor(threads), Barrier(threads)

    def alone() -> None:
        met.wait()  # all are there, so that each does this once
        torch.get_num_threads()  # a thread's first question sets its number to that of the process
        torch.set_num_threads(1)

    for started in [pool.submit(alone) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(threads)  # it holds for the thread that says so, and for those that begin later
    return pool
