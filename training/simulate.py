"""`ldm simulate`: a real AIMD trajectory of the electron density, resumed by the same command.

`simulate` yields an event per finished step; the progress bar, the window and the tests drive it. Stopping at
any event, or killing the process at any instant, costs only the step in progress (see training/parts.py).
"""

from __future__ import annotations

import hashlib
import json
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from training import md
from training.cluster import spread
from training.md import SimulationConfig, SimulationError
from training.parts import Parts

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Event:
    """A finished step, already on disk: energy in eV, temperature in K, density in Å⁻³ from frame 0 on."""

    stage: str  # "melt", "equilibrate", "produce"
    step: int
    last_step: int
    frame: int | None
    temperature: float
    potential_energy: float
    density: np.ndarray | None
    seconds: float


def simulate(config: SimulationConfig, output: Path, structure: Path | None = None) -> Iterator[Event]:
    """Run or resume until `output` holds `config.frames` frames; yields after every step, merges at the end.

    Raises SimulationError, in words, for settings other than the stored ones, a density that is not positive,
    electrons that do not converge, or a missing GPAW.
    """
    world = _world()
    config, atoms = md.prepare(config, structure)
    parts = Parts(output)
    try:
        with _everywhere(world):
            if world.rank == 0:
                parts.claim(_settings(config, atoms))
        yield from _Run(config, atoms, parts, world).steps()
        with _everywhere(world):
            if world.rank == 0 and _frames_in(parts.output) < parts.frames():
                parts.merge()
    finally:
        parts.release()


class _Run:
    """The moving state of a simulation: atoms, random numbers, the energy that the thermostat has given."""

    def __init__(self, config: SimulationConfig, atoms: Atoms, parts: Parts, world: Any) -> None:
        self.config, self.atoms, self.parts, self.world = config, atoms, parts, world
        self.rng = np.random.default_rng(config.seed)
        self.bath = 0.0

    def steps(self) -> Iterator[Event]:
        """All steps that are not on disk yet."""
        done = self.parts.steps()
        if done:
            self._restore(done[-1])
        else:
            md.start(self.atoms, self.config, self.rng)
            self.atoms.calc = md.calculator(self.config, self.parts.log)
            yield self._finish(0, time.perf_counter())
        mover, moving = None, None
        for step in range(done[-1] if done else 0, self.config.last_step):
            started, name = time.perf_counter(), md.stage(self.config, step)
            if name != moving:
                mover, moving = md.integrator(self.atoms, self.config, name, self.rng), name
            given = getattr(mover, "transferred_energy", 0.0)  # Langevin keeps no account
            with self._scf_in_words(step + 1):
                mover.step()
            self.bath += getattr(mover, "transferred_energy", 0.0) - given
            yield self._finish(step + 1, started)

    def _finish(self, step: int, started: float) -> Event:
        """Read the electrons of a step, make it safe on disk, and tell of it."""
        frame = step - self.config.first_frame
        with self._scf_in_words(step):
            solved = md.solve(self.atoms, self.config, with_density=frame >= 0)
        aside = self.parts.folder / "electrons.tmp.gpw"
        self.atoms.calc.write(str(aside), mode="all")
        with _everywhere(self.world):
            if self.world.rank == 0:
                self.parts.keep_electrons(aside, step)
                self.parts.save(step, {**solved, **self._state()})
        return Event(
            stage=md.stage(self.config, step),
            step=step,
            last_step=self.config.last_step,
            frame=frame if frame >= 0 else None,
            temperature=solved["temperature"],
            potential_energy=solved["potential_energy"],
            density=solved.get("density"),
            seconds=time.perf_counter() - started,
        )

    def _state(self) -> dict[str, Any]:
        from ase.units import fs

        return {
            "position": self.atoms.get_positions(),
            "momentum": self.atoms.get_momenta(),  # ASE's unit: an exact restart converts nothing
            "velocity": self.atoms.get_velocities() * fs,  # Å/fs
            "bath_energy": self.bath,
            "rng": json.dumps(self.rng.bit_generator.state),
        }

    def _restore(self, step: int) -> None:
        """Put everything back to where a finished step left it."""
        stored, electrons = self.parts.load(step), self.parts.electrons(step)
        self.atoms.positions = stored["position"]
        self.atoms.set_momenta(stored["momentum"], apply_constraint=False)
        self.rng.bit_generator.state = json.loads(str(stored["rng"]))
        self.bath = float(stored["bath_energy"])
        if not electrons.exists():
            warnings.warn(
                f"{electrons} is gone: the electrons start afresh, and the run continues as it would have "
                "only within their convergence.",
                stacklevel=2,
            )
        self.atoms.calc = md.calculator(
            self.config, self.parts.log, electrons if electrons.exists() else None
        )

    @contextmanager
    def _scf_in_words(self, step: int) -> Iterator[None]:
        from gpaw import KohnShamConvergenceError

        try:
            yield
        except KohnShamConvergenceError as error:
            raise SimulationError(
                f"The electrons of step {step} do not converge (see {self.parts.log}). All steps before it "
                "are safe. A run with smaller dt_fs, larger smearing_eV or smaller β of mixing may converge."
            ) from error


def command(
    config: SimulationConfig, output: Path, structure: Path | None = None, merge_only: bool = False
) -> Path | None:
    """`simulate` behind a progress bar; Ctrl-C ends after the current step. Returns the finished file.

    None when frames are missing yet. With `merge_only` nothing is computed: `output` gets the frames so far.
    """
    from tqdm import tqdm

    if merge_only:
        return Parts(output).merge()
    world = _world()
    bar: tqdm | None = None
    with _interrupts() as asked:
        for event in simulate(config, output, structure):
            if bar is None:
                bar = tqdm(total=event.last_step + 1, initial=event.step, unit="step", disable=world.rank > 0)
            bar.set_description(event.stage)
            bar.set_postfix_str(f"{event.temperature:.0f} K, {event.potential_energy:.2f} eV", refresh=False)
            bar.update(1)
            stop = world.max_scalar(len(asked))  # all processes end after the same step
            if stop and event.step < event.last_step:
                break
    if bar is not None:
        bar.close()
    return _report(Parts(output), speak=world.rank == 0)


def several(
    config: SimulationConfig,
    output: Path,
    structure: Path | None,
    seeds: Sequence[int],
    workers: int = 0,
    scheduler: str | None = None,
) -> list[Path]:
    """A run for each seed, spread over processes by Dask; every one resumes, also after its process died."""
    if len(set(seeds)) < len(seeds):
        raise SimulationError(f"The seeds {list(seeds)} are to be different: equal ones give equal runs.")
    paths = [output.resolve().with_name(f"{output.stem}-seed{seed}{output.suffix}") for seed in seeds]
    place = None if structure is None else structure.resolve()
    tasks = [(replace(config, seed=seed), path, place) for seed, path in zip(seeds, paths, strict=True)]
    for number, frames in spread(run_through, tasks, workers, scheduler):
        print(f"{paths[number]}: {frames} frames", flush=True)
    return paths


def run_through(config: SimulationConfig, output: Path, structure: Path | None) -> int:
    """A whole run without a word: what a worker does. Returns the number of frames."""
    for _ in simulate(config, output, structure):
        pass
    return _frames_in(output)


def _report(parts: Parts, speak: bool) -> Path | None:
    """Say what there is now; the output if all frames are there."""
    frames, wanted = parts.frames(), parts.settings()["config"]["frames"]
    if frames >= wanted:
        size = sum(path.stat().st_size for path in parts.folder.iterdir()) / 2**20
        text = (
            f"{parts.output}: {frames} frames. {parts.folder} ({size:.0f} MiB) is needed only to continue "
            "the run with more frames."
        )
    else:
        text = (
            f"Stopped: {frames} of {wanted} frames are safe in {parts.folder}. The same command continues; "
            "with --merge-only it writes the frames so far."
        )
    if speak:
        print(text)
    return parts.output if frames >= wanted else None


def _settings(config: SimulationConfig, atoms: Atoms) -> dict[str, Any]:
    """What identifies a run, and what its trajectory file will say of it."""
    digest = hashlib.sha256()
    for array in (atoms.numbers, atoms.get_positions(), atoms.get_momenta(), np.asarray(atoms.cell)):
        digest.update(np.ascontiguousarray(array).tobytes())
    versions = {name: metadata.version(name) for name in ("gpaw", "gpaw-data", "ase")}
    return {
        "config": asdict(config),
        "versions": versions,
        "structure": f"{atoms.get_chemical_formula()} {digest.hexdigest()[:12]}",
        "first_frame": config.first_frame,
        "cell": np.asarray(atoms.cell).tolist(),
        "species": atoms.numbers.tolist(),
        "provenance": {
            "code": "GPAW",
            "versions": versions,
            "field": "pseudo electron number density, without compensation charges",
            "energy": "potential_energy is the free energy, whose gradient the forces are",
            "ensemble": "NVT, Bussi thermostat, after Langevin melt and equilibration",
            "degrees_of_freedom": int(atoms.get_number_of_degrees_of_freedom()),
        },
    }


def _frames_in(path: Path) -> int:
    if not path.exists():
        return 0
    with h5py.File(path, "r") as file:
        return len(file["observables/density/value"])


def _world() -> Any:
    """GPAW's communicator of all processes (of one, in serial)."""
    try:
        from gpaw.mpi import world
    except ImportError as error:
        raise SimulationError(md.INSTALL) from error
    return world


@contextmanager
def _everywhere(world: Any) -> Iterator[None]:
    """What fails on one process fails on all, so that nobody waits for ever."""
    from gpaw.mpi import broadcast_exception

    with broadcast_exception(world):
        yield


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM as requests to stop; a second Ctrl-C insists."""
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        asked.append(number)
        if len(asked) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
