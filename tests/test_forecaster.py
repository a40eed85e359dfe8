"""A forecast computed by another process: the engine's own, to be given up and begun again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.emulator import Emulator
from engine.rollout import rollout
from engine.trajectory import Trajectory
from ldm_viewer.forecaster import AHEAD, Forecaster, ForecastError


@pytest.fixture(scope="module")
def forecaster() -> Iterator[Forecaster]:
    made = Forecaster()
    yield made
    made.close()


@pytest.fixture
def start(wave_file: Path, tiny_emulator_folder: Path) -> tuple[Emulator, torch.Tensor]:
    emulator = Emulator.load(tiny_emulator_folder)
    return emulator, emulator.initial_state(emulator.adapt(Trajectory(wave_file)), 5)


def test_frames_are_the_engines(forecaster: Forecaster, start: tuple[Emulator, torch.Tensor]) -> None:
    how = {"members": 2, "seed": 4, "decode_every": 2}
    here, there = list(rollout(*start, 6, **how)), list(forecaster.rollout(*start, 6, **how))
    assert [frame.index for frame in there] == [*range(6)]
    for ours, theirs in zip(here, there, strict=True):
        assert theirs.time_fs == ours.time_fs
        torch.testing.assert_close(theirs.latents, ours.latents)
        if ours.density is None:
            assert theirs.density is None
        else:
            np.testing.assert_allclose(theirs.density, ours.density, rtol=1e-5)


def test_one_that_is_given_up_leaves_nothing_to_the_next(
    forecaster: Forecaster, start: tuple[Emulator, torch.Tensor]
) -> None:
    abandoned = forecaster.rollout(*start, 500, seed=1)
    for _ in range(3):
        next(abandoned)
    abandoned.close()
    (first,) = forecaster.rollout(*start, 1, seed=2)
    (expected,) = rollout(*start, 1, seed=2)
    np.testing.assert_allclose(first.density, expected.density, rtol=1e-5)


def test_what_goes_wrong_is_told_in_words_and_the_process_goes_on(
    forecaster: Forecaster, start: tuple[Emulator, torch.Tensor]
) -> None:
    emulator, state = start
    with pytest.raises(ForecastError, match="size"):
        list(forecaster.rollout(emulator, state[:, :1], 3))
    assert len(list(forecaster.rollout(emulator, state, AHEAD + 3))) == AHEAD + 3


def test_a_device_that_the_process_cannot_have_is_told_in_words(
    forecaster: Forecaster, start: tuple[Emulator, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    (emulator, state), process = start, forecaster._process
    with monkeypatch.context() as elsewhere, pytest.raises(ForecastError, match="hpu|HPU"):
        elsewhere.setattr(Emulator, "device", property(lambda emulator: "hpu"))
        list(forecaster.rollout(emulator, state, 2))
    again = Emulator(emulator.model, emulator.normaliser, emulator.card)
    assert len(list(forecaster.rollout(again, state, 2))) == 2
    assert forecaster._process is process


def test_a_killed_process_is_told_and_replaced(
    forecaster: Forecaster, start: tuple[Emulator, torch.Tensor]
) -> None:
    frames = forecaster.rollout(*start, 500)
    next(frames)
    forecaster._process.kill()
    with pytest.raises(ForecastError, match="ended"):
        list(frames)
    assert len(list(forecaster.rollout(*start, 2))) == 2
