"""Where things came from: code, data and hardware, in plain values for cards and file headers."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from engine.dataset import Split
    from engine.trajectory import Trajectory


def code_version() -> str:
    """Version of this package, with the commit when it runs from a checkout."""
    try:
        release = version("ldm_viewer")
    except PackageNotFoundError:
        release = "0"
    try:
        folder = Path(__file__).parent
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return release
    return f"{release}+{commit}"


def describe_hardware(device: torch.device) -> str:
    """One line: the accelerator, or the processor and its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = f"{platform.machine()} CPU cores ({torch.backends.cpu.get_cpu_capability()})"
    return f"{cores} {kind}, {torch.get_num_threads()} thread(s)"


def describe_data(trajectory: Trajectory, parts: Split) -> dict[str, Any]:
    """What an emulator was trained on, so that it can be asked later which frames it has not seen."""
    return {
        "name": trajectory.path.name,
        "digest": trajectory.digest(),
        "frames": len(trajectory),
        "cell": trajectory.cell.tolist(),
        "composition": trajectory.composition,
        "delta_fs": trajectory.dt_fs,
        "train_fs": _span(parts.train),
        "validation_fs": _span(parts.validation),
        "test_fs": _span(parts.test),
    }


def _span(part: Trajectory) -> list[float] | None:
    return [float(part.times_fs[0]), float(part.times_fs[-1])] if len(part) else None
