"""`ldm rollout`: forecast into a trajectory file, one frame in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from engine.emulator import Emulator
from engine.provenance import code_version
from engine.rollout import rollout
from engine.samples import shipped
from engine.trajectory import Trajectory, TrajectoryWriter


def open_emulator(model: str | Path | None, device: str = "auto") -> Emulator:
    """An emulator by folder or by the name of a shipped one; None is the shipped default."""
    emulators = shipped()
    folder = next(iter(emulators.values())) if model is None else emulators.get(str(model), Path(model))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Emulator.load(folder, device)


def write_rollout(
    emulator: Emulator, data: Trajectory, out: Path, *, start: int, frames: int, members: int, seed: int
) -> Iterator[int]:
    """Write frames as they are made and yield how many; a closed generator keeps those it has written."""
    truth = emulator.adapt(data)
    state = emulator.initial_state(truth, start)
    begin_fs = float(truth.times_fs[start])
    about = {
        "emulator": emulator.name,
        "data": data.path.name,
        "start_fs": begin_fs,
        "seed": seed,
        "code": code_version(),
        "density": "forecast of the pseudo electron number density",
    }
    shape = {"grid": emulator.grid, "cell": data.cell, "species": data.species}
    ensemble = members if members > 1 else None
    with TrajectoryWriter(out, members=ensemble, parameters=about, keep_partial=True, **shape) as writer:
        for frame in rollout(emulator, state, frames, members=members, seed=seed):
            density = frame.density if ensemble else frame.density[0]
            writer.append(density, time_fs=begin_fs + frame.time_fs)
            yield frame.index + 1


def run(
    data: Path, out: Path, *, model: str | None, start: int, frames: int, members: int, seed: int, device: str
) -> None:
    """Drive `write_rollout` with a progress bar."""
    emulator = open_emulator(model, device)
    written = write_rollout(
        emulator, Trajectory(data), out, start=start, frames=frames, members=members, seed=seed
    )
    try:
        for _ in tqdm(written, total=frames, unit="frame", desc=emulator.name):
            pass
    except KeyboardInterrupt:
        written.close()
    print(f"{out}: {Trajectory(out)!r}")
