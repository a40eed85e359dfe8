"""Devices by the names that users give them, and what is said when one has no memory left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def device_named(name: str | torch.device) -> torch.device:
    """The device of auto (a GPU if there is one), cpu, cuda, cuda:1 or mps. ValueError for one not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"there is no device {name!r}; say auto, cpu, cuda, cuda:1 or mps") from None
    missing = _missing_cuda(device.index or 0) if device.type == "cuda" else ""
    if device.type == "mps" and not torch.backends.mps.is_available():
        missing = "PyTorch finds no GPU of Apple's"
    if missing:
        raise ValueError(f"{device} cannot be used: {missing}; cpu always can")
    return device


def _missing_cuda(index: int) -> str:
    """What a GPU of that number lacks."""
    if not torch.backends.cuda.is_built():
        return "this PyTorch was built without CUDA"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return "PyTorch finds no CUDA GPU (does nvidia-smi show one?)"
    return "" if index < count else f"the GPUs here are cuda:0 to cuda:{count - 1}"


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turns the failure of an allocation into a MemoryError that says which, and the `advice`."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        reason = str(error).splitlines()[0].split(". GPU")[0].rstrip(".")
        raise MemoryError(f"{reason}. {advice}") from error
