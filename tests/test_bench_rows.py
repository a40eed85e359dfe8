"""What the benchmark compares comes to the same on both sides."""

from dataclasses import replace

import pytest
import torch

from training.bench import denoise, frames, run, timing


def test_the_compiled_loop_returns_what_diffusers_does():
    """With its tables in float64: in float32, as it makes them, 1 − ᾱ loses four digits at small t."""
    model = denoise._paper().model
    steps = denoise.scheduler(model)
    steps.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    condition = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    theirs = denoise.diffusers_loop(model, steps, condition, torch.Generator().manual_seed(7)).float()
    stream = torch.Generator().manual_seed(7)
    noise = [torch.randn(1, 32, generator=stream) for _ in range(1000)]
    ours = model.advance(condition, torch.stack([*noise, torch.zeros(1, 32)], dim=1))
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_the_plain_decoder_is_the_fast_one_but_for_its_arithmetic():
    model, latent = frames.pooled(24), torch.randn(1, 32)
    plain = frames.plain_decode(model, latent)
    with torch.no_grad():
        assert torch.allclose(model.autoencoder.decode(latent), plain, rtol=1e-4, atol=1e-4 * plain.std())
        assert (model.decode(latent) - plain).std() == pytest.approx(0, abs=0.02 * plain.std().item())


@pytest.mark.parametrize("name", ["frame", "decode-24", "encode-48"])
def test_a_row_of_a_gpu_runs_where_another_device_is(name, accelerator, monkeypatch):
    monkeypatch.setattr(frames, "MEMBERS", 2)
    (row,) = run.chosen((name,), "pretend")
    result = timing.measure(replace(row, seconds=0, least=2), "pretend")
    assert not result.skipped and result.work_s > 0
    assert result.bar == row.gpu_bar and (result.ratio is None) == (not row.rival)
