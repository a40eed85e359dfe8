"""Real, tiny GPAW runs: four lithium atoms, a coarse cutoff. The laws hold as they do for the paper's 32."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.trajectory import Trajectory
from training import md
from training.md import PRESETS, SimulationConfig, SimulationError
from training.parts import Parts
from training.simulate import command, simulate

needs_gpaw = pytest.mark.skipif(
    importlib.util.find_spec("gpaw") is None, reason="GPAW is an extra: pip install 'ldm_viewer[gpaw]'"
)
TINY = SimulationConfig(
    frames=6,
    melt_steps=1,
    equilibration_steps=2,
    ecut_eV=150,
    spacing_A=0.37,
    dtype="float32",
    all_electron=True,
)


@pytest.fixture(scope="session")
def structure(tmp_path_factory):
    from ase.build import bulk

    atoms = bulk("Li", "fcc", a=4.33, cubic=True)
    atoms.rattle(0.2, seed=3)
    path = tmp_path_factory.mktemp("structure") / "li4.xyz"
    atoms.write(path)
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory, structure):
    """An uninterrupted run: its file and its events."""
    output = tmp_path_factory.mktemp("run") / "li4.h5"
    return output, list(simulate(TINY, output, structure))


@needs_gpaw
def test_file_holds_what_was_computed(run):
    output, events = run
    trajectory = Trajectory(output)
    assert len(trajectory) == TINY.frames and trajectory.grid == (12, 12, 12)
    assert trajectory.composition == {"Li": 4} and np.allclose(trajectory.cell, 4.33 * np.eye(3))
    np.testing.assert_allclose(trajectory.times_fs, 2.0 * np.arange(TINY.frames))
    stored = [event for event in events if event.frame is not None]
    assert [event.frame for event in stored] == list(range(TINY.frames))
    assert [event.step for event in events] == list(range(TINY.frames + 3))
    np.testing.assert_array_equal(trajectory.density(), [event.density for event in stored])
    np.testing.assert_allclose(trajectory.scalar("temperature"), [event.temperature for event in stored])
    electrons = trajectory.density().mean(axis=(1, 2, 3)) * np.linalg.det(trajectory.cell)
    np.testing.assert_allclose(trajectory.scalar("electrons"), electrons, rtol=1e-5)
    assert trajectory.parameters["ecut_eV"] == 150 and trajectory.parameters["code"] == "GPAW"


@needs_gpaw
def test_temperature_counts_the_degrees_of_freedom_that_move(run):
    """½ Σ m v² = ½ (3N − 3) k T with the centre of mass at rest."""
    from ase import units
    from ase.data import atomic_masses

    trajectory = Trajectory(run[0])
    velocities = trajectory.velocities().astype(float) / units.fs
    kinetic = 0.5 * atomic_masses[3] * (velocities**2).sum(axis=(1, 2))
    np.testing.assert_allclose(kinetic, trajectory.scalar("kinetic_energy"), rtol=1e-5)
    np.testing.assert_allclose(2 * kinetic / (9 * units.kB), trajectory.scalar("temperature"), rtol=1e-5)
    np.testing.assert_allclose(velocities.mean(axis=1), 0, atol=1e-6)


@needs_gpaw
def test_ions_obey_newton_and_the_bath_accounts_for_the_rest(run):
    """(x₊ − x₋)/2Δt = v to the thermostat's change, and E_kin + F − E_bath is constant."""
    trajectory = Trajectory(run[0])
    x, v = (array.astype(float) for array in (trajectory.positions(), trajectory.velocities()))
    assert np.abs((x[2:] - x[:-2]) / 4.0 - v[1:-1]).max() < 0.1 * np.abs(v).max()
    parts = ("kinetic_energy", "potential_energy", "bath_energy")
    kinetic, free, bath = (trajectory.scalar(name) for name in parts)
    assert np.ptp(kinetic + free - bath) < 0.1 * np.ptp(bath)
    assert np.ptp(bath) > 0.01  # there was something to account for


@needs_gpaw
def test_all_electron_density_has_every_electron(run):
    """∫ρ dV = 12 for four Li; the pseudo density is another field, with about its 4 valence electrons."""
    whole = Trajectory(run[0], field="density_all_electron")
    volume = np.linalg.det(whole.cell)
    np.testing.assert_allclose(whole.density().mean(axis=(1, 2, 3)) * volume, 12, rtol=1e-3)
    pseudo = Trajectory(run[0]).density()
    assert pseudo.min() > 0 and np.all(np.abs(pseudo.mean(axis=(1, 2, 3)) * volume - 4) < 1)


@needs_gpaw
def test_forces_are_the_gradient_of_the_stored_energy(tmp_path, structure):
    """F(x + h) − F(x − h) = −2 h f of the free energy; the extrapolated energy misses that."""
    config, atoms = md.prepare(
        replace(
            TINY, smearing_eV=0.4, density_tolerance=1e-6, eigenstate_tolerance=1e-9, energy_tolerance=1e-7
        ),
        structure,
    )
    atoms.calc = md.calculator(config, tmp_path / "gpaw.txt")
    force, h = md.solve(atoms, config, with_density=False)["force"][1, 0], 0.02
    free, extrapolated = [], []
    start = atoms.get_positions()
    for sign in (1, -1):
        moved = start.copy()
        moved[1, 0] += sign * h
        atoms.set_positions(moved, apply_constraint=False)
        solved = md.solve(atoms, config, with_density=False)
        free.append(solved["potential_energy"])
        extrapolated.append(solved["energy_extrapolated"])
    assert abs(force) > 0.05
    slope = -np.diff(free[::-1])[0] / (2 * h)
    assert slope == pytest.approx(force, abs=0.01 * abs(force))
    assert abs(-np.diff(extrapolated[::-1])[0] / (2 * h) - force) > 0.03 * abs(force)


def assert_same_run(resumed: Path, whole: Path) -> None:
    """No frame lost, none doubled, and every number that of the uninterrupted run."""
    steps, same = Parts(resumed).steps(), Parts(whole).steps()
    assert steps == same == list(range(len(steps)))
    for step in steps:
        a, b = Parts(resumed).load(step), Parts(whole).load(step)
        assert a.keys() == b.keys() and str(a["rng"]) == str(b["rng"])
        for name in set(a) - {"rng"}:
            where = f"{name} of step {step}"
            np.testing.assert_allclose(a[name], b[name], rtol=1e-6, atol=1e-9, err_msg=where)
    np.testing.assert_allclose(Trajectory(resumed).times_fs, Trajectory(whole).times_fs)


def started(output: Path, structure: Path, call: str) -> subprocess.Popen:
    """A process of its own that runs the same simulation."""
    code = (
        "from pathlib import Path; from training.simulate import *; from training.md import *\n"
        f"c = SimulationConfig(**{TINY.__dict__!r})\n"
        f"o, s = Path({str(output)!r}), Path({str(structure)!r})\n{call}"
    )
    root = Path(__file__).parents[1]
    return subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)


def wait_for(output: Path, steps: int, process: subprocess.Popen) -> None:
    while len(Parts(output).steps()) < steps:
        assert process.poll() is None, "the run ended before it could be interrupted"
        time.sleep(0.005)


@needs_gpaw
def test_kill_9_loses_no_frame_and_changes_nothing(tmp_path, structure, run):
    """Killed twice, in the equilibration and in the production, the run is the uninterrupted one."""
    output = tmp_path / "li4.h5"
    for steps in (2, 5):
        process = started(output, structure, "list(simulate(c, o, s))")
        wait_for(output, steps, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = len(Parts(output).steps())
    events = list(simulate(TINY, output, structure))
    assert [event.step for event in events] == list(range(done, TINY.frames + 3))
    assert_same_run(output, run[0])


@needs_gpaw
def test_death_between_wave_functions_and_step_is_harmless(tmp_path, structure, run, monkeypatch):
    output = tmp_path / "li4.h5"
    save = Parts.save

    def die(self, step, values):
        if step == 4:
            raise InterruptedError
        save(self, step, values)

    monkeypatch.setattr(Parts, "save", die)
    with pytest.raises(InterruptedError):
        list(simulate(TINY, output, structure))
    monkeypatch.undo()
    (Parts(output).folder / "step_000000004.tmp").write_bytes(b"half a fra")
    list(simulate(TINY, output, structure))
    assert_same_run(output, run[0])


@needs_gpaw
def test_without_wave_functions_the_run_goes_on_within_convergence(tmp_path, structure, run):
    output = tmp_path / "li4.h5"
    for event in simulate(TINY, output, structure):
        if event.step == 5:
            break
    Parts(output).electrons(5).unlink()
    with pytest.warns(UserWarning, match="start afresh"):
        list(simulate(TINY, output, structure))
    np.testing.assert_allclose(Trajectory(output).positions(), Trajectory(run[0]).positions(), atol=1e-3)


@needs_gpaw
def test_a_finished_run_can_be_made_longer_and_looked_at_before(tmp_path, structure, run):
    output = tmp_path / "li4.h5"
    short = replace(TINY, frames=2)
    list(simulate(short, output, structure))
    assert len(Trajectory(output)) == 2
    assert list(simulate(short, output, structure)) == []  # nothing left to do
    for event in simulate(TINY, output, structure):
        if event.frame == 3:
            break
    assert len(Trajectory(command(TINY, output, structure, merge_only=True))) == 4
    list(simulate(TINY, output, structure))
    assert_same_run(output, run[0])


@needs_gpaw
def test_ctrl_c_ends_after_the_step_and_says_how_to_go_on(tmp_path, structure, run):
    output = tmp_path / "li4.h5"
    process = started(output, structure, "command(c, o, s)")
    wait_for(output, 5, process)
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "The same command continues" in said and not output.exists()
    assert command(TINY, output, structure) == output
    assert_same_run(output, run[0])


@needs_gpaw
def test_other_settings_are_refused_in_words(tmp_path, structure, run):
    output, _ = run
    with pytest.raises(SimulationError, match=r"temperature_K = 800\.0 \(now 900\.0\)"):
        next(simulate(replace(TINY, temperature_K=900.0), output, structure))
    with pytest.raises(SimulationError, match="structure = Li4"):
        next(simulate(replace(TINY, grid=(24, 24, 24)), output))
    other = tmp_path / "other.h5"
    other.write_bytes(b"something dear")
    with pytest.raises(SimulationError, match="exists and has no"):
        next(simulate(TINY, other, structure))
    assert other.read_bytes() == b"something dear"


@needs_gpaw
def test_one_run_has_one_writer(tmp_path, structure):
    first = simulate(TINY, tmp_path / "li4.h5", structure)
    next(first)
    with pytest.raises(SimulationError, match="Another process"):
        next(simulate(TINY, tmp_path / "li4.h5", structure))
    first.close()
    assert next(simulate(TINY, tmp_path / "li4.h5", structure)).step == 1


@needs_gpaw
@pytest.mark.slow
def test_lithium_as_in_the_paper(tmp_path):
    """32 Li at 300 eV: 93 degrees of freedom, 36.8 pseudo electrons, ln ρ near −2.9."""
    config = replace(PRESETS["small"], frames=2, melt_steps=0, equilibration_steps=0)
    output = tmp_path / "li32.h5"
    list(simulate(config, output))
    trajectory = Trajectory(output)
    assert trajectory.grid == (32, 32, 32) and trajectory.formula == "Li32"
    assert trajectory.parameters["degrees_of_freedom"] == 93
    np.testing.assert_allclose(trajectory.scalar("electrons"), 36.79, atol=0.05)
    assert np.log(trajectory.density()).mean() == pytest.approx(-2.91, abs=0.04)


@needs_gpaw
@pytest.mark.slow
def test_any_periodic_crystal_resumes_exactly(tmp_path):
    """A skew cell of silicon with k-points, whose wave functions are complex."""
    from ase.build import bulk

    atoms = bulk("Si")
    atoms.rattle(0.05, seed=1)
    atoms.write(tmp_path / "POSCAR", format="vasp")
    config = replace(TINY, frames=4, melt_steps=None, ecut_eV=200, spacing_A=0.33, kpts=(2, 2, 2))
    list(simulate(config, tmp_path / "whole.h5", tmp_path / "POSCAR"))
    for event in simulate(config, tmp_path / "resumed.h5", tmp_path / "POSCAR"):
        if event.frame == 1:
            break
    assert len(list(simulate(config, tmp_path / "resumed.h5", tmp_path / "POSCAR"))) == 2
    assert_same_run(tmp_path / "resumed.h5", tmp_path / "whole.h5")
