"""`ldm rivals`: every rival fits, is found again, and comes back from its folder the same, without code."""

import json
import pickle
from importlib.util import find_spec

import pytest
import torch

from engine.diffusion import DiffusionConfig
from engine.emulator import Emulator, IncompatibleError
from engine.recipes import DataConfig
from engine.rollout import rollout
from engine.trajectory import Trajectory
from training.evaluate import _load
from training.rivals import RIVALS, RivalsConfig, load
from training.rivals.fno import FnoConfig
from training.rivals.fourier import FourierVarConfig
from training.rivals.mlp import MlpConfig
from training.rivals.pod import PodConfig
from training.rivals.run import Fitted, fit_all

NAMES = tuple(name for name in RIVALS if name != "fno" or find_spec("neuralop"))
CONFIG = RivalsConfig(
    data=DataConfig(grid=(8, 8, 8), train_fraction=0.9, validation_fraction=0.3),
    pod=PodConfig(ranks=(2, 4), leads_fs=(10.0, 20.0)),
    fourier=FourierVarConfig(leads_fs=(10.0, 20.0)),
    fno=FnoConfig(modes=4, hidden=4, layers=1, steps=3, pairs=2),
    mlp=MlpConfig(
        latent=2, widths=(8,), steps=3, latent_steps=3, diffusion=DiffusionConfig(steps=4, width=8)
    ),
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    from waves import write_wave

    out = tmp_path_factory.mktemp("rivals")
    path = write_wave(out / "wave.h5")
    events = list(fit_all(CONFIG, Trajectory(path), out, NAMES))
    return path, out, [event for event in events if isinstance(event, Fitted)]


def forecast(rival: Emulator, path, steps: int = 2) -> torch.Tensor:
    truth = rival.adapt(Trajectory(path))
    *_, last = rollout(rival, rival.initial_state(truth, 3), steps, members=2)
    assert last.time_fs == steps * rival.dt_fs
    return torch.from_numpy(last.density)


def test_all_rivals_are_fitted_and_found_again(fitted):
    path, out, first = fitted
    assert [event.name for event in first] == list(NAMES)
    written = {name: (out / name / "model.safetensors").stat().st_mtime_ns for name in NAMES}
    again = list(fit_all(CONFIG, Trajectory(path), out, NAMES))
    assert [(event.name, event.seconds) for event in again] == [(name, 0.0) for name in NAMES]
    assert written == {name: (out / name / "model.safetensors").stat().st_mtime_ns for name in NAMES}


@pytest.mark.parametrize("name", sorted({*NAMES} - {"fno"}))  # it asks what module a tensor is of
def test_a_rival_forecasts_the_same_on_another_device(fitted, name, accelerator):
    path, out, _ = fitted
    here, there = (forecast(_load(out / name, device), path) for device in ("cpu", accelerator))
    assert torch.allclose(there, here, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_rival_serves_the_judge_like_an_emulator(fitted, name):
    path, out, _ = fitted
    rival = _load(out / name, "cpu")
    assert isinstance(rival, Emulator)
    assert (rival.name, rival.grid, rival.delta_fs) == (name, (8, 8, 8), 2.0)
    assert rival.dt_fs == rival.stride * 2.0
    density = forecast(rival, path)
    assert density.shape == (2, 8, 8, 8)
    assert density.min() > 0
    torch.testing.assert_close(density, forecast(load(out / name), path), atol=0, rtol=0)


def test_opening_a_rival_runs_no_code(fitted, monkeypatch):
    _, out, _ = fitted

    def refuse(*args, **kwargs):
        raise AssertionError("a folder was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    for name in NAMES:
        assert sorted(p.name for p in (out / name).iterdir()) == ["card.json", "model.safetensors"]
        load(out / name)


def test_pod_var_knows_a_wave_it_has_seen(fitted):
    """One moving wave is a rotation of two coefficients: a linear process forecasts it."""
    path, out, _ = fitted
    truth, rival = Trajectory(path), load(out / "pod-var")
    now, ahead = (torch.from_numpy(truth.density(3 + k * rival.stride)) for k in (0, 2))
    assert (forecast(rival, path, 2) - ahead).square().mean() < 0.001 * (now - ahead).square().mean()


def test_other_settings_unknown_names_and_damage_are_told_in_words(fitted, tmp_path):
    path, out, _ = fitted
    with pytest.raises(ValueError, match="another seed"):
        list(fit_all(RivalsConfig(**(vars(CONFIG) | {"seed": 1})), Trajectory(path), out, ("pod-var",)))
    stride = RivalsConfig(**(vars(CONFIG) | {"data": DataConfig(stride=3)}))
    with pytest.raises(ValueError, match="each one's own"):
        list(fit_all(stride, Trajectory(path), out, ("pod-var",)))
    with pytest.raises(ValueError, match="no rival lstm"):
        list(fit_all(CONFIG, Trajectory(path), out, ("lstm",)))
    with pytest.raises(IncompatibleError, match=r"card\.json is missing"):
        load(tmp_path)
    card = json.loads((out / "pod-var" / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(card | {"format": "something else"}))
    with pytest.raises(IncompatibleError, match="something else"):
        load(tmp_path)
