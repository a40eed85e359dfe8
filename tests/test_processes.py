"""Two processes that share every batch train to the losses of one, and resume when they are killed."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from test_spectral import TINY as WAVES
from test_trainer import TINY as POOLED

from engine import processes
from engine.emulator import Emulator
from engine.jobs import Job
from engine.recipes import RECIPES
from engine.samples import sample_path

STEPS = 8
PATCHES = replace(
    RECIPES["spatial"],
    name="tiny-spatial",
    data=replace(RECIPES["spatial"].data, grid=(12, 12, 12)),
    autoencoder=replace(RECIPES["spatial"].autoencoder, latent=8, width=16),
    diffusion=replace(RECIPES["spatial"].diffusion, width=8, blocks=1),
)
TINY = {
    recipe.name: replace(
        recipe,
        data=replace(recipe.data, grid=(12, 12, 12) if recipe is not POOLED else (8, 8, 8)),
        training=replace(
            recipe.training,
            joint_steps=STEPS if recipe is not WAVES else 0,
            latent_steps=STEPS,
            pairs=4,
            latent_pairs=4,
            log_every=1,
            checkpoint_every=4,
            precision="32-true",
        ),
    )
    for recipe in (POOLED, WAVES, PATCHES)
}


def begin(count, folder, recipe=None, environment=None):
    """`ldm train --job FOLDER` in as many processes, with one thread each."""
    if recipe is not None:
        folder.mkdir()
        Job(recipe, sample_path("li32_train.h5"), folder, "cpu").save()
    launcher = (
        ["-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"] if count > 1 else []
    )
    command = [sys.executable, *launcher, "-m", "training.cli", "train", "--job", str(folder)]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        stdout=subprocess.DEVNULL,
        stderr=(folder / "stderr.txt").open("w"),
        start_new_session=True,
    )


def finished(process, folder):
    assert process.wait() == 0, (folder / "stderr.txt").read_text()[-3000:]
    return losses_of(folder)


def losses_of(folder):
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [
        (r["step"], r["stage"], *(float(r[k] or 0) for k in ("loss", "training", "validation"))) for r in rows
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_two_processes_train_to_the_losses_of_one(tmp_path, name):
    one, two = tmp_path / "one", tmp_path / "two"
    expected = finished(begin(1, one, TINY[name]), one)
    assert len(expected) >= STEPS
    shared = finished(begin(2, two, TINY[name]), two)
    assert [row[:2] for row in shared] == [row[:2] for row in expected]
    for mine, theirs in zip(shared, expected, strict=True):
        assert mine[2:] == pytest.approx(theirs[2:], rel=2e-4)
    weights = [Emulator.load(folder).model.state_dict() for folder in (one, two)]
    for key, value in weights[0].items():
        assert weights[1][key].numpy() == pytest.approx(value.numpy(), rel=5e-3, abs=5e-3), key
    assert not [p.name for p in two.iterdir() if p.suffix in (".fields", ".part")]


@pytest.mark.slow
def test_two_tasks_of_srun_train_to_the_losses_of_two_of_torchrun(tmp_path):
    """Tasks are told by SLURM's variables who they are; they meet at the first node of its list."""
    name = WAVES.name
    expected = finished(begin(2, tmp_path / "torchrun", TINY[name]), tmp_path / "torchrun")
    slurm = {"NTASKS": 2, "NTASKS_PER_NODE": 2, "NNODES": 1, "NODELIST": "localhost", "JOB_NAME": "ldm"}
    slurm |= {"STEP_NUM_TASKS": 2, "STEP_NUM_NODES": 1, "JOB_ID": os.getpid(), "NODEID": 0}
    tasks, folder = [], tmp_path / "srun"
    for rank in range(2):
        about = {
            f"SLURM_{key}": str(value) for key, value in (slurm | {"PROCID": rank, "LOCALID": rank}).items()
        }
        tasks.append(begin(1, folder, None if rank else TINY[name], about))
    assert [task.wait() for task in tasks] == [0, 0], (folder / "stderr.txt").read_text()[-3000:]
    assert losses_of(folder) == expected


@pytest.mark.slow
def test_processes_killed_together_resume_together_and_alone(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # more steps than are done before the kill
    long = replace(TINY[WAVES.name].training, latent_steps=150, checkpoint_every=30)
    recipe = replace(TINY[WAVES.name], training=long)
    expected = finished(begin(2, whole, recipe), whole)
    process = begin(2, killed, recipe)
    while process.poll() is None and not ((killed / "log.csv").exists() and len(losses_of(killed)) > 5):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(losses_of(killed)) < len(expected)
    shutil.copytree(killed, tmp_path / "alone")
    assert finished(begin(2, killed), killed) == expected
    alone = finished(begin(1, tmp_path / "alone"), tmp_path / "alone")
    for mine, theirs in zip(alone, expected, strict=True):
        assert mine[2:] == pytest.approx(theirs[2:], rel=2e-4)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused_in_words(tmp_path):
    recipe = replace(TINY[WAVES.name], training=replace(TINY[WAVES.name].training, latent_pairs=3))
    process = begin(2, tmp_path / "odd", recipe)
    assert process.wait() != 0
    assert "2 processes cannot share the 3 pairs" in (tmp_path / "odd" / "stderr.txt").read_text()
    assert json.loads((tmp_path / "odd" / "status.json").read_text())["phase"] == "failed"


@pytest.mark.parametrize(
    ("environment", "world", "rank"),
    [
        ({}, (1, 1), 0),
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "5"}, (2, 4), 5),
        ({"SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_NUM_NODES": "3", "SLURM_PROCID": "2"}, (3, 2), 2),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, (1, 1), 0),  # a batch script without srun is one process
    ],
)
def test_who_started_the_processes_is_read_from_the_environment(monkeypatch, environment, world, rank):
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", *(n for n in os.environ if n.startswith("SLURM"))):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes.world() == world and processes.rank() == rank
