"""Rows: whole frames of the default emulator, many at a time, and beside AIMD; decoding; what plots need."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from engine.dynamics import Dynamics
from engine.emulator import Emulator
from engine.graphs import Replayed
from engine.models import build
from engine.recipes import PAPER
from engine.recorder import Bins, Recorder
from engine.rollout import member_stream
from engine.samples import DEFAULT, sample_path, shipped
from engine.trajectory import Trajectory
from training.bench.timing import CPU, GPU, Row, Side, count_flops
from training.bench.train import plain_network

MEMBERS = 64


def started(device: str = "cpu", tile: int = 1) -> tuple[Emulator, Trajectory, Tensor]:
    """The default emulator, the unseen excerpt adapted to it, and the latent (1, …) of an early frame.

    That frame is repeated `tile` times along each axis: a larger cell of the same liquid.
    """
    emulator = Emulator.load(shipped()[DEFAULT], device)
    truth = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
    state = emulator.initial_state(truth, emulator.history)
    return emulator, truth, emulator.encode(state.repeat(1, 1, tile, tile, tile))


def frames(members: int, plain: bool = False, device: str = "cpu", tile: int = 1) -> Side:
    """Frames of all members from the same start, decoded; `plain`: the network as one first writes it.

    Then every operation also has all threads, and no graph. `tile` as in `started`.
    """
    emulator, _, latent = started(device, tile)
    model = emulator.model
    network = model.denoiser.network
    if plain:
        network.forward = lambda x: plain_network(network, x)
        model.advance = model._advance
        emulator._step, emulator._draw = emulator._step.function, emulator._draw.function
    latents = latent.expand(members, *latent.shape[1:]).contiguous()
    streams = [member_stream(0, k) for k in range(members)]
    steps = 1 if members > 1 and device == "cpu" else 8  # caches are warm in a run, cold after another's turn

    def run() -> None:
        now = latents
        for _ in range(steps):
            now = emulator.advance(now, streams)
            emulator.decode(now)

    points = math.prod(latent.shape[2:])
    flops = count_flops(network, points)  # of which waves of a length do half of U for both their kernels
    flops -= points * sum(block.mix.weight.numel() for block in network.blocks)
    return Side(run, steps * members, flops=flops)


def pooled(points: int, device: str = "cpu") -> Dynamics:
    """The paper's model on points³, with random weights: they do not matter to its speed."""
    torch.manual_seed(0)
    model = build(replace(PAPER, data=replace(PAPER.data, grid=(points,) * 3)))
    for weight in model.autoencoder.parameters():
        if weight.ndim == 5:
            nn.init.kaiming_normal_(weight)
    return model.to(device).eval().requires_grad_(False)


def plain_decode(model: Dynamics, latent: Tensor) -> Tensor:
    """Eager, float32, contiguous: where gradients are wanted nothing is done otherwise."""
    with torch.enable_grad():
        return model.autoencoder.decode(latent)


def _decode(device: str, points: int) -> tuple[Side, Side]:
    model, latent = pooled(points, device), torch.randn(1, PAPER.autoencoder.latent).to(device)
    decode = torch.no_grad()(Replayed(model.decode, model))
    return Side(lambda: decode(latent)), Side(lambda: plain_decode(model, latent))


def _encode(device: str) -> tuple[Side, Side]:
    model, state = pooled(48, device), torch.randn(1, 2, 48, 48, 48).to(device)

    def plain() -> Tensor:
        with torch.enable_grad():
            return model.autoencoder.encode(state)

    return Side(torch.no_grad()(lambda: model.encode(state))), Side(plain)


def _observed(device: str) -> tuple[Side, Side]:
    model, latent = pooled(48), torch.randn(1, PAPER.autoencoder.latent)
    _, truth, _ = started()
    field = truth.resampled((48, 48, 48)).density(1)
    recorder = Recorder(field.shape, truth.cell, 10.0, Bins.of(float(field.min()), float(field.max())))
    return Side(lambda: recorder.update(field)), Side(torch.no_grad()(lambda: model.decode(latent)))


def _beside(members: int, plain: bool) -> Callable[[str], tuple[Side, Side]]:
    return lambda device: (frames(members, device=device), frames(1, plain, device))


def _ensemble(device: str) -> tuple[Side, None]:
    return frames(MEMBERS, device=device, tile=2), None


ALL = f"whole frame of the default, per member of {MEMBERS}"
EAGER, SAME = "eager, float32, FFTs", "the same code, one member"
PLAIN = "eager, float32, contiguous"
DECODERS = tuple(
    Row(
        f"decode-{points}",
        f"decode {points}³, `paper`'s decoder",
        PLAIN,
        2 if points == 48 else None,
        partial(_decode, points=points),
        gpu_bar=4 if points == 48 else None,
    )
    for points in (24, 48, 96)
)
ROWS = (
    Row("frame", "whole frame of the default", EAGER, None, _beside(1, plain=True)),
    Row("members-eager", ALL, f"{EAGER}, one member", 10, _beside(MEMBERS, plain=True)),
    Row("members-default", ALL, SAME, 10, _beside(MEMBERS, plain=False), gpu_bar=20),
    Row("ensemble-48", f"{ALL}, 48³", "", None, _ensemble, gpu_bar=1 / 2000, only=GPU),
    *DECODERS,
    Row("encode-48", "encode 48³, `paper`'s encoder", PLAIN, None, _encode),
    Row(
        "observables-live",
        "all a plot needs of a frame, 48³",
        "decoding it (`paper`)",
        1,
        _observed,
        only=CPU,
    ),
)
