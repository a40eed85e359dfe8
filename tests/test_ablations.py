"""Variants differ from their recipe in one thing, and switched ones share the weights."""

import numpy as np
import pytest

from engine.emulator import Emulator
from engine.recipes import PAPER, SPECTRAL
from engine.samples import sample_path, shipped
from engine.trajectory import Trajectory
from training.ablations import SWITCHED, TRAINED, run, shortened, switch


def test_every_variant_is_another_recipe():
    recipes = [*TRAINED.values(), *SWITCHED.values()]
    assert len({repr(recipe) for recipe in recipes}) == len(recipes)


def test_a_share_shortens_every_stage_and_nothing_else():
    short = shortened(PAPER, 0.1, 750.0)
    assert (short.training.joint_steps, short.training.latent_steps) == (300, 2000)
    assert short.data.equilibration_fs == 750.0 and short.autoencoder == PAPER.autoencoder
    assert shortened(SPECTRAL, 0.1, 0.0).training.joint_steps == 0


def test_a_switched_variant_has_the_weights_of_its_source(tmp_path):
    """Without the closure short waves are missing: the error of a frame and back is three times as large."""
    switch(shipped()["spectral"], SWITCHED["no-closure"], tmp_path / "open")
    errors = []
    for folder in (shipped()["spectral"], tmp_path / "open"):
        emulator = Emulator.load(folder)
        truth = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
        made = emulator.decode(emulator.encode(emulator.initial_state(truth, 5)))[0]
        errors.append(np.sqrt(((made - truth.density(5)) ** 2).mean() / truth.density(5).var()))
    assert errors[1] > 3 * errors[0]


def test_a_name_that_is_no_variant_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="no variant no-luck; there are spectral, "):
        run(sample_path("li32_train.h5"), tmp_path, only=("no-luck",))


def test_variants_land_in_their_folders_and_are_kept(tmp_path):
    for _ in range(2):
        run(
            sample_path("li32_train.h5"),
            tmp_path,
            only=("one-block", "no-range"),
            share=1e-4,
            source=shipped()["spectral"],
        )
        assert {folder.name for folder in tmp_path.iterdir()} == {"one-block", "no-range"}
    assert Emulator.load(tmp_path / "one-block").card["training"]["step"] == 1
    assert Emulator.load(tmp_path / "no-range").recipe.corrections.margin == -1.0
