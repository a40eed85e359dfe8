"""An accelerator that is none: device "pretend", whose memory is this machine's, and whose rules are a GPU's.

Tensors of two devices do not mix, there is no float64, reading a number waits for the device, and what is
captured for replay may neither wait nor fetch from the host. So where no GPU is, what one would refuse is
refused all the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import torch
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretend"
room = math.inf
"""Numbers that the largest tensor may hold."""
counts: Counter[str] = Counter()
"""Operations by name since the last `clear()`; "upload", "download" and "wait" among them."""


class Backend(_DummyBackendModule):
    """What torch asks a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def manual_seed_all(self, seed: int) -> None:
        """Its random numbers are the host's."""


class Lent(torch.Tensor):
    """A tensor of the device; `raw` is what it stands for."""

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> Lent:
        layout = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, raw.shape, device=f"{NAME}:0", **layout)

    def __init__(self, raw: torch.Tensor) -> None:
        if raw.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"{NAME} has no float64")
        if raw.numel() > room:
            size = f"{raw.nbytes} bytes"
            raise torch.OutOfMemoryError(f"{NAME} out of memory. Tried to allocate {size}. GPU 0 has …")
        self.raw = raw

    def __repr__(self) -> str:
        return f"Lent({self.raw})"

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return perform(operation, args, kwargs or {})


class Recording:
    """A graph: operations in order, with the tensors that they read and write."""

    current: Recording | None = None

    def __init__(self) -> None:
        self.operations: list[tuple] = []

    def replay(self) -> None:
        """Do them again, on what the tensors hold now."""
        for operation, args, kwargs, made in self.operations:
            again = operation(*args, **kwargs)
            for old, new in zip(tensors(made), tensors(again), strict=True):
                old.copy_(new)  # a view copies itself


def capture(function: Callable[[], object], device: torch.device) -> tuple[Callable[[], None], object]:
    """As `engine.graphs.capture_cuda`."""
    Recording.current = recording = Recording()
    try:
        return recording.replay, function()
    finally:
        Recording.current = None


def tensors(tree: object) -> list[torch.Tensor]:
    """The tensors in nested lists and dicts."""
    return [x for x in pytree.tree_leaves(tree) if isinstance(x, torch.Tensor)]


def perform(operation, args: tuple, kwargs: dict):
    """One operation on tensors of the device, on the host, by the rules of a device."""
    name = operation._schema.name.removeprefix("aten::")
    given = tensors((args, kwargs))
    here = [x for x in given if isinstance(x, Lent)]
    kind = _traffic(name, args, kwargs, here, [x for x in given if x.dim() and not isinstance(x, Lent)])
    counts.update([name, kind] if kind else [name])
    if kind and Recording.current:
        raise RuntimeError(f"{name} is a {kind}, which a graph cannot hold")
    raw_args, raw_kwargs = pytree.tree_map(lambda x: x.raw if isinstance(x, Lent) else x, (args, kwargs))
    to_host = str(kwargs.get("device", NAME)).startswith("cpu")
    if "device" in raw_kwargs:
        raw_kwargs["device"] = torch.device("cpu")
    made = operation(*raw_args, **raw_kwargs)
    if Recording.current:
        Recording.current.operations.append((operation, raw_args, raw_kwargs, made))
    changed = [a for a, s in zip(args, operation._schema.arguments, strict=False) if _written(s)]
    if changed:
        return changed[0] if operation._schema.returns else None
    return made if to_host else pytree.tree_map(lambda x: Lent(x) if isinstance(x, torch.Tensor) else x, made)


def _written(argument) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _traffic(name: str, args: tuple, kwargs: dict, here: list, elsewhere: list) -> str:
    """Whether an operation moves numbers between host and device, or waits; RuntimeError if it may not."""
    if name in ("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2"):
        return "wait"
    if name == "_to_copy" and here and str(kwargs.get("device", NAME)).startswith("cpu"):
        return "download"
    if name in ("copy_", "_to_copy"):
        return "upload" if elsewhere and isinstance(args[0], Lent) else "download" if elsewhere else ""
    if elsewhere and here and name in ("index", "index_put_"):  # places may be given by the host
        return "upload"
    if elsewhere and here:
        raise RuntimeError(f"{name} of tensors on {NAME} and cpu, {[tuple(x.shape) for x in elsewhere]}")
    return ""


def lend() -> torch.device:
    """Register the device, once in a process."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME, Backend())
        library = torch.library.Library("_", "IMPL")  # what makes tensors, and has none
        library.fallback(lambda operation, *args, **kwargs: perform(operation, args, kwargs), "PrivateUse1")
        lend.library = library  # it holds while this lives
    return torch.device(NAME, 0)
