"""The plain loop that training is measured against is the same training."""

from dataclasses import replace

import pytest
from test_spectral import TINY, lithium

from training.bench.train import loops


def test_both_loops_reach_the_same_losses(tmp_path):
    recipe = replace(TINY, training=replace(TINY.training, latent_pairs=3, latent_steps=40))
    ours, plain = loops(recipe, lithium(), tmp_path)
    losses = [(ours.update(), plain.update()) for _ in range(5)]
    assert len({round(mine, 4) for mine, _ in losses}) == 5
    for mine, theirs in losses:
        assert mine == pytest.approx(theirs, rel=1e-4)
