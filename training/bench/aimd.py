"""Row: a simulated femtosecond of the default emulator beside one of GPAW, both on this machine, by turns.

On a GPU it is a femtosecond of each of many members; GPAW runs on the processor in either case.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.samples import sample_path
from engine.trajectory import Trajectory
from training import md
from training.bench.frames import MEMBERS, frames, started
from training.bench.timing import Row, Side, Skip


def _aimd(device: str) -> tuple[Side, Side]:
    try:
        import gpaw  # noqa: F401
        import numpy as np
    except ImportError:
        raise Skip("GPAW is not installed") from None
    emulator, work = started()[0], frames(1 if device == "cpu" else MEMBERS, device=device)
    folder = tempfile.TemporaryDirectory()
    config, atoms = md.prepare(md.SimulationConfig(), None)
    truth, draws = Trajectory(sample_path("li32_test.h5")), np.random.default_rng(0)
    atoms.positions = truth.positions(0)  # of the liquid: its electrons converge as they do in a run
    atoms.calc = md.calculator(config, Path(folder.name) / "gpaw.txt")
    md.start(atoms, config, draws)
    mover = md.integrator(atoms, config, "produce", draws)

    def step() -> None:
        mover.step()
        md.solve(atoms, config, with_density=True)
        assert folder  # lives as long as the log is written

    return Side(work.call, units=work.units * emulator.dt_fs), Side(step, units=config.dt_fs)


ROWS = (
    Row(
        "aimd",
        "a simulated fs of the default, 24³",
        "GPAW as `ldm simulate` sets it, 32³",
        200,
        _aimd,
        seconds=20.0,
        least=2,
        gpu_bar=20_000,
    ),
)
