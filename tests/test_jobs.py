"""Trainings as processes: found by their folder, paused, killed, resumed, cut to a budget; none is lost."""

import csv
import os
import signal
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest
from waves import write_wave

import engine.trainer
from engine.emulator import Emulator
from engine.jobs import BusyError, Job, Status, claim, holder
from engine.recipes import PAPER, SPATIAL, SPECTRAL
from engine.runstate import STATE
from engine.tailor import Estimate, Pace, fitted, measure, on_grid, with_steps, within
from engine.trajectory import Trajectory
from ldm_viewer import jobs
from ldm_viewer.jobs import JobError, Standing, look
from ldm_viewer.preview import preview

PATIENCE_S = 200  # for a process to come up on a loaded machine


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def tiny(wave_file):
    """The spectral recipe with few weights, on the wave's grid."""
    recipe = fitted(SPECTRAL, Trajectory(wave_file))
    diffusion = replace(recipe.diffusion, width=8, blocks=1, knots=4)
    training = replace(recipe.training, latent_steps=60, latent_pairs=2, log_every=1, checkpoint_every=20)
    return replace(recipe, name="tiny", diffusion=diffusion, training=training)


@pytest.fixture
def endless(tiny):
    return replace(tiny, training=replace(tiny.training, latent_steps=10**6))


@pytest.fixture
def processes():
    """Whatever a test starts is ended with it."""
    started = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def until(true, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def steps_logged(folder):
    with (folder / "log.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["loss"]]


def test_a_job_comes_back_from_its_folder(tiny, wave_file, tmp_path):
    job = Job(tiny, wave_file, tmp_path, "cpu", minutes=2.0, plan=with_steps(tiny, 7))
    job.save()
    assert Job.load(tmp_path) == job
    asked_again = replace(job, plan=None)
    assert asked_again.with_plan_of(job) == job
    assert replace(asked_again, minutes=3.0).with_plan_of(job).plan is None
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Job.load(tmp_path)


def test_one_process_at_a_time_holds_a_folder(tmp_path):
    assert holder(tmp_path) is None
    with claim(tmp_path):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(BusyError, match=f"process {os.getpid()} is training"), claim(tmp_path):
            pass
    assert holder(tmp_path) is None


def test_steps_are_shared_as_before_and_a_short_run_still_checks_itself():
    short = with_steps(SPATIAL, 70).training
    assert (short.joint_steps, short.latent_steps) == (10, 60)
    assert short.checkpoint_every == 6 and short.log_every == 1 and short.ema == 0.0
    assert with_steps(SPECTRAL, SPECTRAL.training.latent_steps) == SPECTRAL


def test_a_budget_in_minutes_is_filled_and_not_exceeded():
    paces = (Pace("autoencoder", 1000, 0.2, 1.5, 3.0), Pace("latent", 6000, 0.03, 0.5, 6.0))
    estimate = Estimate(paces, load_s=2.0, memory_mib=0, device_memory_mib=0, parameters=0)
    for seconds in (60, 600, 36_000):
        found = within(SPATIAL, estimate, seconds)
        steps = found.training.joint_steps + found.training.latent_steps
        assert estimate.seconds(found) <= seconds < 1.25 * estimate.seconds(with_steps(SPATIAL, steps + 1))
        assert found.training.joint_steps == round(steps / 7)


def test_a_grid_suits_the_cell_and_the_network(tmp_path):
    cell = np.diag([4.0, 8.66, 13.0])
    trajectory = Trajectory(write_wave(tmp_path / "long.h5", cell=cell, step_fs=1.0)).resampled((48, 48, 48))
    spectral = fitted(SPECTRAL, trajectory)
    assert spectral.data.grid == (12, 24, 36) and spectral.autoencoder.grid == (8, 16, 24)
    assert spectral.data.stride == 10  # Δτ stays 10 fs
    assert fitted(PAPER, trajectory).data.grid == (8, 24, 40) and fitted(PAPER, trajectory).data.stride == 1
    assert on_grid(spectral, SPECTRAL.data.grid).autoencoder.grid == SPECTRAL.autoencoder.grid


def test_measuring_leaves_nothing_and_counts_what_a_training_does(tiny, wave_file):
    found = measure(tiny, Trajectory(wave_file), "cpu", seconds=0.2)
    assert [pace.stage for pace in found.paces] == ["latent"] and found.paces[0].steps == 60
    one = found.seconds(with_steps(tiny, 100))
    more = found.seconds(with_steps(tiny, 200))
    assert more - one == pytest.approx(100 * found.paces[0].step_s, rel=1e-6)
    assert found.memory_mib > 100 and found.parameters > 100


def test_state_is_kept_by_the_clock_too(endless, wave_file, tmp_path, monkeypatch):
    never = replace(endless, training=replace(endless.training, checkpoint_every=10**6))
    monkeypatch.setattr(engine.trainer, "SAFE_S", 0.0)
    events = engine.trainer.train(never, Trajectory(wave_file), tmp_path, device="cpu")
    assert next(events).step == 1 and next(events).step == 2
    assert (tmp_path / STATE).exists() and not (tmp_path / "card.json").exists()
    again = engine.trainer.train(never, Trajectory(wave_file), tmp_path, device="cpu")
    assert next(again).step == 2  # the first step was kept, the second was not yet


def test_paused_time_does_not_count(endless, wave_file, tmp_path):
    now = iter(range(10**6))
    events = engine.trainer.train(
        endless, Trajectory(wave_file), tmp_path, device="cpu", clock=lambda: float(next(now))
    )
    next(events)
    first, second = next(events), next(events)
    assert first.samples_per_s == second.samples_per_s < endless.training.latent_pairs


def test_pause_kill_resume_stop(endless, wave_file, tmp_path, processes):
    folder = tmp_path / "run"
    process = jobs.start(Job(endless, wave_file, folder, "cpu"))
    processes.append(process)
    assert look(folder, process).standing is Standing.STARTING
    until(lambda: look(folder).status.step > 30)
    assert look(folder).standing is Standing.TRAINING and look(folder).pid == process.pid
    assert jobs.known_runs() == [folder]
    with pytest.raises(JobError, match="holds a training already"):
        jobs.start(Job(endless, wave_file, folder, "cpu"))

    jobs.pause(look(folder))
    until(lambda: look(folder).standing is Standing.PAUSED)
    halted = steps_logged(folder)[-1]
    time.sleep(0.5)
    assert steps_logged(folder)[-1] == halted
    assert jobs.resume(look(folder)) is None
    until(lambda: look(folder).status.step > halted)

    process.send_signal(signal.SIGKILL)
    process.wait()
    assert look(folder).standing is Standing.INTERRUPTED
    processes.append(jobs.resume(look(folder)))
    until(lambda: look(folder).standing is Standing.TRAINING and look(folder).status.step > halted + 100)
    jobs.stop(look(folder))
    until(lambda: look(folder).standing is Standing.STOPPED and holder(folder) is None)
    logged = steps_logged(folder)
    assert logged == list(range(1, logged[-1] + 1))  # nothing twice, nothing left out
    assert Emulator.load(folder).card["training"]["step"] == look(folder).status.best_step > 0
    shown = preview(folder, wave_file)
    assert shown.leads_fs.tolist() == [10.0] and np.isfinite(shown.forecast).all()
    assert shown.persistence[0] > 0.1 and shown.cuts["truth"].shape == tuple(endless.data.grid[:2])


def test_what_fails_is_told_in_words(tiny, wave_file, tmp_path, processes):
    folder = tmp_path / "run"
    processes.append(jobs.start(Job(tiny, tmp_path / "gone.h5", folder, "cpu")))
    until(lambda: look(folder, processes[0]).standing is Standing.FAILED)
    assert "gone.h5" in look(folder).status.message
    until(lambda: processes[0].poll() is not None)
    assert "ldm train: " in jobs.last_words(folder) and "gone.h5" in jobs.last_words(folder)
    with pytest.raises(JobError, match="cannot go on"):
        jobs.resume(replace(look(folder), standing=Standing.TRAINING))


@pytest.mark.slow
def test_a_full_disk_costs_nothing_that_was_kept(endless, wave_file, tmp_path, processes):
    """No file may grow beyond 8 KiB: the state cannot be written, as on a full disk."""
    folder = tmp_path / "run"
    folder.mkdir()
    Job(endless, wave_file, folder, "cpu").save()
    limited = ["bash", "-c", f'ulimit -f 8; exec {" ".join(jobs.COMMAND)} train --job "{folder}"']
    with open(folder / "train.log", "wb") as log:
        processes.append(subprocess.Popen(limited, stdout=subprocess.DEVNULL, stderr=log))
    until(lambda: look(folder, processes[0]).standing is Standing.FAILED)
    assert "File too large" in look(folder).status.message
    processes[0].wait()
    assert not (folder / STATE).exists()  # whole or not at all
    if (folder / "card.json").exists():
        Emulator.load(folder)
    processes.append(jobs.resume(look(folder)))
    until(lambda: look(folder).status.best_step > 0)


def test_where_it_stands_in_words(tmp_path):
    assert look(tmp_path).standing is Standing.NONE
    Status("training", "latent", 300, 1400, {}, 1e-3, 12.1, 200.0).write(tmp_path)
    assert look(tmp_path).words().startswith("interrupted: step 300 of 1400")
    with claim(tmp_path):
        words = look(tmp_path).words()
    assert words == "training: step 300 of 1400 (latent), 12.1 samples/s, 3 min left"
