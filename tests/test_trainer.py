"""A training learns, resumes to the same losses after a kill, keeps its best when cancelled."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import engine.trainer
from engine.autoencoder import PooledConfig
from engine.dataset import Dataset, split
from engine.diffusion import DiffusionConfig
from engine.emulator import Emulator
from engine.losses import LossConfig
from engine.normalise import LogNormal
from engine.pooled_dynamics import PooledDynamics
from engine.recipes import RECIPES, DataConfig, Recipe, TrainingConfig, from_dict, to_dict
from engine.trainer import Checkpoint, Progress, train
from engine.trajectory import Trajectory

TINY = Recipe(
    "tiny",
    data=DataConfig(grid=(8, 8, 8)),
    autoencoder=PooledConfig(channels=(8, 8), latent=4),
    diffusion=DiffusionConfig(steps=20, width=16, time_dim=8),
    loss=LossConfig(bins=16),
    training=TrainingConfig(
        joint_steps=12, latent_steps=12, pairs=4, log_every=1, checkpoint_every=5, precision="32-true"
    ),
)
FLAGS = [
    *("--data.grid", "8", "8", "8", "--autoencoder.channels", "8", "8", "--autoencoder.latent", "4"),
    *("--diffusion.steps", "20", "--diffusion.width", "16", "--diffusion.time-dim", "8", "--loss.bins", "16"),
    *("--training.joint-steps", "12", "--training.latent-steps", "12", "--training.pairs", "4"),
    *("--training.log-every", "1", "--training.checkpoint-every", "5", "--training.precision", "32-true"),
    *("--name", "tiny", "--device", "cpu"),
]


@pytest.fixture
def trajectory(wave_file):
    return Trajectory(wave_file)


def losses_of(folder):
    with (folder / "log.csv").open() as file:
        return [
            (r["step"], r["stage"], r["loss"], r["training"], r["validation"]) for r in csv.DictReader(file)
        ]


def test_a_training_lowers_its_loss_and_leaves_an_emulator(trajectory, tmp_path):
    recipe = replace(TINY, training=replace(TINY.training, joint_steps=150, ema=0.9, checkpoint_every=50))
    events = list(train(recipe, trajectory, tmp_path, device="cpu"))
    joint = [e.losses["reconstruction"] for e in events if isinstance(e, Progress) and e.stage == "joint"]
    assert sum(joint[-10:]) < 0.5 * sum(joint[:10])
    emulator = Emulator.load(tmp_path)
    assert emulator.recipe == recipe
    assert emulator.card["data"]["test_fs"] == [64, 78]  # the last fifth of 40 frames every 2 fs


def ldm_train(data, folder):
    """The real command in a process of its own, with one thread: sums do not depend on the sharing out."""
    command = [sys.executable, "-m", "training.cli", "train", "--data", str(data), "-o", str(folder), *FLAGS]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def same_training(one, other):
    assert losses_of(one) == losses_of(other)
    weights = Emulator.load(other).model.state_dict()
    for name, weight in Emulator.load(one).model.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_what_a_run_leaves_at_any_moment_resumes_to_the_same_losses(trajectory, tmp_path, monkeypatch):
    """The folder as a killed process would leave it, copied after some of the steps of both stages."""
    monkeypatch.setattr(engine.trainer, "SAFE_S", 0.0)  # a state after every step
    whole, left = tmp_path / "whole", []
    for event in train(TINY, trajectory, whole, device="cpu"):
        if isinstance(event, Progress) and event.step in (3, 11, 14, 22):
            left.append(shutil.copytree(whole, tmp_path / f"{event.step}"))
    assert len(left) == 4
    for folder in left:
        assert len(losses_of(folder)) < len(losses_of(whole))
        list(train(TINY, trajectory, folder, device="cpu"))
        same_training(folder, whole)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_the_same_losses(wave_file, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    uninterrupted = ldm_train(wave_file, whole)
    for rows in (8, 17):  # in the first and in the second stage
        process = ldm_train(wave_file, killed)
        while process.poll() is None and (not (killed / "log.csv").exists() or len(losses_of(killed)) < rows):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert ldm_train(wave_file, killed).wait() == uninterrupted.wait() == 0
    same_training(killed, whole)


def test_cancelling_keeps_the_best_so_far_and_resumes(trajectory, tmp_path):
    events = train(TINY, trajectory, tmp_path, device="cpu")
    for event in events:
        if isinstance(event, Progress) and event.step == 3:
            events.close()
    assert Emulator.load(tmp_path).card["training"]["step"] == 3
    again = list(train(TINY, trajectory, tmp_path, device="cpu"))
    assert again[0].step == 4


def test_the_kept_weights_are_those_of_the_lowest_monitored_loss(trajectory, tmp_path):
    recipe = replace(
        TINY, training=replace(TINY.training, latent_steps=0, joint_steps=40, learning_rate=0.02)
    )
    checkpoints = [e for e in train(recipe, trajectory, tmp_path, device="cpu") if isinstance(e, Checkpoint)]
    lowest = min(checkpoints, key=lambda c: c.training["loss"])
    assert Emulator.load(tmp_path).card["training"]["step"] == lowest.step


def test_a_folder_of_another_recipe_or_other_data_is_refused_in_words(trajectory, tmp_path):
    list(train(TINY, trajectory, tmp_path, device="cpu"))
    other = replace(TINY, loss=LossConfig(bins=16, sjsd=0.0))
    with pytest.raises(ValueError, match="another recipe.*loss.sjsd 10.0, now 0.0"):
        next(train(other, trajectory, tmp_path, device="cpu"))
    with pytest.raises(ValueError, match="another data"):
        next(train(TINY, trajectory[1:], tmp_path, device="cpu"))


def test_training_never_sees_what_comes_after_its_span(trajectory):
    parts = split(trajectory, DataConfig(train_fraction=0.8, validation_fraction=0.1, equilibration_fs=8))
    spans = [p.times_fs for p in (parts.train, parts.validation, parts.test)]
    assert spans[0][0] == 8 and spans[-1][-1] == trajectory.times_fs[-1]
    assert spans[0][-1] < spans[1][0] and spans[1][-1] < spans[2][0] == 64
    with pytest.raises(ValueError, match="needs at least"):
        split(trajectory[:3], DataConfig())


def test_states_of_a_data_set_are_the_normalisers(trajectory):
    normaliser = LogNormal.fit(trajectory.blocks(16), 2.0)
    data, index = Dataset(trajectory, normaliser, stride=3), torch.tensor([0, 7, 20])
    expected = torch.from_numpy(normaliser.states(trajectory.density()))
    chains = data.chains(index).flatten(0, 1)
    assert torch.allclose(chains, expected[torch.tensor([0, 7, 20, 3, 10, 23])], atol=1e-5)


def test_recipes_survive_a_card_and_unknown_fields_do_not():
    for recipe in RECIPES.values():
        assert from_dict(to_dict(recipe)) == recipe
    with pytest.raises(ValueError, match="layers"):
        from_dict(to_dict(TINY) | {"layers": 3})


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_the_joint_stage_runs_in_its_precision(trajectory, tmp_path, monkeypatch, precision):
    seen, losses = [], PooledDynamics.joint_losses

    def watched(self, pairs, generator):
        seen.append(self.autoencoder.trunk(pairs).dtype)
        return losses(self, pairs, generator)

    monkeypatch.setattr(PooledDynamics, "joint_losses", watched)
    recipe = replace(TINY, training=replace(TINY.training, precision=precision))
    next(train(recipe, trajectory, tmp_path, device="cpu"))
    expected = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    assert set(seen) == {expected}
