"""Processes that train together: who started them, which one this is, what they agree on.

`torchrun` and SLURM start them and say so in the environment; Lightning Fabric does the rest. A single
process needs none of it and pays for none of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def world() -> tuple[int, int]:
    """(nodes, processes on each), as `torchrun` or `srun` started them; (1, 1) alone."""
    env = os.environ
    if "LOCAL_WORLD_SIZE" in env:  # torchrun
        each = int(env["LOCAL_WORLD_SIZE"])
        return int(env["WORLD_SIZE"]) // each, each
    if "SLURM_STEP_NUM_TASKS" in env:  # srun; a batch script itself has no step
        nodes = int(env["SLURM_STEP_NUM_NODES"])
        return nodes, int(env["SLURM_STEP_NUM_TASKS"]) // nodes
    return 1, 1


def size() -> int:
    """Number of processes."""
    nodes, each = world()
    return nodes * each


def rank() -> int:
    """Number of this process; 0 is the only one that writes."""
    return 0 if size() == 1 else int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0)))


def fabric(accelerator: str, precision: str = "32-true") -> Fabric:
    """Lightning Fabric on one device for each process, gradients averaged over all of them (DDP).

    `accelerator` is auto, cpu, cuda, cuda:1 for one process, or mps. Raises ValueError for one not here.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    from engine.devices import device_named

    if accelerator != "auto":  # which Fabric also knows of Apple's GPUs
        device_named(accelerator)
    accelerator, _, number = accelerator.partition(":")
    nodes, each = world()
    if nodes * each == 1:
        return Fabric(accelerator=accelerator, devices=[int(number)] if number else 1, precision=precision)
    strategy = DDPStrategy(broadcast_buffers=False)  # every process computes the same ones
    made = Fabric(
        accelerator=accelerator, devices=each, num_nodes=nodes, strategy=strategy, precision=precision
    )
    made.launch()
    return made


def mean(value: Tensor) -> Tensor:
    """Mean over all processes, the same on each."""
    if not _together():
        return value
    value = value.clone()
    distributed.all_reduce(value)
    return value / distributed.get_world_size()


def agree(value: Any) -> Any:
    """What the first process says."""
    if not _together():
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def anywhere(true: bool, device: torch.device) -> bool:
    """Whether it is true in any process."""
    return bool(true) if not _together() else mean(torch.tensor(float(true), device=device)).item() > 0


def share(tensors: dict[str, Tensor]) -> None:
    """Overwrite tensors by those of the first process."""
    if _together():
        for tensor in tensors.values():
            distributed.broadcast(tensor, 0)


def written_once(path: Path, write: Callable[[BinaryIO], None]) -> BinaryIO:
    """A file that the first process writes and all read; its name goes at once: a kill leaves none."""
    if rank() == 0:
        with path.open("wb") as file:
            write(file)
    agree(None)
    file = path.open("rb", buffering=0)
    if _together():
        distributed.barrier()
    if rank() == 0:
        path.unlink()
    return file


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
