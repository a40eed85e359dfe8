"""Corrections hold a forecast to charge, temperature and range, and each can be off."""

from dataclasses import replace

import pytest
import torch

from engine.corrections import Corrections, CorrectionsConfig


def corrected(latent, **settings):
    off = CorrectionsConfig(conserve=False, thermostat_fs=0.0, margin=-1.0)
    corrections = Corrections(replace(off, **settings))
    corrections.fit(torch.linspace(-1, 3, 1024).view(1, 2, 8, 8, 8), step_fs=10.0)
    return corrections, corrections(latent)


def test_every_correction_can_be_off():
    latent = torch.randn(3, 2, 8, 8, 8)
    assert torch.equal(corrected(latent)[1], latent)


@pytest.mark.parametrize(("tau", "expected"), [(20.0, 0.5), (10.0, 1.0), (1.0, 1.0)])
def test_the_thermostat_leads_the_motion_back_to_that_of_training(tau, expected):
    """Half of the way in a step of half the relaxation time, all of it when τ is a step; ρ stays."""
    latent = torch.randn(3, 2, 8, 8, 8)
    corrections, after = corrected(latent, thermostat_fs=tau)
    before, now = (x[:, 1].square().mean((1, 2, 3)) for x in (latent, after))
    assert torch.equal(after[:, 0], latent[:, 0])
    assert torch.allclose(now, before + expected * (corrections.motion - before), rtol=1e-4)


def test_heat_scales_what_the_thermostat_holds():
    _, after = corrected(torch.randn(3, 2, 8, 8, 8), thermostat_fs=10.0, heat=1.1)
    corrections, cold = corrected(torch.randn(3, 2, 8, 8, 8), thermostat_fs=10.0)
    assert torch.allclose(
        after[:, 1].square().mean((1, 2, 3)), 1.1 * cold[:, 1].square().mean((1, 2, 3)), rtol=1e-4
    )
    assert torch.allclose(cold[:, 1].square().mean((1, 2, 3)), corrections.motion.expand(3), rtol=1e-4)


def test_electrons_are_conserved_and_the_range_is_kept():
    latent = 5 * torch.randn(3, 2, 8, 8, 8) + 1
    corrections, after = corrected(latent, conserve=True)
    assert torch.allclose(after.mean((2, 3, 4)), corrections.mean.flatten().expand(3, 2), atol=1e-5)
    corrections, after = corrected(latent, margin=0.0)
    low, high = corrections.range
    assert after[:, 0].min() == low and after[:, 0].max() == high and torch.equal(after[:, 1], latent[:, 1])
