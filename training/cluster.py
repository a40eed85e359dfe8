"""Work spread over processes by Dask: on this machine, or on a cluster whose scheduler is named.

Tasks are whole and know nothing of each other; what they leave are files in folders that all processes see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask.distributed import Client

INSTALL = "Dask is not installed. It comes with `pip install 'ldm_viewer[cluster]'`."


@contextmanager
def workers(count: int, scheduler: str | None = None) -> Iterator[Client]:
    """A client of `count` processes with a thread each on this machine, or of the scheduler at an address.

    Raises ValueError in words without Dask, and where nobody answers at the address.
    """
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError(INSTALL) from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise ValueError(f"no Dask scheduler answers at {scheduler} ({error})") from error
        with client:
            yield client
        return
    about = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": None}
    with LocalCluster(**about) as cluster, Client(cluster) as client:
        yield client


def spread(
    work: Callable[..., Any], tasks: Sequence[tuple], count: int, scheduler: str | None = None
) -> Iterator[tuple[int, Any]]:
    """`work(*task)` for every task; yields (number of the task, result) as they end, in any order.

    Without `count` and `scheduler` one after another in this process. A task whose process dies is begun
    again in another; what a task raises is raised here.
    """
    if not count and scheduler is None:
        yield from ((number, work(*task)) for number, task in enumerate(tasks))
        return
    with workers(count, scheduler) as client:
        from dask.distributed import as_completed

        futures = [client.submit(work, *task, pure=False) for task in tasks]
        numbers = {future.key: number for number, future in enumerate(futures)}
        for future, result in as_completed(futures, with_results=True):
            yield numbers[future.key], result
