"""The kill-safe store of a running simulation: a folder `<OUT>.parts` beside the trajectory it will become.

    settings.json        what the run is; a run with other settings is refused
    step_000000042.npz   a finished step: ions, momenta, random numbers, energies; from frame 0 on the density
    electrons_000000042.gpw   wave functions of the last finished step
    lock                 held by the process that writes (the system lets go of it when that process dies)

A step file is written aside, synced and renamed: it is whole or not there. A run continues after the last
one, so no frame can be lost or doubled. The HDF5 file is made from the folder, at the end or before.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine.trajectory import TrajectoryWriter
from training.md import SimulationError

SCALARS = (
    "potential_energy",
    "energy_extrapolated",
    "kinetic_energy",
    "temperature",
    "bath_energy",
    "electrons",
)
EXTENSIBLE = ("frames",)  # the only setting that may change between two sessions of a run


class Parts:
    """Finished steps of the run that becomes `output`. Only the master process may call what writes."""

    def __init__(self, output: Path) -> None:
        """Nothing is touched before claim()."""
        self.output = Path(output)
        self.folder = self.output.with_name(f"{self.output.name}.parts")
        self._lock: IO[str] | None = None

    @property
    def log(self) -> Path:
        """GPAW's text output of this session."""
        return self.folder / "gpaw.txt"

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Take the folder for a run with these settings; refuses one in use, foreign or set differently."""
        if self.output.exists() and not self.folder.exists():
            raise SimulationError(
                f"{self.output} exists and has no {self.folder.name} beside it to continue from. "
                "Choose another output, or move that file away."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / "lock", "w")  # stays open as long as the run
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SimulationError(
                f"Another process is writing {self.folder}; wait for it, or stop it."
            ) from error
        if (self.folder / "settings.json").exists():
            _require_same(self.settings(), json.loads(json.dumps(settings)), self.folder)
        self._write("settings.json", json.dumps(settings, indent=1).encode())
        self._require_gapless()
        for leftover in self.folder.glob("*.tmp*"):
            leftover.unlink()

    def release(self) -> None:
        """Let another process continue the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def settings(self) -> dict[str, Any]:
        """What the run in this folder is; SimulationError when there is none."""
        try:
            return json.loads((self.folder / "settings.json").read_text())
        except FileNotFoundError as error:
            raise SimulationError(f"There is no simulation to read in {self.folder}.") from error

    def steps(self) -> list[int]:
        """Numbers of the finished steps, ascending."""
        return sorted(int(path.stem.removeprefix("step_")) for path in self.folder.glob("step_?????????.npz"))

    def frames(self) -> int:
        """How many finished steps are frames of the production."""
        return max(0, len(self.steps()) - self.settings()["first_frame"])

    def load(self, step: int) -> dict[str, np.ndarray]:
        """Everything stored of a step."""
        with np.load(self.folder / f"step_{step:09d}.npz", allow_pickle=False) as file:
            return dict(file)

    def save(self, step: int, values: Mapping[str, Any]) -> None:
        """Make a step finished, for good; its wave functions must be there already (see electrons)."""
        part = self.folder / f"step_{step:09d}.tmp"
        with open(part, "wb") as file:
            np.savez(file, **values)
            _sync(file)
        os.replace(part, self.folder / f"step_{step:09d}.npz")
        for old in self.folder.glob("electrons_*.gpw"):
            if old != self.electrons(step):
                old.unlink()

    def electrons(self, step: int) -> Path:
        """Where the wave functions of a step are."""
        return self.folder / f"electrons_{step:09d}.gpw"

    def keep_electrons(self, written: Path, step: int) -> None:
        """Give the wave functions, written aside, their name."""
        with open(written, "rb") as file:
            os.fsync(file.fileno())
        os.replace(written, self.electrons(step))

    def merge(self) -> Path:
        """Write all finished frames to `output` (aside, then renamed); also while the run goes on."""
        settings, steps = self.settings(), self.steps()
        first = settings["first_frame"]
        frames = [step for step in steps if step >= first]
        if not frames:
            raise SimulationError(
                f"{self.folder} has no frame yet: {len(steps)} of {first} steps of melt and equilibration "
                "are done."
            )
        config = settings["config"]
        writer = TrajectoryWriter(
            self.output,
            grid=config["grid"],
            cell=np.array(settings["cell"]),
            species=settings["species"],
            dtype=config["dtype"],
            parameters=settings["provenance"] | config,
            units={"bath_energy": "eV"},
        )
        with writer:
            for step in frames:
                values = self.load(step)
                writer.append(
                    values["density"],
                    time_fs=(step - first) * config["dt_fs"],
                    positions=values["position"],
                    velocities=values["velocity"],
                    forces=values["force"],
                    scalars={name: float(values[name]) for name in SCALARS},
                    density_all_electron=values.get("density_all_electron"),
                )
        return self.output

    def _require_gapless(self) -> None:
        steps = self.steps()
        missing = sorted(set(range(len(steps))) - set(steps))
        if missing:
            raise SimulationError(
                f"{self.folder} lacks step {missing[0]} though later ones are there: it cannot be continued. "
                "Put the file back, or choose another output."
            )

    def _write(self, name: str, content: bytes) -> None:
        part = self.folder / f"{name}.tmp"
        with open(part, "wb") as file:
            file.write(content)
            _sync(file)
        os.replace(part, self.folder / name)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _require_same(stored: Mapping[str, Any], asked: Mapping[str, Any], folder: Path) -> None:
    """Raises SimulationError that names every setting that differs."""
    before, now = ({**s["config"], **s["versions"], "structure": s["structure"]} for s in (stored, asked))
    different = [
        f"{name} = {before.get(name)} (now {now.get(name)})"
        for name in sorted(set(before) | set(now))
        if name not in EXTENSIBLE and before.get(name) != now.get(name)
    ]
    if different:
        raise SimulationError(
            f"The run in {folder} was started with {', '.join(different)}. "
            "Continue it with its own settings, or choose another output."
        )
