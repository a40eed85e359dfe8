"""`ldm rollout`: forecast into a trajectory file, one frame in memory at a time.

An ensemble may be forecast in groups of members, each into a file of its own, which are merged at the end.
A group is the same numbers wherever it is computed, in this process or in others that Dask spreads them over;
so is the merged file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from engine.emulator import Emulator
from engine.provenance import code_version
from engine.rollout import rollout
from engine.samples import emulator_folder
from engine.trajectory import Trajectory, TrajectoryWriter
from training.cluster import spread

GROUP = 8
"""Members that a worker forecasts together."""


def open_emulator(model: str | Path | None, device: str = "auto") -> Emulator:
    """An emulator by folder or by the name of a shipped one; None is the shipped default."""
    return Emulator.load(emulator_folder(model), device)


def write_rollout(
    emulator: Emulator,
    data: Trajectory,
    out: Path,
    *,
    start: int,
    frames: int,
    members: int,
    seed: int,
    first_member: int = 0,
) -> Iterator[int]:
    """Write frames as they are made and yield how many; a closed generator keeps those it has written."""
    truth = emulator.adapt(data)
    state = emulator.initial_state(truth, start)
    about = provenance(emulator, truth, start=start, seed=seed, first_member=first_member)
    begin_fs = about["start_fs"]
    shape = {"grid": truth.grid, "cell": data.cell, "species": data.species}
    ensemble = members if members > 1 else None
    draws = {"members": members, "first_member": first_member, "seed": seed}
    with TrajectoryWriter(out, members=ensemble, parameters=about, keep_partial=True, **shape) as writer:
        for frame in rollout(emulator, state, frames, **draws):
            density = frame.density if ensemble else frame.density[0]
            writer.append(density, time_fs=begin_fs + frame.time_fs)
            yield frame.index + 1


def provenance(
    emulator: Emulator, truth: Trajectory, *, start: int, seed: int, first_member: int = 0, **_: int
) -> dict[str, Any]:
    """What the file says of a forecast from frame `start` of an adapted trajectory."""
    about = {
        "emulator": emulator.name,
        "data": truth.path.name,
        "start_fs": float(truth.times_fs[start]),
        "seed": seed,
        "code": code_version(),
        "density": "forecast of the pseudo electron number density",
    }
    return about | ({"first_member": first_member} if first_member else {})


def run(
    data: Path,
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    *,
    model: str | None = None,
    start: int = 1,
    frames: int = 300,
    members: int = 1,
    seed: int = 0,
    device: str = "auto",
    group: int | None = None,
    workers: int = 0,
    scheduler: str | None = None,
) -> None:
    """Forecast a trajectory and write it as a trajectory file.

    Args:
        data: trajectory that holds the start.
        out: file to write (H5MD); Ctrl-C keeps the frames made so far.
        model: folder of an emulator or name of a shipped one; without it the shipped default. Like the
            paper's may be given another sampler: paper@ddim:50, paper@dpm:20.
        start: frame of `data`, on the model's time step, to start from (1 or later: a state needs its past).
        frames: steps to forecast.
        members: members of the ensemble.
        seed: seed; member k draws the same noise whatever the number of members.
        device: auto, cpu, cuda or mps.
        group: members forecast together; without it all, or 8 where they are spread over workers.
        workers: processes on this machine that Dask spreads the groups over.
        scheduler: address of a running Dask scheduler, such as tcp://node1:8786, to use instead.
    """
    group = group or (members if not workers and scheduler is None else GROUP)
    about = {"start": start, "frames": frames, "seed": seed}
    if group >= members:
        _together(data, out, model, device, about | {"members": members})
    else:
        folder = emulator_folder(model).resolve()
        groups = [
            about | {"members": min(group, members - first), "first_member": first}
            for first in range(0, members, group)
        ]
        _in_groups(out, [(folder, data.resolve(), device, one) for one in groups], workers, scheduler)
    print(f"{out}: {Trajectory(out)!r}")


def _together(data: Path, out: Path, model: str | None, device: str, about: dict) -> None:
    """One group in this process; Ctrl-C keeps the frames made so far."""
    emulator = open_emulator(model, device)
    written = write_rollout(emulator, Trajectory(data), out, **about)
    try:
        for _ in tqdm(written, total=about["frames"], unit="frame", desc=emulator.name):
            pass
    except KeyboardInterrupt:
        written.close()


def _in_groups(out: Path, tasks: list[tuple], workers: int, scheduler: str | None) -> None:
    """Groups as files in `OUT.groups`, merged into `out`; those that are there already are not made again."""
    folder = out.resolve().with_name(f"{out.name}.groups")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"members-{task[-1]['first_member']:06d}.h5" for task in tasks]
    works = [(*task, path) for task, path in zip(tasks, paths, strict=True)]
    done = spread(forecast_group, works, workers, scheduler)
    for _ in tqdm(done, total=len(works), unit="group"):
        pass
    merge_members(paths, out)
    for path in paths:
        path.unlink()
    folder.rmdir()


def forecast_group(folder: Path, data: Path, device: str, about: dict, out: Path) -> None:
    """Forecast some members into `out`, unless it holds just that: this is what a worker does."""
    emulator, trajectory = open_emulator(folder, device), Trajectory(data)
    if not _holds(out, trajectory, emulator, about):
        for _ in write_rollout(emulator, trajectory, out, **about):
            pass


def _holds(out: Path, data: Trajectory, emulator: Emulator, about: dict) -> bool:
    if not out.exists():
        return False
    with Trajectory(out) as made:
        expected = provenance(emulator, emulator.adapt(data), **about)
        return (len(made), made.members) == (about["frames"], about["members"]) and all(
            made.parameters.get(name) == value for name, value in expected.items()
        )


def merge_members(paths: list[Path], out: Path) -> None:
    """One ensemble from files of some members each, in this order, a frame in memory at a time."""
    parts = [Trajectory(path) for path in paths]
    with ExitStack() as stack:
        first, *_ = [stack.enter_context(part) for part in parts]
        about = {name: value for name, value in first.parameters.items() if name != "first_member"}
        writer = TrajectoryWriter(
            out,
            grid=first.grid,
            cell=first.cell,
            species=first.species,
            members=sum(part.members for part in parts),
            dtype=first.storage,
            parameters=about,
        )
        with writer:
            for index, time_fs in enumerate(first.times_fs):
                frames = [part.density(index).reshape(-1, *first.grid) for part in parts]
                writer.append(np.concatenate(frames), time_fs=float(time_fs))
