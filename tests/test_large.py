"""Trajectories larger than memory: what training and judging hold does not grow with the file."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from repeated import write_repeated
from test_spectral import TINY

import engine.dataset
from engine.dataset import Dataset
from engine.normalise import LogNormal
from engine.samples import sample_path
from engine.trainer import train
from engine.trajectory import Trajectory

PEAK = "print('PEAK', next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))\n"
TRAIN = """
import sys, engine.dataset
from dataclasses import replace
from pathlib import Path
from engine.recipes import RECIPES
from engine.trainer import train
from engine.trajectory import Trajectory
engine.dataset.IN_MEMORY = 2**24
recipe = RECIPES["spectral"]
recipe = replace(recipe, diffusion=replace(recipe.diffusion, width=8, blocks=1))
recipe = replace(recipe, training=replace(recipe.training, latent_steps=20, checkpoint_every=10))
list(train(recipe, Trajectory(sys.argv[1] + "/li32_train.h5"), Path(sys.argv[2]), device="cpu"))
"""
JUDGE = """
import sys
from pathlib import Path
from engine.samples import shipped
from training.evaluate import Protocol, run
small = Protocol(starts=2, members=1, free_frames=40, compared_frames=8, symmetric_frames=0,
                 autoencoder_frames=8, truth_frames=300)
unseen, seen = (Path(sys.argv[1]) / name for name in ("li32_test.h5", "li32_train.h5"))
run(unseen, Path(sys.argv[2]), [str(shipped()["spectral"])], small, train_data=seen, independent=True)
"""


def files(folder, times):
    """Both samples, so many times as long."""
    folder.mkdir()
    for name in ("li32_train.h5", "li32_test.h5"):
        write_repeated(folder / name, times, name)
    return folder


def peak_mib(code, data, out):
    """Most memory of a process of its own, in MiB; what it maps of files counts as well."""
    command = [sys.executable, "-c", code + PEAK, str(data), str(out)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split("PEAK")[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(("work", "code"), [("train", TRAIN), ("judge", JUDGE)])
def test_memory_stays_flat(tmp_path, work, code):
    """Twelve times more frames, 190 MiB of fields more in float32; less than a tenth of that in memory."""
    few, many = (
        peak_mib(code, files(tmp_path / f"{times}", times), tmp_path / f"out{times}") for times in (1, 13)
    )
    print(f"{work}: {few:.0f} MiB with 300 frames, {many:.0f} MiB with 3900")
    assert many < few + 19


def test_fields_on_disk_are_those_in_memory(tmp_path, monkeypatch):
    trajectory = Trajectory(sample_path("li32_train.h5"))[:40]
    normaliser = LogNormal.fit(trajectory.blocks(64), 2.0)
    held = Dataset(trajectory, normaliser, 3, steps=2)
    monkeypatch.setattr(engine.dataset, "IN_MEMORY", 0)
    stored = Dataset(trajectory, normaliser, 3, steps=2, store=tmp_path / "fields")
    assert isinstance(stored.field, engine.dataset.StoredFields) and not list(tmp_path.iterdir())
    index, back = torch.tensor([0, 32, 7]), torch.tensor([True, False, True])
    assert torch.equal(stored.chains(index, back), held.chains(index, back))
    assert torch.equal(torch.cat(list(stored.blocks())), held.field)


def test_a_training_from_disk_has_the_losses_of_one_in_memory(tmp_path, monkeypatch):
    trajectory, losses = Trajectory(sample_path("li32_train.h5"))[:60], []
    recipe = replace(TINY, training=replace(TINY.training, latent_steps=4))
    for place, limit in (("memory", 2**30), ("disk", 0)):
        monkeypatch.setattr(engine.dataset, "IN_MEMORY", limit)
        events = train(recipe, trajectory, tmp_path / place, device="cpu")
        losses.append([event.losses for event in events if hasattr(event, "losses")])
    assert len(losses[0]) == 4 and losses[0] == losses[1]
