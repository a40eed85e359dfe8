"""Rows: whole frames of the default emulator, many at a time, and beside AIMD; decoding; what plots need."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from engine.dynamics import Dynamics
from engine.emulator import Emulator
from engine.models import build
from engine.recipes import PAPER
from engine.recorder import Bins, Recorder
from engine.rollout import member_stream
from engine.samples import DEFAULT, sample_path, shipped
from engine.trajectory import Trajectory
from training.bench.timing import Row, Side, count_flops
from training.bench.train import plain_network

MEMBERS = 64


def started(name: str = DEFAULT) -> tuple[Emulator, Trajectory, Tensor]:
    """A shipped emulator, the unseen excerpt adapted to it, and the latent (1, …) of an early frame."""
    emulator = Emulator.load(shipped()[name])
    truth = emulator.adapt(Trajectory(sample_path("li32_test.h5")))
    return emulator, truth, emulator.encode(emulator.initial_state(truth, emulator.history))


def frames(members: int, plain: bool = False) -> Side:
    """Frames of all members from the same start, decoded; `plain`: the network as one first writes it.

    Then every operation also has all threads.
    """
    emulator, _, latent = started()
    model = emulator.model
    network = model.denoiser.network
    if plain:
        network.forward = lambda x: plain_network(network, x)
        model.advance = model._advance
    latents = latent.expand(members, *latent.shape[1:]).contiguous()
    streams = [member_stream(0, k) for k in range(members)]
    steps = 1 if members > 1 else 8  # caches are warm in a run, and cold after another's turn

    def run() -> None:
        now = latents
        for _ in range(steps):
            now = emulator.advance(now, streams)
            emulator.decode(now)

    points = math.prod(latent.shape[2:])
    flops = count_flops(network, points)  # of which waves of a length do half of U for both their kernels
    flops -= points * sum(block.mix.weight.numel() for block in network.blocks)
    return Side(run, steps * members, flops=flops)


def pooled(points: int) -> Dynamics:
    """The paper's model on points³, with random weights: they do not matter to its speed."""
    torch.manual_seed(0)
    model = build(replace(PAPER, data=replace(PAPER.data, grid=(points,) * 3)))
    for weight in model.autoencoder.parameters():
        if weight.ndim == 5:
            nn.init.kaiming_normal_(weight)
    return model.eval().requires_grad_(False)


def plain_decode(model: Dynamics, latent: Tensor) -> Tensor:
    """Eager, float32, contiguous: where gradients are wanted nothing is done otherwise."""
    with torch.enable_grad():
        return model.autoencoder.decode(latent)


def _decode(points: int) -> tuple[Side, Side]:
    model, latent = pooled(points), torch.randn(1, PAPER.autoencoder.latent)
    return Side(torch.no_grad()(lambda: model.decode(latent))), Side(lambda: plain_decode(model, latent))


def _encode() -> tuple[Side, Side]:
    model, state = pooled(48), torch.randn(1, 2, 48, 48, 48)

    def plain() -> Tensor:
        with torch.enable_grad():
            return model.autoencoder.encode(state)

    return Side(torch.no_grad()(lambda: model.encode(state))), Side(plain)


def _observed() -> tuple[Side, Side]:
    model, latent = pooled(48), torch.randn(1, PAPER.autoencoder.latent)
    _, truth, _ = started()
    field = truth.resampled((48, 48, 48)).density(1)
    recorder = Recorder(field.shape, truth.cell, 10.0, Bins.of(float(field.min()), float(field.max())))
    return Side(lambda: recorder.update(field)), Side(torch.no_grad()(lambda: model.decode(latent)))


DECODERS = tuple(
    Row(
        f"decode-{points}",
        f"decode {points}³, `paper`'s decoder",
        "eager, float32, contiguous",
        2 if points == 48 else None,
        lambda points=points: _decode(points),
    )
    for points in (24, 48, 96)
)
ROWS = (
    Row(
        "frame",
        "whole frame of the default",
        "eager, float32, FFTs",
        None,
        lambda: (frames(1), frames(1, plain=True)),
    ),
    Row(
        "members-eager",
        f"whole frame of the default, per member of {MEMBERS}",
        "eager, float32, FFTs, one member",
        10,
        lambda: (frames(MEMBERS), frames(1, plain=True)),
    ),
    Row(
        "members-default",
        f"whole frame of the default, per member of {MEMBERS}",
        "the same code, one member",
        10,
        lambda: (frames(MEMBERS), frames(1)),
    ),
    *DECODERS,
    Row("encode-48", "encode 48³, `paper`'s encoder", "eager, float32, contiguous", None, _encode),
    Row("observables-live", "all a plot needs of a frame, 48³", "decoding it (`paper`)", 1, _observed),
)
